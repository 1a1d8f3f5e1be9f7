//! The search for the rate that Refersion allows: a cubic curve after each 429, about a measured ceiling.
//!
//! In: replies, and the time in which there was something to send. Out: a rate in requests per second, or none while no 429 was
//! met. The algorithm is CUBIC (RFC 9438), which the AWS SDKs' adaptive retry mode uses for rates: a 429 cuts the
//! rate below the ceiling; from there it rises along a cubic curve that flattens at the ceiling and then gets steeper. Three
//! things differ from the AWS SDKs, because here a 429 costs a pause, and the account's rate is used by this service alone:
//! - The cut is small (5 %) and the curve slow (20 s to the ceiling), so that a 429 is met every 40 s or so.
//! - The ceiling is measured. Between two 429s an upstream accepts what it allows in that time, however large its bucket or
//!   window is; so what was accepted, divided by the time, is the allowed rate. Short pauses are left out, as time lost; if there
//!   were many, or a long one, they are part of how the upstream limits and are counted.
//! - The period adapts. A first guess is left behind fast; an upstream that answers 429 late, because its bucket or window is
//!   large, gets a slower curve.
//!
//! 429s that come more often than a rate limit would send them to a client that keeps below it have another reason (a fault, or
//! another client of the account): then the search pauses, and only the breaker and the concurrency limit act.
//!
//! Invariants: never below [`MIN_RATE`]; time in which nothing was to be sent counts for nothing, and time in which the rate
//! held nothing up does not raise it. Deliberately absent: spacing requests ([`super::rate_limit`]), pausing
//! ([`super::circuit_breaker`]), and which 429s are one ([`super::AccountHealth`]).

use std::collections::VecDeque;
use std::time::Duration;

/// The lowest rate, in requests per second.
pub(super) const MIN_RATE: f64 = 1.0 / 60.0;
/// The lowest rate to begin with after a restart; a lower limit is found again with a 429 or two.
const MIN_RESTORED: f64 = 4.0;
/// After a 429 the rate is this share of the ceiling.
const CUT: f64 = 0.95;
/// The seconds from a cut to the ceiling.
const PERIOD: f64 = 20.0;
/// A period has at least so many requests, unless the ceiling is a guess.
const MIN_REQUESTS: f64 = 20.0;
/// The same if the ceiling is a guess, and at most.
const GUESS_PERIOD: f64 = 5.0;
const MAX_PERIOD: f64 = 120.0;
/// A curve that lasted for more periods than this, without many pauses, started from a ceiling that is far too low by now.
const STEEP: f64 = 3.0;
/// A 429 came late if it took so many periods, and the rate was so many times the measured one.
const LATE: (f64, f64) = (1.5, 1.25);
/// A 429 came in time if the rate was less than so many times the measured one.
const IN_TIME: f64 = 1.1;
/// A ceiling below this share of the last rate contradicts what was measured before.
const LOW: f64 = 0.6;
/// If at least this share of the time was spent in pauses, they are part of how the upstream limits.
const MANY_PAUSES: f64 = 0.2;
/// A sample reaches back between half of and all of so many seconds.
const HORIZON: f64 = 120.0;
/// So many 429s in a row are enough to tell whether they are about the rate. They are not, if there was less than a minute, or
/// fewer than so many accepted requests for each: a rate that keeps below a limit is followed by more.
const ENOUGH: u32 = 16;
const UNRELATED_SECONDS: f64 = 60.0;
const UNRELATED_REQUESTS: f64 = 12.0;
/// The seconds for which the search pauses then; twice as many each time, and at most.
const SEARCH_PAUSE: f64 = 300.0;
const MAX_SEARCH_PAUSE: f64 = 3_600.0;
/// A sample of fewer requests says nothing; the first guess needs fewer.
const MIN_SAMPLE: f64 = 8.0;
const MIN_FIRST_SAMPLE: f64 = 4.0;

