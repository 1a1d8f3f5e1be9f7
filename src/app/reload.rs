//! Reload: takes another configuration while the service runs.
//!
//! In: a way to read the configuration again, and requests to do so: a signal, or the changed file of a secret. Out: other endpoints,
//! keys and settings in place of the present ones. Invariants: a configuration is taken as a whole or, with its problems logged, not at
//! all; no request is dropped, because the endpoints are replaced at once and each request goes on with the one it was given; an account
//! has one worker as long as the process runs, which an account that is removed retires and one that is added again revives, so that
//! never two deliver for it. Settings that take effect at a start stay as they are, and are named. Deliberately absent: reading the
//! environment ([`crate::cli`]), and what differs ([`crate::config::Change`]).

use super::context::AppContext;
use super::merchant_registry::{MerchantRegistry, new_pool};
use crate::account_signals::AccountSignals;
use crate::config::{AccountConfig, Change, Config, Problems, Warning};
use crate::domain::{AccountName, ApiKey};
use crate::http::{AccountEndpoint, AccountRegistry};
use crate::refersion::{BuildError, Client, ConnectionPool};
use crate::telemetry;
use crate::worker::Worker;
use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Mutex, Notify};

/// Reads the configuration as the start did.
pub type LoadConfig = Box<dyn Fn() -> Result<(Config, Vec<Warning>), Problems> + Send + Sync>;

/// Whether and when the configuration is read again.
#[derive(Default)]
pub struct Reloading {
    /// Reads it. `None`: it cannot be read again.
    pub load: Option<LoadConfig>,
    /// Notified when it is to be read again.
    pub requested: Arc<Notify>,
}

/// How often the files of secrets are looked at.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReloadError {
    /// It is not valid.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// An account that is configured and one whose key arrived would be the same, so that two workers would deliver for it.
    #[error(
        "accounts.{0}: an account of this name is added and removed by a restart only, because its key may have arrived with a request"
    )]
    NeedsRestart(AccountName),
    /// The client of an account cannot be made.
    #[error(transparent)]
    Client(#[from] BuildError),
    /// The service was started without a way to read its configuration again.
    #[error("the configuration of a trial cannot be read again")]
    Trial,
}

/// The worker of an account that is or was configured, and what connects it to its endpoints.
pub(super) struct ConfiguredAccount {
    pub(super) key: ApiKey,
    pub(super) signals: AccountSignals,
    pub(super) worker: Worker,
}

/// The workers of all accounts that are or were configured.
pub(super) type ConfiguredAccounts = BTreeMap<AccountName, ConfiguredAccount>;

/// Takes other configurations.
pub(super) struct Reloader {
    reloading: Reloading,
    context: AppContext,
    registry: Arc<AccountRegistry>,
    merchants: Option<MerchantRegistry>,
    /// Held during a reload.
    accounts: Mutex<ConfiguredAccounts>,
}

impl Reloader {
    pub(super) fn new(
        reloading: Reloading,
        context: AppContext,
        registry: Arc<AccountRegistry>,
        merchants: Option<MerchantRegistry>,
        accounts: ConfiguredAccounts,
    ) -> Self {
        Self { reloading, context, registry, merchants, accounts: Mutex::new(accounts) }
    }

    /// Reloads whenever that is requested, or the content of a secret's file has changed.
    pub(super) async fn run(self: Arc<Self>) {
        let mut files = self.secret_files();
        loop {
            tokio::select! {
                () = self.reloading.requested.notified() => {}
                () = tokio::time::sleep(LOOK_EVERY) => if self.secret_files() == files {
                    continue;
                } else {
                    tracing::info!("the file of a secret has changed");
                },
            }
            files = self.secret_files();
            // Err: it was logged.
            let _ = self.reload().await;
        }
    }

    /// Reads the configuration again, and takes it; what has changed. The result is logged and counted.
    pub(super) async fn reload(&self) -> Result<Vec<Change>, ReloadError> {
        let mut accounts = self.accounts.lock().await;
        let reloaded = self.try_reload(&mut accounts);
        match &reloaded {
            Ok(changes) => log_changes(changes),
            Err(error) => log_refusal(error),
        }
        self.context
            .metrics
            .config_reloaded(reloaded.is_ok(), reloaded.as_ref().is_ok_and(|changes| !changes.is_empty()));
        reloaded
    }

