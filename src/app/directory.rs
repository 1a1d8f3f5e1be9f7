//! The directory of accounts for the operators' listener.
//!
//! In: the registry of endpoints, and the configuration. Out: names, signals and rules.

use super::context::AppContext;
use crate::admin::{AccountDirectory, AccountWithWorker};
use crate::config::Config;
use crate::domain::AccountName;
use crate::http::{AccountEndpoint, AccountRegistry};
use crate::store::StoreError;
use async_trait::async_trait;
use std::sync::Arc;

/// Every account of the service.
pub(super) struct Directory {
    pub(super) context: AppContext,
    pub(super) registry: Arc<AccountRegistry>,
}

#[async_trait]
impl AccountDirectory for Directory {
    fn configured(&self) -> Vec<AccountWithWorker> {
        self.registry.configured().iter().map(|endpoint| account(endpoint)).collect()
    }

    fn unconfigured(&self) -> Option<Vec<AccountWithWorker>> {
        let endpoints = self.registry.unconfigured()?;
        Some(endpoints.iter().map(|endpoint| account(endpoint)).collect())
    }

    fn config(&self) -> Arc<Config> {
        self.context.config()
    }

    fn wake_accounts_with_pending_events(&self) {
        self.registry.wake_accounts_with_pending_events();
    }

    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError> {
        self.registry.remove_api_key(account).await
    }
}

fn account(endpoint: &AccountEndpoint) -> AccountWithWorker {
    AccountWithWorker { name: endpoint.account.clone(), signals: endpoint.signals.clone() }
}
