//! THE inbound status table: every answer, its code, and what the code makes Segment do (Segment's contract).
//!
//! | answer | code | at Segment |
//! | --- | --- | --- |
//! | delivered, duplicate, ignored | 200 | done |
//! | accepted | 202 | done: accepted, not yet processed |
//! | rejected: malformed, missing traits, refused by Refersion (the event is kept as a dead letter) | 400 | discarded, the message shown |
//! | unauthorized: wrong credentials, or a key that Refersion refuses (if it was taken before, the event is kept) | 401 | discarded, the message shown |
//! | not found, method not allowed | 404, 405 | discarded: a wrong URL or method |
//! | too large | 413 | discarded: it would be too large again |
//! | backlog full | 429 | sent again, for four hours |
//! | unsupported | 501 | discarded, no error of the customer's |
//! | error: a bug | 500 | sent again |
//! | unavailable: not recorded, a key that could not be proved, draining | 503 | sent again |
//!
//! Never sent: 3xx, 207, 410, 423, 460, 505. A body is JSON with `status` and `message`; messages carry no secret and no
//! personal datum.

use super::AdmissionError;
use super::limits::MAX_EVENTS;
use crate::account_signals::EventOutcome;
use crate::delivery::{Outcome, PermanentFailure};
use crate::mapping::Reason;
use crate::segment::AuthError;
use crate::store::StoreError;
use crate::telemetry::EventStatus;
use axum::Json;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;

/// What a request, or one event of it, is answered with.
#[derive(Clone, Debug)]
pub(super) enum Answer {
    Delivered(Outcome),
    Accepted,
    Duplicate,
    Ignored(Reason),
    Invalid(String),
    Refused(PermanentFailure),
    Disbelieved(AuthError),
    KeyRefused,
    NotFound,
    MethodNotAllowed(&'static str),
    TooLarge,
    EventTooLarge,
    TooMany,
    BacklogFull,
    Unsupported(String),
    Bug,
    NotRecorded,
    Unproven,
    Draining,
    Slow,
}

/// The JSON of an answer.
#[derive(Serialize)]
pub(super) struct Told<'a> {
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<&'static str>,
    pub(super) message: Cow<'a, str>,
    /// Of many: each.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) results: Option<Vec<Each<'a>>>,
    pub(super) status: EventStatus,
}

/// The result of one event of many.
#[derive(Serialize)]
pub(super) struct Each<'a> {
    #[serde(flatten)]
    pub(super) told: Told<'a>,
    /// Segment's id of it, if it has one.
    #[serde(rename = "messageId")]
    pub(super) message_id: Option<String>,
}

/// How long Segment is asked to wait when the backlog is full, in seconds.
const RETRY_FULL: u32 = 60;
/// How long Segment is asked to wait when the event could not be recorded, in seconds.
const RETRY_UNAVAILABLE: u32 = 5;

impl Answer {
    /// The answer's code.
    pub(super) fn code(&self) -> StatusCode {
        match self {
            Self::Delivered(_) | Self::Duplicate | Self::Ignored(_) => StatusCode::OK,
            Self::Accepted => StatusCode::ACCEPTED,
            Self::Invalid(_) | Self::Refused(_) => StatusCode::BAD_REQUEST,
            Self::Disbelieved(_) | Self::KeyRefused => StatusCode::UNAUTHORIZED,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::TooLarge | Self::EventTooLarge | Self::TooMany => StatusCode::PAYLOAD_TOO_LARGE,
            Self::BacklogFull => StatusCode::TOO_MANY_REQUESTS,
            Self::Unsupported(_) => StatusCode::NOT_IMPLEMENTED,
            Self::Bug => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotRecorded | Self::Unproven | Self::Draining | Self::Slow => StatusCode::SERVICE_UNAVAILABLE,
        }
    }

    /// The word for `status`.
    pub(super) fn status(&self) -> EventStatus {
        match self {
            Self::Delivered(Outcome::Delivered { .. }) => EventStatus::Delivered,
            Self::Delivered(Outcome::Ignored(_)) | Self::Ignored(_) => EventStatus::Ignored,
            Self::Accepted => EventStatus::Accepted,
            Self::Duplicate => EventStatus::Duplicate,
            Self::Invalid(_) | Self::Refused(_) => EventStatus::Rejected,
            Self::Disbelieved(_) | Self::KeyRefused => EventStatus::Unauthorized,
            Self::NotFound => EventStatus::NotFound,
            Self::MethodNotAllowed(_) => EventStatus::MethodNotAllowed,
            Self::TooLarge | Self::EventTooLarge | Self::TooMany => EventStatus::TooLarge,
            Self::BacklogFull => EventStatus::BacklogFull,
            Self::Unsupported(_) => EventStatus::Unsupported,
            Self::Bug => EventStatus::Error,
            Self::NotRecorded | Self::Unproven | Self::Draining | Self::Slow => EventStatus::Unavailable,
        }
    }

