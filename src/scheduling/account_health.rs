//! The health of an account: whether a request may begin now, and what each reply changes about that. It is the account's limiter of
//! requests: one account that is throttled or down takes nothing from another (a bulkhead).
//!
//! In: moments and replies. Out: [`Permit`]s, or why there is none, and [`Transition`]s. It joins the
//! circuit breaker, the concurrency limit and the rate limit, which know nothing of one another. Outages (5xx, timeouts) act on
//! the breaker and on the concurrency limit; a 429 acts on the breaker and on the rate, and on the concurrency limit only as
//! long as no rate is known. Invariants: every permit that was given out counts as in flight until it is handed back, each once;
//! it publishes one [`HealthSnapshot`]; it never waits, so the caller can stop at any moment. Deliberately absent:
//! logs, metrics and the probe itself, which are the worker's, and moments and chance, which are arguments.

use super::circuit_breaker::{Cause, CircuitBreaker, Generation, HealthState, SavedPause, Transition};
use super::rate_limit::RateLimit;
use super::{Backoff, ConcurrencyLimit, Epoch};
use crate::domain::{Seq, Timestamp};
use std::time::Duration;

/// What the operator decided about an account's requests.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthLimits {
    /// The bounds of every pause.
    pub backoff: Backoff,
    /// How many requests at once at most.
    pub concurrency: usize,
    /// How many requests per second at most; `None` is any number.
    pub requests_per_second: Option<f64>,
}

/// What was learned of an account's limits, saved across restarts. A field that an older release did not save has its default.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Learned {
    /// The rate that Refersion allows; none if it never answered 429.
    pub requests_per_second: Option<f64>,
    /// The concurrency limit; zero if unknown.
    pub concurrency: f64,
    /// The latest 429s, the oldest first: the seconds of sending and the accepted requests since each. They tell whether 429s are
    /// about the rate at all.
    pub rate_limited: Vec<(f64, f64)>,
}

impl Learned {
    /// Whether the difference to what is `saved` is worth saving.
    pub fn differs_from(&self, saved: &Self) -> bool {
        let differ = |one: f64, other: f64, share: f64| (one - other).abs() > share * other.max(one);
        let (one, other) = (self.requests_per_second, saved.requests_per_second);
        let accepted = |learned: &Self| learned.rate_limited.first().map_or(0.0, |(_, accepted)| *accepted);
        one.is_some() != other.is_some()
            || differ(one.unwrap_or_default(), other.unwrap_or_default(), 0.05)
            || differ(self.concurrency, saved.concurrency, 0.05)
            || self.rate_limited.len() != saved.rate_limited.len()
            || differ(accepted(self), accepted(saved), 0.2)
    }
}

/// What is saved of an account's health: for the next owner, who takes all of it over, and for a restart of the one process that there
/// is (SQLite), which takes what was learned and drops the pause, because a restart is how an operator ends one.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SavedHealth {
    /// What was learned of its limits.
    #[serde(flatten)]
    pub learned: Learned,
    /// Its pause or its halt, if it is not well.
    #[serde(default)]
    pub pause: Option<SavedPause>,
}

impl SavedHealth {
    /// The state of the account at `now`: a pause that has ended counts as ended.
    pub fn state(&self, now: Timestamp) -> HealthState {
        self.pause.as_ref().map_or(HealthState::Closed, |pause| pause.state(now)).at(now)
    }

    /// Whether the difference to what is `saved` is worth saving.
    pub fn differs_from(&self, saved: &Self) -> bool {
        let same_pause = match (&self.pause, &saved.pause) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        !same_pause || self.learned.differs_from(&saved.learned)
    }
}

/// The permission to make one request. It is in flight until it is handed back with its reply, [abandoned](AccountHealth::abandon)
/// or [cancelled](AccountHealth::cancel).
#[derive(Debug)]
#[must_use = "it counts as in flight until it is handed back"]
pub struct Permit {
    epoch: Epoch,
    generation: Generation,
}

