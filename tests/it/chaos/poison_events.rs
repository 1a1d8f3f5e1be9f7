//! Poison events: Refersion fails or refuses them every time. They delay their own user, and no other user.

use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, identify};
use axum::body::{Body, to_bytes};
use axum::extract::Request;
use axum::http::StatusCode;
use axum::middleware::{Next, from_fn};
use axum::response::{IntoResponse, Response};
use refersion_destination::domain::ApiKey;
use refersion_destination::sandbox::{Sandbox, SandboxSettings};
use serde_json::json;

const USERS: usize = 20;
const EVENTS_OF_EACH: usize = 2;

/// A simulated Refersion that answers 500 to every call about `fivehundred`, and 422 to every call about `fourtwentytwo`.
async fn refersion_with_poison_users() -> Refersion {
    let api_key = Some(ApiKey::parse(API_KEY).expect("a key"));
    let sandbox = Sandbox::new(SandboxSettings { api_key, ..SandboxSettings::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
    let router = sandbox.router().layer(from_fn(fail_poison_users));
    tokio::spawn(axum::serve(listener, router).into_future());
    Refersion { sandbox, base_url }
}

async fn fail_poison_users(request: Request, next: Next) -> Response {
    let (head, body) = request.into_parts();
    let bytes = to_bytes(body, usize::MAX).await.expect("a body");
    let text = String::from_utf8_lossy(&bytes);
    let json = [("content-type", "application/json")];
    if text.contains("fivehundred") {
        (StatusCode::INTERNAL_SERVER_ERROR, json, r#"{"error": "no"}"#).into_response()
    } else if text.contains("fourtwentytwo") {
        (StatusCode::UNPROCESSABLE_ENTITY, json, r#"{"errors": ["no"]}"#).into_response()
    } else {
        next.run(Request::from_parts(head, Body::from(bytes))).await
    }
}

#[tokio::test]
async fn an_event_that_is_always_rejected_or_always_fails_delays_no_other_user() {
    let settings = [("SERVER_WAIT", "0s"), ("DELIVERY_MAX_AGE", "3s"), ("REFERSION_CONCURRENCY", "2")];
    let service = Service::on(refersion_with_poison_users().await, &settings).await;
    for number in 0..EVENTS_OF_EACH {
        let city = json!({"city": format!("City {number}")});
        let poison = ["fivehundred", "fourtwentytwo"].map(|user| identify(&format!("{user}-{number}"), user, &city));
        let others = (0..USERS).map(|user| identify(&format!("{user}-{number}"), &format!("u{user}"), &city));
        let events: Vec<_> = poison.into_iter().chain(others).collect();
        assert_eq!(service.send(&events.into()).await.status, 202);
    }
    let served = |sandbox: &Sandbox| {
        let affiliates = sandbox.affiliates();
        affiliates.len() == USERS && affiliates.iter().all(|one| one.field("city") == "City 1")
    };
    service.refersion.until(served).await;
    // Two events that fail for three seconds each: a delivery that waited for both would come after six.
    assert!(service.ready().await.json()["pending"].as_u64() >= Some(1), "one of the two waits still");
    service.until_drained().await;
    assert_eq!(
        service.ready().await.json()["dead_letters"],
        2 * EVENTS_OF_EACH,
        "each of them kept, and none for ever in the way"
    );
}
