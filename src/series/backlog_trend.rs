//! The trend of a backlog: how fast it becomes smaller (its throughput), and when it will be empty (the forecast, its ETA).
//!
//! In: numbers of pending events, with their moments. Out: a [`BacklogTrend`]. The rate is measured over the time in which the backlog has
//! become smaller without interruption, if that is long enough, because the time in which a burst arrived shows nothing. Otherwise it is
//! measured over the whole window. Invariants: pure; a bounded number of samples; no estimate from a single sample. Deliberately absent:
//! pauses and halts of the account ([`crate::scheduling::AccountHealth`]).

use crate::domain::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::time::Duration;
use utoipa::ToSchema;

/// The shortest distance of two samples; closer ones count as one.
const APART: Duration = Duration::from_secs(4);
/// The sliding window: a minute of samples every five seconds.
const SAMPLES: usize = 13;
/// The number of consecutive samples with a shrinking backlog after which only these samples count.
const FALLING: usize = 3;
/// The longest estimate; a longer one would be a guess.
const LONGEST: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// The latest samples of the number of pending events.
#[derive(Clone, Debug, Default)]
pub(super) struct BacklogSamples(VecDeque<(Timestamp, u64)>);

/// How fast the pending events become fewer, as measured over a minute at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
#[schema(as = BacklogTrendStatus)]
pub struct BacklogTrend {
    /// By how many they become fewer in a second; below zero if they become more. `null` if the rate is not known.
    pub per_second: Option<f64>,
    /// The seconds until none is pending at the present rate; `null` if they do not become fewer, or the rate is not known.
    pub empty_in_seconds: Option<u64>,
}

impl BacklogSamples {
    /// Adds a sample: `pending` events are pending at `now`.
    pub(super) fn record(&mut self, now: Timestamp, pending: u64) {
        if self.0.back().is_some_and(|(last, _)| now.since(*last) < APART) {
            return;
        }
        self.0.push_back((now, pending));
        if self.0.len() > SAMPLES {
            self.0.pop_front();
        }
    }
}

/// The trend of the backlog, from its latest samples.
pub(super) fn estimate(backlog: &BacklogSamples) -> BacklogTrend {
    let samples: Vec<(Timestamp, u64)> = backlog.0.iter().copied().collect();
    let Some((now, pending)) = samples.last().copied() else { return BacklogTrend::default() };
    if pending == 0 {
        return BacklogTrend { per_second: None, empty_in_seconds: Some(0) };
    }
    let falls = samples.windows(2).rev().take_while(|pair| pair[1].1 < pair[0].1).count();
    let from = if falls >= FALLING { samples.len() - 1 - falls } else { 0 };
    let (then, before) = samples[from];
    let elapsed = now.since(then);
    if elapsed.is_zero() {
        return BacklogTrend::default();
    }
    let per_second = (float(before) - float(pending)) / elapsed.as_secs_f64();
    let seconds = float(pending) / per_second;
    let empty_in_seconds =
        (per_second > 0.0 && seconds <= LONGEST.as_secs_f64()).then(|| Duration::from_secs_f64(seconds).as_secs());
    // The rate is not more exact than to a tenth.
    let per_second = Some((per_second * 10.0).round() / 10.0);
    BacklogTrend { per_second, empty_in_seconds }
}

/// A backlog is bounded far below four billion.
fn float(events: u64) -> f64 {
    u32::try_from(events).unwrap_or(u32::MAX).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn seconds(trend: BacklogTrend) -> (Option<i64>, Option<u64>) {
        #[expect(clippy::cast_possible_truncation, reason = "small")]
        let rate = |rate: f64| rate.round() as i64;
        (trend.per_second.map(rate), trend.empty_in_seconds)
    }

    #[test]
    fn the_rate_and_the_time_until_it_is_empty_follow_from_the_latest_samples() {
        for (name, pending, expected) in [
            ("nothing was sampled", &[][..], (None, None)),
            ("one sample says nothing", &[500], (None, None)),
            ("it is empty", &[900, 400, 0], (None, Some(0))),
            ("it was always empty", &[0, 0], (None, Some(0))),
            ("it becomes smaller evenly", &[1_000, 900, 800, 700, 600], (Some(20), Some(30))),
            ("two samples are enough", &[1_000, 900], (Some(20), Some(45))),
            ("it grows", &[100, 200, 300, 400], (Some(-20), None)),
            ("it stays as it is", &[300, 300, 300], (Some(0), None)),
            (
                "after a burst only the time since counts",
                &[0, 0, 10_000, 20_000, 19_000, 18_000, 17_000],
                (Some(200), Some(85)),
            ),
            ("right after a burst it has grown", &[0, 20_000, 19_900], (Some(-1990), None)),
            ("it goes up and down", &[130, 110, 120, 100, 105], (Some(1), Some(84))),
            ("it hardly becomes smaller", &[4_000_000, 3_999_999], (Some(0), None)),
            ("after an interruption of the fall the window counts", &[900, 800, 700, 700, 690], (Some(11), Some(65))),
        ] {
            let mut backlog = BacklogSamples::default();
            (0..).zip(pending).for_each(|(index, pending)| backlog.record(Timestamp(index * 5_000), *pending));
            assert_eq!(seconds(estimate(&backlog)), expected, "{name}");
        }
    }

    #[test]
    fn samples_are_bounded_in_number_and_apart_whenever_they_are_taken() {
        let mut backlog = BacklogSamples::default();
        (0..100_000).for_each(|moment| backlog.record(Timestamp(moment), 1));
        assert_eq!(backlog.0.len(), SAMPLES);
        assert!(backlog.0.iter().zip(backlog.0.iter().skip(1)).all(|(one, next)| next.0.since(one.0) >= APART));
    }

    #[test]
    fn a_clock_that_goes_back_gives_no_estimate() {
        let backlog = BacklogSamples([(Timestamp(10_000), 5), (Timestamp(0), 3)].into());
        assert_eq!(estimate(&backlog), BacklogTrend::default());
    }
}