    fn try_reload(&self, accounts: &mut ConfiguredAccounts) -> Result<Vec<Change>, ReloadError> {
        let load = self.reloading.load.as_ref().ok_or(ReloadError::Trial)?;
        let (new, warnings) = load()?;
        let old = self.context.config();
        let changes = old.changes(&new);
        if changes.is_empty() {
            return Ok(changes);
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let config = Arc::new(old.reloaded(new));
        let configured = config.every_account();
        self.check_names(&old.every_account(), &configured)?;
        let names: Vec<AccountName> = configured.iter().map(|account| account.name.clone()).collect();
        let clients = self.connect(&config, &configured, accounts)?;
        let pool = new_pool(&config)?;
        self.context.set_config(Arc::clone(&config));
        self.registry.replace_configured(self.take_settings(configured, clients, accounts));
        for (_, removed) in accounts.iter().filter(|(name, _)| !names.contains(name)) {
            removed.worker.retire();
        }
        if let Some(merchants) = &self.merchants {
            merchants.take_settings(pool);
        }
        telemetry::set_filter(&config.log.filter);
        self.registry.wake_accounts_with_pending_events();
        Ok(changes)
    }

    /// An account with the name of one whose key arrived would get a second worker.
    fn check_names(&self, old: &[AccountConfig], new: &[AccountConfig]) -> Result<(), ReloadError> {
        let has = |accounts: &[AccountConfig], name: &AccountName| accounts.iter().any(|account| account.name == *name);
        let added = new.iter().filter(|account| !has(old, &account.name));
        let removed = old.iter().filter(|account| !has(new, &account.name));
        let mut arrived = added.chain(removed).filter(|account| account.name.as_str().starts_with("key-"));
        match arrived.next().filter(|_| self.merchants.is_some()) {
            Some(account) => Err(ReloadError::NeedsRestart(account.name.clone())),
            None => Ok(()),
        }
    }

    /// A client for each account, and a worker for each that has none yet.
    fn connect(
        &self,
        config: &Config,
        configured: &[AccountConfig],
        accounts: &mut ConfiguredAccounts,
    ) -> Result<Vec<Client>, ReloadError> {
        let client = |account: &AccountConfig| {
            ConnectionPool::new(&account.base_url, config.refersion.timeout)?.client(&account.api_key)
        };
        let clients: Vec<Client> = configured.iter().map(client).collect::<Result<_, _>>()?;
        let mut added = ConfiguredAccounts::new();
        for account in configured.iter().filter(|account| !accounts.contains_key(&account.name)) {
            let (signals, meter) = (AccountSignals::default(), self.context.metrics.of(&account.name));
            let worker = self.context.new_worker(account, client(account)?, signals.clone(), meter);
            let key = account.api_key.clone();
            added.insert(account.name.clone(), ConfiguredAccount { key, signals, worker });
        }
        accounts.extend(added);
        Ok(clients)
    }

    /// Every worker takes its client and its settings; the endpoints that go with them.
    fn take_settings(
        &self,
        configured: Vec<AccountConfig>,
        clients: Vec<Client>,
        accounts: &mut ConfiguredAccounts,
    ) -> Vec<AccountEndpoint> {
        let mut endpoints = Vec::new();
        for (account, client) in configured.into_iter().zip(clients) {
            let Some(known) = accounts.get_mut(&account.name) else { continue };
            let is_new_key = !known.key.is_same_pair(&account.api_key);
            known.worker.replace_client(client, is_new_key);
            known.key = account.api_key.clone();
            known.worker.revive(self.context.delivery_settings(&account));
            let (signals, meter) = (known.signals.clone(), self.context.metrics.of(&account.name));
            endpoints.push(self.context.new_endpoint(account, signals, known.worker.clone(), meter));
        }
        endpoints
    }

    /// A digest of the contents of all files of secrets.
    fn secret_files(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        for path in self.context.config().secret_files() {
            (path, std::fs::read(path).ok()).hash(&mut digest);
        }
        digest.finish()
    }
}

fn log_changes(changes: &[Change]) {
    if changes.is_empty() {
        tracing::info!("the configuration was read again: nothing has changed");
    }
    for change in changes {
        if change.needs_restart {
            tracing::warn!("the configuration has changed: {change}");
        } else {
            tracing::info!("the configuration has changed: {change}");
        }
    }
}

/// One line for each problem.
fn log_refusal(error: &ReloadError) {
    match error {
        ReloadError::Trial => tracing::warn!("{error}"),
        ReloadError::Problems(problems) => {
            for problem in problems.iter() {
                tracing::error!("the configuration is refused, and the former one goes on: {problem}");
            }
        }
        error => tracing::error!("the configuration is refused, and the former one goes on: {error}"),
    }
}
