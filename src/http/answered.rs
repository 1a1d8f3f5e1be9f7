//! An answered request: its response, and its counts, log line and trace.
//!
//! In: the response to a request for the webhook. Out: one log line and one count for each request. Levels: a bug is ERROR; a fault of an
//! account's own request is INFO; all else is DEBUG. A line for each request would cost more than the request, and a flood must not fill
//! the log: requests without credentials are reported by one WARN in ten seconds, and requests that are refused because the store is
//! unreachable or the backlog is full by one INFO in ten seconds. Deliberately absent: the later outcomes of the events ([`crate::worker`]
//! logs them with the same `event.id`).

use super::AccountRegistry;
use super::response::ApiResponse;
use crate::domain::{AccountName, EventId};
use crate::segment::AuthError;
use crate::telemetry::traces::Span;
use crate::telemetry::{EventStatus, LogThrottle};
use axum::http::Method;
use axum::response::{IntoResponse, Response};
use std::time::{Duration, Instant};

/// The throttle of refusals that the service causes, not the request: a full backlog, an outage of the store.
static UNAVAILABLE: LogThrottle = LogThrottle::new();

/// The answer to a request.
pub(super) struct AnsweredRequest {
    pub(super) response: Response,
    pub(super) status: EventStatus,
    /// The number of events in the request; 0 if it was refused as a whole.
    pub(super) events: usize,
    /// The event of a request with a single one, if it reached the event log.
    pub(super) event: Option<EventId>,
    /// The reason of the refusal, in the words of the answer, if the request was at fault.
    pub(super) refusal: Option<String>,
}

impl AnsweredRequest {
    /// The answer to a request that is refused as a whole.
    pub(super) fn refused(response: ApiResponse) -> Self {
        let refusal = Self::refusal_of(&response);
        Self { status: response.status(), response: response.into_response(), events: 0, event: None, refusal }
    }

    /// The reason of the refusal with this response, if the request was at fault.
    pub(super) fn refusal_of(response: &ApiResponse) -> Option<String> {
        let own_fault = matches!(response.status(), EventStatus::Rejected | EventStatus::TooLarge);
        own_fault.then(|| response.message().into_owned())
    }

    /// Counts and logs the request, which took `took`. `account`: its account, if there is one.
    pub(super) fn publish(&self, registry: &AccountRegistry, account: Option<&AccountName>, took: Duration) {
        registry.metrics.request_answered(self.status, took);
        let (account, event) = (account.map(tracing::field::display), self.event.map(tracing::field::display));
        let (status, events) = (self.status.as_str(), self.events);
        match self.status {
            EventStatus::Error => {
                tracing::error!(account, status, events, event.id = event, ?took, "answered a request with an error");
            }
            EventStatus::Rejected | EventStatus::TooLarge if account.is_some() => {
                let what = self.refusal.as_deref();
                tracing::info!(account, status, events, event.id = event, what, ?took, "refused a request");
            }
            EventStatus::BacklogFull | EventStatus::Unavailable
                if account.is_some() && UNAVAILABLE.may_log(Instant::now()) =>
            {
                tracing::info!(
                    account,
                    status,
                    "refused a request, which is sent again (more within 10 s are not logged)"
                );
            }
            _ => tracing::debug!(account, status, events, event.id = event, ?took, "answered a request"),
        }
    }

    /// Ends the span of the request.
    pub(super) fn trace(&self, mut span: Span, method: &Method, account: Option<&AccountName>) {
        span.text("http.request.method", method.as_str());
        span.number("http.response.status_code", self.response.status().as_u16().into());
        span.text("status", self.status.as_str());
        span.number("events", self.events);
        if let Some(account) = account {
            span.text("account", account.as_str());
        }
        if let Some(event) = self.event {
            span.text("event.id", event.to_string());
        }
        if self.response.status().is_server_error() {
            span.fail(self.status.as_str());
        }
        span.end();
    }
}

/// Logs a failed authentication, so that a mistyped secret is noticed; throttled.
pub(super) fn log_auth_error(error: AuthError) {
    static THROTTLE: LogThrottle = LogThrottle::new();
    if THROTTLE.may_log(Instant::now()) {
        tracing::warn!("a request was refused: {error} (further refusals within 10 s are not logged)");
    }
}
