//! The owner dies, or freezes and wakes up later, at each named step of a creation, at those of an edit and a delete from the first call
//! on, or while a call is in flight: another process makes the remaining calls, and only those; calls that the old owner had prepared are
//! not sent, and replies that it gets are not settled.

use super::cluster::{Cluster, post};
use crate::crash::points::{CrashPoint, Scenario, creation, deletion, edit};
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

/// Up to its first call, an event goes through the same steps, whatever it is.
fn steps() -> Vec<(Arc<Scenario>, CrashPoint)> {
    let rows = |(scenario, crash_points): (Scenario, Vec<CrashPoint>)| {
        let scenario = Arc::new(scenario);
        crash_points.into_iter().map(move |point| (Arc::clone(&scenario), point))
    };
    let ((creation, all), (edit, of_edit), (deletion, of_deletion)) = (creation(), edit(), deletion());
    let from_first_call =
        |crash_points: &[CrashPoint]| crash_points.iter().filter(|point| !point.made.is_empty()).copied().collect();
    let edits = rows((edit, from_first_call(&of_edit)));
    rows((creation, all.to_vec())).chain(edits).chain(rows((deletion, from_first_call(&of_deletion)))).collect()
}

/// Rows, four at a time: each has two processes.
async fn each_step(failure: Failure) {
    let rows = futures_util::stream::iter(steps())
        .map(|(scenario, point)| tokio::spawn(async move { row(&scenario, &point, failure).await }));
    let rows: Vec<_> = rows.buffer_unordered(4).collect().await;
    for row in rows {
        row.expect("the row holds");
    }
}

async fn row(scenario: &Scenario, point: &CrashPoint, failure: Failure) {
    let Some(stage) = Stage::set(scenario).await else { return };
    let action = if failure == Failure::Dies { "return" } else { "1*return(freeze)" };
    let armed = point.armed(action);
    let mut processes = stage.cluster.processes_with_owner(2, scenario.settings, &[("FAILPOINTS", &armed)]).await;
    let owner = processes.remove(0);
    let request = send(&owner, scenario);
    within(poll_until(|| std::future::ready(owner.is_frozen() || owner.has_ended()), |ended| *ended)).await;
    let calls = [point.made, point.remain];
    stage.taken_over(calls, &processes[0]).await;
    if failure == Failure::Freezes {
        stage.wakes_up(owner, calls, request).await;
    }
}

