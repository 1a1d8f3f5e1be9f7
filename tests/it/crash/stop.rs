//! SIGTERM: the listeners close, requests in flight are answered, and the process ends in order and in time.

use super::{drained, ended};
use crate::support::process::{Process, binary, signal};
use crate::support::service::Refersion;
use crate::support::{API_KEY, TEST_TIMEOUT, identify, poll_until, within};
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};
use std::path::Path;
use std::process::Command;

#[tokio::test]
async fn a_request_that_waits_is_answered_although_refersion_hangs_and_nothing_is_lost() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    refersion.sandbox.script([Fault::Hang { effect: true }]);
    let settings = [("SERVER_WAIT", "20s"), ("SERVER_DRAIN", "1s")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);

    let event = identify("m1", "u1", &Value::Null);
    let (answer, ()) = within(async {
        tokio::join!(process.send(&event), async {
            refersion.until(|sandbox| sandbox.calls_total() == 1).await;
            process.terminate();
        })
    })
    .await;
    assert_eq!(answer.expect("answered").brief(), "202 accepted");
    within(async {
        // A listener that is not closed yet answers that it is about to be.
        while let Some(answer) = process.send(&identify("m2", "u2", &Value::Null)).await {
            assert_eq!(answer.brief(), "503 unavailable");
        }
    })
    .await;
    let (code, logged) = ended(process).await;
    assert_eq!(code, Some(0), "{logged}");
    assert!(logged.contains("the deadline passed"), "{logged}");

    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    drained(&process).await;
    process.kill();
    assert_eq!(refersion.operations(), ["new", "new", "search", "get"]);
    assert_eq!(refersion.sandbox.affiliates().len(), 1);
}

#[tokio::test]
async fn the_request_in_flight_is_finished_and_the_other_calls_are_handed_back() {
    let settings = refersion_destination::sandbox::SandboxSettings {
        latency: std::time::Duration::from_millis(400),
        ..refersion_destination::sandbox::SandboxSettings::default()
    };
    let refersion = Refersion::with(settings).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s"), ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#)];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    let event = identify("m1", "u1", &json!({"plan": "gold"}));
    assert_eq!(within(process.send(&event)).await.expect("answered").status, 202);
    refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    process.terminate();
    let (code, logged) = ended(process).await;
    assert_eq!(code, Some(0), "{logged}");
    assert!(!logged.contains("the deadline passed"), "{logged}");
    assert_eq!(refersion.operations(), ["new"]);

    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    drained(&process).await;
    process.kill();
    assert_eq!(refersion.operations(), ["new", "edit"]);
}

#[tokio::test]
async fn a_stop_at_the_very_start_ends_in_order() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    process.terminate();
    let (code, logged) = ended(process).await;
    assert_eq!(code, Some(0), "{logged}");
}

/// A migration can take minutes. Here the lock file is a pipe without a reader, so that opening the store never ends.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_stop_while_the_store_is_opened_ends_at_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let pipe = folder.path().join("store.db.lock");
    assert!(Command::new("mkfifo").arg(&pipe).status().expect("runs").success());
    let mut command = binary();
    command.arg("serve").env("REFERSION_API_KEY", API_KEY);
    command.env("STORE_URL", format!("sqlite://{}/store.db", folder.path().display()));
    let mut child = command.spawn().expect("starts");
    let status = || std::fs::read_to_string(format!("/proc/{}/status", child.id())).expect("Linux shows it");
    let catches_sigterm = || {
        let status = status();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).expect("a line").trim();
        std::future::ready(u64::from_str_radix(caught, 16).expect("a mask") & (1 << 14) != 0)
    };
    within(poll_until(catches_sigterm, |caught| *caught)).await;
    signal(&child, "TERM");
    let ended = || std::future::ready(child.try_wait().expect("asked").is_some());
    let ended = tokio::time::timeout(TEST_TIMEOUT, poll_until(ended, |ended| *ended)).await;
    let _ = child.kill(); // Err: it has ended
    let output = child.wait_with_output().expect("ends");
    let logged = String::from_utf8_lossy(&output.stderr);
    assert!(ended.is_ok() && output.status.code() == Some(0), "{logged}");
    assert!(logged.contains("stopped before the store was open"), "{logged}");
}

/// A hundred seconds between two calls: to wait for a call would exceed the drain time.
const SLOW: (&str, &str) = ("REFERSION_MAX_REQUESTS_PER_SECOND", "0.01");

fn new_users(users: std::ops::Range<usize>) -> Value {
    users.map(|user| identify(&format!("m{user}"), &format!("u{user}"), &Value::Null)).collect()
}

#[tokio::test]
async fn calls_that_wait_for_the_rate_are_handed_back_at_once_and_delivered_after_the_restart() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s"), ("SERVER_DRAIN", "25s")];
    let process = Process::start(&refersion.base_url, folder.path(), &[&settings[..], &[SLOW]].concat());
    assert_eq!(within(process.send(&new_users(0..20))).await.expect("answered").status, 202);
    refersion.until(|sandbox| sandbox.affiliates().len() == 1).await;
    until_marked(folder.path(), 19).await;
    process.terminate();
    let (code, logged) = ended(process).await;
    assert_eq!(code, Some(0), "{logged}");
    assert!(!logged.contains("the deadline passed"), "{logged}");
    assert_eq!(refersion.operations(), ["new"], "nothing is created after the stop");

    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    drained(&process).await;
    process.kill();
    assert_eq!(refersion.operations(), ["new"; 20]);
    assert_eq!(refersion.sandbox.affiliates().len(), 20);
}

