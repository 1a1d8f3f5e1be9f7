//! The store: accepted events in a durable log (which is the queue, and an outbox of the deliveries), the affiliate index, dead letters,
//! sealed API keys.
//!
//! The traits are divided by caller: [`EventLog`] (HTTP server and delivery workers), [`AffiliateIndex`] (delivery workers),
//! [`DeadLetters`], [`Inspection`] (operators), [`Ledger`], [`ApiKeyVault`], [`Maintenance`] and [`Ownership`] (assembly). One method
//! changes in one transaction the rows that change together. An engine is an adapter: it has rows and transactions. [`crate::scheduling`]
//! decides which events may run, [`crate::delivery`] which calls they need. The files beside the engines' folders are for every engine:
//! formats of columns and rows, decisions about events to append, settle or erase, the events in flight, the published counts.
//!
//! # The promises of every engine
//! 1. [`EventLog::append`] returns after the events are committed and synced, or with an error and none of them appended. There is one
//!    exception: if a connection to PostgreSQL is lost during the commit, there is an error although they may be appended. Sent again, they
//!    are then duplicates.
//! 2. [`Seq`]s are assigned in commit order, so a reader that has read up to one misses none below it. None is assigned twice.
//! 3. An event id appended once is a [`Appended::Duplicate`] until the window given to [`Maintenance::compact`] has passed, or longer:
//!    while the event is pending, and while its dead letter is kept. An id is known as soon as the transaction that appended it has
//!    committed, and not before.
//! 4. [`EventLog::read`] returns pending events in log order, with the affiliates their keys lead to.
//! 5. [`EventLog::begin`] returns bodies and known affiliates of pending events. An event that is begun and not yet released or
//!    settled is in flight: [`DeadLetters::forget`] does not erase it, and reports it.
//! 6. [`EventLog::save_progress`] and [`EventLog::settle`] write progress and the affiliate index in one transaction. A unit
//!    whose progress was saved is one unit again after a restart, at the place of its head, and interrupted.
//! 7. A pending event ends only by [`Settlement::Done`] (its body is erased), by [`Settlement::Dead`] or [`DeadLetters::set_aside`]
//!    (kept as a dead letter), or by [`DeadLetters::forget`] (kept as a dead letter without body and keys).
//! 8. A dead letter stays until it is replayed, moved to another account, or discarded; its id is assigned once. A replay appends it again,
//!    after all pending events of its user, and its event id leads to the new entry. It is not replayed while the same event, sent again,
//!    is pending.
//! 9. Erased content cannot be recovered: not by a replay and, with SQLite, not from the files once [`Maintenance::compact`] has run. Of rows
//!    that have no body (keyed hashes, Refersion's identifiers, sealed blobs) SQLite may leave a part where it moved them.
//!    PostgreSQL does not overwrite: a vacuum frees dead tuples for new rows, and until these are written the old bytes are in the
//!    server's files, its WAL and its backups.
//! 10. No transaction outlives a method. Reading one account costs nothing for another's backlog.
//! 11. API keys are stored as they are passed in: sealed. A later key of an account replaces the earlier one.
//! 12. The moment of a deletion is kept for every key it erased: of a delete that was carried out, of one whose user was unknown when
//!     it was appended, and of an operator's erasure; until [`Retention::deletions`] has passed its receipt. It is kept for a deleted
//!     affiliate, too, so that a page of Refersion's list that was read before does not bring it back.
//! 13. What is remembered of a user who is no affiliate yet is kept and erased in the transaction of the settlement that says so. A
//!     deletion and an operator's erasure erase it, found by the key of the `userId` or of the e-mail address in it, and it does not
//!     come back with a settlement that was begun before.
//! 14. Where several processes share a store, [`EventLog::read`], [`EventLog::begin`], [`EventLog::save_progress`],
//!     [`EventLog::settle`], [`AffiliateIndex::remember_listed`] and [`Maintenance::save_health`] of an account are for its owner
//!     alone: every other process gets [`StoreError::NotOwner`], and nothing is changed.
//! 15. An event that was answered without being appended is an entry of the log once [`Ledger::write_recorded`] has returned: never
//!     pending, without body, and never a repeat. Entries stay until the window of the ledger passes. Recording waits for nothing.
//!
//! To add a table: for SQLite, its SQL and a higher `VERSION` in `store/sqlite/schema.rs`, and a step in `store/sqlite/migrations.rs`
//! (what a step inserts into every file, `schema::create` must insert, too); for PostgreSQL, a `Migration` in
//! `store/postgres/schema.rs`, which the previous release must be able to work with; for both, the table in `store/transfer.rs`, and, if
//! it has data of users, what `compact`, `erase` and `forget` do with it. Deliberately absent: parsing of bodies, any clock (moments are
//! arguments), any timer.

