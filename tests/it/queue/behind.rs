//! Promises 3 and 6: what waits behind a claimed event comes with it, and may leave with it.

use super::engine::{LATE, LEASE, Sqlite, Store, dead, every, hand_back, is_behind, known, names, remember, retry};
use refersion_destination::domain::{AccountName, Timestamp};
use refersion_destination::queue::{Change, Claimed, NewEvent, Place, QueueError, Recorded, Settlement};

/// The names of what came with a claimed event.
fn behind(claimed: &Claimed) -> Vec<String> {
    claimed.behind.iter().map(|behind| String::from_utf8_lossy(&behind.body).into_owned()).collect()
}

fn places(claimed: &Claimed) -> Vec<Place> {
    claimed.behind.iter().map(|behind| behind.place).collect()
}

/// Carried out with all that came with it.
fn with_all(claimed: &Claimed) -> Settlement {
    Settlement::DoneWith { behind: places(claimed) }
}

async fn line(store: &Store, names: &[&str]) {
    for name in names {
        store.record(name, &["u1"]).await;
    }
}

#[tokio::test]
async fn what_waits_behind_comes_in_its_order_and_of_its_own_line_only() {
    every(async |store| {
        for (name, users) in
            [("a", &["u1", "a@x.io"][..]), ("x", &["u2"]), ("b", &["a@x.io"]), ("y", &["u2"]), ("c", &["u1"])]
        {
            store.record(name, users).await;
        }
        let heads = store.claim(0).await;
        assert_eq!(names(&heads), ["a", "x"]);
        assert_eq!(
            (behind(&heads[0]), behind(&heads[1])),
            (vec!["b".to_owned(), "c".to_owned()], vec!["y".to_owned()])
        );
        assert_eq!(heads[0].behind[0].place.id, store.id("b"));
        assert_eq!(store.claim_names(0).await, [""; 0], "the lease on the head keeps everybody from them");
    })
    .await;
}

#[tokio::test]
async fn of_another_account_nothing_comes_even_under_equal_keys() {
    every(async |store| {
        let other = AccountName::from("other".to_owned());
        let of_other = NewEvent { account: other.clone(), ..store.event("b", &["u1"], 0) };
        store
            .try_record(vec![store.event("a", &["u1"], 0), of_other, store.event("c", &["u1"], 0)])
            .await
            .expect("recorded");
        let a = store.claim_one(0).await;
        assert_eq!(behind(&a), [""; 0]);
        store.done(&a).await;
        store.account = other;
        assert_eq!(behind(&store.claim_one(0).await), [""; 0]);
    })
    .await;
}

#[tokio::test]
async fn fifty_come_and_no_more() {
    every(async |store| {
        let events = (0..60).map(|n| store.event(&n.to_string(), &["u1"], 0)).collect();
        store.try_record(events).await.expect("recorded");
        let head = store.claim_one(0).await;
        assert_eq!(behind(&head), (1..=50).map(|n| n.to_string()).collect::<Vec<_>>());
        store.settle(&head.ticket, with_all(&head)).await.expect("settled");
        assert_eq!(behind(&store.claim_one(0).await).len(), 8);
    })
    .await;
}

/// An event of so many KiB.
fn large(store: &Store, name: &str, user: &str, kib: usize) -> NewEvent {
    NewEvent { body: vec![b'x'; kib * 1024], ..store.event(name, &[user], 0) }
}

#[tokio::test]
async fn no_more_than_128_kib_come_with_one() {
    every(async |store| {
        let events = [128, 100, 28, 1].map(|kib| large(store, &kib.to_string(), "u1", kib));
        store.try_record(events.into()).await.expect("recorded");
        assert_eq!(store.claim_one(0).await.behind.len(), 2, "100 and 28");
        let events = [1, 129, 1].map(|kib| large(store, &format!("{kib} of u2"), "u2", kib));
        store.try_record(events.into()).await.expect("recorded");
        assert_eq!(store.claim_one(0).await.behind.len(), 0, "none is passed over");
    })
    .await;
}

