//! THE inbound status table: every response, its status code, and what the code makes Segment do (Segment's contract).
//!
//! | response | code | Segment |
//! | --- | --- | --- |
//! | delivered, duplicate, ignored | 200 | is done |
//! | accepted: stored, not delivered yet | 202 | is done |
//! | rejected: malformed, a trait is missing, or rejected by Refersion (then the event is kept as a dead letter) | 400 | discards the event, shows the message |
//! | unauthorized: wrong credentials, or a key that Refersion rejects | 401 | discards the event, shows the message |
//! | not found, method not allowed: a wrong URL or method | 404, 405 | discards the event |
//! | too large: it would be too large again | 413 | discards the event |
//! | backlog full | 429 | sends it again, for four hours |
//! | unsupported event type: not an error of the customer | 501; to a batch of an SDK 200 | discards the event |
//! | error: a bug | 500 | sends it again |
//! | unavailable: not stored, a key that could not be verified, shutting down | 503 | sends it again |
//!
//! If Refersion rejects a key that it accepted before, an event is stored all the same, and is delivered once the key works. A single event
//! is answered 401, so Segment discards its copy; an event of an array is accepted.
//!
//! Each event of an array or a batch has its own result in `results`, with one of these statuses. The code of the whole is that of the
//! first that occurs of: error, accepted, done (200), rejected, another refusal, unsupported ([`combined`]; [`combined_for_sdk`] never
//! answers 501). So an array is 4xx only if none of its events was accepted or done. If its events cannot be stored, the whole is 503; if
//! the backlog is full, 429; if it has more events than the backlog may ever have, 413. None of them is stored then. `http/parse.rs` decides
//! about each event.
//!
//! 429, 500 and 503 are retryable for Segment (it resends the request); all others are not. The webhook never answers 3xx, 207, 410, 423,
//! 460 or 505. A body is JSON with `status` and `message`, and `notes` if a part of the event was left out. No body holds a secret or
//! personal data. A page for merchants ([`PageStatus`]) has 200, or 303 for the redirect to Segment's consent page. The page of a refusal
//! has 400, 403, 409, 500 or 503. The codes of `/readyz` are in `health`.

mod conversions;

use super::connect::ApiKeyProblem;
use super::limits::MAX_EVENTS;
use crate::connect::ConnectFailure;
use crate::delivery::{Action, OutcomeCode, PermanentFailure, Success};
use crate::domain::EventId;
use crate::mapping::{MappingError, Reason};
use crate::segment::AuthError;
use crate::telemetry::{EventStatus, Meter, RefusalReason};
use axum::Json;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use std::borrow::Cow;
use utoipa::ToSchema;

/// The response to a request, or the result of one event of many.
#[derive(Clone, Debug)]
pub(super) enum ApiResponse {
    /// Delivered, or ignored at delivery.
    Settled(Success),
    Accepted,
    Duplicate,
    Ignored(Reason),
    Invalid(String),
    /// An event that lacks a value that Refersion requires.
    Unmappable(MappingError),
    DeadLetter(PermanentFailure),
    /// Another process has settled the event. With the reason, if it is a dead letter.
    SettledElsewhere(OutcomeCode, Option<String>),
    Unauthenticated(AuthError),
    AccountHalted,
    NotFound,
    /// A path of Segment's tracking API that no server SDK uses.
    NotAnSdkPath,
    /// With the methods that are allowed.
    MethodNotAllowed(&'static str),
    BodyTooLarge,
    EventTooLarge,
    TooManyEvents,
    BacklogFull,
    /// The request has more events than may be pending at all. With that limit.
    ExceedsBacklog(u64),
    UnsupportedType(String),
    /// A batch of one of Segment's SDKs in which all events are of other types.
    UnsupportedBatch,
    InternalError,
    NotStored,
    KeyUnverified,
    Draining,
    BodyTimeout,
}

/// The JSON body of a response.
#[derive(Serialize, ToSchema)]
pub(super) struct ResponseBody<'a> {
    /// The action at the affiliate, for a delivered event.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(super) action: Option<&'static str>,
    /// The event's name in logs, traces, dead letters and the ledger. Absent if the event must be sent again.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(value_type = Option<String>)]
    pub(super) event: Option<EventId>,
    /// The result in words.
    pub(super) message: Cow<'a, str>,
    /// Notes on values that were left out of the event, and why: names of fields, never values.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(super) notes: Vec<String>,
    /// The result of each event of an array or batch.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(no_recursion)]
    pub(super) results: Option<Vec<ItemResult<'a>>>,
    /// The status, in one word.
    #[schema(value_type = String)]
    pub(super) status: EventStatus,
}