/// What held requests up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    /// The rate that was found out, and nothing else.
    Limited,
    /// The pause after a 429.
    Paused,
    /// Something else, or nothing.
    Other,
}

/// What was accepted since a 429.
#[derive(Clone, Copy, Debug, Default)]
struct Sample {
    /// Requests.
    accepted: f64,
    /// The seconds in which there was something to send.
    elapsed: f64,
    /// How many of them were pauses.
    paused: f64,
}

/// The curve since a 429.
#[derive(Clone, Copy, Debug)]
struct Curve {
    /// The rate at which it flattens.
    ceiling: f64,
    /// The seconds until then.
    period: f64,
    /// The seconds in which the rate held requests up.
    elapsed: f64,
    /// Whether the last sample agreed with the ceiling before.
    settled: bool,
}

/// The search of one account.
#[derive(Clone, Debug, Default)]
pub(super) struct RateSearch {
    sample: Sample,
    curve: Option<Curve>,
    /// The seconds and the accepted requests since the search began or went on.
    elapsed: f64,
    accepted: f64,
    /// Both as they were at each of the latest 429s.
    limited_at: VecDeque<(f64, f64)>,
    /// Until when the search pauses, and for how long it did so last.
    paused_until: f64,
    paused_for: f64,
}

impl Sample {
    fn has_many_pauses(self) -> bool {
        self.paused >= MANY_PAUSES * self.elapsed
    }

    /// The rate that was accepted; no sample is taken for shorter than a second.
    fn rate(self) -> f64 {
        let elapsed = if self.has_many_pauses() { self.elapsed } else { self.elapsed - self.paused };
        self.accepted / elapsed.max(1.0)
    }
}

impl Curve {
    fn starting_at(ceiling: f64, period: f64, settled: bool) -> Self {
        Self { ceiling: ceiling.max(MIN_RATE), period, elapsed: 0.0, settled }
    }

    fn rate(&self) -> f64 {
        let x = (self.elapsed - self.period) / self.period;
        (self.ceiling * (1.0 + (1.0 - CUT) * x.powi(3))).max(MIN_RATE)
    }

    /// The curve after a 429, with the sample since the last one, if it is large enough.
    fn cut(&self, sample: Option<Sample>) -> Self {
        let (rate, measured) = (self.rate(), sample.map_or(self.rate(), Sample::rate));
        let (periods, many_pauses) = (self.elapsed / self.period, sample.is_some_and(Sample::has_many_pauses));
        let steep = periods > STEEP && !many_pauses;
        // On its steep part the curve was below what is allowed for long: what was accepted says too little.
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
        Self::starting_at(ceiling, period.max(paused).min(MAX_PERIOD), settled)
    }
}

impl RateSearch {
    /// A search that continues an earlier one, with its rate and its latest 429s (as [`RateSearch::rate_limited`] returned them). It
    /// does not begin below [`MIN_RESTORED`]: a rate that only chance 429s have lowered would else last for long.
    pub(super) fn restored(learned: Option<f64>, rate_limited: &[(f64, f64)]) -> Self {
        let learned = learned.filter(|rate| rate.is_finite() && *rate > 0.0);
        let curve = learned.map(|rate| Curve::starting_at(rate.max(MIN_RESTORED), PERIOD, true));
        let rate_limited =
            rate_limited.iter().filter(|(elapsed, accepted)| elapsed.is_finite() && accepted.is_finite());
        let limited_at = rate_limited.map(|(elapsed, accepted)| (-elapsed, -accepted)).take(ENOUGH as usize).collect();
        Self { curve, limited_at, ..Self::default() }
    }

    /// How many requests a second may begin; none while no 429 was met.
    pub(super) fn rate(&self) -> Option<f64> {
        self.curve.map(|curve| curve.rate())
    }

    /// What is to be remembered: the highest rate that is thought to be allowed.
    pub(super) fn learned(&self) -> Option<f64> {
        self.curve.map(|curve| curve.ceiling.max(curve.rate()))
    }

