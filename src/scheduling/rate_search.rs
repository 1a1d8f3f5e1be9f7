//! The search for the rate limit of Refersion: after each 429 the rate follows a cubic curve to a measured ceiling.
//!
//! In: replies, and the time in which requests were waiting or in flight. Out: a rate in requests per second, or none before the first 429.
//! The algorithm is CUBIC (RFC 9438), which the AWS SDKs' adaptive retry mode uses for rates: a 429 cuts the rate below the ceiling; then
//! the rate rises along a cubic curve that flattens at the ceiling and gets steeper above it. Three things differ from the AWS SDKs,
//! because each 429 costs a pause, and only this service uses the account's rate:
//! - The cut is small (5 %) and the curve slow (20 s to the ceiling), so that a 429 is met every 40 s or so.
//! - The ceiling is measured. Between two 429s an upstream accepts as many requests as its limit allows, however large its bucket or
//!   window is; so the accepted requests, divided by the time, are the limit. Short pauses are lost time and are not counted. Many
//!   pauses, or a long one, are part of how the upstream limits, and are counted.
//! - The period adapts. The period to a first guess is short; an upstream that answers 429 late, because its bucket or window is
//!   large, gets a slower curve.
//!
//! Random 429s (for instance of a flaky proxy) would lower such a rate again and again, as random losses do to CUBIC. A limit sends no 429
//! below a rate that it accepted before. So after a 429 that comes before the curve has reached its ceiling, the search tries 0.8 of the
//! accepted rate, at which a limit would send no 429 ([`super::rate_trial`]). One more 429 there proves that 429s are not about the rate.
//! Then the former ceiling is restored, and the measured share of 429s is expected from then on and changes nothing
//! ([`super::unrelated_429s`]). PCC makes the same experiment (it compares two rates). BBR tolerates a fixed share of losses instead: a
//! share that is small at 1 request a second is a 429 every second at 100.
//!
//! Invariants: the rate is never below [`MIN_RATE`]; time without a request to send is not counted; time in which no request waited for the
//! rate does not raise it. Deliberately absent: spacing requests ([`super::rate_limit`]), pausing ([`super::circuit_breaker`]), and the
//! decision which 429s count as one ([`super::AccountHealth`]).

use super::Unrelated429s;
use super::rate_trial::RateTrial;
use std::time::Duration;

/// The lowest rate, in requests per second.
pub(super) const MIN_RATE: f64 = 1.0 / 60.0;
/// The lowest rate at which a search starts after a restart. A limit below it is found again with a 429 or two.
const MIN_RESTORED: f64 = 4.0;
/// After a 429 the rate is this share of the ceiling.
const CUT: f64 = 0.95;
/// The seconds from a cut to the ceiling.
pub(super) const PERIOD: f64 = 20.0;
/// The fewest requests of a period, unless the ceiling is a guess.
const MIN_REQUESTS: f64 = 20.0;
/// The seconds to a ceiling that is a guess; and the longest period, in seconds.
const GUESS_PERIOD: f64 = 5.0;
const MAX_PERIOD: f64 = 120.0;
/// A curve that lasted for more periods than this, without many pauses, started from a ceiling that is far too low by now.
const STEEP: f64 = 3.0;
/// A 429 came late if the curve lasted for at least the first number of periods, and its rate was at least the second number of times the
/// measured rate.
const LATE: (f64, f64) = (1.5, 1.25);
/// A 429 came in time if the rate was less than this number of times the measured rate.
const IN_TIME: f64 = 1.1;
/// A ceiling below this share of the last rate contradicts the earlier measurement.
const LOW: f64 = 0.6;
/// If at least this share of the time was spent in pauses, they are part of how the upstream limits.
const MANY_PAUSES: f64 = 0.2;
/// A sample covers the latest seconds: at least half of this number, at most all of them.
const HORIZON: f64 = 120.0;
/// The fewest requests of a sample that is used; the first guess needs fewer.
const MIN_SAMPLE: f64 = 8.0;
const MIN_FIRST_SAMPLE: f64 = 4.0;

/// The reason why requests wait.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// Only the rate that the search found.
    Limited,
    /// The pause after a 429.
    Paused,
    /// Another reason, or no request waits.
    Other,
}

