//! Erasing what is kept of a user who was deleted: links, and bodies and keys of dead letters, found by index alone.
//!
//! From a key, further keys are reached through the dead letters that have it, and so on up to a bound. Deliberately absent:
//! waiting events and affiliates ([`super::forget`], [`super::affiliates`]).

use super::affiliates::unlink;
use crate::store::keys::{EMAIL, USER_ID, with_tag};
use rusqlite::Connection;

/// The hash of a user key, whatever its kind.
pub type Hash = [u8; 16];

/// No more keys than these are followed from one user: what many share (a company's address, say) identifies nobody.
pub const MAX_KEYS: usize = 256;

/// Erases the links of `keys`, and the dead letters that these keys, and one another's, lead to.
pub fn erase(connection: &Connection, keys: Vec<Hash>) -> rusqlite::Result<()> {
    let mut reached = keys;
    let mut next = 0;
    while let Some(key) = reached.get(next).copied() {
        next += 1;
        add(&mut reached, in_dead_letters_with(connection, &key)?);
    }
    for key in &reached {
        unlink_hash(connection, key)?;
        blank_dead_letters(connection, key)?;
    }
    Ok(())
}

/// Adds those that are not among them, up to the bound.
pub fn add(reached: &mut Vec<Hash>, more: impl IntoIterator<Item = Hash>) {
    for key in more {
        if reached.len() < MAX_KEYS && !reached.contains(&key) {
            reached.push(key);
        }
    }
}

/// The keys of the dead letters that have this key.
pub fn in_dead_letters_with(connection: &Connection, key: &Hash) -> rusqlite::Result<Vec<Hash>> {
    let sql = "SELECT beside.key FROM dead_keys AS own JOIN dead_keys AS beside USING (seq) WHERE own.key = ?1";
    connection.prepare_cached(sql)?.query_map([key.as_slice()], |row| row.get(0))?.collect()
}

/// From now on, the key leads nowhere; how many links that were.
pub fn unlink_hash(connection: &Connection, key: &Hash) -> rusqlite::Result<u64> {
    let links = [USER_ID, EMAIL].map(|tag| unlink(connection, &with_tag(tag, key)));
    links.into_iter().try_fold(0, |sum, unlinked| Ok(sum + u64::from(unlinked?)))
}

/// Erases the bodies and keys of the dead letters with this key; how many had a body.
pub fn blank_dead_letters(connection: &Connection, key: &Hash) -> rusqlite::Result<u64> {
    let sql = "UPDATE dead_letters SET body = NULL, keys = NULL
               WHERE seq IN (SELECT seq FROM dead_keys WHERE key = ?1) AND body IS NOT NULL";
    let blanked = connection.prepare_cached(sql)?.execute([key.as_slice()])?;
    let sql = "DELETE FROM dead_keys WHERE seq IN (SELECT seq FROM dead_keys WHERE key = ?1)";
    connection.prepare_cached(sql)?.execute([key.as_slice()])?;
    Ok(blanked as u64)
}
