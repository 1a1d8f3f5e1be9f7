//! A thread or a task that the service needs panics, which is a bug: the process ends with an exit code, so that its supervisor starts it
//! again, and accepted events are delivered then.
//!
//! Fail points panic where the environment says so: `FAILPOINTS='store::settle=panic'`.

use super::{drained, ended};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{API_KEY, identify, within};
use refersion_destination::app::{self, Reloading, ServeError};
use refersion_destination::config::{Config, Mode};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::runtime::Handle;
use tokio::sync::Notify;

/// Where it panics, what the last line says, and whether the panic is in a task that delivers one event.
const WRITER: &str = "refersion-destination: the store failed; pending events are delivered after the next start";
const RUN_LOOP: &str =
    "refersion-destination: a part of the service panicked; pending events are delivered after the next start";

async fn ends_and_delivers_after_the_next_start(at: &str, wait: &str, last_line: &str) {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let armed = format!("{at}=panic");
    let settings = [("SERVER_WAIT", wait), ("SERVER_DRAIN", "2s"), ("FAILPOINTS", &armed)];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    // Where the append itself panics, nothing is promised.
    let answer = within(process.send(&identify("m1", "u1", &Value::Null))).await;
    let (code, logged) = ended(process).await;
    assert_eq!((code, logged.lines().last()), (Some(1), Some(last_line)), "{at}: {logged}");
    let accepted = answer.is_some_and(|answer| answer.status < 300);
    assert_eq!(accepted, at != "store::append", "{at}");

    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    if !accepted {
        assert_eq!(within(process.send(&identify("m1", "u1", &Value::Null))).await.expect("answered").status, 200);
    }
    assert_eq!(drained(&process).await["dead_letters"], 0);
    assert_eq!(refersion.sandbox.affiliates().len(), 1, "{at}");
}

#[tokio::test]
async fn the_process_ends_with_an_exit_code_if_the_writer_of_the_store_panics() {
    for at in ["store::append", "store::save_progress", "store::settle"] {
        ends_and_delivers_after_the_next_start(at, "0s", WRITER).await;
    }
}

#[tokio::test]
async fn a_request_that_waits_for_its_outcome_does_not_keep_the_process_alive() {
    ends_and_delivers_after_the_next_start("store::settle", "30s", WRITER).await;
}

#[tokio::test]
async fn the_process_ends_with_an_exit_code_if_a_run_loop_panics() {
    ends_and_delivers_after_the_next_start("worker::reading", "0s", RUN_LOOP).await;
}

/// The task that reads the configuration again: without it, a rotated key would never be read.
#[tokio::test]
async fn the_service_ends_with_an_error_if_another_task_that_it_needs_panics() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = format!("sqlite://{}/store.db", folder.path().display());
    let any_port = "127.0.0.1:0";
    let settings =
        [("REFERSION_API_KEY", API_KEY), ("STORE_URL", &store), ("SERVER_LISTEN", any_port), ("OPS_LISTEN", any_port)];
    let environment = settings.map(|(name, value)| (name.to_owned(), value.to_owned()));
    let (config, _) = Config::load(&[], environment.into_iter(), Mode::Live).expect("a configuration");
    let requested = Arc::new(Notify::new());
    let reloading = Reloading { load: Box::new(|| panic!("a bug")), requested: Arc::clone(&requested) };
    requested.notify_one();
    let handle = Handle::current();
    let served = Box::pin(app::serve(config, reloading, &handle, |_| {}, std::future::pending()));
    assert!(matches!(within(served).await, Err(ServeError::Panicked)));
}

/// A bug that shows in one delivery is no reason to stop the others.
#[tokio::test]
async fn a_delivery_or_a_reading_that_panics_is_tried_again() {
    for at in ["store::begin", "worker::begun", "worker::answered", "worker::settling"] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let armed = format!("{at}=1*panic");
        let settings = [("SERVER_WAIT", "0s"), ("FAILPOINTS", &armed)];
        let process = Process::start(&refersion.base_url, folder.path(), &settings);
        assert_eq!(within(process.send(&identify("m1", "u1", &Value::Null))).await.expect("answered").status, 202);
        assert_eq!(drained(&process).await["dead_letters"], 0, "{at}");
        assert_eq!(refersion.sandbox.affiliates().len(), 1, "{at}");
    }
}

fn user(message_id: &str, user: &str) -> Value {
    identify(message_id, user, &Value::Null)
}

#[tokio::test]
async fn a_delivery_that_panics_before_it_is_settled_is_carried_out_after_all_and_once() {
    for (point, calls) in [
        ("store::begin", &["new"][..]),
        ("worker::begun", &["new"]),
        ("worker::progress_saved", &["new"]),
        ("worker::settling", &["new", "new", "search", "get"]),
    ] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let points = format!("{point}=1*panic");
        let process = Process::start(&refersion.base_url, folder.path(), &[("FAILPOINTS", &points)]);
        within(process.send(&user("m1", "u1"))).await.expect("answered");
        let ready = drained(&process).await;
        assert_eq!(refersion.operations(), calls, "{point}");
        assert_eq!((refersion.sandbox.affiliates().len(), &ready["dead_letters"]), (1, &json!(0)), "{point}");
        let again = within(process.send(&user("m2", "u2"))).await.expect("answered");
        assert_eq!(again.brief(), "200 delivered", "others go on after {point}");
        process.terminate();
        assert_eq!(ended(process).await.0, Some(0), "nothing hangs after {point}");
    }
}

