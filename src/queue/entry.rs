//! What passes through the queue's door.

use super::Attempt;
use crate::delivery::{Known, Memory, Progress};
use crate::domain::{AccountName, AffiliateCode, EventId, Timestamp, UserKey};

/// An event to record.
#[derive(Clone, Debug)]
pub struct NewEvent {
    /// The account it is delivered to.
    pub account: AccountName,
    /// How it is recognised when it comes again.
    pub id: EventId,
    /// Its user: one key or two.
    pub keys: Vec<UserKey>,
    /// Record it only if its user is known: an affiliate is remembered, an earlier event waits, or a dead letter is kept.
    pub only_if_known: bool,
    /// The raw bytes, as received.
    pub body: Vec<u8>,
    /// When it was received.
    pub received_at: Timestamp,
}

/// What became of an event to record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Recorded {
    /// It is safe on disk.
    Accepted {
        /// Whether an event of the same user waits ahead of it.
        behind: bool,
        /// How many events of the account were waiting before it, whoever their user.
        waiting: u64,
    },
    /// It was recorded before.
    Duplicate,
    /// Its user is not known, and it was to be recorded only then.
    UnknownUser,
}

/// What a claim brought.
#[derive(Debug, Default)]
pub struct Batch {
    /// The events now leased.
    pub events: Vec<Claimed>,
    /// When the next event becomes claimable, if none is now and one waits.
    pub next: Option<Timestamp>,
}

/// A leased event with all that is remembered of its user.
#[derive(Debug)]
pub struct Claimed {
    /// The right to settle it.
    pub ticket: Ticket,
    /// The raw bytes.
    pub body: Vec<u8>,
    /// Its user's keys.
    pub keys: Vec<UserKey>,
    /// The affiliates these keys lead to.
    pub memory: Memory,
    /// How far an earlier attempt got.
    pub progress: Progress,
    /// An earlier attempt ended without a word.
    pub interrupted: bool,
    /// How often it failed.
    pub failures: u32,
    /// Since when it has been failing.
    pub failing_since: Option<Timestamp>,
    /// When it was received.
    pub received_at: Timestamp,
    /// Some of what waits behind it in its line, in order, none of which was tried before. They are not leased: the lease on
    /// their head keeps everybody else from them.
    pub behind: Vec<Behind>,
}

/// An event that waits behind a leased one.
#[derive(Clone, Debug)]
pub struct Behind {
    /// Which it is.
    pub place: Place,
    /// The raw bytes.
    pub body: Vec<u8>,
    /// Its user's keys.
    pub keys: Vec<UserKey>,
}

/// Which event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place in the order of arrival.
    pub seq: i64,
    /// Its identity.
    pub id: EventId,
}

/// A lease on one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    /// The event's place in the order of arrival.
    pub seq: i64,
    /// Which claim of it this is: a later claim makes an earlier ticket void.
    pub claim: i64,
    /// The event's identity.
    pub id: EventId,
}

/// What changes in what is remembered of affiliates.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Change {
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

/// How a claim ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// Carried out: the body is erased.
    Done,
    /// Carried out together with events that waited behind it: all their bodies are erased. One that was erased or claimed
    /// by somebody else meanwhile is passed over.
    DoneWith {
        /// The others.
        behind: Vec<Place>,
    },
    /// Again at `at`.
    Retry {
        /// Not before this moment.
        at: Timestamp,
        /// How far it got.
        progress: Progress,
        /// How often it failed, this time included.
        failures: u32,
        /// Since when it has been failing.
        failing_since: Timestamp,
        /// What happened this time.
        attempt: Attempt,
    },
    /// Not carried out for a reason that is not the event's: as if it had not been claimed, but for its progress.
    HandBack {
        /// How far it got.
        progress: Progress,
    },
    /// Never to be carried out: kept as a dead letter.
    Dead {
        /// The reason's short word.
        code: &'static str,
        /// The reason.
        reason: String,
        /// When.
        at: Timestamp,
    },
}

/// How much the store holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Depth {
    /// Events that wait or are being carried out.
    pub waiting: u64,
    /// Dead letters.
    pub dead: u64,
}

/// Why the queue could not do what was asked. Nothing was changed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// As many events of the account wait as `DELIVERY_MAX_BACKLOG` allows.
    #[error("the backlog is full ({0} events wait)")]
    Full(u64),
    /// The ticket's lease expired and somebody else claimed the event, or it is settled already.
    #[error("the lease on this event was lost")]
    LeaseLost,
    /// The store is closed.
    #[error("the store is closed")]
    Closed,
    /// The store failed, for instance because the disk is full.
    #[error("the store failed: {0}")]
    Failed(String),
}
