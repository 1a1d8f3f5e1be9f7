//! `GET /api/v1/events`: the result of every event that was received authenticated.

use super::{detail, get, problem, read, service};
use crate::support::identify;
use serde_json::{Value, json};

/// `status`, `outcome` and `source` of each event, the oldest first.
async fn ledger(service: &crate::support::service::Service, query: &str) -> Vec<String> {
    let page = read(service, &format!("/api/v1/events{query}")).await;
    assert_eq!(page["next"], Value::Null, "{page}");
    let text = |value: &Value| value.as_str().unwrap_or("-").to_owned();
    let word = |event: &Value| ["status", "outcome", "source"].map(|name| text(&event[name])).join(" ");
    page["events"].as_array().expect("events").iter().rev().map(word).collect()
}

#[tokio::test]
async fn every_authenticated_event_is_listed_with_its_result() {
    let service = service(&[]).await;
    let named = |mut event: Value, id: &str| {
        event["projectId"] = "kqhTW1TtBqa2xnrtx9uPMb".into();
        event["messageId"] = id.into();
        event
    };
    let refused = named(json!({"type": "identify", "userId": "u1", "traits": {"name": "Ann Marker"}}), "refused");
    let batch = json!([
        refused.clone(),
        named(json!({"type": "identify", "userId": "u1", "traits": {"email": "ann@example.com"}}), "nameless"),
        named(json!({"type": "identify", "userId": "u1", "traits": {"email": "nobody"}}), "invalid"),
        named(json!({"type": "delete"}), "of nobody"),
        named(json!({"type": "delete", "userId": "stranger"}), "of a stranger"),
        named(json!({"type": "track", "event": "Signed Up", "userId": "u1", "projectId": "a@b.io"}), "track"),
        {"messageId": "typeless"},
        5,
        {"type": "identify", "traits": {"text": "x".repeat(140_000)}},
    ]);
    assert_eq!(service.send(&batch).await.status, 200);
    service.send(&named(identify("m1", "u2", &json!({})), "good")).await;
    service.send(&named(identify("m1", "u2", &json!({})), "good")).await;
    service.send(&refused).await;
    assert_eq!(service.send_raw("no JSON").await.status, 400, "refused as a whole");
    let with_another_key = service.http.post(service.url("/segment")).basic_auth("pub.sec", Some("")).body("{}");
    assert_eq!(with_another_key.send().await.expect("answered").status(), 401);
    let all = ledger(&service, "").await;
    let expected = [
        "refused missing_email kqhTW1TtBqa2xnrtx9uPMb",
        "refused invalid_email kqhTW1TtBqa2xnrtx9uPMb",
        "refused missing_user kqhTW1TtBqa2xnrtx9uPMb",
        "unsupported unsupported kqhTW1TtBqa2xnrtx9uPMb",
        "refused malformed -",
        "refused malformed -",
        "refused too_large -",
        "refused missing_name kqhTW1TtBqa2xnrtx9uPMb",
        "delivered not_found kqhTW1TtBqa2xnrtx9uPMb",
        "delivered created kqhTW1TtBqa2xnrtx9uPMb",
        "duplicate duplicate kqhTW1TtBqa2xnrtx9uPMb",
        "refused missing_email kqhTW1TtBqa2xnrtx9uPMb",
    ];
    let sorted = |mut lines: Vec<String>| {
        lines.sort_unstable();
        lines
    };
    assert_eq!(sorted(all.clone()), sorted(expected.map(str::to_owned).to_vec()));
    assert_eq!(all.last(), Some(&expected[11].to_owned()), "the newest");
    let text = read(&service, "/api/v1/events").await.to_string();
    assert!(!text.contains('@') && !text.contains("Marker"), "{text}");
    let found = super::change(&service, "/api/v1/lookup", &json!({"message_id": "typeless"})).await;
    assert_eq!(found["events"][0]["outcome"], "malformed", "{found}");
    let found = super::change(&service, "/api/v1/lookup", &json!({"user_id": "u1"})).await;
    assert_eq!(found["events"].as_array().map(Vec::len), Some(5), "{found}");
}

#[tokio::test]
async fn events_are_filtered_by_their_result_and_an_unknown_filter_is_a_problem() {
    let service = service(&[]).await;
    service.send(&identify("m1", "u1", &json!({}))).await;
    for _ in 0..3 {
        service.send(&json!({"type": "identify", "userId": "u2"})).await;
    }
    for (query, found) in [
        ("?status=refused", 3),
        ("?status=delivered", 1),
        ("?status=pending", 0),
        ("?outcome=missing_email&account=main", 3),
        ("?outcome=created", 1),
        ("?since=0", 4),
        ("?since=9000000000000", 0),
    ] {
        assert_eq!(ledger(&service, query).await.len(), found, "{query}");
    }
    let first = read(&service, "/api/v1/events?limit=3").await;
    let rest = read(&service, &format!("/api/v1/events?limit=3&before={}", first["next"])).await;
    assert_eq!((first["events"].as_array().map(Vec::len), rest["events"].as_array().map(Vec::len)), (Some(3), Some(1)));
    for (query, expected) in [
        ("?status=lost", "400 invalid-request"),
        ("?outcome=lost", "400 invalid-request"),
        ("?reason=created", "400 invalid-request"),
        ("?before=0", "400 invalid-request"),
        ("?limit=0", "400 invalid-request"),
        ("?account=nope", "404 not-found"),
    ] {
        assert_eq!(problem(&get(&service, &format!("/api/v1/events{query}")).await), expected, "{query}");
    }
    let said = detail(&get(&service, "/api/v1/events?status=lost").await);
    assert_eq!(said, "`status` is none of pending, delivered, ignored, refused, unsupported, duplicate, dead_letter");
}
