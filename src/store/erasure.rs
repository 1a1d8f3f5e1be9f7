//! The search for the user keys, affiliates and rows of a user to erase: one portion at a time, without I/O.
//!
//! In: keys of the user, and the findings of an engine for each key and in each portion of the log. Out: keys, affiliates and rows to
//! erase. A search follows a key to the keys beside it, up to [`MAX_KEYS`] in all. There are two searches. A delete event searches by index
//! only ([`ReachedKeys`]). An operator's erasure ([`ForgetSearch`]) also reads the narrow rows of the log, and begins again while they lead
//! to new keys. Deliberately absent: bodies, which are not read.

use super::user_keys;
use crate::domain::{Seq, UserKey};
use std::collections::BTreeSet;

/// The hash of a user key, without its kind.
pub type UserKeyHash = [u8; 16];

/// The most keys that are followed from one user. A key that so many users share (for instance a company's address) identifies nobody.
pub const MAX_KEYS: usize = 256;

/// The most scans of the log. Then the findings are erased, even if rows appended meanwhile lead to new keys.
pub const MAX_SCANS: u32 = 4;

/// The keys that were reached from a user, each of which is examined once.
#[derive(Clone, Debug, Default)]
pub struct ReachedKeys {
    keys: Vec<UserKeyHash>,
    looked_at: usize,
}

impl ReachedKeys {
    /// The keys to begin with, however many.
    pub fn from(keys: Vec<UserKeyHash>) -> Self {
        Self { keys, looked_at: 0 }
    }

    /// Adds new keys, up to [`MAX_KEYS`].
    pub fn add(&mut self, more: impl IntoIterator<Item = UserKeyHash>) {
        for key in more {
            if self.keys.len() < MAX_KEYS && !self.keys.contains(&key) {
                self.keys.push(key);
            }
        }
    }

    /// Takes the keys that were not examined yet; they count as examined from now on.
    pub fn take_new(&mut self) -> Vec<UserKeyHash> {
        let new = self.keys[self.looked_at..].to_vec();
        self.looked_at = self.keys.len();
        new
    }

    /// No key counts as examined.
    fn examine_again(&mut self) {
        self.looked_at = 0;
    }

    /// All keys.
    pub fn keys(&self) -> &[UserKeyHash] {
        &self.keys
    }
}

/// A row of the log.
#[derive(Clone, Copy, Debug)]
pub struct ScannedRow<'a> {
    /// Its seq.
    pub seq: Seq,
    /// Its user keys, as they are stored.
    pub user_keys: &'a [u8],
    /// Whether the event is pending.
    pub is_pending: bool,
}

/// A search for all data of a user. An engine calls [`ForgetSearch::follow_again`] and follows the keys of [`ForgetSearch::take_new`] by index
/// until there are none, reads the log in portions up to its end, calls [`ForgetSearch::end_of_log`] and follows the keys again. It repeats
/// this after [`ForgetSearch::restart`] until [`ForgetSearch::is_complete`].
#[derive(Clone, Debug, Default)]
pub struct ForgetSearch {
    reached: ReachedKeys,
    /// The number of known keys when the reading of the log began.
    known_at_start: usize,
    affiliates: BTreeSet<i64>,
    rows: Vec<Seq>,
    /// The keys of pending events among these rows.
    pending_keys: BTreeSet<UserKeyHash>,
    scanned_up_to: Seq,
}

impl ForgetSearch {
    /// A search that begins with these keys.
    pub fn new(users: &[UserKey]) -> Self {
        let mut search = Self::default();
        search.reached.add(users.iter().map(|key| *key.bytes()));
        search
    }

    /// Lets all keys be followed again, because events that have ended meanwhile may have left something that they lead to.
    pub fn follow_again(&mut self) {
        self.reached.examine_again();
    }

    /// Takes the keys to follow next: to the keys beside them in dead letters, and to the affiliates that they lead to.
    pub fn take_new(&mut self) -> Vec<UserKeyHash> {
        self.reached.take_new()
    }

    /// Adds keys that were found beside a followed one.
    pub fn add_user_keys(&mut self, keys: impl IntoIterator<Item = UserKeyHash>) {
        self.reached.add(keys);
    }

    /// Adds an affiliate that a key leads to. The caller adds the keys that lead to it.
    pub fn add_affiliate(&mut self, affiliate: i64) {
        self.affiliates.insert(affiliate);
    }

    /// The seq up to which the log was read. The first call fixes the keys with which rows are compared.
    pub fn scanned_up_to(&mut self) -> Seq {
        if self.scanned_up_to == Seq::default() {
            self.known_at_start = self.reached.keys.len();
        }
        self.scanned_up_to
    }

