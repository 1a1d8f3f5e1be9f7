//! The health of an account: it decides whether a request may begin now, and each reply changes it. It limits the requests of one account,
//! so an account that is throttled or down does not affect another (a bulkhead).
//!
//! In: moments and replies. Out: [`Permit`]s, or the reason why there is none, and [`Transition`]s. It combines the circuit breaker, the
//! concurrency limit and the rate limit, which do not know each other. Outages (5xx, timeouts) act on the breaker and on the concurrency
//! limit. A 429 acts on the breaker and on the rate limit, and on the concurrency limit only while no rate is known; a 429 that is [to be
//! expected](super::Unrelated429s) at any rate changes none of them; only its `Retry-After`, if it has one, pauses the account. Invariants:
//! every permit counts as in flight until it is handed back, once; the account has one [`HealthSnapshot`]; nothing here waits, so the caller
//! can stop at any moment. Deliberately absent: logs, metrics and the probe itself, which the worker has, and moments and chance, which are
//! arguments.

use super::breaker_state::{BreakerState, Cause, Transition};
use super::circuit_breaker::{CircuitBreaker, Generation};
use super::rate_limit::RateLimit;
use super::saved_health::{LearnedLimits, SavedHealth};
use super::{Backoff, ConcurrencyLimit, Epoch};
use crate::delivery::ApiKeyVerification;
use crate::domain::{Seq, Timestamp};
use std::time::Duration;

/// The operator's limits on the requests of an account.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthLimits {
    /// The bounds of every pause.
    pub backoff: Backoff,
    /// The most requests in flight.
    pub concurrency: usize,
    /// The most requests per second; `None`: no limit.
    pub requests_per_second: Option<f64>,
}

/// The permission to make one request. It is in flight until it is handed back with its reply, [abandoned](AccountHealth::abandon)
/// or [cancelled](AccountHealth::cancel).
#[derive(Debug)]
#[must_use = "it counts as in flight until it is handed back"]
pub struct Permit {
    epoch: Epoch,
    generation: Generation,
    is_write: bool,
}

impl Permit {
    /// The same permit, for a request that is to change something.
    pub fn for_write(self) -> Self {
        Self { is_write: true, ..self }
    }
}

/// Why there is no permit now. Nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// The rate limit permits no request before this moment.
    NotBefore(Timestamp),
    /// The concurrency limit is reached: a request has to end first.
    Busy,
    /// The circuit breaker is open until this moment.
    Open(Timestamp),
    /// Refersion rejected the API key. The next probe is at this moment.
    Halted(Timestamp),
    /// Refersion rejected the API key. A probe is due now.
    ProbeDue,
}

/// The published health of an account, for health checks, metrics and pages. The default is that of an account before its first reply.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct HealthSnapshot {
    /// The state of the circuit breaker, or that the account is halted.
    pub state: BreakerState,
    /// Why the state is not [`BreakerState::Closed`].
    pub cause: Option<Cause>,
    /// The most requests in flight: none while open or halted, one while half-open.
    pub concurrency_limit: usize,
    /// The number of requests in flight.
    pub in_flight: usize,
    /// The most requests that may begin in a second; none without a limit.
    pub requests_per_second: Option<f64>,
}

/// The health of one account.
#[derive(Debug)]
pub struct AccountHealth {
    breaker: CircuitBreaker,
    concurrency: ConcurrencyLimit,
    rate: RateLimit,
    in_flight: usize,
}

/// The longest `Retry-After` that a rate limit explains. A longer one belongs to a quota, for instance of a day.
const LONGEST_WINDOW: Duration = Duration::from_secs(120);

impl AccountHealth {
    /// The health of an account without replies, with the `learned` limits.
    pub fn new(limits: HealthLimits, learned: LearnedLimits) -> Self {
        Self {
            breaker: CircuitBreaker::new(limits.backoff),
            concurrency: ConcurrencyLimit::new(limits.concurrency, learned.concurrency),
            rate: RateLimit::new(limits.requests_per_second, &learned),
            in_flight: 0,
        }
    }

