//! The activity of an account in the last hour and the last day, for the operators' API and the pages.

use super::reasons::reason_in_words;
use super::ring::Ring;
use crate::domain::Timestamp;
use crate::telemetry::{Latencies, Totals};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Counts of the last hour and the last day, in this process.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct Activity {
    /// Since when this process counts, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub since: Timestamp,
    /// The last hour, by minute.
    pub hour: TimeSeries,
    /// The last day, by quarter of an hour.
    pub day: TimeSeries,
    /// The reasons why events were answered with an error and not stored, as far as they occurred.
    pub refused: Vec<ReasonCount>,
    /// The reasons why there was nothing to do for events, as far as they occurred.
    pub ignored: Vec<ReasonCount>,
}

/// Counts by interval, the oldest interval first. The last interval is not complete yet.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TimeSeries {
    /// When the first interval began, in milliseconds since 1970.
    #[schema(value_type = i64)]
    pub from: Timestamp,
    /// The length of an interval.
    pub interval_seconds: u64,
    /// Events that were stored.
    pub accepted: Vec<u64>,
    /// Events that were delivered.
    pub delivered: Vec<u64>,
    /// Events for which there was nothing to do.
    pub ignored: Vec<u64>,
    /// Events that became dead letters.
    pub failed: Vec<u64>,
    /// Events that were answered with an error and not stored.
    pub refused: Vec<u64>,
    /// Failed attempts that will be retried.
    pub retried: Vec<u64>,
    /// Requests to Refersion.
    pub calls: Vec<u64>,
    /// The time in which half of them were answered, in seconds; `null` without a request.
    pub latency_p50: Vec<Option<f64>>,
    /// The time in which 99 % of them were answered, in seconds; `null` without a request.
    pub latency_p99: Vec<Option<f64>>,
}

/// The counts of a reason.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReasonCount {
    /// The reason, as in the metrics.
    pub reason: String,
    /// The reason in words, as the customer reads it.
    pub text: String,
    /// Events in the last hour.
    pub hour: u64,
    /// Events in the last day.
    pub day: u64,
}

impl Activity {
    pub(super) fn new(since: Timestamp, minutes: &Ring<Totals>, quarter_hours: &Ring<Totals>) -> Self {
        let (hour, day) = (sum(minutes), sum(quarter_hours));
        Self {
            since,
            hour: TimeSeries::new(minutes),
            day: TimeSeries::new(quarter_hours),
            refused: reasons(Totals::refusal_reasons(), &hour.refused, &day.refused),
            ignored: reasons(Totals::ignored_reasons(), &hour.ignored, &day.ignored),
        }
    }
}

impl TimeSeries {
    fn new(ring: &Ring<Totals>) -> Self {
        let counts = |count: &dyn Fn(&Totals) -> u64| ring.iter().map(count).collect();
        let latency = |share: f64| ring.iter().map(|totals| seconds(&totals.latencies, share)).collect();
        Self {
            from: ring.start(),
            interval_seconds: ring.length().as_secs(),
            accepted: counts(&|totals| totals.accepted),
            delivered: counts(&|totals| totals.delivered),
            ignored: counts(&|totals| totals.ignored.iter().sum()),
            failed: counts(&|totals| totals.failed),
            refused: counts(&|totals| totals.refused.iter().sum()),
            retried: counts(&|totals| totals.retried),
            calls: counts(&|totals| totals.latencies.count()),
            latency_p50: latency(0.5),
            latency_p99: latency(0.99),
        }
    }
}

fn sum(ring: &Ring<Totals>) -> Totals {
    let mut sum = Totals::default();
    ring.iter().for_each(|totals| sum.add(totals));
    sum
}

/// A latency in seconds, rounded to a tenth of a millisecond: the estimate is not more exact.
fn seconds(latencies: &Latencies, share: f64) -> Option<f64> {
    latencies.quantile(share).map(|latency| (latency.as_secs_f64() * 10_000.0).round() / 10_000.0)
}

/// The reasons that occurred within the day, the most frequent one first.
fn reasons<'a>(all: impl Iterator<Item = &'a str>, hour: &[u64], day: &[u64]) -> Vec<ReasonCount> {
    let count = |counts: &[u64], index: usize| counts.get(index).copied().unwrap_or(0);
    let counted = all.enumerate().map(|(index, reason)| ReasonCount {
        reason: reason.to_owned(),
        text: reason_in_words(reason),
        hour: count(hour, index),
        day: count(day, index),
    });
    let mut occurred: Vec<ReasonCount> = counted.filter(|counted| counted.hour.max(counted.day) > 0).collect();
    occurred.sort_by_key(|counted| std::cmp::Reverse((counted.day, counted.hour)));
    occurred
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_that_occurred_are_listed_the_most_frequent_one_first() {
        let counted = reasons(["a", "b", "c", "d"].into_iter(), &[0, 2, 0, 1], &[0, 2, 9, 4]);
        let brief: Vec<_> = counted.iter().map(|counted| (&*counted.reason, counted.hour, counted.day)).collect();
        assert_eq!(brief, [("c", 0, 9), ("d", 1, 4), ("b", 2, 2)]);
        assert_eq!(reasons(["a"].into_iter(), &[], &[]), []);
    }
}
