//! Promises 5 and 6: progress and memory are written together; an event leaves carried out or dead, and is counted.

use super::engine::{LATE, dead, every, hand_back, is_behind, known, progress, remember, retry};
use refersion_destination::domain::Timestamp;
use refersion_destination::queue::Change;

#[tokio::test]
async fn a_checkpoint_keeps_progress_and_memory_across_a_restart() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        let change = remember("code", store.keys(&["u1"]));
        let queue = store.queue();
        queue.checkpoint(&claimed.ticket, &progress(5), change, Timestamp(LATE)).await.expect("written");
        store.reopen().await;
        let again = store.claim_one(0).await;
        assert_eq!(again.progress, progress(5));
        assert_eq!(again.memory.by_user_id, Some(known("code")));
        assert!(again.interrupted);
    })
    .await;
}

#[tokio::test]
async fn every_settlement_writes_its_memory() {
    for (n, settlement) in
        [refersion_destination::queue::Settlement::Done, retry(LATE), hand_back(), dead()].into_iter().enumerate()
    {
        every(async |store| {
            store.record("a", &["u1"]).await;
            let claimed = store.claim_one(0).await;
            let change = remember("code", store.keys(&["mark"]));
            store.queue().settle(&claimed.ticket, settlement.clone(), change).await.expect("settled");
            store.reopen().await;
            assert!(!is_behind(store.record_if_known("b", &["mark"]).await), "settlement {n}");
        })
        .await;
    }
}

#[tokio::test]
async fn a_settled_event_is_never_seen_again() {
    every(async |store| {
        store.record("done", &["u1"]).await;
        store.record("dead", &["u2"]).await;
        let claimed = store.claim(0).await;
        store.done(&claimed[0]).await;
        store.settle(&claimed[1].ticket, dead()).await.expect("settled");
        assert_eq!(store.claim_names(LATE).await, [""; 0]);
        store.reopen().await;
        assert_eq!(store.batch(9, LATE).await.next, None);
    })
    .await;
}

#[tokio::test]
async fn depth_counts_what_waits_what_is_carried_out_and_what_is_dead() {
    every(async |store| {
        assert_eq!(store.depth().await, (0, 0));
        for (name, user) in [("a", "u1"), ("b", "u1"), ("c", "u2"), ("d", "u3")] {
            store.record(name, &[user]).await;
        }
        assert_eq!(store.depth().await, (4, 0));
        let claimed = store.claim(0).await;
        assert_eq!(store.depth().await, (4, 0));
        store.done(&claimed[0]).await;
        store.settle(&claimed[1].ticket, dead()).await.expect("settled");
        store.settle(&claimed[2].ticket, retry(5)).await.expect("settled");
        assert_eq!(store.depth().await, (2, 1));
        store.reopen().await;
        assert_eq!(store.depth().await, (2, 1));
        store.tidy(LATE).await;
        assert_eq!(store.depth().await, (2, 1));
    })
    .await;
}

#[tokio::test]
async fn places_in_the_order_of_arrival_are_not_given_twice() {
    every(async |store| {
        let mut last = 0;
        for name in ["a", "b", "c", "d"] {
            store.record(name, &["u1"]).await;
            let claimed = store.claim_one(0).await;
            assert!(claimed.ticket.seq > last, "{name}");
            last = claimed.ticket.seq;
            store.settle(&claimed.ticket, dead()).await.expect("settled");
            store.reopen().await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_change_may_erase_without_anything_to_erase() {
    every(async |store| {
        let erase = store.keys(&["nobody", "nobody@x.io"]);
        store.teach("a", &["u1"], Change { erase, ..Change::default() }).await;
        assert_eq!(store.depth().await, (0, 0));
    })
    .await;
}
