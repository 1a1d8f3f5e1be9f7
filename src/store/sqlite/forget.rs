//! Erasure of a user on an operator's request (the right to be forgotten; [`super::erase`] is the erasure after a delete event): it finds
//! and erases all data of the user, except events in flight.
//!
//! In: a [`ForgetSearch`]. Out: counts of the erasure. User keys are followed by index, and the narrow rows of the log are scanned in
//! portions. One transaction erases the findings; it first examines the rows appended since. An erased pending event stays as a dead letter
//! without body and user keys. The moment of the erasure is kept for each user key and for each affiliate, as a keyed hash, so neither an
//! event from before nor a page of Refersion's list restores the user. Every affiliate that a key leads to is found, so the links of the keys
//! are those of the affiliates. Deliberately absent: bodies, which are not read.

use super::affiliates::{delete as delete_affiliate, own_affiliate_key, user_links};
use super::dead_letters;
use super::erase::{affiliates_of, dead_letters_with_body, erase_dead_letters, keep_moment, user_keys_beside};
use super::key_blocks;
use super::log_state::AccountNumber;
use super::query::Query;
use super::read::still_pending;
use super::remembered;
use super::write_tx::WriteTx;
use crate::domain::{AffiliateKey, Seq, Timestamp};
use crate::store::erasure::{ForgetSearch, ScannedRow};
use crate::store::in_flight::{EraseGuard, InFlightEvents};
use crate::store::{Forgotten, StoreError, user_keys};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;
use std::sync::Arc;

/// The rows of the log that are scanned in one transaction.
const PORTION: i64 = 5_000;

/// Scans the next portion of the log. After the last one, returns whether the search is complete: rows may have led to new keys.
pub fn scan_portion(search: &mut ForgetSearch, connection: &Connection) -> Result<Option<bool>, StoreError> {
    follow_user_keys(search, connection)?;
    if !scan(search, connection)? {
        return Ok(None);
    }
    search.end_of_log();
    follow_user_keys(search, connection)?;
    Ok(Some(search.is_complete()))
}

/// Scans a portion; returns whether it was the last one.
fn scan(search: &mut ForgetSearch, connection: &Connection) -> Result<bool, StoreError> {
    let sql = "SELECT seq, keys, outcome IS NULL FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?2";
    let (mut scanned, mut last) = (0, Seq::default());
    connection.each(sql, params![search.scanned_up_to().0, PORTION], |row| {
        (scanned, last) = (scanned + 1, Seq(row.get(0)?));
        let user_keys = row.get_ref(1)?.as_blob().unwrap_or_default();
        search.scan(ScannedRow { seq: last, user_keys, is_pending: row.get(2)? });
        Ok(false)
    })?;
    search.end_of_portion(last);
    Ok(scanned < PORTION)
}

/// Adds the keys that dead letters and links lead to.
fn follow_user_keys(search: &mut ForgetSearch, connection: &Connection) -> Result<(), StoreError> {
    search.follow_again();
    loop {
        let new = search.take_new();
        if new.is_empty() {
            return Ok(());
        }
        search.add_user_keys(user_keys_beside(connection, &new)?);
        for key in new {
            for affiliate in affiliates_of(connection, &key)? {
                search.add_affiliate(affiliate);
                let leading = user_links(connection, affiliate)?;
                search.add_user_keys(leading.iter().flat_map(|key| user_keys::hashes(key)));
            }
        }
    }
}

/// Counts the findings of `search`, as [`erase`] would.
pub fn count(
    search: &ForgetSearch,
    connection: &Connection,
    in_flight: &InFlightEvents,
) -> Result<Forgotten, StoreError> {
    let (mut dead_letters, mut links, mut remembered) = (BTreeSet::new(), 0, BTreeSet::new());
    for affiliate in search.affiliates() {
        links += user_links(connection, affiliate)?.len();
    }
    for key in search.keys() {
        dead_letters.extend(dead_letters_with_body(connection, key)?);
        remembered.extend(remembered::rows_of(connection, key)?);
    }
    let pending = still_pending(connection, search.rows())?;
    let (in_flight, free): (Vec<Seq>, Vec<Seq>) = pending.into_iter().partition(|seq| in_flight.contains(*seq));
    Ok(Forgotten {
        events: free.len() as u64,
        in_flight: in_flight.len() as u64,
        dead_letters: dead_letters.len() as u64,
        links: links as u64,
        affiliates: search.affiliates().count() as u64,
        remembered: remembered.len() as u64,
    })
}

