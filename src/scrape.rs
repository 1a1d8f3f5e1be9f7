//! The metrics in Prometheus' text format, with the gauges of the moment of the scrape.
//!
//! In: the counts of [`Metrics`], the state of the accounts, and measurements of the store. Out: the text. Invariants: the store is
//! measured at most once in `MEASURE_EVERY`, however many scrapes and operators ask; if a measurement fails or takes longer than
//! `MEASURE_TIMEOUT`, the gauges of the store stay as they were, and the rest of the text is current. Deliberately absent: access control,
//! and the response.

use crate::account_signals::AccountSignals;
use crate::domain::{AccountName, Timestamp};
use crate::scheduling::HealthSnapshot;
use crate::store::{Measured, Store};
use crate::telemetry::{ExpositionFormat, Metrics, Observed, ObservedAccount, ObservedStore};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Mutex;
use tokio::time::timeout;

/// The shortest time between two measurements of the store.
const MEASURE_EVERY: Duration = Duration::from_secs(1);
/// How long measuring may delay a scrape; Prometheus waits 10 s by default.
const MEASURE_TIMEOUT: Duration = Duration::from_secs(5);

/// Answers scrapes.
pub struct Scraper {
    metrics: Metrics,
    store: Arc<dyn Store>,
    /// The last measurement, and its time.
    measured: Mutex<Option<(Instant, Measured)>>,
}

impl Scraper {
    /// A scraper of `metrics` and `store`.
    pub fn new(metrics: Metrics, store: Arc<dyn Store>) -> Self {
        Self { metrics, store, measured: Mutex::default() }
    }

    /// The text in `format`. `ready`: the answer of `/readyz`; `accounts`: the accounts that have a worker.
    pub async fn text<'a>(
        &self,
        format: ExpositionFormat,
        ready: bool,
        accounts: impl Iterator<Item = (&'a AccountName, &'a AccountSignals)>,
        now: Timestamp,
    ) -> String {
        let observed = |(name, signals): (&AccountName, _)| {
            (name.clone(), observed_account(signals, self.store.is_owner(name), now))
        };
        let accounts = accounts.map(observed).collect();
        let store = self.measured().await.map(|measured| observed_store(measured, now));
        let observed = Observed { ready, accounts, pending: self.store.pending(), store };
        self.metrics.text(format, &observed)
    }

    /// The latest measurement of the store, at most `MEASURE_EVERY` old; none if it cannot be measured.
    pub async fn measured(&self) -> Option<Measured> {
        let mut last = self.measured.lock().await;
        if last.as_ref().is_none_or(|(at, _)| at.elapsed() >= MEASURE_EVERY) {
            match timeout(MEASURE_TIMEOUT, self.store.measure()).await {
                Ok(Ok(measured)) => *last = Some((Instant::now(), measured)),
                Ok(Err(error)) => tracing::debug!(%error, "cannot measure the store"),
                Err(_) => tracing::debug!("measuring the store takes too long"),
            }
        }
        last.as_ref().map(|(_, measured)| measured.clone())
    }
}

fn observed_account(signals: &AccountSignals, is_owner: bool, now: Timestamp) -> ObservedAccount {
    ObservedAccount { is_owner, health: HealthSnapshot { state: signals.state(now), ..signals.health() } }
}

fn observed_store(measured: Measured, now: Timestamp) -> ObservedStore {
    let ages = measured.oldest_pending.into_iter().map(|(account, received_at)| (account, now.since(received_at)));
    ObservedStore {
        oldest_pending: ages.collect(),
        dead_letters: measured.dead_letters,
        remembered: measured.remembered.into_iter().map(|(name, size)| (name, (size.users, size.bytes))).collect(),
        remembered_dropped: measured.remembered_dropped,
        size: measured.size,
        free: measured.free,
        deduplication: (measured.deduplication_ids, measured.deduplication_bytes),
        ledger_dropped: measured.ledger_dropped,
    }
}
