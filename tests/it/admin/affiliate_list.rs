//! Learning the affiliates of an account through the API.

use super::{change, post, problem, read, request, service, url};
use crate::support::{Answer, identify, poll_until, within};
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::{Fault, Operation};
use reqwest::Method;
use serde_json::{Value, json};

const PATH: &str = "/api/v1/accounts/main/affiliate-list";

#[tokio::test]
async fn the_list_is_read_when_an_operator_asks_for_it_and_its_end_is_reported() {
    let service = service(&[]).await;
    let fields = [(Field::FirstName, "User"), (Field::LastName, "u1"), (Field::Email, "u1@example.com")];
    service.refersion.sandbox.add(AffiliateStatus::Active, &fields.into_iter().collect()).expect("added");
    let never = json!({"reading": false, "read": 0, "total": null, "completed_at": null, "failure": null});
    assert_eq!(read(&service, PATH).await, never);
    change(&service, PATH, &json!({})).await;
    let status = within(poll_until(|| read(&service, PATH), |status| status["reading"] == false)).await;
    assert_eq!((&status["read"], &status["total"], &status["failure"]), (&json!(1), &json!(1), &Value::Null));
    assert!(status["completed_at"].is_i64(), "{status}");
    assert!(!status.to_string().contains("u1"), "no affiliate is shown");
    assert_eq!(service.send(&identify("m1", "u1", &json!({}))).await.brief(), "200 delivered");
    assert_eq!(service.refersion.operations(), ["list"], "the event needed no call");
    let metrics = Answer::to(service.http.get(url(&service, "/metrics"))).await.text;
    let counted = r#"upstream_requests_total{account="main",operation="list",reply="page"} 1"#;
    assert!(metrics.contains(counted), "{metrics}");
    let (refersion, folder) = service.stop().await;
    let service = crate::support::service::Service::resume(refersion, folder, &[]).await;
    assert_eq!(read(&service, PATH).await, status, "after a restart, too");
}

#[tokio::test]
async fn reading_the_list_takes_the_token_and_a_known_account_that_makes_calls() {
    let service = service(&[("DELIVERY_RETRY_MIN", "1m"), ("DELIVERY_RETRY_MAX", "1m")]).await;
    let without_token = service.http.post(url(&service, PATH)).header("Content-Type", "application/json").body("{}");
    assert_eq!(problem(&Answer::to(without_token).await), "401 token-missing");
    assert_eq!(problem(&post(&service, "/api/v1/accounts/nope/affiliate-list", &json!({})).await), "404 not-found");
    let deleted = request(&service, &Method::DELETE, PATH);
    assert_eq!(problem(&Answer::to(deleted).await), "405 method-not-allowed");
    service.refersion.sandbox.script_for(Operation::New, [Fault::status(401)]);
    service.send(&identify("m1", "u1", &json!({}))).await;
    let refused = post(&service, PATH, &json!({})).await;
    assert_eq!(problem(&refused), "409 cannot-learn");
    assert!(refused.text.contains("paused or halted"), "{}", refused.text);
}
