//! Reload (hot reload): takes another configuration while the service runs, without downtime.
//!
//! In: a function that reads the configuration again, and requests to do so: a signal, an operator's request, or a changed file of a
//! secret, for instance of a rotated API key. Out: new endpoints, API keys and settings. Invariants: a configuration is applied as a whole,
//! or not at all, and then its problems are logged; no request is dropped, because the endpoints are replaced at once and each request
//! continues with the endpoint that it began with; an account has one worker while the process runs, so two never deliver for it: the
//! worker is stopped when the account is removed, and started again when the account is added again. A changed API key is used from the
//! next request to Refersion on. Requests in flight end with the former key, and a 401 to one of them does not halt the account
//! (`scheduling/circuit_breaker.rs`). Settings that need a restart stay as they are, and are named. Deliberately absent: reading the
//! environment ([`crate::cli`]), and comparing configurations ([`crate::config::ChangedSetting`]).

use super::context::AppContext;
use super::merchant_registry::{MerchantRegistry, new_pool};
use crate::admin::ReloadRequest;
use crate::config::{AccountConfig, ChangedSetting, Config, Problems, Warning};
use crate::domain::{AccountName, ApiKey};
use crate::http::{AccountEndpoint, AccountRegistry};
use crate::refersion::{Client, ClientBuildError, ConnectionPool};
use crate::telemetry::{self, ReloadResult};
use crate::worker::Worker;
use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, mpsc};
use url::Url;

/// Reads the configuration in the same way as the start.
pub type LoadConfig = Box<dyn Fn() -> Result<(Config, Vec<Warning>), Problems> + Send + Sync>;

/// The way to read the configuration again.
pub struct Reloading {
    /// The function that reads it.
    pub load: LoadConfig,
    /// Notified by a request to read it again.
    pub requested: Arc<Notify>,
}

/// How often the files of secrets are checked for changes.
const LOOK_EVERY: Duration = Duration::from_secs(5);

/// Why a configuration is refused.
#[derive(Debug, thiserror::Error)]
enum ReloadError {
    /// The configuration is not valid.
    #[error(transparent)]
    Problems(#[from] Problems),
    /// A configured account and an account whose API key arrived would be the same, so two workers would deliver for it.
    #[error(
        "accounts.{0}: an account of this name needs a restart to be added or removed, because its API key may have arrived with a request"
    )]
    NeedsRestart(AccountName),
    /// The client of an account cannot be made.
    #[error(transparent)]
    Client(#[from] ClientBuildError),
    /// The file of a secret cannot be read again, for instance because it is a pipe, which may never end.
    #[error("{}: this is not a regular file, so it cannot be read again", .0.display())]
    NoFile(PathBuf),
}

impl ReloadError {
    /// One text for each problem.
    fn problems(&self) -> Vec<String> {
        match self {
            Self::Problems(problems) => problems.iter().map(ToString::to_string).collect(),
            error => vec![error.to_string()],
        }
    }
}

/// The worker of an account that is or was configured, and the API key that it uses.
pub(super) struct ConfiguredAccount {
    api_key: ApiKey,
    pub(super) worker: Worker,
}

impl ConfiguredAccount {
    /// The account with an idle worker, which calls Refersion through `client`.
    pub(super) fn new(context: &AppContext, account: &AccountConfig, client: Client) -> Self {
        let worker = context.new_worker(account, client, context.metrics.of(&account.name));
        Self { api_key: account.api_key.clone(), worker }
    }

    /// Takes these settings, and this client with the API key of `account`.
    fn update(&mut self, context: &AppContext, account: &AccountConfig, client: Client) {
        let is_new_api_key = !self.api_key.is_same_pair(&account.api_key);
        self.worker.replace_client(client);
        if is_new_api_key {
            self.worker.on_new_api_key();
        }
        self.api_key = account.api_key.clone();
        self.worker.apply_settings(context.delivery_settings(account));
    }
}

/// A client for each of these accounts. Those with one base URL share their connections, because each pool reads all certificates.
pub(super) fn new_clients(accounts: &[AccountConfig], timeout: Duration) -> Result<Vec<Client>, ClientBuildError> {
    let mut pools: BTreeMap<&Url, ConnectionPool> = BTreeMap::new();
    let clients = accounts.iter().map(|account| {
        let pool = match pools.entry(&account.base_url) {
            Entry::Occupied(pool) => pool.into_mut(),
            Entry::Vacant(vacant) => vacant.insert(ConnectionPool::new(&account.base_url, timeout)?),
        };
        pool.client(&account.api_key)
    });
    clients.collect()
}

/// The workers of all accounts that are or were configured.
pub(super) type ConfiguredAccounts = BTreeMap<AccountName, ConfiguredAccount>;

/// The task that reloads configurations.
pub(super) struct Reloader {
    pub(super) reloading: Reloading,
    pub(super) requests: mpsc::Receiver<ReloadRequest>,
    pub(super) context: AppContext,
    pub(super) registry: Arc<AccountRegistry>,
    pub(super) merchants: Option<MerchantRegistry>,
    pub(super) accounts: ConfiguredAccounts,
}

