//! The circuit breaker of an account: it decides whether requests may begin at all. While it is open, or the account is halted, deliveries
//! of the account are suspended.
//!
//! In: replies. Out: state transitions. A 429 opens it: Refersion counts calls per account, so a 429 to one event concerns all
//! ([`super::AccountHealth`] passes on those that are not about the rate only if they ask for a wait). An outage opens it, too: consecutive
//! failures of calls for [`OUTAGE`] different events (the threshold). One event that always fails is no outage. It stays open for the
//! cooldown (its open duration, or reset timeout), an exponential backoff between `DELIVERY_RETRY_MIN` and `DELIVERY_RETRY_MAX` that is
//! never shorter than `Retry-After`. Then one trial request goes first (half-open): a success closes the breaker, a 429 or a further outage
//! opens it again, and after any other failure another trial request goes first. A 401 halts the account until a probe succeeds or a new
//! API key arrives. If calls are answered 401 again although a probe was accepted, the first wait of each further halt is longer, until a
//! write succeeds: like the probe, other reads may be accepted although no write is. Invariants: there is one state, so the account is
//! never open and halted at once; no request begins before a `Retry-After` is over, whatever the replies meanwhile; the success or failure
//! of a request that began before the last change of the breaker does not change it. Every 429 that is passed on trips it, also one of an
//! older request, because a 429 is about the present. Deliberately absent: the number of requests and their rate
//! ([`super::ConcurrencyLimit`], `RateLimit`).

use super::Backoff;
use super::breaker_state::{BreakerState, Cause, Transition};
use super::saved_health::SavedPause;
use crate::domain::{Seq, Timestamp};
use std::time::Duration;

/// The number of changes of the breaker before a request began.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

/// The effect of a failed call on the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FailureEffect {
    /// Whether calls for several events failed in a row, perhaps because too many requests were in flight.
    pub(super) overload: bool,
    /// The transition, if it tripped the breaker.
    pub(super) transition: Option<Transition>,
}

/// The circuit breaker of one account.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    /// The bounds of the time that it stays open, and of the wait between two probes of a rejected API key.
    cooldown: Backoff,
    state: BreakerState,
    cause: Option<Cause>,
    trips: u32,
    /// The halts since Refersion accepted a write, or no 401 followed a halt for the longest cooldown: probes and other reads may be
    /// accepted although no write is.
    halts: u32,
    /// When the API key was last accepted by a probe or replaced.
    key_accepted_at: Timestamp,
    /// The end of the longest `Retry-After`.
    not_before: Timestamp,
    /// The events whose calls failed since the last success.
    failing: Vec<Seq>,
    /// While half-open: whether the one trial request is in flight.
    trial: bool,
    generation: Generation,
    /// The generation in which the present API key was first used.
    key_since: Generation,
}

/// The threshold of an outage: calls for this many different events failed in a row.
const OUTAGE: usize = 3;
/// The threshold of an overload: calls for this many different events failed in a row.
const OVERLOAD: usize = 2;

impl CircuitBreaker {
    /// A closed breaker.
    pub(super) fn new(cooldown: Backoff) -> Self {
        let generation = Generation(0);
        Self {
            cooldown,
            state: BreakerState::Closed,
            cause: None,
            trips: 0,
            halts: 0,
            key_accepted_at: Timestamp(i64::MIN),
            not_before: Timestamp(i64::MIN),
            failing: Vec::new(),
            trial: false,
            generation,
            key_since: generation,
        }
    }

    /// Sets the bounds of later cooldowns. The present one does not change.
    pub(super) fn set_cooldown(&mut self, cooldown: Backoff) {
        self.cooldown = cooldown;
    }

    /// The breaker of another process, as it was saved. A halted account is probed at once: its API key may have been corrected meanwhile.
    pub(super) fn restored(cooldown: Backoff, saved: Option<SavedPause>, now: Timestamp) -> Self {
        let closed = Self::new(cooldown);
        let Some(pause) = saved else { return closed };
        let (state, not_before) = (pause.state(now), pause.ends(pause.retry_after, now));
        Self { state, not_before, cause: Some(pause.cause), trips: pause.trips, ..closed }
    }

    /// The pause or the halt to save. A half-open breaker is saved as a pause that is over.
    pub(super) fn saved(&self, now: Timestamp) -> Option<SavedPause> {
        let cause = self.cause?;
        let until = match self.state {
            BreakerState::Closed => return None,
            BreakerState::HalfOpen => Timestamp(0),
            BreakerState::Open { until } | BreakerState::Halted { probe_at: until } => until,
        };
        let noted_at = now.min(until);
        let (wait, retry_after) = (until.since(noted_at), self.not_before.since(noted_at));
        Some(SavedPause { cause, trips: self.trips, noted_at, wait, retry_after })
    }

    pub(super) fn state(&self) -> BreakerState {
        self.state
    }

    /// The reason why the breaker is not closed.
    pub(super) fn cause(&self) -> Option<Cause> {
        self.cause
    }

    pub(super) fn generation(&self) -> Generation {
        self.generation
    }

    /// Whether the trial request is in flight.
    pub(super) fn is_trial_in_flight(&self) -> bool {
        self.trial
    }

    /// A request begins. Must not be called while requests may not begin. Returns the transition to half-open, if this is one.
    pub(super) fn on_begin(&mut self) -> Option<Transition> {
        match self.state {
            BreakerState::Open { .. } => {
                (self.state, self.trial) = (BreakerState::HalfOpen, true);
                Some(Transition::HalfOpened)
            }
            BreakerState::HalfOpen => {
                self.trial = true;
                None
            }
            BreakerState::Closed | BreakerState::Halted { .. } => None,
        }
    }

