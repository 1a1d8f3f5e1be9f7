//! The operators' listener: who may use it, its API, and its description.

mod access;
mod accounts;
mod affiliate_list;
mod backlog;
mod dead_letters;
mod events;
mod forget;
mod lookup;
mod openapi;
mod problems;

use crate::support::service::{Refersion, Service};
use crate::support::{Answer, OPS_TOKEN, identify};
use refersion_destination::sandbox::{Fault, Operation};
use reqwest::Method;
use serde_json::{Value, json};

/// The URL of a path on the operators' listener.
fn url(service: &Service, path: &str) -> String {
    format!("http://{}{path}", service.addresses.ops)
}

/// A request of an operator: with the token.
fn request(service: &Service, method: &Method, path: &str) -> reqwest::RequestBuilder {
    service.http.request(method.clone(), url(service, path)).bearer_auth(OPS_TOKEN)
}

/// Reads a path.
async fn get(service: &Service, path: &str) -> Answer {
    Answer::to(request(service, &Method::GET, path)).await
}

/// The JSON of a path that exists.
async fn read(service: &Service, path: &str) -> Value {
    let answer = get(service, path).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

/// Posts JSON.
async fn post(service: &Service, path: &str, body: &Value) -> Answer {
    Answer::to(with_json(request(service, &Method::POST, path), body)).await
}

/// The JSON of an answer to a change that was carried out.
async fn change(service: &Service, path: &str, body: &Value) -> Value {
    let answer = post(service, path, body).await;
    assert_eq!(answer.status, 200, "{path}: {}", answer.text);
    answer.json()
}

fn with_json(request: reqwest::RequestBuilder, body: &Value) -> reqwest::RequestBuilder {
    request.header("Content-Type", "application/json").body(body.to_string())
}

/// The code and the kind of a problem: `404 not-found`. Checks that it is one as RFC 9457 describes it.
fn problem(answer: &Answer) -> String {
    let json = answer.json();
    assert_eq!(answer.headers["content-type"], "application/problem+json", "{}", answer.text);
    assert_eq!(json["status"], answer.status, "{json}");
    for member in ["title", "detail"] {
        assert!(json[member].as_str().is_some_and(|text| !text.is_empty()), "{json}");
    }
    let kind = json["type"].as_str().and_then(|kind| kind.strip_prefix("urn:refersion-destination:problem:"));
    format!("{} {}", answer.status, kind.expect("a type"))
}

/// What a problem says is wrong.
fn detail(answer: &Answer) -> String {
    answer.json()["detail"].as_str().expect("a detail").to_owned()
}

/// A service whose deliveries do not wait for anything, with these settings.
async fn service(settings: &[(&str, &str)]) -> Service {
    Service::on(Refersion::start().await, settings).await
}

/// Lets an event of `user` end as a dead letter; its id.
async fn dead_letter(service: &Service, message_id: &str, user: &str) -> i64 {
    let refused = || Fault::unprocessable("Value exceed the char limit");
    service.refersion.sandbox.script_for(Operation::New, [refused(), refused()]);
    let answer = service.send(&identify(message_id, user, &json!({"city": "Markertown"}))).await;
    assert_eq!(answer.brief(), "400 rejected");
    let page = read(service, "/api/v1/dead-letters?limit=1000").await;
    page["letters"].as_array().and_then(|letters| letters.last()?["id"].as_i64()).expect("a dead letter")
}
