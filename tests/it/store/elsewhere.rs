//! Operators' requests at a process that does not own the account: they obey the same rules, under the lock of the account.

use super::engine::{Engine, Postgres, TestStore, UNLIMITED, accepted, done, progress, unit};
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::store::{Appended, DeadLetterFilter, Forgotten, PageStart, Replay, Store, StoreError};
use std::collections::BTreeSet;
use std::sync::Arc;

/// A process that owns the account, and another one that does not. `None`: there is no server.
async fn owner_and_other() -> Option<(TestStore, Arc<dyn Store>)> {
    let schema = Postgres::new()?;
    let owner = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    Some((owner, schema.open(UNLIMITED).await))
}

async fn forget(store: &TestStore, at: &Arc<dyn Store>) -> Forgotten {
    at.forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten")
}

#[tokio::test]
async fn a_dead_letter_that_is_replayed_elsewhere_comes_after_all_pending_events() {
    let Some((owner, other)) = owner_and_other().await else { return };
    let letter = owner.die("dead", &["u1"]).await;
    owner.append("waits", &["u1"]).await;
    accepted(other.append(vec![owner.event("of the other", &["u1"], 0)]).await.expect("appended")[0]);
    let page = other.dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 9).await.expect("a page");
    assert_eq!(page.letters.iter().map(|letter| letter.id).collect::<Vec<_>>(), [letter.0]);
    for outcome in [Replay::Replayed, Replay::Missing] {
        let replayed = other.replay(&[letter.0]).await.expect("asked for");
        assert_eq!(replayed.iter().map(|one| one.outcome).collect::<Vec<_>>(), [outcome]);
    }
    assert_eq!(owner.names().await, ["waits", "of the other", "dead"]);
    let last = owner.entries().await[2].seq;
    assert!(last.0 > page.last, "a replay page by page does not include it");
    assert_eq!(owner.store().append(vec![owner.event("dead", &["u1"], 0)]).await, Ok(vec![Appended::Duplicate]));
}

#[tokio::test]
async fn events_that_the_owner_has_begun_are_in_flight_elsewhere_and_others_are_erased() {
    let Some((owner, other)) = owner_and_other().await else { return };
    let [head, follower, last]: [Seq; 3] = [
        owner.append("head", &["u1"]).await,
        owner.append("follower", &["u1"]).await,
        owner.append("last", &["u1"]).await,
    ];
    let begun = unit(&[head, follower]);
    owner.begin_units(std::slice::from_ref(&begun)).await;
    owner.save(&begun, &progress(1)).await;
    let forgotten = forget(&owner, &other).await;
    assert_eq!(forgotten, Forgotten { events: 1, in_flight: 2, ..Forgotten::default() });
    assert_eq!(owner.try_settle(&unit(&[last]), done()).await, Err(StoreError::NotPending), "it was erased");
    owner.settle(head, super::engine::retry(5)).await;
    let forgotten = forget(&owner, &other).await;
    assert_eq!(forgotten, Forgotten { events: 2, ..Forgotten::default() }, "nothing is in flight any more");
    let letters =
        other.dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 9).await.expect("a page").letters;
    assert!(letters.len() == 3 && letters.iter().all(|letter| letter.erased && letter.code == "erased"), "{letters:?}");
}

#[tokio::test]
async fn an_event_begun_by_a_process_that_is_gone_is_in_flight_nowhere() {
    let Some((owner, other)) = owner_and_other().await else { return };
    let begun = unit(&[owner.append("a", &["u1"]).await]);
    owner.save(&begun, &progress(1)).await;
    assert_eq!(forget(&owner, &other).await.in_flight, 1);
    owner.store().renew(&BTreeSet::new()).await.expect("given up");
    assert_eq!(forget(&owner, &other).await, Forgotten { events: 1, ..Forgotten::default() });
}

#[tokio::test]
async fn an_event_that_is_appended_while_the_log_is_searched_is_found() {
    let Some((owner, other)) = owner_and_other().await else { return };
    let append = async {
        for n in 0..400 {
            other.append(vec![owner.event(&n.to_string(), &["u1"], 0)]).await.expect("appended");
        }
    };
    let erase = async {
        let mut erased = 0;
        for _ in 0..20 {
            erased += forget(&owner, &other).await.events;
        }
        erased
    };
    let ((), erased) = tokio::join!(append, erase);
    let rest = forget(&owner, &other).await.events;
    assert_eq!(erased + rest, 400);
    assert_eq!(owner.names().await, [""; 0]);
}