    /// The latest 429s, the oldest first: the seconds of sending and the accepted requests since each.
    pub(super) fn rate_limited(&self) -> Vec<(f64, f64)> {
        self.limited_at.iter().map(|(elapsed, accepted)| (self.elapsed - elapsed, self.accepted - accepted)).collect()
    }

    /// Time passed in which there was something to send.
    pub(super) fn on_elapsed(&mut self, time: Duration, phase: Phase) {
        let time = time.as_secs_f64();
        self.elapsed += time;
        self.sample.elapsed += time;
        if self.sample.elapsed > HORIZON {
            let Sample { accepted, elapsed, paused } = self.sample;
            self.sample = Sample { accepted: accepted / 2.0, elapsed: elapsed / 2.0, paused: paused / 2.0 };
        }
        match phase {
            Phase::Limited => self.curve.iter_mut().for_each(|curve| curve.elapsed += time),
            Phase::Paused => self.sample.paused += time,
            Phase::Other => {}
        }
    }

    /// A request was answered, and not by a 429.
    pub(super) fn on_accepted(&mut self) {
        self.accepted += 1.0;
        self.sample.accepted += 1.0;
    }

    /// A request was answered by a 429, which is not one of those that were cut for already.
    pub(super) fn on_rate_limited(&mut self) {
        if self.elapsed < self.paused_until || self.is_unrelated() {
            return;
        }
        let least = if self.curve.is_some() { MIN_SAMPLE } else { MIN_FIRST_SAMPLE };
        let sample = (self.sample.accepted >= least).then(|| std::mem::take(&mut self.sample));
        self.curve = match self.curve {
            Some(curve) => Some(curve.cut(sample)),
            None => sample.map(|sample| Curve::starting_at(sample.rate(), GUESS_PERIOD, false)),
        };
    }
}

