//! The backend of the operators' commands: the store itself while no service runs on it, otherwise the running service,
//! through its operators' API.
//!
//! In: where to look ([`BackendArgs`]), and an operation on dead letters, e-mail conflicts, events or a user's data. Out: its result, or
//! an error as text. The store's lock decides: if another process has the store open, the service is asked over HTTP. Invariants: both
//! answer alike, also where a filter names an account that is not known; while a command has the store open, the service cannot start on
//! it, so commands close it soon. A PostgreSQL database is opened beside the service.

use super::admin_client::AdminClient;
use super::{ConfigArgs, block_on, fail, now, ops_url};
use crate::admin::{
    self, DeadLetterDetails, DiscardResult, EmailConflictPage, LookupRequest, LookupResult, RevealedEvent, SetAside,
    UnknownAccount, known_account,
};
use crate::app::open_store;
use crate::config::{Config, Mode, StoreUrl};
use crate::domain::{AccountName, User};
use crate::store::{
    BacklogFilter, BacklogPage, DeadLetter, DeadLetterPage, EventFilter, EventPage, EventRecord, Filter, Forgotten,
    ReplayResult, Retention, Store, StoreError,
};
use clap::Args;
use serde_json::json;
use std::process::ExitCode;
use std::sync::Arc;
use url::Url;

/// Which service or store a command works on.
#[derive(Debug, Args)]
pub(super) struct BackendArgs {
    /// The URL of the running service's operators' listener. Without it, the command opens the store, or if a service
    /// has it open, asks OPS_LISTEN
    #[arg(long, value_name = "URL")]
    ops: Option<Url>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What carries out the operators' commands.
pub(super) enum AdminBackend {
    Store(OwnStore),
    Service(AdminClient),
}

/// The store, opened by the command itself; and the configuration of the service.
pub(super) struct OwnStore {
    store: Arc<dyn Store>,
    config: Box<Config>,
}

impl BackendArgs {
    /// The configuration, or the exit code after its problems were printed.
    pub(super) fn config(&self) -> Result<Config, ExitCode> {
        self.config.load(Mode::Offline)
    }

    /// Runs `command` on the backend of this target, and closes the backend. Out: what the command returned, or the exit code after
    /// the error was printed.
    pub(super) fn with_backend<T>(
        &self,
        config: &Config,
        command: impl AsyncFnOnce(&AdminBackend) -> Result<T, String>,
    ) -> Result<T, ExitCode> {
        Self::run(self.backend(config), command)
    }

    /// As [`BackendArgs::with_backend`], for what needs a process that delivers: with PostgreSQL, whose database a command could open
    /// beside it, through the service.
    pub(super) fn with_owner<T>(
        &self,
        config: &Config,
        command: impl AsyncFnOnce(&AdminBackend) -> Result<T, String>,
    ) -> Result<T, ExitCode> {
        if self.ops.is_none() && matches!(config.store.url, StoreUrl::Postgres(_)) {
            return Self::run(async { service(config) }, command);
        }
        Self::run(self.backend(config), command)
    }

    fn run<T>(
        backend: impl Future<Output = Result<AdminBackend, String>>,
        command: impl AsyncFnOnce(&AdminBackend) -> Result<T, String>,
    ) -> Result<T, ExitCode> {
        let result = block_on(async {
            let backend = backend.await?;
            let result = command(&backend).await;
            let closed = backend.close().await;
            result.and_then(|done| closed.map(|()| done))
        });
        result.unwrap_or_else(|error| Err(error.to_string())).map_err(|error| fail(&error))
    }

