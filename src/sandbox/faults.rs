//! Fault injection: scripted faults, random failures, and the rate limit.
//!
//! In: the operation of a call. Out: its fault, if any. A scripted fault applies to one call. Such a call never fails at random and
//! does not count against the rate limit, so that a script always runs as written. Random failures are seeded: equal settings and
//! equal calls have equal failures. Deliberately absent: an error status *after* an effect; a lost response is the harder case.

use super::error_response::ErrorResponse;
use super::{Operation, SandboxSettings};
use governor::{DefaultDirectRateLimiter, Quota};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// The fault of one call, as the client sees it if the sandbox is [served](super::Sandbox::serve).
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// No fault: the call is handled, without random failures and without the rate limit.
    Pass,
    /// The call has no effect, and the response is this one, as `application/json`.
    Status {
        /// The status, 200 to 599.
        status: u16,
        /// The body; `null` is a generic `{"error": …}`.
        #[serde(default)]
        body: Value,
        /// `Retry-After`, in seconds.
        #[serde(default)]
        retry_after: Option<u64>,
    },
    /// The call has no effect, and the response has this status and the HTML page of a proxy.
    Html {
        /// The status, 200 to 599.
        status: u16,
    },
    /// The call has no effect, and the connection is closed without sending a byte.
    CloseConnection,
    /// The call takes effect, and the connection is closed without sending a byte.
    LoseResponse,
    /// The call takes effect, and the response is sent without its last byte before the connection is closed.
    TruncateResponse,
    /// The call takes effect, and the response is sent at one byte every 100 ms: about 30 s in all.
    SlowResponse,
    /// No response is sent, and the connection stays open until the client closes it.
    Hang {
        /// Whether the call takes effect.
        effect: bool,
    },
}

impl Fault {
    /// A response with this status and a generic body: `Fault::status(503)`.
    pub fn status(status: u16) -> Self {
        Self::Status { status, body: Value::Null, retry_after: None }
    }

    /// A 422 with this message.
    pub fn unprocessable(message: &str) -> Self {
        Self::Status { status: 422, body: json!({"errors": [message]}), retry_after: None }
    }

    /// A 429 for too many calls, with `Retry-After` in seconds.
    pub fn too_many_calls(retry_after: Option<u64>) -> Self {
        let (status, body) = ErrorResponse::TooManyCalls.status_and_body();
        Self::Status { status, body, retry_after }
    }

    /// The page of a proxy while Refersion is down.
    pub fn html(status: u16) -> Self {
        Self::Html { status }
    }

    /// The name in the call log and in scripts sent over HTTP.
    pub(super) fn name(&self) -> &'static str {
        match self {
            Self::Pass => "pass",
            Self::Status { .. } => "status",
            Self::Html { .. } => "html",
            Self::CloseConnection => "close_connection",
            Self::LoseResponse => "lose_response",
            Self::TruncateResponse => "truncate_response",
            Self::SlowResponse => "slow_response",
            Self::Hang { .. } => "hang",
        }
    }
}

/// The faults of the next calls.
pub(super) struct FaultInjector {
    script: VecDeque<(Option<Operation>, Fault)>,
    fail_rate: f64,
    rng: StdRng,
    rate_limit: Option<DefaultDirectRateLimiter>,
}

impl FaultInjector {
    pub(super) fn new(settings: &SandboxSettings) -> Self {
        Self {
            script: VecDeque::new(),
            fail_rate: settings.fail_rate,
            rng: StdRng::seed_from_u64(settings.seed),
            rate_limit: settings.rate_limit.map(|limit| DefaultDirectRateLimiter::direct(Quota::per_second(limit))),
        }
    }

    /// Queues a fault for the next call of `operation` (`None`: any) without a fault that was queued earlier.
    pub(super) fn push(&mut self, operation: Option<Operation>, fault: Fault) {
        self.script.push_back((operation, fault));
    }

    /// How many scripted faults are pending.
    pub(super) fn pending(&self) -> usize {
        self.script.len()
    }

    /// Takes the fault for a call of `operation`, with its name in the call log.
    pub(super) fn next(&mut self, operation: Operation) -> Option<(Fault, &'static str)> {
        let meant = |(only, _): &(Option<Operation>, Fault)| only.is_none_or(|only| only == operation);
        if let Some(index) = self.script.iter().position(meant) {
            return self.script.remove(index).map(|(_, fault)| (fault.clone(), fault.name()));
        }
        if self.rate_limit.as_ref().is_some_and(|limit| limit.check().is_err()) {
            return Some((Fault::too_many_calls(Some(1)), "rate_limit"));
        }
        let drawn: f64 = self.rng.random();
        (drawn < self.fail_rate).then(|| {
            // Half of the failures are JSON and half HTML, because a client meets both.
            let fault = if drawn < self.fail_rate / 2.0 { Fault::html(500) } else { Fault::status(500) };
            (fault, "fail_rate")
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drawn(settings: &SandboxSettings, calls: usize) -> Vec<Option<&'static str>> {
        let mut faults = FaultInjector::new(settings);
        (0..calls).map(|_| faults.next(Operation::New).map(|(fault, _)| fault.name())).collect()
    }

    #[test]
    fn the_fail_rate_is_kept_and_half_of_the_failures_are_html() {
        let settings = SandboxSettings { fail_rate: 0.3, ..SandboxSettings::default() };
        let drawn = drawn(&settings, 10_000);
        let share = |name| drawn.iter().filter(|fault| **fault == Some(name)).count();
        assert!((1_400..1_600).contains(&share("html")), "{}", share("html"));
        assert!((1_400..1_600).contains(&share("status")), "{}", share("status"));
    }

    #[test]
    fn equal_seeds_give_equal_failures_and_other_seeds_others() {
        let settings = SandboxSettings { fail_rate: 0.5, ..SandboxSettings::default() };
        assert_eq!(drawn(&settings, 100), drawn(&settings, 100));
        assert_ne!(drawn(&settings, 100), drawn(&SandboxSettings { seed: 1, ..settings.clone() }, 100));
    }

    #[test]
    fn a_script_runs_as_written_whatever_the_fail_rate() {
        let mut faults = FaultInjector::new(&SandboxSettings { fail_rate: 1.0, ..SandboxSettings::default() });
        faults.push(Some(Operation::Edit), Fault::CloseConnection);
        faults.push(None, Fault::Pass);
        faults.push(Some(Operation::Edit), Fault::LoseResponse);
        let mut next = |operation| faults.next(operation).map(|(_, name)| name);
        assert_eq!(next(Operation::New), Some("pass"));
        assert_eq!(next(Operation::New), Some("fail_rate"));
        assert_eq!(next(Operation::Edit), Some("close_connection"));
        assert_eq!(next(Operation::Edit), Some("lose_response"));
        assert_eq!(next(Operation::Edit), Some("fail_rate"));
    }
}