/// The result of one event of many.
#[derive(Serialize, ToSchema)]
pub(super) struct ItemResult<'a> {
    #[serde(flatten)]
    pub(super) result: ResponseBody<'a>,
    /// Segment's id of the event, if it has one.
    #[serde(rename = "messageId")]
    pub(super) message_id: Option<String>,
}

/// `Retry-After` when the backlog is full, in seconds.
const RETRY_AFTER_FULL: u32 = 60;
/// `Retry-After` when the service is unavailable, in seconds.
const RETRY_AFTER_UNAVAILABLE: u32 = 5;

impl ApiResponse {
    /// The status code.
    pub(super) fn code(&self) -> StatusCode {
        match self {
            Self::SettledElsewhere(code, _) if code.is_dead_letter() => StatusCode::BAD_REQUEST,
            Self::Settled(_)
            | Self::SettledElsewhere(..)
            | Self::Duplicate
            | Self::Ignored(_)
            | Self::UnsupportedBatch => StatusCode::OK,
            Self::Accepted => StatusCode::ACCEPTED,
            Self::Invalid(_) | Self::Unmappable(_) | Self::DeadLetter(_) => StatusCode::BAD_REQUEST,
            Self::Unauthenticated(_) | Self::AccountHalted => StatusCode::UNAUTHORIZED,
            Self::NotFound | Self::NotAnSdkPath => StatusCode::NOT_FOUND,
            Self::MethodNotAllowed(_) => StatusCode::METHOD_NOT_ALLOWED,
            Self::BodyTooLarge | Self::EventTooLarge | Self::TooManyEvents | Self::ExceedsBacklog(_) => {
                StatusCode::PAYLOAD_TOO_LARGE
            }
            Self::BacklogFull => StatusCode::TOO_MANY_REQUESTS,
            Self::UnsupportedType(_) => StatusCode::NOT_IMPLEMENTED,
            Self::InternalError => StatusCode::INTERNAL_SERVER_ERROR,
            Self::NotStored | Self::KeyUnverified | Self::Draining | Self::BodyTimeout => {
                StatusCode::SERVICE_UNAVAILABLE
            }
        }
    }

    /// The value of `status` in the body, and the label in the metrics.
    pub(super) fn status(&self) -> EventStatus {
        match self {
            Self::Settled(Success::Delivered { .. }) => EventStatus::Delivered,
            Self::SettledElsewhere(code, _) if code.is_dead_letter() => EventStatus::Rejected,
            Self::SettledElsewhere(code, _) if code.action().is_some() => EventStatus::Delivered,
            Self::Settled(Success::Ignored(_)) | Self::Ignored(_) | Self::SettledElsewhere(..) => EventStatus::Ignored,
            Self::Accepted => EventStatus::Accepted,
            Self::Duplicate => EventStatus::Duplicate,
            Self::Invalid(_) | Self::Unmappable(_) | Self::DeadLetter(_) => EventStatus::Rejected,
            Self::Unauthenticated(_) | Self::AccountHalted => EventStatus::Unauthorized,
            Self::NotFound | Self::NotAnSdkPath => EventStatus::NotFound,
            Self::MethodNotAllowed(_) => EventStatus::MethodNotAllowed,
            Self::BodyTooLarge | Self::EventTooLarge | Self::TooManyEvents | Self::ExceedsBacklog(_) => {
                EventStatus::TooLarge
            }
            Self::BacklogFull => EventStatus::BacklogFull,
            Self::UnsupportedType(_) | Self::UnsupportedBatch => EventStatus::Unsupported,
            Self::InternalError => EventStatus::Error,
            Self::NotStored | Self::KeyUnverified | Self::Draining | Self::BodyTimeout => EventStatus::Unavailable,
        }
    }

