//! The trial after a 429 that came below the ceiling of [`super::rate_search`]: requests at a rate that no rate limit answers with a 429.
//!
//! In: the accepted requests before the trial, its requests, and time. Out: a rate, and the proof that 429s are not about the rate.
//! Invariant: a proof needs a 429 at 0.8 of the accepted rate, after enough requests to show that the limit has not fallen since.
//! Deliberately absent: the start of a trial, and the effect of its end ([`super::rate_search`]).

use super::Unrelated429s;
use super::rate_search::{MIN_RATE, PERIOD};

/// The rate of a trial, as a share of the accepted rate. The error of the measurement is much smaller.
const RATE: f64 = 0.8;
/// The requests of a trial, as a multiple of those between the last two 429s. Chance sends another 429 within them in two of three cases. A
/// trial lasts for a [`PERIOD`] at most, because it costs throughput.
const REQUESTS: f64 = 2.0;
/// The share of the requests between those two 429s after which a further 429 is a proof. An earlier one may come from a limit that has
/// fallen since, so that the accepted rate is too high a measure.
const PROOF: f64 = 0.25;

/// A trial.
#[derive(Clone, Copy, Debug)]
pub(super) struct RateTrial {
    rate: f64,
    /// The 429s that led to the trial, and the requests that were accepted before and between them.
    count: f64,
    before: f64,
    /// The requests that were accepted between the last two 429s before the trial.
    usual: f64,
    /// The requests that were accepted in the trial.
    accepted: f64,
    /// The seconds in which requests were waiting or in flight.
    elapsed: f64,
}

impl RateTrial {
    /// The trial after a 429. Since the 429 before, `accepted` requests were accepted in `seconds`, pauses included, so the
    /// limit allows at least this rate.
    pub(super) fn after(accepted: f64, seconds: f64) -> Self {
        let rate = (RATE * accepted / seconds.max(1.0)).max(MIN_RATE);
        Self { rate, count: 1.0, before: accepted, usual: accepted, accepted: 0.0, elapsed: 0.0 }
    }

    /// The trial after a 429 that came in this trial and is no proof: a new trial if there is a new measurement, else this one again.
    pub(super) fn then(self, measured: Option<(f64, f64)>) -> Self {
        let (count, before) = (self.count + 1.0, self.before + self.accepted);
        let next = measured.map_or(self, |(accepted, seconds)| Self::after(accepted, seconds));
        Self { count, before, accepted: 0.0, ..next }
    }

    /// In requests per second.
    pub(super) fn rate(&self) -> f64 {
        self.rate
    }

    /// A request was accepted.
    pub(super) fn on_accepted(&mut self) {
        self.accepted += 1.0;
    }

    /// Seconds passed in which requests were waiting or in flight.
    pub(super) fn on_elapsed(&mut self, seconds: f64) {
        self.elapsed += seconds;
    }

    /// Whether the trial has lasted long enough without a 429.
    pub(super) fn is_over(&self) -> bool {
        self.accepted >= REQUESTS * self.usual || self.elapsed >= PERIOD
    }

    /// The measurement of unrelated 429s, if a 429 that comes now is a proof.
    pub(super) fn proof(&self) -> Option<Unrelated429s> {
        let is_late = self.accepted >= PROOF * self.usual;
        is_late.then(|| Unrelated429s::measured(self.count + 1.0, self.before + self.accepted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_trial_ends_without_a_429_after_twice_the_usual_requests_or_a_period() {
        for (requests, seconds, is_over) in [(199, 19.0, false), (200, 1.0, true), (1, 20.0, true)] {
            let mut trial = RateTrial::after(100.0, 10.0);
            (0..requests).for_each(|_| trial.on_accepted());
            trial.on_elapsed(seconds);
            assert_eq!((trial.is_over(), trial.rate()), (is_over, 8.0), "{requests} in {seconds} s");
        }
    }

    #[test]
    fn a_429_proves_something_after_a_quarter_of_the_usual_requests() {
        let mut trial = RateTrial::after(100.0, 10.0);
        (0..24).for_each(|_| trial.on_accepted());
        assert_eq!(trial.proof(), None);
        trial.on_accepted();
        assert_eq!(trial.proof(), Some(Unrelated429s::measured(2.0, 125.0)));
        let mut next = trial.then(Some((20.0, 10.0)));
        (0..5).for_each(|_| next.on_accepted());
        assert_eq!((next.rate(), next.proof()), (1.6, Some(Unrelated429s::measured(3.0, 130.0))));
        let same = next.then(None);
        assert_eq!((same.rate(), same.proof()), (1.6, None));
    }
}
