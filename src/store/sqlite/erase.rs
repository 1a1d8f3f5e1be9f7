//! Erasure after a delete event: removes a user's links, and the bodies and keys of their dead letters, found by index alone.
//!
//! In: keys of the user, whose affiliate is forgotten already. The keys of dead letters that have one of them are added, and so on up
//! to [`MAX_KEYS`], but for keys that lead to an affiliate: that one is another user's. Deliberately absent: pending events ([`super::forget`]) and affiliates ([`super::affiliates`]).

use super::affiliates::{find_affiliate, unlink};
use crate::store::keys::{EMAIL, USER_ID, with_tag};
use rusqlite::Connection;

/// The hash of a user key, whatever its kind.
pub type KeyHash = [u8; 16];

/// No more keys than these are followed from one user: a key that so many users share (a company's address, say) identifies nobody.
pub const MAX_KEYS: usize = 256;

/// Erases the links and dead letters of `keys`, and of the keys beside them in dead letters; returns all these keys.
pub fn erase(connection: &Connection, keys: Vec<KeyHash>) -> rusqlite::Result<Vec<KeyHash>> {
    let mut reached = keys;
    let mut next = 0;
    while let Some(key) = reached.get(next).copied() {
        next += 1;
        for beside in keys_of_dead_letters_with(connection, &key)? {
            if !leads_to_affiliate(connection, &beside)? {
                add(&mut reached, [beside]);
            }
        }
    }
    for key in &reached {
        delete_links(connection, key)?;
        erase_dead_letters(connection, key)?;
    }
    Ok(reached)
}

/// Whether a key leads to an affiliate. One that does after the deleted affiliate is forgotten is another user's.
fn leads_to_affiliate(connection: &Connection, key: &KeyHash) -> rusqlite::Result<bool> {
    let user_id = find_affiliate(connection, &with_tag(USER_ID, key))?;
    Ok(user_id.is_some() || find_affiliate(connection, &with_tag(EMAIL, key))?.is_some())
}

/// Adds keys that are not there yet, up to [`MAX_KEYS`].
pub fn add(reached: &mut Vec<KeyHash>, more: impl IntoIterator<Item = KeyHash>) {
    for key in more {
        if reached.len() < MAX_KEYS && !reached.contains(&key) {
            reached.push(key);
        }
    }
}

/// The keys of the dead letters that have this key.
pub fn keys_of_dead_letters_with(connection: &Connection, key: &KeyHash) -> rusqlite::Result<Vec<KeyHash>> {
    let sql = "SELECT beside.key FROM dead_keys AS own JOIN dead_keys AS beside USING (seq) WHERE own.key = ?1";
    connection.prepare_cached(sql)?.query_map([key.as_slice()], |row| row.get(0))?.collect()
}

/// Deletes the links of a key; returns how many there were.
pub fn delete_links(connection: &Connection, key: &KeyHash) -> rusqlite::Result<u64> {
    let links = [USER_ID, EMAIL].map(|tag| unlink(connection, &with_tag(tag, key)));
    links.into_iter().try_fold(0, |sum, unlinked| Ok(sum + u64::from(unlinked?)))
}

/// Erases the bodies and keys of the dead letters with this key; returns how many had a body.
pub fn erase_dead_letters(connection: &Connection, key: &KeyHash) -> rusqlite::Result<u64> {
    let sql = "UPDATE dead_letters SET body = NULL, keys = NULL
               WHERE seq IN (SELECT seq FROM dead_keys WHERE key = ?1) AND body IS NOT NULL";
    let blanked = connection.prepare_cached(sql)?.execute([key.as_slice()])?;
    let sql = "DELETE FROM dead_keys WHERE seq IN (SELECT seq FROM dead_keys WHERE key = ?1)";
    connection.prepare_cached(sql)?.execute([key.as_slice()])?;
    Ok(blanked as u64)
}