/// The accepted requests since a 429.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Requests.
    accepted: f64,
    /// The seconds in which requests were waiting or in flight.
    elapsed: f64,
    /// The seconds of them that were pauses.
    paused: f64,
}

/// The curve since a 429.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// The rate at which it flattens.
    ceiling: f64,
    /// The seconds until then.
    period: f64,
    /// The seconds in which requests waited for the rate.
    elapsed: f64,
    /// Whether the last sample agreed with the ceiling before.
    settled: bool,
    /// The ceiling before the latest 429s in a row that came below the ceiling.
    former_ceiling: f64,
}

/// The search of one account.
#[derive(Clone, Debug, Default)]
pub(super) struct RateSearch {
    sample: Sample,
    curve: Option<Curve>,
    trial: Option<RateTrial>,
    unrelated: Unrelated429s,
}

impl Sample {
    fn has_many_pauses(self) -> bool {
        self.paused >= MANY_PAUSES * self.elapsed
    }

    /// Halves the weight of older requests.
    fn halve(&mut self) {
        let Self { accepted, elapsed, paused } = *self;
        *self = Self { accepted: accepted / 2.0, elapsed: elapsed / 2.0, paused: paused / 2.0 };
    }

    /// The rate that was accepted; no sample is taken for shorter than a second.
    fn rate(self) -> f64 {
        let elapsed = if self.has_many_pauses() { self.elapsed } else { self.elapsed - self.paused };
        self.accepted / elapsed.max(1.0)
    }
}

impl Curve {
    fn starting_at(ceiling: f64, period: f64, settled: bool) -> Self {
        let ceiling = ceiling.max(MIN_RATE);
        Self { ceiling, period, elapsed: 0.0, settled, former_ceiling: ceiling }
    }

    fn rate(&self) -> f64 {
        let x = (self.elapsed - self.period) / self.period;
        (self.ceiling * (1.0 + (1.0 - CUT) * x.powi(3))).max(MIN_RATE)
    }

    /// Whether the rate is lower than the accepted one.
    fn is_below_ceiling(&self) -> bool {
        self.elapsed < self.period
    }

    /// The curve after a 429, with the sample since the last one, if it is large enough.
    fn cut(&self, sample: Option<Sample>) -> Self {
        let (rate, measured) = (self.rate(), sample.map_or(self.rate(), Sample::rate));
        let (periods, many_pauses) = (self.elapsed / self.period, sample.is_some_and(Sample::has_many_pauses));
        let steep = periods > STEEP && !many_pauses;
        // A curve that reached its steep part was below the limit for long, so the measured rate is too low.
        let ceiling = if steep { rate } else { rate.min(measured) };
        let low = ceiling < LOW * rate;
        let late = periods > LATE.0 && rate > LATE.1 * measured;
        let least = PERIOD.max(MIN_REQUESTS / ceiling.max(MIN_RATE));
        let period = if steep || late {
            2.0 * self.period
        } else if low && self.settled {
            GUESS_PERIOD.max(self.period / 4.0)
        } else if rate < IN_TIME * measured {
            least.max(0.8 * self.period)
        } else {
            least.max(self.period)
        };
        // A curve that is faster than a pause was long would run through the upstream's window before the window ends.
        let paused = sample.map_or(0.0, |sample| sample.paused);
        let settled = !steep && !low && (self.settled || sample.is_some());
        let cut = Self::starting_at(ceiling, period.max(paused).min(MAX_PERIOD), settled);
        if self.is_below_ceiling() { Self { former_ceiling: self.former_ceiling, ..cut } } else { cut }
    }
}

impl RateSearch {
    /// A search that continues an earlier one, with its rate and its unrelated 429s. It does not begin below [`MIN_RESTORED`]: a rate that
    /// only chance 429s have lowered would otherwise last for long.
    pub(super) fn restored(learned: Option<f64>, unrelated: Unrelated429s) -> Self {
        let learned = learned.filter(|rate| rate.is_finite() && *rate > 0.0);
        let curve = learned.map(|rate| Curve::starting_at(rate.max(MIN_RESTORED), PERIOD, true));
        Self { curve, unrelated, ..Self::default() }
    }

