//! What passes through the [`EventLog`](super::EventLog): events on their way in, units of work on their way out, and how
//! they end.

use super::Attempt;
use crate::delivery::{Known, Memory, OutcomeCode, Progress};
use crate::domain::{AccountName, AffiliateCode, EventId, Seq, Timestamp, UserKey};
use std::time::Duration;

/// An event to append.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The account it is delivered to.
    pub account: AccountName,
    /// How it is recognised when it comes again.
    pub id: EventId,
    /// Its user: one key or two.
    pub keys: Vec<UserKey>,
    /// Set for an event that matters for known users alone.
    pub known_users_only: Option<KnownUsersOnly>,
    /// The raw bytes, as received.
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// That an event is to be appended only if its user is known: an affiliate is remembered, a dead letter with a body is kept, or
/// an earlier event waits. Where the last is not certain, the event is appended and decided when it is carried out.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct KnownUsersOnly {
    /// The owner of the account had read the log up to here, and no event that waits there is of this user. `None`: the owner
    /// cannot tell; then the engine has to be certain by itself, as it is where nothing waits at all.
    pub none_pending_up_to: Option<Seq>,
}

/// What became of an event to append.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Appended {
    /// It is committed and synced.
    Accepted {
        /// Its place in the log.
        seq: Seq,
        /// How many events of the account were waiting before it, whoever their user.
        pending: u64,
    },
    /// It was appended before.
    Duplicate,
    /// Its user is not known, and it was to be appended only then. Its id is not noted.
    UnknownUser,
}

/// An event that was begun: everything it takes to carry it out.
#[derive(Debug)]
pub struct Begun {
    /// Its place in the log.
    pub seq: Seq,
    /// Its identity.
    pub id: EventId,
    /// The raw bytes; or which part of what the store holds of this event cannot be read.
    pub body: Result<Vec<u8>, String>,
    /// Its user's keys.
    pub keys: Vec<UserKey>,
    /// The affiliates these keys lead to.
    pub memory: Memory,
    /// How far an earlier attempt got.
    pub progress: Progress,
    /// An earlier attempt saved its progress and ended without a settlement: what it was about to do may have had its effect.
    pub interrupted: bool,
    /// How many attempts failed.
    pub failures: u32,
    /// For how long it has been failing: since its first failure, but for pauses of the account and for
    /// waits for a permit.
    pub failing_for: Duration,
    /// When it was received.
    pub received_at: Timestamp,
    /// Those of the unit's followers that are still there, as far as their bodies can be read.
    pub followers: Vec<Follower>,
}

impl Begun {
    /// All its events, the head first.
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
    /// Its place in the log.
    pub seq: Seq,
    /// Its identity.
    pub id: EventId,
    /// The raw bytes.
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// What changes in the affiliate index, and in what is kept of a user who was deleted.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AffiliateChanges {
    /// Remember this.
    pub remember: Option<Remember>,
    /// Forget these affiliates and every key that leads to them.
    pub forget: Vec<AffiliateCode>,
    /// Erase what is kept of the users with these keys: links, and bodies of dead letters, those reached through other keys
    /// of such letters included.
    pub erase: Vec<UserKey>,
}

/// An affiliate to remember, and the keys that lead to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Remember {
    /// The affiliate.
    pub known: Known,
    /// The keys. An affiliate has one e-mail: an earlier e-mail's key no longer leads to it.
    pub keys: Vec<UserKey>,
}

/// How an attempt ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Carried out, or nothing to carry out: the bodies are erased, the outcomes stay in the log.
    Done {
        /// The outcome of the head.
        outcome: OutcomeCode,
        /// The followers that ended with it, and how. One that is gone is passed over.
        followers: Vec<(Seq, OutcomeCode)>,
    },
    /// To be tried again. Followers stay marked as begun with the head.
    Retry {
        /// How long to wait before the next attempt.
        wait: Duration,
        /// How far it got.
        progress: Progress,
        /// How many attempts failed, this one included.
        failures: u32,
        /// For how long it has been failing once this wait is over, counted as [`Begun::failing_for`].
        failing_for: Duration,
        /// What happened this time.
        attempt: Attempt,
    },
    /// The attempt panicked. To be tried again from the progress that was saved last; what the attempt was about to do may have
    /// had its effect. Followers stay marked as begun with the head.
    Interrupted {
        /// As in [`Settlement::Retry`].
        wait: Duration,
        /// As in [`Settlement::Retry`].
        failures: u32,
        /// As in [`Settlement::Retry`].
        failing_for: Duration,
        /// What happened this time.
        attempt: Attempt,
    },
    /// Not carried out for a reason that is not the event's: it waits as if it had not been begun, but for its progress.
    /// Followers stay marked as begun with the head while the progress says that several were asked for together.
    HandBack {
        /// How far it got.
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

/// How much the store holds, and whether it can be written. Costs no I/O to ask for.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStatus {
    /// Events that wait or are being carried out.
    pub pending: u64,
    /// Dead letters.
    pub dead: u64,
    /// Why the last commit failed, if it did.
    pub write_error: Option<String>,
}

/// Why the store could not do what was asked. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// As many events of the account wait as `DELIVERY_MAX_BACKLOG` allows.
    #[error("the backlog is full ({0} events wait)")]
    Full(u64),
    /// The head of the unit does not wait (any more): it is settled already, or was erased.
    #[error("the event does not wait any more")]
    NotPending,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The store failed, and may work again later: the disk is full, for instance.
    #[error("the store failed: {0}")]
    Transient(String),
    /// A part of the store that this request needs is damaged. The request fails again; others need not.
    #[error("a part of the store is damaged: {0}")]
    Corrupt(String),
    /// The store refuses this request, and will again: a bug, for instance.
    #[error("the store cannot do this: {0}")]
    Fatal(String),
}