#[tokio::test]
async fn a_claim_brings_8_mib_at_most_and_the_rest_with_the_next() {
    every(async |store| {
        for user in 0..70 {
            let (head, next) = (format!("{user}"), format!("{user} behind"));
            let user = format!("u{user}");
            let both = vec![large(store, &head, &user, 100), large(store, &next, &user, 100)];
            store.try_record(both).await.expect("recorded");
        }
        let bytes =
            |claimed: &Claimed| claimed.body.len() + claimed.behind.iter().map(|one| one.body.len()).sum::<usize>();
        let mut heads = 0;
        while heads < 70 {
            let events = store.claim(0).await;
            assert!(!events.is_empty() && events.iter().map(bytes).sum::<usize>() <= 8 * 1024 * 1024);
            heads += events.len();
        }
        store.try_record(vec![large(store, "huge", "huge", 9 * 1024)]).await.expect("recorded");
        assert_eq!(store.claim_one(0).await.behind.len(), 0, "one always comes");
    })
    .await;
}

/// `b` of another user is tried, then turns out to be behind `a`; `c` behind both.
async fn with_one_that(store: &Store, tried: impl AsyncFnOnce(&Store, &Claimed)) -> Claimed {
    store.record_at("a", &["u1"], 0).await;
    store.record_at("b", &["u2@x.io"], 0).await;
    let heads = store.claim(0).await;
    store.settle(&heads[0].ticket, hand_back()).await.expect("handed back");
    tried(store, &heads[1]).await;
    store.record_at("c", &["u1", "u2@x.io"], 0).await;
    store.claim_one(0).await
}

#[tokio::test]
async fn who_was_tried_before_does_not_come_nor_who_waits_behind_it() {
    every(async |store| assert_eq!(behind(&with_one_that(store, async |_, _| ()).await), [""; 0], "leased")).await;
    let expired = async |store: &Store, _: &Claimed| drop(store.batch(0, LATE).await);
    every(async |store| assert_eq!(behind(&with_one_that(store, expired).await), [""; 0])).await;
    for tried in [retry(LATE), Settlement::HandBack { progress: super::engine::progress(3) }] {
        let settled = async |store: &Store, b: &Claimed| store.settle(&b.ticket, tried.clone()).await.expect("settled");
        every(async |store| assert_eq!(behind(&with_one_that(store, settled).await), [""; 0], "{tried:?}")).await;
    }
    let handed_back = async |store: &Store, b: &Claimed| store.settle(&b.ticket, hand_back()).await.expect("settled");
    every(async |store| {
        assert_eq!(behind(&with_one_that(store, handed_back).await), ["b", "c"], "as if it had not been");
    })
    .await;
}

#[tokio::test]
async fn after_a_restart_what_comes_is_the_same() {
    every(async |store| {
        line(store, &["a", "b", "c"]).await;
        let before = store.claim_one(0).await;
        store.reopen().await;
        let after = store.claim_one(0).await;
        assert!(after.interrupted);
        assert_eq!((behind(&after), places(&after)), (behind(&before), places(&before)));
    })
    .await;
}

#[tokio::test]
async fn all_leave_together_the_next_moves_up_and_each_is_a_duplicate() {
    every(async |store| {
        line(store, &["a", "b", "c"]).await;
        let a = store.claim_one(0).await;
        line(store, &["d"]).await;
        assert_eq!(store.depth().await, (4, 0));
        let change = remember("code", store.keys(&["u1"]));
        store.queue().settle(&a.ticket, with_all(&a), change).await.expect("settled");
        assert_eq!(store.depth().await, (1, 0));
        let d = store.claim_one(0).await;
        assert_eq!((names(std::slice::from_ref(&d)), behind(&d)), (vec!["d".to_owned()], vec![]));
        assert_eq!(d.memory.by_user_id, Some(known("code")));
        for name in ["a", "b", "c"] {
            assert_eq!(store.record(name, &["u1"]).await, Recorded::Duplicate);
        }
        store.done(&d).await;
        assert!(!is_behind(store.record("e", &["u1"]).await), "the line is empty");
        store.reopen().await;
        assert_eq!(store.depth().await, (1, 0));
    })
    .await;
}

#[tokio::test]
async fn who_is_not_named_stays() {
    every(async |store| {
        line(store, &["a", "b", "c"]).await;
        let a = store.claim_one(0).await;
        let behind = places(&a)[..1].to_vec();
        store.settle(&a.ticket, Settlement::DoneWith { behind }).await.expect("settled");
        assert_eq!(store.claim_names(0).await, ["c"]);
    })
    .await;
}

#[tokio::test]
async fn only_a_head_carried_out_takes_others_along() {
    for settlement in [Settlement::Done, dead(), retry(0), hand_back()] {
        every(async |store| {
            line(store, &["a", "b"]).await;
            let a = store.claim_one(0).await;
            store.settle(&a.ticket, settlement.clone()).await.expect("settled");
            let waits = if matches!(settlement, Settlement::Done | Settlement::Dead { .. }) { "b" } else { "a" };
            assert_eq!(store.claim_names(0).await, [waits]);
        })
        .await;
    }
}

