//! The public HTTP listener: Segment's webhook, the pages that connect a source, and health.
//!
//! `account_registry` selects the account of a request; `webhook` handles the request; `body` reads it within its `limits`; `parse` turns
//! it into events to append; `append` hands them to the store; `response` is THE inbound status table; `health` has the health checks;
//! `connect` has the pages for merchants; `listen` serves a listener, and `open_connections` limits its connections; `openapi` describes
//! the paths. Invariants: an event is answered with 2xx only after it is on disk, or if nothing has to be kept; no response to an event is
//! a redirect; the body of a response is JSON, with `status` and `message` for an error; a panic is answered with 500. Deliberately absent:
//! calls to Refersion. The verification of a new API key needs one, and is passed in ([`MerchantAccounts`]).

mod account_registry;
mod answered;
mod append;
mod body;
mod connect;
mod health;
mod limits;
mod listen;
mod open_connections;
mod openapi;
mod parse;
mod response;
mod webhook;

pub use account_registry::{AccountRegistry, AdmissionError, MerchantAccounts};
pub use connect::{ApiKeyCheck, ApiKeyProblem, Connect};
pub use limits::MAX_EVENT_BYTES;
pub use listen::{ListenerLimits, listen};
pub use openapi::openapi;

use crate::account_signals::AccountSignals;
use crate::clock::Clock;
use crate::domain::AccountName;
use crate::mapping::Rules;
use crate::segment::Authenticator;
use crate::store::Store;
use crate::telemetry::Meter;
use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{MethodFilter, MethodRouter, any, get, on, post};
use response::ApiResponse;
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// The webhook of one account.
pub struct AccountEndpoint {
    /// The account of the events.
    pub account: AccountName,
    /// Authenticates requests for the account.
    pub authenticator: Authenticator,
    /// The account's mapping rules.
    pub rules: Rules,
    /// The current time.
    pub clock: Clock,
    /// The store to which events are appended.
    pub store: Arc<dyn Store>,
    /// Signals between the worker and this endpoint.
    pub signals: AccountSignals,
    /// Wakes the account's worker after events were appended.
    pub wake_worker: Arc<dyn Fn() + Send + Sync>,
    /// Cancelled when the service shuts down.
    pub shutdown: CancellationToken,
    /// The account's counters.
    pub meter: Meter,
    /// The longest time from the receipt of a request until its response, which waits for the outcome; zero: it does not wait.
    pub max_wait: Duration,
    /// `REFERSION_CONCURRENCY`, the ceiling of requests in flight: with fewer events pending, a new event is expected to begin at once. The
    /// present limit may be lower; then the response waits until `max_wait` without result.
    pub concurrency: u64,
}

/// The paths of Segment's server SDKs: the first for Node, Python, PHP and Go, the second for Ruby, .NET and Java.
const SDK_PATHS: [&str; 2] = ["/v1/batch", "/v1/import"];
/// The methods that Segment's Webhooks destination offers.
const WEBHOOK_METHODS: MethodFilter = MethodFilter::POST.or(MethodFilter::PUT).or(MethodFilter::PATCH);

/// The routes of the public listener: the webhook, health and, if the service is set up for them, the pages that connect a source.
pub fn public_router(registry: Arc<AccountRegistry>, connect: Option<Connect>) -> Router {
    let shared =
        only(webhook::METHODS, on(WEBHOOK_METHODS, webhook::shared_endpoint)).with_state(Arc::clone(&registry));
    let mut events = with_trailing_slash(Router::new(), "/segment", &shared);
    let own = any(webhook::account_endpoint).with_state(Arc::clone(&registry));
    events = with_trailing_slash(events, "/segment/{account}", &own);
    let sdk = only("POST", post(webhook::shared_endpoint)).with_state(Arc::clone(&registry));
    for path in SDK_PATHS {
        events = with_trailing_slash(events, path, &sdk);
    }
    let events = events.route("/v1/{*path}", any(|request| refuse(request, ApiResponse::NotAnSdkPath)));
    let health = Router::new()
        .route("/healthz", only("GET, HEAD", get(health::healthz)))
        .route("/readyz", only("GET, HEAD", get(health::readyz)))
        .with_state(registry);
    let pages = connect.map(|connect| connect::routes(Arc::new(connect))).unwrap_or_default();
    with_fallbacks(events.merge(health).merge(pages))
}

/// Adds a path without and with a trailing slash: a redirect from one to the other would turn Segment's POST into a GET.
fn with_trailing_slash(router: Router, path: &str, route: &MethodRouter) -> Router {
    router.route(path, route.clone()).route(&format!("{path}/"), route.clone())
}

/// Refuses every method but those of the route, which are these `methods`; axum's own refusal has no body.
fn only<S: Clone + Send + Sync + 'static>(methods: &'static str, route: MethodRouter<S>) -> MethodRouter<S> {
    route.fallback(move |request| refuse(request, ApiResponse::MethodNotAllowed(methods)))
}

/// Answers other paths with 404 and panics with 500. Called last, because a layer applies to the routes that exist already.
fn with_fallbacks(router: Router) -> Router {
    let on_panic = |_| ApiResponse::InternalError.into_response();
    router.fallback(|request| refuse(request, ApiResponse::NotFound)).layer(CatchPanicLayer::custom(on_panic))
}

/// Refuses a request, and reads the rest of it, so that the client can read the response.
async fn refuse(request: Request, response: ApiResponse) -> ApiResponse {
    let (head, mut body) = request.into_parts();
    body::discard(&head.headers, &mut body).await;
    response
}
