//! The writer: the thread that owns the only writing connection. It commits jobs in groups (group commit).
//!
//! Jobs that arrive while a commit is being synced form the next group and share its sync. No job is answered before the commit. If a job
//! fails, the group is rolled back, and each of its jobs runs again in a separate transaction, so that it fails alone. A savepoint is not
//! sufficient, because SQLite commits no transaction that has met a damaged page. When the thread ends, even by a panic, [`Writer::closed`]
//! returns and every later job is answered [`StoreError::Closed`]. Deliberately absent: a wait for more jobs, because the sync itself makes
//! groups grow with the load.

use super::checkpoint::Checkpoints;
use super::clean_shutdown;
use super::job::{ClosureJob, Job};
use super::open_files::OpenFiles;
use super::query::Query;
use super::schema::keep_wal_on_close;
use super::write_tx::{WriteTx, WriterState};
use crate::store::{Commit, StoreError};
use rusqlite::Connection;
use std::fs::File;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;
use tokio::sync::mpsc::{UnboundedReceiver, UnboundedSender, unbounded_channel};
use tokio::sync::oneshot;

/// The most jobs in a group, so that no caller waits for a very long commit.
const MAX_GROUP: usize = 512;

/// The open file, which is closed in order when it is dropped. Fields are dropped in this order: the lock last.
#[derive(Debug)]
pub struct SqliteFile {
    /// Writes the WAL into the file.
    pub checkpoints: Checkpoints,
    /// The only connection that writes.
    pub connection: Connection,
    /// The writer's state in memory.
    pub state: WriterState,
    /// Its files, held open.
    pub files: OpenFiles,
    /// The lock by which this process owns the file.
    #[expect(dead_code, reason = "held until it is dropped")]
    pub lock: File,
}

/// The handle of the thread. Dropping it waits until all jobs are done and the file is free again, unless it is detached.
#[derive(Debug)]
pub struct Writer {
    messages: UnboundedSender<WriterMessage>,
    thread: Option<JoinHandle<()>>,
    detached: AtomicBool,
}

type OutsideTransaction = Box<dyn FnOnce(&Connection) + Send>;

enum WriterMessage {
    Grouped(Box<dyn Job>),
    OutsideTransaction(OutsideTransaction),
    Close,
}

impl Writer {
    /// Starts the thread.
    pub fn start(store: SqliteFile) -> std::io::Result<Self> {
        let (messages, mut inbox) = unbounded_channel();
        let thread = std::thread::Builder::new().name("store-writer".to_owned());
        // The receiver is dropped after the store, so the file is free when the channel is closed.
        let thread = thread.spawn(move || run(store, &mut inbox))?;
        Ok(Self { messages, thread: Some(thread), detached: AtomicBool::new(false) })
    }

    /// Runs `work` in a transaction, perhaps more than once, and waits until it is committed and synced.
    pub async fn write<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnMut(&mut WriteTx<'_>) -> Result<T, StoreError> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(WriterMessage::Grouped(Box::new(ClosureJob::new(work, reply))))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Runs `work` outside any transaction.
    pub async fn outside_transaction<T, F>(&self, work: F) -> Result<T, StoreError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (reply, answer) = oneshot::channel();
        self.send(WriterMessage::OutsideTransaction(Box::new(move |connection| {
            // Err: the caller no longer waits.
            let _ = reply.send(work(connection).map_err(StoreError::from));
        })))?;
        answer.await.unwrap_or(Err(StoreError::Closed))
    }

    /// Dropping the handle does not wait from now on: the caller waits for [`Writer::close`], and may give that up.
    pub fn detach(&self) {
        self.detached.store(true, Ordering::Relaxed);
    }

    /// Finishes all jobs that were sent and ends the thread.
    pub async fn close(&self) {
        let _ = self.send(WriterMessage::Close); // Err: it has ended already
        self.closed().await;
    }

    /// Returns when the thread has ended and the file is free.
    pub async fn closed(&self) {
        self.messages.closed().await;
    }

    /// Whether the thread has ended.
    pub fn is_closed(&self) -> bool {
        self.messages.is_closed()
    }

    fn send(&self, message: WriterMessage) -> Result<(), StoreError> {
        self.messages.send(message).map_err(|_| StoreError::Closed)
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        let _ = self.send(WriterMessage::Close);
        if let Some(thread) = self.thread.take().filter(|_| !*self.detached.get_mut()) {
            let _ = thread.join(); // Err: it panicked, which was logged
        }
    }
}

