//! One call, from its headers and bytes to what is answered and how.
//!
//! The order in which things go wrong: scripted faults, the rate limit and chance before anything is looked at, then the
//! key, then the body, then the operation's own rules. All of it happens in one piece, under one lock: no two calls mix.

use super::faults::Fault;
use super::journal::CallRecord;
use super::refusal::Refusal;
use super::wire::Manner;
use super::{Operation, Settings, World, operations};
use crate::domain::{ApiKey, Timestamp};
use axum::http::{HeaderMap, StatusCode, header};
use serde_json::{Map, Value, json};

/// What is said to the client, and what becomes of it on the way.
pub(super) struct Outcome {
    /// None where nothing was said: the bytes are cut, or never come.
    pub(super) answer: Option<Answer>,
    pub(super) delivery: Delivery,
}

/// A status, a body in one of two languages, and how long to wait.
pub(super) struct Answer {
    pub(super) status: StatusCode,
    pub(super) body: Body,
    pub(super) retry_after: Option<u64>,
}

pub(super) enum Body {
    Json(Value),
    Html(String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Delivery {
    Sent(Manner),
    Never,
}

impl World {
    /// Carries out one call and notes it.
    pub(super) fn take(
        &mut self,
        settings: &Settings,
        operation: Operation,
        headers: &HeaderMap,
        bytes: &[u8],
        now: Timestamp,
    ) -> Outcome {
        let body = body(headers, bytes);
        let (fault, name) =
            self.faults.next(operation).map_or((Fault::Pass, None), |(fault, name)| (fault, Some(name)));
        let mut performed = || {
            let done = self.perform(settings, operation, headers, body.as_ref(), now);
            let (status, body) = done.map_or_else(Refusal::answer, |body| (200, body));
            Some(Answer::json(status, body))
        };
        let (answer, delivery) = match fault {
            Fault::Pass => (performed(), Delivery::Sent(Manner::Whole)),
            Fault::Status { status, body, retry_after } => {
                (Some(Answer { retry_after, ..Answer::json(status, body) }), Delivery::Sent(Manner::Whole))
            }
            Fault::Html { status } => (Some(Answer::html(status)), Delivery::Sent(Manner::Whole)),
            Fault::Cut => (None, Delivery::Sent(Manner::Cut)),
            Fault::LoseAnswer => (performed(), Delivery::Sent(Manner::Cut)),
            Fault::TearAnswer => (performed(), Delivery::Sent(Manner::Torn)),
            Fault::Trickle => (performed(), Delivery::Sent(Manner::Trickled)),
            Fault::Hang { effect } => (effect.then(performed).flatten(), Delivery::Never),
        };
        let reaches = matches!(delivery, Delivery::Sent(manner) if manner != Manner::Cut);
        self.journal.add(CallRecord {
            number: 0,
            at: now,
            operation,
            body: body.map_or(Value::Null, Value::Object),
            status: answer.as_ref().filter(|_| reaches).map(|answer| answer.status.as_u16()),
            answer: answer.as_ref().map_or(Value::Null, |answer| answer.body.as_value()),
            fault: name,
        });
        Outcome { answer, delivery }
    }

    fn perform(
        &mut self,
        settings: &Settings,
        operation: Operation,
        headers: &HeaderMap,
        body: Option<&Map<String, Value>>,
        now: Timestamp,
    ) -> Result<Value, Refusal> {
        if self.key_revoked || !opens(settings.api_key.as_ref(), headers) {
            return Err(Refusal::BadKey);
        }
        let body = body.ok_or(Refusal::NoBody)?;
        operations::perform(operation, &mut self.account, settings, body, now)
    }
}

/// Whether the headers carry the account's key pair; where it has none of its own, any well-formed one.
fn opens(key: Option<&ApiKey>, headers: &HeaderMap) -> bool {
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

/// The JSON object sent. Anything else, and anything not sent as `application/json`, is no body to Refersion.
fn body(headers: &HeaderMap, bytes: &[u8]) -> Option<Map<String, Value>> {
    let content_type = headers.get(header::CONTENT_TYPE)?.to_str().ok()?;
    let media_type = content_type.split(';').next().unwrap_or_default().trim();
    media_type.eq_ignore_ascii_case("application/json").then(|| serde_json::from_slice(bytes).ok()).flatten()
}

impl Answer {
    /// A JSON answer; where the body is `null`, one that names the status.
    pub(super) fn json(status: u16, body: Value) -> Self {
        let status = known(status);
        let named = || json!({"error": status.canonical_reason().unwrap_or("Error")});
        Self { status, body: Body::Json(if body.is_null() { named() } else { body }), retry_after: None }
    }

    fn html(status: u16) -> Self {
        let status = known(status);
        let page = format!(
            "<html>\r\n<head><title>{status}</title></head>\r\n<body>\r\n<center><h1>{status}</h1></center>\r\n\
             <hr><center>nginx</center>\r\n</body>\r\n</html>\r\n"
        );
        Self { status, body: Body::Html(page), retry_after: None }
    }
}

/// A status that can end a response; 500 in place of one that cannot.
fn known(status: u16) -> StatusCode {
    let status = StatusCode::from_u16(status).ok().filter(|status| !status.is_informational());
    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
}

impl Body {
    fn as_value(&self) -> Value {
        match self {
            Self::Json(value) => value.clone(),
            Self::Html(text) => text.clone().into(),
        }
    }
}
