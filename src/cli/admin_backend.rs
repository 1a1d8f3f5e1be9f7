//! The backend of the operators' commands: the store itself while no service runs on it, otherwise the running service,
//! through its operators' listener.
//!
//! In: where to look ([`Target`]), and an operation on dead letters, e-mail conflicts or a user's data. Out: its result, or an error as text.
//! The store's lock decides: if another process has the store open, the service is asked over HTTP. Invariant: while a command
//! has the store open, the service cannot start on it, so commands close it soon. A PostgreSQL database is opened beside the service.

use super::http_client::HttpClient;
use super::{ConfigArgs, block_on, fail, now, ops_url};
use crate::app::open_store;
use crate::config::{Config, Mode, StoreUrl};
use crate::domain::{AccountName, ApiKey, User};
use crate::store::{DeadLetter, EmailConflict, Filter, ForgetBefore, Forgotten, Page, ReplayResult, Store};
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// Which service or store a command works on.
#[derive(Debug, Args)]
pub(super) struct Target {
    /// The URL of the running service's operators' listener. Without it, the command opens the store, or if a service
    /// has it open, asks OPS_LISTEN
    #[arg(long, value_name = "URL")]
    ops: Option<Url>,
    #[command(flatten)]
    config: ConfigArgs,
}

/// What carries out the operators' commands.
pub(super) enum AdminBackend {
    Store(Arc<dyn Store>),
    Service(Service),
}

/// A running service, reached through its operators' listener.
pub(super) struct Service {
    http: HttpClient,
    url: Url,
    key: ApiKey,
}

/// How long the service may take to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest response, in bytes: a page of dead letters, or one dead letter with its body.
const MAX_RESPONSE_BYTES: usize = 16 * 1024 * 1024;

impl Target {
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
        let result = block_on(async {
            let backend = self.backend(config).await?;
            let result = command(&backend).await;
            let closed = backend.close().await;
            result.and_then(|done| closed.map(|()| done))
        });
        result.unwrap_or_else(|error| Err(error.to_string())).map_err(|error| fail(&error))
    }

    /// The backend of this target; opens the store if no service has it open.
    async fn backend(&self, config: &Config) -> Result<AdminBackend, String> {
        if let Some(url) = &self.ops {
            return Service::new(url.clone(), config).map(AdminBackend::Service);
        }
        if let StoreUrl::Sqlite(path) = &config.store.url
            && !path.exists()
        {
            return Err(format!("there is no store at {}; set STORE_URL to the store's file", path.display()));
        }
        match open_store(config).await {
            Ok(store) => Ok(AdminBackend::Store(store)),
            Err(error) if error.is_in_use() => {
                let url = ops_url(config).map_err(|error| error.to_string())?;
                Service::new(url, config).map(AdminBackend::Service)
            }
            Err(error) => Err(error.to_string()),
        }
    }
}

impl AdminBackend {
    /// Up to `limit` dead letters that match `filter` and have an id above `after`.
    pub(super) async fn page(&self, filter: &Filter, after: i64, limit: usize) -> Result<Page, String> {
        match self {
            Self::Store(store) => store.dead_letters(filter, after, limit).await.map_err(|error| error.to_string()),
            Self::Service(service) => {
                service.post("/dead-letters", json!({"filter": filter, "after": after, "limit": limit})).await
            }
        }
    }

    /// One dead letter with its body; `None` if there is none with this id.
    pub(super) async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, String> {
        match self {
            Self::Store(store) => store.dead_letter(id).await.map_err(|error| error.to_string()),
            Self::Service(service) => service.post("/dead-letters/show", json!({"id": id})).await,
        }
    }

    /// Replays dead letters. The result of each is in the list.
    pub(super) async fn replay(&self, ids: &[i64]) -> Result<Vec<ReplayResult>, String> {
        match self {
            Self::Store(store) => store.replay(ids).await.map_err(|error| error.to_string()),
            Self::Service(service) => service.post("/dead-letters/replay", json!({"ids": ids})).await,
        }
    }

    /// Discards dead letters. The list holds the ids of the discarded ones.
    pub(super) async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, String> {
        match self {
            Self::Store(store) => store.discard(ids).await.map_err(|error| error.to_string()),
            Self::Service(service) => service.post("/dead-letters/discard", json!({"ids": ids})).await,
        }
    }

    /// Up to `limit` e-mail conflicts of `account`, or of all accounts, after the place `after`.
    pub(super) async fn email_conflicts(
        &self,
        account: Option<&AccountName>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<EmailConflict>, String> {
        match self {
            Self::Store(store) => store.email_conflicts(account, after, limit).await.map_err(|error| error.to_string()),
            Self::Service(service) => {
                let account = account.map(AccountName::as_str);
                let body = json!({"account": account, "after": after, "limit": limit});
                service.post("/email-conflicts", body).await
            }
        }
    }

    /// Erases a user's data from the store.
    pub(super) async fn forget(&self, user: &User, account: &AccountName) -> Result<Forgotten, String> {
        match self {
            Self::Store(store) => {
                let keys = user.keys(store.hash_key(), account);
                store.forget(account, &keys, now()).await.map_err(|error| error.to_string())
            }
            Self::Service(service) => {
                let mut body = json!({"account": account.as_str()});
                if let Some(user_id) = &user.user_id {
                    body["user_id"] = user_id.as_str().into();
                }
                if let Some(email) = &user.email {
                    body["email"] = email.as_str().into();
                }
                service.post("/forget", body).await
            }
        }
    }

    /// Closes the store after erased data has left its file. A running service does that by itself, within seconds.
    async fn close(&self) -> Result<(), String> {
        let Self::Store(store) = self else { return Ok(()) };
        let compacted = store.compact(ForgetBefore::default()).await;
        store.close().await;
        compacted.map_err(|error| error.to_string())
    }
}

impl Service {
    /// The service whose operators' listener is at `url`.
    fn new(url: Url, config: &Config) -> Result<Self, String> {
        let missing = "REFERSION_API_KEY is not set; the service requires it as credentials (if no account is configured, it \
                       requires a key made of STORE_SEAL_KEY)";
        let key = config.operator_key().ok_or(missing)?;
        Ok(Self { http: HttpClient::new(REQUEST_TIMEOUT)?, url, key })
    }

    async fn post<T: DeserializeOwned>(&self, path: &str, body: Value) -> Result<T, String> {
        let mut url = self.url.clone();
        url.set_path(path);
        let hint =
            "the service that has the store open answers operators on its OPS_LISTEN; pass that address with --ops";
        let response = self.http.post(&url, &self.key, &body, MAX_RESPONSE_BYTES).await;
        let (status, body) = response.map_err(|error| format!("{error}; {hint}"))?;
        if status != 200 {
            let body: Value = serde_json::from_slice(&body).unwrap_or_default();
            return Err(format!("{url} answered {status}: {}", body["message"].as_str().unwrap_or(hint)));
        }
        serde_json::from_slice(&body)
            .map_err(|error| format!("{url} sent a response that this release cannot read: {error}"))
    }
}
