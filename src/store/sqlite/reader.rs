//! A pool of connections that read beside the writer.
//!
//! In: a closure that reads. Out: its result. It runs on a thread for blocking work, on a separate connection, and sees the rows that were
//! committed when it begins a transaction. Invariants: a read is short (a portion of some thousand rows), and none runs while
//! [`Readers::exclude`]'s permits are held, so that the WAL can be emptied. Deliberately absent: anything that writes.

use super::schema;
use crate::store::StoreError;
use parking_lot::Mutex;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::{Semaphore, SemaphorePermit};
use tokio::task::spawn_blocking;

/// The most reads that run at once. Each connection takes up to a mebibyte.
const CONNECTIONS: u32 = 4;

/// The readers of one store.
#[derive(Debug)]
pub struct Readers {
    pool: Arc<Pool>,
    permits: Arc<Semaphore>,
}

#[derive(Debug)]
struct Pool {
    path: PathBuf,
    idle: Mutex<Vec<Connection>>,
}

impl Readers {
    /// Readers of the file `path`, which the first read opens.
    pub fn new(path: PathBuf) -> Self {
        let permits = Arc::new(Semaphore::new(CONNECTIONS as usize));
        Self { pool: Arc::new(Pool { path, idle: Mutex::default() }), permits }
    }

    /// The path of the file.
    pub fn path(&self) -> &Path {
        &self.pool.path
    }

    /// Reads a portion. If `portion` waits for something before its transaction, that must not need a reader.
    pub async fn read<T, F>(&self, portion: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> Result<T, StoreError> + Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(&self.pool);
        let read = spawn_blocking(move || {
            let _permit = permit;
            pool.read(portion)
        });
        read.await.unwrap_or_else(|error| {
            let panicked = || StoreError::Fatal("a read panicked: a bug".to_owned());
            Err(if error.is_panic() { panicked() } else { StoreError::Closed }) // otherwise the runtime is ending
        })
    }

    /// Waits until no read runs; none begins while the permits are held.
    pub async fn exclude(&self) -> Result<SemaphorePermit<'_>, StoreError> {
        self.permits.acquire_many(CONNECTIONS).await.map_err(|_| StoreError::Closed)
    }

    /// Waits until no read runs, and closes the connections. Every later read fails with [`StoreError::Closed`].
    pub async fn close(&self) {
        let _excluded = self.exclude().await; // Err: the readers are closed already
        self.permits.close();
        self.pool.idle.lock().clear();
    }
}

impl Pool {
    fn read<T>(&self, portion: impl FnOnce(&Connection) -> Result<T, StoreError>) -> Result<T, StoreError> {
        let idle = self.idle.lock().pop();
        let connection = idle.map_or_else(|| connect(&self.path), Ok)?;
        let read = portion(&connection)?; // after a failure the connection is dropped, and another one is opened
        self.idle.lock().push(connection);
        Ok(read)
    }
}

/// Opens a connection beside the writer's. It changes no row, but may write a checkpoint.
pub fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    schema::prepare_reader(&connection)?;
    Ok(connection)
}
