//! The status of a received event: one closed list of words for Segment's response, the logs and the metrics.
//!
//! Deliberately absent: the status and the HTTP code of each response (`http/response.rs`).

use crate::domain::words;
use serde::Serialize;

words! {
    /// The status of an event in the response to Segment and in the metrics.
    #[derive(Serialize)]
    #[serde(rename_all = "snake_case")]
    EventStatus {
        /// Recorded, and delivered before the response was sent.
        Delivered = "delivered",
        /// There is nothing to do for this event.
        Ignored = "ignored",
        /// Recorded; it will be delivered.
        Accepted = "accepted",
        /// Recorded before.
        Duplicate = "duplicate",
        /// Refused by this service because it is invalid, or rejected by Refersion for good.
        Rejected = "rejected",
        /// The credentials or the API key are wrong.
        Unauthorized = "unauthorized",
        /// There is no such path.
        NotFound = "not_found",
        /// The path does not support this HTTP method.
        MethodNotAllowed = "method_not_allowed",
        /// The request or the event is too large.
        TooLarge = "too_large",
        /// The account has as many pending events as it may have.
        BacklogFull = "backlog_full",
        /// An event of a type that this destination does not handle.
        Unsupported = "unsupported",
        /// A bug of this service.
        Error = "error",
        /// The event could not be recorded now.
        Unavailable = "unavailable",
    }
}
