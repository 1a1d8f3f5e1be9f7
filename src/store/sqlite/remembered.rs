//! Remembered traits of users who are no affiliates yet: rows by the user key of the `userId`, which are found by that of the e-mail
//! address, too.
//!
//! In: changes of settlements, and user keys to erase. Out: the row of an event's user. Invariants: a row is written and erased in the
//! transaction of the settlement; a row that was erased meanwhile is not written again. Deliberately absent: the meaning of the bytes.

use super::log_state::AccountNumber;
use super::query::Query;
use super::write_tx::WriteTx;
use crate::delivery::SealedTraits;
use crate::domain::{AffiliateKey, Timestamp, UserKey};
use crate::store::erasure::UserKeyHash;
use crate::store::rows::remembered as rows;
use crate::store::{FoundBy, FoundTraits, KeptTraits, Retention, StoreError, TraitsChange, TraitsSize};
use rusqlite::{Connection, Row, params};
use std::collections::BTreeMap;

/// The rows that are removed in one transaction.
const PORTION: u16 = 500;

/// The remembered traits of the user with these keys; only the key of a `userId` leads to them.
pub fn find(connection: &Connection, users: &[UserKey]) -> Result<Option<SealedTraits>, StoreError> {
    let user_id = users.iter().find(|key| matches!(key, UserKey::UserId(_)));
    let Some(key) = user_id else { return Ok(None) };
    let sql = "SELECT sealed, expires_at FROM remembered_traits WHERE key = ?1";
    connection.one(sql, [key.bytes().as_slice()], |row| Ok(rows::sealed(row, 0)?))
}

/// Makes a change.
pub fn apply(connection: &Connection, account: AccountNumber, change: &TraitsChange) -> Result<(), StoreError> {
    match change {
        TraitsChange::Keep(kept) => keep(connection, account, kept),
        TraitsChange::Erase(user) => {
            connection.run("DELETE FROM remembered_traits WHERE key = ?1", [user.bytes().as_slice()]).map(drop)
        }
    }
}

fn keep(connection: &Connection, account: AccountNumber, kept: &KeptTraits) -> Result<(), StoreError> {
    let sql = "INSERT INTO remembered_traits (key, account, email, expires_at, size, names, sealed)
               SELECT ?1, ?2, ?3, ?4, length(?6), ?5, ?6
               WHERE NOT ?7 OR EXISTS (SELECT 1 FROM remembered_traits WHERE key = ?1)
               ON CONFLICT (key) DO UPDATE SET email = ?3, expires_at = ?4, size = length(?6), names = ?5, sealed = ?6";
    let (user, email, names) = (kept.user.bytes(), kept.email.as_ref().map(UserKey::bytes), kept.stored_names());
    connection.run(sql, params![user, account, email, kept.expires_at.0, names, kept.sealed, kept.replaces]).map(drop)
}

/// Erases the remembered traits with this user key; returns the number of users.
pub fn erase(connection: &Connection, key: &UserKeyHash) -> Result<u64, StoreError> {
    let sql = "DELETE FROM remembered_traits WHERE key = ?1 OR email = ?1";
    Ok(connection.run(sql, [key.as_slice()])? as u64)
}

/// The keys of the rows with this user key.
pub fn rows_of(connection: &Connection, key: &UserKeyHash) -> Result<Vec<UserKeyHash>, StoreError> {
    let sql = "SELECT key FROM remembered_traits WHERE key = ?1 OR email = ?1";
    connection.all(sql, [key.as_slice()], |row| Ok(row.get(0)?))
}

/// The users whose remembered traits have this address, and the user with this `userId` if their traits have an address. Events with both
/// keys are of one user.
pub fn shared_lanes(connection: &Connection, key: &UserKey) -> Result<Vec<AffiliateKey>, StoreError> {
    let sql = match key {
        UserKey::UserId(_) => "SELECT key FROM remembered_traits WHERE key = ?1 AND email IS NOT NULL",
        UserKey::Email(_) => "SELECT key FROM remembered_traits WHERE email = ?1",
    };
    connection.all(sql, [key.bytes().as_slice()], |row| Ok(AffiliateKey(row.get(0)?)))
}

/// The remembered traits of a user key.
pub fn look_up(
    connection: &Connection,
    key: &UserKey,
    by: FoundBy,
) -> Result<Vec<(UserKeyHash, FoundTraits)>, StoreError> {
    let sql = match key {
        UserKey::UserId(_) => "SELECT key, names, expires_at FROM remembered_traits WHERE key = ?1",
        UserKey::Email(_) => "SELECT key, names, expires_at FROM remembered_traits WHERE email = ?1",
    };
    let found = |row: &Row<'_>| {
        let names: String = row.get(1)?;
        Ok((row.get(0)?, FoundTraits::new(by, &names, Timestamp(row.get(2)?))))
    };
    connection.all(sql, [key.bytes().as_slice()], found)
}

/// The size of the remembered traits, by account. Reads only an index.
pub fn sizes(connection: &Connection) -> Result<BTreeMap<String, TraitsSize>, StoreError> {
    let sql = "SELECT name, count(*), sum(size) FROM remembered_traits JOIN accounts USING (account) GROUP BY account";
    let size = |row: &Row<'_>| {
        let (users, bytes) = (row.get::<_, i64>(1)?.unsigned_abs(), row.get::<_, i64>(2)?.unsigned_abs());
        Ok((row.get(0)?, TraitsSize { users, bytes }))
    };
    Ok(connection.all(sql, [], size)?.into_iter().collect())
}

/// Removes a portion of the expired traits; returns whether there may be more.
pub fn remove_expired(connection: &Connection, before: Timestamp) -> Result<bool, StoreError> {
    let sql = "DELETE FROM remembered_traits WHERE key IN
               (SELECT key FROM remembered_traits WHERE expires_at < ?1 ORDER BY expires_at LIMIT ?2)";
    Ok(connection.run(sql, params![before.0, PORTION])? == usize::from(PORTION))
}

/// Removes a portion of the traits above the limits of an account, the oldest first; returns the number of users.
pub fn remove_surplus(tx: &mut WriteTx<'_>, before: Retention) -> Result<u64, StoreError> {
    let mut removed = 0;
    for (name, size) in sizes(tx.connection)?.into_iter().filter(|(_, size)| size.exceeds(before.max_traits)) {
        let sql =
            "SELECT key, size FROM remembered_traits WHERE account = (SELECT account FROM accounts WHERE name = ?1)
                   ORDER BY account, expires_at LIMIT ?2";
        let oldest = |row: &Row<'_>| Ok((row.get::<_, UserKeyHash>(0)?, row.get::<_, i64>(1)?.unsigned_abs()));
        let oldest = tx.connection.all(sql, params![name, PORTION], oldest)?;
        let surplus = size.surplus(before.max_traits, oldest.iter().map(|(_, bytes)| *bytes));
        for (key, _) in &oldest[..surplus] {
            tx.connection.run("DELETE FROM remembered_traits WHERE key = ?1", [key.as_slice()])?;
            removed += 1;
        }
    }
    Ok(removed)
}
