//! The counts of a meter at a moment, to be compared with those at another.
//!
//! Deliberately absent: time series ([`crate::series`]).

use super::latency::Latencies;
use super::{RefusalReason, labels};

/// The counts of one value of the label `account` since the process began, or within a time.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Totals {
    /// Events appended to the log.
    pub accepted: u64,
    /// Events that were delivered.
    pub delivered: u64,
    /// Events that became dead letters.
    pub failed: u64,
    /// Attempts that failed and will be retried.
    pub retried: u64,
    /// Events that were answered with an error and not stored, in the order of [`Totals::refusal_reasons`].
    pub refused: Vec<u64>,
    /// Events for which there was nothing to do, in the order of [`Totals::ignored_reasons`].
    pub ignored: Vec<u64>,
    /// Requests to Refersion, by how long they took.
    pub latencies: Latencies,
}

impl Totals {
    /// The reasons for which an event is refused.
    pub fn refusal_reasons() -> impl Iterator<Item = &'static str> {
        RefusalReason::ALL.iter().map(|reason| reason.as_str())
    }

    /// The reasons for which there is nothing to do for an event.
    pub fn ignored_reasons() -> impl Iterator<Item = &'static str> {
        labels::ignored_reasons().map(crate::delivery::OutcomeCode::as_str)
    }

    /// The counts since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        let each = |now: &[u64], before: &[u64]| {
            let before = before.iter().chain(std::iter::repeat(&0));
            now.iter().zip(before).map(|(now, before)| now.saturating_sub(*before)).collect()
        };
        Self {
            accepted: self.accepted.saturating_sub(earlier.accepted),
            delivered: self.delivered.saturating_sub(earlier.delivered),
            failed: self.failed.saturating_sub(earlier.failed),
            retried: self.retried.saturating_sub(earlier.retried),
            refused: each(&self.refused, &earlier.refused),
            ignored: each(&self.ignored, &earlier.ignored),
            latencies: self.latencies.since(&earlier.latencies),
        }
    }

    /// Adds other counts.
    pub fn add(&mut self, more: &Self) {
        let each = |counts: &mut Vec<u64>, more: &[u64]| {
            counts.resize(counts.len().max(more.len()), 0);
            counts.iter_mut().zip(more).for_each(|(count, more)| *count += more);
        };
        self.accepted += more.accepted;
        self.delivered += more.delivered;
        self.failed += more.failed;
        self.retried += more.retried;
        each(&mut self.refused, &more.refused);
        each(&mut self.ignored, &more.ignored);
        self.latencies.add(&more.latencies);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_difference_added_to_the_earlier_counts_gives_the_later_ones() {
        let earlier = Totals { accepted: 7, refused: vec![1, 0], ..Totals::default() };
        let later = Totals {
            accepted: 9,
            delivered: 4,
            failed: 1,
            retried: 2,
            refused: vec![1, 5],
            ignored: vec![3],
            ..Totals::default()
        };
        let mut sum = earlier.clone();
        sum.add(&later.since(&earlier));
        assert_eq!(sum, later);
        assert_eq!(later.since(&Totals::default()), later);
    }
}
