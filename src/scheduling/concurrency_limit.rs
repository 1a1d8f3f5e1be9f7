//! The concurrency limit of an account: the most requests in flight, adapted by AIMD (additive increase, multiplicative decrease) with slow
//! start.
//!
//! In: replies. Out: a number. Refersion publishes no limit, so it is found as TCP's congestion control finds the capacity of a path. The
//! limit begins at two and doubles with each round of successes until the first overload. An overload halves it, and from then on each
//! round of successes adds one. [`super::AccountHealth`] decides what an overload is (an outage; a 429 while no rate is known). Invariants:
//! the limit is between one and the configured ceiling (`REFERSION_CONCURRENCY`); replies to requests that were in flight when it was
//! halved do not halve it again. Deliberately absent: counting the requests in flight ([`super::AccountHealth`]).

/// The concurrency limit of one account.
#[derive(Clone, Debug, PartialEq)]
pub struct ConcurrencyLimit {
    ceiling: f64,
    limit: f64,
    /// Whether there was no overload yet.
    slow_start: bool,
    /// The number of halvings.
    epoch: u64,
}

/// The number of halvings before a request began.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Epoch(u64);

/// The limit at the beginning.
const START: f64 = 2.0;

impl ConcurrencyLimit {
    /// A limit of at most `ceiling` requests; a ceiling of zero counts as one. `found`: the limit that was [found](Self::found) before;
    /// with zero, or any value up to two, the search begins anew.
    pub fn new(ceiling: usize, found: f64) -> Self {
        let (ceiling, slow_start) = (at_least_one(ceiling), !found.is_finite() || found <= START);
        let limit = if slow_start { START } else { found };
        Self { ceiling, limit: limit.min(ceiling), slow_start, epoch: 0 }
    }

    /// The limit to save.
    pub fn found(&self) -> f64 {
        self.limit
    }

    /// The most requests in flight now: at least one.
    pub fn limit(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between one and the ceiling")]
        let limit = self.limit as usize;
        limit.max(1)
    }

    /// Changes the ceiling.
    pub fn set_ceiling(&mut self, ceiling: usize) {
        self.ceiling = at_least_one(ceiling);
        self.limit = self.limit.min(self.ceiling);
    }

    /// The epoch of a request that begins now.
    pub fn begin(&self) -> Epoch {
        Epoch(self.epoch)
    }

    /// A request succeeded.
    pub fn on_success(&mut self) {
        let step = if self.slow_start { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + step).min(self.ceiling);
    }

    /// A reply to a request that began in `epoch` shows an overload.
    pub fn on_overload(&mut self, epoch: Epoch) {
        if epoch.0 == self.epoch {
            self.epoch += 1;
            self.slow_start = false;
            self.limit = (self.limit / 2.0).max(1.0);
        }
    }
}

#[expect(clippy::cast_precision_loss, reason = "ceilings are small")]
fn at_least_one(ceiling: usize) -> f64 {
    ceiling.max(1) as f64
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(limit: &mut ConcurrencyLimit, successes: usize) -> usize {
        (0..successes).for_each(|_| limit.on_success());
        limit.limit()
    }

    #[test]
    fn the_limit_doubles_until_the_first_overload_then_grows_by_one_a_round() {
        let mut limit = ConcurrencyLimit::new(64, 0.0);
        let doublings: Vec<usize> = [0, 2, 4, 8].into_iter().map(|successes| after(&mut limit, successes)).collect();
        assert_eq!(doublings, [2, 4, 8, 16]);
        limit.on_overload(limit.begin());
        assert_eq!(limit.limit(), 8);
        assert_eq!([after(&mut limit, 9), after(&mut limit, 10)], [9, 10], "one more after each round");
    }

    #[test]
    fn one_overload_halves_once_however_many_requests_met_it() {
        let mut limit = ConcurrencyLimit::new(16, 0.0);
        after(&mut limit, 100);
        let began = limit.begin();
        (0..16).for_each(|_| limit.on_overload(began));
        assert_eq!(limit.limit(), 8);
        limit.on_overload(limit.begin());
        assert_eq!(limit.limit(), 4);
    }

    #[test]
    fn the_limit_stays_between_one_and_its_ceiling() {
        let mut limit = ConcurrencyLimit::new(3, 0.0);
        assert_eq!(after(&mut limit, 1_000), 3);
        for _ in 0..100 {
            limit.on_overload(limit.begin());
        }
        assert_eq!(limit.limit(), 1);
        assert_eq!(ConcurrencyLimit::new(0, 0.0).limit(), 1);
        assert_eq!(after(&mut ConcurrencyLimit::new(1, 0.0), 10), 1);
    }
}
