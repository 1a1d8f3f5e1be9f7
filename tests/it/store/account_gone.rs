//! Events of an account that is gone: its pending events are set aside as dead letters, and dead letters move to another account. Each of
//! these is one transaction.

use super::engine::{Engine, LATE, Postgres, Sqlite, TestStore, UNLIMITED, every, every_of, name, retry};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, Timestamp};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{
    DeadLetter, DeadLetterFilter, EventState, MovedDeadLetter, PageStart, Replay, ReplayResult, Store, StoreError,
};
use std::sync::Arc;

fn gone() -> AccountName {
    AccountName::from("gone".to_owned())
}

async fn set_aside(store: &TestStore, limit: usize) -> Option<u64> {
    store.store().set_aside(&gone(), Timestamp(9), limit).await.expect("set aside")
}

/// Every dead letter, whole.
async fn letters(store: &TestStore) -> Vec<DeadLetter> {
    let page =
        store.store().dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 1_000).await.expect("a page");
    let mut letters = Vec::new();
    for letter in page.letters {
        letters.push(store.store().dead_letter(letter.id).await.expect("read").expect("a dead letter"));
    }
    letters
}

/// Events of the account that is gone, the first of which failed once; they are dead letters. Their ids.
async fn set_aside_events(store: &mut TestStore, names: &[&str]) -> Vec<i64> {
    store.use_account(&gone()).await;
    for (nth, name) in names.iter().enumerate() {
        let seq = store.append(name, &["u1"]).await;
        if nth == 0 {
            store.settle(seq, retry(0)).await;
        }
    }
    store.leave_account(&gone()).await;
    assert_eq!(set_aside(store, 100).await, Some(names.len() as u64));
    letters(store).await.iter().map(|letter| letter.id).collect()
}

/// Moves dead letters to `main`, as events of these names.
async fn try_move(store: &TestStore, moved: &[(i64, &str)]) -> Result<Vec<ReplayResult>, StoreError> {
    let letter =
        |(id, name): &(i64, &str)| MovedDeadLetter { id: *id, event: store.event(name, &["u2", "u2@x.io"], 0) };
    store.store().move_dead_letters(moved.iter().map(letter).collect()).await
}

async fn move_all(store: &TestStore, moved: &[(i64, &str)]) -> Vec<(i64, Replay)> {
    let results = try_move(store, moved).await.expect("moved");
    results.into_iter().map(|result| (result.id, result.outcome)).collect()
}

#[tokio::test]
async fn pending_events_become_dead_letters_in_portions_with_their_attempts() {
    every(async |store| {
        store.append("of main", &["u1"]).await;
        store.use_account(&gone()).await;
        let first = store.append("a", &["u1"]).await;
        store.append("b", &["u1"]).await;
        store.append("c", &["u2"]).await;
        store.settle(first, retry(0)).await;
        store.leave_account(&gone()).await;
        for (limit, events, counts) in [(2, 2, (2, 2)), (2, 1, (1, 3)), (2, 0, (1, 3))] {
            assert_eq!((set_aside(store, limit).await, store.counts()), (Some(events), counts));
        }
        for _ in 0..2 {
            let letters = letters(store).await;
            let bodies: Vec<_> = letters.iter().map(|letter| letter.body.as_deref().unwrap_or("-")).collect();
            assert_eq!(bodies, ["a", "b", "c"], "in log order");
            assert!(letters.iter().all(|letter| (&*letter.account, &*letter.code) == ("gone", "account_gone")));
            let times: Vec<_> = letters[0].history.iter().map(|attempt| attempt.at.0).collect();
            assert_eq!((letters[0].failures, times, letters[0].died_at), (1, vec![8, 9], Timestamp(9)));
            assert_eq!(store.names().await, ["of main"], "another account keeps its own");
            let record = store.store().event_record(first.0).await.expect("read").expect("in the ledger");
            let outcome = OutcomeCode::AccountGone.as_str();
            assert_eq!((record.state, record.outcome.as_deref()), (EventState::DeadLetter, Some(outcome)));
            store.compact(LATE).await;
            store.reopen().await;
        }
        store.use_account(&gone()).await;
        assert!(store.is_duplicate("a").await, "as that of any dead letter, its id is known");
    })
    .await;
}

/// PostgreSQL: an erasure uses one of the statements of this, the other is new to the connection.
#[tokio::test]
async fn events_keep_their_bodies_as_dead_letters_after_an_erasure_in_the_same_connection() {
    every(async |store| {
        store.use_account(&gone()).await;
        store.append("a", &["u1"]).await;
        store.append("b", &["u2"]).await;
        let erased = store.keys(&["u1"]);
        store.leave_account(&gone()).await;
        let forgotten = store.store().forget(&gone(), &erased, Timestamp(9)).await.expect("forgotten");
        assert_eq!((forgotten.events, set_aside(store, 9).await), (1, Some(1)));
        let bodies: Vec<_> = letters(store).await.into_iter().map(|letter| letter.body).collect();
        assert!(bodies.contains(&Some("b".to_owned())), "{bodies:?}");
    })
    .await;
}

