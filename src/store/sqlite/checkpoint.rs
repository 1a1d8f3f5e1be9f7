//! Checkpoints: they write the pages of the write-ahead log (WAL) into the file in the background, so that no commit waits for that.
//!
//! In: the size of the WAL and the number of pending events after each commit. When the WAL is large, a thread is started, with a separate
//! connection, which writes its pages into the file. Then the writer copies the few pages that were committed meanwhile, and SQLite restarts
//! the WAL. Invariant: the writer itself copies a WAL that grows faster than the thread can follow, so its size is bounded. The exception is
//! a WAL that a reader in another process needs: it grows, and a warning reports it. Deliberately absent: emptying the WAL of erased
//! content ([`super::maintenance`]).

use super::{reader, schema};
use rusqlite::Connection;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI32, Ordering};
use std::thread::{Builder, JoinHandle};
use std::time::Duration;

/// The pages of the WAL (4 MiB) at which they are written into the file while the number of pending events grows: requests wait for the disk
/// until a checkpoint is synced, so it must be short.
const WAL_PAGES: i32 = 1_000;
/// The same (16 MiB) while it does not grow: settlements change pages at random places, and a page that many commits changed is written once.
const SETTLING_WAL_PAGES: i32 = 4 * WAL_PAGES;
/// The pages (32 MiB) at which the writer copies them itself.
const MAX_WAL_PAGES: i32 = 8 * WAL_PAGES;
/// The pages (128 MiB) at which a WAL that cannot be copied is reported: a reader holds it.
const HELD_WAL_PAGES: i32 = 4 * MAX_WAL_PAGES;

/// The writer's state of checkpoints.
#[derive(Debug)]
pub struct Checkpoints {
    path: PathBuf,
    /// The size of the WAL as of the last commit.
    pages: Arc<AtomicI32>,
    /// The thread that copies the WAL, until the writer has completed the checkpoint.
    thread: Option<JoinHandle<()>>,
    /// The number of pending events at the last checkpoint.
    pending: u64,
    /// The pages at which a WAL that cannot be copied is reported.
    held_pages: i32,
    /// Whether it was reported.
    held: bool,
}

impl Checkpoints {
    /// Checkpoints of the file `path` that `writer` has open.
    pub fn start(path: &Path, writer: &mut Connection) -> rusqlite::Result<Self> {
        let pages = Arc::new(AtomicI32::new(0));
        let size = Arc::clone(&pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            size.store(pages, Ordering::Relaxed);
            Ok(())
        };
        // This replaces SQLite's own hook, which writes checkpoints within commits.
        writer.wal_hook(Some(hook))?;
        Ok(Self { path: path.to_owned(), pages, thread: None, pending: 0, held_pages: HELD_WAL_PAGES, held: false })
    }

    /// After a commit that leaves so many events `pending`: begins a checkpoint in the background, or completes one.
    pub fn after_commit(&mut self, writer: &Connection, pending: u64) -> rusqlite::Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        let enough = if pending > self.pending { WAL_PAGES } else { SETTLING_WAL_PAGES };
        let has_copied = self.thread.take_if(|thread| thread.is_finished()).is_some();
        if pages < WAL_PAGES {
            // SQLite has restarted the WAL: there is nothing left to copy.
            if std::mem::take(&mut self.held) {
                tracing::info!("the write-ahead log was emptied again");
            }
        } else if has_copied || pages >= MAX_WAL_PAGES {
            self.pages.store(0, Ordering::Relaxed); // until the next commit
            self.pending = pending;
            let copied = write(writer)?;
            self.report(pages, copied);
        } else if pages >= enough && self.thread.is_none() {
            let path = self.path.clone();
            let copy = move || {
                if let Err(error) = reader::connect(&path).and_then(|connection| write(&connection)) {
                    tracing::debug!(%error, "cannot write a checkpoint"); // the writer does it, and reports if it cannot
                }
            };
            // Err: no thread can be started. The writer copies the WAL when it is large.
            self.thread = Builder::new().name("store-checkpoint".to_owned()).spawn(copy).ok();
        }
        Ok(())
    }

    /// Warns when a reader begins to hold a large WAL.
    fn report(&mut self, pages: i32, copied: i32) {
        if pages >= self.held_pages && copied < pages && !self.held {
            self.held = true;
            let mebibytes = i64::from(pages) * i64::from(schema::PAGE) / (1024 * 1024);
            tracing::warn!(
                mebibytes,
                "the write-ahead log of the store grows and cannot be emptied: another process reads the file in one long \
                 transaction; end it"
            );
        }
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // Err: it panicked
        }
    }
}

/// Writes the pages of the WAL into the file, as far as no reader needs the older ones; returns the number of written pages.
pub fn write(connection: &Connection) -> rusqlite::Result<i32> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |row| row.get(2))
}

/// Empties the WAL, which still has deleted content; returns whether it is empty now. It is not if another process reads.
pub fn empty_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?; // the writer must not wait for another process
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(schema::BUSY_TIMEOUT)?;
    Ok(busy? == 0)
}

#[cfg(test)]
mod tests {
    use super::super::open;
    use super::super::writer::SqliteFile;
    use super::*;

    fn commit(store: &mut SqliteFile, bytes: i64, pending: u64) {
        let insert = |connection: &Connection| {
            connection.execute("INSERT INTO bodies (body) VALUES (zeroblob(?1))", [bytes]).map(drop)
        };
        store.transaction(|tx| Ok(insert(tx.connection)?)).expect("committed");
        store.checkpoints.after_commit(&store.connection, pending).expect("copied, as far as possible");
    }

    #[test]
    fn a_large_wal_that_a_reader_holds_is_reported_until_it_is_emptied() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = folder.path().join("store.db");
        let mut store = open::open(&path, 1 << 20).expect("opened");
        store.checkpoints.held_pages = MAX_WAL_PAGES;
        let reader = Connection::open(&path).expect("opened");
        reader.execute_batch("BEGIN; SELECT count(*) FROM log;").expect("a reader");
        let bytes = i64::from(schema::PAGE) * i64::from(MAX_WAL_PAGES) / 4;
        for quarter in 1..=4 {
            assert!(!store.checkpoints.held, "{quarter}");
            commit(&mut store, bytes, quarter);
        }
        assert!(store.checkpoints.held);
        commit(&mut store, 1, 9);
        assert!(store.checkpoints.held, "the reader still reads");
        drop(reader);
        if let Some(thread) = store.checkpoints.thread.take() {
            thread.join().expect("ended"); // only one checkpoint can be written at a time
        }
        commit(&mut store, 1, 9); // copies all
        commit(&mut store, 1, 9); // restarts the WAL
        assert!(!store.checkpoints.held);
    }

    #[test]
    fn a_checkpoint_begins_earlier_while_the_number_of_pending_events_grows() {
        for (pages, pending, begins) in
            [(2 * WAL_PAGES, 1, true), (2 * WAL_PAGES, 0, false), (SETTLING_WAL_PAGES, 0, true)]
        {
            let folder = tempfile::tempdir().expect("a folder");
            let mut store = open::open(&folder.path().join("store.db"), 1 << 20).expect("opened");
            commit(&mut store, i64::from(schema::PAGE) * i64::from(pages), pending);
            assert_eq!(store.checkpoints.thread.is_some(), begins, "{pages} pages, {pending} pending");
        }
    }
}