/// Why there is no permit now. Distinct from a denial by a merchant or by Refersion: nothing was sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum NoPermit {
    /// The rate limit: not before this moment.
    NotBefore(Timestamp),
    /// As many requests are in flight as may be: not before one of them ends.
    Busy,
    /// The circuit breaker is open until this moment.
    Open(Timestamp),
    /// Refersion rejected the API key; it is to be probed at this moment.
    Halted(Timestamp),
    /// Refersion rejected the API key; it is to be probed now.
    ProbeDue,
}

/// What a probe of the API key found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Probe {
    /// It works.
    Accepted,
    /// Refersion rejects it still.
    Rejected,
    /// Neither: the probe was not answered, or not clearly.
    Unknown {
        /// The wait that Refersion asked for.
        retry_after: Option<Duration>,
    },
}

/// The published health of an account, for health checks, metrics and pages.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct HealthSnapshot {
    /// The circuit breaker, or that the account is halted.
    pub state: HealthState,
    /// Why the state is not [`HealthState::Closed`].
    pub cause: Option<Cause>,
    /// How many requests may be in flight: none while open or halted, one while half-open.
    pub concurrency_limit: usize,
    /// How many are.
    pub in_flight: usize,
    /// How many may begin in a second; none if there is no limit.
    pub requests_per_second: Option<f64>,
}

impl Default for HealthSnapshot {
    /// That of an account of which nothing is known yet.
    fn default() -> Self {
        Self { state: HealthState::Closed, cause: None, concurrency_limit: 0, in_flight: 0, requests_per_second: None }
    }
}

/// The health of one account.
#[derive(Debug)]
pub struct AccountHealth {
    breaker: CircuitBreaker,
    concurrency: ConcurrencyLimit,
    rate: RateLimit,
    in_flight: usize,
}

/// A longer `Retry-After` belongs to a quota (of a day, say), which no rate explains.
const LONGEST_WINDOW: Duration = Duration::from_secs(120);

impl AccountHealth {
    /// The health of an account of which no reply is known, but what was `learned` before.
    pub fn new(limits: HealthLimits, learned: Learned) -> Self {
        Self {
            breaker: CircuitBreaker::new(limits.backoff),
            concurrency: ConcurrencyLimit::restored(limits.concurrency, learned.concurrency),
            rate: RateLimit::new(limits.requests_per_second, &learned),
            in_flight: 0,
        }
    }

    /// The health as it was `saved` by another process that owned the account until `now` and may have made a request just before.
    pub fn taken_over(limits: HealthLimits, saved: SavedHealth, now: Timestamp) -> Self {
        let breaker = CircuitBreaker::restored(limits.backoff, saved.pause, now);
        let mut health = Self { breaker, ..Self::new(limits, saved.learned) };
        health.rate.on_request_elsewhere(now);
        health
    }

    /// The permission to make a request now, and the transition that this is, if any; or why not. To be called only if there
    /// is a request to be made: one that is denied counts as waiting.
    pub fn try_acquire(&mut self, now: Timestamp) -> Result<(Permit, Option<Transition>), NoPermit> {
        self.advance(now);
        self.check(now)?;
        let transition = self.breaker.on_begin();
        self.rate.on_begin(now);
        self.in_flight += 1;
        Ok((Permit { epoch: self.concurrency.begin(), generation: self.breaker.generation() }, transition))
    }

