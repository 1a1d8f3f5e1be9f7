//! Promise 9: erased content of a user cannot be recovered; events in flight are not erased, and reported.

use super::engine::{LATE, TestStore, done, erase, every, remember, retry};
use crate::support::{poll_until, within};
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::store::{Appended, DeadLetterFilter, Forgotten, NewEvent, PageStart};

/// What was erased, which the preview said before.
async fn forget(store: &TestStore, users: &[&str]) -> Forgotten {
    let keys = store.keys(users);
    let preview = store.store().forget_preview(&store.account, &keys).await.expect("counted");
    let forgotten = store.store().forget(&store.account, &keys, Timestamp(7)).await.expect("forgotten");
    assert_eq!(preview, forgotten);
    forgotten
}

#[tokio::test]
async fn a_preview_changes_nothing() {
    every(async |store| {
        store.die("dead", &["u1"]).await;
        store.append("pending", &["u1"]).await;
        let preview =
            async || store.store().forget_preview(&store.account, &store.keys(&["u1"])).await.expect("counted");
        let expected = Forgotten { events: 1, dead_letters: 1, ..Forgotten::default() };
        assert_eq!((preview().await, preview().await), (expected, expected));
        assert_eq!((store.names().await, bodies(store).await), (vec!["pending".to_owned()], vec!["dead".to_owned()]));
    })
    .await;
}

/// The bodies of all dead letters, in order; an erased one is `-`.
async fn bodies(store: &TestStore) -> Vec<String> {
    let mut bodies = Vec::new();
    for letter in store
        .store()
        .dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 1_000)
        .await
        .expect("a page")
        .letters
    {
        let body = store.store().dead_letter(letter.id).await.expect("read").expect("kept").body;
        assert_eq!(letter.erased, body.is_none());
        bodies.push(body.unwrap_or_else(|| "-".to_owned()));
    }
    bodies
}

#[tokio::test]
async fn to_forget_a_user_erases_pending_events_dead_letters_links_and_affiliates() {
    every(async |store| {
        store.teach("known", &["u1"], remember("one", store.keys(&["u1", "old@x.io"]))).await;
        store.die("dead", &["u1"]).await;
        let waits = store.append("waits", &["u1", "new@x.io"]).await;
        store.append("behind", &["new@x.io"]).await;
        store.append("another", &["u2"]).await;
        let forgotten = forget(store, &["old@x.io"]).await;
        assert_eq!(
            Forgotten { links: 0, ..forgotten },
            Forgotten { events: 2, dead_letters: 1, affiliates: 1, ..Forgotten::default() }
        );
        assert_eq!(forgotten.links, 2, "u1 and old@x.io led to it");
        for _ in 0..2 {
            assert_eq!((store.counts(), bodies(store).await), ((1, 3), vec!["-".to_owned(); 3]));
            store.reopen().await;
        }
        let letter = store.store().dead_letter(waits.0).await.expect("read").expect("it is known that it was there");
        assert_eq!((&*letter.code, letter.died_at, letter.received_at), ("erased", Timestamp(7), Timestamp(0)));
        for user in ["u1", "old@x.io", "new@x.io"] {
            let of_all = Some(Seq(i64::MAX));
            assert_eq!(store.append_if_known_up_to(user, &[user], of_all).await, Appended::UnknownUser, "{user}");
        }
        assert_eq!(forget(store, &["u1"]).await, Forgotten::default());
        assert_eq!(store.names().await, ["another"]);
        assert!(store.is_duplicate("waits").await, "that it was there stays known");
    })
    .await;
}

#[tokio::test]
async fn an_event_in_flight_is_reported_and_not_erased() {
    every(async |store| {
        let a = store.append("in flight", &["u1"]).await;
        store.append("behind", &["u1"]).await;
        store.begin(a).await;
        assert_eq!(forget(store, &["u1"]).await, Forgotten { events: 1, in_flight: 1, ..Forgotten::default() });
        assert_eq!(store.names().await, ["in flight"]);
        store.begin(a).await;
        store.settle(a, retry(5)).await;
        assert_eq!(forget(store, &["u1"]).await, Forgotten { events: 1, ..Forgotten::default() }, "it is not any more");
        assert_eq!(store.counts(), (0, 2));
    })
    .await;
}

#[tokio::test]
async fn an_event_that_was_interrupted_is_not_in_flight() {
    every(async |store| {
        let a = store.append("a", &["u1"]).await;
        store.begin(a).await;
        store.save(&super::engine::unit(&[a]), &super::engine::progress(1)).await;
        store.reopen().await;
        assert_eq!(forget(store, &["u1"]).await, Forgotten { events: 1, ..Forgotten::default() });
    })
    .await;
}

/// From a key to the next, wherever the two stand together: here each step is another kind of place.
#[tokio::test]
async fn a_user_is_reached_through_all_that_leads_from_one_key_to_the_next() {
    every(async |store| {
        store.append("a", &["u1", "a@x.io"]).await;
        store.die("b", &["u2", "a@x.io"]).await;
        store.teach("c", &["u2"], remember("one", store.keys(&["u2", "c@x.io"]))).await;
        store.append("d", &["u3", "c@x.io"]).await;
        store.append("e", &["u3"]).await;
        store.append("another", &["u4", "d@x.io"]).await;
        let forgotten = forget(store, &["u1"]).await;
        assert_eq!((forgotten.events, forgotten.dead_letters, forgotten.affiliates), (3, 1, 1));
        assert_eq!(store.names().await, ["another"]);
    })
    .await;
}

#[tokio::test]
async fn a_user_is_found_among_many_others() {
    every(async |store| {
        let mut events: Vec<NewEvent> =
            (0..11_000).map(|n| store.event(&n.to_string(), &[&format!("u{n}")], 0)).collect();
        events[3].user_keys = store.keys(&["first", "both@x.io"]);
        events[10_997].user_keys = store.keys(&["last", "both@x.io"]);
        store.store().append(events).await.expect("appended");
        let forgotten = forget(store, &["last"]).await;
        assert_eq!((forgotten.events, store.counts()), (2, (10_998, 2)), "first, too, which only a second look finds");
    })
    .await;
}

#[tokio::test]
async fn a_delete_reaches_dead_letters_through_the_keys_of_others() {
    every(async |store| {
        store.die("u", &["u1"]).await;
        store.die("u+e", &["u1", "e@x.io"]).await;
        store.die("another", &["u2", "f@x.io"]).await;
        store.teach("delete", &["e@x.io"], erase(store.keys(&["e@x.io"]))).await;
        assert_eq!(bodies(store).await, ["-", "-", "another"]);
    })
    .await;
}

#[tokio::test]
async fn events_appended_after_a_user_was_forgotten_are_of_a_new_user() {
    every(async |store| {
        store.append("a", &["u1"]).await;
        forget(store, &["u1"]).await;
        let b = store.append("b", &["u1"]).await;
        assert_eq!(store.names().await, ["b"]);
        store.settle(b, done()).await;
        store.compact(LATE).await;
        // PostgreSQL's counts are up to date within about a second.
        within(poll_until(async || store.counts(), |counts| *counts == (0, 1))).await;
    })
    .await;
}
