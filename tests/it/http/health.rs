//! Health, on both listeners.

use super::{Surroundings, checked, serve_endpoint};
use crate::support::service::Service;
use crate::support::{Answer, OPS_TOKEN, http, identify, within};
use refersion_destination::sandbox::Fault;
use refersion_destination::store::{Maintenance, SqliteStore, Store, StoreLimits};
use serde_json::json;
use std::sync::Arc;

async fn ask(url: &str) -> Answer {
    checked_health(Answer::to(http().get(url)).await)
}

/// The response to a probe has no `Retry-After`: only Segment needs one.
fn checked_health(mut answer: Answer) -> Answer {
    if answer.status == 503 {
        assert!(answer.headers.insert("retry-after", "0".parse().expect("a value")).is_none());
    }
    checked(answer)
}

#[tokio::test]
async fn health_is_answered_on_both_listeners_without_credentials() {
    let service = Service::start(&[]).await;
    for root in [service.url(""), format!("http://{}", service.addresses.ops)] {
        assert_eq!(ask(&format!("{root}/healthz")).await.brief(), "200 ok");
        let ready = ask(&format!("{root}/readyz")).await;
        assert_eq!(ready.brief(), "200 ready");
        assert_eq!((&ready.json()["pending"], &ready.json()["dead_letters"]), (&0.into(), &0.into()));
        let head = Answer::to(http().head(format!("{root}/readyz"))).await;
        assert_eq!((head.status, head.text.as_str()), (200, ""));
    }
}

fn store(folder: &tempfile::TempDir) -> Arc<SqliteStore> {
    Arc::new(SqliteStore::open(&folder.path().join("store.db"), StoreLimits::default()).expect("opens"))
}

#[tokio::test]
async fn a_service_that_shuts_down_is_alive_but_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let surroundings = Surroundings::default();
    let address = serve_endpoint(store(&folder), &surroundings).await;
    assert_eq!(ask(&format!("http://{address}/readyz")).await.brief(), "200 ready");
    surroundings.shutdown.cancel();
    let unready = ask(&format!("http://{address}/readyz")).await;
    assert_eq!(
        (unready.brief().as_str(), unready.message().as_str()),
        ("503 unready", "draining: the service is shutting down")
    );
    assert_eq!(ask(&format!("http://{address}/healthz")).await.brief(), "200 ok");
}

#[tokio::test]
async fn a_service_that_cannot_write_is_alive_but_not_ready() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = store(&folder);
    let address = serve_endpoint(Arc::clone(&store) as Arc<dyn Store>, &Surroundings::default()).await;
    store.close().await;
    let unready = ask(&format!("http://{address}/readyz")).await;
    let why = "the store cannot be written: the store is closed";
    assert_eq!((unready.brief().as_str(), unready.message().as_str()), ("503 unready", why));
    assert_eq!(ask(&format!("http://{address}/healthz")).await.brief(), "200 ok");
}

#[tokio::test]
async fn requests_for_health_and_metrics_write_nothing() {
    let service = Service::start(&[]).await;
    let root = format!("http://{}", service.addresses.ops);
    let written = || std::fs::metadata(service.folder.path().join("store.db-wal")).expect("a WAL").len();
    assert_eq!(ask(&format!("{root}/readyz")).await.brief(), "200 ready");
    let before = written();
    for _ in 0..200 {
        assert_eq!(ask(&format!("{root}/readyz")).await.status, 200);
        assert_eq!(Answer::to(http().get(format!("{root}/metrics"))).await.status, 200);
    }
    // At most a probe of the store was committed, which writes a page or two.
    assert!(written() < before + 100_000, "{before} bytes before, {} after", written());
}

/// The event that would be tried after the pause was erased, so no call ends the pause.
#[tokio::test]
async fn a_pause_ends_in_time_although_no_event_is_left_to_try() {
    let service = Service::start(&[("SERVER_WAIT", "0s")]).await;
    service.refersion.sandbox.script([Fault::too_many_calls(Some(1))]);
    service.send(&identify("1", "jo", &json!({}))).await;
    service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    within(async { while service.ready().await.json()["refersion"] == "ok" {} }).await;
    let forget = service.http.post(format!("http://{}/api/v1/forget", service.addresses.ops)).bearer_auth(OPS_TOKEN);
    let forget = forget.header("Content-Type", "application/json").body(r#"{"user_id": "jo"}"#);
    assert_eq!(Answer::to(forget).await.status, 200);
    within(async { while service.ready().await.json()["refersion"] != "ok" {} }).await;
    assert_eq!(service.refersion.operations(), ["new"]);
}