/// Erases the findings of `search` in the account, except pending events that are in flight. The caller must hold the guard until this has
/// committed.
pub fn erase(
    tx: &mut WriteTx<'_>,
    search: &ForgetSearch,
    in_flight: &Arc<InFlightEvents>,
    account: AccountNumber,
    now: Timestamp,
) -> Result<(Forgotten, EraseGuard), StoreError> {
    let pending = still_pending(tx.connection, search.rows())?;
    let erasing = in_flight.erase(&pending);
    let free: BTreeSet<Seq> = erasing.seqs.iter().copied().collect();
    let in_flight: BTreeSet<Seq> = pending.into_iter().filter(|seq| !free.contains(seq)).collect();
    let mut forgotten = Forgotten { in_flight: in_flight.len() as u64, ..Forgotten::default() };
    for seq in free {
        dead_letters::keep_erased(tx, account, seq, now)?;
        forgotten.events += 1;
    }
    for seq in search.rows().iter().filter(|seq| !in_flight.contains(seq)) {
        tx.connection.run("UPDATE log SET keys = x'' WHERE seq = ?1", [seq.0])?;
    }
    key_blocks::remove_filters(tx.connection, search.rows())?;
    for key in search.keys() {
        forgotten.dead_letters += erase_dead_letters(tx.connection, key)?;
        forgotten.remembered += remembered::erase(tx.connection, key)?;
    }
    let mut keys = search.keys().to_vec();
    for affiliate in search.affiliates() {
        keys.extend(own_affiliate_key(tx.connection, affiliate)?.map(|AffiliateKey(own)| own));
        forgotten.links += delete_affiliate(tx.connection, affiliate)?.len() as u64;
        forgotten.affiliates += 1;
    }
    keep_moment(tx.connection, &keys, now, now)?;
    Ok((forgotten, erasing))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::UserKey;
    use crate::store::sqlite::schema;

    /// An event of the user that ended while the log was read.
    #[test]
    fn keys_that_were_linked_or_left_in_a_dead_letter_during_the_search_are_found() {
        let connection = Connection::open_in_memory().expect("opened");
        schema::create(&connection, &[7; 32]).expect("tables");
        let link = |tag: u8, of: u8| {
            let key = [&[tag][..], &[of; 16]].concat();
            connection.run("INSERT INTO links (key, affiliate) VALUES (?1, 5)", [key]).expect("linked");
        };
        let [user_id, linked, dead] = [1, 2, 3].map(|n| [n; 16]);
        link(1, 1);
        let mut search = ForgetSearch::new(&[UserKey::UserId(user_id)]);
        follow_user_keys(&mut search, &connection).expect("followed");
        assert_eq!(search.keys(), [user_id]);
        link(2, 2);
        let dead_keys = "INSERT INTO dead_keys (key, seq) VALUES (?1, 9), (?2, 9)";
        connection.run(dead_keys, params![user_id.as_slice(), dead.as_slice()]).expect("kept");
        let keys = [&[1][..], &user_id, &[2], &dead].concat();
        let letter =
            "INSERT INTO dead_letters (seq, account, id, code, reason, failures, received_at, died_at, erased, keys)
                      VALUES (9, 1, x'00', 'rejected', '', 0, 0, 0, 0, ?1)";
        connection.run(letter, [keys]).expect("kept");
        follow_user_keys(&mut search, &connection).expect("followed");
        assert_eq!(search.keys().iter().collect::<BTreeSet<_>>(), BTreeSet::from([&user_id, &linked, &dead]));
    }
}
