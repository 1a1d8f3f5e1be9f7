//! The backend of the operators' commands: the operators' API over the store itself while no service runs on it, otherwise the API of the
//! running service.
//!
//! In: the target ([`BackendArgs`]), and an operation on dead letters, e-mail conflicts, events or a user's data. Out: its result, or an
//! error as text. The store's lock decides: if another process has the store open, the service is asked over HTTP. Invariants: both answer
//! alike, because both are the same routes; while a command has the store open, the service cannot start on it, so commands close it soon.
//! A PostgreSQL database is opened beside the service.

use super::admin_client::AdminClient;
use super::{CommandResult, ConfigArgs, block_on};
use crate::admin::{
    DeadLetterDetails, DiscardResult, EmailConflictPage, LookupRequest, LookupResult, RevealedEvent, SetAside,
};
use crate::app::open_store;
use crate::config::{Config, Mode, StoreUrl};
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, Email, User, UserId};
use crate::store::{
    BacklogFilter, BacklogPage, DeadLetterFilter, DeadLetterPage, EventFilter, EventPage, EventRecord, Forgotten,
    ReplayResult, Retention, Store,
};
use clap::Args;
use serde_json::json;
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

/// The backend of the operators' commands.
pub(super) struct AdminBackend {
    api: AdminClient,
    /// The store, if the command has opened it itself.
    store: Option<Arc<dyn Store>>,
}

impl BackendArgs {
    /// The configuration, or the exit code after its problems were printed.
    pub(super) fn config(&self) -> CommandResult<Config> {
        self.config.load(Mode::Offline)
    }

    /// Runs `command` on the backend of this target, and closes the backend. Out: the result of the command, or the exit code after the
    /// error was printed.
    pub(super) fn with_backend<T>(
        &self,
        config: &Config,
        command: impl AsyncFnOnce(&AdminBackend) -> Result<T, String>,
    ) -> CommandResult<T> {
        Self::run(self.backend(config), command)
    }

    /// As [`BackendArgs::with_backend`], for an operation that needs a process that delivers: with PostgreSQL the command asks the service,
    /// although it could open the database itself.
    pub(super) fn with_owner<T>(
        &self,
        config: &Config,
        command: impl AsyncFnOnce(&AdminBackend) -> Result<T, String>,
    ) -> CommandResult<T> {
        if self.ops.is_none() && matches!(config.store.url, StoreUrl::Postgres(_)) {
            return Self::run(async { AdminBackend::of_service(None, config) }, command);
        }
        Self::run(self.backend(config), command)
    }

    fn run<T>(
        backend: impl Future<Output = Result<AdminBackend, String>>,
        command: impl AsyncFnOnce(&AdminBackend) -> Result<T, String>,
    ) -> CommandResult<T> {
        block_on(async {
            let backend = backend.await?;
            let result = command(&backend).await;
            let closed = backend.close().await;
            result.and_then(|done| closed.map(|()| done))
        })
    }