    /// The health that another process has `saved`, which owned the account until `now` and may have made a request just before.
    pub fn taken_over(limits: HealthLimits, saved: SavedHealth, now: Timestamp) -> Self {
        let breaker = CircuitBreaker::restored(limits.backoff, saved.pause, now);
        let mut health = Self { breaker, ..Self::new(limits, saved.learned) };
        health.rate.on_request_elsewhere(now);
        health
    }

    /// The permission to make a request now, with the transition that this causes, if any; or why there is none. Call it only if there is a
    /// request to make: a denied one counts as waiting.
    pub fn try_acquire(&mut self, now: Timestamp) -> Result<(Permit, Option<Transition>), NoPermit> {
        self.advance(now);
        self.check(now)?;
        let transition = self.breaker.on_begin();
        self.rate.on_begin(now);
        self.in_flight += 1;
        let (epoch, generation) = (self.concurrency.begin(), self.breaker.generation());
        Ok((Permit { epoch, generation, is_write: false }, transition))
    }

    fn check(&mut self, now: Timestamp) -> Result<(), NoPermit> {
        let limit = match self.breaker.state() {
            BreakerState::Halted { probe_at } if probe_at <= now => return Err(NoPermit::ProbeDue),
            BreakerState::Halted { probe_at } => return Err(NoPermit::Halted(probe_at)),
            BreakerState::Open { until } if now < until => {
                let rate_limited = self.breaker.cause() == Some(Cause::RateLimited);
                self.rate.on_held_up(if rate_limited { until } else { now });
                return Err(NoPermit::Open(until));
            }
            BreakerState::HalfOpen if self.breaker.is_trial_in_flight() => 0,
            BreakerState::Closed | BreakerState::Open { .. } | BreakerState::HalfOpen => self.concurrency.limit(),
        };
        if let Some(slot) = self.rate.wait(now) {
            return Err(NoPermit::NotBefore(slot));
        }
        if self.in_flight >= limit {
            self.rate.on_held_up(now);
            return Err(NoPermit::Busy);
        }
        Ok(())
    }

    /// Refersion accepted the call, and with it the API key: any reply except a 429, a 401 and a failure.
    pub fn on_success(&mut self, permit: Permit, now: Timestamp) -> Option<Transition> {
        self.end(&permit, now);
        self.rate.search.on_accepted();
        self.concurrency.on_success();
        self.breaker.on_success(permit.generation, permit.is_write)
    }

