//! The handling of one call of an operation.
//!
//! In: the operation, the headers and the body. Out: the response, and the way in which it is sent. Checks are made in this order: scripted
//! faults, the rate limit and random failures; the API key; the body; the rules of the operation. Invariant: a call is handled under one
//! lock, so that no other call takes effect in between.

use super::call_log::CallRecord;
use super::error_response::ErrorResponse;
use super::faults::Fault;
use super::faulty_connection::WriteMode;
use super::{Operation, SandboxSettings, SandboxState, operations};
use crate::domain::{ApiKey, Timestamp};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

/// The response to a call, and the way in which it is sent.
pub(super) struct CallReply {
    pub(super) response: Option<SandboxResponse>,
    /// The bytes of it that are sent; `None`: the connection stays open without a response.
    pub(super) mode: Option<WriteMode>,
}

/// A status, a body, and the seconds of `Retry-After`.
pub(super) struct SandboxResponse {
    pub(super) status: StatusCode,
    pub(super) body: SandboxBody,
    pub(super) retry_after: Option<u64>,
}

pub(super) enum SandboxBody {
    Json(Value),
    Html(String),
}

impl CallReply {
    /// The outcome of a call with this fault. `perform` carries the call out; it is not called if the call has no effect.
    pub(super) fn with_fault(fault: Fault, perform: impl FnOnce() -> SandboxResponse) -> Self {
        let (response, mode) = match fault {
            Fault::Pass => (Some(perform()), Some(WriteMode::All)),
            Fault::Status { status, body, retry_after } => {
                let response = SandboxResponse { retry_after, ..SandboxResponse::json(status, body) };
                (Some(response), Some(WriteMode::All))
            }
            Fault::Html { status } => (Some(SandboxResponse::html(status)), Some(WriteMode::All)),
            Fault::CloseConnection => (None, Some(WriteMode::Nothing)),
            Fault::LoseResponse => (Some(perform()), Some(WriteMode::Nothing)),
            Fault::TruncateResponse => (Some(perform()), Some(WriteMode::AllButLastByte)),
            Fault::SlowResponse => (Some(perform()), Some(WriteMode::Slowly)),
            Fault::Hang { effect } => (effect.then(perform), None),
        };
        Self { response, mode }
    }

    /// The status that the client receives, if it receives a response.
    pub(super) fn status_received(&self) -> Option<u16> {
        let reaches = self.mode.is_some_and(|mode| mode != WriteMode::Nothing);
        self.response.as_ref().filter(|_| reaches).map(|response| response.status.as_u16())
    }
}

impl SandboxState {
    /// Handles one call and records it.
    pub(super) fn handle_call(
        &mut self,
        settings: &SandboxSettings,
        operation: Operation,
        headers: &HeaderMap,
        bytes: &[u8],
        now: Timestamp,
    ) -> CallReply {
        let body = json_object(headers, bytes);
        let (fault, name) =
            self.faults.next(operation).map_or((Fault::Pass, None), |(fault, name)| (fault, Some(name)));
        let outcome = CallReply::with_fault(fault, || {
            let done = self.perform(settings, operation, headers, body.as_ref(), now);
            let (status, body) = done.map_or_else(ErrorResponse::status_and_body, |body| (200, body));
            SandboxResponse::json(status, body)
        });
        self.call_log.add(CallRecord {
            number: 0,
            at: now,
            operation,
            body: body.map_or(Value::Null, Value::Object),
            status: outcome.status_received(),
            response: outcome.response.as_ref().map_or(Value::Null, |response| response.body.as_value()),
            fault: name,
        });
        outcome
    }

    fn perform(
        &mut self,
        settings: &SandboxSettings,
        operation: Operation,
        headers: &HeaderMap,
        body: Option<&Map<String, Value>>,
        now: Timestamp,
    ) -> Result<Value, ErrorResponse> {
        if self.api_key_revoked || !api_key_accepted(settings.api_key.as_ref(), headers) {
            return Err(ErrorResponse::InvalidKey);
        }
        let body = body.ok_or(ErrorResponse::NoBody)?;
        operations::perform(operation, &mut self.account, settings, body, now)
    }
}

/// Whether the headers have the account's API key. If the settings name none, any well-formed key is accepted.
fn api_key_accepted(key: Option<&ApiKey>, headers: &HeaderMap) -> bool {
    let half = |name| headers.get(name).and_then(|value| value.to_str().ok());
    let (Some(public), Some(secret)) = (half("Refersion-Public-Key"), half("Refersion-Secret-Key")) else {
        return false;
    };
    let joined = format!("{public}.{secret}");
    match key {
        Some(key) => key.public() == public && key.matches(joined.as_bytes()),
        None => ApiKey::parse(&joined).is_ok(),
    }
}

/// The JSON object in the body. Refersion treats anything else, and any other content type, as no body.
fn json_object(headers: &HeaderMap, bytes: &[u8]) -> Option<Map<String, Value>> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json").then(|| serde_json::from_slice(bytes).ok()).flatten()
}

impl SandboxResponse {
    /// A response with this JSON body or, if it is `null`, with a body that names the status.
    pub(super) fn json(status: u16, body: Value) -> Self {
        let status = final_status(status);
        let named = || json!({"error": status.canonical_reason().unwrap_or("Error")});
        Self { status, body: SandboxBody::Json(if body.is_null() { named() } else { body }), retry_after: None }
    }

    fn html(status: u16) -> Self {
        let status = final_status(status);
        let page = format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        Self { status, body: SandboxBody::Html(page), retry_after: None }
    }
}

/// `status`, or 500 if a response cannot have that status (1xx, or out of range).
fn final_status(status: u16) -> StatusCode {
    let status = StatusCode::from_u16(status).ok().filter(|status| !status.is_informational());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl SandboxBody {
    fn as_value(&self) -> Value {
        match self {
            Self::Json(value) => value.clone(),
            Self::Html(text) => text.clone().into(),
        }
    }
}
