//! Sequence numbers of the event log, and the keys by which its entries share a lane.
//!
//! Invariant: an entry with a larger [`Seq`] was appended later. Deliberately absent: assigning numbers, which the store does.

use super::UserKey;
use std::fmt;

/// The sequence number of an entry in the event log: unique in the store, assigned in commit order, never reused.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// The keyed hash of an affiliate (account and code): all user keys that lead to it belong to one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AffiliateKey(pub [u8; 16]);

/// A lane key: a user key of an event, or the affiliate that a user key leads to. Events that share a lane key are of one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LaneKey {
    /// A `userId` or an e-mail address.
    User(UserKey),
    /// An affiliate.
    Affiliate(AffiliateKey),
}

impl fmt::Display for Seq {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
