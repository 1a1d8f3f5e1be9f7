//! The counts of the metrics: of events, deliveries, requests to Refersion, and the store.

use super::{scrape, value};
use crate::support::service::{Refersion, Service};
use crate::support::{Answer, OPS_TOKEN, basic, http, identify, poll_until, within};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

/// Checks series, named without the prefix.
async fn check(service: &Service, expected: &[(&str, f64)]) {
    let text = scrape(service).await.text;
    for (name, expected) in expected {
        assert_eq!(value(&text, name), Some(*expected), "{name} in\n{text}");
    }
}

/// Waits until a series, named without the prefix, has a value for which `holds`.
async fn until(service: &Service, name: &str, holds: impl Fn(f64) -> bool) {
    let holds = |answer: &Answer| value(&answer.text, name).is_some_and(&holds);
    within(poll_until(|| scrape(service), holds)).await;
}

#[tokio::test]
async fn counters_count_events_deliveries_and_calls() {
    let service = Service::start(&[("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#)]).await;
    let says = |id: &str, user: &str, plan: &str| identify(id, user, &json!({"plan": plan}));
    let events = [says("1", "u1", "a"), says("2", "u1", "b"), says("3", "u2", "c"), json!({"type": "track"})];
    service.send(&Value::from(events.to_vec())).await;
    service.send(&says("3", "u2", "c")).await;
    service.until_drained().await;
    check(
        &service,
        &[
            (r#"events_received_total{account="main",type="identify",status="accepted"}"#, 3.0),
            (r#"events_received_total{account="main",type="unsupported",status="unsupported"}"#, 1.0),
            (r#"events_received_total{account="main",type="identify",status="duplicate"}"#, 1.0),
            (r#"events_ignored_total{account="main",reason="unsupported"}"#, 1.0),
            (r#"events_appended_total{account="main"}"#, 3.0),
            (r#"events_settled_total{account="main",result="delivered"}"#, 3.0),
            (r#"events_coalesced_total{account="main"}"#, 1.0),
            (r#"upstream_requests_total{account="main",operation="new",reply="created"}"#, 2.0),
            (r#"upstream_operation_duration_seconds_count{operation="new"}"#, 2.0),
            (r#"upstream_request_affiliates_sum{account="main"}"#, 2.0),
            (r#"upstream_requests_in_flight{account="main"}"#, 0.0),
            (r#"events_pending{account="main"}"#, 0.0),
            (r#"circuit_breaker_state{account="main",state="closed"}"#, 1.0),
            (r#"request_duration_seconds_count{status="accepted"}"#, 1.0),
            (r#"request_duration_seconds_count{status="duplicate"}"#, 1.0),
            ("ready", 1.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_affiliate_created_counts_once_however_many_events_were_delivered_together() {
    let service = Service::start(&[]).await;
    let of = |n: usize| identify(&n.to_string(), "u1", &json!({"city": format!("City {n}")}));
    service.send(&(0..7).map(of).collect()).await;
    service.until_drained().await;
    check(
        &service,
        &[
            (r#"deliveries_total{account="main",action="created"}"#, 1.0),
            (r#"upstream_request_duration_seconds_count{account="main"}"#, 1.0),
            (r#"deliveries_total{account="main",action="updated"}"#, 0.0),
            (r#"events_settled_total{account="main",result="delivered"}"#, 7.0),
            (r#"events_coalesced_total{account="main"}"#, 6.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn reasons_of_refused_and_ignored_events_and_of_notes_are_counted() {
    let service = Service::start(&[("MAPPING_CREATE_IF", r#"{ trait = "wants", equals = "yes" }"#)]).await;
    for (event, brief) in [
        (json!({"type": "identify", "userId": "u1", "traits": {"wants": "yes"}}), "400 rejected"),
        (json!({"type": "identify", "traits": {"email": "nobody", "wants": "yes"}}), "400 rejected"),
        (json!({"type": "delete"}), "400 rejected"),
        (identify("1", "u1", &json!({})), "200 ignored"),
        (identify("2", "u2", &json!({"wants": "yes", "country": "Nowhere", "name": ""})), "400 rejected"),
    ] {
        assert_eq!(service.send(&event).await.brief(), brief, "{event}");
    }
    service.send_raw("{").await;
    service.send_raw("[5]").await;
    check(
        &service,
        &[
            (r#"events_refused_total{account="main",reason="missing_email"}"#, 1.0),
            (r#"events_refused_total{account="main",reason="invalid_email"}"#, 1.0),
            (r#"events_refused_total{account="main",reason="missing_name"}"#, 1.0),
            (r#"events_refused_total{account="main",reason="missing_user"}"#, 1.0),
            (r#"events_refused_total{account="main",reason="malformed"}"#, 1.0),
            (r#"events_ignored_total{account="main",reason="create_if"}"#, 1.0),
            (r#"event_notes_total{account="main",field="country"}"#, 1.0),
            (r#"events_received_total{account="main",type="delete",status="rejected"}"#, 1.0),
            (r#"events_received_total{account="main",type="malformed",status="rejected"}"#, 1.0),
            (r#"request_duration_seconds_count{status="rejected"}"#, 6.0),
            (r#"events_appended_total{account="main"}"#, 0.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn requests_that_are_not_authentic_are_counted_by_reason() {
    let service = Service::start(&[("SEGMENT_SHARED_SECRETS", "abc123")]).await;
    for (name, content) in
        [("x", String::new()), ("Authorization", basic("pub_x.sec_x")), ("X-Signature", "00".repeat(20))]
    {
        let request = http().post(service.url("/segment")).header(name, content).body("{}");
        assert_eq!(Answer::to(request).await.status, 401, "{name}");
    }
    check(
        &service,
        &[
            (r#"authentication_failures_total{account="main",reason="no_credentials"}"#, 1.0),
            (r#"authentication_failures_total{account="main",reason="wrong_key"}"#, 1.0),
            (r#"authentication_failures_total{account="main",reason="wrong_signature"}"#, 1.0),
            (r#"authentication_failures_total{account="(none)",reason="wrong_key"}"#, 0.0),
            (r#"request_duration_seconds_count{status="unauthorized"}"#, 3.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_pause_and_a_halt_show_while_they_last_and_are_counted() {
    let service = Service::start(&[("DELIVERY_RETRY_MIN", "10ms"), ("DELIVERY_RETRY_MAX", "20ms")]).await;
    service.refersion.sandbox.script([Fault::too_many_calls(Some(3600))]);
    service.send(&identify("1", "u1", &Value::Null)).await;
    check(
        &service,
        &[
            (r#"circuit_breaker_opened_total{account="main",cause="rate_limited"}"#, 1.0),
            (r#"circuit_breaker_state{account="main",state="open"}"#, 1.0),
            (r#"circuit_breaker_state{account="main",state="closed"}"#, 0.0),
            (r#"upstream_concurrency_limit{account="main"}"#, 0.0),
            (r#"events_pending{account="main"}"#, 1.0),
        ],
    )
    .await;
    until(&service, r#"oldest_pending_event_age_seconds{account="main"}"#, |age| age > 0.0).await;

    let service = Service::start(&[("DELIVERY_RETRY_MIN", "10ms"), ("DELIVERY_RETRY_MAX", "20ms")]).await;
    service.refersion.sandbox.revoke_api_key();
    assert_eq!(service.send(&identify("1", "u1", &Value::Null)).await.brief(), "401 unauthorized");
    check(&service, &[(r#"circuit_breaker_state{account="main",state="halted"}"#, 1.0)]).await;
    service.refersion.sandbox.restore_api_key();
    service.until_drained().await;
    check(
        &service,
        &[
            (r#"circuit_breaker_state{account="main",state="halted"}"#, 0.0),
            (r#"halts_total{account="main"}"#, 1.0),
            (r#"api_key_probes_total{account="main",result="accepted"}"#, 1.0),
            (r#"upstream_requests_total{account="main",operation="list",reply="page"}"#, 1.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn dead_letters_are_shown_by_reason_also_after_a_restart() {
    let service = Service::start(&[]).await;
    service.refersion.sandbox.script_for(Operation::New, [Fault::unprocessable("no"), Fault::unprocessable("no")]);
    assert_eq!(service.send(&identify("1", "u1", &json!({}))).await.brief(), "400 rejected");
    let name = r#"dead_letters{account="main",reason="refused"}"#;
    until(&service, name, |letters| letters > 0.0).await;
    check(&service, &[(r#"events_settled_total{account="main",result="dead_letter"}"#, 1.0)]).await;
    let (refersion, folder) = service.stop().await;
    let service = Service::resume(refersion, folder, &[]).await;
    check(&service, &[(name, 1.0), (r#"dead_letters{account="main",reason="expired"}"#, 0.0)]).await;
}

#[tokio::test]
async fn pending_events_that_forget_erases_are_counted_as_dead_letters() {
    let service = Service::start(&[]).await;
    service.refersion.sandbox.script([Fault::too_many_calls(Some(3600))]);
    service.send(&json!([identify("1", "u1", &json!({})), identify("2", "u1", &json!({}))])).await;
    let forget = || {
        let request = service.http.post(format!("http://{}/api/v1/forget", service.addresses.ops));
        let request = request.bearer_auth(OPS_TOKEN).header("Content-Type", "application/json");
        Answer::to(request.body(json!({"user_id": "u1"}).to_string()))
    };
    within(poll_until(forget, |answer| answer.json()["in_flight"] == 0)).await;
    check(
        &service,
        &[
            (r#"events_appended_total{account="main"}"#, 2.0),
            (r#"events_pending{account="main"}"#, 0.0),
            (r#"events_settled_total{account="main",result="dead_letter"}"#, 2.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn values_that_a_delivery_does_not_change_are_counted() {
    let service = Service::start(&[]).await;
    let long = "x".repeat(60);
    for event in [
        identify("1", "u1", &json!({})),
        identify("2", "u2", &json!({})),
        identify("3", "u1", &json!({"email": "u2@example.com"})),
    ] {
        assert_eq!(service.send(&event).await.brief(), "200 delivered");
    }
    let refused = Fault::unprocessable("Value exceed the char limit");
    service.refersion.sandbox.script_for(Operation::Edit, [refused]);
    let event = identify("4", "u2", &json!({"company": long, "city": "Oslo"}));
    assert_eq!(service.send(&event).await.brief(), "200 delivered");
    check(
        &service,
        &[
            (r#"email_conflicts_total{account="main"}"#, 1.0),
            (r#"attributes_left_out_total{account="main",field="company"}"#, 1.0),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_store_shows_its_commits_its_size_and_its_index_of_ids() {
    let service = Service::start(&[]).await;
    service.send(&(0..50).map(|n| identify(&n.to_string(), &format!("u{n}"), &json!({}))).collect()).await;
    service.until_drained().await;
    let text = scrape(&service).await.text;
    for (name, least) in [
        ("store_commit_requests_count", 1.0),
        ("store_commit_requests_sum", 2.0),
        ("store_commit_duration_seconds_count", 1.0),
        ("store_size_bytes", 4_096.0),
        ("store_disk_free_bytes", 1.0),
        ("deduplication_index_bytes", 1.0),
    ] {
        assert!(value(&text, name).is_some_and(|value| value >= least), "{name} in\n{text}");
    }
    until(&service, "deduplication_index_ids", |ids| (ids - 50.0).abs() < 0.5).await;
}

/// The number of series does not grow with the merchants, and no name of theirs is in a label.
#[tokio::test]
async fn accounts_whose_keys_arrived_with_requests_share_one_label() {
    let any = [
        ("SEGMENT_ACCEPT_ANY_API_KEY", "true"),
        ("STORE_SEAL_KEY", "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM="),
        ("SERVER_WAIT", "30s"),
    ];
    let refersion = Refersion::with(<_>::default()).await;
    let service = Service::on(refersion, &any).await;
    let before = super::series(&scrape(&service).await.text).len();
    assert_eq!(service.send(&identify("1", "u1", &json!({}))).await.brief(), "200 delivered");
    let request = http().post(service.url("/segment")).header("Authorization", basic("pub_merchant.sec_merchant"));
    assert_eq!(Answer::to(request.body(identify("1", "u1", &json!({})).to_string())).await.status, 401);
    let text = scrape(&service).await.text;
    assert_eq!(super::series(&text).len(), before, "{text}");
    let refused = r#"authentication_failures_total{account="key-*",reason="key_rejected_by_refersion"}"#;
    assert_eq!(value(&text, refused), Some(1.0), "{text}");
    assert!(!text.contains("key-0") && !text.contains("pub_merchant"), "{text}");
}

#[tokio::test]
async fn the_public_listener_has_no_metrics() {
    let service = Service::start(&[]).await;
    assert_eq!(Answer::to(http().get(service.url("/metrics"))).await.status, 404);
}
