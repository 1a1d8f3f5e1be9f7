//! The types of the [`EventLog`](super::EventLog): events to append, events that were begun, and settlements.

use super::{Attempt, TraitsChange, TraitsLimits};
use crate::delivery::{Known, Memory, OutcomeCode, Progress};
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
    /// The account it is delivered to.
    pub account: AccountName,
    /// Its identity, by which a repeat is recognised.
    pub id: EventId,
    /// The identity that releases before 0.3.0 gave it, if it was another one. An event of that identity is a repeat if it was
    /// appended before this store was migrated from version 6, and has the same keys or none any more.
    pub former_id: Option<EventId>,
    /// Its user: one key or two.
    pub user_keys: Vec<UserKey>,
    /// Set for an event that matters for known users only.
    pub known_users_only: Option<KnownUsersOnly>,
    /// The source at Segment that it came from, if it says one.
    pub source: Option<SourceId>,
    /// The raw bytes, as received.
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: Timestamp,
}

impl NewEvent {
    /// The event with this text, which is of this user, as `account` receives it. That it matters for known users only is to be added.
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

/// The condition that an event is appended only if its user is known: an affiliate is remembered, a dead letter with a body is
/// kept, or an earlier event is pending. If the last is not certain, the event is appended and decided when it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUsersOnly {
    /// The worker of the account has read the log up to here, and no pending event there is of this user. `None`: the worker
    /// cannot tell; then the engine has to be certain by itself, as it is if the account has no pending event at all.
    pub none_pending_up_to: Option<Seq>,
    /// The event is a delete of this moment: if its user is unknown, the moment is kept, as that of
    /// [`AffiliateChanges::deleted_at`].
    pub deleted_at: Option<Timestamp>,
    /// What becomes of the event if its user is unknown.
    pub if_unknown: OutcomeCode,
}

/// The result of appending one event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is committed and synced.
    Accepted {
        /// Its seq in the log.
        seq: Seq,
        /// How many events of the account were pending before it, of any user.
        pending: u64,
    },
    /// It was appended before.
    Duplicate,
    /// Its user is not known, so it was not appended. Its id is not recorded: sent again, it is no repeat.
    UnknownUser,
}

/// An event that was begun: everything needed to carry it out.
#[derive(Debug)]
pub struct Begun {
    /// Its seq in the log.
    pub seq: Seq,
    /// Its identity.
    pub id: EventId,
    /// The raw bytes; or the name of the part of this event that the store cannot read.
    pub body: Result<Vec<u8>, String>,
    /// Its user's keys.
    pub user_keys: Vec<UserKey>,
    /// The affiliates these keys lead to.
    pub memory: Memory,
    /// The progress of earlier attempts.
    pub progress: Progress,
    /// An earlier attempt saved its progress and ended without a settlement: the call it was about to make may have had its
    /// effect.
    pub interrupted: bool,
    /// How many attempts failed.
    pub failures: u32,
    /// For how long it has been failing: since its first failure, but for pauses of the account and for
    /// waits for a permit.
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

    /// How many bytes the bodies of its events have.
    pub fn body_bytes(&self) -> usize {
        let followers: usize = self.followers.iter().map(|follower| follower.body.len()).sum();
        self.body.as_ref().map_or(0, Vec::len) + followers
    }
}

/// An event that may be carried out with the head of its lane.
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
    /// The user was deleted at this moment. Of every key that is erased, and of every key that led to a forgotten affiliate, a keyed hash
    /// is kept with it, and one of each of these affiliates, until [`Retention::deletions`] passes the receipt of the event: see
    /// [`Memory::deleted_at`].
    pub deleted_at: Option<Timestamp>,
    /// What changes in what is remembered of a user who is no affiliate yet.
    pub traits: Option<TraitsChange>,
}

