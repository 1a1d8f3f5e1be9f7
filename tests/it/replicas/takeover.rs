//! The owner dies, or freezes and wakes up later, at each named step of a creation, or while a call is in flight: another process makes
//! the remaining calls, and only those; what the old owner had prepared is not sent, and what it is answered is not settled.

use super::cluster::{Cluster, post};
use crate::crash::points::{CrashPoint, Scenario, creation};
use crate::support::process::Process;
use crate::support::{Answer, poll_until, within};
use futures_util::StreamExt;
use refersion_destination::sandbox::Fault;
use std::sync::Arc;
use tokio::task::JoinHandle;

/// How the owner ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Dies,
    Freezes,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_where_the_owner_died() {
    each_step(Failure::Dies).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_where_the_owner_froze_and_the_old_owner_does_nothing_when_it_wakes_up() {
    each_step(Failure::Freezes).await;
}

/// Rows, four at a time: each has two processes.
async fn each_step(failure: Failure) {
    let (scenario, crash_points) = creation();
    let scenario = Arc::new(scenario);
    let rows = futures_util::stream::iter(crash_points).map(|point| {
        let scenario = Arc::clone(&scenario);
        tokio::spawn(async move { row(&scenario, &point, failure).await })
    });
    let rows: Vec<_> = rows.buffer_unordered(4).collect().await;
    for row in rows {
        row.expect("the row holds");
    }
}

async fn row(scenario: &Scenario, point: &CrashPoint, failure: Failure) {
    let Some(cluster) = Cluster::start().await else { return };
    let action = if failure == Failure::Dies { "return" } else { "1*return(freeze)" };
    let passed = point.time - 1;
    let armed = format!("{}={}{action}", point.at, if passed == 0 { String::new() } else { format!("{passed}*off->") });
    let mut processes = cluster.processes_with_owner(2, scenario.settings, &[("FAILPOINTS", &armed)]).await;
    let owner = processes.remove(0);
    let request = send(&owner, scenario);
    within(poll_until(|| std::future::ready(owner.is_frozen() || owner.has_ended()), |ended| *ended)).await;
    let calls = [point.made, point.remain];
    taken_over(&cluster, scenario, calls, &processes[0]).await;
    if failure == Failure::Freezes {
        wakes_up(&cluster, owner, calls, request).await;
    }
}

/// The calls made until the owner is gone, the last of which is in flight, whether that one has its effect, and the calls that remain.
const IN_FLIGHT: [([&str; 2], bool); 4] = [
    (["new", "new edit"], false),
    (["new", "new search get edit"], true),
    (["new edit", "edit"], false),
    (["new edit", "edit get"], true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_where_the_owner_died_or_froze_while_a_call_was_in_flight() {
    let scenario = Arc::new(creation().0);
    let rows = IN_FLIGHT.into_iter().flat_map(|row| [(row, Failure::Dies), (row, Failure::Freezes)]);
    let rows = futures_util::stream::iter(rows).map(|((calls, effect), failure)| {
        let scenario = Arc::clone(&scenario);
        tokio::spawn(async move { while_in_flight(&scenario, calls, effect, failure).await })
    });
    let rows: Vec<_> = rows.buffer_unordered(4).collect().await;
    for row in rows {
        row.expect("the row holds");
    }
}

async fn while_in_flight(scenario: &Scenario, calls: [&'static str; 2], effect: bool, failure: Failure) {
    let Some(cluster) = Cluster::start().await else { return };
    let mut processes = cluster.processes_with_owner(2, scenario.settings, &[]).await;
    let owner = processes.remove(0);
    let before = calls[0].split(' ').count() - 1;
    cluster.refersion.sandbox.script((0..before).map(|_| Fault::Pass).chain([Fault::Hang { effect }]));
    let request = send(&owner, scenario);
    cluster.refersion.until(|sandbox| sandbox.calls_total() > before as u64).await;
    if failure == Failure::Dies {
        owner.kill();
        taken_over(&cluster, scenario, calls, &processes[0]).await;
    } else {
        owner.signal("STOP");
        taken_over(&cluster, scenario, calls, &processes[0]).await;
        wakes_up(&cluster, owner, calls, request).await;
    }
}

/// Sends the event to the owner; nobody waits for the answer.
fn send(owner: &Process, scenario: &Scenario) -> JoinHandle<Option<Answer>> {
    let (server, event) = (owner.server.clone(), scenario.event.clone());
    tokio::spawn(async move { post(&server, &event).await })
}

/// The owner is gone after the first of these calls: the sender gives up waiting, and sends the event to this process, which makes the
/// other calls.
async fn taken_over(cluster: &Cluster, scenario: &Scenario, calls: [&str; 2], process: &Process) {
    assert_eq!(cluster.calls(), calls[0], "made before: {calls:?}");
    let answer = within(post(&process.server, &scenario.event)).await.expect("answered");
    assert!([202, 200].contains(&answer.status), "{calls:?}: {}", answer.text);
    cluster.drained().await;
    assert_eq!(cluster.calls(), joined(calls), "made in all");
    let affiliates = cluster.refersion.sandbox.affiliates();
    assert!(affiliates.len() == 1 && (scenario.holds)(&affiliates[0]), "{calls:?}: {affiliates:?}");
}

/// The old owner goes on: it makes no call, settles nothing, and ends in order.
async fn wakes_up(cluster: &Cluster, owner: Process, calls: [&str; 2], request: JoinHandle<Option<Answer>>) {
    owner.signal("CONT");
    // What it had begun ends before it can answer: it is asked only once its request has ended.
    drop(within(request).await);
    within(poll_until(|| owner.ready(), |ready| ready.status == 200)).await;
    owner.terminate();
    let (status, logged) = owner.ended().await;
    assert_eq!(status.code(), Some(0), "{calls:?}: {logged}");
    cluster.drained().await;
    assert_eq!(cluster.calls(), joined(calls), "and no other when it woke up");
    let affiliates = cluster.refersion.sandbox.affiliates();
    assert_eq!(affiliates.len(), 1, "{calls:?}: {affiliates:?}");
}

fn joined(calls: [&str; 2]) -> String {
    calls.into_iter().filter(|calls| !calls.is_empty()).collect::<Vec<_>>().join(" ")
}