impl RateSearch {
    /// Whether this 429 and those before it came too often to be about the rate; then the search pauses.
    fn is_unrelated(&mut self) -> bool {
        self.limited_at.push_back((self.elapsed, self.accepted));
        if self.limited_at.len() <= ENOUGH as usize {
            return false;
        }
        let (began, accepted) = self.limited_at.pop_front().unwrap_or_default();
        let few = self.accepted - accepted < UNRELATED_REQUESTS * f64::from(ENOUGH);
        if self.elapsed - began > UNRELATED_SECONDS && !few {
            return false;
        }
        self.paused_for = (2.0 * self.paused_for).clamp(SEARCH_PAUSE, MAX_SEARCH_PAUSE);
        self.paused_until = self.elapsed + self.paused_for;
        (self.curve, self.sample) = (None, Sample::default());
        self.limited_at.clear();
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A search whose first 429 came after `accepted` requests in a second.
    fn search(accepted: u32) -> RateSearch {
        let mut search = RateSearch::default();
        (0..accepted).for_each(|_| search.on_accepted());
        search.on_elapsed(Duration::from_secs(1), Phase::Other);
        search.on_rate_limited();
        search
    }

    /// The rate in percent of `of`.
    fn percent(search: &RateSearch, of: f64) -> String {
        format!("{:.0}", search.rate().expect("a rate") / of * 100.0)
    }

    #[test]
    fn there_is_no_rate_without_a_429_and_a_few_requests_are_no_first_guess() {
        let mut search = RateSearch::default();
        (0..1_000).for_each(|_| search.on_accepted());
        search.on_elapsed(Duration::from_secs(10), Phase::Other);
        assert_eq!(search.rate(), None);
        assert_eq!(RateSearch::restored(None, &[]).rate(), None);
        assert_eq!(self::search(3).rate(), None);
        assert_eq!(percent(&self::search(4), 4.0), "95");
    }

    #[test]
    fn the_rate_rises_to_the_ceiling_stays_about_it_and_then_rises_faster_and_faster() {
        for (after, of_ceiling) in [(0, "95"), (20, "100"), (30, "101"), (40, "105"), (60, "140"), (80, "235")] {
            let mut search = RateSearch::restored(Some(100.0), &[]);
            search.on_elapsed(Duration::from_secs(after), Phase::Limited);
            assert_eq!(percent(&search, 100.0), of_ceiling, "after {after} s");
        }
    }

    #[test]
    fn time_in_which_the_rate_held_nothing_up_does_not_raise_it() {
        let mut search = RateSearch::restored(Some(100.0), &[]);
        search.on_elapsed(Duration::from_secs(3_600), Phase::Other);
        search.on_elapsed(Duration::from_secs(3_600), Phase::Paused);
        assert_eq!(percent(&search, 100.0), "95");
    }

    #[test]
    fn a_429_sets_the_ceiling_to_what_was_accepted() {
        for (accepted, sending, paused, ceiling) in [
            (40, 10, 0, 4.0),
            (36, 9, 1, 4.0),  // a short pause is lost time
            (60, 1, 59, 1.0), // a long one is the rest of a window
            (7, 1, 0, 9.5),   // too few to say anything: the rate itself, which was 9.5
            (400, 10, 0, 9.5),
        ] {
            let mut search = RateSearch::restored(Some(10.0), &[]);
            (0..accepted).for_each(|_| search.on_accepted());
            search.on_elapsed(Duration::from_secs(sending), Phase::Other);
            search.on_elapsed(Duration::from_secs(paused), Phase::Paused);
            search.on_rate_limited();
            assert_eq!(percent(&search, ceiling), "95", "{accepted} in {sending} s and {paused} s of pauses");
        }
    }

    #[test]
    fn the_rate_is_never_below_its_least() {
        let curve = Some(Curve::starting_at(MIN_RATE / 2.0, PERIOD, true));
        let mut search = RateSearch { curve, ..RateSearch::default() };
        (0..ENOUGH).for_each(|_| search.on_rate_limited());
        assert_eq!(search.rate(), Some(MIN_RATE));
    }

    #[test]
    fn a_restart_begins_with_what_was_learned_but_never_with_next_to_nothing() {
        for (learned, begins) in [(10.0, 10.0), (0.02, MIN_RESTORED)] {
            assert_eq!(percent(&RateSearch::restored(Some(learned), &[]), begins), "95", "{learned}");
        }
    }

    #[test]
    fn processes_too_short_lived_to_see_many_429s_see_together_that_they_are_not_about_the_rate() {
        let (mut rate, mut rate_limited) = (Some(100.0), Vec::new());
        for process in 0..=ENOUGH {
            assert!(rate.is_some(), "after {process} processes");
            let mut search = RateSearch::restored(rate, &rate_limited);
            search.on_accepted();
            search.on_elapsed(Duration::from_secs(1), Phase::Limited);
            search.on_rate_limited();
            (rate, rate_limited) = (search.learned(), search.rate_limited());
        }
        assert_eq!((rate, rate_limited), (None, Vec::new()), "the search pauses");
    }

    #[test]
    fn the_search_pauses_when_429s_are_more_frequent_than_under_a_limit_and_goes_on_later() {
        let many = |requests: u32, seconds: u64| {
            let mut search = RateSearch::restored(Some(4.0), &[]);
            for _ in 0..=ENOUGH {
                (0..requests).for_each(|_| search.on_accepted());
                search.on_elapsed(Duration::from_secs(seconds), Phase::Limited);
                search.on_rate_limited();
            }
            search
        };
        for (requests, seconds, goes_on) in [(20, 5, true), (20, 3, false), (11, 5, false)] {
            assert_eq!(many(requests, seconds).rate().is_some(), goes_on, "{requests} in {seconds} s");
        }
        let mut search = many(1, 1);
        for (seconds, found) in [(SEARCH_PAUSE - 1.0, false), (1.0, true)] {
            (0..40).for_each(|_| search.on_accepted());
            search.on_elapsed(Duration::from_secs_f64(seconds), Phase::Other);
            search.on_rate_limited();
            assert_eq!(search.rate().is_some(), found, "{seconds} s later");
        }
    }
}