/// An affiliate to remember, and the keys that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remember {
    /// The affiliate.
    pub known: Known,
    /// The keys. An affiliate has one e-mail: an earlier e-mail's key no longer leads to it.
    pub user_keys: Vec<UserKey>,
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Delivered, or nothing to do: the bodies are erased, the outcomes stay in the log.
    Done {
        /// The outcome of the head.
        outcome: OutcomeCode,
        /// The followers that ended with it, and their outcomes. One that is not pending any more is skipped.
        followers: Vec<(Seq, OutcomeCode)>,
    },
    /// To be tried again. Followers stay marked as begun with the head.
    Retry {
        /// How long to wait before the next attempt.
        wait: Duration,
        /// The progress.
        progress: Progress,
        /// How many attempts failed, this one included.
        failures: u32,
        /// For how long it has been failing once this wait is over, counted as [`Begun::failing_for`].
        failing_for: Duration,
        /// The reason of this failure.
        attempt: Attempt,
    },
    /// The attempt panicked. To be tried again from the progress that was saved last; the call that the attempt was about to make
    /// may have had its effect. Followers stay marked as begun with the head.
    Interrupted {
        /// As in [`Settlement::Retry`].
        wait: Duration,
        /// As in [`Settlement::Retry`].
        failures: u32,
        /// As in [`Settlement::Retry`].
        failing_for: Duration,
        /// The reason of this failure.
        attempt: Attempt,
    },
    /// Not carried out, for a reason outside of the event: it is pending as before, with this progress.
    /// Followers stay marked as begun with the head while the progress says that several were asked for together.
    HandBack {
        /// The progress.
        progress: Progress,
    },
    /// A permanent failure of the head: kept as a dead letter.
    Dead {
        /// The reason as a code.
        outcome: OutcomeCode,
        /// The reason in words.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// An affiliate whose e-mail address could not be changed, because another affiliate has the new one.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EmailConflict {
    /// Its place in the list of [`Maintenance::email_conflicts`](super::Maintenance::email_conflicts).
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

/// The retention of a compaction: it removes everything that was received before these moments. The default removes nothing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retention {
    /// The ids of settled events: sent again, they count as new. Their rows stay.
    pub ids: Timestamp,
    /// Settled events and events that were answered at receipt, and with them their ids.
    pub events: Timestamp,
    /// Moments of deletions.
    pub deletions: Timestamp,
    /// What is remembered of users who are no affiliates yet, and does not count any more: here the moment is the end, not the receipt.
    pub traits: Timestamp,
    /// Above so much in one account, the oldest of that is removed, too.
    pub max_traits: TraitsLimits,
}

/// Moments of deletions are kept for at least so long: Segment retries an event for hours, and a replay of its archive may take days.
const MIN_DELETIONS_KEPT: Duration = Duration::from_secs(7 * 24 * 3_600);

impl Retention {
    /// What has left the deduplication window and the window of the ledger at `now`.
    pub fn new(now: Timestamp, deduplication_window: Duration, ledger_window: Duration) -> Self {
        let deletions = now.before(deduplication_window.max(MIN_DELETIONS_KEPT));
        let events = now.before(deduplication_window.max(ledger_window));
        let ids = now.before(deduplication_window);
        Self { ids, events, deletions, traits: now, max_traits: TraitsLimits::USUAL }
    }
}

/// How much the store holds, and whether it can be written.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Pending events, those in flight included.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// Why the last commit failed, if it did.
    pub write_error: Option<String>,
}

/// Why a request to the store failed. Nothing was changed, with one exception: if the connection to PostgreSQL was lost while a
/// transaction was being committed ([`StoreError::Transient`]), it may be committed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// As many events of the account are pending as `DELIVERY_MAX_BACKLOG` allows (backpressure).
    #[error("the backlog is full ({0} events are pending)")]
    BacklogFull(u64),
    /// These are more events of one account than may be pending at all (`DELIVERY_MAX_BACKLOG`, which is so many): they never fit in.
    #[error("more events than may be pending at all ({0})")]
    ExceedsBacklog(u64),
    /// The head of the unit is not pending (any more): it is settled already, or was erased.
    #[error("the event is not pending any more")]
    NotPending,
    /// This process does not own the account (any more).
    #[error("another process owns the account")]
    NotOwner,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The store failed, and may work again later (retryable): the disk is full, or the database is unreachable.
    #[error("the store failed: {0}")]
    Transient(String),
    /// A part of the store that this request needs is damaged. The request fails again; others need not.
    #[error("a part of the store is damaged: {0}")]
    Corrupt(String),
    /// The store refuses this request, and will again: a bug, for instance.
    #[error("the store cannot do this: {0}")]
    Fatal(String),
}
