//! The table `users`: under which keys events wait, in which lane, and which affiliate a key leads to.
//!
//! A row is there as long as something waits under its key or the key leads to an affiliate. Both are kept in one row, for
//! its place among millions is random: what a new user costs is one such place per key. Invariant: a row of another key, were
//! there ever two with the same number, leads nobody astray, for the whole key is compared.

use super::keys::{Keys, user_key};
use crate::domain::UserKey;
use rusqlite::{Connection, OptionalExtension, params};

/// What is known of a user under one key.
pub struct User {
    /// The lane in which events wait under the key.
    pub lane: Option<i64>,
    /// The row of the affiliate that the key leads to.
    pub affiliate: Option<i64>,
}

/// The user with this key, if anything is known of them.
pub fn find(connection: &Connection, row: i64, entry: &[u8]) -> rusqlite::Result<Option<User>> {
    let sql = "SELECT lane, affiliate, entry FROM users WHERE key = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_row([row], |row| {
        let leads = row.get_ref(2)?.as_blob_or_null()? == Some(entry);
        Ok(User { lane: row.get(0)?, affiliate: if leads { row.get(1)? } else { None } })
    });
    found.optional()
}

/// One more event waits under this key, in `lane` unless there is one; the user, if anything was known of them before.
pub fn wait(connection: &Connection, row: i64, entry: &[u8], lane: i64) -> rusqlite::Result<Option<User>> {
    let sql = "INSERT INTO users (key, waiting, lane) VALUES (?1, 1, ?2) ON CONFLICT (key) DO NOTHING";
    if connection.prepare_cached(sql)?.execute([row, lane])? > 0 {
        return Ok(None);
    }
    let known = find(connection, row, entry)?;
    let sql = "UPDATE users SET waiting = waiting + 1, lane = coalesce(lane, ?2) WHERE key = ?1";
    connection.prepare_cached(sql)?.execute([row, lane])?;
    Ok(known)
}

/// Whoever waits under this key waits in `lane`.
pub fn relabel(connection: &Connection, row: i64, lane: i64) -> rusqlite::Result<()> {
    connection.prepare_cached("UPDATE users SET lane = ?2 WHERE key = ?1")?.execute([row, lane]).map(drop)
}

/// One event less waits under this key.
pub fn leave(connection: &Connection, row: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE users SET waiting = waiting - 1, lane = iif(waiting > 1, lane, NULL)
               WHERE key = ?1 AND (waiting > 1 OR affiliate IS NOT NULL)";
    if connection.prepare_cached(sql)?.execute([row])? == 0 {
        connection.prepare_cached("DELETE FROM users WHERE key = ?1")?.execute([row])?;
    }
    Ok(())
}

/// From now on, `key` leads to `affiliate`.
pub fn lead(connection: &Connection, key: &UserKey, affiliate: i64) -> rusqlite::Result<()> {
    for (row, entry) in Keys::new(&[*key]).entries() {
        // Mostly somebody waits under it: the event that is being settled.
        let sql = "UPDATE users SET affiliate = ?2, entry = ?3 WHERE key = ?1";
        if connection.prepare_cached(sql)?.execute(params![row, affiliate, entry])? == 0 {
            let sql = "INSERT INTO users (key, waiting, affiliate, entry) VALUES (?1, 0, ?2, ?3)";
            connection.prepare_cached(sql)?.execute(params![row, affiliate, entry])?;
        }
    }
    Ok(())
}

/// The keys that lead to `affiliate`.
pub fn leading_to(connection: &Connection, affiliate: i64) -> rusqlite::Result<Vec<UserKey>> {
    let mut statement = connection.prepare_cached("SELECT entry FROM users WHERE affiliate = ?1")?;
    let mut rows = statement.query([affiliate])?;
    let mut keys = Vec::new();
    while let Some(row) = rows.next()? {
        keys.extend(user_key(row.get_ref(0)?.as_blob()?));
    }
    Ok(keys)
}

/// From now on, `key` leads nowhere; whether it led anywhere.
pub fn mislay(connection: &Connection, key: &UserKey) -> rusqlite::Result<bool> {
    let mut led = false;
    for (row, entry) in Keys::new(&[*key]).entries() {
        let sql = "UPDATE users SET affiliate = NULL, entry = NULL WHERE key = ?1 AND entry = ?2";
        led |= connection.prepare_cached(sql)?.execute(params![row, entry])? > 0;
        connection
            .prepare_cached("DELETE FROM users WHERE key = ?1 AND waiting = 0 AND entry IS NULL")?
            .execute([row])?;
    }
    Ok(led)
}
