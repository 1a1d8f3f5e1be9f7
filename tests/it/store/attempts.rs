//! Promises 5 to 7, for single events: beginning, saving progress, settling.

use super::engine::{
    LATE, TestStore, dead, done, every, hand_back, known, progress, remember, retry, retry_with, unit,
};
use refersion_destination::delivery::Progress;
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::scheduling::{RetryWait, Unit};
use refersion_destination::store::{AffiliateChanges, Appended, Settlement, StoreError};
use std::time::Duration;

fn settlements() -> [Settlement; 4] {
    [done(), retry(5), hand_back(), dead()]
}

#[tokio::test]
async fn an_event_that_does_not_wait_is_not_begun_and_cannot_be_settled() {
    every(async |store| {
        let (settled, letter) = (store.append("a", &["u1"]).await, store.die("b", &["u1"]).await);
        store.settle(settled, done()).await;
        for gone in [settled, letter, Seq(99_999), Seq(0), Seq(-1)] {
            assert!(store.begin_units(&[Unit::of(gone)]).await.is_empty(), "{gone}");
            let void = || remember("void", store.keys(&["void"]));
            for settlement in settlements() {
                let unit = Unit::of(gone);
                let refused = store.store().settle(&store.account, &unit, settlement, void()).await;
                assert_eq!(refused, Err(StoreError::NotPending), "{gone}");
            }
            let refused = store.store().save_progress(&store.account, &Unit::of(gone), &progress(1), void()).await;
            assert_eq!(refused, Err(StoreError::NotPending), "{gone}");
        }
        assert_eq!(store.append_if_known("c", &["void"]).await, Appended::UnknownUser, "no change was made");
        assert_eq!(store.counts(), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn units_are_begun_in_the_order_asked_for() {
    every(async |store| {
        let mut seqs = Vec::new();
        for name in ["a", "b", "c"] {
            seqs.push(store.append(name, &[name]).await);
        }
        let units = [seqs[2], seqs[0], Seq(99_999), seqs[1]].map(Unit::of);
        let begun: Vec<Seq> = store.begin_units(&units).await.iter().map(|begun| begun.seq).collect();
        assert_eq!(begun, [seqs[2], seqs[0], seqs[1]]);
    })
    .await;
}

#[tokio::test]
async fn progress_and_affiliate_changes_survive_a_restart_and_the_attempt_is_interrupted() {
    every(async |store| {
        let a = store.append("a", &["u1"]).await;
        store.begin(a).await;
        let changes = remember("code", store.keys(&["u1"]));
        store.store().save_progress(&store.account, &Unit::of(a), &progress(5), changes).await.expect("saved");
        store.save(&Unit::of(a), &progress(6)).await;
        store.reopen().await;
        let entry = store.entries().await.remove(0);
        assert_eq!((entry.attempted, entry.followers, entry.retry), (true, vec![], None));
        for _ in 0..2 {
            let again = store.look_at(a).await;
            assert_eq!((again.progress, again.interrupted), (progress(6), true));
            assert_eq!(again.memory.by_user_id, Some(known("code")));
            store.reopen().await;
        }
    })
    .await;
}

/// Only what needs a mark pays for one: a single call that may be made twice is begun without any.
#[tokio::test]
async fn an_event_that_was_begun_without_a_mark_is_as_new_after_a_restart() {
    every(async |store| {
        let a = store.append("a", &["u1"]).await;
        store.begin(a).await;
        store.reopen().await;
        assert!(!store.entries().await[0].attempted);
        assert!(!store.look_at(a).await.interrupted);
    })
    .await;
}

#[tokio::test]
async fn every_settlement_writes_affiliate_changes_and_ends_the_interruption() {
    for settlement in settlements() {
        every(async |store| {
            let a = store.append("a", &["u1"]).await;
            store.begin(a).await;
            store.save(&Unit::of(a), &progress(3)).await;
            let changes = remember("code", store.keys(&["mark"]));
            let settled = store.store().settle(&store.account, &Unit::of(a), settlement.clone(), changes).await;
            assert_eq!(settled, Ok(()));
            store.reopen().await;
            let marked = store.append("b", &["mark"]).await;
            assert_eq!(store.look_at(marked).await.memory.by_user_id, Some(known("code")), "{settlement:?}");
            let again = store.begin_units(&[Unit::of(a)]).await;
            assert!(again.iter().all(|again| !again.interrupted), "{settlement:?}");
            assert_eq!(
                again.len(),
                usize::from(matches!(settlement, Settlement::Retry { .. } | Settlement::HandBack { .. }))
            );
        })
        .await;
    }
}

#[tokio::test]
async fn a_retry_has_its_wait_its_progress_and_its_failures_after_a_restart() {
    every(async |store| {
        let a = store.append("a", &["u1"]).await;
        let Settlement::Retry { attempt, .. } = retry(0) else { panic!("a retry") };
        let (wait, failing_for) = (Duration::from_millis(1_234), Duration::from_secs(60));
        let again = Settlement::Retry { wait, progress: Some(progress(4)), failures: 3, failing_for, attempt };
        store.settle(a, again).await;
        for _ in 0..2 {
            let entry = store.entries().await.remove(0);
            assert_eq!(entry.retry, Some(RetryWait { wait, noted_at: Timestamp(8) }));
            assert!(entry.attempted);
            let begun = store.look_at(a).await;
            assert_eq!((begun.failures, begun.failing_for, begun.progress), (3, failing_for, progress(4)));
            assert!(!begun.interrupted);
            store.reopen().await;
        }
        store.save(&Unit::of(a), &progress(4)).await;
        assert_eq!(store.entries().await[0].retry, None, "it was begun since");
        assert_eq!((store.look_at(a).await.failures, store.look_at(a).await.failing_for), (3, failing_for));
    })
    .await;
}

/// Waits are amounts: `now` is what the clock shows when the entry is read.
#[tokio::test]
async fn a_wait_that_was_written_under_a_wrong_clock_is_over_within_its_length() {
    let (minute, year, right) = (60_000, 365 * 24 * 3_600_000_i64, 1_700_000_000_000_i64);
    every(async |store| {
        let table = [
            (right, right, minute),
            (right - 20_000, right, 40_000),
            (right + 9 * year, right, minute),
            (right - year, right, 0),
        ];
        for (n, (noted_at, now, left)) in table.into_iter().enumerate() {
            let seq = store.append(&n.to_string(), &["u1"]).await;
            let Settlement::Retry { wait, progress, failures, failing_for, mut attempt } = retry(60_000) else {
                panic!("a retry")
            };
            attempt.at = Timestamp(noted_at);
            store.settle(seq, Settlement::Retry { wait, progress, failures, failing_for, attempt }).await;
            store.reopen().await;
            let entry = store.entries().await.pop().expect("it waits");
            let due = entry.retry.expect("it was retried").due(Timestamp(now));
            assert_eq!(due.0 - now, left, "noted at {noted_at}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_handed_back_is_as_if_it_had_not_been_begun_but_for_its_progress() {
    every(async |store| {
        let a = store.append("a", &["u1"]).await;
        store.settle(a, retry_with(60, Progress::default())).await;
        store.begin(a).await;
        store.settle(a, Settlement::HandBack { progress: progress(7) }).await;
        let again = store.look_at(a).await;
        assert_eq!((again.failures, again.failing_for, again.interrupted), (1, Duration::from_millis(5), false));
        assert_eq!(again.progress, progress(7));
        store.settle(a, hand_back()).await;
        assert_eq!(store.look_at(a).await.progress, Progress::default());
        let b = store.append("b", &["u1"]).await;
        store.save(&Unit::of(b), &progress(1)).await;
        store.settle(b, hand_back()).await;
        store.reopen().await;
        let entries = store.entries().await;
        assert_eq!((entries[0].attempted, entries[1].attempted), (true, false), "nothing is left of b's attempt");
    })
    .await;
}

#[tokio::test]
async fn counts_include_pending_events_events_in_flight_and_dead_letters() {
    every(async |store| {
        assert_eq!(store.counts(), (0, 0));
        let mut seqs = Vec::new();
        for name in ["a", "b", "c", "d"] {
            seqs.push(store.append(name, &[name]).await);
        }
        store.begin_units(&[Unit::of(seqs[0])]).await;
        assert_eq!(store.counts(), (4, 0));
        store.settle(seqs[0], done()).await;
        store.settle(seqs[1], dead()).await;
        store.settle(seqs[2], retry(5)).await;
        for _ in 0..2 {
            assert_eq!(store.counts(), (2, 1));
            assert_eq!(store.store().pending(), [("main".to_owned(), 2)].into());
            store.reopen().await;
        }
        store.compact(LATE).await;
        assert_eq!(store.counts(), (2, 1));
        store.settle(seqs[2], done()).await;
        store.settle(seqs[3], done()).await;
        assert_eq!(store.store().pending(), [].into(), "an account for which nothing waits takes no room");
    })
    .await;
}

#[tokio::test]
async fn an_event_of_another_account_cannot_be_settled() {
    every(async |store: &mut TestStore| {
        let a = store.append("a", &["u1"]).await;
        store.use_account(&refersion_destination::domain::AccountName::from("other".to_owned())).await;
        assert_eq!(store.try_settle(&unit(&[a]), done()).await, Err(StoreError::NotPending));
        let (unit_of_a, changes) = (unit(&[a]), AffiliateChanges::default());
        let saved = store.store().save_progress(&store.account, &unit_of_a, &progress(1), changes).await;
        assert_eq!(saved, Err(StoreError::NotPending));
        assert!(store.begin_units(&[unit(&[a])]).await.is_empty());
        assert_eq!(store.counts(), (1, 0));
    })
    .await;
}

#[tokio::test]
async fn the_health_of_an_account_is_kept_as_it_was_saved() {
    every(async |store| {
        let account = store.account.clone();
        assert_eq!(store.store().health(&account).await, Ok(None));
        for health in ["{\"rate\":3.7}", ""] {
            store.store().save_health(&account, health.to_owned()).await.expect("saved");
            store.reopen().await;
            assert_eq!(store.store().health(&account).await, Ok(Some(health.to_owned())));
        }
    })
    .await;
}

#[tokio::test]
async fn an_attempt_that_panicked_is_a_failure_and_keeps_the_saved_progress() {
    every(async |store| {
        let (a, b) = (store.append("a", &["u1"]).await, store.append("b", &["u1"]).await);
        let group = Unit { head: a, followers: vec![b] };
        let Settlement::Retry { attempt, .. } = retry(0) else { panic!("a retry") };
        let (wait, failing_for) = (Duration::from_millis(1_234), Duration::from_secs(60));
        let interrupted = Settlement::Retry { wait, progress: None, failures: 1, failing_for, attempt };
        for was_saved in [false, true] {
            if was_saved {
                store.begin(a).await;
                store.save(&group, &progress(4)).await;
            }
            store.settle(a, interrupted.clone()).await;
            store.reopen().await;
            let entry = store.entries().await.remove(0);
            assert_eq!(entry.retry.map(|retry| retry.wait), Some(wait));
            assert_eq!(entry.followers, if was_saved { vec![b] } else { Vec::new() });
            let begun = store.look_at(a).await;
            store.store().release(&[b]);
            let saved = if was_saved { progress(4) } else { Progress::default() };
            assert_eq!((begun.failures, begun.failing_for, begun.progress), (1, failing_for, saved));
            assert_eq!(begun.interrupted, was_saved);
        }
    })
    .await;
}
