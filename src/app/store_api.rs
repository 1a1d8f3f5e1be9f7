//! The operators' API over a store on which no service runs, for the commands that open the store themselves.
//!
//! In: the open store, and the configuration. Out: the routes, without access control. Invariant: nothing is delivered, and no worker is
//! woken. Deliberately absent: parts that only a running service has, such as the state of its accounts and a reload.

use crate::account_signals::AccountSignals;
use crate::admin::{self, AccountDirectory, AccountWithWorker, Admin};
use crate::clock::Clock;
use crate::config::Config;
use crate::domain::AccountName;
use crate::scrape::Scraper;
use crate::series::SeriesRecorder;
use crate::store::{Store, StoreError};
use crate::telemetry::Metrics;
use async_trait::async_trait;
use axum::Router;
use std::sync::Arc;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;

/// The routes.
pub fn store_api(store: Arc<dyn Store>, config: &Config) -> Router {
    let (clock, metrics) = (Clock::start(), Metrics::default());
    admin::api(Arc::new(Admin {
        clock,
        started_at: clock.now(),
        scraper: Scraper::new(metrics.clone(), Arc::clone(&store)),
        series: SeriesRecorder::new(metrics.clone(), Arc::clone(&store), clock),
        metrics,
        reload: mpsc::channel(1).0,
        accounts: Arc::new(IdleAccounts { store: Arc::clone(&store), config: Arc::new(config.clone()) }),
        shutdown: CancellationToken::new(),
        store,
    }))
}

/// The configured accounts, none of which has a worker.
struct IdleAccounts {
    store: Arc<dyn Store>,
    config: Arc<Config>,
}

#[async_trait]
impl AccountDirectory for IdleAccounts {
    fn configured(&self) -> Vec<AccountWithWorker> {
        let accounts = self.config.every_account().into_iter();
        accounts.map(|account| AccountWithWorker { name: account.name, signals: AccountSignals::default() }).collect()
    }

    fn unconfigured(&self) -> Option<Vec<AccountWithWorker>> {
        None
    }

    fn config(&self) -> Arc<Config> {
        Arc::clone(&self.config)
    }

    fn wake_accounts_with_pending_events(&self) {}

    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError> {
        self.store.remove_api_key(account).await
    }
}
