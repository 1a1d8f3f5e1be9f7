//! The circuit breaker of an account: whether requests may begin at all. While it is open, or the account is halted, deliveries of the
//! account are suspended.
//!
//! In: replies. Out: state transitions. A 429 opens it (Refersion counts calls per account, so one event's 429 concerns all of them), and
//! so does an outage, which is a number of consecutive failures (the threshold, [`OUTAGE`]): calls for so many different events failed, and
//! none succeeded between; one event that always fails is not an outage. It stays open for the cooldown (its open duration, or reset timeout), an exponential
//! backoff between `DELIVERY_RETRY_MIN` and `DELIVERY_RETRY_MAX` that is never shorter than `Retry-After`. Then one request goes first
//! (half-open): a success closes it, a 429 or an outage that goes on opens it again, and after any other failure another one goes first. A 401 halts the account until a probe, or a new key, ends that. Invariants: there is one state, so
//! that nothing can be open and halted at once; nothing begins before a `Retry-After` is over, whatever is replied meanwhile; a success
//! or a failure of a request that began before the last change of the breaker neither closes nor trips it. A 429 always does: it is about now. Deliberately absent: how many requests and how fast
//! ([`super::ConcurrencyLimit`], `RateLimit`).

use super::{Backoff, RetryWait};
use crate::domain::{Seq, Timestamp};
use std::time::Duration;

/// Whether requests may begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HealthState {
    /// They may.
    Closed,
    /// None before `until`.
    Open {
        /// The end of the wait.
        until: Timestamp,
    },
    /// One at a time, until a reply shows that Refersion takes calls.
    HalfOpen,
    /// None: Refersion rejected the API key.
    Halted {
        /// When the key is to be probed.
        probe_at: Timestamp,
    },
}

impl HealthState {
    /// The same at `now`: a pause that is over counts as over, even if no request was made yet. It shows as closed although the next
    /// request is the one that goes first (half-open): whether an event is delivered at once is all that callers ask.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Open { until } if until <= now => Self::Closed,
            state => state,
        }
    }
}

/// Why requests may not begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Cause {
    /// Refersion answered 429.
    RateLimited,
    /// Calls for several events failed in a row.
    Outage,
    /// Refersion rejected the API key.
    Unauthorized,
}

impl Cause {
    /// Its name in metrics.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RateLimited => "rate_limited",
            Self::Outage => "outage",
            Self::Unauthorized => "unauthorized",
        }
    }
}

/// A change of state, to be logged and counted once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Transition {
    /// Closed or half-open → open.
    Opened {
        /// Why; never [`Cause::Unauthorized`].
        cause: Cause,
        /// For how long.
        wait: Duration,
        /// How often since it was last closed: 1 if it was closed before, more if it was half-open; 0 if a 429 to an earlier request opens it.
        trips: u32,
    },
    /// Open → half-open.
    HalfOpened,
    /// Half-open → closed.
    Closed,
    /// Any state → halted.
    Halted {
        /// How long until the key is probed.
        wait: Duration,
    },
    /// Halted → closed, or back to open if a `Retry-After` is not over.
    Resumed,
}

/// A pause or a halt as it is saved: with waits instead of moments, so that a clock that was wrong does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SavedPause {
    cause: Cause,
    trips: u32,
    noted_at: Timestamp,
    /// The rest of the pause, or of the wait for the next probe.
    wait: Duration,
    /// The rest of the longest `Retry-After`.
    retry_after: Duration,
}

impl SavedPause {
    /// Whether both end at the same moment, with the same consequences.
    pub fn is_same(&self, other: &Self) -> bool {
        let ends = |pause: &Self| (pause.noted_at.after(pause.wait), pause.noted_at.after(pause.retry_after));
        (self.cause, self.trips, ends(self)) == (other.cause, other.trips, ends(other))
    }

    /// The state in which it leaves the account at `now`: a halt ends by a probe, which is due at once.
    pub(super) fn state(&self, now: Timestamp) -> HealthState {
        match self.cause {
            Cause::Unauthorized => HealthState::Halted { probe_at: now },
            Cause::RateLimited | Cause::Outage => HealthState::Open { until: self.ends(self.wait, now) },
        }
    }

    fn ends(&self, wait: Duration, now: Timestamp) -> Timestamp {
        RetryWait { wait, noted_at: self.noted_at }.due(now)
    }
}

/// Which changes of the breaker a request began after.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Generation(u64);

/// What a failed call means for the account.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct FailureEffect {
    /// Several events failed in a row: too many requests at once may be the reason.
    pub(super) overload: bool,
    /// It tripped the breaker.
    pub(super) transition: Option<Transition>,
}

/// The circuit breaker of one account.
#[derive(Debug)]
pub(super) struct CircuitBreaker {
    /// How long it stays open, and the wait between two probes of a rejected key.
    cooldown: Backoff,
    state: HealthState,
    cause: Option<Cause>,
    trips: u32,
    /// When the longest `Retry-After` is over.
    not_before: Timestamp,
    /// Different events whose calls failed since one last succeeded.
    failing: Vec<Seq>,
    /// While half-open: whether the one trial request is in flight.
    trial: bool,
    generation: Generation,
    /// The generation in which the present key was first used.
    key_since: Generation,
}

