//! Failures of a call to Segment. The texts hold neither URLs nor anything that Segment or the merchant sent.

use std::time::Duration;

/// The failure of a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SegmentApiError {
    /// The request was not sent.
    #[error("no connection to Segment")]
    Unreachable,
    /// The request was sent, and its answer did not arrive: it may have had its effect.
    #[error("Segment did not answer in time, or the connection broke")]
    Lost,
    /// 429, with the wait that Segment asks for.
    #[error("Segment limits the rate of calls")]
    TooManyCalls(Option<Duration>),
    /// 5xx.
    #[error("Segment answered with the status {0}")]
    Failed(u16),
    /// The authorization code is unknown, expired or used.
    #[error("Segment rejects the authorization code")]
    CodeRejected,
    /// The redirect URL differs from the registered one; Segment reports it as a missing parameter.
    #[error("Segment rejects the redirect URL: it is not the registered one")]
    WrongRedirect,
    /// The client id or the client secret is wrong.
    #[error("Segment rejects the client id or the client secret")]
    WrongClient,
    /// The scope differs from the scope of the app.
    #[error("Segment rejects the scope")]
    WrongScope,
    /// The app is installed on the workspace already.
    #[error("the app is installed on the workspace already")]
    AlreadyInstalled,
    /// 401: the token is unknown or has expired.
    #[error("Segment rejects the token")]
    Unauthorized,
    /// 403: the token does not permit this.
    #[error("Segment does not permit this with the token")]
    Forbidden,
    /// 404.
    #[error("Segment has no such object (404)")]
    NotFound,
    /// 409: it exists already.
    #[error("Segment has this object already (409)")]
    Conflict,
    /// Another status.
    #[error("Segment rejected the call with the status {0}")]
    Rejected(u16),
    /// A successful answer without its required content.
    #[error("Segment's answer lacks a required member")]
    Unreadable,
}

impl SegmentApiError {
    /// The failure that this status means; none for a success.
    pub(super) fn of_status(status: u16, retry_after: Option<Duration>) -> Option<Self> {
        Some(match status {
            200..=299 => return None,
            401 => Self::Unauthorized,
            403 => Self::Forbidden,
            404 => Self::NotFound,
            409 => Self::Conflict,
            429 => Self::TooManyCalls(retry_after),
            500.. => Self::Failed(status),
            _ => Self::Rejected(status),
        })
    }

    /// Whether the same call may succeed at another time.
    pub fn is_transient(&self) -> bool {
        matches!(self, Self::Unreachable | Self::Lost | Self::TooManyCalls(_) | Self::Failed(_))
    }
}
