//! What goes wrong on demand: scripted faults, chance failures, the rate limit.
//!
//! In goes the operation called, out comes the fault that befalls it, if any. A scripted fault befalls exactly one call and
//! goes before chance: a scripted call never fails by chance and does not count against the rate limit, so a script is
//! always carried out to the letter. Chance is seeded: equal settings and equal calls fail equally.
//! Deliberately absent: a failure status *after* an effect; lost answers are the harder case of the same thing.

use super::error_response::ErrorResponse;
use super::{Operation, SandboxSettings};
use governor::{DefaultDirectRateLimiter, Quota};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use std::collections::VecDeque;

/// What befalls one call. What the client sees is said of a sandbox that is [served](super::Sandbox::serve).
#[derive(Clone, Debug, PartialEq, serde::Deserialize)]
#[serde(tag = "fault", rename_all = "snake_case", deny_unknown_fields)]
pub enum Fault {
    /// Nothing: the call is carried out and answered, exempt from chance and from the rate limit.
    Pass,
    /// The call has no effect and is answered so, as `application/json`.
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
    /// The call has no effect and is answered with this status and a proxy's HTML page.
    Html {
        /// The status, 200 to 599.
        status: u16,
    },
    /// The connection is closed before any effect: the client sees it end without a single byte.
    CloseConnection,
    /// The call takes effect, then the connection is closed: the client sees it end without a single byte.
    LoseResponse,
    /// The call takes effect, and the answer breaks off: the client sees status, headers and all but the last byte.
    TruncateResponse,
    /// The call takes effect, and the answer arrives a byte every tenth of a second: about half a minute in all.
    SlowResponse,
    /// No answer ever comes and the connection stays open, until the client gives up.
    Hang {
        /// Whether the call takes effect.
        effect: bool,
    },
}

impl Fault {
    /// An answer of this status without content of its own: `Fault::status(503)`.
    pub fn status(status: u16) -> Self {
        Self::Status { status, body: Value::Null, retry_after: None }
    }

    /// A 422 with this message.
    pub fn unprocessable(message: &str) -> Self {
        Self::Status { status: 422, body: json!({"errors": [message]}), retry_after: None }
    }

    /// A 429 for too many calls, asking to wait for so many seconds.
    pub fn too_many_calls(retry_after: Option<u64>) -> Self {
        let (status, body) = ErrorResponse::TooManyCalls.status_and_body();
        Self::Status { status, body, retry_after }
    }

    /// The proxy's page when Refersion is down.
    pub fn html(status: u16) -> Self {
        Self::Html { status }
    }

    /// The name in the journal and in scripts sent over HTTP.
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

/// All that may go wrong with the calls to come.
pub(super) struct FaultInjector {
    script: VecDeque<(Option<Operation>, Fault)>,
    fail_rate: f64,
    chance: StdRng,
    limit: Option<DefaultDirectRateLimiter>,
}

impl FaultInjector {
    pub(super) fn new(settings: &SandboxSettings) -> Self {
        Self {
            script: VecDeque::new(),
            fail_rate: settings.fail_rate,
            chance: StdRng::seed_from_u64(settings.seed),
            limit: settings.rate_limit.map(|limit| DefaultDirectRateLimiter::direct(Quota::per_second(limit))),
        }
    }

    /// Queues a fault for the next call that nothing queued earlier is meant for; `None` is any operation.
    pub(super) fn push(&mut self, operation: Option<Operation>, fault: Fault) {
        self.script.push_back((operation, fault));
    }

    /// How many scripted faults have not befallen a call yet.
    pub(super) fn pending(&self) -> usize {
        self.script.len()
    }

    /// The fault that befalls a call of `operation`, and the journal's name for it.
    pub(super) fn next(&mut self, operation: Operation) -> Option<(Fault, &'static str)> {
        let meant = |(only, _): &(Option<Operation>, Fault)| only.is_none_or(|only| only == operation);
        if let Some(index) = self.script.iter().position(meant) {
            return self.script.remove(index).map(|(_, fault)| (fault.clone(), fault.name()));
        }
        if self.limit.as_ref().is_some_and(|limit| limit.check().is_err()) {
            return Some((Fault::too_many_calls(Some(1)), "rate_limit"));
        }
        let drawn: f64 = self.chance.random();
        (drawn < self.fail_rate).then(|| {
            // Half of the failures speak JSON and half HTML: a client must live with both.
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
    fn chance_fails_the_asked_share_and_half_of_it_in_html() {
        let settings = SandboxSettings { fail_rate: 0.3, ..SandboxSettings::default() };
        let drawn = drawn(&settings, 10_000);
        let share = |name| drawn.iter().filter(|fault| **fault == Some(name)).count();
        assert!((1_400..1_600).contains(&share("html")), "{}", share("html"));
        assert!((1_400..1_600).contains(&share("status")), "{}", share("status"));
    }

    #[test]
    fn equal_seeds_fail_equally_and_others_otherwise() {
        let settings = SandboxSettings { fail_rate: 0.5, ..SandboxSettings::default() };
        assert_eq!(drawn(&settings, 100), drawn(&settings, 100));
        assert_ne!(drawn(&settings, 100), drawn(&SandboxSettings { seed: 1, ..settings.clone() }, 100));
    }

    #[test]
    fn a_script_is_carried_out_to_the_letter_whatever_chance_says() {
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
