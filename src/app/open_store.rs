//! Opens the store that a URL names, with the engine of that URL.
//!
//! In: the configuration, or a URL. Out: the store, without the type of its engine, or a source or target of a transfer; or why it cannot
//! be opened, with what to do.

use crate::config::{Config, StoreUrl};
use crate::store::transfer::{TransferSource, TransferTarget};
use crate::store::{
    DatabaseState, PostgresOpenError, PostgresSource, PostgresStore, PostgresTarget, PostgresUrl, PostgresUrlError,
    SqliteOpenError, SqliteSource, SqliteStore, SqliteTarget, Store, StoreError, StoreLimits,
};
use secrecy::{ExposeSecret as _, SecretString};
use std::panic::resume_unwind;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tempfile::TempDir;
use tokio::task::spawn_blocking;

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
    /// Whether a running service has opened the store exclusively, so that only this service can do the work.
    pub fn is_in_use(&self) -> bool {
        matches!(self, Self::Sqlite(SqliteOpenError::InUse(_)))
    }
}

/// Opens the store of this configuration. Creates it if it does not exist, and migrates it if an earlier release made it. If the caller stops
/// waiting, a file is opened nevertheless, unless the process ends.
pub async fn open_store(config: &Config) -> Result<Arc<dyn Store>, StoreOpenError> {
    let limits = StoreLimits {
        max_backlog: config.delivery.max_backlog,
        deduplication_memory: config.store.deduplication_memory,
    };
    Ok(match &config.store.url {
        StoreUrl::Sqlite(path) => {
            let path = path.clone();
            let opened = spawn_blocking(move || SqliteStore::open(&path, limits)).await;
            Arc::new(opened.unwrap_or_else(|panicked| resume_unwind(panicked.into_panic()))?)
        }
        StoreUrl::Postgres(url) => Arc::new(PostgresStore::open(&parse(url)?, limits, config.store.lease).await?),
    })
}

/// Opens the store to move.
pub async fn open_source(url: &StoreUrl) -> Result<Box<dyn TransferSource>, StoreOpenError> {
    Ok(match url {
        StoreUrl::Sqlite(path) => Box::new(SqliteSource::open(path)?),
        StoreUrl::Postgres(url) => Box::new(PostgresSource::open(&parse(url)?).await??),
    })
}

/// Opens the store to move another one to.
pub async fn open_target(url: &StoreUrl) -> Result<Box<dyn TransferTarget>, StoreOpenError> {
    Ok(match url {
        StoreUrl::Sqlite(path) => Box::new(SqliteTarget::open(path)??),
        StoreUrl::Postgres(url) => Box::new(PostgresTarget::open(&parse(url)?).await??),
    })
}

fn parse(url: &SecretString) -> Result<PostgresUrl, PostgresUrlError> {
    PostgresUrl::parse(url.expose_secret())
}

/// The state of the store at `STORE_URL`, as a start would find it.
pub enum StoreState {
    /// A PostgreSQL database, which other processes may have open.
    Database(DatabaseState),
    /// A running service has opened this store exclusively.
    InUse {
        /// The location of the store.
        location: String,
        /// The bytes that are free on its disk, if the system says so.
        free: Option<u64>,
    },
    /// A store of an earlier release, which a start would migrate.
    BeforeMigration {
        /// The location of the store.
        location: String,
        /// The bytes that are free on its disk, if the system says so.
        free: Option<u64>,
    },
    /// There is no store yet.
    Absent {
        /// The location at which a start would make it.
        location: String,
        /// A trial store that was made beside that location.
        trial: Arc<dyn Store>,
        /// The folder of the trial store, which is removed when this is dropped.
        folder: TempDir,
    },
    /// A store, opened.
    Present {
        /// The location of the store.
        location: String,
        /// The store.
        store: Arc<dyn Store>,
    },
}

/// Examines the store of this configuration as a start would, but neither migrates it nor makes one.
pub async fn look_at_store(config: &Config) -> Result<StoreState, StoreOpenError> {
    let path = match &config.store.url {
        StoreUrl::Sqlite(path) => path,
        StoreUrl::Postgres(url) => return Ok(StoreState::Database(PostgresStore::look(&parse(url)?).await?)),
    };
    let location = path.display().to_string();
    if !path.exists() {
        let create = |source| SqliteOpenError::Create(path.clone(), source);
        let folder = TempDir::new_in(nearest_existing(path)).map_err(create)?;
        let trial = SqliteStore::open(&folder.path().join("trial.db"), StoreLimits::default())?;
        return Ok(StoreState::Absent { location, trial: Arc::new(trial), folder });
    }
    let free = SqliteStore::free_space(path);
    let opened = match SqliteStore::needs_migration(path) {
        Ok(true) => return Ok(StoreState::BeforeMigration { location, free }),
        Ok(false) => open_store(config).await,
        Err(error) => Err(error.into()),
    };
    match opened {
        Ok(store) => Ok(StoreState::Present { location, store }),
        Err(error) if error.is_in_use() => Ok(StoreState::InUse { location, free }),
        Err(error) => Err(error),
    }
}

/// The nearest existing ancestor of `path`: a folder, unless a file is in the way.
fn nearest_existing(path: &Path) -> PathBuf {
    let above = path.ancestors().skip(1).find(|above| above.exists());
    above.map_or_else(|| PathBuf::from("."), Path::to_path_buf)
}
