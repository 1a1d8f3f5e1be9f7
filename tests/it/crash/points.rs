//! The process dies at each fail point between receiving and settling: after the restart the remaining calls are made, and
//! only those.
//!
//! `worker::answered` and its like are passed once for each call, so a row says which time. The sender does as Segment does: an event that
//! was not answered is sent again, with the same `messageId`.

use super::drained;
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{http, identify, poll_until, within};
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::{CallRecord, Operation, Sandbox, SandboxAffiliate};
use serde_json::{Value, json};
use std::os::unix::process::ExitStatusExt;
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::JoinSet;

/// One event, and what makes it possible.
pub struct Scenario {
    pub settings: &'static [(&'static str, &'static str)],
    /// Whether the affiliate exists before this service meets it.
    existed: bool,
    /// An event that was delivered before.
    pub before: Option<Value>,
    pub event: Value,
    pub holds: fn(&SandboxAffiliate) -> bool,
}

impl Scenario {
    /// Adds the affiliate that exists before.
    pub fn prepare(&self, sandbox: &Sandbox) {
        if self.existed {
            add_existing(sandbox);
        }
    }
}

/// Adds an affiliate with the e-mail of `u1`.
pub fn add_existing(sandbox: &Sandbox) {
    let fields = [(Field::FirstName, "P"), (Field::LastName, "G"), (Field::Email, "u1@example.com")];
    sandbox.add(AffiliateStatus::Active, &fields.into_iter().collect()).expect("added");
}

/// One row: the fail point at which the process dies, and the calls before and after.
#[derive(Clone, Copy, Debug)]
pub struct CrashPoint {
    /// The fail point.
    pub at: &'static str,
    /// Which time it is passed, from 1.
    pub time: usize,
    /// The calls made before.
    pub made: &'static str,
    /// The calls made after the restart.
    pub remain: &'static str,
    /// What the second sending is answered: `duplicate` says that the first was recorded.
    pub again: &'static str,
}

impl CrashPoint {
    /// The value of `FAILPOINTS` for this action at this point.
    pub fn armed(&self, action: &str) -> String {
        let passed = self.time - 1;
        let before = if passed == 0 { String::new() } else { format!("{passed}*off->") };
        format!("{}={before}{action}", self.at)
    }
}

const fn crash(
    at: &'static str,
    time: usize,
    made: &'static str,
    remain: &'static str,
    again: &'static str,
) -> CrashPoint {
    CrashPoint { at, time, made, remain, again }
}

const RECORDED: &str = "200 duplicate";
/// The second sending is the first that was recorded.
const NOT_RECORDED: &str = "200 delivered";