pub mod affiliate_list;
mod append_decision;
mod body;
mod dead_letter;
mod erasure;
mod event_log;
mod failure_log_throttle;
mod history;
mod in_flight;
mod inspection;
mod ledger;
mod ledger_status;
mod lookup;
mod measured;
mod ownership;
mod portions;
mod postgres;
mod published;
mod remembered;
mod rows;
mod sqlite;
pub mod transfer;
mod user_key_filter;
mod user_keys;

pub use dead_letter::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, FailedAttempt, Forgotten, MovedDeadLetter, PageStart, Replay,
    ReplayResult,
};
pub use event_log::{
    AffiliateChanges, Appended, Begun, EmailConflict, Follower, KnownUsersOnly, NewEvent, ReadUpTo, Remember,
    Retention, Settlement, StoreError, StoreStatus,
};
pub use inspection::{BacklogFilter, BacklogPage, EventRecord, EventState, Inspection, PendingEvent};
pub use ledger::{AnsweredEvent, LedgerBuffer};
pub use ledger_status::{EventFilter, EventPage, LedgerStatus};
pub use lookup::{FoundAffiliate, FoundBy, LookupPage, LookupQuery, SentAttribute};
pub use measured::{Commit, CommitObserver, Measured, OnCommit};
pub use ownership::{DoneElsewhere, Hint, Lease, Ownership, Term};
pub use postgres::{
    DatabaseState, DatabaseTables, PostgresOpenError, PostgresSource, PostgresStore, PostgresTarget, PostgresUrl,
    PostgresUrlError,
};
pub use remembered::{FoundTraits, KeptTraits, TraitsChange, TraitsLimits, TraitsSize};
pub use sqlite::{CopyError, FinishedCopy, SqliteOpenError, SqliteSource, SqliteStore, SqliteTarget, back_up, restore};

use crate::delivery::{Progress, RecalledAffiliate};
use crate::domain::{AccountName, AffiliateCode, HashKey, SealedApiKey, Seq, Timestamp, UserKey};
use crate::scheduling::{Entry, Unit};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// Limits of a store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StoreLimits {
    /// The most pending events of one account.
    pub max_backlog: u64,
    /// The memory for the deduplication index of the SQLite engine, in bytes. It is a target: compaction moves the oldest ids to the disk,
    /// where they are still found.
    pub deduplication_memory: usize,
}

impl Default for StoreLimits {
    /// The defaults of the manual, for a trial store and for tests; the service passes its settings.
    fn default() -> Self {
        Self { max_backlog: 1_000_000, deduplication_memory: 64 * 1024 * 1024 }
    }
}

/// Accepted events, in commit order, until they are settled; and the affiliates of their users.
#[async_trait]
pub trait EventLog: Send + Sync {
    /// The hash key of this store: made once, and the same after every restart.
    fn hash_key(&self) -> &HashKey;

    /// Appends events in this order, or none of them. One answer per event. The exception of promise 1: a lost connection to PostgreSQL.
    /// Events that are not appended are recorded ([`Ledger::recorded`]).
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError>;

    /// Up to `limit` (some hundreds, so that the read is short) pending entries of `account` with a [`Seq`] above `after`, in log order.
    /// Fewer than `limit`: the log was read to its end.
    async fn read(&self, account: &AccountName, after: Seq, limit: usize) -> Result<Vec<Entry>, StoreError>;

