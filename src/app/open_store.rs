//! Opens the store that a URL names: the one place that knows the engines by their URLs.
//!
//! In: the configuration, or a URL. Out: the store, without its engine's type, or one end of a transfer; or why it cannot be opened, with
//! what to do.

use crate::config::{Config, StoreUrl};
use crate::store::transfer::{Source, Target};
use crate::store::{
    Limits, PostgresOpenError, PostgresSource, PostgresStore, PostgresTarget, PostgresUrl, PostgresUrlError,
    SqliteOpenError, SqliteSource, SqliteStore, SqliteTarget, Store, StoreError,
};
use secrecy::{ExposeSecret as _, SecretString};
use std::sync::Arc;
use std::time::Duration;

/// After so long without a sign of life of a process, others take its accounts over.
const LEASE: Duration = Duration::from_secs(10);

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// The file cannot be opened.
    #[error(transparent)]
    Sqlite(#[from] SqliteOpenError),
    /// `STORE_URL` cannot be used.
    #[error("STORE_URL is {0}")]
    Url(#[from] PostgresUrlError),
    /// The database cannot be opened.
    #[error(transparent)]
    Postgres(#[from] PostgresOpenError),
    /// The store cannot take part in a transfer.
    #[error(transparent)]
    Transfer(#[from] StoreError),
}

impl StoreOpenError {
    /// Whether a running service has the store for itself, so that only that service can do what is asked.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Sqlite(SqliteOpenError::InUse(_)))
    }
}

/// Opens the store of this configuration; it is created if it does not exist, and migrated if an earlier release made it.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreOpenError> {
    let limits =
        Limits { max_backlog: config.delivery.max_backlog, deduplication_memory: config.store.deduplication_memory };
    Ok(match &config.store.url {
        StoreUrl::Sqlite(path) => Arc::new(SqliteStore::open(path, limits)?),
        StoreUrl::Postgres(url) => Arc::new(PostgresStore::open(&parse(url)?, limits, LEASE).await?),
    })
}

/// Opens the store that is to be moved.
pub async fn open_source(url: &StoreUrl) -> Result<Box<dyn Source>, StoreOpenError> {
    Ok(match url {
        StoreUrl::Sqlite(path) => Box::new(SqliteSource::open(path)?),
        StoreUrl::Postgres(url) => Box::new(PostgresSource::open(&parse(url)?).await??),
    })
}

/// Opens the store that another one is to be moved to.
pub async fn open_target(url: &StoreUrl) -> Result<Box<dyn Target>, StoreOpenError> {
    Ok(match url {
        StoreUrl::Sqlite(path) => Box::new(SqliteTarget::open(path)??),
        StoreUrl::Postgres(url) => Box::new(PostgresTarget::open(&parse(url)?).await??),
    })
}

fn parse(url: &SecretString) -> Result<PostgresUrl, PostgresUrlError> {
    PostgresUrl::parse(url.expose_secret())
}
