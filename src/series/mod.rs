//! Time series in memory: the counts of the last hour by minute and of the last day by quarter of an hour, and the trend of the backlog.
//! The pages and `status` draw them.
//!
//! In: the counts of the metrics and the number of pending events, read every few seconds by a task, and at each request. Out: an
//! [`Activity`] for each account and for all of them. `ring` keeps intervals, `backlog_trend` estimates when a backlog will be empty (the
//! ETA); `reasons` has the reasons in words. Invariants: an event costs nothing here, because only the counters of the metrics are read;
//! the memory is bounded by a setting, because accounts that share a label in the metrics share their series, too. Deliberately absent:
//! durable counts. After a restart, the counts begin at [`Activity::since`].

mod activity;
mod backlog_trend;
mod reasons;
mod ring;

pub use activity::{Activity, ReasonCount, TimeSeries};
pub use backlog_trend::BacklogTrend;
pub use reasons::reason_in_words;

use crate::clock::Clock;
use crate::domain::Timestamp;
use crate::store::Store;
use crate::telemetry::{Metrics, Totals};
use backlog_trend::{BacklogSamples, estimate};
use parking_lot::{Mutex, MutexGuard};
use ring::Ring;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// How often the counts are read.
const SAMPLE_EVERY: Duration = Duration::from_secs(5);
const MINUTE: Duration = Duration::from_secs(60);
const MINUTES: usize = 60;
const QUARTER_HOUR: Duration = Duration::from_secs(15 * 60);
const QUARTER_HOURS: usize = 96;

/// The recorder of the series of this process. Cheap to clone; all clones share the series.
#[derive(Clone)]
pub struct SeriesRecorder(Arc<SharedRecorder>);

struct SharedRecorder {
    metrics: Metrics,
    store: Arc<dyn Store>,
    clock: Clock,
    since: Timestamp,
    recorded: Mutex<Recorded>,
}

/// The series of all accounts, and of each value of the label `account`.
struct Recorded {
    all: Series,
    accounts: BTreeMap<String, Series>,
}

/// The series of one value of the label `account`, or of all.
struct Series {
    /// The counts when they were last read.
    read: Totals,
    minutes: Ring<Totals>,
    quarter_hours: Ring<Totals>,
    backlog: BacklogSamples,
}

impl SeriesRecorder {
    /// A recorder that begins now, with the counts of `metrics` and the pending events of `store`.
    pub fn new(metrics: Metrics, store: Arc<dyn Store>, clock: Clock) -> Self {
        let since = clock.now();
        let recorded = Recorded { all: Series::new(since), accounts: BTreeMap::new() };
        Self(Arc::new(SharedRecorder { metrics, store, clock, since, recorded: Mutex::new(recorded) }))
    }

    /// Reads the counts every few seconds, until it is aborted.
    pub async fn run(self) {
        loop {
            drop(self.sampled());
            tokio::time::sleep(SAMPLE_EVERY).await;
        }
    }

    /// The activity of all accounts.
    pub fn all(&self) -> Activity {
        self.sampled().all.activity(self.0.since)
    }

    /// The activity of one account, or if it shares a label of the metrics with others, of all of these. `None`: the service has no such
    /// account.
    pub fn of(&self, account: &str) -> Option<Activity> {
        let label = self.0.metrics.label_of(account)?;
        self.sampled().accounts.get(&label).map(|series| series.activity(self.0.since))
    }

    /// The trend of the pending events of all accounts.
    pub fn backlog_trend_of_all(&self) -> BacklogTrend {
        estimate(&self.sampled().all.backlog)
    }

    /// The trend of each account with its own series, by its name.
    pub fn backlog_trends(&self) -> BTreeMap<String, BacklogTrend> {
        self.sampled().accounts.iter().map(|(name, series)| (name.clone(), estimate(&series.backlog))).collect()
    }

    /// The series, up to now.
    fn sampled(&self) -> MutexGuard<'_, Recorded> {
        let shared = &self.0;
        let mut recorded = shared.recorded.lock();
        let (now, pending) = (shared.clock.now(), shared.store.pending());
        let mut by_label: BTreeMap<String, u64> = BTreeMap::new();
        for (name, events) in &pending {
            if let Some(label) = shared.metrics.label_of(name) {
                *by_label.entry(label).or_default() += events;
            }
        }
        let mut sums = Totals::default();
        for (label, totals) in shared.metrics.totals() {
            sums.add(&totals);
            let pending = by_label.get(&label).copied().unwrap_or(0);
            recorded.accounts.entry(label).or_insert_with(|| Series::new(now)).record(now, totals, pending);
        }
        recorded.all.record(now, sums, pending.values().sum());
        recorded
    }
}

impl Series {
    fn new(now: Timestamp) -> Self {
        Self {
            read: Totals::default(),
            minutes: Ring::new(MINUTE, MINUTES, now),
            quarter_hours: Ring::new(QUARTER_HOUR, QUARTER_HOURS, now),
            backlog: BacklogSamples::default(),
        }
    }

    /// Adds the counts since the last reading to the intervals of `now`.
    fn record(&mut self, now: Timestamp, totals: Totals, pending: u64) {
        let more = totals.since(&self.read);
        self.minutes.at(now).add(&more);
        self.quarter_hours.at(now).add(&more);
        self.backlog.record(now, pending);
        self.read = totals;
    }

    fn activity(&self, since: Timestamp) -> Activity {
        Activity::new(since, &self.minutes, &self.quarter_hours)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_between_two_readings_are_in_the_interval_of_the_second() {
        let (minute, mut series) = (60_000, Series::new(Timestamp(0)));
        let counted = |accepted, delivered| Totals { accepted, delivered, ..Totals::default() };
        for (at, accepted, delivered) in [(0, 0, 0), (10_000, 5, 1), (50_000, 9, 9), (2 * minute + 1, 12, 12)] {
            series.record(Timestamp(at), counted(accepted, delivered), 0);
        }
        let hour = series.activity(Timestamp(0)).hour;
        let last = |counts: &[u64]| counts[counts.len() - 3..].to_vec();
        assert_eq!((last(&hour.accepted), last(&hour.delivered)), (vec![9, 0, 3], vec![9, 0, 3]));
        let day = series.activity(Timestamp(0)).day;
        assert_eq!((day.accepted.last(), day.accepted.iter().sum::<u64>()), (Some(&12), 12));
    }
}
