//! Measurements of a store, for metrics and for operators.
//!
//! [`Measured`] needs I/O, so it is read on request. A [`Commit`] is reported when it has happened.

use super::TraitsSize;
use crate::domain::Timestamp;
use std::collections::BTreeMap;
use std::fmt;
use std::sync::OnceLock;
use std::time::Duration;

/// A measurement of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Measured {
    /// When the oldest pending event of each account was received. Accounts without pending events are left out.
    pub oldest_pending: BTreeMap<String, Timestamp>,
    /// The number of dead letters, by account and by the reason's short word.
    pub dead_letters: BTreeMap<(String, String), u64>,
    /// The size of the remembered traits of users who are no affiliates yet, by account. Accounts without any are left out.
    pub remembered: BTreeMap<String, TraitsSize>,
    /// The number of users whose remembered traits this process dropped because their account had reached its limit.
    pub remembered_dropped: u64,
    /// The size on disk, in bytes.
    pub size: u64,
    /// The free space on that disk, in bytes; none if the store does not know it.
    pub free: Option<u64>,
    /// The number of ids of the deduplication index in memory.
    pub deduplication_ids: u64,
    /// The memory of that index, in bytes.
    pub deduplication_bytes: u64,
    /// The number of events that the ledger could not record, because too many were answered at once.
    pub ledger_dropped: u64,
}

/// A commit that changed the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The number of requests to the store that shared it.
    pub requests: usize,
    /// Its duration, with its sync to disk.
    pub took: Duration,
}

/// Receives every commit. It is called on the thread that commits, so it must be quick.
pub type OnCommit = Box<dyn Fn(Commit) + Send + Sync>;

/// The receiver of commits, if there is one.
#[derive(Default)]
pub struct CommitObserver(OnceLock<OnCommit>);

impl CommitObserver {
    /// Passes every commit from now on to `on_commit`, unless there is a receiver already.
    pub fn set(&self, on_commit: OnCommit) {
        let _ = self.0.set(on_commit); // Err: there is another one
    }

    /// A commit has happened.
    pub fn committed(&self, commit: Commit) {
        if let Some(on_commit) = self.0.get() {
            on_commit(commit);
        }
    }
}

impl fmt::Debug for CommitObserver {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CommitObserver")
    }
}
