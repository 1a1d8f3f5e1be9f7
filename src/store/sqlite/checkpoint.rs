//! Checkpoints in the background: what the WAL holds is written into the file beside the commits, so that no commit waits for it.
//!
//! In goes the size of the WAL after each commit. When it is large, a thread with a connection of its own writes its pages into
//! the file; then the writer copies the few that were committed meanwhile, after which SQLite begins the WAL anew. Invariant: a WAL
//! that grows faster than the thread can follow is copied by the writer itself, so that its size is bounded, unless a reader holds
//! it back or the file cannot be written. Deliberately
//! absent: emptying the WAL of what was erased, which is tidying ([`super::tidy`]).

use super::{reader, tidy};
use rusqlite::Connection;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, Ordering};
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// How many pages the WAL may hold (4 MiB) before they are written into the file: a page that many commits changed is written
/// once.
const WAL_PAGES: i32 = 1_000;
/// With so many pages (32 MiB) the writer does it itself.
const MAX_WAL_PAGES: i32 = 8 * WAL_PAGES;

/// The thread that writes checkpoints, as the writer sees it. Dropping it ends the thread.
#[derive(Debug)]
pub struct Checkpoints {
    /// The size of the WAL as of the last commit.
    pages: Arc<AtomicI32>,
    /// The thread has copied what the WAL held, or failed to, and the writer has not followed up yet.
    written: Arc<AtomicBool>,
    requests: Option<SyncSender<()>>,
    thread: Option<JoinHandle<()>>,
}

impl Checkpoints {
    /// Starts the thread, for the file `path` that `writer` has open.
    pub fn start(path: &Path, writer: &mut Connection) -> std::io::Result<Self> {
        let (pages, written) = (Arc::new(AtomicI32::new(0)), Arc::new(AtomicBool::new(false)));
        let (requests, inbox) = sync_channel(0); // a request is taken only while the thread is idle
        let (path, done) = (path.to_owned(), Arc::clone(&written));
        let thread = std::thread::Builder::new().name("store-checkpoint".to_owned()).spawn(move || {
            let mut connection = None;
            while inbox.recv().is_ok() {
                if let Err(error) = write(&path, &mut connection) {
                    // The writer does it later, and says so if it cannot.
                    tracing::debug!(%error, "cannot write a checkpoint");
                }
                done.store(true, Ordering::Relaxed);
            }
        })?;
        let size = Arc::clone(&pages);
        let hook = move |_: &mut rusqlite::hooks::Wal, pages| {
            size.store(pages, Ordering::Relaxed);
            Ok(())
        };
        // It replaces SQLite's own hook, which writes checkpoints within commits.
        writer.wal_hook(Some(hook)).map_err(std::io::Error::other)?;
        Ok(Self { pages, written, requests: Some(requests), thread: Some(thread) })
    }

    /// After a commit: asks for a checkpoint, or completes one.
    pub fn after_commit(&self, writer: &Connection) -> rusqlite::Result<()> {
        let pages = self.pages.load(Ordering::Relaxed);
        if pages < WAL_PAGES {
            self.written.store(false, Ordering::Relaxed); // SQLite has begun the WAL anew: there is nothing left to copy
            return Ok(());
        }
        if self.written.swap(false, Ordering::Relaxed) || pages >= MAX_WAL_PAGES {
            self.pages.store(0, Ordering::Relaxed); // until the next commit says otherwise
            return tidy::checkpoint(writer);
        }
        let request = self.requests.as_ref().map(|requests| requests.try_send(()));
        if let Some(Err(TrySendError::Disconnected(()))) = request {
            return tidy::checkpoint(writer); // the thread has panicked
        }
        Ok(())
    }
}

impl Drop for Checkpoints {
    fn drop(&mut self) {
        self.requests = None;
        if let Some(thread) = self.thread.take() {
            let _ = thread.join(); // Err: it panicked
        }
    }
}

fn write(path: &Path, connection: &mut Option<Connection>) -> rusqlite::Result<()> {
    let connection = match connection {
        Some(connection) => connection,
        None => connection.insert(reader::connect(path)?),
    };
    tidy::checkpoint(connection)
}
