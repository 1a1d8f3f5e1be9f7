//! Erasure of a user on an operator's request: finds and erases everything that is held of them, except events in flight.
//!
//! In: keys of a user. Out: counts of what was erased. The search goes from a key to the keys beside it: in dead letters and
//! links by index, in pending events by scanning the narrow rows of the log in portions, from the start again while that leads
//! to new keys. What was found is erased in one transaction, which first looks at the rows appended since. An erased pending
//! event stays as a dead letter without body and keys. The moment of the erasure is kept for each key, as a keyed hash: an event from before
//! must not bring the user back. Deliberately absent: bodies, which are not read.

use super::affiliates::{delete as delete_affiliate, find_affiliate, user_links};
use super::dead_letters;
use super::deletions;
use super::erase::{self, KeyHash, delete_links, erase_dead_letters, keys_of_dead_letters_with};
use super::settle::{Rows, end};
use super::writer_state::WriteTx;
use crate::delivery::OutcomeCode;
use crate::domain::{Seq, Timestamp, UserKey};
use crate::store::Forgotten;
use crate::store::in_flight::EraseGuard;
use crate::store::keys::{self, EMAIL, USER_ID, with_tag};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// So many rows of the log are scanned in one transaction.
const PORTION: i64 = 5_000;

/// A search for everything that is held of a user.
#[derive(Clone, Debug, Default)]
pub struct Search {
    keys: Vec<KeyHash>,
    affiliates: BTreeSet<i64>,
    /// Rows of the log with one of the keys, as far as it was scanned.
    rows: Vec<Seq>,
    /// The keys of pending events among these rows.
    pending_keys: BTreeSet<KeyHash>,
    /// The log was scanned up to here.
    scanned_up_to: i64,
}

impl Search {
    /// A search that begins with these keys.
    pub fn new(users: &[UserKey]) -> Self {
        let mut keys = Vec::new();
        erase::add(&mut keys, users.iter().map(|key| *key.bytes()));
        Self { keys, ..Self::default() }
    }

    /// Scans the next portion of the log. Says whether the search is complete; if not, the next step goes on with the next
    /// portion, or from the start where there are new keys.
    pub fn step(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        if self.scanned_up_to == 0 {
            self.follow_indexes(connection)?;
        }
        if !self.scan(connection)? {
            return Ok(false);
        }
        let complete = !self.find_new_keys(connection)?;
        if !complete {
            self.restart();
        }
        Ok(complete)
    }

    /// Scans the rows that were appended since the search was complete. Says whether it still is: they may lead to new keys.
    pub fn catch_up(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        while !self.scan(connection)? {}
        Ok(!self.find_new_keys(connection)?)
    }

    /// The next step scans the log from the start, for all keys known by now.
    pub fn restart(&mut self) {
        (self.rows, self.pending_keys, self.scanned_up_to) = <_>::default();
    }

    /// The pending events among the rows found.
    pub fn pending(&self, connection: &Connection) -> rusqlite::Result<Vec<Seq>> {
        let mut statement = connection.prepare_cached("SELECT 1 FROM log WHERE seq = ?1 AND outcome IS NULL")?;
        let pending = self.rows.iter().map(|seq| Ok(statement.exists([seq.0])?.then_some(*seq)));
        pending.filter_map(Result::transpose).collect()
    }

    /// Scans a portion; says whether it was the last one.
    fn scan(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let sql = "SELECT seq, keys, outcome IS NULL FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2";
        let mut statement = connection.prepare_cached(sql)?;
        let mut rows = statement.query(params![self.scanned_up_to, PORTION])?;
        let mut scanned = 0;
        while let Some(row) = rows.next()? {
            (scanned, self.scanned_up_to) = (scanned + 1, row.get(0)?);
            let stored = row.get_ref(1)?.as_blob().unwrap_or_default();
            if keys::hashes(stored).any(|key| self.keys.contains(&key)) {
                self.rows.push(Seq(self.scanned_up_to));
                if row.get(2)? {
                    self.pending_keys.extend(keys::hashes(stored));
                }
            }
        }
        Ok(scanned < PORTION)
    }

    /// Adds the keys of the pending events found, and the keys beside these; says whether there was a new one.
    fn find_new_keys(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        let before = self.keys.len();
        erase::add(&mut self.keys, self.pending_keys.iter().copied());
        self.follow_indexes(connection)?;
        Ok(self.keys.len() > before)
    }

    /// Adds the keys that dead letters and links lead to.
    fn follow_indexes(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut next = 0;
        while let Some(key) = self.keys.get(next).copied() {
            next += 1;
            erase::add(&mut self.keys, keys_of_dead_letters_with(connection, &key)?);
            for tag in [USER_ID, EMAIL] {
                let Some(affiliate) = find_affiliate(connection, &with_tag(tag, &key))? else { continue };
                if self.affiliates.insert(affiliate) {
                    let leading = user_links(connection, affiliate)?;
                    erase::add(&mut self.keys, leading.iter().flat_map(|key| keys::hashes(key)));
                }
            }
        }
        Ok(())
    }
}

/// Erases what `search` found, except those of its `pending` events that are in flight.
pub fn erase(
    tx: &mut WriteTx<'_>,
    search: &Search,
    pending: &[Seq],
    erasing: &EraseGuard,
    now: Timestamp,
) -> rusqlite::Result<Forgotten> {
    let free: BTreeSet<Seq> = erasing.seqs.iter().copied().collect();
    let in_flight: BTreeSet<Seq> = pending.iter().copied().filter(|seq| !free.contains(seq)).collect();
    let mut forgotten = Forgotten { in_flight: in_flight.len() as u64, ..Forgotten::default() };
    for seq in &free {
        dead_letters::keep_erased(tx, *seq, now)?;
        let sql = "SELECT account FROM log WHERE seq = ?1";
        let account = tx.connection.prepare_cached(sql)?.query_row([seq.0], |row| row.get(0)).optional()?;
        let Some(account) = account else { continue };
        forgotten.events += u64::from(end(tx, account, *seq, OutcomeCode::Erased, &Rows::Delete)?);
    }
    let mut blank = tx.connection.prepare_cached("UPDATE log SET keys = x'' WHERE seq = ?1")?;
    for seq in search.rows.iter().filter(|seq| !in_flight.contains(seq)) {
        blank.execute([seq.0])?;
    }
    for key in &search.keys {
        forgotten.dead_letters += erase_dead_letters(tx.connection, key)?;
        forgotten.links += delete_links(tx.connection, key)?;
    }
    for affiliate in &search.affiliates {
        forgotten.links += delete_affiliate(tx.connection, *affiliate)?.len() as u64;
        forgotten.affiliates += 1;
    }
    deletions::keep(tx.connection, &search.keys, now, now)?;
    Ok(forgotten)
}