    /// Refersion answered 429. Several 429s to requests that were in flight together count as one, with the longest wait. A 429 that is to
    /// be expected and asks for no wait pauses nothing: its event is tried again.
    pub fn on_rate_limited(
        &mut self,
        permit: Permit,
        now: Timestamp,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Transition> {
        self.end(&permit, now);
        let counts = self.breaker.state() == BreakerState::Closed && self.breaker.generation() == permit.generation;
        if counts && retry_after.is_none_or(|wait| wait <= LONGEST_WINDOW) {
            if self.rate.search.rate().is_none() {
                self.concurrency.on_overload(permit.epoch);
            }
            let is_about_rate = self.rate.search.on_rate_limited();
            if !is_about_rate && retry_after.is_none_or(|wait| wait.is_zero()) {
                return None;
            }
        } else {
            self.rate.search.on_further_429();
        }
        self.breaker.on_rate_limited(permit.generation, now, retry_after, chance)
    }

    /// A call for the event `seq` failed: an outage, a timeout, an answer that is not Refersion's.
    pub fn on_failure(
        &mut self,
        permit: Permit,
        seq: Seq,
        now: Timestamp,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Transition> {
        self.end(&permit, now);
        self.rate.search.on_accepted(); // for the rate limit it was accepted
        let failure = self.breaker.on_failure(seq, permit.generation, now, retry_after, chance);
        if failure.overload {
            self.concurrency.on_overload(permit.epoch);
        }
        failure.transition
    }

    /// Refersion rejected the API key. All requests in flight get this reply; together they count as one rejection.
    pub fn on_unauthorized(&mut self, permit: Permit, now: Timestamp, chance: f64) -> Option<Transition> {
        self.end(&permit, now);
        self.breaker.on_unauthorized(permit.generation, now, chance)
    }

    /// The request ended without a known reply.
    pub fn abandon(&mut self, permit: Permit, now: Timestamp) {
        self.end(&permit, now);
    }

    /// The request was not sent: it does not count for the rate limit.
    pub fn cancel(&mut self, permit: Permit, now: Timestamp) {
        self.end(&permit, now);
        self.rate.on_cancelled();
    }

    /// The API key was probed, because a probe was [due](NoPermit::ProbeDue). Err: the wait until the next probe, if the account stays
    /// halted.
    pub fn on_probe(
        &mut self,
        probed: &ApiKeyVerification,
        now: Timestamp,
        chance: f64,
    ) -> Result<Option<Transition>, Duration> {
        let BreakerState::Halted { .. } = self.breaker.state() else { return Ok(None) }; // a new key ended the halt meanwhile
        match probed {
            ApiKeyVerification::Accepted => Ok(self.breaker.on_api_key_accepted(now)),
            ApiKeyVerification::Rejected => Err(self.breaker.on_probe_rejected(now, chance)),
            ApiKeyVerification::Unknown(failure) => Err(self.breaker.probe_later(now, failure.retry_after, chance)),
        }
    }

    /// Requests have another API key from now on, which Refersion accepts.
    pub fn on_new_api_key(&mut self, now: Timestamp) -> Option<Transition> {
        self.breaker.on_new_api_key(now)
    }

    /// The operator has changed the limits. An open or halted state and requests in flight stay.
    pub fn set_limits(&mut self, limits: HealthLimits) {
        self.breaker.set_cooldown(limits.backoff);
        self.concurrency.set_ceiling(limits.concurrency);
        self.rate.set_configured(limits.requests_per_second);
    }

    /// The health to publish.
    pub fn snapshot(&self) -> HealthSnapshot {
        let state = self.breaker.state();
        let concurrency_limit = match state {
            BreakerState::Closed => self.concurrency.limit(),
            BreakerState::HalfOpen => 1,
            BreakerState::Open { .. } | BreakerState::Halted { .. } => 0,
        };
        let (cause, requests_per_second) = (self.breaker.cause(), self.rate.rate());
        HealthSnapshot { state, cause, concurrency_limit, in_flight: self.in_flight, requests_per_second }
    }

    /// The learned limits of the account.
    pub fn learned(&self) -> LearnedLimits {
        let search = &self.rate.search;
        let (requests_per_second, unrelated_429s) = (search.learned(), search.unrelated());
        LearnedLimits { requests_per_second, concurrency: self.concurrency.found(), unrelated_429s }
    }

    /// The health to save.
    pub fn saved(&self, now: Timestamp) -> SavedHealth {
        SavedHealth { learned: self.learned(), pause: self.breaker.saved(now) }
    }

    fn end(&mut self, permit: &Permit, now: Timestamp) {
        self.advance(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.breaker.on_end(permit.generation);
    }

    /// Accounts for the time until `now`. The time of an outage does not count for the rate.
    fn advance(&mut self, now: Timestamp) {
        let (paused, counts) = match self.breaker.cause() {
            None => (false, self.in_flight > 0),
            Some(Cause::RateLimited) => (true, self.in_flight > 0),
            Some(Cause::Outage | Cause::Unauthorized) => (false, false),
        };
        self.rate.advance(now, counts, paused);
    }
}

#[cfg(test)]
mod tests;
