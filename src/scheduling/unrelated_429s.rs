//! The 429s of an account that are not about its rate, of which a flaky proxy sends some, or another client of the account: whether
//! one more is one of them.
//!
//! In: accepted requests and 429s, and whether the rate was below what was accepted before. Out: whether a 429 is to be expected. The
//! share of such 429s is measured where a rate limit sends none: below the ceiling of [`super::rate_search`], which has proved that there
//! are any. By that share grows a budget (a token bucket, as of retries) of which each 429 takes one; a 429 for which none is left is
//! about the rate. So the more 429s a rate draws beyond the share, the sooner it is blamed. Invariant: before there is a proof no 429 is
//! expected. Deliberately absent: the proof and what a 429 does to the rate ([`super::rate_search`]), and to the account
//! ([`super::AccountHealth`]).

/// A higher share is not expected: whoever rejects more requests than that wants fewer of them.
const MAX_SHARE: f64 = 0.1;
/// The budget grows by so many times the share, up to so many. Chance alone then uses it up once in 20,000 such 429s.
const TOLERANCE: f64 = 2.0;
const MAX_BUDGET: f64 = 8.0;
/// The share is that of the latest 429s, between half of and all of so many.
const LATEST: f64 = 32.0;
/// If none came for so many times the requests that are usual between two, they have ended: chance does that once in 160,000.
const ENDED: f64 = 12.0;

/// What is known of them; saved across restarts.
#[derive(Clone, Copy, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
#[serde(default)]
pub struct Unrelated429s {
    /// How many came below the ceiling; none if there is no proof of any.
    pub count: f64,
    /// How many requests were accepted below it.
    pub accepted: f64,
    /// How many of these since the latest 429 that counts.
    since: f64,
    budget: f64,
}

impl Unrelated429s {
    /// There is a proof: so many such 429s came, and so many requests were accepted.
    pub(super) fn proved(count: f64, accepted: f64) -> Self {
        Self { count, accepted, since: 0.0, budget: MAX_BUDGET }
    }

    /// Of requests, this share is answered with a 429 that is not about the rate.
    fn share(&self) -> f64 {
        (self.count / self.accepted.max(1.0)).min(MAX_SHARE)
    }

    /// A request was accepted.
    pub(super) fn on_accepted(&mut self, is_below: bool) {
        self.budget = (self.budget + TOLERANCE * self.share()).min(MAX_BUDGET);
        if is_below && self.count > 0.0 {
            self.accepted += 1.0;
            self.since += 1.0;
            if self.since * self.count > ENDED * (self.accepted - self.since) {
                *self = Self::default();
            }
        }
    }

    /// A request was answered with a 429. Returns whether it was to be expected.
    pub(super) fn expects_429(&mut self, is_below: bool) -> bool {
        if is_below && self.count > 0.0 {
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

    fn accept(unrelated: &mut Unrelated429s, requests: u32, is_below: bool) {
        (0..requests).for_each(|_| unrelated.on_accepted(is_below));
    }

    #[test]
    fn without_a_proof_none_is_expected() {
        let mut unrelated = Unrelated429s::default();
        for is_below in [true, false] {
            accept(&mut unrelated, 1_000, is_below);
            assert!(!unrelated.expects_429(is_below));
        }
        assert_eq!(unrelated, Unrelated429s::default());
    }

    #[test]
    fn as_many_are_expected_as_the_budget_has_and_it_grows_by_twice_the_share() {
        let mut unrelated = Unrelated429s::proved(2.0, 100.0);
        let expected = |unrelated: &mut Unrelated429s| (0..10).filter(|_| unrelated.expects_429(false)).count();
        for (requests, expects) in [(0, 8), (24, 0), (26, 1), (50, 2), (1_000, 8)] {
            accept(&mut unrelated, requests, false);
            assert_eq!(expected(&mut unrelated), expects, "after {requests} more");
        }
        let mut often = Unrelated429s::proved(2.0, 4.0);
        expected(&mut often);
        accept(&mut often, 11, false);
        assert_eq!(expected(&mut often), 2, "of more than a tenth, a tenth is expected");
    }

    #[test]
    fn the_share_is_that_of_the_latest_below_the_ceiling() {
        let mut unrelated = Unrelated429s::proved(2.0, 100.0);
        for _ in 0..200 {
            accept(&mut unrelated, 10, true);
            unrelated.expects_429(true);
            accept(&mut unrelated, 100, false);
            unrelated.expects_429(false);
        }
        assert!((0.095..=0.1).contains(&unrelated.share()), "{unrelated:?}");
    }

    #[test]
    fn they_have_ended_once_none_came_for_long() {
        let mut unrelated = Unrelated429s::proved(2.0, 100.0);
        accept(&mut unrelated, 10_000, false);
        accept(&mut unrelated, 600, true);
        assert!(unrelated.expects_429(false));
        accept(&mut unrelated, 1, true);
        assert_eq!(unrelated, Unrelated429s::default());
    }
}