/// A creation, which takes two calls.
pub fn creation() -> (Scenario, [CrashPoint; 18]) {
    let scenario = Scenario {
        settings: &[("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#)],
        existed: false,
        before: None,
        event: identify("m1", "u1", &json!({"plan": "gold"})),
        holds: |affiliate| affiliate.custom_fields.get("77").is_some_and(|plan| plan == "gold"),
    };
    let crash_points = [
        crash("http::authenticated", 1, "", "new edit", NOT_RECORDED),
        crash("http::appending", 1, "", "new edit", NOT_RECORDED),
        crash("store::append", 1, "", "new edit", NOT_RECORDED),
        crash("http::appended", 1, "", "new edit", RECORDED),
        crash("worker::reading", 1, "", "new edit", RECORDED),
        crash("store::begin", 1, "", "new edit", RECORDED),
        crash("worker::begun", 1, "", "new edit", RECORDED),
        // That a `new` is about to be sent is saved before: it may have had its effect from then on.
        crash("store::save_progress", 1, "", "new edit", RECORDED),
        crash("worker::progress_saved", 1, "", "new edit", RECORDED),
        crash("worker::calling", 1, "", "new edit", RECORDED),
        // Whether the first `new` took effect is not known: the second says so.
        crash("worker::answered", 1, "new", "new search get edit", RECORDED),
        crash("store::save_progress", 2, "new", "new search get edit", RECORDED),
        crash("worker::progress_saved", 2, "new", "edit", RECORDED),
        crash("worker::calling", 2, "new", "edit", RECORDED),
        // Nor of the edit, which may be made twice, and changes nothing then.
        crash("worker::answered", 2, "new edit", "edit get", RECORDED),
        crash("worker::settling", 1, "new edit", "edit get", RECORDED),
        crash("store::settle", 1, "new edit", "edit get", RECORDED),
        crash("worker::settled", 1, "new edit", "", RECORDED),
    ];
    (scenario, crash_points)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_creation_continues_after_the_call_at_which_the_process_died() {
    let (scenario, crash_points) = creation();
    check(scenario, crash_points).await;
}

/// A delete, which takes three calls. The affiliate that an earlier attempt found is read again before it is changed.
pub fn deletion() -> (Scenario, [CrashPoint; 20]) {
    let scenario = Scenario {
        settings: &[],
        existed: true,
        before: None,
        event: json!({"type": "delete", "messageId": "m1", "email": "u1@example.com"}),
        holds: |affiliate| affiliate.status == AffiliateStatus::Disabled,
    };
    let crash_points = [
        crash("http::authenticated", 1, "", "search get status_change", NOT_RECORDED),
        crash("http::appending", 1, "", "search get status_change", NOT_RECORDED),
        crash("store::append", 1, "", "search get status_change", NOT_RECORDED),
        crash("http::appended", 1, "", "search get status_change", RECORDED),
        crash("worker::reading", 1, "", "search get status_change", RECORDED),
        crash("store::begin", 1, "", "search get status_change", RECORDED),
        crash("worker::begun", 1, "", "search get status_change", RECORDED),
        crash("worker::calling", 1, "", "search get status_change", RECORDED),
        crash("worker::answered", 1, "search", "search get status_change", RECORDED),
        crash("store::save_progress", 1, "search", "search get status_change", RECORDED),
        crash("worker::progress_saved", 1, "search", "get status_change", RECORDED),
        crash("worker::calling", 2, "search", "get status_change", RECORDED),
        crash("worker::answered", 2, "search get", "get status_change", RECORDED),
        crash("store::save_progress", 2, "search get", "get status_change", RECORDED),
        crash("worker::progress_saved", 2, "search get", "get status_change", RECORDED),
        crash("worker::calling", 3, "search get", "get status_change", RECORDED),
        crash("worker::answered", 3, "search get status_change", "get status_change get", RECORDED),
        crash("worker::settling", 1, "search get status_change", "get status_change get", RECORDED),
        crash("store::settle", 1, "search get status_change", "get status_change get", RECORDED),
        crash("worker::settled", 1, "search get status_change", "", RECORDED),
    ];
    (scenario, crash_points)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delete_continues_after_the_call_at_which_the_process_died() {
    let (scenario, crash_points) = deletion();
    check(scenario, crash_points).await;
}

/// An edit, which takes one call.
pub fn edit() -> (Scenario, [CrashPoint; 12]) {
    let scenario = Scenario {
        settings: &[],
        existed: false,
        before: Some(identify("m0", "u1", &Value::Null)),
        event: identify("m1", "u1", &json!({"city": "Rome"})),
        holds: |affiliate| affiliate.field("city") == "Rome",
    };
    let crash_points = [
        crash("http::authenticated", 1, "", "edit", NOT_RECORDED),
        crash("http::appending", 1, "", "edit", NOT_RECORDED),
        crash("store::append", 1, "", "edit", NOT_RECORDED),
        crash("http::appended", 1, "", "edit", RECORDED),
        crash("worker::reading", 1, "", "edit", RECORDED),
        crash("store::begin", 1, "", "edit", RECORDED),
        crash("worker::begun", 1, "", "edit", RECORDED),
        crash("worker::calling", 1, "", "edit", RECORDED),
        crash("worker::answered", 1, "edit", "edit get", RECORDED),
        crash("worker::settling", 1, "edit", "edit get", RECORDED),
        crash("store::settle", 1, "edit", "edit get", RECORDED),
        crash("worker::settled", 1, "edit", "", RECORDED),
    ];
    (scenario, crash_points)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_edit_continues_after_the_call_at_which_the_process_died() {
    let (scenario, crash_points) = edit();
    check(scenario, crash_points).await;
}

/// Each row twice, and all rows beside each other: the answer waits for the outcome, so that none comes; and it is given at
/// once, so that it may have come before the process died, and binds it then.
async fn check<const ROWS: usize>(scenario: Scenario, crash_points: [CrashPoint; ROWS]) {
    let scenario = Arc::new(scenario);
    let mut rows = JoinSet::new();
    for (point, wait) in crash_points.into_iter().flat_map(|point| [(point, "30s"), (point, "0s")]) {
        let scenario = Arc::clone(&scenario);
        rows.spawn(async move {
            let stage = Stage::set(&scenario).await;
            let answer = stage.crash(&point, wait).await;
            assert!(answer.is_none() || wait == "0s", "{point:?} answered {answer:?}");
            assert!(answer.is_none() || point.again == RECORDED, "{point:?} answered {answer:?}, and not recorded");
            assert!(answer.is_none_or(|status| status == 202), "{point:?} answered {answer:?}");
            stage.goes_on(&point, answer.is_none()).await;
        });
    }
    while let Some(row) = rows.join_next().await {
        row.expect("the row holds");
    }
}

/// A simulated Refersion and a store for one row.
struct Stage<'a> {
    scenario: &'a Scenario,
    refersion: Refersion,
    folder: TempDir,
    /// How many calls were made before the row begins.
    before: usize,
}

impl<'a> Stage<'a> {
    async fn set(scenario: &'a Scenario) -> Self {
        let refersion = Refersion::start().await;
        scenario.prepare(&refersion.sandbox);
        let folder = tempfile::tempdir().expect("a folder");
        let mut stage = Self { scenario, refersion, folder, before: 0 };
        if let Some(event) = &scenario.before {
            let process = stage.start(&[("SERVER_WAIT", "30s")]);
            assert_eq!(within(process.send(event)).await.expect("answered").brief(), "200 delivered");
            process.kill();
            stage.before = stage.refersion.operations().len();
        }
        stage
    }

    fn start(&self, settings: &[(&str, &str)]) -> Process {
        Process::start(&self.refersion.base_url, self.folder.path(), &[self.scenario.settings, settings].concat())
    }

    /// Sends the event to a process that is to die; the status of the answer, if there was one.
    async fn crash(&self, point: &CrashPoint, wait: &str) -> Option<u16> {
        let armed = point.armed("return");
        let process = self.start(&[("SERVER_WAIT", wait), ("FAILPOINTS", &armed)]);
        let answer = within(process.send(&self.scenario.event)).await;
        let (client, alive) = (http(), format!("{}/healthz", process.ops));
        within(poll_until(|| client.get(&alive).send(), Result::is_err)).await.expect_err("it is gone");
        let (status, logged) = process.ended().await;
        assert_eq!(status.signal(), Some(6), "it did not die at {armed}: {status}\n{logged}");
        assert_eq!(self.calls(), point.made, "made before: {point:?}");
        answer.map(|answer| answer.status)
    }

    /// Starts the service again, sends again what was not answered, and checks the results.
    async fn goes_on(&self, point: &CrashPoint, send: bool) {
        let process = self.start(&[("SERVER_WAIT", "30s")]);
        if send {
            let answer = within(process.send(&self.scenario.event)).await.expect("answered");
            assert_eq!(answer.brief(), point.again, "{point:?}");
        }
        let ready = drained(&process).await;
        process.kill();
        let all = [point.made, point.remain].into_iter().filter(|calls| !calls.is_empty()).collect::<Vec<_>>();
        assert_eq!(self.calls(), all.join(" "), "made in all: {point:?}");
        assert_eq!(ready["dead_letters"], 0);
        let affiliates = self.refersion.sandbox.affiliates();
        assert_eq!(affiliates.len(), 1);
        assert!((self.scenario.holds)(&affiliates[0]), "{:?}", affiliates[0]);
        let created = |call: &CallRecord| call.operation == Operation::New && call.response["link"].is_string();
        assert!(self.refersion.sandbox.calls().iter().filter(|call| created(call)).count() <= 1);
    }

    /// The operations called since the row began.
    fn calls(&self) -> String {
        self.refersion.operations()[self.before..].join(" ")
    }
}
