//! The saved form of an account's health: the learned limits, and the pause or the halt.
//!
//! In: the health at a moment. Out: whether it differs from what was saved last, and the state of the account at a later moment. Invariant:
//! time alone changes nothing that is worth saving. Deliberately absent: saving it (the worker), and restoring it
//! ([`super::AccountHealth::taken_over`]).

use super::breaker_state::{BreakerState, Cause};
use super::{RetryWait, Unrelated429s};
use crate::domain::Timestamp;
use std::time::Duration;

/// The learned limits of an account, saved across restarts. A field that an older release did not save has its default.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct LearnedLimits {
    /// The rate limit of Refersion; `None` as long as no 429 has shown it, or too few requests were accepted to measure it.
    pub requests_per_second: Option<f64>,
    /// The concurrency limit; zero if unknown.
    pub concurrency: f64,
    /// The 429s that are not about the rate.
    pub unrelated_429s: Unrelated429s,
}

impl LearnedLimits {
    /// Whether the difference from `saved` is worth saving.
    pub fn differs_from(&self, saved: &Self) -> bool {
        let differ = |one: f64, other: f64, share: f64| (one - other).abs() > share * other.max(one);
        let (one, other) = (self.requests_per_second, saved.requests_per_second);
        one.is_some() != other.is_some()
            || differ(one.unwrap_or_default(), other.unwrap_or_default(), 0.05)
            || differ(self.concurrency, saved.concurrency, 0.05)
            || differ(self.unrelated_429s.count, saved.unrelated_429s.count, 0.2)
            || differ(self.unrelated_429s.accepted, saved.unrelated_429s.accepted, 0.2)
    }
}

/// The saved form of an account's health. The next owner takes all of it over. A restart of a single process (SQLite) takes over the
/// learned limits and drops the pause, because an operator ends a pause by a restart.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct SavedHealth {
    /// The learned limits.
    #[serde(flatten)]
    pub learned: LearnedLimits,
    /// The pause or the halt, if there is one.
    #[serde(default)]
    pub pause: Option<SavedPause>,
}

impl SavedHealth {
    /// The state of the account at `now`: a pause that has ended counts as ended.
    pub fn state(&self, now: Timestamp) -> BreakerState {
        self.pause.as_ref().map_or(BreakerState::Closed, |pause| pause.state(now)).at(now)
    }

    /// Whether the difference from `saved` is worth saving.
    pub fn differs_from(&self, saved: &Self) -> bool {
        let same_pause = match (&self.pause, &saved.pause) {
            (Some(one), Some(other)) => one.is_same(other),
            (one, other) => one.is_none() && other.is_none(),
        };
        !same_pause || self.learned.differs_from(&saved.learned)
    }
}

/// The saved form of a pause or a halt. It has waits instead of moments, so that a wrong clock does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SavedPause {
    pub(super) cause: Cause,
    pub(super) trips: u32,
    pub(super) noted_at: Timestamp,
    /// The remaining pause, or the remaining wait for the next probe.
    pub(super) wait: Duration,
    /// The remaining part of the longest `Retry-After`.
    pub(super) retry_after: Duration,
}

impl SavedPause {
    /// Whether both end at the same moment, with the same consequences. A `Retry-After` that is over by then has none.
    pub fn is_same(&self, other: &Self) -> bool {
        let ends = |pause: &Self| {
            let end = pause.noted_at.after(pause.wait);
            (end, pause.noted_at.after(pause.retry_after).max(end))
        };
        (self.cause, self.trips, ends(self)) == (other.cause, other.trips, ends(other))
    }

    /// The state of the account at `now`. A halt ends by a probe, which is due at once.
    pub(super) fn state(&self, now: Timestamp) -> BreakerState {
        match self.cause {
            Cause::Unauthorized => BreakerState::Halted { probe_at: now },
            Cause::RateLimited | Cause::Outage => BreakerState::Open { until: self.ends(self.wait, now) },
        }
    }

    /// When one of its waits ends, as of `now`.
    pub(super) fn ends(&self, wait: Duration, now: Timestamp) -> Timestamp {
        RetryWait { wait, noted_at: self.noted_at }.due(now)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_learned_limit_is_saved_once_it_has_changed_noticeably() {
        let unrelated_429s = Unrelated429s::measured(10.0, 100.0);
        let learned = LearnedLimits { requests_per_second: Some(10.0), concurrency: 10.0, unrelated_429s };
        let with = |change: fn(&mut LearnedLimits)| {
            let mut changed = learned.clone();
            change(&mut changed);
            changed
        };
        for (changed, differs) in [
            (with(|_| {}), false),
            (with(|learned| learned.requests_per_second = None), true),
            (with(|learned| learned.requests_per_second = Some(10.4)), false),
            (with(|learned| learned.requests_per_second = Some(10.6)), true),
            (with(|learned| learned.concurrency = 10.4), false),
            (with(|learned| learned.concurrency = 10.6), true),
            (with(|learned| learned.unrelated_429s = Unrelated429s::default()), true),
            (with(|learned| learned.unrelated_429s.accepted = 120.0), false),
            (with(|learned| learned.unrelated_429s.accepted = 130.0), true),
            (with(|learned| learned.unrelated_429s.count = 12.0), false),
            (with(|learned| learned.unrelated_429s.count = 13.0), true),
        ] {
            let [one, other] =
                [&changed, &learned].map(|learned| SavedHealth { learned: learned.clone(), pause: None });
            assert_eq!((one.differs_from(&other), other.differs_from(&one)), (differs, differs), "{changed:?}");
        }
    }
}
