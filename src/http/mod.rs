//! The doors: Segment's webhook, and the operator's health checks.
//!
//! `webhook` takes a request from bytes to its answer; `body` reads it under its limits; `intake` turns events into
//! entries of the queue; `answer` is THE inbound status table; `ops` is health. Invariants: nothing is answered with
//! 2xx that was to be kept and is not on disk; no redirect, ever; every answer is JSON with `status` and `message`; a bug is
//! a 500. Deliberately absent: any call to Refersion.

mod answer;
mod body;
mod intake;
mod ops;
mod webhook;

use crate::domain::AccountName;
use crate::mapping::Rules;
use crate::notice::Notice;
use crate::queue::Queue;
use crate::segment::Trust;
use answer::Answer;
use axum::Router;
use axum::routing::{any, get, post};
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
    let webhook = || post(webhook::handle).fallback(method_not_allowed);
    let health = Arc::clone(&door);
    // With a trailing slash as well: a redirect would turn Segment's POST into a GET.
    Router::new()
        .route("/segment", webhook())
        .route("/segment/", webhook())
        .route("/v1/batch", webhook())
        .route("/v1/batch/", webhook())
        .with_state(door)
        .merge(ops(health))
}

/// The listener for operators.
pub fn ops(door: Arc<Door>) -> Router {
    Router::new()
        .route("/healthz", get(ops::healthz).fallback(any(|| async { Answer::MethodNotAllowed("GET") })))
        .route("/readyz", get(ops::readyz).fallback(any(|| async { Answer::MethodNotAllowed("GET") })))
        .with_state(door)
        .fallback(|| async { Answer::NotFound })
        .layer(CatchPanicLayer::custom(|_| axum::response::IntoResponse::into_response(Answer::Bug)))
}

async fn method_not_allowed() -> Answer {
    Answer::MethodNotAllowed("POST")
}
