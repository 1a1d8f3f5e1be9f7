//! The rate limit of an account: it decides when the next request may begin, with even spacing (a token bucket of one token).
//!
//! In: requests that begin or wait, and replies. Out: a moment. The rate is the lower of the configured one
//! (`REFERSION_MAX_REQUESTS_PER_SECOND`) and the one that the [search](super::rate_search) found; without either there is no limit.
//! Invariants: there are no bursts (two requests are closer than the spacing by at most [`LATENESS`]); a rate that delays no request is not
//! raised. Deliberately absent: waiting, which the caller does; the number of requests in flight (`scheduling/concurrency_limit.rs`); and
//! whether requests may begin at all (`scheduling/circuit_breaker.rs`).

use super::LearnedLimits;
use super::rate_search::{Phase, RateSearch};
use crate::domain::Timestamp;

/// How late a request may begin without moving the later slots, in milliseconds. Timers are late by so much, and rates of hundreds per
/// second must be reached.
const LATENESS: f64 = 5.0;

/// The rate limit of one account.
#[derive(Debug)]
pub(super) struct RateLimit {
    configured: Option<f64>,
    /// The search for the rate of Refersion, which gets every reply.
    pub(super) search: RateSearch,
    /// When the last request began, here or elsewhere, in milliseconds.
    began: f64,
    /// When the next request may begin, in milliseconds.
    slot: f64,
    /// The moment up to which time was accounted for.
    seen: Timestamp,
    /// The moment until which requests are known to wait.
    waiting_until: Timestamp,
    /// Whether the found rate delays the next request.
    waiting: bool,
    /// Whether the found rate delays the next request, or delayed the last one.
    limited: bool,
}

/// The configured rate, if it is above zero.
fn valid(configured: Option<f64>) -> Option<f64> {
    configured.filter(|rate| rate.is_finite() && *rate > 0.0)
}

impl RateLimit {
    /// A limit of `configured` requests per second (`None`, or not above zero: no configured limit), with the learned rate.
    pub(super) fn new(configured: Option<f64>, learned: &LearnedLimits) -> Self {
        let configured = valid(configured);
        let never = Timestamp(i64::MIN);
        let search = RateSearch::restored(learned.requests_per_second, learned.unrelated_429s);
        Self {
            configured,
            search,
            began: f64::NEG_INFINITY,
            slot: f64::NEG_INFINITY,
            seen: never,
            waiting_until: never,
            waiting: false,
            limited: false,
        }
    }

    /// Changes the configured limit. A higher one spaces the next request, too: its slot by the former limit may be hours away.
    pub(super) fn set_configured(&mut self, configured: Option<f64>) {
        self.configured = valid(configured);
        self.slot = self.slot.min(self.began + self.spacing());
    }

    /// Another process may have begun a request at `now`.
    pub(super) fn on_request_elsewhere(&mut self, now: Timestamp) {
        self.began = millis(now);
        self.slot = self.began + self.spacing();
    }

    /// Requests per second; `None` is no limit.
    pub(super) fn rate(&self) -> Option<f64> {
        self.search.rate().into_iter().chain(self.configured).reduce(f64::min)
    }

    /// Accounts for the time until `now`. `paused`: it was the pause after a 429. All of it counts if requests were `in_flight`.
    pub(super) fn advance(&mut self, now: Timestamp, in_flight: bool, paused: bool) {
        let until = if in_flight { now } else { now.min(self.waiting_until) };
        if self.seen.0 > i64::MIN {
            let phase = match (paused, self.limited) {
                (true, _) => Phase::Paused,
                (false, true) => Phase::Limited,
                (false, false) => Phase::Other,
            };
            self.search.on_elapsed(until.since(self.seen), phase);
        }
        self.seen = self.seen.max(now);
    }

    /// When the next request may begin, if that is after `now`. Requests are known to wait until then.
    pub(super) fn wait(&mut self, now: Timestamp) -> Option<Timestamp> {
        let slot = Timestamp(slot_at(self.slot));
        if slot <= now {
            return None;
        }
        self.waiting_until = slot;
        self.waiting = self.search.rate().is_some() && self.rate() == self.search.rate();
        self.limited = self.waiting;
        Some(slot)
    }

    /// Another limit than the rate delays requests at least until `until`.
    pub(super) fn on_held_up(&mut self, until: Timestamp) {
        self.waiting_until = until;
        (self.waiting, self.limited) = (false, false);
    }

    /// A request begins.
    pub(super) fn on_begin(&mut self, now: Timestamp) {
        self.began = millis(now);
        let in_time = self.slot >= self.began - LATENESS;
        self.slot = if in_time { self.slot } else { self.began } + self.spacing();
        self.limited = std::mem::take(&mut self.waiting);
    }

    /// The request that began last was not sent.
    pub(super) fn on_cancelled(&mut self) {
        self.slot -= self.spacing();
        self.limited = false;
    }

    /// The time between two requests, in milliseconds.
    fn spacing(&self) -> f64 {
        self.rate().map_or(0.0, |rate| 1_000.0 / rate)
    }
}

#[expect(clippy::cast_precision_loss, reason = "milliseconds since 1970 are exact for 285,000 years")]
fn millis(at: Timestamp) -> f64 {
    at.0 as f64
}

#[expect(clippy::cast_possible_truncation, reason = "saturates")]
fn slot_at(millis: f64) -> i64 {
    millis.ceil() as i64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_higher_limit_spaces_the_next_request_and_a_lower_one_those_after_it() {
        const NOW: Timestamp = Timestamp(1_000_000);
        for (former, changed, wait) in [
            (Some(0.001), &[Some(10.0)][..], Some(100)),
            (Some(0.001), &[None], None),
            (Some(10.0), &[Some(0.5)], Some(100)),
            (Some(10.0), &[Some(0.001), Some(10.0)], Some(100)),
        ] {
            let mut limit = RateLimit::new(former, &LearnedLimits::default());
            limit.on_begin(NOW);
            for changed in changed {
                limit.set_configured(*changed);
            }
            assert_eq!(limit.wait(NOW), wait.map(|wait| Timestamp(NOW.0 + wait)), "{former:?} to {changed:?}");
        }
    }
}
