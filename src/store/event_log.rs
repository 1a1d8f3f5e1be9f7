//! The types of the [`EventLog`](super::EventLog): events to append, events that were begun, and settlements.

use super::{FailedAttempt, TraitsChange, TraitsLimits};
use crate::delivery::{AffiliateRecord, Memory, OutcomeCode, Progress};
use crate::domain::{
    AccountName, AffiliateCode, AffiliateId, EventId, HashKey, Seq, SourceId, Timestamp, User, UserKey,
};
use crate::segment::Event;
use serde::{Deserialize, Serialize};
use std::time::Duration;
use utoipa::ToSchema;

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The account of the event.
    pub account: AccountName,
    /// Its identity, by which a repeat is recognised.
    pub id: EventId,
    /// The identity that releases before 0.3.0 gave it, if it was another one. An event of that identity is a repeat if it was appended
    /// before this store was migrated from version 6, and has the same user keys or none any more.
    pub former_id: Option<EventId>,
    /// The user keys: one or two.
    pub user_keys: Vec<UserKey>,
    /// Set for an event that applies only to known users.
    pub known_users_only: Option<KnownUsersOnly>,
    /// The source at Segment, if the event names one.
    pub source: Option<SourceId>,
    /// The raw bytes, as received.
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: Timestamp,
}

impl NewEvent {
    /// The event with this text and this user, as `account` receives it. The caller sets [`known_users_only`](Self::known_users_only).
    pub fn received(
        account: &AccountName,
        hash: &HashKey,
        (event, text): (&Event<'_>, &str),
        user: &User,
        received_at: Timestamp,
    ) -> Self {
        let keys = user.keys(hash, account);
        let (id, former_id) = event.ids(text, hash, account, &keys);
        Self {
            account: account.clone(),
            id,
            former_id,
            user_keys: keys,
            known_users_only: None,
            source: event.source(),
            body: text.as_bytes().to_vec(),
            received_at,
        }
    }
}

/// The condition that an event is appended only if its user is known: there is an affiliate, a dead letter with a body, or an earlier
/// pending event of the user. If it is not certain whether an event is pending, the event is appended and the worker decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUsersOnly {
    /// How far the worker of the account has read the log without a pending event of this user. `None`: the worker does not know. Then the
    /// engine must be certain by itself, for instance because the account has no pending event at all.
    pub none_pending_up_to: Option<ReadUpTo>,
    /// The moment of a delete. If its user is unknown, the moment is kept like [`AffiliateChanges::deleted_at`].
    pub deleted_at: Option<Timestamp>,
    /// The outcome of the event if its user is unknown.
    pub if_unknown: OutcomeCode,
}

/// How far a worker has read the log of its account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadUpTo {
    /// The number of the lease under which it read ([`Lease::number`](super::Lease::number)). Under a later one, another server may have
    /// given the seqs to other events.
    pub lease: u64,
    /// The seq up to which it read.
    pub seq: Seq,
}

/// The result of appending one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is committed and synced.
    Accepted {
        /// Its seq in the log.
        seq: Seq,
        /// The number of pending events of the account before it, of any user.
        pending: u64,
    },
    /// It was appended before.
    Duplicate,
    /// It was not appended, because its user is not known. Its id is not recorded, so it is no repeat when it is sent again.
    UnknownUser,
}

/// A begun event, with everything needed to deliver it.
#[derive(Debug)]
pub struct Begun {
    /// Its seq in the log.
    pub seq: Seq,
    /// Its identity.
    pub id: EventId,
    /// The raw bytes; or the name of the part of this event that the store cannot read.
    pub body: Result<Vec<u8>, String>,
    /// The user keys.
    pub user_keys: Vec<UserKey>,
    /// The affiliates that these user keys lead to.
    pub memory: Memory,
    /// The progress of earlier attempts.
    pub progress: Progress,
    /// Whether an earlier attempt saved its progress and ended without a settlement. The call that it was about to make may have had its
    /// effect.
    pub interrupted: bool,
    /// The number of failed attempts.
    pub failures: u32,
    /// How long it has been failing: since its first failure, without pauses of the account and waits for a permit.
    pub failing_for: Duration,
    /// When it was received.
    pub received_at: Timestamp,
    /// The unit's followers that are still pending and whose bodies can be read.
    pub followers: Vec<Follower>,
}

impl Begun {
    /// The seqs of its events, the head first.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        std::iter::once(self.seq).chain(self.followers.iter().map(|follower| follower.seq))
    }

    /// The bytes of the bodies of its events.
    pub fn body_bytes(&self) -> usize {
        let followers: usize = self.followers.iter().map(|follower| follower.body.len()).sum();
        self.body.as_ref().map_or(0, Vec::len) + followers
    }
}

/// An event that may be delivered with the head of its lane.
#[derive(Clone, Debug)]
pub struct Follower {
    /// Its seq in the log.
    pub seq: Seq,
    /// Its identity.
    pub id: EventId,
    /// The raw bytes.
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// Changes of the affiliate index, and the erasure of a deleted user.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AffiliateChanges {
    /// Remember this affiliate.
    pub remember: Option<Remember>,
    /// Forget these affiliates and every key that leads to them.
    pub forget: Vec<AffiliateCode>,
    /// Erase links and dead letters' bodies of the users with these keys, and of the keys beside them in dead letters.
    pub erase: Vec<UserKey>,
    /// The moment at which the user was deleted. It is kept for every user key that is erased, for every user key that led to a forgotten
    /// affiliate, and for each of these affiliates, as keyed hashes, until [`Retention::deletions`] passes the receipt of the event: see
    /// [`Memory::deleted_at`].
    pub deleted_at: Option<Timestamp>,
    /// The change of the remembered traits of a user who is no affiliate yet.
    pub traits: Option<TraitsChange>,
}

