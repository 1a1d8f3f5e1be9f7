//! The status of a received event: one closed list of words for Segment's response, the logs and the metrics.
//!
//! Which response has which status, and which HTTP code goes with it, is decided in `http`.

use serde::{Serialize, Serializer};
use std::fmt;

/// The status of an event in the response to Segment and in the metrics.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventStatus {
    /// Recorded, and delivered before the response was sent.
    Delivered,
    /// Nothing to do for this event.
    Ignored,
    /// Recorded; it will be delivered.
    Accepted,
    /// Recorded before.
    Duplicate,
    /// Invalid, or rejected by Refersion for good.
    Rejected,
    /// The credentials or the API key are wrong.
    Unauthorized,
    /// There is no such path.
    NotFound,
    /// The path does not take this HTTP method.
    MethodNotAllowed,
    /// The request or the event is too large.
    TooLarge,
    /// The account has as many pending events as it may have.
    BacklogFull,
    /// An event of a type that this destination does not handle.
    Unsupported,
    /// A bug of this service.
    Error,
    /// The event could not be recorded now.
    Unavailable,
}

impl EventStatus {
    /// Every status, in the order of the enum.
    pub const ALL: [Self; 13] = [
        Self::Delivered,
        Self::Ignored,
        Self::Accepted,
        Self::Duplicate,
        Self::Rejected,
        Self::Unauthorized,
        Self::NotFound,
        Self::MethodNotAllowed,
        Self::TooLarge,
        Self::BacklogFull,
        Self::Unsupported,
        Self::Error,
        Self::Unavailable,
    ];

    /// The word in responses, logs and metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Delivered => "delivered",
            Self::Ignored => "ignored",
            Self::Accepted => "accepted",
            Self::Duplicate => "duplicate",
            Self::Rejected => "rejected",
            Self::Unauthorized => "unauthorized",
            Self::NotFound => "not_found",
            Self::MethodNotAllowed => "method_not_allowed",
            Self::TooLarge => "too_large",
            Self::BacklogFull => "backlog_full",
            Self::Unsupported => "unsupported",
            Self::Error => "error",
            Self::Unavailable => "unavailable",
        }
    }
}

impl fmt::Display for EventStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl Serialize for EventStatus {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_status_is_listed_in_its_place() {
        assert!((0..).zip(EventStatus::ALL).all(|(place, status)| status as usize == place));
    }
}
