//! Few calls, through the real service: pending events of one user are coalesced, calls for several users share a request, and an
//! affiliate that is rejected is separated from the others.

mod burst;
mod failures;
mod idle;
mod learn;
mod leases;
mod present_status;
mod rejected;
mod remembered;
mod together;

use crate::support::affiliate_updates::values;
use crate::support::identify;
use crate::support::service::{Refersion, Service};
use refersion_destination::sandbox::{CallRecord, Sandbox};
use serde_json::{Value, json};

/// Answers come at once, so that a test decides for itself what to wait for.
const AT_ONCE: (&str, &str) = ("SERVER_WAIT", "0s");
/// No request is given up, however slow the machine is: its calls would be made again, each by itself, and tests count calls.
const PATIENT: (&str, &str) = ("REFERSION_TIMEOUT", "1h");
/// The most affiliates in one call.
const FULL: usize = 50;

/// The traits of a city.
fn city(name: &str) -> Value {
    json!({ "city": name })
}

/// One identify of each of `users`, which says `traits`; `name` makes them differ from others.
fn each_identify(users: usize, name: &str, traits: &Value) -> Vec<Value> {
    (0..users).map(|user| identify(&format!("{name}-{user}"), &format!("u{user}"), traits)).collect()
}

async fn send_all(service: &Service, events: Vec<Value>) {
    assert_eq!(service.send(&events.into()).await.brief(), "202 accepted");
}

/// A service that has just started and knows `users` users, `u0` and on, and how many calls that took.
async fn knowing(refersion: Refersion, users: usize, settings: &[(&str, &str)]) -> (Service, usize) {
    let settings: Vec<_> = [AT_ONCE, PATIENT].iter().chain(settings).copied().collect();
    let service = Service::on(refersion, &settings).await;
    let before = service.refersion.sandbox.affiliates().len();
    send_all(&service, each_identify(users, "made", &Value::Null)).await;
    service.until_drained().await;
    // A worker that still runs may learn of its last settlements only after it has read the next events: these would be blocked
    // behind events that are settled already, and not go out with the others.
    let (refersion, folder) = service.stop().await;
    let service = Service::resume(refersion, folder, &settings).await;
    assert_eq!(service.refersion.sandbox.affiliates().len(), before + users);
    let calls = service.refersion.sandbox.calls().len();
    (service, calls)
}

/// The calls since there were `calls`.
fn since(calls: usize, sandbox: &Sandbox) -> Vec<CallRecord> {
    sandbox.calls().split_off(calls)
}

/// Their operations.
fn operations(calls: &[CallRecord]) -> Vec<&'static str> {
    calls.iter().map(|call| call.operation.as_str()).collect()
}

/// About how many affiliates each `edit` or `status_change` was.
fn sizes(calls: &[CallRecord]) -> Vec<usize> {
    let lists = calls.iter().filter_map(|call| call.body["affiliates"].as_array().or(call.body["ids"].as_array()));
    lists.map(Vec::len).collect()
}

/// How many affiliates have this city.
fn cities(name: &str, sandbox: &Sandbox) -> usize {
    sandbox.affiliates().iter().filter(|one| one.field("city") == name).count()
}

/// Every affiliate was sent the `expected` cities with effect, in this order, each once.
fn assert_each_was_sent(expected: &[&str], sandbox: &Sandbox) {
    for affiliate in sandbox.affiliates() {
        let said = values("city", affiliate.id.0, sandbox);
        let effective: Vec<_> = said.iter().filter(|(_, effective)| *effective).map(|(city, _)| city).collect();
        assert_eq!(effective, expected, "{}: {said:?}", affiliate.email());
    }
}

async fn dead_letters(service: &Service) -> Value {
    service.ready().await.json()["dead_letters"].clone()
}
