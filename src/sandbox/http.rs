//! The HTTP routes of the sandbox: Refersion's operations, a page for people, and an API for tests in another process.
//!
//! | request | response |
//! | --- | --- |
//! | `POST /v2/affiliate/{operation}` | as from Refersion; 404 for an unknown operation |
//! | `GET /` | the page for people |
//! | `GET /sandbox/affiliates` | every affiliate, oldest first: a list of [`SandboxAffiliate`](super::SandboxAffiliate) |
//! | `GET /sandbox/calls` | the last calls, oldest first: a list of [`CallRecord`](super::CallRecord) |
//! | `POST /sandbox/faults` | queues a list of [`Fault`]s (see below); the number of pending faults |
//! | `POST /sandbox/key` | `{"accepted": false}` makes every API key wrong (401) until `{"accepted": true}` |
//!
//! A fault in JSON has its name, its settings and, optionally, `operation` (apply it only to calls of this operation) and `times`
//! (1 to 1000):
//! `[{"fault": "status", "status": 503, "retry_after": 2, "times": 3}, {"fault": "lose_response", "operation": "new"}]`.

use super::call::{CallReply, SandboxBody, SandboxResponse};
use super::faulty_connection::{ConnectionControl, WriteMode};
use super::{Fault, Operation, Sandbox, page};
use axum::Router;
use axum::body::{Bytes, to_bytes};
use axum::extract::rejection::PathRejection;
use axum::extract::{ConnectInfo, Path, Request, State};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use serde_json::{Map, Value, json};
use std::future::pending;
use std::time::Duration;
use tokio::time::sleep;

const MAX_BODY: usize = 2 * 1024 * 1024;
const MAX_TIMES: u64 = 1000;

pub(super) fn router(sandbox: Sandbox) -> Router {
    Router::new()
        .route("/", get(show_page))
        .route("/v2/affiliate/{operation}", post(call))
        .route("/sandbox/affiliates", get(affiliates))
        .route("/sandbox/calls", get(calls))
        .route("/sandbox/faults", post(faults))
        .route("/sandbox/key", post(key))
        .with_state(sandbox)
}

/// Handles one call. Half of the latency passes before the call takes effect and half after it, so that a client that gives up in
/// the second half loses the response to a call that took effect.
async fn call(
    State(sandbox): State<Sandbox>,
    operation: Result<Path<Operation>, PathRejection>,
    request: Request,
) -> Response {
    let Ok(Path(operation)) = operation else {
        return json_response(StatusCode::NOT_FOUND, &json!({"error": "Not found"}));
    };
    let connection =
        request.extensions().get().map(|ConnectInfo(connection): &ConnectInfo<ConnectionControl>| connection.clone());
    let (parts, body) = request.into_parts();
    let Ok(bytes) = to_bytes(body, MAX_BODY).await else {
        return json_response(StatusCode::PAYLOAD_TOO_LARGE, &json!({"error": "Payload Too Large"}));
    };
    let half = sandbox.settings().latency / 2;
    wait(half).await;
    let outcome = sandbox.handle_call(operation, &parts.headers, &bytes);
    wait(half).await;
    deliver(outcome, connection).await
}

/// Sleeps, but not for zero: tokio's `sleep` takes at least a millisecond.
async fn wait(time: Duration) {
    if !time.is_zero() {
        sleep(time).await;
    }
}

pub(super) async fn deliver(outcome: CallReply, connection: Option<ConnectionControl>) -> Response {
    match (outcome.mode, connection) {
        (Some(mode), Some(connection)) => connection.set(mode),
        // A connection without a control cannot be closed from here: send no response instead.
        (None, _) | (Some(WriteMode::Nothing), None) => pending().await,
        (Some(_), None) => {}
    }
    let Some(SandboxResponse { status, body, retry_after }) = outcome.response else {
        return StatusCode::OK.into_response();
    };
    let mut response = match body {
        SandboxBody::Json(value) => json_response(status, &value),
        SandboxBody::Html(text) => (status, [(header::CONTENT_TYPE, "text/html")], text).into_response(),
    };
    if let Some(seconds) = retry_after {
        response.headers_mut().insert(header::RETRY_AFTER, HeaderValue::from(seconds));
    }
    response
}

async fn show_page(State(sandbox): State<Sandbox>, headers: HeaderMap) -> Response {
    let host = headers.get(header::HOST).and_then(|host| host.to_str().ok()).unwrap_or("127.0.0.1:9099");
    let security = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8"),
        (header::CONTENT_SECURITY_POLICY, page::CONTENT_SECURITY_POLICY),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::CACHE_CONTROL, "no-store"),
    ];
    (security, page::render(&sandbox, host)).into_response()
}

async fn affiliates(State(sandbox): State<Sandbox>) -> Response {
    json_response(StatusCode::OK, &json!(sandbox.affiliates()))
}

async fn calls(State(sandbox): State<Sandbox>) -> Response {
    json_response(StatusCode::OK, &json!(sandbox.calls()))
}

async fn faults(State(sandbox): State<Sandbox>, bytes: Bytes) -> Response {
    match script(&bytes) {
        Ok(script) => {
            for (operation, fault) in script {
                sandbox.queue(operation, [fault]);
            }
            json_response(StatusCode::OK, &json!({"pending": sandbox.pending_faults()}))
        }
        Err(problem) => json_response(StatusCode::BAD_REQUEST, &json!({"error": problem})),
    }
}

/// The faults in a JSON script, or a message about the first one that is invalid.
fn script(bytes: &[u8]) -> Result<Vec<(Option<Operation>, Fault)>, String> {
    let entries: Vec<Map<String, Value>> =
        serde_json::from_slice(bytes).map_err(|error| format!("expected a list of faults: {error}"))?;
    let mut script = Vec::new();
    for (index, mut entry) in entries.into_iter().enumerate() {
        let wrong = |error: String| format!("fault {}: {error}", index + 1);
        let operation = entry.remove("operation").unwrap_or_default();
        let operation = serde_json::from_value(operation).map_err(|error| wrong(error.to_string()))?;
        let times = entry.remove("times").map_or(Some(1), |times| times.as_u64());
        let times = times
            .filter(|times| (1..=MAX_TIMES).contains(times))
            .ok_or_else(|| wrong(format!("expected `times` from 1 to {MAX_TIMES}")))?;
        let fault: Fault = serde_json::from_value(entry.into()).map_err(|error| wrong(error.to_string()))?;
        if let Fault::Status { status, .. } | Fault::Html { status } = fault
            && !(200..=599).contains(&status)
        {
            return Err(wrong(format!("status {status}; expected 200 to 599")));
        }
        script.extend((0..times).map(|_| (operation, fault.clone())));
    }
    Ok(script)
}

async fn key(State(sandbox): State<Sandbox>, bytes: Bytes) -> Response {
    let sent: Option<Value> = serde_json::from_slice(&bytes).ok();
    match sent.as_ref().and_then(|sent| sent.get("accepted")).and_then(Value::as_bool) {
        Some(true) => sandbox.restore_api_key(),
        Some(false) => sandbox.revoke_api_key(),
        None => {
            let expected = json!({"error": "expected {\"accepted\": true} or {\"accepted\": false}"});
            return json_response(StatusCode::BAD_REQUEST, &expected);
        }
    }
    json_response(StatusCode::OK, &json!({"accepted": !sandbox.api_key_revoked()}))
}

fn json_response(status: StatusCode, body: &Value) -> Response {
    // Err: a `Value` can always be serialised.
    let text = serde_json::to_vec(body).unwrap_or_default();
    (status, [(header::CONTENT_TYPE, "application/json")], text).into_response()
}
