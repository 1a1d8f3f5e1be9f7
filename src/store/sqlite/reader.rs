//! A pool of connections that read beside the writer.
//!
//! In: a closure that reads. Out: its result. It runs on a thread for blocking work, on a connection of its own, and sees the
//! rows that were committed when it begins. Invariants: a read is short (a portion of some thousand rows), and none runs while
//! [`ReadLock::exclude`] is held, so that the WAL can be emptied. Deliberately absent: anything that writes.

use super::error::store_error;
use super::schema;
use crate::store::StoreError;
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError, RwLock, RwLockWriteGuard};
use tokio::sync::Semaphore;
use tokio::task::spawn_blocking;

/// At most so many reads run at once. Each connection takes up to a mebibyte.
const CONNECTIONS: usize = 4;

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
    lock: Arc<ReadLock>,
}

/// Held shared by every read.
#[derive(Debug, Default)]
pub struct ReadLock(RwLock<()>);

impl ReadLock {
    /// Waits until no read runs; none begins while the guard is held.
    pub fn exclude(&self) -> RwLockWriteGuard<'_, ()> {
        self.0.write().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Readers {
    /// Readers of the file `path`, which is opened by the first read.
    pub fn new(path: PathBuf) -> Self {
        let pool = Pool { path, idle: Mutex::default(), lock: Arc::default() };
        Self { pool: Arc::new(pool), permits: Arc::new(Semaphore::new(CONNECTIONS)) }
    }

    /// The lock that every read holds.
    pub fn lock(&self) -> Arc<ReadLock> {
        Arc::clone(&self.pool.lock)
    }

    /// Reads a portion.
    pub async fn read<T, F>(&self, portion: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        Ok(self.read_after(|| (), |connection, &()| portion(connection)).await?.0)
    }

    /// Reads a portion after `wait`, which may block; the value it returned is dropped if the read fails.
    pub async fn read_after<W, T>(
        &self,
        wait: impl FnOnce() -> W + Send + 'static,
        portion: impl FnOnce(&Connection, &W) -> rusqlite::Result<T> + Send + 'static,
    ) -> Result<(T, W), StoreError>
    where
        W: Send + 'static,
        T: Send + 'static,
    {
        let permit = Arc::clone(&self.permits).acquire_owned().await.map_err(|_| StoreError::Closed)?;
        let pool = Arc::clone(&self.pool);
        let read = spawn_blocking(move || {
            let _permit = permit;
            let waited = wait();
            let read = pool.read(|connection| portion(connection, &waited));
            read.map(|read| (read, waited)).map_err(|error| store_error(&error))
        });
        read.await.unwrap_or_else(|error| {
            let panicked = || StoreError::Fatal("a read panicked: a bug".to_owned());
            Err(if error.is_panic() { panicked() } else { StoreError::Closed }) // else the runtime is ending
        })
    }

    /// Waits until no read runs, and closes the connections. Every later read fails with [`StoreError::Closed`].
    pub fn close(&self) {
        self.permits.close();
        let _excluded = self.pool.lock.exclude();
        self.pool.idle().clear();
    }
}

impl Pool {
    fn read<T>(&self, portion: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let _shared = self.lock.0.read().unwrap_or_else(PoisonError::into_inner);
        let idle = self.idle().pop();
        let connection = idle.map_or_else(|| connect(&self.path), Ok)?;
        let read = portion(&connection)?; // after a failure the connection is dropped, and another one is opened
        self.idle().push(connection);
        Ok(read)
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Connection>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Opens a connection beside the one that writes: it changes no row, and may write a checkpoint.
pub fn connect(path: &Path) -> rusqlite::Result<Connection> {
    let flags = OpenFlags::SQLITE_OPEN_READ_WRITE | OpenFlags::SQLITE_OPEN_NO_MUTEX;
    let connection = Connection::open_with_flags(path, flags)?;
    schema::prepare_reader(&connection)?;
    Ok(connection)
}
