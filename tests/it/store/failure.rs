//! Errors of SQLite: the failed request changed nothing, no other job fails with it, and the store works on.
//!
//! The errors are raised by a trigger that another connection puts into the file.

use super::engine::{Sqlite, TestStore, dead, done, hand_back, progress, remember, retry, unit};
use refersion_destination::domain::Timestamp;
use refersion_destination::store::{Appended, StoreError};
use std::sync::Arc;

/// From now on, `event` fails where `condition` holds; `how` is one of SQLite's ways to fail.
fn sabotage(outside: &Sqlite, how: &str, event: &str, condition: &str) {
    let sql =
        format!("CREATE TRIGGER sabotage AFTER {event} WHEN {condition} BEGIN SELECT RAISE({how}, 'sabotage'); END");
    outside.connection().execute_batch(&sql).expect("the trigger is there");
}

fn repair(outside: &Sqlite) {
    outside.connection().execute_batch("DROP TRIGGER sabotage").expect("the trigger is gone");
}

fn failed<T: std::fmt::Debug>(result: Result<T, StoreError>) {
    match result {
        Err(StoreError::Fatal(what) | StoreError::Transient(what)) => assert!(what.contains("sabotage"), "{what}"),
        other => panic!("expected a failure, found {other:?}"),
    }
}

#[tokio::test]
async fn a_call_that_fails_at_its_last_event_appended_none_and_leaves_its_ids_unknown() {
    for how in ["ABORT", "FAIL", "ROLLBACK"] {
        let (mut store, outside) = TestStore::sqlite();
        store.append("before", &["u1"]).await;
        sabotage(&outside, how, "INSERT ON bodies", "NEW.body = x'626f6f6d'");
        let events =
            || [("a", "u1"), ("b", "u2"), ("boom", "u3")].map(|(name, user)| store.event(name, &[user], 0)).to_vec();
        failed(store.store().append(events()).await);
        assert_eq!(store.counts(), (1, 0), "{how}");
        repair(&outside);
        let appended = store.store().append(events()).await.expect("appended");
        let waiting = appended.iter().map(|one| match one {
            Appended::Accepted { pending, .. } => *pending,
            other => panic!("{how}: {other:?}"),
        });
        assert_eq!(waiting.collect::<Vec<_>>(), [1, 2, 3], "{how}");
        store.reopen().await;
        assert_eq!(
            (store.counts(), store.names().await),
            ((4, 0), ["before", "a", "b", "boom"].map(str::to_owned).to_vec())
        );
    }
}

/// Jobs of one group commit together, but one that fails takes nobody along.
#[tokio::test]
async fn only_calls_that_cannot_be_done_fail_among_calls_at_once() {
    for how in ["ABORT", "FAIL"] {
        let (mut store, outside) = TestStore::sqlite();
        sabotage(&outside, how, "INSERT ON bodies", "length(NEW.body) = 5");
        let name = |n: usize| if n % 10 == 9 { format!("boom{}", n / 10) } else { format!("e{n}") };
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (log, event) = (Arc::clone(store.store()), store.event(&name(n), &[&name(n)], 0));
            calls.spawn(async move { (n, log.append(vec![event]).await.is_ok()) });
        }
        let mut answers = calls.join_all().await;
        answers.sort_unstable();
        let expected: Vec<(usize, bool)> = (0..100).map(|n| (n, n % 10 != 9)).collect();
        assert_eq!(answers, expected, "{how}");
        repair(&outside);
        store.reopen().await;
        let mut there = store.names().await;
        there.sort();
        let mut expected: Vec<String> = (0..100).filter(|n| n % 10 != 9).map(name).collect();
        expected.sort();
        assert_eq!(there, expected, "{how}");
        for n in [9, 99] {
            assert!(!store.is_duplicate(&name(n)).await, "its id never counted");
        }
    }
}

/// A failure that rolls the whole transaction back: an append that was answered with success is found again.
#[tokio::test]
async fn calls_at_once_that_succeeded_are_stored_although_sqlite_rolled_back() {
    let (mut store, outside) = TestStore::sqlite();
    sabotage(&outside, "ROLLBACK", "INSERT ON bodies", "length(NEW.body) = 5");
    let name = |n: usize| if n % 10 == 9 { format!("boom{}", n / 10) } else { format!("e{n}") };
    let mut calls = tokio::task::JoinSet::new();
    for n in 0..100 {
        let (log, event) = (Arc::clone(store.store()), store.event(&name(n), &[&name(n)], 0));
        calls.spawn(async move { log.append(vec![event]).await.is_ok().then(|| name(n)) });
    }
    let mut accepted: Vec<String> = calls.join_all().await.into_iter().flatten().collect();
    assert_eq!(store.counts(), (accepted.len() as u64, 0));
    repair(&outside);
    store.reopen().await;
    let mut there = store.names().await;
    there.sort();
    accepted.sort();
    assert_eq!(there, accepted);
    assert!(accepted.iter().all(|name| !name.starts_with("boom")));
}