    /// The backend of this target; opens the store if no service has it open.
    async fn backend(&self, config: &Config) -> Result<AdminBackend, String> {
        if let Some(url) = &self.ops {
            return AdminClient::new(url.clone(), config).map(AdminBackend::Service);
        }
        if let StoreUrl::Sqlite(path) = &config.store.url
            && !path.exists()
        {
            return Err(format!(
                "there is no store at {}; set STORE_URL to the store's file, or --ops to the URL of a running service, such as a trial",
                path.display()
            ));
        }
        match open_store(config).await {
            Ok(store) => Ok(AdminBackend::Store(OwnStore::new(store, config))),
            Err(error) if error.is_in_use() => service(config),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl AdminBackend {
    /// Up to `limit` dead letters that match `filter` and have an id above `after`.
    pub(super) async fn page(&self, filter: &Filter, after: i64, limit: usize) -> Result<DeadLetterPage, String> {
        match self {
            Self::Store(own) => {
                own.check_account(filter.account.as_deref()).await?;
                own.store.dead_letters(filter, after, limit).await.map_err(text)
            }
            Self::Service(service) => {
                let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
                query.extend(filter.account.clone().map(|account| ("account", account)));
                query.extend(filter.reason.clone().map(|reason| ("reason", reason)));
                query.extend(filter.since.map(|since| ("since", since.0.to_string())));
                service.get("/api/v1/dead-letters", &query).await
            }
        }
    }

    /// One dead letter without its event, and what that would do today; `None` if there is none with this id.
    pub(super) async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetterDetails>, String> {
        match self {
            Self::Store(own) => {
                let letter = own.store.dead_letter(id).await.map_err(text)?;
                Ok(letter.map(|letter| own.details(letter)))
            }
            Self::Service(service) => service.find(&format!("/api/v1/dead-letters/{id}")).await,
        }
    }

    /// The event of a dead letter; `None` if it was erased, or if there is none with this id.
    pub(super) async fn reveal(&self, id: i64) -> Result<Option<String>, String> {
        match self {
            Self::Store(own) => Ok(own.store.dead_letter(id).await.map_err(text)?.and_then(|letter| letter.body)),
            Self::Service(service) => {
                let revealed = service.post_if_found(&format!("/api/v1/dead-letters/{id}/reveal")).await?;
                Ok(revealed.and_then(|revealed: RevealedEvent| revealed.body))
            }
        }
    }

    /// Replays dead letters; `to`: to this account, because their own is gone. The result of each is in the list.
    pub(super) async fn replay(&self, ids: &[i64], to: Option<&str>) -> Result<Vec<ReplayResult>, String> {
        match (self, to) {
            (Self::Store(own), None) => own.store.replay(ids).await.map_err(text),
            (Self::Store(own), Some(to)) => own.move_to(to, ids).await,
            (Self::Service(service), None) => service.post("/api/v1/dead-letters/replay", &json!({"ids": ids})).await,
            (Self::Service(service), Some(to)) => {
                service.post("/api/v1/dead-letters/replay", &json!({"ids": ids, "to": to})).await
            }
        }
    }

    /// Up to `limit` pending events that fit `filter`, with a seq above `after`.
    pub(super) async fn backlog(
        &self,
        filter: &BacklogFilter,
        after: i64,
        limit: usize,
    ) -> Result<BacklogPage, String> {
        match self {
            Self::Store(own) => {
                own.check_account(Some(filter.account.as_str())).await?;
                own.store.backlog(filter, after, limit).await.map_err(text)
            }
            Self::Service(service) => {
                let mut query = vec![("account", filter.account.to_string())];
                query.extend([("after", after.to_string()), ("limit", limit.to_string())]);
                query.extend(filter.user.map(|user| ("user", hex::encode(user))));
                query.extend(filter.received_before.map(|before| ("received_before", before.0.to_string())));
                service.get("/api/v1/backlog", &query).await
            }
        }
    }

    /// Sets the next pending events of an account that is gone aside.
    pub(super) async fn set_aside(&self, account: &str) -> Result<SetAside, String> {
        match self {
            Self::Store(own) => {
                own.check_account(Some(account)).await?;
                let account = AccountName::from(account.to_owned());
                let set_aside = admin::set_aside(&*own.store, &own.configured(), &account, now()).await;
                set_aside.map_err(text)?.map_err(|why| why.to_string())
            }
            Self::Service(service) => service.post("/api/v1/backlog/set-aside", &json!({"account": account})).await,
        }
    }

    /// Discards dead letters, each named once. The result of each is in the list.
    pub(super) async fn discard(&self, ids: &[i64]) -> Result<Vec<DiscardResult>, String> {
        match self {
            Self::Store(own) => {
                let discarded = own.store.discard(ids).await.map_err(text)?;
                Ok(DiscardResult::of_each(ids, &discarded))
            }
            Self::Service(service) => service.post("/api/v1/dead-letters/discard", &json!({"ids": ids})).await,
        }
    }

    /// What became of the event with this seq; `None` if it is not known any more.
    pub(super) async fn event(&self, seq: i64) -> Result<Option<EventRecord>, String> {
        match self {
            Self::Store(own) => own.store.event_record(seq).await.map_err(text),
            Self::Service(service) => service.find(&format!("/api/v1/events/{seq}")).await,
        }
    }

    /// Up to `limit` events that fit `filter`, the newest first, with a seq below `before`.
    pub(super) async fn events(&self, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, String> {
        match self {
            Self::Store(own) => {
                own.check_account(filter.account.as_deref()).await?;
                own.store.events(filter, before, limit).await.map_err(text)
            }
            Self::Service(service) => {
                let mut query = vec![("before", before.to_string()), ("limit", limit.to_string())];
                query.extend(filter.account.clone().map(|account| ("account", account)));
                query.extend(filter.status.map(|status| ("status", status.as_str().to_owned())));
                query.extend(filter.outcome.map(|outcome| ("outcome", outcome.as_str().to_owned())));
                query.extend(filter.since.map(|since| ("since", since.0.to_string())));
                service.get("/api/v1/events", &query).await
            }
        }
    }

    /// Whether a service delivers what is replayed.
    pub(super) fn delivers(&self) -> bool {
        matches!(self, Self::Service(_))
    }

    /// Up to `limit` e-mail conflicts of `account`, or of all accounts, after the place `after`.
    pub(super) async fn email_conflicts(
        &self,
        account: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<EmailConflictPage, String> {
        match self {
            Self::Store(own) => {
                let account = own.check_account(account).await?;
                let conflicts = own.store.email_conflicts(account.as_ref(), after, limit).await.map_err(text)?;
                Ok(EmailConflictPage::new(conflicts, limit))
            }
            Self::Service(service) => {
                let mut query = vec![("after", after.to_string()), ("limit", limit.to_string())];
                query.extend(account.map(|account| ("account", account.to_owned())));
                service.get("/api/v1/email-conflicts", &query).await
            }
        }
    }

    /// Erases a user's data from the store, or with `dry_run` counts what would be erased.
    pub(super) async fn forget(&self, user: &User, account: &AccountName, dry_run: bool) -> Result<Forgotten, String> {
        match self {
            Self::Store(own) => {
                own.check_account(Some(account.as_str())).await?;
                let keys = user.keys(own.store.hash_key(), account);
                let forgotten = if dry_run {
                    own.store.forget_preview(account, &keys).await
                } else {
                    own.store.forget(account, &keys, now()).await
                };
                forgotten.map_err(text)
            }
            Self::Service(service) => {
                let mut body = json!({"account": account.as_str(), "dry_run": dry_run});
                if let Some(user_id) = &user.user_id {
                    body["user_id"] = user_id.as_str().into();
                }
                if let Some(email) = &user.email {
                    body["email"] = email.as_str().into();
                }
                service.post("/api/v1/forget", &body).await
            }
        }
    }

    /// What is known of a user or of an event. The request names an account.
    pub(super) async fn look_up(&self, request: &LookupRequest) -> Result<LookupResult, String> {
        match self {
            Self::Store(own) => {
                let account = own.check_account(request.account.as_deref()).await?.unwrap_or_else(AccountName::main);
                let query = request.query(own.store.hash_key(), account)?;
                Ok(LookupResult::new(&query, own.store.lookup(&query).await.map_err(text)?))
            }
            Self::Service(service) => service.post("/api/v1/lookup", &json!(request)).await,
        }
    }

    /// Closes the store after erased data has left its file. A running service does that by itself, within seconds.
    async fn close(&self) -> Result<(), String> {
        let Self::Store(OwnStore { store, .. }) = self else { return Ok(()) };
        let compacted = store.compact(Retention::default()).await;
        store.close().await;
        compacted.map_err(text)
    }
}

impl OwnStore {
    /// The open store of a service with this configuration.
    pub(super) fn new(store: Arc<dyn Store>, config: &Config) -> Self {
        Self { store, config: Box::new(config.clone()) }
    }

    /// The open store.
    pub(super) fn store(&self) -> &dyn Store {
        &*self.store
    }

    /// The account of this name, or the error that it is not known.
    async fn check_account(&self, name: Option<&str>) -> Result<Option<AccountName>, String> {
        let Some(name) = name else { return Ok(None) };
        let known = known_account(&*self.store, &self.configured(), name).await.map_err(text)?;
        known.map(Some).map_err(|unknown| unknown.to_string())
    }

    /// The names of the configured accounts.
    fn configured(&self) -> Vec<AccountName> {
        self.config.every_account().into_iter().map(|account| account.name).collect()
    }

    /// Moves dead letters of accounts that are gone to the account `to`.
    async fn move_to(&self, to: &str, ids: &[i64]) -> Result<Vec<ReplayResult>, String> {
        let (account, configured) = (AccountName::from(to.to_owned()), self.configured());
        if !admin::can_deliver(&*self.store, &configured, &account).await.map_err(text)? {
            return Err(UnknownAccount::new(to, &configured).to_string());
        }
        let rules = self.config.rules_of(to);
        admin::move_dead_letters(&*self.store, &configured, (&account, rules), ids).await.map_err(text)
    }

    fn details(&self, letter: DeadLetter) -> DeadLetterDetails {
        let rules = self.config.rules_of(&letter.account);
        DeadLetterDetails::new(letter, rules, self.config.delivery.policy, now())
    }
}

/// The running service of this configuration.
fn service(config: &Config) -> Result<AdminBackend, String> {
    let url = ops_url(config).map_err(|error| error.to_string())?;
    AdminClient::new(url, config).map(AdminBackend::Service)
}

fn text(error: StoreError) -> String {
    error.to_string()
}