    /// Begins units of `account`, and returns their bodies, memory and progress in the order of `units`. `None` for a unit whose head is
    /// not pending, or no longer. It returns fewer units, but at least one, if their bodies reach a bound of some mebibytes. All returned
    /// events are in flight until they are settled or released.
    async fn begin(&self, account: &AccountName, units: &[Unit]) -> Result<Vec<Option<Begun>>, StoreError>;

    /// The record of the affiliate of `account` with this code, for an event with these user keys. `None` if there is none.
    async fn recall(
        &self,
        account: &AccountName,
        code: &AffiliateCode,
        keys: &[UserKey],
    ) -> Result<Option<RecalledAffiliate>, StoreError>;

    /// Releases events: they are no longer in flight, and pending as before. No I/O.
    fn release(&self, seqs: &[Seq]);

    /// Saves that `unit` is begun, and its progress. Marks the followers as begun with the head, in place of an earlier mark.
    async fn save_progress(
        &self,
        account: &AccountName,
        unit: &Unit,
        progress: &Progress,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError>;

    /// Ends an attempt at `unit`, whose events are no longer in flight. [`StoreError::NotPending`] if the head is not pending.
    async fn settle(
        &self,
        account: &AccountName,
        unit: &Unit,
        settlement: Settlement,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError>;
}

/// The ledger entries of events that were not appended.
#[async_trait]
pub trait Ledger: Send + Sync {
    /// The events that were answered without being appended, and are not written yet.
    fn recorded(&self) -> &LedgerBuffer;

    /// Writes these events into the log, all or none of them.
    async fn write(&self, events: Arc<Vec<AnsweredEvent>>) -> Result<(), StoreError>;

    /// Writes the recorded events into the log. Events that cannot be written stay in the buffer.
    async fn write_recorded(&self) -> Result<(), StoreError> {
        loop {
            let events = Arc::new(self.recorded().take());
            if events.is_empty() {
                return Ok(());
            }
            if let Err(error) = self.write(Arc::clone(&events)).await {
                self.recorded().give_back(Arc::unwrap_or_clone(events));
                return Err(error);
            }
        }
    }
}

/// Affiliates of Refersion's list.
#[async_trait]
pub trait AffiliateIndex: Send + Sync {
    /// The saved progress of reading the list of `account`; `None` if none was saved. Opaque to the store.
    async fn list_progress(&self, account: &AccountName) -> Result<Option<String>, StoreError>;

    /// Remembers affiliates of a page of the list of `account`, and saves the progress of reading it. Returns the affiliates that were
    /// remembered. A known affiliate stays as it is. An affiliate is left out if one of its user keys leads to another one, or if it was
    /// deleted and the moment is still kept. No two of `affiliates` may have the same code or a common user key.
    async fn remember_listed(
        &self,
        account: &AccountName,
        affiliates: Vec<Remember>,
        progress: String,
    ) -> Result<Vec<Remember>, StoreError>;
}

/// Events that failed permanently, and the erasure of a user.
#[async_trait]
pub trait DeadLetters: Send + Sync {
    /// Dead letters that match `filter`, from `start` on: up to `limit` (at least one), or fewer if few match. The next page begins at
    /// [`DeadLetterPage::next`], until there is none.
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        start: PageStart,
        limit: usize,
    ) -> Result<DeadLetterPage, StoreError>;

    /// One dead letter, with its history and its body.
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError>;

    /// Appends dead letters again (redelivers, or redrives them), in the order of their ids. [`StoreError::BacklogFull`] if so many do not
    /// fit in.
    async fn replay(&self, ids: &[i64]) -> Result<Vec<ReplayResult>, StoreError>;

    /// Deletes dead letters; returns the ids of those that existed.
    async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError>;

    /// Turns up to `limit` pending events of an account without a worker into dead letters, with the code `account_gone`, in log order and
    /// in one transaction; returns their number. Events in flight stay. `None`: a process owns the account, and nothing was changed. With
    /// SQLite the caller must know that this process has no worker for the account.
    async fn set_aside(&self, account: &AccountName, now: Timestamp, limit: usize) -> Result<Option<u64>, StoreError>;

    /// Appends dead letters to another account, in the order of their ids, each as the event given with it, and deletes them in the same
    /// transaction. Events that the other account has already stay dead letters. [`StoreError::BacklogFull`] if the others do not fit.
    async fn move_dead_letters(&self, moved: Vec<MovedDeadLetter>) -> Result<Vec<ReplayResult>, StoreError>;

    /// Erases the data of the user of `account` with these keys: bodies of pending events and dead letters, links, affiliates, and the user
    /// keys in the log. Reads the log in portions, and erases in one transaction.
    async fn forget(&self, account: &AccountName, users: &[UserKey], now: Timestamp) -> Result<Forgotten, StoreError>;

    /// The counts of what [`DeadLetters::forget`] would erase now. Changes nothing.
    async fn forget_preview(&self, account: &AccountName, users: &[UserKey]) -> Result<Forgotten, StoreError>;
}

/// Sealed API keys of accounts that are not configured.
#[async_trait]
pub trait ApiKeyVault: Send + Sync {
    /// Keeps sealed API keys, all or none of them; they are committed and synced when this returns.
    async fn keep_api_keys(&self, keys: Vec<SealedApiKey>) -> Result<(), StoreError>;

