//! The accounts of the service, as operators see them.
//!
//! In: a name. Out: the account, or an error. [`AccountDirectory`] is implemented by the assembly, which knows the accounts. An account is
//! known if it is `main`, if it is configured, if its API key arrived and is kept, or if the store ever had an event of it.

use super::Admin;
use super::account_gone::{in_use, is_kept};
use super::problem::Problem;
use crate::account_signals::AccountSignals;
use crate::config::Config;
use crate::domain::{AccountName, Timestamp};
use crate::scheduling::BreakerState;
use crate::store::StoreError;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The accounts of the service.
#[async_trait]
pub trait AccountDirectory: Send + Sync {
    /// The configured accounts; `main` is the first, if it exists.
    fn configured(&self) -> Vec<AccountWithWorker>;

    /// The accounts that are not configured and have a worker. `None` if only configured API keys are accepted.
    fn unconfigured(&self) -> Option<Vec<AccountWithWorker>>;

    /// The present configuration.
    fn config(&self) -> Arc<Config>;

    /// Wakes the worker of every account with pending events.
    fn wake_accounts_with_pending_events(&self);

    /// Removes the API key of an account that is not configured, and ends its worker; returns whether a key was stored. The account's
    /// events stay.
    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError>;
}

/// An account that has a worker.
#[derive(Clone, Debug)]
pub struct AccountWithWorker {
    /// Its name.
    pub name: AccountName,
    /// The state that its worker publishes.
    pub signals: AccountSignals,
}

/// Whether the events of an account are delivered.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum AccountState {
    /// The events are delivered.
    Running,
    /// Deliveries pause for a while: Refersion limits the calls, or seems to be down.
    Paused,
    /// Deliveries halt until Refersion accepts the API key.
    Halted,
    /// The account has no worker: it is not configured, and no event of it arrived since the start.
    NoWorker,
}

impl AccountState {
    /// The rank of an account in this state with so many `pending` events, if those in need come first.
    pub fn rank(self, pending: u64) -> u8 {
        match self {
            Self::Halted => 0,
            Self::Paused => 1,
            Self::NoWorker if pending > 0 => 2,
            Self::Running | Self::NoWorker => 3,
        }
    }
}

impl AccountWithWorker {
    /// Whether its events are delivered at `now`.
    pub(super) fn state(&self, now: Timestamp) -> AccountState {
        match self.signals.state(now) {
            BreakerState::Closed => AccountState::Running,
            BreakerState::Open { .. } | BreakerState::HalfOpen => AccountState::Paused,
            BreakerState::Halted { .. } => AccountState::Halted,
        }
    }
}

impl Admin {
    /// The names of the configured accounts.
    pub(super) fn configured_names(&self) -> Vec<AccountName> {
        self.accounts.configured().into_iter().map(|account| account.name).collect()
    }

    /// The account of this name, or a problem if no account has it.
    pub(super) async fn known_account(&self, name: &str) -> Result<AccountName, Problem> {
        let (account, configured) = (AccountName::from(name.to_owned()), self.configured_names());
        if account == AccountName::main()
            || configured.contains(&account)
            || self.store.knows_account(&account).await?
            || is_kept(&self.store.kept_api_keys().await?, &account)
        {
            return Ok(account);
        }
        Err(unknown(name, &configured))
    }

    /// The account of this name, or a problem if no events can be delivered to such an account.
    pub(super) async fn deliverable_account(&self, name: &str) -> Result<AccountName, Problem> {
        let (account, configured) = (AccountName::from(name.to_owned()), self.configured_names());
        match in_use(&configured, &self.store.kept_api_keys().await?, &account) {
            Some(_) => Ok(account),
            None => Err(unknown(name, &configured)),
        }
    }

    /// As [`Admin::known_account`], where an account is optional.
    pub(super) async fn known_account_if_given(&self, name: Option<&str>) -> Result<Option<AccountName>, Problem> {
        match name {
            Some(name) => Ok(Some(self.known_account(name).await?)),
            None => Ok(None),
        }
    }

    /// The account of this name; without a name, the first configured one.
    pub(super) async fn account_or_first(&self, name: Option<&str>) -> Result<AccountName, Problem> {
        if let Some(name) = name {
            return self.known_account(name).await;
        }
        let first = self.accounts.configured().into_iter().next().map(|account| account.name);
        first.ok_or_else(|| {
            Problem::InvalidRequest("`account` is missing: it is required where no account is configured".to_owned())
        })
    }
}

/// The most configured accounts that a problem names.
const NAMED: usize = 10;

/// There is no account of this name.
fn unknown(name: &str, configured: &[AccountName]) -> Problem {
    let named = configured.iter().take(NAMED).map(AccountName::as_str).collect::<Vec<_>>().join(", ");
    let named = if named.is_empty() { "none".to_owned() } else { named };
    let more = match configured.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    Problem::NotFound(format!("there is no account {name:?}; the configured accounts are: {named}{more}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_many_configured_accounts_a_problem_names_the_first_and_counts_the_others() {
        for (configured, listed) in [
            (0, "none".to_owned()),
            (2, "a0, a1".to_owned()),
            (10, "a0, a1, a2, a3, a4, a5, a6, a7, a8, a9".to_owned()),
            (1_000, "a0, a1, a2, a3, a4, a5, a6, a7, a8, a9 and 990 more".to_owned()),
        ] {
            let configured: Vec<AccountName> = (0..configured).map(|n| AccountName::from(format!("a{n}"))).collect();
            let Problem::NotFound(what) = unknown("x", &configured) else { panic!("another problem") };
            assert_eq!(what, format!("there is no account \"x\"; the configured accounts are: {listed}"));
        }
    }
}