    /// What the customer reads.
    pub(super) fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Delivered(outcome) => outcome.to_string().into(),
            Self::Accepted => "the event is recorded and will be delivered".into(),
            Self::Duplicate => "this event was recorded before (the same messageId or, without one, the same bytes): it has no second effect".into(),
            Self::Ignored(reason) => reason.to_string().into(),
            Self::Invalid(what) => what.into(),
            Self::Refused(failure) => format!("{failure} (the event is kept as a dead letter)").into(),
            Self::Disbelieved(why) => why.to_string().into(),
            Self::KeyRefused => "Refersion refused the API key: correct it where it is configured; \
                                 the event is kept and delivered once the key works"
                .into(),
            Self::NotFound => "no such path: events are posted to /segment".into(),
            Self::MethodNotAllowed(allowed) => format!("this path takes {allowed} only").into(),
            Self::TooLarge => "the body is too large: at most 128 KiB for an event, 4.5 MiB for an array".into(),
            Self::EventTooLarge => "the event is too large: at most 128 KiB".into(),
            Self::TooMany => format!("too many events: at most {MAX_EVENTS} in an array").into(),
            Self::BacklogFull => "too many events are waiting to be delivered: send this one again later".into(),
            Self::Unsupported(kind) => {
                format!("unsupported event type {kind}: this destination takes identify and delete").into()
            }
            Self::Bug => "an error of this service, which its log tells more of: send the event again".into(),
            Self::NotRecorded => "the event could not be recorded: send it again".into(),
            Self::Unproven => "Refersion could not be asked whether it takes this API key: send the event again".into(),
            Self::Draining => "this service is about to stop: send the event again".into(),
            Self::Slow => "the body took too long to arrive: send it again".into(),
        }
    }

    /// What is told of it.
    pub(super) fn told(&self) -> Told<'_> {
        let action = match self {
            Self::Delivered(Outcome::Delivered { action, .. }) => Some(action.as_str()),
            _ => None,
        };
        Told { action, message: self.message(), results: None, status: self.status() }
    }

    /// The answer with its code and headers, and `body` as its JSON.
    pub(super) fn with_body(&self, body: &Told<'_>) -> Response {
        let mut response = (self.code(), Json(body)).into_response();
        let header = match self {
            Self::BacklogFull => Some((header::RETRY_AFTER, RETRY_FULL.to_string())),
            Self::NotRecorded | Self::Unproven | Self::Draining | Self::Slow => {
                Some((header::RETRY_AFTER, RETRY_UNAVAILABLE.to_string()))
            }
            Self::MethodNotAllowed(allowed) => Some((header::ALLOW, (*allowed).to_owned())),
            Self::Disbelieved(_) => {
                Some((header::WWW_AUTHENTICATE, r#"Basic realm="refersion-destination""#.to_owned()))
            }
            _ => None,
        };
        if let Some((name, value)) = header
            && let Ok(value) = value.parse()
        {
            response.headers_mut().insert(name, value);
        }
        response
    }
}

impl IntoResponse for Answer {
    fn into_response(self) -> Response {
        self.with_body(&self.told())
    }
}

impl From<EventOutcome> for Answer {
    fn from(outcome: EventOutcome) -> Self {
        match outcome {
            EventOutcome::Done(outcome) => Self::Delivered(outcome),
            EventOutcome::DeadLetter(failure) => Self::Refused(failure),
            EventOutcome::KeyRefused => Self::KeyRefused,
            EventOutcome::Deferred => Self::Accepted,
        }
    }
}

impl From<AdmissionError> for Answer {
    fn from(error: AdmissionError) -> Self {
        match error {
            AdmissionError::KeyRefused => Self::Disbelieved(AuthError::KeyRejectedByRefersion),
            AdmissionError::KeyUnverified => Self::Unproven,
            AdmissionError::KeyNotStored => Self::NotRecorded,
            AdmissionError::Draining => Self::Draining,
        }
    }
}

impl From<StoreError> for Answer {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Full(_) => Self::BacklogFull,
            StoreError::NotPending
            | StoreError::Closed
            | StoreError::Transient(_)
            | StoreError::Corrupt(_)
            | StoreError::Fatal(_) => Self::NotRecorded,
        }
    }
}

/// The one answer for many events. It must not hide an event that could be sent again with success, and but for a bug there
/// is none: all that can be recorded are. So any success is a success, and only a request without one is an error.
pub(super) fn overall(answers: &[Answer]) -> Answer {
    let first = |wanted: &dyn Fn(&Answer) -> bool| answers.iter().find(|answer| wanted(answer)).cloned();
    first(&|answer| matches!(answer, Answer::Bug))
        .or_else(|| first(&|answer| matches!(answer, Answer::Accepted)))
        .or_else(|| first(&|answer| answer.code() == StatusCode::OK))
        .or_else(|| first(&|answer| answer.code() == StatusCode::BAD_REQUEST))
        .or_else(|| first(&|answer| !matches!(answer, Answer::Unsupported(_))))
        .or_else(|| answers.first().cloned())
        .unwrap_or(Answer::Bug)
}