/// The calls made until the owner is gone, the last of which is in flight, whether that one has its effect, and the calls that remain.
type InFlight = ([&'static str; 2], bool);

const OF_CREATION: [InFlight; 4] = [
    (["new", "new edit"], false),
    (["new", "new search get edit"], true),
    (["new edit", "edit"], false),
    (["new edit", "edit get"], true),
];
const OF_EDIT: [InFlight; 2] = [(["edit", "edit"], false), (["edit", "edit get"], true)];
const OF_DELETION: [InFlight; 2] = [
    (["search get status_change", "get status_change"], false),
    (["search get status_change", "get status_change get"], true),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_where_the_owner_died_or_froze_while_a_call_was_in_flight() {
    let scenarios = [(creation().0, &OF_CREATION[..]), (edit().0, &OF_EDIT[..]), (deletion().0, &OF_DELETION[..])];
    let rows = scenarios.into_iter().flat_map(|(scenario, rows)| {
        let scenario = Arc::new(scenario);
        let each = rows.iter().flat_map(|row| [(*row, Failure::Dies), (*row, Failure::Freezes)]);
        each.map(move |(row, failure)| (Arc::clone(&scenario), row, failure)).collect::<Vec<_>>()
    });
    let rows = futures_util::stream::iter(rows).map(|(scenario, (calls, effect), failure)| {
        tokio::spawn(async move { while_in_flight(&scenario, calls, effect, failure).await })
    });
    let rows: Vec<_> = rows.buffer_unordered(4).collect().await;
    for row in rows {
        row.expect("the row holds");
    }
}

async fn while_in_flight(scenario: &Scenario, calls: [&'static str; 2], effect: bool, failure: Failure) {
    let Some(stage) = Stage::set(scenario).await else { return };
    let mut processes = stage.cluster.processes_with_owner(2, scenario.settings, &[]).await;
    let owner = processes.remove(0);
    let made = calls[0].split(' ').count();
    let sandbox = &stage.cluster.refersion.sandbox;
    sandbox.script((1..made).map(|_| Fault::Pass).chain([Fault::Hang { effect }]));
    let request = send(&owner, scenario);
    let all = (stage.before + made) as u64;
    stage.cluster.refersion.until(|sandbox| sandbox.calls_total() >= all).await;
    if failure == Failure::Dies {
        owner.kill();
        stage.taken_over(calls, &processes[0]).await;
    } else {
        owner.signal("STOP");
        stage.taken_over(calls, &processes[0]).await;
        stage.wakes_up(owner, calls, request).await;
    }
}

/// Sends the event to the owner; nobody waits for the answer.
fn send(owner: &Process, scenario: &Scenario) -> JoinHandle<Option<Answer>> {
    let (server, event) = (owner.server.clone(), scenario.event.clone());
    tokio::spawn(async move { post(&server, &event).await })
}

/// A cluster for one row.
struct Stage<'a> {
    scenario: &'a Scenario,
    cluster: Cluster,
    /// How many calls were made before the row begins.
    before: usize,
}

impl<'a> Stage<'a> {
    async fn set(scenario: &'a Scenario) -> Option<Self> {
        let cluster = Cluster::start().await?;
        scenario.prepare(&cluster.refersion.sandbox);
        if let Some(event) = &scenario.before {
            let process = cluster.process(scenario.settings);
            assert_eq!(within(post(&process.server, event)).await.expect("answered").status, 202);
            cluster.drained().await;
            process.terminate();
            drop(process.ended().await);
        }
        let before = cluster.refersion.operations().len();
        Some(Self { scenario, cluster, before })
    }

    /// The operations called since the row began.
    fn calls(&self) -> String {
        self.cluster.refersion.operations()[self.before..].join(" ")
    }

    /// The owner is gone after the first of these calls: the sender gives up waiting, and sends the event to this process, which makes the
    /// other calls.
    async fn taken_over(&self, calls: [&str; 2], process: &Process) {
        assert_eq!(self.calls(), calls[0], "made before: {calls:?}");
        let answer = within(post(&process.server, &self.scenario.event)).await.expect("answered");
        assert!([202, 200].contains(&answer.status), "{calls:?}: {}", answer.text);
        self.ended_with(calls).await;
    }

    /// The old owner wakes up: it makes no call, settles nothing, and ends in order.
    async fn wakes_up(&self, owner: Process, calls: [&str; 2], request: JoinHandle<Option<Answer>>) {
        owner.signal("CONT");
        // What it had begun ends before it can answer: it is asked only once its request has ended.
        drop(within(request).await);
        within(poll_until(|| owner.ready(), |ready| ready.status == 200)).await;
        owner.terminate();
        let (status, logged) = owner.ended().await;
        assert_eq!(status.code(), Some(0), "{calls:?}: {logged}");
        self.ended_with(calls).await;
    }

    /// Nothing is pending, and these calls were made, and no other.
    async fn ended_with(&self, calls: [&str; 2]) {
        self.cluster.drained().await;
        assert_eq!(self.calls(), joined(calls), "made in all");
        let affiliates = self.cluster.refersion.sandbox.affiliates();
        assert!(affiliates.len() == 1 && (self.scenario.holds)(&affiliates[0]), "{calls:?}: {affiliates:?}");
    }
}

fn joined(calls: [&str; 2]) -> String {
    calls.into_iter().filter(|calls| !calls.is_empty()).collect::<Vec<_>>().join(" ")
}