    /// Examines a row of the log. Rows without a key of the user may be left out.
    pub fn scan(&mut self, ScannedRow { seq, user_keys: stored, is_pending }: ScannedRow<'_>) {
        if user_keys::hashes(stored).any(|key| self.reached.keys.contains(&key)) {
            self.rows.push(seq);
            if is_pending {
                self.pending_keys.extend(user_keys::hashes(stored));
            }
        }
    }

    /// A portion of the log was read, up to the seq `last`.
    pub fn end_of_portion(&mut self, last: Seq) {
        self.scanned_up_to = self.scanned_up_to.max(last);
    }

    /// The log was read to its end. Adds the keys of the pending events that were found. All keys must be followed again, since rows may
    /// have changed.
    pub fn end_of_log(&mut self) {
        self.reached.add(self.pending_keys.iter().copied());
        self.reached.looked_at = 0;
    }

    /// Whether no key was found since the reading of the log began, so every row of the user was seen.
    pub fn is_complete(&self) -> bool {
        self.reached.keys.len() == self.known_at_start
    }

    /// Begins to read the log again, for all known keys.
    pub fn restart(&mut self) {
        (self.rows, self.pending_keys, self.scanned_up_to) = <_>::default();
    }

    /// The keys to erase.
    pub fn keys(&self) -> &[UserKeyHash] {
        self.reached.keys()
    }

    /// The affiliates to delete.
    pub fn affiliates(&self) -> impl Iterator<Item = i64> + '_ {
        self.affiliates.iter().copied()
    }

    /// The rows of the log with one of the keys. The pending ones among them end, unless they are in flight.
    pub fn rows(&self) -> &[Seq] {
        &self.rows
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn hash(n: u8) -> UserKeyHash {
        [n; 16]
    }

    fn user(n: u8) -> UserKey {
        UserKey::UserId(hash(n))
    }

    /// Reads a log of these rows: the user keys of each, and whether it is pending.
    fn read(search: &mut ForgetSearch, log: &[(&[u8], bool)]) {
        search.scanned_up_to();
        for (seq, (users, is_pending)) in (1..).map(Seq).zip(log) {
            let users: Vec<UserKey> = users.iter().copied().map(user).collect();
            search.scan(ScannedRow { seq, user_keys: &user_keys::to_blob(&users), is_pending: *is_pending });
        }
        search.end_of_log();
    }

    #[test]
    fn every_key_is_looked_at_once_up_to_the_bound() {
        let mut reached = ReachedKeys::from(vec![hash(1)]);
        assert_eq!(reached.take_new(), [hash(1)]);
        reached.add([hash(1), hash(2), hash(2)]);
        assert_eq!((reached.take_new(), reached.take_new()), (vec![hash(2)], vec![]));
        reached.add((0..1_000_u16).map(|n| [n.to_be_bytes(); 8].concat().try_into().expect("16 bytes")));
        assert_eq!(reached.keys().len(), MAX_KEYS);
    }

    #[test]
    fn a_search_reads_the_log_again_while_pending_events_lead_to_new_keys() {
        let log: [(&[u8], bool); 4] = [(&[3], true), (&[1, 2], true), (&[2, 3], true), (&[9], true)];
        let mut search = ForgetSearch::new(&[user(1)]);
        let mut rounds = 1;
        while {
            read(&mut search, &log);
            !search.is_complete()
        } {
            search.restart();
            rounds += 1;
        }
        assert_eq!((rounds, search.rows(), search.keys().len()), (3, &[Seq(1), Seq(2), Seq(3)][..], 3));
    }

    #[test]
    fn a_settled_event_leads_to_no_other_key_but_is_the_users() {
        let mut search = ForgetSearch::new(&[user(1)]);
        read(&mut search, &[(&[1, 2], false), (&[2], true)]);
        assert_eq!((search.is_complete(), search.rows()), (true, &[Seq(1)][..]));
    }

    #[test]
    fn a_key_that_was_found_by_index_makes_the_log_be_read_again() {
        let mut search = ForgetSearch::new(&[user(1)]);
        search.add_affiliate(7);
        search.add_user_keys([hash(2)]);
        read(&mut search, &[(&[2], false)]);
        assert_eq!((search.is_complete(), search.rows()), (true, &[Seq(1)][..]));
        assert_eq!(search.take_new(), [hash(1), hash(2)]);
        search.follow_again();
        assert_eq!(search.take_new(), [hash(1), hash(2)], "all keys are followed again");
        search.add_user_keys([hash(3)]);
        assert!(!search.is_complete());
    }
}
