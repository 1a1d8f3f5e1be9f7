//! The user of an event: a `userId`, an e-mail address, both, or neither.
//!
//! Users are recognised by their user keys: the `userId` and the e-mail address each give a [`UserKey`], a keyed hash (`domain/hash.rs`).
//! Two events are of one user if they share a user key, so a common `userId` joins events with different e-mails. `scheduling/lanes.rs`
//! decides what else joins them (a common affiliate, a third event). Deliberately absent: finding the `userId` and the address in an event
//! ([`crate::mapping`]).

use super::{AccountName, Email, HashKey, UserKey};
use std::fmt;

/// Segment's `userId`: any non-empty text, trimmed. Its `Debug` prints `UserId(…)`, since it often is an e-mail address.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct UserId(String);

impl UserId {
    /// A `userId`, unless the text is blank.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        (!text.is_empty()).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for UserId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("UserId(…)")
    }
}

/// The user of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct User {
    /// The merchant's own id of the user.
    pub user_id: Option<UserId>,
    /// The user's address.
    pub email: Option<Email>,
}

impl User {
    /// The user keys: none, one or two.
    pub fn keys(&self, hash: &HashKey, account: &AccountName) -> Vec<UserKey> {
        let user_id = self.user_id.iter().map(|id| hash.user_id(account, id));
        user_id.chain(self.email.iter().map(|email| hash.email(account, email))).collect()
    }
}
