//! Who keeps the dead letters: the store itself while the service is stopped, else the service, through its ops listener.
//!
//! The store says which: what is in use by another process is asked for over HTTP. While a command has the store open, the
//! service cannot start on it; commands are short.

use super::{Layers, default_ops, now, plain_http};
use crate::config::{Config, Mode, StoreUrl};
use crate::domain::{AccountName, ApiKey, Timestamp, User};
use crate::store::{
    DeadLetter, DeadLetters as _, EventLog as _, Filter, Forgotten, Limits, Maintenance as _, Page, Replay,
    SqliteOpenError, SqliteStore,
};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use clap::Args;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::process::ExitCode;
use std::time::Duration;
use url::Url;

/// Where to look.
#[derive(Debug, Args)]
pub(super) struct Place {
    /// Ask the service whose ops listener is at this URL; if not given, the store is opened, or while a service has it open,
    /// OPS_LISTEN is asked
    #[arg(long, value_name = "URL")]
    ops: Option<Url>,
    #[command(flatten)]
    layers: Layers,
}

/// The keeper of the dead letters. Every error is told as text.
pub(super) enum Keeper {
    Store(SqliteStore),
    Service(Service),
}

/// A running service, by its ops listener.
pub(super) struct Service {
    url: Url,
    key: ApiKey,
}

type Told<T> = Result<T, String>;

/// How long a service may take to answer.
const PATIENCE: Duration = Duration::from_secs(60);
/// The largest answer: a page, or one letter with its body.
const MOST: u64 = 16 * 1024 * 1024;

impl Place {
    /// The configuration, or the exit code after its problems were told.
    pub(super) fn config(&self) -> Result<Config, ExitCode> {
        self.layers.load(Mode::Offline)
    }

    /// Finds the keeper.
    pub(super) fn keeper(&self, config: &Config) -> Told<Keeper> {
        let service = |url: Url| {
            let missing = "REFERSION_API_KEY is not set; the service is asked with it as credentials (where no account is \
                           configured, with a key made of STORE_SEAL_KEY)";
            let key = config.operator_key().ok_or(missing)?;
            Ok(Keeper::Service(Service { url, key }))
        };
        if let Some(url) = &self.ops {
            return service(url.clone());
        }
        let StoreUrl::Sqlite(path) = &config.store.url;
        if !path.exists() {
            return Err(format!("there is no store at {}; which one is meant, say with STORE_URL", path.display()));
        }
        let limits = Limits { max_backlog: config.delivery.max_backlog, ..Limits::default() };
        match SqliteStore::open(path, limits) {
            Ok(store) => Ok(Keeper::Store(store)),
            Err(SqliteOpenError::InUse(_)) => service(default_ops(config).map_err(|error| error.to_string())?),
            Err(error) => Err(error.to_string()),
        }
    }
}

impl Keeper {
    pub(super) async fn page(&self, filter: &Filter, after: i64, limit: usize) -> Told<Page> {
        match self {
            Self::Store(store) => store.dead_letters(filter, after, limit).await.map_err(|error| error.to_string()),
            Self::Service(service) => {
                service.ask("/dead-letters", json!({"filter": filter, "after": after, "limit": limit})).await
            }
        }
    }

    pub(super) async fn one(&self, id: i64) -> Told<Option<DeadLetter>> {
        match self {
            Self::Store(store) => store.dead_letter(id).await.map_err(|error| error.to_string()),
            Self::Service(service) => service.ask("/dead-letters/show", json!({"id": id})).await,
        }
    }

    pub(super) async fn replay(&self, ids: &[i64]) -> Told<Vec<(i64, Replay)>> {
        match self {
            Self::Store(store) => store.replay(ids).await.map_err(|error| error.to_string()),
            Self::Service(service) => service.ask("/dead-letters/replay", json!({"ids": ids})).await,
        }
    }

    pub(super) async fn discard(&self, ids: &[i64]) -> Told<Vec<i64>> {
        match self {
            Self::Store(store) => store.discard(ids).await.map_err(|error| error.to_string()),
            Self::Service(service) => service.ask("/dead-letters/discard", json!({"ids": ids})).await,
        }
    }

    pub(super) async fn forget(&self, user: &User, account: &AccountName) -> Told<Forgotten> {
        match self {
            Self::Store(store) => {
                let keys = user.keys(store.hash_key(), account);
                store.forget(&keys, now()).await.map_err(|error| error.to_string())
            }
            Self::Service(service) => {
                let mut whom = json!({"account": account.as_str()});
                if let Some(user_id) = &user.user_id {
                    whom["user_id"] = user_id.as_str().into();
                }
                if let Some(email) = &user.email {
                    whom["email"] = email.as_str().into();
                }
                service.ask("/forget", whom).await
            }
        }
    }

    /// Lets the store go, after what was erased has left its file. A running service does both by itself, within seconds.
    pub(super) async fn close(&self) -> Told<()> {
        let Self::Store(store) = self else { return Ok(()) };
        let compacted = store.compact(Timestamp(0)).await;
        store.close().await;
        compacted.map_err(|error| error.to_string())
    }
}

impl Service {
    async fn ask<T: DeserializeOwned>(&self, path: &str, body: Value) -> Told<T> {
        let Self { url, key } = self;
        let mut url = url.clone();
        url.set_path(path);
        let credentials = STANDARD.encode(format!("{}.{}:", key.public(), key.expose_secret()));
        let headers = format!("Authorization: Basic {credentials}\r\nContent-Type: application/json\r\n");
        let body = body.to_string();
        let asked = plain_http::ask(&url, "POST", &headers, body.as_bytes(), MOST);
        let answer = tokio::time::timeout(PATIENCE, asked).await;
        let hint = "the service that has the store open answers on its OPS_LISTEN; say where that is with --ops";
        let (status, body) = answer
            .map_err(|_| format!("{url} did not answer within {} seconds", PATIENCE.as_secs()))?
            .map_err(|error| format!("{url}: {error}; {hint}"))?;
        if status != 200 {
            let told: Value = serde_json::from_slice(&body).unwrap_or_default();
            return Err(format!("{url} answered {status}: {}", told["message"].as_str().unwrap_or(hint)));
        }
        serde_json::from_slice(&body)
            .map_err(|error| format!("{url} answered what this release does not know: {error}"))
    }
}
