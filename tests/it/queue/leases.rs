//! Promise 4 and claims: order, limit, the next moment, leases and what becomes of them.

use super::engine::{LATE, LEASE, Store, dead, every, hand_back, names, progress, remember, retry};
use refersion_destination::delivery::Progress;
use refersion_destination::domain::{AccountName, Timestamp};
use refersion_destination::queue::{Attempt, Change, QueueError, Settlement, Ticket};

/// One event of each kind of settlement.
fn settlements() -> [Settlement; 4] {
    [Settlement::Done, retry(5), hand_back(), dead()]
}

/// A ticket that no longer holds settles nothing and writes nothing down.
async fn is_void(store: &Store, ticket: &Ticket) {
    let change = remember("void", store.keys(&["void"]));
    for settlement in settlements() {
        let settled = store.queue().settle(ticket, settlement, change.clone()).await;
        assert_eq!(settled, Err(QueueError::LeaseLost));
    }
    let written = store.queue().checkpoint(ticket, &progress(9), change, Timestamp(LATE)).await;
    assert_eq!(written, Err(QueueError::LeaseLost));
    let unknown = store.record_if_known("for void", &["void"]).await;
    assert_eq!(unknown, refersion_destination::queue::Recorded::UnknownUser, "the change was not made");
}

#[tokio::test]
async fn claims_come_in_the_order_in_which_events_became_ready() {
    every(async |store| {
        store.record_at("late", &["u1"], 30).await;
        store.record_at("early", &["u2"], 10).await;
        store.record_at("as early", &["u3"], 10).await;
        store.record_at("in between", &["u4"], 20).await;
        let early = store.batch(1, 30).await.events;
        assert_eq!(names(&early), ["early"]);
        store.settle(&early[0].ticket, retry(25)).await.expect("settled");
        assert_eq!(store.claim_names(30).await, ["as early", "in between", "early", "late"]);
    })
    .await;
}

#[tokio::test]
async fn a_claim_brings_no_more_than_its_limit() {
    every(async |store| {
        for n in 0..5 {
            store.record_at(&n.to_string(), &[&format!("u{n}")], n).await;
        }
        assert_eq!(names(&store.batch(0, 9).await.events), [""; 0]);
        assert_eq!(names(&store.batch(2, 9).await.events), ["0", "1"]);
        assert_eq!(names(&store.batch(2, 9).await.events), ["2", "3"]);
        assert_eq!(names(&store.batch(2, 9).await.events), ["4"]);
    })
    .await;
}

#[tokio::test]
async fn nothing_is_claimable_before_its_moment_and_a_claim_says_which_moment_comes_next() {
    every(async |store| {
        assert_eq!(store.batch(9, 0).await.next, None);
        store.record_at("a", &["u1"], 10).await;
        store.record_at("b", &["u2"], 20).await;
        let batch = store.batch(9, 9).await;
        assert_eq!((names(&batch.events).len(), batch.next), (0, Some(Timestamp(10))));
        let batch = store.batch(9, 10).await;
        assert_eq!((names(&batch.events), batch.next), (vec!["a".to_owned()], Some(Timestamp(20))));
        let batch = store.batch(9, 20).await;
        assert_eq!((names(&batch.events), batch.next), (vec!["b".to_owned()], Some(Timestamp(10 + LEASE))));
    })
    .await;
}

#[tokio::test]
async fn claims_see_their_own_account_only() {
    every(async |store| {
        store.record("of main", &["u1"]).await;
        store.account = AccountName::from("other".to_owned());
        assert!(!super::engine::is_behind(store.record("of other", &["u1"]).await));
        assert_eq!(store.claim_names(0).await, ["of other"]);
        assert_eq!(store.batch(9, 0).await.next, Some(Timestamp(LEASE)));
        store.account = AccountName::main();
        assert_eq!(store.claim_names(0).await, ["of main"]);
    })
    .await;
}

#[tokio::test]
async fn a_leased_event_is_nobody_elses_until_the_lease_expires_and_then_comes_as_interrupted() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let first = store.claim_one(5).await;
        assert_eq!(store.claim_names(5 + LEASE - 1).await, [""; 0]);
        let second = store.claim_one(5 + LEASE).await;
        assert!(!first.interrupted && second.interrupted);
        assert_ne!(first.ticket, second.ticket);
        is_void(store, &first.ticket).await;
        store.done(&second).await;
        is_void(store, &second.ticket).await;
        assert_eq!(store.depth().await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn an_expired_lease_still_settles_if_nobody_else_claimed_the_event() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        store.batch(0, LATE).await;
        store.done(&claimed).await;
        assert_eq!(store.depth().await, (0, 0));
    })
    .await;
}

#[tokio::test]
async fn a_checkpoint_holds_the_lease() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        let until = Timestamp(10 * LEASE);
        store.queue().checkpoint(&claimed.ticket, &progress(3), Change::default(), until).await.expect("written");
        assert_eq!(store.claim_names(10 * LEASE - 1).await, [""; 0]);
        let again = store.claim_one(10 * LEASE).await;
        assert_eq!((again.progress.clone(), again.interrupted), (progress(3), true));
        is_void(store, &claimed.ticket).await;
    })
    .await;
}

