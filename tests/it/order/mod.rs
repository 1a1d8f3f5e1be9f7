//! Order per user, whatever Refersion answers; and pauses and halts of a whole account.

mod account;
mod dead_letters;
mod faults;
mod found;
mod handed_back;
mod lanes;
mod sustained_429;

use crate::support::service::{Refersion, Service};
use refersion_destination::sandbox::Fault;
use serde_json::Value;

/// Answers come at once, so that a test decides for itself what to wait for.
const AT_ONCE: (&str, &str) = ("SERVER_WAIT", "0s");

/// What Refersion heard of a city, with the moment in milliseconds.
fn cities(refersion: &Refersion) -> Vec<(String, i64)> {
    let city = |body: &Value| {
        body.pointer("/affiliates/0/city").or(body.get("city")).and_then(Value::as_str).map(str::to_owned)
    };
    refersion.sandbox.calls().iter().filter_map(|call| Some((city(&call.body)?, call.at.0))).collect()
}

/// The cities alone.
fn names(refersion: &Refersion) -> Vec<String> {
    cities(refersion).into_iter().map(|(city, _)| city).collect()
}

/// Sends an event that is answered before it is delivered.
async fn accepted(service: &Service, event: &Value) {
    assert_eq!(service.send(event).await.brief(), "202 accepted");
}

/// An outage that asks for a wait.
fn unavailable(retry_after: u64) -> Fault {
    Fault::Status { status: 503, body: Value::Null, retry_after: Some(retry_after) }
}