    /// A request of `generation` ended, in whatever way.
    pub(super) fn on_end(&mut self, generation: Generation) {
        self.trial &= !self.is_current(generation);
    }

    /// Refersion accepted a call. `is_write`: the call was to change something.
    pub(super) fn on_success(&mut self, generation: Generation, is_write: bool) -> Option<Transition> {
        if !self.is_current(generation) {
            return None;
        }
        self.failing.clear();
        if is_write {
            self.halts = 0;
        }
        (self.state == BreakerState::HalfOpen).then(|| {
            self.close();
            Transition::Closed
        })
    }

    /// Refersion answered 429.
    pub(super) fn on_rate_limited(
        &mut self,
        generation: Generation,
        now: Timestamp,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Transition> {
        // After the first 429 the wait is exactly `Retry-After`, without jitter: there are no other clients to avoid.
        let chance = if self.trips == 0 { 0.0 } else { chance };
        self.trip(Cause::RateLimited, generation, now, retry_after, chance)
    }

    /// A call for the event `seq` failed: an outage, a timeout, an answer that is not Refersion's.
    pub(super) fn on_failure(
        &mut self,
        seq: Seq,
        generation: Generation,
        now: Timestamp,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> FailureEffect {
        if !self.is_current(generation) {
            return FailureEffect::default();
        }
        if self.failing.len() < OUTAGE && !self.failing.contains(&seq) {
            self.failing.push(seq);
        }
        let outage = self.failing.len() >= OUTAGE;
        let transition = outage.then(|| self.trip(Cause::Outage, generation, now, retry_after, chance)).flatten();
        FailureEffect { overload: self.failing.len() >= OVERLOAD, transition }
    }

    /// Refersion rejected the API key of a request of `generation`.
    pub(super) fn on_unauthorized(
        &mut self,
        generation: Generation,
        now: Timestamp,
        chance: f64,
    ) -> Option<Transition> {
        if generation < self.key_since || matches!(self.state, BreakerState::Halted { .. }) {
            return None;
        }
        if now.since(self.key_accepted_at) > self.cooldown.max {
            self.halts = 0;
        }
        self.halts = self.halts.saturating_add(1);
        self.trips = self.halts;
        self.cause = Some(Cause::Unauthorized);
        self.next_generation();
        Some(Transition::Halted { wait: self.probe_later(now, None, chance) })
    }

    /// A probe was rejected, too. Returns the wait until the next one.
    pub(super) fn on_probe_rejected(&mut self, now: Timestamp, chance: f64) -> Duration {
        self.trips = self.trips.saturating_add(1);
        self.probe_later(now, None, chance)
    }

    /// Postpones the next probe. Returns the wait.
    pub(super) fn probe_later(&mut self, now: Timestamp, retry_after: Option<Duration>, chance: f64) -> Duration {
        let wait = self.cooldown.wait(self.trips, chance, retry_after);
        self.note_retry_after(retry_after, now.after(wait));
        self.state = BreakerState::Halted { probe_at: now.after(wait) };
        wait
    }

    /// Another API key is used from now on, which Refersion accepts.
    pub(super) fn on_new_api_key(&mut self, now: Timestamp) -> Option<Transition> {
        self.halts = 0;
        self.on_api_key_accepted(now)
    }

    /// Refersion accepts the API key that is in use from now on: a halt ends.
    pub(super) fn on_api_key_accepted(&mut self, now: Timestamp) -> Option<Transition> {
        self.next_generation();
        (self.key_since, self.key_accepted_at) = (self.generation, now);
        let BreakerState::Halted { .. } = self.state else { return None };
        self.failing.clear();
        self.close();
        if now < self.not_before {
            (self.state, self.cause) = (BreakerState::Open { until: self.not_before }, Some(Cause::RateLimited));
        }
        Some(Transition::Resumed)
    }

    fn is_current(&self, generation: Generation) -> bool {
        generation == self.generation
    }

    fn next_generation(&mut self) {
        self.generation.0 += 1;
        self.trial = false;
    }

    /// No request begins before `until`, if Refersion asked for a wait.
    fn note_retry_after(&mut self, retry_after: Option<Duration>, until: Timestamp) {
        if retry_after.is_some() {
            self.not_before = self.not_before.max(until);
        }
    }

    fn close(&mut self) {
        (self.state, self.cause, self.trips) = (BreakerState::Closed, None, 0);
    }

    /// Opens the breaker. An open breaker stays open for longer, a halted account stays halted.
    fn trip(
        &mut self,
        cause: Cause,
        generation: Generation,
        now: Timestamp,
        retry_after: Option<Duration>,
        chance: f64,
    ) -> Option<Transition> {
        let trips = self.trips.saturating_add(u32::from(self.is_current(generation)));
        let wait = self.cooldown.wait(trips.max(1), chance, retry_after);
        self.note_retry_after(retry_after, now.after(wait));
        match self.state {
            BreakerState::Halted { .. } => None,
            BreakerState::Open { until } => {
                self.state = BreakerState::Open { until: until.max(now.after(wait)) };
                None
            }
            BreakerState::Closed | BreakerState::HalfOpen => {
                (self.state, self.cause, self.trips) =
                    (BreakerState::Open { until: now.after(wait) }, Some(cause), trips);
                self.next_generation();
                Some(Transition::Opened { cause, wait, trips })
            }
        }
    }
}