#[tokio::test]
async fn one_that_was_forgotten_meanwhile_is_passed_over() {
    every(async |store| {
        line(store, &["a", "b", "c"]).await;
        let a = store.claim_one(0).await;
        let forgotten = store.queue().forget(&store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
        assert_eq!((forgotten.under_way, forgotten.events), (1, 2));
        line(store, &["d"]).await;
        store.settle(&a.ticket, with_all(&a)).await.expect("settled");
        assert_eq!(store.depth().await, (1, 2), "what was erased is told of, and nobody is counted twice");
        assert_eq!(store.claim_names(0).await, ["d"]);
    })
    .await;
}

#[tokio::test]
async fn under_a_lost_lease_nobody_leaves() {
    every(async |store| {
        line(store, &["a", "b"]).await;
        let before = store.claim_one(0).await;
        let after = store.claim_one(LEASE).await;
        let change = remember("void", store.keys(&["void"]));
        let settled = store.queue().settle(&before.ticket, with_all(&before), change).await;
        assert_eq!(settled, Err(QueueError::LeaseLost));
        assert_eq!(store.depth().await, (2, 0));
        assert_eq!(store.record_if_known("for void", &["void"]).await, Recorded::UnknownUser);
        store.settle(&after.ticket, with_all(&after)).await.expect("settled");
        assert_eq!(store.depth().await, (0, 0));
        let settled = store.queue().settle(&after.ticket, with_all(&after), Change::default()).await;
        assert_eq!(settled, Err(QueueError::LeaseLost));
    })
    .await;
}

#[tokio::test]
async fn a_place_of_another_event_takes_nobody_along() {
    every(async |store| {
        line(store, &["a", "b"]).await;
        store.record("x", &["u2"]).await;
        let heads = store.claim(0).await;
        let b = places(&heads[0])[0];
        let x = Place { seq: heads[1].ticket.seq, id: heads[1].ticket.id };
        let behind = vec![Place { id: store.id("another"), ..b }, Place { seq: 99, ..b }, x];
        store.settle(&heads[0].ticket, Settlement::DoneWith { behind }).await.expect("settled");
        assert_eq!(store.depth().await, (2, 0), "b waits, and x is leased to somebody");
        store.done(&heads[1]).await;
        assert_eq!(store.claim_names(0).await, ["b"]);
    })
    .await;
}

/// Lines that become one while several are carried out as one: what was claimed together may be finished together.
#[tokio::test]
async fn what_was_claimed_together_is_finished_together_although_its_line_became_one_with_another() {
    every(async |store| {
        store.record_at("a", &["u1"], 1).await;
        for name in ["b", "b2"] {
            store.record_at(name, &["u2@x.io"], 2).await;
        }
        let heads = store.claim(2).await;
        assert_eq!(behind(&heads[1]), ["b2"]);
        store.record_at("c", &["u1", "u2@x.io"], 3).await;
        store.settle(&heads[1].ticket, with_all(&heads[1])).await.expect("settled");
        assert_eq!(store.depth().await, (2, 0));
        assert_eq!(store.claim_names(3).await, [""; 0]);
        store.settle(&heads[0].ticket, hand_back()).await.expect("settled");
        let a = store.claim_one(3).await;
        assert_eq!(behind(&a), ["c"]);
        store.settle(&a.ticket, with_all(&a)).await.expect("settled");
        assert_eq!(store.depth().await, (0, 0));
        for user in ["u1", "u2@x.io"] {
            assert!(!is_behind(store.record(&format!("new {user}"), &[user]).await), "all lines are empty: {user}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_bodies_of_all_that_left_are_nowhere_on_disk_after_tidying() {
    let outside = Sqlite::new();
    let store = Store::new(Box::new(outside.clone()), u64::MAX / 2);
    line(&store, &["a body in front", "a body behind", "a body behind that"]).await;
    let holds = |text: &str| outside.bytes_on_disk().windows(text.len()).any(|window| window == text.as_bytes());
    assert!(holds("a body behind that"));
    let claimed = store.claim_one(0).await;
    store.settle(&claimed.ticket, with_all(&claimed)).await.expect("settled");
    store.tidy(0).await;
    assert!(!holds("a body"));
}
