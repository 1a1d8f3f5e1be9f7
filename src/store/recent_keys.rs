//! The keys that were appended to an account's log lately: whether an event of a user waits, without looking at the log.
//!
//! In go the keys of appended events, out comes whether one of a user may wait. Invariant: it errs towards "may wait", so that at
//! worst an event is appended and decided when it is carried out. Bounded; an account for which nothing waits keeps nothing.

use crate::domain::{Seq, UserKey};
use std::collections::HashMap;

/// So many keys of an account are kept at most.
const MAX_KEYS: usize = 4_096;

/// The keys of one account.
#[derive(Clone, Debug, Default)]
pub struct RecentKeys {
    /// The keys of everything that was appended after this are kept.
    since: Seq,
    /// Up to here nothing waits.
    drained: Seq,
    last: HashMap<UserKey, Seq>,
}

impl RecentKeys {
    /// Nothing is kept of what was appended up to `last`, of which some may wait.
    pub fn after(last: Seq) -> Self {
        Self { since: last, ..Self::default() }
    }

    /// An event with these keys is appended at `seq`; the one before it was at `before`.
    pub fn append(&mut self, keys: &[UserKey], seq: Seq, before: Seq) {
        if self.last.len() + keys.len() > MAX_KEYS {
            self.last.clear();
            self.since = before;
        }
        self.last.extend(keys.iter().map(|key| (*key, seq)));
    }

    /// Nothing of the account waits; its last event was at `last`.
    pub fn drain(&mut self, last: Seq) {
        *self = Self { since: last, drained: last, last: HashMap::new() };
    }

    /// Whether an event with one of these keys may wait. Up to `none_up_to` none does, somebody else knows.
    pub fn may_wait(&self, keys: &[UserKey], none_up_to: Option<Seq>) -> bool {
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
    fn a_user_may_wait_who_was_appended_since_the_log_was_known_to_hold_none() {
        let mut keys = RecentKeys::default();
        keys.append(&[key(1)], Seq(5), Seq(4));
        keys.append(&[key(2)], Seq(6), Seq(5));
        for (user, none_up_to, may_wait) in [
            (1, None, true),
            (1, Some(Seq(4)), true),
            (1, Some(Seq(5)), false),
            (2, Some(Seq(5)), true),
            (3, None, false),
            (3, Some(Seq(4)), false),
        ] {
            assert_eq!(keys.may_wait(&[key(user)], none_up_to), may_wait, "{user} {none_up_to:?}");
        }
        keys.drain(Seq(6));
        assert!(!keys.may_wait(&[key(1)], None) && !keys.may_wait(&[key(2)], None));
    }

    #[test]
    fn whoever_is_not_kept_may_wait() {
        let opened = RecentKeys::after(Seq(9));
        assert!(opened.may_wait(&[key(1)], None) && opened.may_wait(&[key(1)], Some(Seq(8))));
        assert!(!opened.may_wait(&[key(1)], Some(Seq(9))));
        let mut many = RecentKeys::default();
        let last = (1..).take(MAX_KEYS + 1).fold(Seq(0), |last, n| {
            many.append(&[key(u16::try_from(n).unwrap_or(0))], Seq(n), last);
            Seq(n)
        });
        assert!(many.may_wait(&[key(1)], None) && many.last.len() < MAX_KEYS);
        assert!(!many.may_wait(&[key(1)], Some(last)));
    }
}
