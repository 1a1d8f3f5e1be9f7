//! Pending events of an account through the API.

use super::{get, read, service};
use crate::support::service::Service;
use crate::support::{identify, within};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

/// A service with events of two users that stay pending, as Refersion limits the calls for an hour.
async fn with_pending_events() -> Service {
    let service = service(&[("SERVER_WAIT", "0s")]).await;
    service.refersion.sandbox.script([Fault::too_many_calls(Some(3_600))]);
    assert_eq!(service.send(&identify("m1", "markeruser1", &json!({}))).await.brief(), "202 accepted");
    within(async { while service.ready().await.json()["refersion"] == "ok" {} }).await;
    for (id, user) in [("m2", "markeruser2"), ("m3", "markeruser1")] {
        assert_eq!(service.send(&identify(id, user, &json!({}))).await.brief(), "202 accepted");
    }
    service
}

fn seqs(page: &Value) -> Vec<i64> {
    page["events"].as_array().expect("events").iter().filter_map(|event| event["seq"].as_i64()).collect()
}

#[tokio::test]
async fn pending_events_are_listed_by_user_and_age_without_personal_data() {
    let service = with_pending_events().await;
    let page = get(&service, "/api/v1/backlog?account=main").await;
    assert!(!page.text.contains("marker"), "{}", page.text);
    let page = page.json();
    assert_eq!((seqs(&page), &page["next"]), (vec![1, 2, 3], &Value::Null), "{page}");
    let hash = page["events"][0]["user_id_hash"].as_str().expect("a hash").to_owned();
    assert_eq!(page["events"][2]["user_id_hash"], *hash);
    let received_at = page["events"][2]["received_at"].as_i64().expect("a time");
    for (query, expected) in [
        (format!("user={hash}"), &[1, 3][..]),
        (format!("user={}", "0".repeat(32)), &[]),
        ("received_before=0".to_owned(), &[]),
        (format!("received_before={}", received_at + 1), &[1, 2, 3]),
        (format!("user={hash}&after=1"), &[3]),
    ] {
        let page = read(&service, &format!("/api/v1/backlog?account=main&{query}")).await;
        assert_eq!(seqs(&page), expected, "{query}");
    }
    let first = read(&service, "/api/v1/backlog?account=main&limit=1").await;
    assert_eq!((seqs(&first), &first["next"]), (vec![1], &1.into()));
    assert_eq!(read(&service, "/api/v1/events/2").await["state"], "pending");
}

#[tokio::test]
async fn the_account_says_how_many_events_are_pending_since_when_and_why() {
    let service = with_pending_events().await;
    let account = read(&service, "/api/v1/accounts/main").await;
    let oldest = read(&service, "/api/v1/backlog?account=main&limit=1").await["events"][0]["received_at"].clone();
    assert_eq!((&account["pending"], &account["oldest_pending_at"]), (&3.into(), &oldest), "{account}");
    assert_eq!((&account["state"], &account["cause"]), (&"paused".into(), &"rate_limited".into()), "{account}");
    assert!(account["until"].as_i64() > oldest.as_i64(), "{account}");
    let status = read(&service, "/api/v1/status").await;
    assert_eq!(
        (&status["pending"], &status["accounts"]["paused"], &status["ready"]),
        (&3.into(), &1.into(), &true.into())
    );
}