    fn check(&mut self, now: Timestamp) -> Result<(), NoPermit> {
        let limit = match self.breaker.state() {
            HealthState::Halted { probe_at } if probe_at <= now => return Err(NoPermit::ProbeDue),
            HealthState::Halted { probe_at } => return Err(NoPermit::Halted(probe_at)),
            HealthState::Open { until } if now < until => {
                let rate_limited = self.breaker.cause() == Some(Cause::RateLimited);
                self.rate.on_held_up(if rate_limited { until } else { now });
                return Err(NoPermit::Open(until));
            }
            HealthState::HalfOpen if self.breaker.is_trial_in_flight() => 0,
            HealthState::Closed | HealthState::Open { .. } | HealthState::HalfOpen => self.concurrency.limit(),
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

    /// Refersion took the call (and the key with it): any reply that is no 429, no 401 and no failure.
    pub fn on_success(&mut self, permit: Permit, now: Timestamp) -> Option<Transition> {
        self.end(&permit, now);
        self.rate.on_accepted();
        self.concurrency.on_success();
        self.breaker.on_success(permit.generation)
    }

    /// Refersion answered 429. Requests that were in flight together may bring several; they count as one, and the longest wait
    /// holds.
    pub fn on_rate_limited(
        &mut self,
        permit: Permit,
        now: Timestamp,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Transition> {
        self.end(&permit, now);
        let counts = self.breaker.state() == HealthState::Closed && self.breaker.generation() == permit.generation;
        if counts && retry_after.is_none_or(|wait| wait <= LONGEST_WINDOW) {
            if !self.rate.is_found() {
                self.concurrency.on_overload(permit.epoch);
            }
            self.rate.on_rate_limited();
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
        self.rate.on_accepted(); // as far as the rate is concerned
        let failure = self.breaker.on_failure(seq, permit.generation, now, retry_after, chance);
        if failure.overload {
            self.concurrency.on_overload(permit.epoch);
        }
        failure.transition
    }

    /// Refersion rejected the API key. All requests in flight then find that out; together they are one rejection.
    pub fn on_unauthorized(&mut self, permit: Permit, now: Timestamp, chance: f64) -> Option<Transition> {
        self.end(&permit, now);
        self.breaker.on_unauthorized(permit.generation, now, chance)
    }

    /// The request ended without anything being known of a reply.
    pub fn abandon(&mut self, permit: Permit, now: Timestamp) {
        self.end(&permit, now);
    }

    /// The request was not sent after all: it takes no place in the rate either.
    pub fn cancel(&mut self, permit: Permit, now: Timestamp) {
        self.end(&permit, now);
        self.rate.on_cancelled();
    }

    /// The key was probed, because that was [due](NoPermit::ProbeDue). Says how long until the next probe, unless the halt ended.
    pub fn on_probe(&mut self, probe: Probe, now: Timestamp, chance: f64) -> Result<Option<Transition>, Duration> {
        match (self.breaker.state(), probe) {
            (HealthState::Halted { .. }, Probe::Rejected) => Err(self.breaker.on_probe_rejected(now, chance)),
            (HealthState::Halted { .. }, Probe::Unknown { retry_after }) => {
                Err(self.breaker.probe_later(now, retry_after, chance))
            }
            (HealthState::Halted { .. }, Probe::Accepted) => Ok(self.breaker.on_api_key_accepted(now)),
            _ => Ok(None), // a new key ended the halt meanwhile
        }
    }

    /// Requests are made with another key from now on, which Refersion is known to take.
    pub fn on_new_api_key(&mut self, now: Timestamp) -> Option<Transition> {
        self.breaker.on_api_key_accepted(now)
    }

    /// The operator has decided otherwise about the account's requests. What is open, halted or in flight stays so.
    pub fn set_limits(&mut self, limits: HealthLimits) {
        self.breaker.set_cooldown(limits.backoff);
        self.concurrency.set_ceiling(limits.concurrency);
        self.rate.set_configured(limits.requests_per_second);
    }

    /// The health to publish.
    pub fn snapshot(&self) -> HealthSnapshot {
        let state = self.breaker.state();
        let concurrency_limit = match state {
            HealthState::Closed => self.concurrency.limit(),
            HealthState::HalfOpen => 1,
            HealthState::Open { .. } | HealthState::Halted { .. } => 0,
        };
        let (cause, requests_per_second) = (self.breaker.cause(), self.rate.rate());
        HealthSnapshot { state, cause, concurrency_limit, in_flight: self.in_flight, requests_per_second }
    }

    /// What was learned of the account's limits.
    pub fn learned(&self) -> Learned {
        let (requests_per_second, rate_limited) = self.rate.learned();
        Learned { requests_per_second, concurrency: self.concurrency.found(), rate_limited }
    }

    /// What is to be saved.
    pub fn saved(&self, now: Timestamp) -> SavedHealth {
        SavedHealth { learned: self.learned(), pause: self.breaker.saved(now) }
    }

    fn end(&mut self, permit: &Permit, now: Timestamp) {
        self.advance(now);
        self.in_flight = self.in_flight.saturating_sub(1);
        self.breaker.on_end(permit.generation);
    }

    /// Accounts for the time until `now`: that of an outage is nothing the rate could be measured by.
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
