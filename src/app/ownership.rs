//! The task that renews the leases of this process, and wakes the workers of the accounts that it owns, including those that it takes over
//! from a dead process (failover).
//!
//! In: the accounts that this process can deliver for, and hints of the store. Out: renewals, and wake-ups. Invariants: the leases are
//! renewed while a delivery is in flight, also during shutdown; after the shutdown has begun, each account is given up when nothing of it
//! is in flight, so another process continues at once. There is no such task for a store that one process opens exclusively. Deliberately
//! absent: which accounts this process owns ([`crate::store::Ownership`]).

use crate::http::AccountRegistry;
use crate::store::{Hint, Store};
use crate::worker::Runtime;
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How often the API keys that other processes stored are read, in case a hint was lost.
const READ_API_KEYS_EVERY: Duration = Duration::from_secs(30);

struct RenewalLoop {
    store: Arc<dyn Store>,
    registry: Arc<AccountRegistry>,
    every: Duration,
    shutdown: CancellationToken,
    /// Whether the last renewal failed.
    failing: bool,
    api_keys_due: Instant,
}

/// Starts the task that renews the leases; none for a store that one process opens exclusively. It runs until it is aborted, also during
/// the shutdown of `runtime`. When the store is closed, it gives up the accounts without events in flight.
pub(super) fn start_lease_renewal(
    runtime: &Runtime,
    store: Arc<dyn Store>,
    registry: Arc<AccountRegistry>,
) -> Option<JoinHandle<Option<()>>> {
    let (every, shutdown) = (store.renew_every()?, runtime.shutdown.clone());
    let api_keys_due = Instant::now() + READ_API_KEYS_EVERY;
    let renewal = RenewalLoop { store, registry, every, shutdown, failing: false, api_keys_due };
    Some(tokio::spawn(runtime.essential(renewal.run())))
}

impl RenewalLoop {
    async fn run(mut self) {
        loop {
            self.renew().await;
            if self.api_keys_due <= Instant::now() {
                self.read_api_keys().await;
            }
            self.until_due(Instant::now() + self.every).await;
        }
    }

    /// Returns when the leases are due for renewal: at this moment, or before if something has changed.
    async fn until_due(&mut self, due: Instant) {
        let shutting_down = self.shutdown.is_cancelled();
        loop {
            tokio::select! {
                () = tokio::time::sleep_until(due) => return,
                () = self.shutdown.cancelled(), if !shutting_down => return,
                change = self.store.changed() => match change {
                    Hint::Owners => return,
                    Hint::Appended(accounts) => self.registry.wake(&accounts),
                    Hint::ApiKeys => self.read_api_keys().await,
                },
            }
        }
    }

    async fn renew(&mut self) {
        let shutting_down = self.shutdown.is_cancelled();
        let candidates = if shutting_down { BTreeSet::new() } else { self.registry.accounts() };
        match self.store.renew(&candidates).await {
            Ok(with_pending_events) => {
                if std::mem::take(&mut self.failing) {
                    tracing::info!("the leases on the accounts are renewed again");
                }
                self.registry.wake(&with_pending_events);
            }
            Err(error) => {
                if !std::mem::replace(&mut self.failing, true) {
                    tracing::error!(%error, "cannot renew the leases on the accounts; no call is made once they end");
                }
            }
        }
    }

    async fn read_api_keys(&mut self) {
        self.api_keys_due = Instant::now() + READ_API_KEYS_EVERY;
        if let Err(error) = self.registry.read_api_keys().await {
            tracing::debug!(%error, "cannot read the API keys that other processes stored; it is tried again later");
        }
    }
}