/// An affiliate to remember, and the user keys that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remember {
    /// The affiliate.
    pub known: AffiliateRecord,
    /// The user keys. An affiliate has one e-mail, so the key of an earlier e-mail no longer leads to it.
    pub user_keys: Vec<UserKey>,
}

/// The end of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Delivered, or nothing to do: the bodies are erased, the outcomes stay in the log.
    Done {
        /// The outcome of the head.
        outcome: OutcomeCode,
        /// The followers that ended with it, and their outcomes. A follower that is no longer pending is skipped.
        followers: Vec<(Seq, OutcomeCode)>,
    },
    /// The attempt is retried. Followers stay marked as begun with the head.
    Retry {
        /// The wait before the next attempt.
        wait: Duration,
        /// The progress. `None`: the attempt panicked. The progress that was saved last stays, and if there is one, the event is interrupted:
        /// the call that it was about to make may have had its effect.
        progress: Option<Progress>,
        /// The number of failed attempts, this one included.
        failures: u32,
        /// How long it has been failing when this wait is over, counted as [`Begun::failing_for`].
        failing_for: Duration,
        /// The reason of this failure.
        attempt: FailedAttempt,
    },
    /// The event is handed back for a reason outside of it: it is pending as before, with this progress. Followers stay marked as begun
    /// with the head if the progress is of several coalesced events.
    HandBack {
        /// The progress.
        progress: Progress,
    },
    /// The head failed permanently, and is kept as a dead letter.
    Dead {
        /// The reason as a code.
        outcome: OutcomeCode,
        /// The reason in words.
        reason: String,
        /// The moment.
        at: Timestamp,
    },
}

/// An affiliate whose e-mail address could not be changed, because another affiliate has the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EmailConflict {
    /// Its position in the list: the next page begins after the last one (`after`).
    pub place: i64,
    /// Its account.
    pub account: String,
    /// The alphanumeric code.
    #[schema(value_type = String)]
    pub code: AffiliateCode,
    /// The numeric id, if it is known.
    #[schema(value_type = Option<u64>)]
    pub id: Option<AffiliateId>,
}

/// The retention of a compaction: the moments before which things are removed, and its own time. The default removes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// For ids of settled events. Such an event counts as new when it is sent again. Its row stays.
    pub ids: Timestamp,
    /// For settled events and events that were answered at receipt, with their ids.
    pub events: Timestamp,
    /// For moments of deletions.
    pub deletions: Timestamp,
    /// The time of the compaction: remembered traits whose time ended before it are removed. A row of the log that was received later was
    /// received while a clock was wrong.
    pub now: Timestamp,
    /// The limits of remembered traits in one account. The oldest ones above them are removed, too.
    pub max_traits: TraitsLimits,
}

/// The shortest retention of moments of deletions: Segment retries an event for hours, and a replay of its archive may take days.
const MIN_DELETIONS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

impl Retention {
    /// The retention at `now`, by the deduplication window and the window of the ledger.
    pub fn new(now: Timestamp, deduplication_window: Duration, ledger_window: Duration) -> Self {
        let deletions = now.before(deduplication_window.max(MIN_DELETIONS_KEPT));
        let events = now.before(deduplication_window.max(ledger_window));
        let ids = now.before(deduplication_window);
        Self { ids, events, deletions, now, max_traits: TraitsLimits::USUAL }
    }
}

/// The counts of the store, and whether it can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Pending events, those in flight included.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// Why the store cannot be written at present: the error of its last commit or, with PostgreSQL, of its connections.
    pub write_error: Option<String>,
}

/// Why a request to the store failed. Nothing was changed, with one exception: a transaction during whose commit the connection to
/// PostgreSQL was lost ([`StoreError::Transient`]) may be committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The account has `DELIVERY_MAX_BACKLOG` pending events (backpressure).
    #[error("the backlog is full ({0} events are pending)")]
    BacklogFull(u64),
    /// The request has more events of one account than `DELIVERY_MAX_BACKLOG`, which is this number, so they never fit.
    #[error("the request has more events than may be pending at all ({0})")]
    ExceedsBacklog(u64),
    /// The head of the unit is not pending, or no longer: it is settled already, or was erased.
    #[error("the event is not pending any more")]
    NotPending,
    /// This process does not own the account, or no longer.
    #[error("another process owns the account")]
    NotOwner,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The store failed, and may work again later (retryable): the disk is full, or the database is unreachable.
    #[error("the store failed: {0}")]
    Transient(String),
    /// A part of the store that this request needs is damaged. A repeat of the request fails; other requests may succeed.
    #[error("a part of the store is damaged: {0}")]
    Corrupt(String),
    /// The store refuses this request, and would refuse a repeat, for instance because of a bug.
    #[error("the store cannot do this: {0}")]
    Fatal(String),
}
