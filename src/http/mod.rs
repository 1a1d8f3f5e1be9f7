//! The doors: Segment's webhook, and the operator's health checks.
//!
//! `webhook` takes a request from bytes to its answer; `body` reads it under its limits; `intake` turns it into
//! entries of the queue; `answer` is THE inbound status table; `ops` is health;
//! `letters` is what operators do with dead letters. Invariants: nothing is answered with
//! 2xx that was to be kept and is not on disk; no redirect, ever; every answer is JSON with `status` and `message`; a bug is
//! a 500. Deliberately absent: any call to Refersion.

mod answer;
mod body;
mod intake;
mod letters;
mod ops;
mod webhook;

use crate::domain::AccountName;
use crate::mapping::Rules;
use crate::notice::Notice;
use crate::queue::Queue;
use crate::segment::Trust;
use answer::Answer;
use axum::Router;
use axum::extract::Request;
use axum::response::IntoResponse;
use axum::routing::{get, post};
use std::sync::Arc;
use std::time::Duration;
use tower_http::catch_panic::CatchPanicLayer;

/// What the webhook works with.
pub struct Door {
    /// The account events are for.
    pub account: AccountName,
    /// Who is believed.
    pub trust: Trust,
    /// The account's mapping rules.
    pub rules: Rules,
    /// Where events are recorded.
    pub queue: Arc<dyn Queue>,
    /// The worker's notices.
    pub notice: Notice,
    /// How long an answer waits for the outcome; zero is not at all.
    pub wait: Duration,
    /// Up to how many waiting events a new one is tried at once: the worker's concurrency.
    pub at_once: u64,
}

/// The listener for Segment: the webhook in all its forms, and health.
pub fn public(door: Arc<Door>) -> Router {
    let webhook = || post(webhook::handle).fallback(|request| refuse(request, Answer::MethodNotAllowed("POST")));
    // With a trailing slash as well: a redirect would turn Segment's POST into a GET.
    let events = Router::new()
        .route("/segment", webhook())
        .route("/segment/", webhook())
        .route("/v1/batch", webhook())
        .route("/v1/batch/", webhook())
        .with_state(Arc::clone(&door));
    finished(events.merge(health(door)))
}

/// The listener for operators: health, and with the API key, dead letters and erasure.
pub fn ops(door: Arc<Door>) -> Router {
    let only_post = || |request| refuse(request, Answer::MethodNotAllowed("POST"));
    let letters = Router::new()
        .route("/dead-letters", post(letters::list).fallback(only_post()))
        .route("/dead-letters/show", post(letters::show).fallback(only_post()))
        .route("/dead-letters/replay", post(letters::replay).fallback(only_post()))
        .route("/dead-letters/discard", post(letters::discard).fallback(only_post()))
        .route("/forget", post(letters::forget).fallback(only_post()))
        .with_state(Arc::clone(&door));
    finished(letters.merge(health(door)))
}

fn health(door: Arc<Door>) -> Router {
    let other = || |request| refuse(request, Answer::MethodNotAllowed("GET, HEAD"));
    Router::new()
        .route("/healthz", get(ops::healthz).fallback(other()))
        .route("/readyz", get(ops::readyz).fallback(other()))
        .with_state(door)
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