    /// The value of `message` in the body, which the customer reads.
    pub(super) fn message(&self) -> Cow<'_, str> {
        match self {
            Self::Settled(outcome) => outcome.to_string().into(),
            Self::SettledElsewhere(code, reason) => settled_elsewhere(*code, reason.as_deref()).into(),
            Self::Accepted => "the event is stored and will be delivered".into(),
            Self::Duplicate => "this event was stored before (the same messageId or, without one, the same bytes): it has no second effect".into(),
            Self::Ignored(reason) => reason.to_string().into(),
            Self::Invalid(what) => what.into(),
            Self::Unmappable(error) => error.to_string().into(),
            Self::DeadLetter(failure) => format!("{failure} (the event is kept as a dead letter)").into(),
            Self::Unauthenticated(why) => why.to_string().into(),
            Self::AccountHalted => "Refersion rejected the API key: correct it where it is configured; \
                                 the event is kept and delivered once the key works"
                .into(),
            Self::NotFound => "no such path: post events to /segment".into(),
            Self::NotAnSdkPath => "no such path: Segment's server SDKs post to /v1/batch or /v1/import. The libraries for browsers and \
                                   apps use other paths and are not supported: a secret key does not belong into a browser or an app"
                .into(),
            Self::MethodNotAllowed(allowed) => format!("this path allows {allowed} only").into(),
            Self::BodyTooLarge => "the body is too large: at most 128 KiB for an event, 4.5 MiB for an array".into(),
            Self::EventTooLarge => "the event is too large: at most 128 KiB".into(),
            Self::TooManyEvents => format!("too many events: at most {MAX_EVENTS} in an array").into(),
            Self::BacklogFull => "too many events are pending: send this one again later".into(),
            Self::ExceedsBacklog(max) => format!("too many events: at most {max} of an account may be pending here \
                                                  (DELIVERY_MAX_BACKLOG), so send fewer in a request")
            .into(),
            Self::UnsupportedType(kind) => {
                format!("unsupported event type {kind}: this destination supports identify and delete").into()
            }
            Self::UnsupportedBatch => "this destination supports identify and delete".into(),
            Self::InternalError => "internal error: the log of this service has the details; send the event again".into(),
            Self::NotStored => "the event could not be stored: send it again".into(),
            Self::KeyUnverified => "Refersion could not be asked whether it accepts this API key: send the event again".into(),
            Self::Draining => "this service is shutting down: send the event again".into(),
            Self::BodyTimeout => "the body took too long to arrive: send the event again".into(),
        }
    }

    /// The body of this response.
    pub(super) fn body(&self) -> ResponseBody<'_> {
        let action = match self {
            Self::Settled(Success::Delivered { action, .. }) => Some(action.as_str()),
            Self::SettledElsewhere(code, _) => code.action().map(Action::as_str),
            _ => None,
        };
        ResponseBody {
            action,
            event: None,
            message: self.message(),
            notes: Vec::new(),
            results: None,
            status: self.status(),
        }
    }

    /// The HTTP response: this code, its headers, and `body` as JSON.
    pub(super) fn with_body(&self, body: &ResponseBody<'_>) -> Response {
        let mut response = (self.code(), Json(body)).into_response();
        let header = match self {
            Self::BacklogFull => Some((header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_FULL))),
            Self::NotStored | Self::KeyUnverified | Self::Draining | Self::BodyTimeout => {
                Some((header::RETRY_AFTER, HeaderValue::from(RETRY_AFTER_UNAVAILABLE)))
            }
            Self::MethodNotAllowed(allowed) => Some((header::ALLOW, HeaderValue::from_static(allowed))),
            Self::Unauthenticated(_) => {
                Some((header::WWW_AUTHENTICATE, HeaderValue::from_static(r#"Basic realm="refersion-destination""#)))
            }
            _ => None,
        };
        response.headers_mut().extend(header);
        response
    }

    /// Whether the ledger has the event or will have it, so that the answer names the event. False if nothing of the request was stored.
    pub(super) fn is_of_the_ledger(&self) -> bool {
        use EventStatus as S;
        !matches!(self.status(), S::BacklogFull | S::Error | S::Unavailable) && !matches!(self, Self::ExceedsBacklog(_))
    }

    /// Counts the reason if an event with this result was not appended. Appended events are counted when they are settled.
    pub(super) fn count_reason(&self, meter: &Meter) {
        if let Self::Ignored(reason) = self {
            meter.events_ignored(OutcomeCode::from(reason), 1);
        } else if let Self::UnsupportedType(_) = self {
            // An unsupported type is no error of the customer: there is nothing to do for it.
            meter.events_ignored(OutcomeCode::Unsupported, 1);
        } else if let Some(reason) = self.refusal() {
            meter.event_refused(reason);
        }
    }

    /// Why this event was refused. None if it was not refused, or if the response refuses a whole request before its events are parsed:
    /// then no event is counted.
    fn refusal(&self) -> Option<RefusalReason> {
        Some(match self {
            Self::Invalid(_) => RefusalReason::Malformed,
            Self::Unmappable(MappingError::MissingEmail) => RefusalReason::MissingEmail,
            Self::Unmappable(MappingError::InvalidEmail(_)) => RefusalReason::InvalidEmail,
            Self::Unmappable(MappingError::MissingName) => RefusalReason::MissingName,
            Self::Unmappable(MappingError::MissingUser) => RefusalReason::MissingUser,
            Self::EventTooLarge | Self::ExceedsBacklog(_) => RefusalReason::TooLarge,
            Self::BacklogFull => RefusalReason::BacklogFull,
            Self::NotStored => RefusalReason::NotStored,
            Self::InternalError => RefusalReason::InternalError,
            _ => return None,
        })
    }

    /// Which of the results of many events decides the response: the one with the least number. An unsupported type comes last, since it
    /// is no error of the customer.
    fn precedence(&self) -> u8 {
        match self {
            Self::InternalError => 0,
            Self::Accepted => 1,
            _ if self.code() == StatusCode::OK => 2,
            _ if self.code() == StatusCode::BAD_REQUEST => 3,
            Self::UnsupportedType(_) => 5,
            _ => 4,
        }
    }
}

/// The codes of the table above that a path for events answers, for the OpenAPI description.
pub(super) const DESCRIPTIONS: [(&str, &str); 10] = [
    ("200", "delivered, duplicate, ignored, or a batch of an SDK without identify and delete: nothing is left to do"),
    ("202", "accepted: stored on disk, and will be delivered"),
    ("400", "rejected: malformed, a trait is missing, or Refersion rejected the event for good"),
    ("401", "unauthorized: wrong credentials, or an API key that Refersion rejects"),
    ("404", "not found"),
    ("413", "too large"),
    ("429", "backlog full: send the event again later"),
    ("500", "error: a bug of this service; send the event again"),
    ("501", "unsupported: neither identify nor delete"),
    ("503", "unavailable: send the event again"),
];

/// The status of a page for merchants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum PageStatus {
    /// The page shows what was requested.
    Shown,
    /// The browser is redirected to Segment's consent page.
    ToSegment,
    /// The form again, because of the Refersion key.
    Key(ApiKeyProblem),
    /// Nothing was connected.
    Failed(ConnectFailure),
}

