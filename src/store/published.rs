//! The counts that every thread can read without I/O: pending events, dead letters, and whether the store can be written.
//!
//! In: the changes of each commit, and its failure. Out: the counts as of the last commit. Invariants: a commit costs nothing for
//! accounts that it did not change; a lasting failure is logged when it begins, once a minute, and when it is over.

use super::failure_log_throttle::FailureLogThrottle;
use super::{CommitObserver, StoreError, StoreStatus};
use crate::domain::AccountName;
use parking_lot::{Mutex, MutexGuard};
use std::collections::BTreeMap;

/// Counts as of the last commit, and whether the store can be written.
#[derive(Debug, Default)]
pub struct Published {
    counts: Mutex<Counts>,
    failures: Mutex<FailureLogThrottle>,
    /// Receives every commit.
    pub observer: CommitObserver,
}

/// The content of [`Published`]. It is never cloned, because it grows with the number of accounts.
#[derive(Debug, Default)]
pub struct Counts {
    /// The status.
    pub status: StoreStatus,
    /// The number of pending events of each account. Accounts without pending events are left out.
    pub pending: BTreeMap<String, u64>,
    /// The last seq that was assigned.
    pub last_seq: i64,
    /// The number of ids of the deduplication index in memory, and their bytes.
    pub deduplication: (u64, u64),
}

impl Published {
    /// The counts at opening.
    pub fn new(counts: Counts) -> Self {
        Self { counts: Mutex::new(counts), failures: Mutex::default(), observer: CommitObserver::default() }
    }

    /// Locks the counts. The lock must not be held for long.
    pub fn lock(&self) -> MutexGuard<'_, Counts> {
        self.counts.lock()
    }

    /// The status. `is_closed`: it reports that the store is closed.
    pub fn status(&self, is_closed: bool) -> StoreStatus {
        let mut status = self.lock().status.clone();
        if is_closed {
            status.write_error = Some(StoreError::Closed.to_string());
        }
        status
    }

    /// A commit succeeded: the store can be written.
    pub fn written(&self) {
        if self.lock().status.write_error.take().is_some() {
            self.failures.lock().reset();
            tracing::info!("the store can be written again");
        }
    }

    /// A commit failed: the store cannot be written, unless only `one_request` failed permanently.
    pub fn failed(&self, error: &StoreError, one_request: bool) {
        if !one_request || matches!(error, StoreError::Transient(_)) {
            let before = self.lock().status.write_error.replace(error.to_string());
            if before.is_none() {
                self.failures.lock().reset(); // the change of the state is logged, whatever failed before
            }
        }
        if self.failures.lock().due() {
            tracing::error!(%error, "the store could not commit; nothing of it was stored");
        }
    }

    /// A transaction has committed. `changed`: the numbers of pending events of accounts; `dead`: the number of added dead letters;
    /// `last_seq`: the seq that was assigned last.
    pub fn commit<'a>(&self, changed: impl Iterator<Item = (&'a AccountName, u64)>, dead: i64, last_seq: i64) {
        let mut counts = self.lock();
        for (name, waiting) in changed {
            let before = match counts.pending.get_mut(name.as_str()) {
                Some(before) if waiting > 0 => std::mem::replace(before, waiting),
                Some(_) => counts.pending.remove(name.as_str()).unwrap_or(0),
                None if waiting > 0 => counts.pending.insert(name.as_str().to_owned(), waiting).unwrap_or(0),
                None => 0,
            };
            counts.status.pending = (counts.status.pending + waiting).saturating_sub(before);
        }
        counts.status.dead = counts.status.dead.saturating_add_signed(dead);
        counts.last_seq = last_seq;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(n: u32) -> AccountName {
        AccountName::from(format!("account {n}"))
    }

    #[test]
    fn a_store_that_cannot_be_written_says_so_until_something_was_written() {
        let published = Published::default();
        let write_error = || published.status(false).write_error;
        let (full, damaged) = (StoreError::Transient("full".to_owned()), StoreError::Corrupt("a page".to_owned()));
        published.failed(&damaged, true);
        assert_eq!(write_error(), None, "others can be written");
        for (error, one_request) in [(&damaged, false), (&full, true)] {
            published.failed(error, one_request);
            assert_eq!(write_error(), Some(error.to_string()));
            published.written();
            assert_eq!(write_error(), None);
        }
        assert_eq!(published.status(true).write_error, Some(StoreError::Closed.to_string()));
    }

    /// Counts of a thousand accounts are not copied for an event of one: an account that did not change stays where it is.
    #[test]
    fn a_commit_touches_the_counts_of_no_account_but_its_own() {
        let published = Published::default();
        let names: Vec<AccountName> = (0..1_000).map(account).collect();
        published.commit(names.iter().map(|name| (name, 1)), 0, 1_000);
        let addresses = || -> Vec<*const u8> { published.lock().pending.keys().map(|name| name.as_ptr()).collect() };
        let before = addresses();
        published.commit([(&account(7), 2)].into_iter(), 0, 1_001);
        assert!(addresses() == before, "none was copied");
        published.commit([(&account(7), 0)].into_iter(), 1, 1_001);
        assert_eq!(addresses().len(), 999);
        let counts = published.lock();
        assert_eq!((counts.status.pending, counts.status.dead, counts.last_seq), (999, 1, 1_001));
    }
}