    /// The backend of this target; opens the store if no service has it open.
    async fn backend(&self, config: &Config) -> Result<AdminBackend, String> {
        if self.ops.is_some() {
            return AdminBackend::of_service(self.ops.as_ref(), config);
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
            Ok(store) => AdminBackend::of_store(store, config),
            Err(error) if error.is_in_use() => AdminBackend::of_service(None, config),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl AdminBackend {
    fn of_service(ops: Option<&Url>, config: &Config) -> Result<Self, String> {
        Ok(Self { api: AdminClient::of_service(ops, config)?, store: None })
    }

    /// The open store of a service with this configuration.
    pub(super) fn of_store(store: Arc<dyn Store>, config: &Config) -> Result<Self, String> {
        Ok(Self { api: AdminClient::of_store(Arc::clone(&store), config)?, store: Some(store) })
    }

    /// The store, if the command has opened it itself. `None`: a service runs on it, and delivers replayed events.
    pub(super) fn own_store(&self) -> Option<&dyn Store> {
        self.store.as_deref()
    }

    /// The API.
    pub(super) fn api(&self) -> &AdminClient {
        &self.api
    }

    /// Up to `limit` dead letters that match `filter` and have an id above `after`.
    pub(super) async fn page(
        &self,
        filter: &DeadLetterFilter,
        after: i64,
        limit: usize,
    ) -> Result<DeadLetterPage, String> {
        let DeadLetterFilter { account, reason, since } = filter;
        let query = json!({"account": account, "reason": reason, "since": since, "after": after, "limit": limit});
        self.api.get("/api/v1/dead-letters", &query).await
    }

    /// One dead letter without its event, and the calls that the event would make today; `None` if no dead letter has this id.
    pub(super) async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetterDetails>, String> {
        self.api.find(&format!("/api/v1/dead-letters/{id}")).await
    }

    /// The event of a dead letter; `None` if it was erased, or if no dead letter has this id.
    pub(super) async fn reveal(&self, id: i64) -> Result<Option<String>, String> {
        let revealed = self.api.post_if_found(&format!("/api/v1/dead-letters/{id}/reveal")).await?;
        Ok(revealed.and_then(|revealed: RevealedEvent| revealed.body))
    }

    /// Replays dead letters. `to`: the account to which they are moved, because their own is gone. The list has the result of each.
    pub(super) async fn replay(&self, ids: &[i64], to: Option<&str>) -> Result<Vec<ReplayResult>, String> {
        self.api.post("/api/v1/dead-letters/replay", &json!({"ids": ids, "to": to})).await
    }

    /// Discards dead letters, each named once. The list has the result of each.
    pub(super) async fn discard(&self, ids: &[i64]) -> Result<Vec<DiscardResult>, String> {
        self.api.post("/api/v1/dead-letters/discard", &json!({"ids": ids})).await
    }

    /// Up to `limit` pending events that fit `filter`, with a seq above `after`.
    pub(super) async fn backlog(
        &self,
        filter: &BacklogFilter,
        after: i64,
        limit: usize,
    ) -> Result<BacklogPage, String> {
        let (account, user, before) = (filter.account.as_str(), filter.user.map(hex::encode), filter.received_before);
        let query =
            json!({"account": account, "user": user, "received_before": before, "after": after, "limit": limit});
        self.api.get("/api/v1/backlog", &query).await
    }

    /// Sets aside the next pending events of an account that is gone.
    pub(super) async fn set_aside(&self, account: &str) -> Result<SetAside, String> {
        self.api.post("/api/v1/backlog/set-aside", &json!({"account": account})).await
    }

    /// The result of the event with this seq; `None` if the store no longer has it.
    pub(super) async fn event(&self, seq: i64) -> Result<Option<EventRecord>, String> {
        self.api.find(&format!("/api/v1/events/{seq}")).await
    }

    /// Up to `limit` events that fit `filter`, the newest first, with a seq below `before`.
    pub(super) async fn events(&self, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, String> {
        let EventFilter { account, status, outcome, since } = filter;
        let outcome = outcome.map(OutcomeCode::as_str);
        let query = json!({"account": account, "status": status, "outcome": outcome, "since": since, "before": before, "limit": limit});
        self.api.get("/api/v1/events", &query).await
    }

    /// Up to `limit` e-mail conflicts of `account`, or of all accounts, after the position `after`.
    pub(super) async fn email_conflicts(
        &self,
        account: Option<&str>,
        after: i64,
        limit: usize,
    ) -> Result<EmailConflictPage, String> {
        self.api.get("/api/v1/email-conflicts", &json!({"account": account, "after": after, "limit": limit})).await
    }

    /// Erases a user's data from the store, or with `dry_run` counts what would be erased.
    pub(super) async fn forget(&self, user: &User, account: &AccountName, dry_run: bool) -> Result<Forgotten, String> {
        let (user_id, email) = (user.user_id.as_ref().map(UserId::as_str), user.email.as_ref().map(Email::as_str));
        let account = account.as_str();
        let body = json!({"account": account, "user_id": user_id, "email": email, "dry_run": dry_run});
        self.api.post("/api/v1/forget", &body).await
    }

    /// The data that the store holds of a user or of an event. The request names an account.
    pub(super) async fn look_up(&self, request: &LookupRequest) -> Result<LookupResult, String> {
        self.api.post("/api/v1/lookup", &json!(request)).await
    }

    /// Closes the store after erased data has left its file. A running service does that by itself, within seconds.
    async fn close(&self) -> Result<(), String> {
        let Some(store) = &self.store else { return Ok(()) };
        let compacted = store.compact(Retention::default()).await;
        store.close().await;
        compacted.map_err(|error| error.to_string())
    }
}
