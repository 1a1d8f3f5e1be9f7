//! Erasure after a delete event ([`super::forget`] is the erasure on an operator's request): it removes a user's links, remembered traits,
//! and the bodies and user keys of dead letters, which it finds by index only. It also keeps the moments of deletions (tombstones), so
//! that no event from before restores the user.
//!
//! In: user keys of the user, whose affiliate is forgotten already. The search adds the keys beside them in dead letters and in remembered
//! traits, and so on, except keys that lead to an affiliate, which belongs to another user. Invariants: a moment is stored with keyed
//! hashes only; a key has its latest moment, until the retention of the latest event that deleted it has passed. Deliberately absent:
//! pending events ([`super::forget`]), affiliates ([`super::affiliates`]), and the effect of a moment ([`crate::delivery`]).

use super::affiliates::{find_affiliate, unlink};
use super::bodies;
use super::query::Query;
use super::remembered;
use crate::domain::{Seq, Timestamp};
use crate::store::StoreError;
use crate::store::erasure::{ReachedKeys, UserKeyHash};
use crate::store::rows::timestamp;
use crate::store::user_keys::{EMAIL, USER_ID, with_tag};
use rusqlite::{Connection, params};

/// The moments that are removed in one transaction.
const PORTION: u16 = 500;

/// Erases the links, the dead letters and the remembered traits of `keys`, and of the keys beside them; returns all these keys.
pub fn erase(connection: &Connection, keys: Vec<UserKeyHash>) -> Result<Vec<UserKeyHash>, StoreError> {
    let mut reached = ReachedKeys::from(keys);
    loop {
        let new = reached.take_new();
        if new.is_empty() {
            break;
        }
        for beside in user_keys_beside(connection, &new)? {
            if affiliates_of(connection, &beside)?.is_empty() {
                reached.add([beside]);
            }
        }
    }
    for key in reached.keys() {
        [USER_ID, EMAIL].iter().try_for_each(|tag| unlink(connection, &with_tag(*tag, key)))?;
        erase_dead_letters(connection, key)?;
        remembered::erase(connection, key)?;
    }
    Ok(reached.keys().to_vec())
}

/// The affiliates that a hash leads to, as a `userId` or as an e-mail address.
pub fn affiliates_of(connection: &Connection, key: &UserKeyHash) -> Result<Vec<i64>, StoreError> {
    let found = [USER_ID, EMAIL].map(|tag| find_affiliate(connection, &with_tag(tag, key)));
    found.into_iter().filter_map(Result::transpose).collect()
}

/// The user keys of the dead letters and of the remembered traits that have one of these keys.
pub fn user_keys_beside(connection: &Connection, keys: &[UserKeyHash]) -> Result<Vec<UserKeyHash>, StoreError> {
    let sql = "SELECT beside.key FROM dead_keys AS own JOIN dead_keys AS beside USING (seq) WHERE own.key = ?1
               UNION ALL SELECT key FROM remembered_traits WHERE key = ?1 OR email = ?1
               UNION ALL SELECT email FROM remembered_traits WHERE (key = ?1 OR email = ?1) AND email IS NOT NULL";
    let beside = |key: &UserKeyHash| connection.all(sql, [key], |row| Ok(row.get::<_, UserKeyHash>(0)?));
    Ok(keys.iter().map(beside).collect::<Result<Vec<_>, StoreError>>()?.concat())
}

/// The dead letters with this key whose body is kept.
pub fn dead_letters_with_body(connection: &Connection, key: &UserKeyHash) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT seq FROM dead_keys JOIN dead_letters USING (seq) WHERE key = ?1 AND erased = 0";
    connection.all(sql, [key.as_slice()], |row| Ok(row.get(0)?))
}

/// Erases the bodies and user keys of the dead letters with this key; returns how many had a body.
pub fn erase_dead_letters(connection: &Connection, key: &UserKeyHash) -> Result<u64, StoreError> {
    let letters = dead_letters_with_body(connection, key)?;
    for seq in &letters {
        connection.run("UPDATE dead_letters SET erased = 1, keys = NULL WHERE seq = ?1", [seq])?;
        bodies::erase(connection, Seq(*seq))?;
    }
    let sql = "DELETE FROM dead_keys WHERE seq IN (SELECT seq FROM dead_keys WHERE key = ?1)";
    connection.run(sql, [key.as_slice()])?;
    Ok(letters.len() as u64)
}

/// Saves that the users with these keys were deleted at `at`, by an event received at `received_at`.
pub fn keep_moment(
    connection: &Connection,
    keys: &[UserKeyHash],
    at: Timestamp,
    received_at: Timestamp,
) -> Result<(), StoreError> {
    let sql = "INSERT INTO deleted_users (key, deleted_at, received_at) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE
               SET deleted_at = max(deleted_at, ?2), received_at = max(received_at, ?3)
               WHERE deleted_at < ?2 OR received_at < ?3";
    keys.iter().try_for_each(|key| connection.run(sql, params![key.as_slice(), at.0, received_at.0]).map(drop))
}

/// When the user with this key, or the affiliate, was deleted last.
pub fn last_moment(connection: &Connection, key: &UserKeyHash) -> Result<Option<Timestamp>, StoreError> {
    let sql = "SELECT deleted_at FROM deleted_users WHERE key = ?1";
    connection.one(sql, [key.as_slice()], |row| Ok(timestamp(row, 0, "deleted_users.deleted_at")?))
}

/// Removes a portion of the moments that were received before `before`; returns whether there may be more.
pub fn remove_moments(connection: &Connection, before: Timestamp) -> Result<bool, StoreError> {
    let sql = "DELETE FROM deleted_users WHERE key IN
               (SELECT key FROM deleted_users WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)";
    Ok(connection.run(sql, params![before.0, PORTION])? == usize::from(PORTION))
}