#[tokio::test]
async fn a_settlement_that_fails_changed_nothing_and_may_be_tried_again() {
    let table = [
        ("UPDATE ON bodies", done(), 0),
        ("INSERT ON dead_letters", dead(), 0),
        ("UPDATE ON attempts", retry(5), 1),
        ("DELETE ON attempts", hand_back(), 1),
    ];
    for (event, settlement, waiting) in table {
        let (store, outside) = TestStore::sqlite();
        let a = store.append("a", &["u1"]).await;
        store.begin(a).await;
        store.save(&unit(&[a]), &progress(3)).await;
        sabotage(&outside, "ABORT", event, "true");
        let changes = remember("code", store.keys(&["mark"]));
        let settle =
            async || store.store().settle(&store.account, &unit(&[a]), settlement.clone(), changes.clone()).await;
        failed(settle().await);
        assert_eq!(store.counts(), (1, 0));
        let mark = store.append("m", &["mark"]).await;
        assert_eq!(store.look_at(mark).await.memory.by_user_id, None, "{event}");
        let again = store.look_at(a).await;
        assert_eq!((again.progress, again.interrupted), (progress(3), true), "{event}");
        repair(&outside);
        settle().await.expect("settled");
        assert_eq!(store.look_at(mark).await.memory.by_user_id, Some(super::engine::known("code")), "{event}");
        assert_eq!(store.counts().0, waiting + 1, "{event}");
    }
}

/// The process that carries it out settles it once that is possible.
#[tokio::test]
async fn an_event_is_still_in_flight_after_its_settlement_failed() {
    let (store, outside) = TestStore::sqlite();
    let a = store.append("a", &["u1"]).await;
    store.begin(a).await;
    sabotage(&outside, "ABORT", "UPDATE ON bodies", "true");
    failed(store.try_settle(&unit(&[a]), done()).await);
    repair(&outside);
    let forgotten = store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
    assert_eq!((forgotten.events, forgotten.in_flight), (0, 1));
    store.settle(a, done()).await;
}

#[tokio::test]
async fn progress_that_could_not_be_saved_was_not() {
    let (mut store, outside) = TestStore::sqlite();
    let [a, b] = [store.append("a", &["u1"]).await, store.append("b", &["u1"]).await];
    sabotage(&outside, "ABORT", "INSERT ON attempts", "true");
    let changes = remember("code", store.keys(&["u1"]));
    failed(store.store().save_progress(&store.account, &unit(&[a, b]), &progress(1), changes).await);
    repair(&outside);
    store.reopen().await;
    assert!(store.entries().await.iter().all(|entry| !entry.attempted && entry.followers.is_empty()));
    assert_eq!(store.look_at(a).await.memory.by_user_id, None);
}

#[tokio::test]
async fn all_dead_letters_that_are_replayed_together_are_pending_or_none() {
    let (store, outside) = TestStore::sqlite();
    let [a, b] = [store.die("a", &["u1"]).await, store.die("b", &["u1"]).await];
    sabotage(&outside, "ABORT", "INSERT ON bodies", "NEW.body = x'62'");
    failed(store.store().replay(&[a.0, b.0]).await);
    assert_eq!((store.counts(), store.names().await), ((0, 2), vec![]));
    repair(&outside);
    store.store().replay(&[a.0, b.0]).await.expect("replayed");
    assert_eq!((store.counts(), store.names().await), ((2, 0), vec!["a".to_owned(), "b".to_owned()]));
}

#[tokio::test]
async fn to_forget_a_user_fails_as_a_whole() {
    let (store, outside) = TestStore::sqlite();
    store.append("a", &["u1"]).await;
    store.die("b", &["u1"]).await;
    sabotage(&outside, "ABORT", "UPDATE OF erased ON dead_letters", "true");
    let forget = async || store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await;
    failed(forget().await);
    assert_eq!((store.counts(), store.names().await), ((1, 1), vec!["a".to_owned()]));
    repair(&outside);
    let forgotten = forget().await.expect("forgotten");
    assert_eq!((forgotten.events, forgotten.dead_letters, forgotten.in_flight), (1, 1, 0));
}