fn run(mut store: SqliteFile, inbox: &mut UnboundedReceiver<WriterMessage>) {
    let mut next = None;
    while let Some(message) = next.take().or_else(|| inbox.blocking_recv()) {
        match message {
            WriterMessage::Close => break,
            WriterMessage::OutsideTransaction(work) => work(&store.connection),
            WriterMessage::Grouped(first) => {
                let mut group = vec![first];
                while next.is_none() && group.len() < MAX_GROUP {
                    match inbox.try_recv() {
                        Ok(WriterMessage::Grouped(job)) => group.push(job),
                        Ok(other) => next = Some(other),
                        Err(_) => break,
                    }
                }
                store.commit(group);
            }
        }
    }
}

impl SqliteFile {
    /// Runs a group in one transaction, or, if that fails, each of its jobs in its own transaction, and replies to the callers.
    fn commit(&mut self, mut group: Vec<Box<dyn Job>>) {
        let (before, began) = (self.connection.total_changes(), Instant::now());
        if self.run(&mut group).is_ok() {
            if self.connection.total_changes() > before {
                let commit = Commit { requests: group.len(), took: began.elapsed() };
                self.state.log.published().observer.committed(commit);
                self.state.log.published().written();
            }
            for job in group {
                job.reply(Ok(()));
            }
        } else {
            for mut job in group {
                let committed = self.run(std::slice::from_mut(&mut job)).map_err(|(error, by_job)| {
                    self.state.log.published().failed(&error, by_job);
                    error
                });
                job.reply(committed);
            }
        }
        let pending = self.state.log.published().lock().status.pending;
        if let Err(error) = self.checkpoints.after_commit(&self.connection, pending) {
            tracing::debug!(%error, "cannot write a checkpoint"); // the next commit fails for the same reason, which is reported
        }
    }

    /// Runs jobs in one transaction, and commits it. Err: the reason, and whether a job failed, not the transaction around it.
    fn run(&mut self, jobs: &mut [Box<dyn Job>]) -> Result<(), (StoreError, bool)> {
        let mut by_job = false;
        let run = |tx: &mut WriteTx<'_>| jobs.iter_mut().try_for_each(|job| job.run(tx)).inspect_err(|_| by_job = true);
        let committed = self.transaction(run);
        committed.map_err(|error| (error, by_job))
    }

