//! The periodic tasks of an open store: compaction, the ledger, and test commits.
//!
//! In: the store, and the clock. Out: futures, which the assembly spawns ([`super`]). Invariant: a failure ends none of them; the next turn
//! tries again. The ledger's ends at the shutdown; the others have no end and are aborted.

use crate::clock::Clock;
use crate::store::{Retention, Store};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::sync::CancellationToken;

/// How long entries of the ledger are collected before they are written together.
const WRITE_LEDGER_AFTER: Duration = Duration::from_secs(1);
/// How often the store makes a test commit, so that health is up to date while no event arrives.
const PROBE_EVERY: Duration = Duration::from_secs(5);

/// Compacts the store at intervals. A failure is logged when it begins and when it is over: meanwhile, erased content (for instance in a
/// WAL that cannot be emptied) is still on the disk.
pub(super) async fn compact(store: Arc<dyn Store>, clock: Clock, (deduplication, ledger): (Duration, Duration)) {
    let mut failing = false;
    loop {
        tokio::time::sleep(store.compaction_interval()).await;
        match store.compact(Retention::new(clock.now(), deduplication, ledger)).await {
            // The store itself reports that it cannot be written.
            Err(error) if store.status().write_error.is_none() && !std::mem::replace(&mut failing, true) => {
                tracing::warn!(%error, "cannot compact the store; until it can, erased content may be left on the disk");
            }
            Err(error) => tracing::debug!(%error, "cannot compact the store"),
            Ok(()) if std::mem::take(&mut failing) => tracing::info!("the store is compacted again"),
            Ok(()) => {}
        }
    }
}

/// Writes the ledger until `shutdown`. The store writes later entries when it is closed.
pub(super) async fn write_ledger(store: Arc<dyn Store>, shutdown: CancellationToken) {
    let due = async || {
        store.recorded().recorded().await;
        tokio::time::sleep(WRITE_LEDGER_AFTER).await;
    };
    while shutdown.run_until_cancelled(due()).await.is_some() {
        if let Err(error) = store.write_recorded().await {
            tracing::debug!(%error, "cannot write the results of events to the ledger; it is tried again");
        }
    }
}

/// Makes test commits at intervals.
pub(super) async fn probe(store: Arc<dyn Store>) {
    loop {
        // Err: the store logs its first failure, and `/readyz` reports the failure while it lasts.
        let _ = store.probe().await;
        tokio::time::sleep(PROBE_EVERY).await;
    }
}
