//! The operators' status table: every problem that the API answers, as RFC 9457 describes it.
//!
//! | problem | code |
//! | --- | --- |
//! | invalid request: a parameter or a body that the API does not take | 400 |
//! | token missing, token wrong | 401 |
//! | token not set, cross-site | 403 |
//! | not found: a path, an account, a dead letter, an event, a key | 404 |
//! | method not allowed | 405 |
//! | body timeout | 408 |
//! | backlog full: a replay does not fit in | 409 |
//! | account in use: its events are not set aside, because they are delivered or can be | 409 |
//! | cannot learn: the account makes no calls here now, so its list cannot be read | 409 |
//! | body too large | 413 |
//! | unsupported media type, unsupported encoding: a compressed body | 415 |
//! | configuration refused: a reload of a configuration with problems | 422 |
//! | too many wrong tokens | 429 |
//! | internal error: a bug | 500 |
//! | store failed, shutting down | 503 |
//!
//! A problem is JSON with `type` (a URN that never changes its meaning), `title`, `status` and `detail`, which names the remedy. No problem
//! holds a secret or personal data.

use crate::store::StoreError;
use axum::Json;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// The reason why a request is not carried out.
#[derive(Debug)]
pub(super) enum Problem {
    /// With the fault.
    InvalidRequest(String),
    TokenMissing,
    TokenWrong,
    /// No token is configured. With whether the listener is a loopback address.
    TokenNotSet {
        loopback: bool,
    },
    /// A browser sends the request on behalf of another site.
    CrossSite,
    UnknownPath,
    /// With the object that was not found.
    NotFound(String),
    MethodNotAllowed,
    BodyTimeout,
    /// With the number of events that are pending.
    BacklogFull(u64),
    /// With the reason why an account is not gone.
    AccountInUse(String),
    /// With the reason why Refersion's list of affiliates cannot be read.
    CannotLearn(String),
    BodyTooLarge,
    UnsupportedMediaType,
    UnsupportedEncoding,
    /// With every problem of the configuration.
    ConfigurationRefused(Vec<String>),
    TooManyWrongTokens,
    ShuttingDown,
    Internal,
    /// With the store's error.
    StoreFailed(String),
}

/// A problem as JSON (RFC 9457).
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct ProblemDetails {
    /// Names the kind of the problem; its meaning never changes.
    #[serde(rename = "type")]
    pub kind: String,
    /// The kind in words.
    pub title: String,
    /// The status code.
    pub status: u16,
    /// The fault of this request, and its remedy.
    pub detail: String,
    /// Each problem of a configuration that is refused.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub problems: Vec<String>,
}

/// The part of `type` before the problem's own name.
const TYPE_PREFIX: &str = "urn:refersion-destination:problem:";