#[tokio::test]
async fn an_account_without_events_has_nothing_to_be_set_aside() {
    every(async |store| assert_eq!(set_aside(store, 9).await, Some(0))).await;
}

#[tokio::test]
async fn nothing_is_set_aside_while_a_process_owns_the_account() {
    let Some(schema) = Postgres::new() else { return };
    let mut owner = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    owner.use_account(&gone()).await;
    owner.append("a", &["u1"]).await;
    let other: Arc<dyn Store> = schema.open(UNLIMITED).await;
    for store in [owner.store(), &other] {
        assert_eq!(store.set_aside(&gone(), Timestamp(9), 9).await, Ok(None));
    }
    assert_eq!(owner.names().await, ["a"]);
}

#[tokio::test]
async fn an_event_in_flight_is_not_set_aside() {
    let mut store = TestStore::start(Box::new(Sqlite::new()), UNLIMITED).await;
    store.use_account(&gone()).await;
    let (begun, _) = (store.append("begun", &["u1"]).await, store.append("waits", &["u1"]).await);
    store.begin(begun).await;
    assert_eq!((set_aside(&store, 9).await, store.counts()), (Some(1), (1, 1)));
    store.store().release(&[begun]);
    assert_eq!((set_aside(&store, 9).await, store.counts()), (Some(1), (0, 2)));
}

#[tokio::test]
async fn moved_dead_letters_are_appended_to_the_other_account_in_the_order_of_their_ids_once() {
    every(async |store| {
        let ids = set_aside_events(store, &["a", "b"]).await;
        store.append("waits", &["u2"]).await;
        let moved = move_all(store, &[(ids[1], "b"), (ids[0], "a")]).await;
        assert_eq!(moved, [(ids[0], Replay::Replayed), (ids[1], Replay::Replayed)]);
        assert_eq!(move_all(store, &[(ids[0], "a")]).await, [(ids[0], Replay::Missing)], "the second time");
        for _ in 0..2 {
            assert_eq!(
                (store.names().await, store.counts()),
                (["waits", "a", "b"].map(str::to_owned).to_vec(), (3, 0))
            );
            let first = store.entries().await[1].clone();
            assert_eq!((first.attempted, first.retry, first.lane_keys.len()), (false, None, 2));
            let begun = store.look_at(first.seq).await;
            assert_eq!((name(&begun).as_str(), begun.received_at, begun.interrupted), ("a", Timestamp(0), false));
            assert!(store.is_duplicate("a").await, "its new id is known");
            store.reopen().await;
        }
        let first = store.entries().await[1].seq;
        store.settle(first, super::engine::dead()).await;
        assert_eq!(letters(store).await[0].history.len(), 3, "what it went through is remembered");
    })
    .await;
}

#[tokio::test]
async fn dead_letters_that_the_other_account_has_already_or_that_were_erased_stay_where_they_are() {
    every(async |store| {
        let ids = set_aside_events(store, &["a", "b", "c", "d"]).await;
        let keys = {
            let of_gone = |user: &str| super::engine::key(store.store().hash_key(), &gone(), user);
            vec![of_gone("u1")]
        };
        let had = store.append("a", &["u2"]).await;
        store.settle(had, super::engine::done()).await;
        // Two that are the same event to the other account.
        let moved = move_all(store, &[(ids[0], "a"), (ids[1], "b"), (ids[2], "b")]).await;
        assert_eq!(moved, [(ids[0], Replay::Duplicate), (ids[1], Replay::Replayed), (ids[2], Replay::Duplicate)]);
        store.store().forget(&gone(), &keys, Timestamp(9)).await.expect("forgotten");
        assert_eq!(move_all(store, &[(ids[3], "d")]).await, [(ids[3], Replay::Erased)]);
        assert_eq!((store.names().await, store.counts()), (vec!["b".to_owned()], (1, 3)));
    })
    .await;
}

#[tokio::test]
async fn a_move_that_does_not_fit_into_the_backlog_moves_nothing() {
    every_of(2, async |store| {
        let ids = set_aside_events(store, &["a", "b"]).await;
        let waits = store.append("waits", &["u1"]).await;
        assert_eq!(try_move(store, &[(ids[0], "a"), (ids[1], "b")]).await, Err(StoreError::BacklogFull(1)));
        assert_eq!(store.counts(), (1, 2));
        store.try_settle(&Unit::of(waits), super::engine::done()).await.expect("settled");
        assert_eq!(move_all(store, &[(ids[0], "a"), (ids[1], "b")]).await.len(), 2);
        assert_eq!(store.counts(), (2, 0));
    })
    .await;
}
