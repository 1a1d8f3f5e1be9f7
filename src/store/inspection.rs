//! Reads for operators: the pending events of an account, the record of an event, the ledger, and the known accounts.
//!
//! In: filters. Out: rows that are also the JSON of the operators' listener. Invariants: nothing here changes anything; no row holds
//! personal data (a user is shown as keyed hashes); the cost of a page does not depend on the size of the store. Deliberately absent:
//! bodies, which only a dead letter shows.

use super::{EventFilter, EventPage, LedgerStatus, LookupPage, LookupQuery, StoreError};
use crate::domain::{AccountName, EventId, Timestamp, UserKey};
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// Reads of operators that no other trait has.
#[async_trait]
pub trait Inspection: Send + Sync {
    /// Whether the store has, or once had, an event or a saved health of this account.
    async fn knows_account(&self, account: &AccountName) -> Result<bool, StoreError>;

    /// When the oldest pending event of each of these accounts was received; `None` for one without pending events.
    async fn oldest_pending(&self, accounts: &[AccountName]) -> Result<Vec<Option<Timestamp>>, StoreError>;

    /// Pending events that match `filter` and have a seq above `after`, in log order: up to `limit` (at least one), or fewer if few match.
    /// The next page begins at [`BacklogPage::next`], until there is none.
    async fn backlog(&self, filter: &BacklogFilter, after: i64, limit: usize) -> Result<BacklogPage, StoreError>;

    /// The record of the event with this seq. `None`: there is no such event, or a compaction removed it.
    async fn event_record(&self, seq: i64) -> Result<Option<EventRecord>, StoreError>;

    /// Events that match `filter`, the newest first, with a seq below `before`: up to `limit` (at least one), or fewer if few match. The
    /// next page begins at [`EventPage::next`], until there is none. Events that were answered at receipt are included when they are
    /// written.
    async fn events(&self, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, StoreError>;

    /// The data of a user, or of single events. It searches by index, and reads of the log only the blocks that may hold an event of the
    /// user (see `user_key_filter`) and the events of the last seconds. It runs beside all other work.
    async fn lookup(&self, query: &LookupQuery) -> Result<LookupPage, StoreError>;
}

/// A filter of pending events; all its conditions must hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BacklogFilter {
    /// Of this account.
    pub account: AccountName,
    /// With this keyed hash among its user keys.
    pub user: Option<[u8; 16]>,
    /// Received before this moment.
    pub received_before: Option<Timestamp>,
}

impl BacklogFilter {
    /// Whether an event of the account matches.
    pub fn fits(&self, users: &[UserKey], received_at: Timestamp) -> bool {
        self.user.is_none_or(|user| users.iter().any(|key| *key.bytes() == user))
            && self.received_before.is_none_or(|moment| received_at < moment)
    }
}

/// A pending event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct PendingEvent {
    /// Its seq in the log.
    pub seq: i64,
    /// The event, as the log names it.
    pub event: String,
    /// The keyed hash of its `userId`, in hexadecimal digits.
    pub user_id_hash: Option<String>,
    /// The keyed hash of its e-mail address, in hexadecimal digits.
    pub email_hash: Option<String>,
    /// When it was received.
    #[schema(value_type = i64)]
    pub received_at: Timestamp,
    /// The number of failed attempts so far.
    pub failures: u32,
}

impl PendingEvent {
    /// An event with these user keys.
    pub fn new(seq: i64, id: EventId, users: &[UserKey], received_at: Timestamp, failures: u32) -> Self {
        let [user_id_hash, email_hash] = printed_hashes(users);
        Self { seq, event: id.to_string(), user_id_hash, email_hash, received_at, failures }
    }
}

/// The hashes of a `userId` and of an e-mail address among these keys, in hexadecimal digits.
pub(super) fn printed_hashes(users: &[UserKey]) -> [Option<String>; 2] {
    let mut hashes = [None, None];
    for key in users {
        hashes[usize::from(matches!(key, UserKey::Email(_)))] = Some(hex::encode(key.bytes()));
    }
    hashes
}

/// Some of the pending events of an account, in log order.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct BacklogPage {
    /// The events found.
    pub events: Vec<PendingEvent>,
    /// The seq after which the next page begins; `null` if this is the last page.
    pub next: Option<i64>,
}

/// The record of one event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventRecord {
    /// Its seq in the log.
    pub seq: i64,
    /// The account of the event.
    pub account: String,
    /// The event, as the log names it.
    pub event: String,
    /// The keyed hash of its `userId`, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub user_id_hash: Option<String>,
    /// The keyed hash of its e-mail address, in hexadecimal digits.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub email_hash: Option<String>,
    /// The id of the source at Segment (`projectId`), if the event names one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    /// When it was received.
    #[schema(value_type = i64)]
    pub received_at: Timestamp,
    /// The state of the event.
    pub state: EventState,
    /// The result, in one word.
    pub status: LedgerStatus,
    /// The outcome as a code; absent while it is pending.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub outcome: Option<String>,
    /// The reason of a dead letter, in words.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
}

/// The state of an event.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventState {
    /// It is pending, or being delivered.
    Pending,
    /// It was delivered, there was nothing to do, or its dead letter was replayed or discarded.
    Settled,
    /// It is kept as a dead letter.
    DeadLetter,
    /// It was answered at receipt, and not stored: refused, ignored, unsupported, or received before.
    Answered,
}
