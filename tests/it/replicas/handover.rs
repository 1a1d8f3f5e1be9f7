//! An account changes hands without a failure: a process comes, is stopped, or is replaced under load.

use super::cluster::{Cluster, LEASE, owner, post, until_owned};
use crate::support::{identify, poll_until, within};
use refersion_destination::sandbox::{Fault, SandboxSettings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::time::{Duration, Instant};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_leaves_its_accounts_at_once() {
    let Some(cluster) = Cluster::start().await else { return };
    let long = LEASE * 4; // a busy machine delays the handover
    let lease = format!("{}s", long.as_secs());
    let mut processes = cluster.processes_with_owner(2, &[("STORE_LEASE", &lease)], &[]).await;
    let stopped = processes.remove(0);
    let began = Instant::now();
    stopped.terminate();
    until_owned(&processes).await;
    assert!(began.elapsed() < long, "it did not wait for the lease: {:?}", began.elapsed());
    let (status, logged) = stopped.ended().await;
    assert_eq!(status.code(), Some(0), "{logged}");
    let row = cluster.connect().await.query_one("SELECT count(*) FROM replicas", &[]).await.expect("counted");
    assert_eq!(row.get::<_, i64>(0), 1, "it is gone from the list of processes, too");
}

/// The request in flight is finished, and the account is given up only then.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_stopped_with_a_request_in_flight_finishes_it_first() {
    let slow = SandboxSettings { latency: Duration::from_secs(4), ..SandboxSettings::default() };
    let Some(cluster) = Cluster::with(slow).await else { return };
    let mut processes = cluster.processes_with_owner(2, &[], &[]).await;
    let stopped = processes.remove(0);
    post(&stopped.server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    // It has taken effect, and is answered two seconds later.
    cluster.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    stopped.terminate();
    assert_eq!(stopped.ended().await.0.code(), Some(0));
    until_owned(&processes).await;
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new", "nobody had to look whether it took effect");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_account_whose_owner_is_asked_for_it_moves_between_two_deliveries() {
    let slow = SandboxSettings { latency: Duration::from_millis(20), ..SandboxSettings::default() };
    let Some(cluster) = Cluster::with(slow).await else { return };
    let mut processes = vec![cluster.process(&[])];
    until_owned(&processes).await;
    let (mut moved, mut number) = (0, 0);
    let mut was = 0;
    // Each that comes has an even chance to be the one that is to own the account.
    for _ in 0..4 {
        processes.push(cluster.process(&[]));
        let settled = cluster.settled_owner(&processes);
        tokio::pin!(settled);
        let is = loop {
            number += 1;
            let event =
                identify(&format!("m{number}"), &format!("u{}", number % 5), &json!({"city": format!("C{number}")}));
            tokio::select! {
                is = &mut settled => break is,
                answer = post(&processes[0].server, &event) => assert_eq!(answer.expect("answered").status, 202),
            }
        };
        moved += usize::from(is != was);
        was = is;
    }
    cluster.drained().await;
    let operations = cluster.refersion.operations();
    assert!(
        operations.iter().all(|operation| ["new", "edit"].contains(operation)),
        "nothing was interrupted: {operations:?}"
    );
    eprintln!("{number} events, the account moved {moved} times, {} calls", operations.len());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_answer_is_2xx_429_or_503_under_a_rolling_restart() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut processes: Vec<_> = (0..3).map(|_| cluster.process(&[])).collect();
    until_owned(&processes).await;
    let (mut number, mut accepted) = (0, BTreeSet::new());
    for index in 0..3 {
        let old = std::mem::replace(&mut processes[index], cluster.process(&[]));
        old.terminate();
        let ended = old.ended();
        tokio::pin!(ended);
        loop {
            number += 1;
            let user = number % 20;
            let event = identify(&format!("m{number}"), &format!("u{user}"), &Value::Null);
            let to = &processes[number % 3].server;
            tokio::select! {
                (status, logged) = &mut ended => {
                    assert_eq!(status.code(), Some(0), "{logged}");
                    break;
                }
                answer = post(to, &event) => {
                    let answer = answer.expect("answered");
                    assert!(matches!(answer.status, 200 | 202 | 429 | 503), "{}", answer.text);
                    accepted.extend((answer.status < 300).then_some(user));
                }
            }
        }
        until_owned(&processes).await;
    }
    cluster.drained().await;
    // A request that was cut off by the end of a process may have been stored.
    let affiliates = cluster.refersion.sandbox.affiliates().len();
    assert!((accepted.len()..=accepted.len() + 3).contains(&affiliates), "{accepted:?}, {affiliates}");
}

/// A 429 asks for a long pause, and its owner dies: the next owner waits as long.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_keeps_the_pause_that_refersion_asked_for() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut processes = cluster.processes_with_owner(2, &[], &[]).await;
    cluster.refersion.sandbox.script([Fault::too_many_calls(Some(8))]);
    post(&processes[0].server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    cluster.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    until_saved(&cluster, "rate_limited").await;
    processes.remove(0).kill();
    until_owned(&processes).await;
    cluster.drained().await;
    let at: Vec<i64> = cluster.refersion.sandbox.calls().iter().map(|call| call.at.0).collect();
    assert!(at[1] - at[0] >= 8_000, "after 8 s: {at:?}");
}

/// A 401 halts the account, and its owner dies: the next owner probes the key before it makes any other call.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_new_owner_keeps_a_halt_and_probes_the_key_first() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut processes =
        cluster.processes_with_owner(2, &[], &[("DELIVERY_RETRY_MIN", "1h"), ("DELIVERY_RETRY_MAX", "1h")]).await;
    cluster.refersion.sandbox.script([Fault::status(401)]);
    post(&processes[0].server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    cluster.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    until_saved(&cluster, "unauthorized").await;
    processes.remove(0).kill();
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new list new");
}

/// Waits until a pause or a halt is saved that has this cause.
pub async fn until_saved(cluster: &Cluster, cause: &str) {
    let database = cluster.connect().await;
    let saved = || async {
        let sql = "SELECT health::json -> 'pause' ->> 'cause' FROM accounts";
        database.query_one(sql, &[]).await.expect("one account").get::<_, Option<String>>(0)
    };
    within(poll_until(saved, |saved| saved.as_deref() == Some(cause))).await;
}

/// Of two calls a second, none comes early because the account has changed hands.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_ceiling_of_requests_per_second_holds_across_a_takeover() {
    let Some(cluster) = Cluster::start().await else { return };
    let ceiling = [("REFERSION_MAX_REQUESTS_PER_SECOND", "2"), ("REFERSION_CONCURRENCY", "4")];
    let mut processes: Vec<_> = (0..3).map(|_| cluster.process(&ceiling)).collect();
    until_owned(&processes).await;
    let events = (0..12).map(|n| identify(&format!("m{n}"), &format!("u{n}"), &Value::Null)).collect();
    post(&processes[0].server, &Value::Array(events)).await.expect("answered");
    for calls in [3, 6] {
        cluster.refersion.until(|sandbox| sandbox.calls_total() >= calls).await;
        let owning = within(poll_until(|| owner(&processes), Option::is_some)).await.expect("one");
        let process = processes.remove(owning);
        process.terminate();
        drop(process.ended().await);
    }
    cluster.drained().await;
    let at: Vec<i64> = cluster.refersion.sandbox.calls().iter().map(|call| call.at.0).collect();
    // What arrived late, because the machine is busy, does not make the next one early.
    let late = |earlier: i64, call: i64| (call - earlier - 500).max(0);
    let apart = |three: &[i64]| three[2] - three[1] + late(three[0], three[1]) >= 450;
    assert!(at.windows(3).all(apart), "half a second apart: {at:?}");
    assert_eq!(at.len(), 12);
}
