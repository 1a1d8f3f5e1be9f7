//! Latencies as counts in buckets, from which any quantile can be estimated.
//!
//! In: durations. Out: a copy of the counts ([`Latencies`]), and quantiles. Invariants: the bounds of the buckets never change and each is
//! a quarter above the one before, so an estimate is at most a quarter off; counting is one atomic addition. Deliberately absent:
//! Prometheus' histograms, whose counts this process cannot read.

use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

/// The number of buckets: the last one begins at 94 s.
const BUCKETS: usize = 52;
/// The upper bound of the first bucket, in seconds.
const FIRST_BOUND: f64 = 0.001;
/// The ratio of each bound to the one before.
const GROWTH: f64 = 1.25;

/// The counts of a meter. They only increase, and continue at 0 after four billion, so differences stay right.
#[derive(Debug)]
pub(super) struct LatencyCounters([AtomicU32; BUCKETS]);

/// Counts of latencies at a moment, or within a time.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Latencies([u32; BUCKETS]);

impl Default for LatencyCounters {
    fn default() -> Self {
        Self([const { AtomicU32::new(0) }; BUCKETS])
    }
}

impl Default for Latencies {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl LatencyCounters {
    pub(super) fn observe(&self, took: Duration) {
        self.0[bucket(took)].fetch_add(1, Ordering::Relaxed);
    }

    pub(super) fn read(&self) -> Latencies {
        Latencies(std::array::from_fn(|bucket| self.0[bucket].load(Ordering::Relaxed)))
    }
}

impl Latencies {
    /// The number of latencies.
    pub fn count(&self) -> u64 {
        self.0.iter().map(|counted| u64::from(*counted)).sum()
    }

    /// The counts since `earlier`.
    #[must_use]
    pub fn since(&self, earlier: &Self) -> Self {
        Self(std::array::from_fn(|bucket| self.0[bucket].wrapping_sub(earlier.0[bucket])))
    }

    /// Adds the counts of `other`.
    pub fn add(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(counted, more)| *counted = counted.wrapping_add(more));
    }

    /// The duration that this share of the latencies does not exceed; none if there are no latencies. `share` is from 0 to 1.
    pub fn quantile(&self, share: f64) -> Option<Duration> {
        let rank = self.0.iter().copied().map(f64::from).sum::<f64>() * share;
        let mut below = 0.0;
        for (bucket, counted) in self.0.iter().enumerate().filter(|(_, counted)| **counted > 0) {
            let counted = f64::from(*counted);
            if below + counted >= rank {
                let (from, to) = (lower_bound(bucket), lower_bound(bucket + 1));
                return Some(Duration::from_secs_f64(from + (to - from) * ((rank - below) / counted).clamp(0.0, 1.0)));
            }
            below += counted;
        }
        None
    }
}

/// The lower bound of a bucket, in seconds.
fn lower_bound(bucket: usize) -> f64 {
    match i32::try_from(bucket) {
        Ok(bucket @ 1..) => FIRST_BOUND * GROWTH.powi(bucket - 1),
        _ => 0.0,
    }
}

fn bucket(took: Duration) -> usize {
    let seconds = took.as_secs_f64();
    (1..BUCKETS).take_while(|bucket| lower_bound(*bucket) <= seconds).count()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_at_most_a_quarter_off() {
        for (name, millis) in [
            ("one", vec![40]),
            ("all the same", vec![120; 500]),
            ("evenly spread", (1..=1_000).collect()),
            ("a slow tail", [vec![20; 980], vec![2_500; 20]].concat()),
        ] {
            let counters = LatencyCounters::default();
            for ms in &millis {
                counters.observe(Duration::from_millis(*ms));
            }
            let latencies = counters.read();
            assert_eq!(latencies.count(), millis.len() as u64);
            for (share, index) in [(0.5, millis.len().div_ceil(2)), (0.99, (millis.len() * 99).div_ceil(100))] {
                let exact = Duration::from_millis(millis[index - 1]).as_secs_f64();
                let estimate = latencies.quantile(share).expect("a quantile").as_secs_f64();
                assert!((exact / 1.25..=exact * 1.25).contains(&estimate), "{name} {share}: {estimate} for {exact}");
            }
        }
    }

    #[test]
    fn every_duration_has_a_bucket_and_none_has_no_quantile() {
        for (took, expected) in
            [(Duration::ZERO, 0), (Duration::from_micros(999), 0), (Duration::from_millis(1), 1), (Duration::MAX, 51)]
        {
            assert_eq!(bucket(took), expected, "{took:?}");
        }
        assert_eq!(Latencies::default().quantile(0.5), None);
    }

    #[test]
    fn a_difference_has_the_durations_observed_between_two_readings() {
        let counters = LatencyCounters::default();
        counters.observe(Duration::from_millis(5));
        let earlier = counters.read();
        counters.observe(Duration::from_secs(3));
        let mut both = counters.read().since(&earlier);
        assert_eq!(both.count(), 1);
        assert!(both.quantile(0.5).expect("one") > Duration::from_secs(2));
        both.add(&earlier);
        assert_eq!(both, counters.read());
    }
}
