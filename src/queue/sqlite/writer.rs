//! The one writer: a thread that owns the connection and commits in groups.
//!
//! Jobs that arrive while a commit is being synced form the next group and share its sync; nobody is told of success before
//! it. Jobs for which nobody is in a hurry wait a moment for others: a commit costs much the same for one as for twenty. A
//! failing job fails its whole group: the transaction is rolled back, so an error means that nothing changed.
//! Deliberately absent: a wait for more jobs where somebody waits; the sync itself makes the group grow with the load.

use super::counts::Counts;
use super::inbox::{Haste, Inbox, Taker};
use super::recent::Recent;
use crate::queue::QueueError;
use rusqlite::Connection;
use std::fs::File;
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;
use tokio::sync::oneshot;

/// What the writer owns.
#[derive(Debug)]
pub struct Store {
    /// The only connection to the file.
    pub connection: Connection,
    /// What would be dear to count each time.
    pub counts: Counts,
    /// Rows that are not in their places yet.
    pub recent: Recent,
    /// How far the walk through the event ids has come.
    pub walked: Vec<u8>,
    /// Held as long as the store is open; dropped after the connection.
    pub _lock: File,
}

/// The handle to the writer thread. Dropping it waits until the thread has ended and the file is free again.
#[derive(Debug)]
pub struct Writer {
    inbox: Arc<Inbox<Job>>,
    thread: Option<JoinHandle<()>>,
}

/// How long a job waits for others: long enough for many at some thousand a second, and not to be noticed beside a call to
/// Refersion.
const PATIENCE: Duration = Duration::from_millis(5);

/// Runs inside a transaction; what it returns is told after the commit.
type Work = Box<dyn FnOnce(&mut Store) -> rusqlite::Result<Tell> + Send>;
type Tell = Box<dyn FnOnce(Result<(), QueueError>) + Send>;
type Lone = Box<dyn FnOnce(&Connection) + Send>;

/// What runs in a transaction, and who hears if it fails.
type Grouped = (Work, oneshot::Sender<QueueError>);

enum Job {
    Grouped(Grouped),
    Alone(Lone),
    Close(oneshot::Sender<()>),
}

/// More jobs than this wait for the next group, so that no answer waits for a very long commit.
const MAX_GROUP: usize = 512;

impl Writer {
    /// Starts the thread.
    pub fn start(store: Store) -> Self {
        let inbox = Arc::new(Inbox::default());
        let jobs = Arc::clone(&inbox);
        let thread = std::thread::spawn(move || run(store, &jobs.taker()));
        Self { inbox, thread: Some(thread) }
    }

    /// Runs `work` in a transaction and waits until it is committed and synced.
    pub async fn write<T, F>(&self, haste: Haste, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&mut Store) -> rusqlite::Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let (fail, failed) = oneshot::channel();
        let job = Box::new(move |store: &mut Store| {
            let done = work(store)?;
            Ok(Box::new(move |committed: Result<(), QueueError>| {
                // Err: nobody waits for the answer any more.
                let _ = tell.send(committed.map(|()| done));
            }) as Tell)
        });
        self.put(haste, Job::Grouped((job, fail)))?;
        match told.await {
            Ok(result) => result,
            Err(_) => Err(failed.await.unwrap_or(QueueError::Closed)),
        }
    }

    /// Runs `work` outside any transaction.
    pub async fn alone<T, F>(&self, work: F) -> Result<T, QueueError>
    where
        T: Send + 'static,
        F: FnOnce(&Connection) -> rusqlite::Result<T> + Send + 'static,
    {
        let (tell, told) = oneshot::channel();
        let job = Box::new(move |connection: &Connection| {
            let _ = tell.send(work(connection).map_err(|error| failed(&error)));
        });
        self.put(Haste::Now, Job::Alone(job))?;
        told.await.unwrap_or(Err(QueueError::Closed))
    }

    /// Lets everything handed in so far finish, and ends the thread.
    pub async fn close(&self) {
        let (tell, told) = oneshot::channel();
        if self.inbox.close(Some(Job::Close(tell))) {
            let _ = told.await;
        }
    }

    fn put(&self, haste: Haste, job: Job) -> Result<(), QueueError> {
        if self.inbox.put(haste, job) { Ok(()) } else { Err(QueueError::Closed) }
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        self.inbox.close(None);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn run(mut store: Store, inbox: &Taker<'_, Job>) {
    while let Some((haste, job)) = next(&mut store, inbox) {
        match job {
            Job::Alone(work) => work(&store.connection),
            Job::Close(tell) => {
                drop(store);
                let _ = tell.send(());
                return;
            }
            Job::Grouped(first) => {
                if haste == Haste::Soon {
                    inbox.linger(PATIENCE);
                }
                commit(&mut store, gather(first, inbox));
            }
        }
    }
}

/// The next job. Before each a portion of what is in its place is learned where that is worth it, and more while there is none.
fn next(store: &mut Store, inbox: &Taker<'_, Job>) -> Option<(Haste, Job)> {
    loop {
        let more = store.recent.learn(&store.connection).unwrap_or_else(|error| {
            tracing::error!(%error, "cannot read the store");
            false
        });
        if !more || !inbox.is_idle() {
            return inbox.take();
        }
    }
}

/// A group of all that are there, as far as they can be in one.
fn gather(first: Grouped, inbox: &Taker<'_, Job>) -> Vec<Grouped> {
    let mut group = vec![first];
    while group.len() < MAX_GROUP
        && let Some(Job::Grouped(next)) = inbox.take_if(|job| matches!(job, Job::Grouped(_)))
    {
        group.push(next);
    }
    group
}

/// Runs a group in one transaction. Every job hears either of the commit or of the failure.
fn commit(store: &mut Store, group: Vec<Grouped>) {
    let before = store.counts.clone();
    let mut tells = Vec::new();
    let mut fails = Vec::new();
    let mut outcome = store.connection.execute_batch("BEGIN IMMEDIATE").map_err(|error| failed(&error));
    for (work, fail) in group {
        if outcome.is_ok() {
            match work(store) {
                Ok(tell) => {
                    tells.push(tell);
                    continue;
                }
                Err(error) => outcome = Err(failed(&error)),
            }
        }
        fails.push(fail);
    }
    if outcome.is_ok() {
        outcome = finish(store, &before).map_err(|error| failed(&error));
    }
    if let Err(error) = &outcome {
        tracing::error!(%error, "the store could not commit; nothing of this group was changed");
        if !store.connection.is_autocommit() {
            let _ = store.connection.execute_batch("ROLLBACK");
        }
        store.counts = before;
        store.recent.rolled_back();
        for fail in fails {
            let _ = fail.send(error.clone());
        }
    } else {
        store.recent.committed();
    }
    for tell in tells {
        tell(outcome.clone());
    }
}

fn finish(store: &mut Store, before: &Counts) -> rusqlite::Result<()> {
    store.counts.keep(&store.connection, before)?;
    store.recent.keep(&store.connection)?;
    store.connection.execute_batch("COMMIT")
}

fn failed(error: &rusqlite::Error) -> QueueError {
    QueueError::Failed(error.to_string())
}