#[tokio::test]
async fn after_a_restart_what_was_leased_is_claimable_at_once_as_interrupted() {
    every(async |store| {
        store.record_at("a", &["u1"], 3).await;
        store.record_at("b", &["u1"], 3).await;
        let before = store.claim_one(3).await;
        store.reopen().await;
        is_void(store, &before.ticket).await;
        let after = store.claim_one(3).await;
        assert_eq!((after.body.as_slice(), after.interrupted), (&b"a"[..], true));
        is_void(store, &before.ticket).await;
        store.settle(&after.ticket, retry(4)).await.expect("settled");
        assert!(!store.claim_one(4).await.interrupted, "the second attempt ended with a word");
    })
    .await;
}

#[tokio::test]
async fn an_event_that_was_retried_before_a_restart_waits_for_its_moment_after_it() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        store.settle(&claimed.ticket, retry(700)).await.expect("settled");
        store.reopen().await;
        assert_eq!(store.batch(9, 699).await.next, Some(Timestamp(700)));
        assert!(!store.claim_one(700).await.interrupted);
    })
    .await;
}

#[tokio::test]
async fn a_retry_comes_again_at_its_moment_with_progress_and_failures() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        let attempt = Attempt { at: Timestamp(8), what: String::new() };
        let (at, failing_since) = (Timestamp(50), Timestamp(8));
        let settlement = Settlement::Retry { at, progress: progress(4), failures: 3, failing_since, attempt };
        store.settle(&claimed.ticket, settlement).await.expect("settled");
        is_void(store, &claimed.ticket).await;
        for restarted in [false, true] {
            assert_eq!(store.claim_names(49).await, [""; 0]);
            let again = store.claim_one(50).await;
            assert_eq!((again.failures, again.failing_since), (3, Some(Timestamp(8))));
            assert_eq!((again.progress.clone(), again.interrupted), (progress(4), restarted));
            store.reopen().await;
            if restarted {
                break;
            }
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_handed_back_is_as_if_it_had_not_been_claimed_but_for_its_progress() {
    every(async |store| {
        store.record_at("a", &["u1"], 5).await;
        store.record_at("b", &["u2"], 6).await;
        let a = store.claim(6).await.remove(0);
        store.settle(&a.ticket, retry(60)).await.expect("settled");
        let a = store.claim_one(60).await;
        let settlement = Settlement::HandBack { progress: progress(7) };
        store.settle(&a.ticket, settlement).await.expect("settled");
        is_void(store, &a.ticket).await;
        let a = store.claim_one(60).await;
        assert_eq!((a.failures, a.failing_since, a.interrupted), (1, Some(Timestamp(0)), false));
        assert_eq!(a.progress, progress(7));
        store.settle(&a.ticket, hand_back()).await.expect("settled");
        assert_eq!(store.claim_one(60).await.progress, Progress::default());
    })
    .await;
}

#[tokio::test]
async fn a_ticket_of_another_event_opens_none() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        let id = store.id("another");
        is_void(store, &Ticket { id, ..claimed.ticket.clone() }).await;
        is_void(store, &Ticket { seq: claimed.ticket.seq + 1, ..claimed.ticket.clone() }).await;
        is_void(store, &Ticket { claim: claimed.ticket.claim + 1, ..claimed.ticket.clone() }).await;
        store.done(&claimed).await;
    })
    .await;
}

#[tokio::test]
async fn after_close_every_call_says_closed() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        let queue = store.queue();
        queue.close().await;
        queue.close().await;
        assert_eq!(store.try_record(vec![store.event("b", &["u2"], 0)]).await, Err(QueueError::Closed));
        assert_eq!(store.settle(&claimed.ticket, Settlement::Done).await, Err(QueueError::Closed));
        assert_eq!(queue.tidy(Timestamp(0)).await, Err(QueueError::Closed));
        assert_eq!(queue.depth().await, Err(QueueError::Closed));
    })
    .await;
}

#[tokio::test]
async fn what_was_received_under_a_clock_since_set_back_is_claimable_at_once_and_in_its_order() {
    every(async |store| {
        let (before, ahead, now) = (1_000, 900_000_000, 2_000);
        store.try_record(vec![store.event("earlier", &["u0"], before)]).await.expect("recorded");
        let claimed = store.claim_one(before).await;
        store.settle(&claimed.ticket, retry(now + 500)).await.expect("settled");
        store
            .try_record(vec![store.event("a", &["u1"], ahead), store.event("b", &["u1"], ahead)])
            .await
            .expect("recorded");
        store.reopen().await;
        assert!(store.claim(now).await.is_empty());
        store.queue().mend(Timestamp(now)).await.expect("mended");
        let claimed = store.claim_one(now).await;
        assert_eq!(claimed.ticket.id, store.id("a"), "a wait begun under a right clock goes on");
        store.done(&claimed).await;
        assert_eq!(store.claim_one(now).await.ticket.id, store.id("b"));
    })
    .await;
}
