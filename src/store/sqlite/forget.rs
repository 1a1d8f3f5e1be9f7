//! Forgetting a user: everything that is held of them is found and erased, but for events that are in flight.
//!
//! A user is reached from a key by the keys beside it: in dead letters and links by index, in waiting events by scanning the
//! narrow rows of the log in portions. What was found is erased in one transaction, which first looks at what was appended since.
//! What remains of an erased event is a dead letter without body and keys. Deliberately absent: bodies, which are not read.

use super::affiliates::{forget as forget_affiliate, led_to, user_links};
use super::dead_letters;
use super::erase::{self, Hash, blank_dead_letters, in_dead_letters_with, unlink_hash};
use super::settle::{Rows, end};
use super::state::Tx;
use crate::delivery::OutcomeCode;
use crate::domain::{Seq, Timestamp, UserKey};
use crate::store::Forgotten;
use crate::store::in_flight::Erasing;
use crate::store::keys::{self, EMAIL, USER_ID, with_tag};
use rusqlite::{Connection, OptionalExtension, params};
use std::collections::BTreeSet;

/// So many rows of the log are looked at in one transaction.
const PORTION: i64 = 5_000;

/// All that leads to a user.
#[derive(Clone, Debug, Default)]
pub struct Reach {
    /// Hashes of their keys.
    pub keys: Vec<Hash>,
    affiliates: BTreeSet<i64>,
}

impl Reach {
    /// What these keys reach at once.
    pub fn new(users: &[UserKey]) -> Self {
        let mut keys = Vec::new();
        erase::add(&mut keys, users.iter().map(|key| *key.bytes()));
        Self { keys, affiliates: BTreeSet::new() }
    }

    /// Adds what dead letters and links lead to.
    pub fn follow_indexes(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let mut next = 0;
        while let Some(key) = self.keys.get(next).copied() {
            next += 1;
            erase::add(&mut self.keys, in_dead_letters_with(connection, &key)?);
            for tag in [USER_ID, EMAIL] {
                let Some(affiliate) = led_to(connection, &with_tag(tag, &key))? else { continue };
                if self.affiliates.insert(affiliate) {
                    let leading = user_links(connection, affiliate)?;
                    erase::add(&mut self.keys, leading.iter().flat_map(|key| keys::hashes(key)));
                }
            }
        }
        Ok(())
    }

    /// Adds the keys of waiting events; says whether there was a new one.
    fn follow_waiting(&mut self, found: &Found) -> bool {
        let before = self.keys.len();
        erase::add(&mut self.keys, found.waiting_keys.iter().copied());
        self.keys.len() > before
    }
}

/// Rows of the log that share a key with a user.
#[derive(Clone, Debug, Default)]
pub struct Found {
    seqs: Vec<Seq>,
    /// The keys of those that wait.
    waiting_keys: BTreeSet<Hash>,
    /// The log was scanned up to here.
    up_to: i64,
}

/// Scans the next portion of the log; says whether that was the last one.
pub fn scan(connection: &Connection, reach: &Reach, found: &mut Found) -> rusqlite::Result<bool> {
    let sql = "SELECT seq, keys, outcome IS NULL FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let mut rows = statement.query(params![found.up_to, PORTION])?;
    let mut scanned = 0;
    while let Some(row) = rows.next()? {
        (scanned, found.up_to) = (scanned + 1, row.get(0)?);
        let stored = row.get_ref(1)?.as_blob().unwrap_or_default();
        if keys::hashes(stored).any(|key| reach.keys.contains(&key)) {
            found.seqs.push(Seq(found.up_to));
            if row.get(2)? {
                found.waiting_keys.extend(keys::hashes(stored));
            }
        }
    }
    Ok(scanned < PORTION)
}

/// Follows what one scan found; says whether the log is to be scanned again.
pub fn follow(connection: &Connection, reach: &mut Reach, found: &Found) -> rusqlite::Result<bool> {
    let before = reach.keys.len();
    reach.follow_waiting(found);
    reach.follow_indexes(connection)?;
    Ok(reach.keys.len() > before)
}

/// Looks at what was appended since the scan; says whether that leads to more keys, so that the log is to be scanned again.
pub fn catch_up(tx: &Tx<'_>, reach: &mut Reach, found: &mut Found) -> rusqlite::Result<bool> {
    while !scan(tx.connection, reach, found)? {}
    follow(tx.connection, reach, found)
}

/// Of what was found, the events that wait.
pub fn waiting(tx: &Tx<'_>, found: &Found) -> rusqlite::Result<Vec<Seq>> {
    let mut statement = tx.connection.prepare_cached("SELECT 1 FROM log WHERE seq = ?1 AND outcome IS NULL")?;
    let waiting = found.seqs.iter().map(|seq| Ok(statement.exists([seq.0])?.then_some(*seq)));
    waiting.filter_map(Result::transpose).collect()
}

/// Erases what was found; of the `waiting` events those that are not in flight.
pub fn erase(
    tx: &mut Tx<'_>,
    reach: &Reach,
    found: &Found,
    waiting: &[Seq],
    erasing: &Erasing,
    now: Timestamp,
) -> rusqlite::Result<Forgotten> {
    let free: BTreeSet<Seq> = erasing.seqs.iter().copied().collect();
    let in_flight: BTreeSet<Seq> = waiting.iter().copied().filter(|seq| !free.contains(seq)).collect();
    let mut forgotten = Forgotten { under_way: in_flight.len() as u64, ..Forgotten::default() };
    for seq in &free {
        dead_letters::keep_erased(tx, *seq, now)?;
        let sql = "SELECT account FROM log WHERE seq = ?1";
        let account = tx.connection.prepare_cached(sql)?.query_row([seq.0], |row| row.get(0)).optional()?;
        let Some(account) = account else { continue };
        forgotten.events += u64::from(end(tx, account, *seq, OutcomeCode::Erased, &Rows::Delete)?);
    }
    let mut blank = tx.connection.prepare_cached("UPDATE log SET keys = x'' WHERE seq = ?1")?;
    for seq in found.seqs.iter().filter(|seq| !in_flight.contains(seq)) {
        blank.execute([seq.0])?;
    }
    for key in &reach.keys {
        forgotten.dead_letters += blank_dead_letters(tx.connection, key)?;
        forgotten.links += unlink_hash(tx.connection, key)?;
    }
    for affiliate in &reach.affiliates {
        forgotten.links += forget_affiliate(tx.connection, *affiliate)?;
        forgotten.affiliates += 1;
    }
    Ok(forgotten)
}
