//! When SQLite fails, nothing of what was asked has happened, and the store goes on.
//!
//! Failures are brought about from outside: a trigger that an operator's connection put into the file raises an error.

use super::engine::{LATE, Sqlite, Store, dead, names, remember};
use refersion_destination::queue::{NewEvent, QueueError, Recorded, Settlement};
use std::sync::Arc;

/// From now on, `event` on `table` fails where `condition` holds; `how` is one of SQLite's ways to fail.
fn sabotage(outside: &Sqlite, how: &str, event: &str, condition: &str) {
    let sql =
        format!("CREATE TRIGGER sabotage AFTER {event} WHEN {condition} BEGIN SELECT RAISE({how}, 'sabotage'); END");
    outside.behind_its_back().execute_batch(&sql).expect("the trigger is there");
}

fn repair(outside: &Sqlite) {
    outside.behind_its_back().execute_batch("DROP TRIGGER sabotage").expect("the trigger is gone");
}

fn failed<T: std::fmt::Debug>(result: Result<T, QueueError>) {
    match result {
        Err(QueueError::Failed(what)) => assert!(what.contains("sabotage"), "{what}"),
        other => panic!("expected a failure, found {other:?}"),
    }
}

#[tokio::test]
async fn a_call_that_fails_at_its_last_event_recorded_none() {
    for how in ["ABORT", "FAIL", "ROLLBACK"] {
        let (mut store, outside) = Store::sqlite();
        store.record("before", &["u1"]).await;
        sabotage(&outside, how, "INSERT ON events", "NEW.body = x'626f6f6d'");
        let events =
            || [("a", "u1"), ("b", "u2"), ("boom", "u3")].map(|(name, user)| store.event(name, &[user], 0)).to_vec();
        failed(store.try_record(events()).await);
        assert_eq!(store.depth().await, (1, 0), "{how}");
        repair(&outside);
        let expected = [
            Recorded::Accepted { behind: true, waiting: 1 },
            Recorded::Accepted { behind: false, waiting: 2 },
            Recorded::Accepted { behind: false, waiting: 3 },
        ];
        assert_eq!(store.try_record(events()).await.expect("recorded"), expected, "{how}");
        store.reopen().await;
        assert_eq!(store.depth().await, (4, 0), "{how}");
        assert_eq!(store.claim_names(0).await, ["before", "b", "boom"], "{how}");
    }
}

/// Callers of one group may all be refused for the sake of one; whoever was told of success finds their event again.
#[tokio::test]
async fn of_calls_at_once_exactly_those_that_succeeded_are_there() {
    for how in ["ABORT", "ROLLBACK"] {
        let (mut store, outside) = Store::sqlite();
        sabotage(&outside, how, "INSERT ON events", "length(NEW.body) = 5");
        let name = |n: usize| if n % 10 == 9 { format!("boom{}", n / 10) } else { format!("e{n}") };
        let mut calls = tokio::task::JoinSet::new();
        for n in 0..100 {
            let (queue, event) = (Arc::clone(store.queue()), store.event(&name(n), &[&name(n)], 0));
            calls.spawn(async move { queue.record(vec![event]).await.is_ok().then(|| name(n)) });
        }
        let mut told: Vec<String> = calls.join_all().await.into_iter().flatten().collect();
        assert_eq!(store.depth().await, (told.len() as u64, 0));
        repair(&outside);
        store.reopen().await;
        let mut there = store.claim_names(0).await;
        there.sort();
        told.sort();
        assert_eq!(there, told, "{how}");
        assert!(told.iter().all(|name| !name.starts_with("boom")));
    }
}

#[tokio::test]
async fn a_settlement_that_fails_changed_nothing_and_may_be_tried_again() {
    let settlements = [("DELETE ON events", Settlement::Done), ("INSERT ON dead_letters", dead())];
    for (event, settlement) in settlements {
        let (store, outside) = Store::sqlite();
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        sabotage(&outside, "ABORT", event, "true");
        let change = remember("code", store.keys(&["mark"]));
        failed(store.queue().settle(&claimed.ticket, settlement.clone(), change.clone()).await);
        assert_eq!(store.depth().await, (1, 0));
        assert_eq!(store.record_if_known("m", &["mark"]).await, Recorded::UnknownUser);
        repair(&outside);
        store.queue().settle(&claimed.ticket, settlement, change).await.expect("settled");
        assert_eq!(store.depth().await.0, 0);
        assert_eq!(store.claim_names(LATE).await, [""; 0]);
    }
}

#[tokio::test]
async fn a_claim_that_fails_leased_nothing() {
    let (store, outside) = Store::sqlite();
    let two = vec![store.event("a", &["u1"], 0), NewEvent { body: b"b".to_vec(), ..store.event("b", &["u2"], 0) }];
    store.try_record(two).await.expect("recorded");
    sabotage(&outside, "ABORT", "INSERT ON leases", "NEW.seq = 2");
    let claimed = store
        .queue()
        .claim(&store.account, 9, refersion_destination::domain::Timestamp(0), std::time::Duration::MAX)
        .await;
    failed(claimed);
    repair(&outside);
    let claimed = store.claim(0).await;
    assert_eq!(names(&claimed), ["a", "b"]);
    assert!(claimed.iter().all(|claimed| !claimed.interrupted));
}
