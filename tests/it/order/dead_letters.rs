//! Dead letters: an event that fails for too long or is rejected for good, and the next event of its user, which is delivered.

use super::{AT_ONCE, accepted, cities, names, unavailable};
use crate::support::identify;
use crate::support::service::Service;
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

#[tokio::test]
async fn an_event_that_fails_for_too_long_is_kept_and_the_next_is_delivered() {
    let service = Service::start(&[AT_ONCE, ("DELIVERY_MAX_AGE", "1ms"), ("DELIVERY_RETRY_MIN", "10ms")]).await;
    service.refersion.sandbox.script([Fault::status(500), Fault::status(500), Fault::status(500)]);
    let both = [identify("m1", "u1", &json!({"city": "Rome"})), identify("m2", "u1", &json!({"city": "Oslo"}))];
    assert_eq!(service.send(&Value::from(both.to_vec())).await.status, 202);
    service.until_drained().await;
    assert_eq!(names(&service.refersion), ["Oslo", "Oslo", "Rome", "Oslo"], "together, then one by one");
    assert_eq!(service.ready().await.json()["dead_letters"], 1);
    assert_eq!(service.refersion.sandbox.affiliates()[0].field("city"), "Oslo");
}

#[tokio::test]
async fn a_request_that_waits_is_answered_with_the_reason_of_the_dead_letter() {
    let service = Service::start(&[("DELIVERY_MAX_AGE", "1ms"), ("DELIVERY_RETRY_MIN", "10ms")]).await;
    service.refersion.sandbox.script([Fault::status(500), Fault::html(502)]);
    let answer = service.send(&identify("m1", "u1", &Value::Null)).await;
    assert_eq!(answer.brief(), "400 rejected");
    assert_eq!(
        answer.message(),
        "gave up after failing for too long; at last: Refersion answered 502 to new (the event is kept as a dead letter)"
    );
}

#[tokio::test]
async fn an_event_that_is_rejected_for_good_is_kept_and_the_next_is_delivered() {
    let service = Service::start(&[AT_ONCE]).await;
    service.refersion.sandbox.script_for(Operation::Edit, [Fault::unprocessable("Value exceed the char limit")]);
    accepted(&service, &identify("m1", "u1", &Value::Null)).await;
    service.until_drained().await;
    accepted(&service, &identify("m2", "u1", &json!({"name": "Gold Bug"}))).await;
    service.refersion.until(|sandbox| sandbox.calls_total() == 2).await; // begun alone
    accepted(&service, &identify("m3", "u1", &json!({"name": "Lead Bug"}))).await;
    service.until_drained().await;
    assert_eq!(service.refersion.operations(), ["new", "edit", "edit"]);
    assert_eq!(service.ready().await.json()["dead_letters"], 1);
    assert_eq!(service.refersion.sandbox.affiliates()[0].field("first_name"), "Lead");
}

#[tokio::test]
async fn a_retry_after_of_an_outage_is_respected_and_delays_no_other_user() {
    let service = Service::start(&[AT_ONCE]).await;
    service.refersion.sandbox.script([unavailable(1)]);
    accepted(&service, &identify("m1", "u1", &json!({"city": "Rome"}))).await;
    service.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    accepted(&service, &identify("m2", "u2", &json!({"city": "Oslo"}))).await;
    service.until_drained().await;
    let [(rome, first), (oslo, _), (again, second)] = &cities(&service.refersion)[..] else { panic!("three calls") };
    assert_eq!((&**rome, &**oslo, &**again), ("Rome", "Oslo", "Rome"));
    assert!(second - first >= 1000, "{first} {second}");
}
