//! Moments of deletions: when the user with a key was deleted, so that an event from before brings nobody back.
//!
//! In: keys of deleted users. Out: the moment of a key. Invariants: only keyed hashes are kept; a key
//! keeps its latest moment, for as long as the latest event that deleted it is to be remembered. Deliberately absent: what follows
//! from a moment ([`crate::delivery`]).

use super::decode::{Damaged, integer};
use super::erase::KeyHash;
use crate::domain::{Timestamp, UserKey};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// So many moments are removed in one transaction.
const PORTION: u16 = 500;

/// Keeps that the users with these keys were deleted at `at`, as an event received at `received_at` says.
pub fn keep(connection: &Connection, keys: &[KeyHash], at: Timestamp, received_at: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO deleted_users (key, deleted_at, received_at) VALUES (?1, ?2, ?3) ON CONFLICT (key) DO UPDATE
               SET deleted_at = max(deleted_at, ?2), received_at = max(received_at, ?3)
               WHERE deleted_at < ?2 OR received_at < ?3";
    let mut statement = connection.prepare_cached(sql)?;
    for key in keys {
        statement.execute(params![key.as_slice(), at.0, received_at.0])?;
    }
    Ok(())
}

/// When the user with this key was deleted last.
pub fn last(connection: &Connection, user: &UserKey) -> rusqlite::Result<Result<Option<Timestamp>, Damaged>> {
    let mut statement = connection.prepare_cached("SELECT deleted_at FROM deleted_users WHERE key = ?1")?;
    let moment = |row: &Row<'_>| Ok(integer(row, 0, "deleted_users.deleted_at"));
    let found = statement.query_row([user.bytes().as_slice()], moment).optional()?;
    Ok(found.transpose().map(|moment| moment.flatten().map(Timestamp)))
}

/// Removes a portion of the moments that were received before `before`; returns whether there may be more.
pub fn remove(connection: &Connection, before: Timestamp) -> rusqlite::Result<bool> {
    let sql = "DELETE FROM deleted_users WHERE key IN
               (SELECT key FROM deleted_users WHERE received_at < ?1 ORDER BY received_at LIMIT ?2)";
    Ok(connection.prepare_cached(sql)?.execute(params![before.0, PORTION])? == usize::from(PORTION))
}
