//! The unrelated 429s of an account: those that are not about its rate, for instance of a flaky proxy or because of another client of the
//! account.
//!
//! In: accepted requests and 429s, and whether the rate was below the accepted one. Out: whether a 429 is expected. The share of unrelated
//! 429s is measured below the ceiling of [`super::rate_search`], where a rate limit sends none; the search has proved that they exist. A
//! budget (a token bucket, like a retry budget) grows by this share, and each 429 takes one token. If no token is left, a 429 is about the
//! rate. So a rate with more 429s beyond the share is lowered sooner. Invariant: before a proof no 429 is expected. Deliberately absent:
//! the proof and the effect of a 429 on the rate ([`super::rate_search`]), and on the account ([`super::AccountHealth`]).

/// The highest expected share. An upstream that rejects more requests wants fewer of them.
const MAX_SHARE: f64 = 0.1;
/// The growth of the budget, as a multiple of the share, and its largest value. Chance alone then uses the budget up once in 20,000
/// unrelated 429s.
const TOLERANCE: f64 = 2.0;
const MAX_BUDGET: f64 = 8.0;
/// The share is measured over the latest 429s: at least half of this number, at most all of them.
const LATEST: f64 = 32.0;
/// If no 429 came for this multiple of the usual requests between two, unrelated 429s have ended. Chance alone does this once in 160,000
/// times.
const ENDED: f64 = 12.0;

/// The measurement of unrelated 429s; saved across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Unrelated429s {
    /// The number of 429s below the ceiling; 0 before a proof.
    pub count: f64,
    /// The number of requests that were accepted below the ceiling.
    pub accepted: f64,
    /// The number of these requests since the latest counted 429.
    since: f64,
    budget: f64,
}

impl Unrelated429s {
    /// The measurement after a proof, with `count` unrelated 429s among `accepted` requests.
    pub(super) fn measured(count: f64, accepted: f64) -> Self {
        Self { count, accepted, since: 0.0, budget: MAX_BUDGET }
    }

    /// The share of requests that are answered with an unrelated 429.
    fn share(&self) -> f64 {
        (self.count / self.accepted.max(1.0)).min(MAX_SHARE)
    }

    /// A request was accepted.
    pub(super) fn on_accepted(&mut self, is_below_ceiling: bool) {
        self.budget = (self.budget + TOLERANCE * self.share()).min(MAX_BUDGET);
        if is_below_ceiling && self.count > 0.0 {
            self.accepted += 1.0;
            self.since += 1.0;
            if self.since * self.count > ENDED * (self.accepted - self.since) {
                *self = Self::default();
            }
        }
    }

    /// A request was answered with a 429. Returns whether the 429 was expected.
    pub(super) fn on_429(&mut self, is_below_ceiling: bool) -> bool {
        if is_below_ceiling && self.count > 0.0 {
            (self.count, self.since) = (self.count + 1.0, 0.0);
            if self.count > LATEST {
                (self.count, self.accepted) = (self.count / 2.0, self.accepted / 2.0);
            }
        }
        let is_expected = self.budget >= 1.0;
        self.budget = (self.budget - 1.0).max(0.0);
        is_expected
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn accept(unrelated: &mut Unrelated429s, requests: u32, is_below_ceiling: bool) {
        (0..requests).for_each(|_| unrelated.on_accepted(is_below_ceiling));
    }

    #[test]
    fn no_unrelated_429_is_expected_without_a_proof() {
        let mut unrelated = Unrelated429s::default();
        for is_below_ceiling in [true, false] {
            accept(&mut unrelated, 1_000, is_below_ceiling);
            assert!(!unrelated.on_429(is_below_ceiling));
        }
        assert_eq!(unrelated, Unrelated429s::default());
    }

    #[test]
    fn as_many_429s_are_expected_as_the_budget_has_and_it_grows_by_twice_the_share() {
        let mut unrelated = Unrelated429s::measured(2.0, 100.0);
        let expected = |unrelated: &mut Unrelated429s| (0..10).filter(|_| unrelated.on_429(false)).count();
        for (requests, expects) in [(0, 8), (24, 0), (26, 1), (50, 2), (1_000, 8)] {
            accept(&mut unrelated, requests, false);
            assert_eq!(expected(&mut unrelated), expects, "after {requests} more");
        }
        let mut often = Unrelated429s::measured(2.0, 4.0);
        expected(&mut often);
        accept(&mut often, 11, false);
        assert_eq!(expected(&mut often), 2, "of more than a tenth, a tenth is expected");
    }

    #[test]
    fn the_share_is_that_of_the_latest_429s_below_the_ceiling() {
        let mut unrelated = Unrelated429s::measured(2.0, 100.0);
        for _ in 0..200 {
            accept(&mut unrelated, 10, true);
            unrelated.on_429(true);
            accept(&mut unrelated, 100, false);
            unrelated.on_429(false);
        }
        assert!((0.095..=0.1).contains(&unrelated.share()), "{unrelated:?}");
    }

    #[test]
    fn unrelated_429s_have_ended_once_none_came_for_long() {
        let mut unrelated = Unrelated429s::measured(2.0, 100.0);
        accept(&mut unrelated, 10_000, false);
        accept(&mut unrelated, 600, true);
        assert!(unrelated.on_429(false));
        accept(&mut unrelated, 1, true);
        assert_eq!(unrelated, Unrelated429s::default());
    }
}
