//! The states of an account's circuit breaker, with the causes and the transitions that are logged, counted and published.
//!
//! Deliberately absent: the replies that change the state ([`super::circuit_breaker`]).

use crate::domain::{Timestamp, words};
use std::time::Duration;

/// Whether requests may begin.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum BreakerState {
    /// Requests may begin.
    #[default]
    Closed,
    /// No request may begin before `until`.
    Open {
        /// The end of the wait.
        until: Timestamp,
    },
    /// One request at a time, until a reply shows that Refersion accepts calls.
    HalfOpen,
    /// No request may begin: Refersion rejected the API key.
    Halted {
        /// When the API key is probed next.
        probe_at: Timestamp,
    },
}

impl BreakerState {
    /// The state at `now`. A pause that is over counts as closed, even if no request was made since and the next one is the trial request:
    /// callers only need to know whether an event is delivered at once.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Open { until } if until <= now => Self::Closed,
            state => state,
        }
    }
}

words! {
    /// Why requests may not begin.
    #[derive(serde::Serialize, serde::Deserialize)]
    #[serde(rename_all = "snake_case")]
    Cause {
        /// Refersion answered 429.
        RateLimited = "rate_limited",
        /// Calls for several events failed in a row.
        Outage = "outage",
        /// Refersion rejected the API key.
        Unauthorized = "unauthorized",
    }
}

/// A change of state, to be logged and counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Closed or half-open → open.
    Opened {
        /// The cause; never [`Cause::Unauthorized`].
        cause: Cause,
        /// The time until it is half-open.
        wait: Duration,
        /// The number of trips since it was last closed: 1 if it was closed before, more if it was half-open, 0 if a 429 to an earlier
        /// request opens it.
        trips: u32,
    },
    /// Open → half-open.
    HalfOpened,
    /// Half-open → closed.
    Closed,
    /// Any state → halted.
    Halted {
        /// The time until the API key is probed.
        wait: Duration,
    },
    /// Halted → closed, or back to open if a `Retry-After` is not over.
    Resumed,
}
