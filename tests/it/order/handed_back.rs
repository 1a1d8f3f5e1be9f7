//! An event that a stop interrupts between two calls, so that it is handed back and runs again after the next start.

use super::accepted;
use super::found::holding;
use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, basic, http, identify, poll_until, within};
use refersion_destination::sandbox::Operation;
use serde_json::{Value, json};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::sync::Semaphore;

/// Stops the service while the reply to a `get` is held back, and then lets the reply through.
async fn stop_during_get(service: Service, replies: &Semaphore) -> (Refersion, TempDir) {
    service.refersion.until(|sandbox| sandbox.calls().iter().any(|call| call.operation == Operation::Get)).await;
    let url = service.url("/segment");
    let stopped = tokio::spawn(service.stop());
    let send = || http().post(&url).header("Authorization", basic(API_KEY)).body("{}").send();
    let is_stopping =
        |answer: &Result<reqwest::Response, _>| answer.as_ref().map_or(true, |answer| answer.status() == 503);
    drop(within(poll_until(send, is_stopping)).await); // Err: the listener is closed
    replies.add_permits(1);
    within(stopped).await.expect("stops")
}

#[tokio::test]
async fn a_delete_that_knows_its_affiliate_since_an_earlier_attempt_is_alone_with_it() {
    let settings = [("SERVER_WAIT", "20s"), ("REFERSION_TIMEOUT", "1h")];
    let replies = Arc::new(Semaphore::new(0));
    let held = &[Operation::Get, Operation::StatusChange];
    let service = Service::on(holding(held, Arc::clone(&replies)).await, &settings).await;
    let created = service.send(&identify("m1", "u1", &Value::Null)).await;
    assert_eq!(created.json()["action"], "created");
    let id = service.refersion.sandbox.affiliates()[0].id;
    let renamed = json!({"affiliates": [{"id": id, "email": "new@example.com"}]});
    service.refersion.merchant_calls(Operation::Edit, &renamed).await;
    let (url, delete) =
        (service.url("/segment"), json!({"type": "delete", "messageId": "m2", "email": "new@example.com"}));
    let delete = http().post(url).header("Authorization", basic(API_KEY)).body(delete.to_string());
    let waits = tokio::spawn(delete.send());
    let (refersion, folder) = stop_during_get(service, &replies).await;
    drop(within(waits).await); // answered, or not, as the listener closes
    assert_eq!(refersion.operations(), ["new", "edit", "search", "get"]);

    let service = Service::resume(refersion, folder, &settings).await;
    let is_disabling = |operation: &&'static str| *operation == "status_change";
    replies.add_permits(1); // for the `get` that shows whether the affiliate still has the e-mail
    service.refersion.until(|sandbox| sandbox.calls().len() == 6).await;
    assert!(service.refersion.operations().last().is_some_and(is_disabling));
    accepted(&service, &identify("m3", "u1", &json!({"city": "Oslo"}))).await; // and blocked, or it would wait for its end
    assert_eq!(service.refersion.operations().len(), 6);
    replies.add_permits(100);
    service.until_drained().await;
}