#[tokio::test]
async fn a_creation_that_was_never_sent_does_not_count_as_sent_however_often_it_is_handed_back() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s"), ("DELIVERY_ON_EXISTING", "ignore")];
    for stop in 0..3_u32 {
        let process = Process::start(&refersion.base_url, folder.path(), &[&settings[..], &[SLOW]].concat());
        if stop == 0 {
            assert_eq!(within(process.send(&new_users(0..4))).await.expect("answered").status, 202);
        }
        refersion.until(|sandbox| u32::try_from(sandbox.affiliates().len()) == Ok(stop + 1)).await;
        until_marked(folder.path(), 3 - stop).await;
        process.terminate();
        let (code, logged) = ended(process).await;
        assert_eq!(code, Some(0), "{logged}");
        assert_eq!(marked(folder.path()), 0, "after stop {stop}");
    }

    // The last one exists by now, made by the merchant with the very values that the event has.
    let last = (0..4).find(|user| refersion.sandbox.affiliate(&format!("u{user}@example.com")).is_none());
    let (name, email) = last.map(|user| (format!("u{user}"), format!("u{user}@example.com"))).expect("one is left");
    let fields = [(Field::FirstName, "User"), (Field::LastName, &name), (Field::Email, &email)];
    refersion.sandbox.add(AffiliateStatus::Active, &fields.into_iter().collect()).expect("added");
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    drained(&process).await;
    process.kill();
    // An affiliate that may be our own work would be read back.
    assert_eq!(refersion.operations()[3..], ["new", "search"]);
}

#[tokio::test]
async fn a_status_that_was_not_set_before_the_stop_is_the_merchants_decision_afterwards() {
    let rules = r#"[{ trait = "vip", on_true = { status = "ACTIVE" }, on_false = { status = "DISABLED" } }]"#;
    let settings = [("SERVER_WAIT", "0s"), ("MAPPING_AUDIENCES", rules)];
    for (vip, decided) in [(true, AffiliateStatus::Denied), (false, AffiliateStatus::Disabled)] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let event = |id: &str, traits: Value| identify(id, "u1", &traits);
        let process = Process::start(&refersion.base_url, folder.path(), &settings);
        within(process.send(&event("m1", Value::Null))).await.expect("answered");
        drained(&process).await;
        process.kill();
        let process = Process::start(&refersion.base_url, folder.path(), &[&settings[..], &[SLOW]].concat());
        within(process.send(&event("m2", json!({"vip": vip})))).await.expect("answered");
        until_marked(folder.path(), 1).await;
        process.terminate();
        let (code, logged) = ended(process).await;
        assert_eq!(code, Some(0), "{logged}");
        assert_eq!(refersion.operations(), ["new", "get"], "the status is not set");

        refersion.merchant_sets(&json!(decided)).await;
        let process = Process::start(&refersion.base_url, folder.path(), &settings);
        drained(&process).await;
        within(process.send(&event("m3", json!({"vip": true})))).await.expect("answered");
        drained(&process).await;
        process.kill();
        assert_eq!(
            refersion.operations(),
            ["new", "get", "status_change", "get", "get"],
            "the merchant's, and two readings"
        );
        assert_eq!(refersion.sandbox.affiliate("u1@example.com").map(|one| one.status), Some(decided));
    }
}

/// How many events are marked in the store: what they ask for next may have had its effect, should the process die.
fn marked(folder: &Path) -> u32 {
    let store = rusqlite::Connection::open(folder.join("store.db")).expect("the file opens");
    store.query_row("SELECT count(*) FROM attempts WHERE begun", [], |row| row.get(0)).expect("a count")
}

async fn until_marked(folder: &Path, events: u32) {
    within(async {
        while marked(folder) != events {
            tokio::task::yield_now().await;
        }
    })
    .await;
}

#[tokio::test]
async fn no_half_of_a_rejected_request_is_sent_after_the_stop() {
    let settings = refersion_destination::sandbox::SandboxSettings {
        latency: std::time::Duration::from_millis(400),
        ..refersion_destination::sandbox::SandboxSettings::default()
    };
    let refersion = Refersion::with(settings).await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    assert_eq!(within(process.send(&new_users(0..4))).await.expect("answered").status, 202);
    drained(&process).await;
    refersion.sandbox.script([Fault::unprocessable("no")]);
    let moved = |user| identify(&format!("moved{user}"), &format!("u{user}"), &json!({"city": "Oslo"}));
    let moved: Value = (0..4).map(moved).collect();
    assert_eq!(within(process.send(&moved)).await.expect("answered").status, 202);
    refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    process.terminate();
    let (code, logged) = ended(process).await;
    assert_eq!(code, Some(0), "{logged}");
    assert_eq!(refersion.operations()[4..], ["edit"], "the one in flight");

    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    drained(&process).await;
    process.kill();
    assert!(refersion.sandbox.affiliates().iter().all(|one| one.field("city") == "Oslo"));
}
