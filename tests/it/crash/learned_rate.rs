//! The learned rate survives a restart: it is saved while a backlog is delivered, and respected from the first request after
//! the next start.

use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, poll_until, within};
use refersion_destination::sandbox::SandboxSettings;
use serde_json::Value;
use std::num::NonZeroU32;
use std::path::Path;

/// What is saved of the account, if anything is.
fn saved(folder: &Path) -> Option<String> {
    let store = rusqlite::Connection::open(folder.join("store.db")).expect("opens");
    store.query_row("SELECT health FROM accounts", [], |row| row.get(0)).expect("one account")
}

async fn send(process: &Process, users: std::ops::Range<usize>) {
    let events = users.map(|user| identify(&format!("m{user}"), &format!("u{user}"), &Value::Null)).collect();
    assert_eq!(within(process.send(&Value::Array(events))).await.expect("answered").brief(), "202 accepted");
}

#[tokio::test]
async fn the_learned_rate_is_saved_while_a_backlog_is_delivered() {
    let limited = SandboxSettings { rate_limit: NonZeroU32::new(4), ..SandboxSettings::default() };
    let (refersion, folder) = (Refersion::with(limited).await, tempfile::tempdir().expect("a folder"));
    let process = Process::start(&refersion.base_url, folder.path(), &[("SERVER_WAIT", "0s")]);
    send(&process, 0..1_000).await;
    let rate = |saved: &Option<String>| {
        let saved: Value = serde_json::from_str(saved.as_deref()?).expect("JSON");
        saved["requests_per_second"].as_f64()
    };
    let saved = || std::future::ready(saved(folder.path()));
    let saved = within(poll_until(saved, |saved| rate(saved).is_some())).await;
    process.kill();
    assert!(rate(&saved).is_some_and(|rate| (1.0..20.0).contains(&rate)), "{saved:?}");
    assert!(refersion.sandbox.affiliates().len() < 1_000, "there is more to do");
}

#[tokio::test]
async fn a_saved_rate_is_kept_from_the_first_request_on() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let process = Process::start(&refersion.base_url, folder.path(), &[("SERVER_WAIT", "0s")]);
    send(&process, 0..1).await;
    within(process.drained()).await;
    process.kill();
    let store = rusqlite::Connection::open(folder.path().join("store.db")).expect("opens");
    let health = r#"{"requests_per_second":4.0,"concurrency":16.0}"#;
    assert_eq!(store.execute("UPDATE accounts SET health = ?1", [health]).expect("saved"), 1);
    drop(store);

    let process = Process::start(&refersion.base_url, folder.path(), &[("SERVER_WAIT", "0s")]);
    send(&process, 1..10).await;
    within(process.drained()).await;
    let at: Vec<i64> = refersion.sandbox.calls()[1..].iter().map(|call| call.at.0).collect();
    // Eight times a quarter of a second, less what a loaded machine may delay the first of them.
    assert!(at.len() == 9 && at[8] - at[0] >= 1_500, "four a second: {at:?}");
}

#[tokio::test]
async fn a_value_that_another_release_saved_is_no_error_and_one_that_cannot_be_read_is_reported_once() {
    for (health, reports) in [(r#"{"requests_per_second":4.0,"window":"1m"}"#, 0), ("per_second=4", 1)] {
        let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
        let start = || Process::start(&refersion.base_url, folder.path(), &[]);
        send_and_stop(start(), 0).await;
        let store = rusqlite::Connection::open(folder.path().join("store.db")).expect("opens");
        assert_eq!(store.execute("UPDATE accounts SET health = ?1", [health]).expect("saved"), 1);
        drop(store);
        for (n, reports) in [(1, reports), (2, 0)] {
            let logged = send_and_stop(start(), n).await;
            let count = logged.lines().filter(|line| line.contains("cannot read the saved limits")).count();
            assert_eq!((count, logged.contains("ERROR")), (reports, false), "{health}, start {n}: {logged}");
        }
    }
}

/// Delivers one event and stops the process; what it logged.
async fn send_and_stop(process: Process, user: usize) -> String {
    let event = identify(&format!("m{user}"), &format!("u{user}"), &Value::Null);
    assert_eq!(within(process.send(&event)).await.expect("answered").status, 200);
    within(process.drained()).await;
    process.terminate();
    super::ended(process).await.1
}