#[tokio::test]
async fn a_request_that_panics_costs_an_attempt_and_no_permit() {
    for point in ["worker::calling", "worker::answered"] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let points = format!("{point}=1*panic");
        let settings = [("FAILPOINTS", &*points), ("REFERSION_CONCURRENCY", "1")];
        let process = Process::start(&refersion.base_url, folder.path(), &settings);
        within(process.send(&user("m1", "u1"))).await.expect("answered");
        drained(&process).await;
        assert_eq!(refersion.sandbox.affiliates().len(), 1, "{point}");
        process.terminate();
        assert_eq!(ended(process).await.0, Some(0), "nothing hangs after {point}");
    }
}

/// With waits of a tenth of a second, the fourth failure is the last that `DELIVERY_MAX_AGE` allows to be retried.
#[tokio::test]
async fn an_event_that_panics_at_every_delivery_becomes_a_dead_letter_and_later_events_of_its_user_go_on() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [
        ("SERVER_WAIT", "0s"),
        ("DELIVERY_RETRY_MIN", "100ms"),
        ("DELIVERY_MAX_AGE", "350ms"),
        ("FAILPOINTS", "worker::begun=5*panic"),
    ];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    let events = json!([user("m1", "u1"), user("m2", "u1")]);
    assert_eq!(within(process.send(&events)).await.expect("answered").brief(), "202 accepted");
    assert_eq!(drained(&process).await["dead_letters"], 1);
    assert_eq!(refersion.operations(), ["new"], "the later event is delivered");
    process.terminate();
    let (code, logged) = ended(process).await;
    assert_eq!(code, Some(0), "{logged}");
    let store = rusqlite::Connection::open(folder.path().join("store.db")).expect("opens");
    let code: String = store.query_row("SELECT code FROM dead_letters", [], |row| row.get(0)).expect("one");
    assert_eq!(code, "internal_error");
}

/// The user's city changes from Oslo to Bern, by an edit with these faults whose event becomes a dead letter although Refersion has it; then
/// back to Oslo.
async fn oslo_is_sent_again(settings: &[(&str, &str)], faults: Vec<Fault>) {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [&[("SERVER_WAIT", "0s"), ("DELIVERY_RETRY_MIN", "10ms")], settings].concat();
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    for (message_id, city, faults, dead_letters) in
        [("m1", "Oslo", vec![], 0), ("m2", "Bern", faults, 1), ("m3", "Oslo", vec![], 1)]
    {
        refersion.sandbox.script_for(Operation::Edit, faults);
        let event = identify(message_id, "u1", &json!({ "city": city }));
        assert_eq!(within(process.send(&event)).await.expect("answered").status, 202);
        assert_eq!(drained(&process).await["dead_letters"], dead_letters, "{message_id}");
        assert_eq!(refersion.sandbox.affiliates()[0].field("city"), city, "{message_id}");
    }
}

/// The first attempt at the second event changes the affiliate, and its answer is lost. The second attempt panics, and is the last.
#[tokio::test]
async fn a_value_that_returns_after_an_event_whose_last_attempt_panicked_is_sent() {
    let settings = [("DELIVERY_MAX_AGE", "1ms"), ("FAILPOINTS", "worker::begun=2*off->1*panic")];
    oslo_is_sent_again(&settings, vec![Fault::LoseResponse]).await;
}

/// The edit had its effect, nothing recorded it, and its repeat is rejected.
#[tokio::test]
async fn a_value_that_returns_after_an_attempt_panicked_and_its_repeat_was_rejected_is_sent() {
    let rejected = Fault::unprocessable("Your account plan does not support this feature");
    oslo_is_sent_again(&[("FAILPOINTS", "worker::settling=1*off->1*panic")], vec![Fault::Pass, rejected]).await;
}

#[tokio::test]
async fn a_follower_that_cannot_be_parsed_because_of_a_bug_is_no_failure_of_the_event_before_it() {
    let refersion = Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s"), ("FAILPOINTS", "worker::parsing_follower=1*panic")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings);
    let moved = identify("m2", "u1", &json!({"city": "Oslo"}));
    let events = json!([user("m1", "u1"), moved]);
    assert_eq!(within(process.send(&events)).await.expect("answered").brief(), "202 accepted");
    assert_eq!(drained(&process).await["dead_letters"], 0);
    assert_eq!(refersion.operations(), ["new", "edit"], "each by itself, none of them twice");
    process.terminate();
    let (_, logged) = ended(process).await;
    assert!(logged.contains("panicked at") && !logged.contains("will try again"), "{logged}");
}
