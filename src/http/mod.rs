//! The two HTTP listeners: Segment's webhook, and health, metrics and dead letters for operators.
//!
//! `account_registry` finds the account that a request is for; `webhook` takes the request from bytes to its answer; `body` reads it under
//! its `limits`; `intake` turns it into events to append; `append` hands them to the store; `answer` is THE inbound status table;
//! `ops` is health and metrics; `letters` is what operators do with dead letters; `listen` serves all of it, within bounds.
//! Invariants: an event is answered with 2xx only once it is on disk, or if there is nothing to keep; no redirect, ever; every
//! answer is JSON with `status` and `message`; a bug is a 500. Deliberately absent: any call to Refersion; verifying a new key
//! needs one, and is handed in ([`MerchantAccounts`]).

mod account_registry;
mod answer;
mod append;
mod body;
mod intake;
mod letters;
mod limits;
mod listen;
mod ops;
mod webhook;

pub use account_registry::{AccountRegistry, AdmissionError, MerchantAccounts};
pub use listen::{ListenerLimits, listen};

use crate::account_signals::AccountSignals;
use crate::clock::Clock;
use crate::domain::AccountName;
use crate::mapping::Rules;
use crate::segment::Authenticator;
use crate::store::Store;
use crate::telemetry::Meter;
use answer::Answer;
use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{MethodRouter, get, post};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;
use tower_http::catch_panic::CatchPanicLayer;

/// The webhook of one account, and what it works with.
pub struct AccountEndpoint {
    /// The account events are for.
    pub account: AccountName,
    /// Who is believed.
    pub authenticator: Authenticator,
    /// The account's mapping rules.
    pub rules: Rules,
    /// The current time.
    pub clock: Clock,
    /// Where events are appended.
    pub store: Arc<dyn Store>,
    /// Signals between the worker and this endpoint.
    pub signals: AccountSignals,
    /// Wakes the account's worker after events were appended.
    pub wake_worker: Arc<dyn Fn() + Send + Sync>,
    /// Cancelled when the service shuts down.
    pub shutdown: CancellationToken,
    /// The account's counters.
    pub meter: Meter,
    /// How long the response waits for the outcome at most; zero: it does not wait.
    pub max_wait: Duration,
    /// How many events the worker delivers at a time: with fewer pending, a new event begins at once.
    pub concurrency: u64,
}

/// The listener for Segment: the webhook in all its forms, and health.
pub fn public_router(registry: Arc<AccountRegistry>) -> Router {
    let other = || |request| refuse(request, Answer::MethodNotAllowed("POST"));
    let any = || post(webhook::for_any).fallback(other());
    // With a trailing slash as well: a redirect would turn Segment's POST into a GET.
    let mut events = Router::new()
        .route("/segment", any())
        .route("/segment/", any())
        .route("/v1/batch", any())
        .route("/v1/batch/", any())
        .with_state(Arc::clone(&registry));
    for endpoint in registry.configured() {
        let path = format!("/segment/{}", endpoint.account);
        let one = || post(webhook::for_one).fallback(other()).with_state(Arc::clone(endpoint));
        events = events.route(&format!("{path}/"), one()).route(&path, one());
    }
    finished(events.merge(health(registry, get(ops::readyz))))
}

/// The listener for operators: health, and with the operator's key, dead letters and erasure.
pub fn ops_router(registry: Arc<AccountRegistry>) -> Router {
    let only_post = || |request| refuse(request, Answer::MethodNotAllowed("POST"));
    let letters = Router::new()
        .route("/dead-letters", post(letters::list).fallback(only_post()))
        .route("/dead-letters/show", post(letters::show).fallback(only_post()))
        .route("/dead-letters/replay", post(letters::replay).fallback(only_post()))
        .route("/dead-letters/discard", post(letters::discard).fallback(only_post()))
        .route("/forget", post(letters::forget).fallback(only_post()))
        .with_state(Arc::clone(&registry));
    let only_get = || |request| refuse(request, Answer::MethodNotAllowed("GET, HEAD"));
    let metrics =
        Router::new().route("/metrics", get(ops::metrics).fallback(only_get())).with_state(Arc::clone(&registry));
    finished(letters.merge(metrics).merge(health(registry, get(ops::readyz_by_account))))
}

fn health(registry: Arc<AccountRegistry>, readyz: MethodRouter<Arc<AccountRegistry>>) -> Router {
    let other = || |request| refuse(request, Answer::MethodNotAllowed("GET, HEAD"));
    Router::new()
        .route("/healthz", get(ops::healthz).fallback(other()))
        .route("/readyz", readyz.fallback(other()))
        .with_state(registry)
}

/// Everything else is not found; a panic anywhere is an answer. Last, for a layer covers what is there already.
fn finished(router: Router) -> Router {
    let bug = |_| Answer::Bug.into_response();
    router.fallback(|request| refuse(request, Answer::NotFound)).layer(CatchPanicLayer::custom(bug))
}

async fn refuse(request: Request, answer: Answer) -> Answer {
    let (head, mut body) = request.into_parts();
    body::discard(&head.headers, &mut body).await;
    answer
}
