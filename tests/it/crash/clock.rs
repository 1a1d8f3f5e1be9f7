//! The system's clock is set, between two runs and during a run: no wait becomes longer, and no event is given up.

use super::{drained, ended};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::wall_clock::WallClock;
use crate::support::{identify, within};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};
use std::path::Path;
use std::time::SystemTime;
use tempfile::TempDir;

const DAY: i64 = 24 * 60 * 60;

/// A clock that can be set, a store, and a simulated Refersion.
struct Stage {
    refersion: Refersion,
    folder: TempDir,
    clock: WallClock,
}

impl Stage {
    /// None where the clock cannot be made.
    async fn set() -> Option<Self> {
        let (clock, folder) = (WallClock::make()?, tempfile::tempdir().expect("a folder"));
        Some(Self { refersion: Refersion::start().await, folder, clock })
    }

    /// Sets the wall clock so many seconds ahead of what it is.
    fn ahead(&self, seconds: i64) {
        self.clock.set_ahead(seconds);
    }

    fn start(&self) -> Process {
        let settings = [("SERVER_WAIT", "0s"), ("REFERSION_TIMEOUT", "1h"), ("DELIVERY_MAX_AGE", "1h")];
        let settings = [&settings[..], &self.clock.environment()].concat();
        Process::start(&self.refersion.base_url, self.folder.path(), &settings)
    }

    /// Sends an identify of a user with a city.
    async fn send(&self, process: &Process, user: &str, city: &str) {
        let event = identify(&format!("{user} {city}"), user, &json!({"city": city}));
        assert_eq!(within(process.send(&event)).await.expect("answered").brief(), "202 accepted");
    }

    /// How many failures of the one event that waits are stored.
    fn failures(&self) -> u32 {
        let connection = rusqlite::Connection::open(self.folder.path().join("store.db")).expect("opens");
        connection.query_row("SELECT failures FROM attempts", [], |row| row.get(0)).expect("one event")
    }

    /// Everything is delivered, in order, and nothing died.
    async fn all_well(&self, process: &Process, users: &[&str], city: &str) {
        assert_eq!(drained(process).await["dead_letters"], 0);
        for user in users {
            let affiliate = self.refersion.sandbox.affiliate(&format!("{user}@example.com")).expect("created");
            assert_eq!(affiliate.field("city"), city, "{user}");
        }
        assert_eq!(self.refersion.sandbox.affiliates().len(), users.len());
    }
}

/// How far ahead the clock was when the last event was received, in seconds.
fn recorded_ahead(store: &Path) -> i64 {
    let connection = rusqlite::Connection::open(store).expect("opens");
    let at: i64 = connection.query_row("SELECT max(received_at) FROM log", [], |row| row.get(0)).expect("a moment");
    let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).expect("after 1970").as_millis();
    (at - i64::try_from(now).expect("before long")) / 1000
}

/// One delivery is in flight and one is to be retried in some seconds when the process dies: under the right clock it is
/// retried after these seconds at most, whatever the clock was that failed it.
#[tokio::test]
async fn a_clock_set_between_two_runs_lengthens_no_wait_and_gives_up_no_event() {
    for (first, then) in [(DAY, 0), (3650 * DAY, 0), (0, DAY), (0, 3650 * DAY), (0, -DAY), (-3650 * DAY, 0)] {
        let Some(stage) = Stage::set().await else { return };
        stage.ahead(first);
        let failed = Fault::Status { status: 503, body: Value::Null, retry_after: Some(3) };
        stage.refersion.sandbox.script([Fault::Hang { effect: false }, failed]);
        let process = stage.start();
        stage.send(&process, "u1", "Rome").await;
        stage.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
        stage.send(&process, "u2", "Rome").await;
        stage.refersion.until(|sandbox| sandbox.calls_total() == 2).await;
        stage.send(&process, "u1", "Oslo").await;
        stage.send(&process, "u2", "Oslo").await;
        process.kill();
        let ahead = recorded_ahead(&stage.folder.path().join("store.db"));
        assert!((first - 60..=first).contains(&ahead), "the clock was set: {ahead}");
        stage.ahead(then);
        let process = stage.start();
        stage.all_well(&process, &["u1", "u2"], "Oslo").await;
    }
}

/// It fails in a run under the right clock and in one whose clock is years off, and the failures are settled: once the clock is
/// right again, the retry is due after its wait, and for how long it has been failing are the waits alone.
#[tokio::test]
async fn an_event_that_failed_under_a_clock_years_off_is_retried_in_time_once_the_clock_is_right() {
    for wrong in [3650 * DAY, -3650 * DAY] {
        let Some(stage) = Stage::set().await else { return };
        let wait = Some(2);
        for (failures, ahead) in [(1, 0), (2, wrong)] {
            stage.ahead(ahead);
            stage.refersion.sandbox.script([Fault::Status { status: 503, body: Value::Null, retry_after: wait }]);
            let process = stage.start();
            if failures == 1 {
                stage.send(&process, "u1", "Oslo").await;
            }
            stage.refersion.until(|sandbox| sandbox.calls_total() == failures).await;
            process.terminate();
            let (code, logged) = ended(process).await;
            assert_eq!((code, u64::from(stage.failures())), (Some(0), failures), "{logged}");
        }
        stage.ahead(0);
        let process = stage.start();
        stage.all_well(&process, &["u1"], "Oslo").await;
        assert_eq!(stage.refersion.sandbox.calls_total(), 3, "clock off by {wrong} s");
    }
}

#[tokio::test]
async fn a_clock_set_while_the_service_runs_repeats_no_call_and_lengthens_no_wait() {
    let Some(stage) = Stage::set().await else { return };
    stage.ahead(0);
    let process = stage.start();
    stage.refersion.sandbox.script([Fault::Hang { effect: false }]);
    stage.send(&process, "u0", "Rome").await;
    stage.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    for (number, ahead) in [DAY, -DAY, 3650 * DAY, 0].into_iter().enumerate() {
        // It fails under one clock, and is tried again under the next.
        stage.refersion.sandbox.script([Fault::status(500), Fault::status(500)]);
        let user = format!("u{}", number + 1);
        stage.send(&process, &user, "Rome").await;
        stage.ahead(ahead);
        stage.send(&process, &user, "Oslo").await;
        let email = format!("{user}@example.com");
        let oslo = |sandbox: &refersion_destination::sandbox::Sandbox| {
            sandbox.affiliate(&email).is_some_and(|one| one.field("city") == "Oslo")
        };
        stage.refersion.until(oslo).await;
    }
    let of_u0 = |call: &refersion_destination::sandbox::CallRecord| call.body["email"] == "u0@example.com";
    assert_eq!(
        stage.refersion.sandbox.calls().iter().filter(|call| of_u0(call)).count(),
        1,
        "its call is not made again"
    );
    process.kill();
    let process = stage.start();
    assert_eq!(drained(&process).await["dead_letters"], 0);
    assert_eq!(stage.refersion.sandbox.affiliates().len(), 5);
}
