//! The queue: where accepted events wait, safe on disk, each in its user's line, until they are carried out.
//!
//! # The promises of every engine
//! 1. [`Queue::record`] returns after the events are committed and synced, or with an error and none of them recorded.
//! 2. An event id recorded once is a [`Recorded::Duplicate`] from then on, at least until the window given to [`Queue::tidy`]
//!    has passed since it was recorded, and as long as it still waits.
//! 3. Events that share a user key, or whose keys lead to the same affiliate when they are recorded, are of one user; so are
//!    two events that share one with a third that waits with them, and they stay so when it has left. Of one user's waiting
//!    events only the earliest is ever claimable; one that was leased when it turned out not to be the earliest may be settled
//!    under its lease, together with what it was claimed with, and waits its turn after it.
//! 4. A claimed event is leased: nobody else claims it until it is settled or the lease expires. A settlement under a lease
//!    that was lost changes nothing and says so. After a restart, what was leased is claimable at once, as interrupted.
//! 5. [`Queue::checkpoint`] and [`Queue::settle`] write progress and memory in one transaction.
//! 6. An event leaves only by [`Settlement::Done`], or by [`Settlement::DoneWith`] of its head (its body is erased), by
//!    [`Settlement::Dead`] (kept as a dead letter), or by [`Queue::forget`] (kept as a dead letter without body).
//! 7. No transaction outlives a method.
//! 8. A dead letter stays until it is replayed or discarded, and its id is given once. Replayed, it is an event again and no
//!    dead letter: it takes its place behind whatever waits for its user, and neither its earlier record nor what was sent
//!    since makes it a duplicate. While the same event, sent again, waits, it is not replayed.
//! 9. What was erased cannot be had back: not by a replay, not from the file once [`Queue::tidy`] has run. Erasing reaches
//!    every dead letter that shares a key with the user, or with such a letter; it never touches an event that is leased.
//! 10. API keys of accounts that are not configured are kept as they are handed in: sealed. One that is kept again takes the
//!     place of the earlier one of its account.
//!
//! In go raw bodies and keyed hashes, out come the same bodies with what is remembered of their users. Deliberately absent:
//! any understanding of a body, any clock (moments are arguments), any wait.

mod entry;
mod letter;
mod sqlite;

pub use entry::{
    Batch, Behind, Change, Claimed, Depth, NewEvent, Place, QueueError, Recorded, Remember, Settlement, Ticket,
};
pub use letter::{Attempt, DeadLetter, Filter, Forgotten, Page, Replay};
pub use sqlite::{SqliteOpenError, SqliteQueue};

use crate::delivery::Progress;
use crate::domain::{AccountName, HashKey, SealedKey, Timestamp, UserKey};
use async_trait::async_trait;
use std::time::Duration;

/// A durable queue; see the module for its promises.
#[async_trait]
pub trait Queue: Send + Sync {
    /// The key of this store's hashes: made once, the same after every restart.
    fn hash_key(&self) -> &HashKey;

    /// Records events in this order, or none of them. One answer per event.
    async fn record(&self, events: Vec<NewEvent>) -> Result<Vec<Recorded>, QueueError>;

    /// Leases up to `limit` events of `account` that are claimable at `now`, the longest ready first; fewer where they are
    /// large (at least one if any is).
    async fn claim(
        &self,
        account: &AccountName,
        limit: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Batch, QueueError>;

    /// Writes down how far a delivery got, and holds the lease until `until`.
    async fn checkpoint(
        &self,
        ticket: &Ticket,
        progress: &Progress,
        change: Change,
        until: Timestamp,
    ) -> Result<(), QueueError>;

    /// Ends a claim.
    async fn settle(&self, ticket: &Ticket, settlement: Settlement, change: Change) -> Result<(), QueueError>;

    /// Mends what a clock left that has since been set back: what was received after `now`, the earliest moment it can be, is
    /// claimable at `now`, however long it was to wait.
    async fn mend(&self, now: Timestamp) -> Result<(), QueueError>;

    /// How much waits. Writes, so that its success proves the store writable.
    async fn depth(&self) -> Result<Depth, QueueError>;

    /// Dead letters that fit `filter`, with an id above `after`: up to `limit` (at least one), and fewer where few fit. Go
    /// on at [`Page::next`] until there is none.
    async fn dead_letters(&self, filter: &Filter, after: i64, limit: usize) -> Result<Page, QueueError>;

    /// One dead letter, with its history and its body.
    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, QueueError>;

    /// Lets dead letters wait again, in the order of their ids. [`QueueError::Full`] if so many do not fit in.
    async fn replay(&self, ids: &[i64]) -> Result<Vec<(i64, Replay)>, QueueError>;

    /// Throws dead letters away; the ids of those that were there.
    async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, QueueError>;

    /// Erases what is held of the user with these keys: bodies of waiting events and dead letters, links, affiliates.
    async fn forget(&self, users: &[UserKey], now: Timestamp) -> Result<Forgotten, QueueError>;

    /// Keeps sealed API keys, all or none of them; they are committed and synced when this returns.
    async fn keep_keys(&self, keys: Vec<SealedKey>) -> Result<(), QueueError>;

    /// Every API key that is kept.
    async fn kept_keys(&self) -> Result<Vec<SealedKey>, QueueError>;

    /// Forgets event ids recorded before `forget_before`, where there are very many some at each time and all in the course of
    /// hours; and gives space of settled events back.
    async fn tidy(&self, forget_before: Timestamp) -> Result<(), QueueError>;

    /// Finishes writing and closes the store; every later call is [`QueueError::Closed`].
    async fn close(&self);
}
