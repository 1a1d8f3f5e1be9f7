//! Opens the store that `STORE_URL` names: the one place that knows the engines by their URLs.
//!
//! In: the configuration. Out: the store, without its engine's type; or why it cannot be opened, with what to do.

use crate::config::{Config, StoreUrl};
use crate::store::{Limits, SqliteOpenError, SqliteStore, Store};
use std::sync::Arc;

/// Why the store cannot be opened.
#[derive(Debug, thiserror::Error)]
pub enum StoreOpenError {
    /// The file cannot be opened.
    #[error(transparent)]
    Sqlite(#[from] SqliteOpenError),
}

impl StoreOpenError {
    /// Whether a running service has the store for itself, so that only that service can do what is asked.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Sqlite(SqliteOpenError::InUse(_)))
    }
}

/// Opens the store of this configuration; it is created if it does not exist, and migrated if an earlier release made it.
pub fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreOpenError> {
    let limits =
        Limits { max_backlog: config.delivery.max_backlog, deduplication_memory: config.store.deduplication_memory };
    match &config.store.url {
        StoreUrl::Sqlite(path) => Ok(Arc::new(SqliteStore::open(path, limits)?)),
    }
}
