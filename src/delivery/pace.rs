//! How many requests at once: found out, since Refersion publishes no limit.
//!
//! Slow start, then additive increase, multiplicative decrease, as TCP finds the capacity of a path: from two requests
//! the pace doubles with each round of good answers until the first trouble (429, 5xx, a timeout); trouble halves it, and
//! from then on each round adds one. Invariants: between one and the configured ceiling; the answers to calls that were
//! already under way when it was halved do not halve it again. Pure.

/// The pace of one account.
#[derive(Clone, Debug, PartialEq)]
pub struct Pace {
    ceiling: f64,
    limit: f64,
    /// Whether no trouble was met yet.
    starting: bool,
    /// Numbers the rounds between two halvings; a request belongs to the round in which it began.
    round: u64,
}

/// Which round a request began in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Round(u64);

/// Where the pace begins.
const START: f64 = 2.0;

impl Pace {
    /// A pace that never exceeds `ceiling` requests at once; a ceiling of zero counts as one.
    pub fn new(ceiling: usize) -> Self {
        #[expect(clippy::cast_precision_loss, reason = "ceilings are small")]
        let ceiling = ceiling.max(1) as f64;
        Self { ceiling, limit: START.min(ceiling), starting: true, round: 0 }
    }

    /// How many requests may be under way now: at least one.
    pub fn limit(&self) -> usize {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between one and the ceiling")]
        let limit = self.limit as usize;
        limit.max(1)
    }

    /// A request begins.
    pub fn begin(&self) -> Round {
        Round(self.round)
    }

    /// Refersion answered well.
    pub fn good(&mut self) {
        let step = if self.starting { 1.0 } else { 1.0 / self.limit };
        self.limit = (self.limit + step).min(self.ceiling);
    }

    /// Refersion answered 429 or 5xx, or not at all, to a request that began in `round`. Says whether the pace was halved.
    pub fn bad(&mut self, round: Round) -> bool {
        if round.0 < self.round {
            return false;
        }
        self.round += 1;
        self.starting = false;
        self.limit = (self.limit / 2.0).max(1.0);
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn after(pace: &mut Pace, good: usize) -> usize {
        (0..good).for_each(|_| pace.good());
        pace.limit()
    }

    #[test]
    fn the_pace_doubles_until_the_first_trouble_then_grows_by_one_a_round() {
        let mut pace = Pace::new(64);
        let doublings: Vec<usize> = [0, 2, 4, 8].into_iter().map(|answers| after(&mut pace, answers)).collect();
        assert_eq!(doublings, [2, 4, 8, 16]);
        assert!(pace.bad(pace.begin()));
        assert_eq!(pace.limit(), 8);
        assert_eq!([after(&mut pace, 9), after(&mut pace, 10)], [9, 10], "one more after each round");
    }

    #[test]
    fn one_trouble_halves_once_however_many_calls_met_it() {
        let mut pace = Pace::new(16);
        after(&mut pace, 100);
        let began = pace.begin();
        assert_eq!([began; 16].map(|round| pace.bad(round)).iter().filter(|halved| **halved).count(), 1);
        assert_eq!(pace.limit(), 8);
        assert!(pace.bad(pace.begin()));
        assert_eq!(pace.limit(), 4);
    }

    #[test]
    fn the_pace_stays_between_one_and_its_ceiling() {
        let mut pace = Pace::new(3);
        assert_eq!(after(&mut pace, 1_000), 3);
        for _ in 0..100 {
            pace.bad(pace.begin());
        }
        assert_eq!(pace.limit(), 1);
        assert_eq!(Pace::new(0).limit(), 1);
        assert_eq!(after(&mut Pace::new(1), 10), 1);
    }
}
