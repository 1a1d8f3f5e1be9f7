//! `/metrics`: what Prometheus reads.

use crate::support::service::Service;
use crate::support::{Answer, http, identify};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

async fn metrics(service: &Service) -> Answer {
    Answer::to(http().get(format!("http://{}/metrics", service.addresses.ops))).await
}

/// The value of a counter or gauge, by its name without the prefix; 0 if it was never counted.
async fn value(service: &Service, name: &str) -> i64 {
    let line = format!("refersion_destination_{name} ");
    let text = metrics(service).await.text;
    text.lines().find_map(|text| text.strip_prefix(&line)).map_or(0, |value| value.parse().expect("a number"))
}

#[tokio::test]
async fn counters_count_events_deliveries_and_calls() {
    let service = Service::start(&[("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#)]).await;
    let says = |id: &str, user: &str, plan: &str| identify(id, user, &json!({"plan": plan}));
    let events = [says("1", "u1", "a"), says("2", "u1", "b"), says("3", "u2", "c"), json!({"type": "track"})];
    service.send(&Value::from(events.to_vec())).await;
    service.send(&says("3", "u2", "c")).await;
    service.until_drained().await;
    for (name, expected) in [
        (r#"events_received_total{account="main",status="accepted"}"#, 3),
        (r#"events_received_total{account="main",status="unsupported"}"#, 1),
        (r#"events_received_total{account="main",status="duplicate"}"#, 1),
        (r#"deliveries_total{account="main",outcome="created"}"#, 3),
        (r#"events_coalesced_total{account="main"}"#, 1),
        (r#"upstream_requests_total{account="main",operation="new",reply="created"}"#, 2),
        (r#"upstream_request_affiliates_total{account="main",operation="new"}"#, 2),
        (r#"upstream_request_affiliates_total{account="main",operation="edit"}"#, 2),
        (r#"upstream_requests_in_flight{account="main"}"#, 0),
        ("events_pending", 0),
        ("dead_letters", 0),
    ] {
        assert_eq!(value(&service, name).await, expected, "{name} in\n{}", metrics(&service).await.text);
    }
    assert!(metrics(&service).await.text.ends_with("# EOF\n"));
}

#[tokio::test]
async fn a_pause_and_a_halt_show_while_they_last_and_are_counted() {
    let service = Service::start(&[("DELIVERY_RETRY_MIN", "10ms"), ("DELIVERY_RETRY_MAX", "20ms")]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script([Fault::too_many_calls(Some(3600))]);
    service.send(&identify("1", "u1", &Value::Null)).await;
    assert_eq!(value(&service, r#"circuit_breaker_opened_total{account="main",cause="rate_limited"}"#).await, 1);
    assert_eq!(value(&service, r#"circuit_breaker_open{account="main"}"#).await, 1);
    assert_eq!(value(&service, r#"upstream_concurrency_limit{account="main"}"#).await, 0);

    let service = Service::start(&[("DELIVERY_RETRY_MIN", "10ms"), ("DELIVERY_RETRY_MAX", "20ms")]).await;
    service.refersion.sandbox.revoke_key();
    assert_eq!(service.send(&identify("1", "u1", &Value::Null)).await.brief(), "401 unauthorized");
    assert_eq!(value(&service, r#"halted{account="main"}"#).await, 1);
    service.refersion.sandbox.restore_key();
    service.until_drained().await;
    assert_eq!(value(&service, r#"halted{account="main"}"#).await, 0);
    assert_eq!(value(&service, r#"halts_total{account="main"}"#).await, 1);
    assert_eq!(value(&service, r#"api_key_probes_total{account="main",result="accepted"}"#).await, 1);
}

#[tokio::test]
async fn what_a_delivery_left_as_it_is_is_counted() {
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
    assert_eq!(
        service.send(&identify("4", "u2", &json!({"company": long, "city": "Oslo"}))).await.brief(),
        "200 delivered"
    );
    for (name, expected) in
        [(r#"email_conflicts_total{account="main"}"#, 1), (r#"attributes_left_out_total{account="main"}"#, 1)]
    {
        assert_eq!(value(&service, name).await, expected, "{name} in\n{}", metrics(&service).await.text);
    }
}

#[tokio::test]
async fn the_public_listener_has_no_metrics() {
    let service = Service::start(&[]).await;
    assert_eq!(Answer::to(http().get(service.url("/metrics"))).await.status, 404);
}
