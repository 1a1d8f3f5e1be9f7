//! A ring of intervals of equal length, of which the latest ones are kept.
//!
//! In: moments. Out: the interval of a moment, and all intervals in order. Invariants: the number of intervals never changes; an interval
//! begins at a multiple of its length since 1970, so an interval of a minute is a minute of the clock; a moment before the latest interval
//! counts as within it.

use crate::domain::Timestamp;
use std::collections::VecDeque;
use std::time::Duration;

/// The latest intervals, each with a value.
#[derive(Clone, Debug)]
pub(super) struct Ring<T> {
    /// The length of an interval, in milliseconds.
    length: i64,
    /// The number of the latest interval, counted from 1970.
    latest: i64,
    /// The intervals, the oldest first; never empty.
    intervals: VecDeque<T>,
}

impl<T: Default> Ring<T> {
    /// `count` intervals of this length, the last of which is that of `now`.
    pub(super) fn new(length: Duration, count: usize, now: Timestamp) -> Self {
        let length = i64::try_from(length.as_millis()).unwrap_or(i64::MAX).max(1);
        let intervals = std::iter::repeat_with(T::default).take(count.max(1)).collect();
        Self { length, latest: now.0.div_euclid(length), intervals }
    }

    /// The value of the interval of `now`. Drops intervals that no longer fit into the ring.
    pub(super) fn at(&mut self, now: Timestamp) -> &mut T {
        let interval = now.0.div_euclid(self.length);
        let passed = usize::try_from(interval.saturating_sub(self.latest)).unwrap_or(0);
        for _ in 0..passed.min(self.intervals.len()) {
            self.intervals.pop_front();
            self.intervals.push_back(T::default());
        }
        self.latest = self.latest.max(interval);
        let last = self.intervals.len() - 1;
        &mut self.intervals[last]
    }

    /// The length of an interval.
    pub(super) fn length(&self) -> Duration {
        Duration::from_millis(self.length.unsigned_abs())
    }

    /// When the oldest interval began.
    pub(super) fn start(&self) -> Timestamp {
        let before = i64::try_from(self.intervals.len()).unwrap_or(i64::MAX) - 1;
        Timestamp(self.latest.saturating_sub(before).saturating_mul(self.length))
    }

    /// The values, the oldest first.
    pub(super) fn iter(&self) -> impl Iterator<Item = &T> {
        self.intervals.iter()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A ring of three seconds in which each of `moments` (in milliseconds) was counted.
    fn counted(moments: &[i64]) -> (Vec<u32>, i64) {
        let mut ring: Ring<u32> = Ring::new(Duration::from_secs(1), 3, Timestamp(0));
        for moment in moments {
            *ring.at(Timestamp(*moment)) += 1;
        }
        (ring.iter().copied().collect(), ring.start().0)
    }

    #[test]
    fn the_latest_intervals_are_kept_and_those_without_anything_are_empty() {
        for (name, moments, expected, start) in [
            ("nothing", &[][..], [0, 0, 0], -2_000),
            ("within one interval", &[0, 1, 999], [0, 0, 3], -2_000),
            ("one after the other", &[0, 1_000, 2_000], [1, 1, 1], 0),
            ("the oldest is dropped", &[0, 1_000, 2_000, 3_000], [1, 1, 1], 1_000),
            ("a gap", &[0, 2_500], [1, 0, 1], 0),
            ("a gap longer than the ring", &[0, 1_000_000], [0, 0, 1], 998_000),
            ("a clock that goes back", &[5_000, 1_000], [0, 0, 2], 3_000),
            ("the end of time", &[0, i64::MAX], [0, 0, 1], (i64::MAX / 1_000 - 2) * 1_000),
        ] {
            assert_eq!(counted(moments), (expected.to_vec(), start), "{name}");
        }
    }
}