    /// Runs `work` in a transaction. If that fails, its changes in memory are rolled back, too.
    pub fn transaction(
        &mut self,
        work: impl FnOnce(&mut WriteTx<'_>) -> Result<(), StoreError>,
    ) -> Result<(), StoreError> {
        let (connection, state) = (&self.connection, &mut self.state);
        let began = self.files.check().and_then(|()| connection.run("BEGIN IMMEDIATE", []));
        let worked = began.and_then(|_| work(&mut WriteTx { connection, state: &mut *state }));
        let committed = worked.and_then(|()| connection.run("COMMIT", []));
        if committed.is_err() {
            state.log.roll_back();
            let _ = connection.execute_batch("ROLLBACK"); // Err: SQLite has ended the transaction itself
        }
        committed.map(|_| state.log.commit())
    }
}

/// Marks the file as closed in order, without a transaction that has not committed; then the WAL is written into it. After a panic the file
/// stays as after a crash.
impl Drop for SqliteFile {
    fn drop(&mut self) {
        if std::thread::panicking() {
            return;
        }
        let _ = self.connection.execute_batch("ROLLBACK"); // Err: there is no transaction
        let closed = self.transaction(|tx| Ok(clean_shutdown::mark_closed(tx.connection)?));
        if let Err(error) = closed.and_then(|()| Ok(keep_wal_on_close(&self.connection, false)?)) {
            tracing::warn!(%error, "cannot mark the store as closed in order; nothing is lost by that");
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountName, EventId, Seq, Timestamp};
    use crate::store::NewEvent;
    use crate::store::published::Published;
    use crate::store::sqlite::append::insert;
    use crate::store::sqlite::open;
    use std::sync::Arc;

    struct Writing {
        writer: Writer,
        published: Arc<Published>,
        folder: tempfile::TempDir,
    }

    fn start() -> Writing {
        let folder = tempfile::tempdir().expect("a folder");
        let store = open::open(&folder.path().join("store.db"), 1 << 20).expect("opened");
        let published = Arc::clone(store.state.log.published());
        Writing { writer: Writer::start(store).expect("started"), published, folder }
    }

    fn append(tx: &mut WriteTx<'_>, n: u8) -> Result<Seq, StoreError> {
        let event = NewEvent {
            account: AccountName::from(format!("account {n}")),
            id: EventId([n; 16]),
            former_id: None,
            user_keys: Vec::new(),
            known_users_only: None,
            source: None,
            body: vec![b'x'; 40_000],
            received_at: Timestamp(0),
        };
        insert(tx, &event)
    }

    #[tokio::test]
    async fn a_full_disk_is_transient_and_shown_until_something_was_written() {
        let writing = start();
        let pages = |pages: i64| {
            writing
                .writer
                .outside_transaction(move |connection| connection.pragma_update(None, "max_page_count", pages))
        };
        pages(1).await.expect("no room for a further page");
        let full = writing.writer.write(|tx| append(tx, 1)).await;
        assert!(matches!(full, Err(StoreError::Transient(_))), "{full:?}");
        assert_eq!(writing.writer.write(|_| Ok(())).await, Ok(()), "what writes nothing succeeds");
        assert!(writing.published.lock().status.write_error.clone().is_some(), "but proves nothing");
        pages(1_000_000).await.expect("there is room");
        assert_eq!(writing.writer.write(|tx| append(tx, 1)).await, Ok(Seq(1)));
        assert_eq!(writing.published.lock().status.write_error.clone(), None);
    }

    /// What would be committed is gone when the process ends.
    #[tokio::test]
    async fn nothing_is_committed_into_a_file_that_was_removed_or_replaced() {
        for (name, replaced) in [("store.db", false), ("store.db", true), ("store.db-wal", false)] {
            let writing = start();
            assert_eq!(writing.writer.write(|tx| append(tx, 1)).await, Ok(Seq(1)));
            let file = writing.folder.path().join(name);
            if replaced {
                let other = writing.folder.path().join("other");
                std::fs::write(&other, "").expect("written");
                std::fs::rename(other, file).expect("replaced");
            } else {
                std::fs::remove_file(file).expect("removed");
            }
            let refused = writing.writer.write(|tx| append(tx, 2)).await;
            assert!(matches!(refused, Err(StoreError::Transient(_))), "{name}: {refused:?}");
            assert!(writing.published.lock().status.write_error.is_some(), "{name}");
        }
        let writing = start();
        let path = |name: &str| writing.folder.path().join(name);
        std::fs::rename(path("store.db"), path("moved.db")).expect("moved");
        assert_eq!(writing.writer.write(|tx| append(tx, 1)).await, Ok(Seq(1)), "a file that was moved has it");
    }

    #[tokio::test]
    async fn a_refusal_touches_no_other_job() {
        let writing = start();
        let refuse = |tx: &mut WriteTx<'_>| -> Result<(), StoreError> {
            let waiting = tx.state.log.pending(&AccountName::from("account 1".to_owned()));
            Err(StoreError::BacklogFull(waiting))
        };
        let (appended, refused) = tokio::join!(writing.writer.write(|tx| append(tx, 1)), writing.writer.write(refuse));
        assert_eq!((appended, refused), (Ok(Seq(1)), Err(StoreError::BacklogFull(1))));
        assert_eq!(writing.published.lock().status.write_error.clone(), None);
    }

    #[tokio::test]
    async fn jobs_that_were_sent_before_the_end_are_done() {
        let writing = start();
        let (appended, ()) = tokio::join!(writing.writer.write(|tx| append(tx, 1)), writing.writer.close());
        assert_eq!(appended, Ok(Seq(1)));
    }

    #[tokio::test]
    async fn every_caller_gets_an_error_when_the_thread_panics() {
        let writing = start();
        let broken = writing.writer.write(|_| -> Result<(), StoreError> { panic!("for a test") });
        let after = writing.writer.write(|tx| append(tx, 1));
        let (broken, after) = tokio::join!(broken, after);
        assert_eq!((broken, after), (Err(StoreError::Closed), Err(StoreError::Closed)));
        writing.writer.closed().await;
        assert_eq!(writing.writer.write(|tx| append(tx, 1)).await, Err(StoreError::Closed));
    }
}