impl Problem {
    /// The row of the table: the status code, the name of the problem's kind, as in its `type`, and its title.
    pub(super) fn row(&self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::InvalidRequest(_) => (StatusCode::BAD_REQUEST, "invalid-request", "The request is not valid"),
            Self::TokenMissing => (StatusCode::UNAUTHORIZED, "token-missing", "The operators' token is required"),
            Self::TokenWrong => (StatusCode::UNAUTHORIZED, "token-wrong", "The token is wrong"),
            Self::TokenNotSet { .. } => (StatusCode::FORBIDDEN, "token-not-set", "The service has no operators' token"),
            Self::CrossSite => (StatusCode::FORBIDDEN, "cross-site", "The request comes from another site"),
            Self::UnknownPath => (StatusCode::NOT_FOUND, "unknown-path", "Not found"),
            Self::NotFound(_) => (StatusCode::NOT_FOUND, "not-found", "Not found"),
            Self::MethodNotAllowed => {
                (StatusCode::METHOD_NOT_ALLOWED, "method-not-allowed", "The path does not allow this method")
            }
            Self::BodyTimeout => (StatusCode::REQUEST_TIMEOUT, "body-timeout", "The body took too long to arrive"),
            Self::BacklogFull(_) => (StatusCode::CONFLICT, "backlog-full", "The backlog is full"),
            Self::AccountInUse(_) => (StatusCode::CONFLICT, "account-in-use", "The account is not gone"),
            Self::CannotLearn(_) => {
                (StatusCode::CONFLICT, "cannot-learn", "Refersion's list of affiliates cannot be read now")
            }
            Self::BodyTooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "body-too-large", "The body is too large"),
            Self::UnsupportedMediaType => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-media-type", "The body is not JSON")
            }
            Self::UnsupportedEncoding => {
                (StatusCode::UNSUPPORTED_MEDIA_TYPE, "unsupported-encoding", "The body is compressed")
            }
            Self::ConfigurationRefused(_) => {
                (StatusCode::UNPROCESSABLE_ENTITY, "configuration-refused", "The configuration is refused")
            }
            Self::TooManyWrongTokens => {
                (StatusCode::TOO_MANY_REQUESTS, "too-many-wrong-tokens", "Too many wrong tokens")
            }
            Self::ShuttingDown => (StatusCode::SERVICE_UNAVAILABLE, "shutting-down", "The service is shutting down"),
            Self::Internal => (StatusCode::INTERNAL_SERVER_ERROR, "internal-error", "Internal error"),
            Self::StoreFailed(_) => (StatusCode::SERVICE_UNAVAILABLE, "store-failed", "The store failed"),
        }
    }

    fn detail(&self) -> String {
        let detail = match self {
            Self::InvalidRequest(what) | Self::NotFound(what) | Self::AccountInUse(what) | Self::CannotLearn(what) => {
                what
            }
            Self::TokenMissing => {
                "present the value of OPS_TOKEN as `Authorization: Bearer TOKEN`, or as the password of Basic credentials"
            }
            Self::TokenWrong => "the token is not the value of OPS_TOKEN that the service was started with",
            Self::TokenNotSet { loopback: true } => {
                "whatever changes something, or shows an event, needs a token: set OPS_TOKEN (or OPS_TOKEN_FILE) to at least 16 \
                 characters, such as `openssl rand -hex 32` prints, and restart the service"
            }
            Self::TokenNotSet { loopback: false } => {
                "on an address that is not loopback, all but health and metrics needs a token: set OPS_TOKEN (or OPS_TOKEN_FILE) to at \
                 least 16 characters, such as `openssl rand -hex 32` prints, and restart the service"
            }
            Self::CrossSite => "a page of another site may not change anything here",
            Self::UnknownPath => {
                "there is no such path: /openapi.json describes all of them; events are received on SERVER_LISTEN"
            }
            Self::MethodNotAllowed => "the header `Allow` names the methods that this path allows",
            Self::BodyTimeout => "send the request again",
            Self::BacklogFull(pending) => {
                return format!(
                    "{pending} events of the account are pending, and those to be replayed do not fit in: replay fewer, wait, or raise \
                     DELIVERY_MAX_BACKLOG"
                );
            }
            Self::BodyTooLarge => "at most 64 KiB",
            Self::UnsupportedMediaType => "send JSON, with the header `Content-Type: application/json`",
            Self::UnsupportedEncoding => "send the body as it is, without the header `Content-Encoding`",
            Self::ConfigurationRefused(problems) => {
                return format!("the former configuration stays in force; the problems: {}", problems.join("; "));
            }
            Self::TooManyWrongTokens => "wait for a second",
            Self::ShuttingDown => "start it again, or ask another process of it",
            Self::Internal => "a bug of this service; its log has the details",
            Self::StoreFailed(error) => error,
        };
        detail.to_owned()
    }

    /// The problem as JSON.
    pub(super) fn details(&self) -> ProblemDetails {
        let (code, kind, title) = self.row();
        ProblemDetails {
            kind: format!("{TYPE_PREFIX}{kind}"),
            title: title.to_owned(),
            status: code.as_u16(),
            detail: self.detail(),
            problems: if let Self::ConfigurationRefused(problems) = self { problems.clone() } else { Vec::new() },
        }
    }
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let details = self.details();
        let mut response = (self.row().0, Json(&details)).into_response();
        // A page says the same in HTML.
        response.extensions_mut().insert(details);
        let headers = response.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/problem+json"));
        match self {
            Self::TokenMissing | Self::TokenWrong => {
                // Basic first: a browser asks for a password.
                let schemes =
                    r#"Basic realm="refersion-destination", charset="UTF-8", Bearer realm="refersion-destination""#;
                headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(schemes));
            }
            Self::UnsupportedEncoding => _ = headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity")),
            Self::TooManyWrongTokens => _ = headers.insert(RETRY_AFTER, HeaderValue::from(1)),
            Self::StoreFailed(_) => _ = headers.insert(RETRY_AFTER, HeaderValue::from(5)),
            _ => {}
        }
        response
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::BacklogFull(pending) | StoreError::ExceedsBacklog(pending) => Self::BacklogFull(pending),
            error => Self::StoreFailed(error.to_string()),
        }
    }
}
