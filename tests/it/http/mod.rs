//! The public listener through a real socket: every row of the status table, in tables that read as claims.
//!
//! Every response of every test here passes [`checked`], so that "never a redirect, always JSON, nothing personal" is a claim
//! about the whole table.

mod arrays;
mod authentication;
mod bodies;
mod events;
mod health;
mod outcomes;
mod paths;
mod recorded;
mod store;
mod wire;

use crate::support::service::Service;
use crate::support::{API_KEY, Answer, basic, http};
use axum::Router;
use refersion_destination::account_signals::AccountSignals;
use refersion_destination::clock::Clock;
use refersion_destination::domain::{AccountName, ApiKey};
use refersion_destination::http::{AccountEndpoint, AccountRegistry, public_router};
use refersion_destination::mapping::Rules;
use refersion_destination::segment::Authenticator;
use refersion_destination::store::Store;
use refersion_destination::telemetry::Metrics;
use serde_json::Value;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

/// The only status codes that are ever sent.
const CODES: [u16; 11] = [200, 202, 400, 401, 404, 405, 413, 429, 500, 501, 503];
/// What no response may contain: the secret half of the key, a shared secret, an address or a name of an event.
const PRIVATE: [&str; 6] = ["sec_test", "abc123", "@", "example.com", "Peter", "Gibbons"];

/// Checks what is true of every response, and returns it.
fn checked(answer: Answer) -> Answer {
    let Answer { status, headers, text } = &answer;
    assert!(CODES.contains(status), "{status}: {text}");
    assert_eq!(headers["content-type"], "application/json", "{status}: {text}");
    assert!(!headers.contains_key("location"), "{status}: {text}");
    assert_eq!(headers.contains_key("retry-after"), matches!(status, 429 | 503), "{status}: {text}");
    let body = answer.json();
    for word in ["status", "message"] {
        assert!(body[word].as_str().is_some_and(|text| !text.is_empty()), "{status}: {text}");
    }
    for private in PRIVATE {
        assert!(!text.contains(private), "{status}: {text}");
    }
    answer
}

/// Posts `body` to `url` with `headers`.
async fn post(url: &str, headers: &[(&str, &str)], body: impl Into<reqwest::Body>) -> Answer {
    let request = headers.iter().fold(http().post(url), |request, (name, value)| request.header(*name, *value));
    checked(Answer::to(request.body(body)).await)
}

/// Posts `body` to `/segment` with the account's key.
async fn send(service: &Service, body: &Value) -> Answer {
    checked(service.send(body).await)
}

/// Posts `body` to `/segment` with the account's key.
async fn send_raw(service: &Service, body: impl Into<reqwest::Body>) -> Answer {
    checked(service.send_raw(body).await)
}

/// Posts `body` to `path` with the account's key.
async fn send_to(service: &Service, path: &str, body: &Value) -> Answer {
    post(&service.url(path), &[("Authorization", &basic(API_KEY))], body.to_string()).await
}

/// `status` of every event of an array, in order: `accepted rejected`.
fn each(answer: &Answer) -> String {
    let json = answer.json();
    let results = json["results"].as_array().expect("results").iter();
    results.map(|result| result["status"].as_str().expect("a word")).collect::<Vec<_>>().join(" ")
}

/// The surroundings of an endpoint: its shutdown, and whether its worker was woken.
#[derive(Default)]
struct Surroundings {
    shutdown: CancellationToken,
    woken: Arc<Notify>,
}

/// The public listener's routes with one account endpoint, with `store`.
fn router(store: Arc<dyn Store>, surroundings: &Surroundings) -> Router {
    let woken = Arc::clone(&surroundings.woken);
    let endpoint = AccountEndpoint {
        account: AccountName::main(),
        authenticator: Authenticator::new(ApiKey::parse(API_KEY).expect("a key"), Vec::new()),
        rules: Rules::default(),
        clock: Clock::start(),
        store: Arc::clone(&store),
        signals: AccountSignals::default(),
        wake_worker: Arc::new(move || woken.notify_one()),
        shutdown: surroundings.shutdown.clone(),
        meter: Metrics::default().of(&AccountName::main()),
        max_wait: Duration::ZERO,
        concurrency: 1,
    };
    let (metrics, shutdown) = (Metrics::default(), surroundings.shutdown.clone());
    let registry = AccountRegistry::new(store, Clock::start(), metrics, shutdown, vec![endpoint], None);
    public_router(Arc::new(registry), None)
}

/// Serves one account endpoint on a socket, with `store`.
async fn serve_endpoint(store: Arc<dyn Store>, surroundings: &Surroundings) -> SocketAddr {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let address = listener.local_addr().expect("bound");
    tokio::spawn(axum::serve(listener, router(store, surroundings)).into_future());
    address
}