    /// The requests that may begin per second; none before the first 429.
    pub(super) fn rate(&self) -> Option<f64> {
        self.trial.map(|trial| trial.rate()).or(self.curve.map(|curve| curve.rate()))
    }

    /// The rate to save: the highest one that Refersion is expected to allow.
    pub(super) fn learned(&self) -> Option<f64> {
        self.curve.map(|curve| curve.former_ceiling.max(curve.rate()))
    }

    /// The 429s that are not about the rate.
    pub(super) fn unrelated(&self) -> Unrelated429s {
        self.unrelated
    }

    /// Time passed in which requests were waiting or in flight.
    pub(super) fn on_elapsed(&mut self, time: Duration, phase: Phase) {
        let time = time.as_secs_f64();
        self.sample.elapsed += time;
        if self.sample.elapsed > HORIZON {
            self.sample.halve();
        }
        if let Some(trial) = &mut self.trial {
            trial.on_elapsed(time);
            self.end_trial_if_over();
        } else if let (Phase::Limited, Some(curve)) = (phase, &mut self.curve) {
            curve.elapsed += time;
        }
        if phase == Phase::Paused {
            self.sample.paused += time;
        }
    }

    /// A request was answered, and not by a 429.
    pub(super) fn on_accepted(&mut self) {
        self.sample.accepted += 1.0;
        self.unrelated.on_accepted(self.is_below_ceiling());
        if let Some(trial) = &mut self.trial {
            trial.on_accepted();
            self.end_trial_if_over();
        }
    }

    /// A trial without a 429 shows that the last ones were about the rate.
    fn end_trial_if_over(&mut self) {
        if self.trial.is_some_and(|trial| trial.is_over()) {
            self.trial = None;
            self.curve = self.curve.map(|curve| Curve { former_ceiling: curve.ceiling, ..curve });
        }
    }

    /// Whether the rate is lower than the accepted one.
    fn is_below_ceiling(&self) -> bool {
        self.curve.is_some_and(|curve| curve.is_below_ceiling())
    }

    /// A request was answered with a 429 that counts as one with another, or that came during a pause.
    pub(super) fn on_further_429(&mut self) {
        self.unrelated.on_429(false);
    }

    /// The sample, if it has at least so many requests; then a new one begins.
    fn take_sample(&mut self, least: f64) -> Option<Sample> {
        (self.sample.accepted >= least).then(|| std::mem::take(&mut self.sample))
    }

    /// A request was answered with a 429 during a trial. Returns whether it is about the rate.
    fn on_429_in_trial(&mut self, trial: RateTrial) -> bool {
        if let Some(proof) = trial.proof() {
            self.trial = None;
            self.unrelated = proof;
            self.curve = self.curve.map(|curve| Curve::starting_at(curve.former_ceiling, GUESS_PERIOD, false));
            return false;
        }
        let sample = self.take_sample(MIN_SAMPLE);
        self.trial = Some(trial.then(sample.map(|sample| (sample.accepted, sample.elapsed))));
        if sample.is_some() {
            self.curve = self.curve.map(|curve| curve.cut(sample)); // where it continues if this was about the rate
        }
        true
    }

    /// A request was answered with a 429. Returns whether it is about the rate.
    pub(super) fn on_rate_limited(&mut self) -> bool {
        if let Some(trial) = self.trial {
            return self.on_429_in_trial(trial);
        }
        if self.unrelated.on_429(self.is_below_ceiling()) {
            self.sample.halve(); // the next 429 may be about the rate of this moment
            return false;
        }
        let least = if self.curve.is_some() { MIN_SAMPLE } else { MIN_FIRST_SAMPLE };
        let sample = self.take_sample(least);
        let trial = |sample: Sample| RateTrial::after(sample.accepted, sample.elapsed);
        self.trial = sample.filter(|_| self.is_below_ceiling()).map(trial);
        self.curve = match self.curve {
            Some(curve) => Some(curve.cut(sample)),
            None => sample.map(|sample| Curve::starting_at(sample.rate(), GUESS_PERIOD, false)),
        };
        true
    }
}

#[cfg(test)]
mod tests;
