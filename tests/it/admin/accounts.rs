//! The accounts through the API, configured ones and those of which only events are left.

use super::{read, service};
use crate::support::service::Service;
use crate::support::{API_KEY, identify};
use serde_json::{Value, json};

const OTHER: &str = "pub_other.sec_other";

/// A configuration with a second account.
fn accounts(folder: &tempfile::TempDir) -> std::path::PathBuf {
    let file = folder.path().join("accounts.toml");
    std::fs::write(&file, format!("[[accounts]]\nname = \"brand-b\"\napi_key = \"{OTHER}\"\n")).expect("written");
    file
}

fn names(page: &Value) -> Vec<&str> {
    page["accounts"].as_array().expect("accounts").iter().filter_map(|account| account["name"].as_str()).collect()
}

#[tokio::test]
async fn an_account_runs_is_halted_and_is_listed_while_events_of_it_are_pending() {
    let files = tempfile::tempdir().expect("a folder");
    let refersion = crate::support::service::Refersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    // The simulated Refersion accepts the key of `main` alone.
    let service = Service::configured(refersion, folder, &[("SERVER_WAIT", "0s")], &[accounts(&files)]).await;
    assert_eq!(names(&read(&service, "/api/v1/accounts").await), ["brand-b", "main"]);
    let event = identify("m1", "u1", &json!({})).to_string();
    let send = service.http.post(service.url("/segment/brand-b"));
    let send = send.header("Authorization", crate::support::basic(OTHER)).body(event);
    assert_eq!(crate::support::Answer::to(send).await.brief(), "202 accepted");
    let halted = || read(&service, "/api/v1/accounts?state=halted");
    let found = crate::support::within(crate::support::poll_until(halted, |page| !names(page).is_empty())).await;
    assert_eq!(names(&found), ["brand-b"]);
    let account = &found["accounts"][0];
    assert_eq!((&account["cause"], &account["pending"]), (&"unauthorized".into(), &1.into()), "{account}");
    assert_eq!(names(&read(&service, "/api/v1/accounts?state=running").await), ["main"]);
    let first = read(&service, "/api/v1/accounts?limit=1").await;
    assert_eq!((names(&first), &first["next"]), (vec!["brand-b"], &"brand-b".into()));
    let rest = read(&service, "/api/v1/accounts?limit=1&after=brand-b").await;
    assert_eq!((names(&rest), &rest["next"]), (vec!["main"], &Value::Null));

    let (refersion, folder) = service.stop().await;
    let service = Service::resume(refersion, folder, &[("REFERSION_API_KEY", API_KEY)]).await;
    let gone = read(&service, "/api/v1/accounts/brand-b").await;
    let expected = (&false.into(), &"no_worker".into(), &1.into());
    assert_eq!((&gone["configured"], &gone["state"], &gone["pending"]), expected, "{gone}");
    assert_eq!(names(&read(&service, "/api/v1/accounts").await), ["brand-b", "main"]);
    let waiting = read(&service, "/api/v1/backlog?account=brand-b").await;
    assert_eq!(waiting["events"].as_array().map(Vec::len), Some(1), "it can be listed: {waiting}");
}

#[tokio::test]
async fn the_status_is_that_of_the_release_and_its_clock() {
    let service = service(&[]).await;
    let status = read(&service, "/api/v1/status").await;
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert!(status["started_at"].as_i64() <= status["now"].as_i64(), "{status}");
    assert_eq!(status["accounts"], json!({"running": 1, "paused": 0, "halted": 0}));
}
