//! The status page: its texts, and its use in a real browser. Where there is no browser, those tests say that they are skipped.

mod accessibility;
mod browser;
mod content;
mod visits;

use crate::support::service::{Refersion, Service};
use crate::support::{Answer, OPS_TOKEN, http, identify};
use browser::{Browser, Password};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::json;

/// Every page, for a service with the dead letter 1.
const PAGES: [&str; 8] = [
    "/",
    "/?range=day&refresh=off",
    "/accounts/main",
    "/dead-letters",
    "/dead-letters?reason=refused&since=hour&select=all",
    "/dead-letters/1",
    "/dead-letters/99999",
    "/lookup",
];

fn url(service: &Service, path: &str) -> String {
    format!("http://{}{path}", service.addresses.ops)
}

/// What a `GET` answers without credentials, as a browser on this machine asks.
async fn get(service: &Service, path: &str) -> Answer {
    Answer::to(http().get(url(service, path))).await
}

/// A service to which an event was delivered, one refused at receipt, and one that is the dead letter with the id in the result.
async fn service_with_a_dead_letter(settings: &[(&str, &str)]) -> (Service, i64) {
    let service = Service::on(Refersion::start().await, settings).await;
    let refused = || Fault::unprocessable("Value exceed the char limit");
    service.refersion.sandbox.script_for(Operation::New, [refused(), refused()]);
    let event = identify("m1", "markeruser1", &json!({"city": "Markertown"}));
    assert_eq!(service.send(&event).await.brief(), "400 rejected");
    assert_eq!(service.send(&identify("m2", "u2", &json!({}))).await.brief(), "200 delivered");
    assert_eq!(
        service.send(&json!({"type": "identify", "messageId": "m3", "userId": "u3"})).await.brief(),
        "400 rejected"
    );
    let letters = Answer::to(http().get(url(&service, "/api/v1/dead-letters")).bearer_auth(OPS_TOKEN)).await.json();
    let id = letters["letters"][0]["id"].as_i64().expect("a dead letter");
    (service, id)
}