    /// Every API key that is kept.
    async fn kept_api_keys(&self) -> Result<Vec<SealedApiKey>, StoreError>;

    /// Removes the API key of an account; returns whether there was one. The account's events stay.
    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError>;
}

/// Status, account health, compaction and the end of a store.
#[async_trait]
pub trait Maintenance: Send + Sync {
    /// The counts of the store, and whether it can be written, as of the last write. No I/O.
    fn status(&self) -> StoreStatus;

    /// Commits a small change, so that [`Maintenance::status`] is up to date.
    async fn probe(&self) -> Result<(), StoreError>;

    /// Measures the store by a few reads, whose number does not depend on the number of events.
    async fn measure(&self) -> Result<Measured, StoreError>;

    /// Reports every later commit that changed something to `on_commit`; a second call changes nothing.
    fn on_commit(&self, on_commit: OnCommit);

    /// The number of pending events, by account. No I/O.
    fn pending(&self) -> BTreeMap<String, u64>;

    /// The saved health of the account; `None` if none was saved. Opaque to the store.
    async fn health(&self, account: &AccountName) -> Result<Option<String>, StoreError>;

    /// Saves the account's health for the next owner and for the time after a restart.
    async fn save_health(&self, account: &AccountName, health: String) -> Result<(), StoreError>;

    /// Makes these user keys lead to no affiliate. The affiliates stay.
    async fn unlink(&self, keys: Vec<UserKey>) -> Result<(), StoreError>;

    /// Up to `limit` affiliates whose e-mail address could not be changed because another affiliate has it: of `account`, or of all
    /// accounts. The next page begins after the last [`EmailConflict::place`]; the first is above 0.
    async fn email_conflicts(
        &self,
        account: Option<&AccountName>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<EmailConflict>, StoreError>;

    /// The time from the end of a [`compact`](Self::compact) to the next one.
    fn compaction_interval(&self) -> Duration;

    /// Removes old settled events, ids, moments of deletions and remembered traits, in portions (all of them within hours), and frees the
    /// space of erased content. SQLite overwrites the content before (promise 9); an error may say that this is not possible yet.
    async fn compact(&self, before: Retention) -> Result<(), StoreError>;

    /// Returns when the store has ended: it was closed, its writer has failed permanently, one of its tasks has panicked, or its tables have
    /// become too new for this release.
    async fn closed(&self);

    /// Writes the recorded events, finishes writing and closes the store. Every later call returns [`StoreError::Closed`].
    async fn close(&self);
}

/// All traits of a store, for callers that need several of them.
pub trait Store:
    EventLog + Ledger + AffiliateIndex + DeadLetters + Inspection + ApiKeyVault + Maintenance + Ownership
{
}

impl<T: EventLog + Ledger + AffiliateIndex + DeadLetters + Inspection + ApiKeyVault + Maintenance + Ownership> Store
    for T
{
}
