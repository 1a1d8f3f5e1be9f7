//! The user keys of recently appended events of an account, which show without I/O whether an event of a user may be pending.
//!
//! In: the user keys of appended events. Out: whether an event of a user may be pending. Invariant: it errs towards "may be pending"; at
//! worst an event is appended, and the worker decides about it. Bounded by [`MAX_KEYS`]; an account without pending events has no keys
//! here.

use crate::domain::{Seq, UserKey};
use std::collections::HashMap;

/// The most user keys of an account.
const MAX_KEYS: usize = 4_096;

/// The user keys of one account.
#[derive(Clone, Debug, Default)]
pub struct AppendedUsers {
    /// The keys of all events after this seq are here.
    since: Seq,
    /// No event up to this seq is pending.
    drained: Seq,
    last: HashMap<UserKey, Seq>,
}

impl AppendedUsers {
    /// The state without the keys of the events up to `last`, some of which may be pending.
    pub fn after(last: Seq) -> Self {
        Self { since: last, ..Self::default() }
    }

    /// Adds an event with these user keys at `seq`. The event before it was at `before`.
    pub fn append(&mut self, keys: &[UserKey], seq: Seq, before: Seq) {
        if self.last.len() + keys.len() > MAX_KEYS {
            self.last.clear();
            self.since = before;
        }
        self.last.extend(keys.iter().map(|key| (*key, seq)));
    }

    /// The account has no pending event; its last one was at `last`.
    pub fn clear(&mut self, last: Seq) {
        *self = Self { since: last, drained: last, last: HashMap::new() };
    }

    /// Whether an event with one of these user keys may be pending. The caller knows that none up to `none_up_to` is.
    pub fn may_be_pending(&self, keys: &[UserKey], none_up_to: Option<Seq>) -> bool {
        let none_up_to = none_up_to.map_or(self.drained, |seq| seq.max(self.drained));
        let is_later = |key| self.last.get(key).is_some_and(|seq| *seq > none_up_to);
        self.since > none_up_to || keys.iter().any(is_later)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(n: u16) -> UserKey {
        UserKey::UserId([n.to_be_bytes(); 8].concat().try_into().expect("16 bytes"))
    }

    #[test]
    fn a_user_may_be_pending_if_appended_after_the_log_was_known_to_hold_none() {
        let mut keys = AppendedUsers::default();
        keys.append(&[key(1)], Seq(5), Seq(4));
        keys.append(&[key(2)], Seq(6), Seq(5));
        for (user, none_up_to, may_be_pending) in [
            (1, None, true),
            (1, Some(Seq(4)), true),
            (1, Some(Seq(5)), false),
            (2, Some(Seq(5)), true),
            (3, None, false),
            (3, Some(Seq(4)), false),
        ] {
            assert_eq!(keys.may_be_pending(&[key(user)], none_up_to), may_be_pending, "{user} {none_up_to:?}");
        }
        keys.clear(Seq(6));
        assert!(!keys.may_be_pending(&[key(1)], None) && !keys.may_be_pending(&[key(2)], None));
    }

    #[test]
    fn a_user_may_be_pending_once_its_keys_were_dropped() {
        let opened = AppendedUsers::after(Seq(9));
        assert!(opened.may_be_pending(&[key(1)], None) && opened.may_be_pending(&[key(1)], Some(Seq(8))));
        assert!(!opened.may_be_pending(&[key(1)], Some(Seq(9))));
        let mut many = AppendedUsers::default();
        let last = (1..).take(MAX_KEYS + 1).fold(Seq(0), |last, n| {
            many.append(&[key(u16::try_from(n).unwrap_or(0))], Seq(n), last);
            Seq(n)
        });
        assert!(many.may_be_pending(&[key(1)], None) && many.last.len() < MAX_KEYS);
        assert!(!many.may_be_pending(&[key(1)], Some(last)));
    }
}