impl PageStatus {
    /// The form, with the problem of the former key, if there was one.
    pub(super) fn of_key(problem: Option<ApiKeyProblem>) -> Self {
        problem.map_or(Self::Shown, Self::Key)
    }

    /// The status code.
    pub(super) fn code(self) -> StatusCode {
        use ConnectFailure as F;
        match self {
            Self::Shown => StatusCode::OK,
            Self::ToSegment => StatusCode::SEE_OTHER,
            Self::Key(ApiKeyProblem::Unverified) | Self::Failed(F::SegmentDown) => StatusCode::SERVICE_UNAVAILABLE,
            Self::Key(_)
            | Self::Failed(
                F::NotOurs | F::Expired | F::OtherBrowser | F::RejectedBySegment | F::CodeRejected | F::NoSource,
            ) => StatusCode::BAD_REQUEST,
            Self::Failed(F::Denied | F::NotPermitted) => StatusCode::FORBIDDEN,
            Self::Failed(F::AlreadyInstalled) => StatusCode::CONFLICT,
            Self::Failed(F::WrongRedirect | F::WrongClient | F::WrongScope) => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }
}

impl IntoResponse for ApiResponse {
    fn into_response(self) -> Response {
        self.with_body(&self.body())
    }
}

/// The message for an event that another process has settled.
fn settled_elsewhere(code: OutcomeCode, reason: Option<&str>) -> String {
    match (code.action(), reason) {
        (Some(action), _) => Success::delivered(action, None).to_string(),
        (None, Some(reason)) => format!("{reason} (the event is kept as a dead letter)"),
        (None, None) if code.is_dead_letter() => format!("{} (the event is kept as a dead letter)", code.as_str()),
        (None, None) => format!("nothing to do: {}", code.as_str()),
    }
}

/// The response to a request with many events. Segment can only send the whole request again, and every event that can be stored is stored
/// already. So one success makes the whole request a success, unless an internal error left an event undecided.
pub(super) fn combined(results: &[ApiResponse]) -> ApiResponse {
    results.iter().min_by_key(|result| result.precedence()).cloned().unwrap_or(ApiResponse::InternalError)
}

/// The response to a batch of one of Segment's SDKs: the combined one, but never 501. An SDK takes that for a failure, and an older one sends
/// the batch again for minutes, while later events wait.
pub(super) fn combined_for_sdk(results: &[ApiResponse]) -> ApiResponse {
    match combined(results) {
        ApiResponse::UnsupportedType(_) => ApiResponse::UnsupportedBatch,
        other => other,
    }
}