impl Reloader {
    /// Reloads at each request, and when the content of a secret's file has changed.
    pub(super) async fn run(mut self) {
        let mut files = self.secret_files();
        loop {
            tokio::select! {
                () = self.reloading.requested.notified() => {}
                Some(request) = self.requests.recv() => {
                    files = self.secret_files();
                    self.answer(request);
                    continue;
                }
                () = tokio::time::sleep(LOOK_EVERY) => if self.secret_files() == files {
                    continue;
                } else {
                    tracing::info!("the file of a secret has changed");
                },
            }
            files = self.secret_files();
            let _ = self.reload(); // the result is logged
        }
    }

    fn answer(&mut self, ReloadRequest { dry_run, answer }: ReloadRequest) {
        let reloaded = if dry_run { self.read_again().map(|(_, changes, _)| changes) } else { self.reload() };
        let _ = answer.send(reloaded.map_err(|error| error.problems())); // Err: the operator has disconnected
    }

    /// Reads the configuration again, and takes it. The result is logged and counted.
    fn reload(&mut self) -> Result<Vec<ChangedSetting>, ReloadError> {
        let reloaded = self.try_reload();
        match &reloaded {
            Ok(changes) => log_changes(changes),
            Err(error) => log_refusal(error),
        }
        self.context.metrics.config_reloaded(match &reloaded {
            Ok(changes) if changes.is_empty() => ReloadResult::Unchanged,
            Ok(_) => ReloadResult::Applied,
            Err(_) => ReloadResult::Refused,
        });
        reloaded
    }

    /// The new configuration, its differences, and warnings. Takes nothing.
    fn read_again(&self) -> Result<(Config, Vec<ChangedSetting>, Vec<Warning>), ReloadError> {
        if let Some(path) = self.context.config().secret_files().find(|path| path.exists() && !path.is_file()) {
            return Err(ReloadError::NoFile(path.clone()));
        }
        let (new, warnings) = (self.reloading.load)()?;
        let old = self.context.config();
        let changes = old.changes(&new);
        let config = old.reloaded(new);
        self.check_names(&old.every_account(), &config.every_account())?;
        Ok((config, changes, warnings))
    }

    /// Reloads, and returns the changes.
    fn try_reload(&mut self) -> Result<Vec<ChangedSetting>, ReloadError> {
        let (config, changes, warnings) = self.read_again()?;
        if changes.is_empty() {
            return Ok(changes);
        }
        for warning in warnings {
            tracing::warn!("{warning}");
        }
        let config = Arc::new(config);
        let configured = config.every_account();
        let names: Vec<AccountName> = configured.iter().map(|account| account.name.clone()).collect();
        let clients = new_clients(&configured, config.refersion.timeout)?;
        let pool = new_pool(&config)?;
        self.context.set_config(Arc::clone(&config));
        let endpoints = self.apply(configured, clients);
        self.registry.replace_configured(endpoints);
        for (_, removed) in self.accounts.iter().filter(|(name, _)| !names.contains(name)) {
            removed.worker.retire();
        }
        if let Some(merchants) = &self.merchants {
            merchants.take_settings(pool);
        }
        telemetry::set_filter(&config.log.filter);
        self.registry.wake_accounts_with_pending_events();
        Ok(changes)
    }

    /// Refuses an account with the name of an account whose API key arrived: it would get a second worker.
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

    /// Gives every account its client and its settings, and a new account a worker. Returns the new endpoints.
    fn apply(&mut self, configured: Vec<AccountConfig>, clients: Vec<Client>) -> Vec<AccountEndpoint> {
        let context = &self.context;
        let apply = |(account, client): (AccountConfig, Client)| {
            let known = match self.accounts.entry(account.name.clone()) {
                Entry::Vacant(vacant) => vacant.insert(ConfiguredAccount::new(context, &account, client)),
                Entry::Occupied(known) => {
                    let known = known.into_mut();
                    known.update(context, &account, client);
                    known
                }
            };
            context.new_endpoint(account, &known.worker)
        };
        configured.into_iter().zip(clients).map(apply).collect()
    }

    /// A digest of the contents of all files of secrets.
    fn secret_files(&self) -> u64 {
        let mut digest = DefaultHasher::new();
        for path in self.context.config().secret_files() {
            let content = path.is_file().then(|| std::fs::read(path).ok());
            (path, content).hash(&mut digest);
        }
        digest.finish()
    }
}

fn log_changes(changes: &[ChangedSetting]) {
    if changes.is_empty() {
        tracing::info!("the configuration was read again: nothing has changed");
    }
    for change in changes {
        if change.needs_restart {
            tracing::warn!("the configuration has changed: {}", change.text);
        } else {
            tracing::info!("the configuration has changed: {}", change.text);
        }
    }
}

/// One line for each problem.
fn log_refusal(error: &ReloadError) {
    for problem in error.problems() {
        tracing::error!("the configuration is refused, and the former one stays in force: {problem}");
    }
}