/// The threshold of consecutive failures: calls for so many different events have to fail in a row before it is an outage.
const OUTAGE: usize = 3;
/// Calls for so many different events have to fail in a row before it is an overload.
const OVERLOAD: usize = 2;

impl CircuitBreaker {
    /// A closed one.
    pub(super) fn new(cooldown: Backoff) -> Self {
        let generation = Generation(0);
        let (state, not_before) = (HealthState::Closed, Timestamp(i64::MIN));
        let (cause, failing) = (None, Vec::new());
        Self { cooldown, state, cause, trips: 0, not_before, failing, trial: false, generation, key_since: generation }
    }

    /// The cooldown from now on; one that has begun ends as it was to.
    pub(super) fn set_cooldown(&mut self, cooldown: Backoff) {
        self.cooldown = cooldown;
    }

    /// As another process left it. A halted account is probed at once: its key may have been corrected meanwhile.
    pub(super) fn restored(cooldown: Backoff, saved: Option<SavedPause>, now: Timestamp) -> Self {
        let closed = Self::new(cooldown);
        let Some(pause) = saved else { return closed };
        let (state, not_before) = (pause.state(now), pause.ends(pause.retry_after, now));
        Self { state, not_before, cause: Some(pause.cause), trips: pause.trips, ..closed }
    }

    /// The pause or the halt that is to be saved. While half-open, it is one that is over.
    pub(super) fn saved(&self, now: Timestamp) -> Option<SavedPause> {
        let cause = self.cause?;
        let until = match self.state {
            HealthState::Closed => return None,
            HealthState::HalfOpen => Timestamp(0),
            HealthState::Open { until } | HealthState::Halted { probe_at: until } => until,
        };
        let noted_at = now.min(until);
        let (wait, retry_after) = (until.since(noted_at), self.not_before.since(noted_at));
        Some(SavedPause { cause, trips: self.trips, noted_at, wait, retry_after })
    }

    pub(super) fn state(&self) -> HealthState {
        self.state
    }

    /// Why it is not closed.
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

    /// A request begins; it is not to be called while requests may not. Says whether this makes the breaker half-open.
    pub(super) fn on_begin(&mut self) -> Option<Transition> {
        match self.state {
            HealthState::Open { .. } => {
                (self.state, self.trial) = (HealthState::HalfOpen, true);
                Some(Transition::HalfOpened)
            }
            HealthState::HalfOpen => {
                self.trial = true;
                None
            }
            HealthState::Closed | HealthState::Halted { .. } => None,
        }
    }

    /// A request of `generation` ended, in whatever way.
    pub(super) fn on_end(&mut self, generation: Generation) {
        self.trial &= !self.is_current(generation);
    }

    /// Refersion took a call.
    pub(super) fn on_success(&mut self, generation: Generation) -> Option<Transition> {
        if !self.is_current(generation) {
            return None;
        }
        self.failing.clear();
        (self.state == HealthState::HalfOpen).then(|| {
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
        // The first one waits as long as asked for, without jitter: one client needs none against others.
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

    /// Refersion rejected the key with which a request of `generation` was made.
    pub(super) fn on_unauthorized(
        &mut self,
        generation: Generation,
        now: Timestamp,
        chance: f64,
    ) -> Option<Transition> {
        if generation < self.key_since || matches!(self.state, HealthState::Halted { .. }) {
            return None;
        }
        self.trips = 1;
        self.cause = Some(Cause::Unauthorized);
        self.next_generation();
        Some(Transition::Halted { wait: self.probe_later(now, None, chance) })
    }

    /// A probe was rejected too; says how long until the next one.
    pub(super) fn on_probe_rejected(&mut self, now: Timestamp, chance: f64) -> Duration {
        self.trips = self.trips.saturating_add(1);
        self.probe_later(now, None, chance)
    }

    /// Puts the next probe off; says for how long.
    pub(super) fn probe_later(&mut self, now: Timestamp, retry_after: Option<Duration>, chance: f64) -> Duration {
        let wait = self.cooldown.wait(self.trips, chance, retry_after);
        self.state = HealthState::Halted { probe_at: now.after(wait) };
        wait
    }

    /// The key works, or another one is used from now on.
    pub(super) fn on_api_key_accepted(&mut self, now: Timestamp) -> Option<Transition> {
        self.next_generation();
        self.key_since = self.generation;
        let HealthState::Halted { .. } = self.state else { return None };
        self.failing.clear();
        self.close();
        if now < self.not_before {
            (self.state, self.cause) = (HealthState::Open { until: self.not_before }, Some(Cause::RateLimited));
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

    fn close(&mut self) {
        (self.state, self.cause, self.trips) = (HealthState::Closed, None, 0);
    }

    /// Opens the breaker; one that is open stays so for longer, one that is halted stays halted.
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
        if retry_after.is_some() {
            self.not_before = self.not_before.max(now.after(wait));
        }
        match self.state {
            HealthState::Halted { .. } => None,
            HealthState::Open { until } => {
                self.state = HealthState::Open { until: until.max(now.after(wait)) };
                None
            }
            HealthState::Closed | HealthState::HalfOpen => {
                (self.state, self.cause, self.trips) =
                    (HealthState::Open { until: now.after(wait) }, Some(cause), trips);
                self.next_generation();
                Some(Transition::Opened { cause, wait, trips })
            }
        }
    }
}
