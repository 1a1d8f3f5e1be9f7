//! Asked to stop (SIGTERM): the doors close, what is in flight is answered, and the end is in order and in time.

use super::{drained, ended};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

#[tokio::test]
async fn who_waits_is_answered_although_refersion_hangs_and_nothing_is_lost() {
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
        // A door that is not closed yet says that it is about to be.
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
async fn the_call_under_way_is_finished_and_the_rest_is_handed_back() {
    let settings = refersion_destination::sandbox::Settings {
        latency: std::time::Duration::from_millis(400),
        ..refersion_destination::sandbox::Settings::default()
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
