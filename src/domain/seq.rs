//! Sequence numbers of the event log, and the keys by which its entries share a lane.
//!
//! In go numbers and hashes, out come types that are not mixed up. Invariant: a larger [`Seq`] was appended later. Deliberately
//! absent: handing out numbers, which is the store's.

use super::UserKey;
use std::fmt;

/// The place of an event in the log: unique in the store, given in commit order, never given twice.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Seq(pub i64);

/// The keyed hash of an affiliate (account and code): all keys that lead to it belong to one user.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AffiliateKey(pub [u8; 16]);

/// What two events of one user have in common: a key of the event itself, or the affiliate that such a key leads to.
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
