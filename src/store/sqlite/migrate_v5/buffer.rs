//! The write buffer of version 5: changed rows of `users` and `seen` that are still in the table `changes`.
//!
//! In: the table `changes`, one [postcard](https://docs.rs/postcard) blob per transaction. Out: `v5_users` and `v5_seen` as
//! after a flush of the whole buffer, as far as the migration reads them: of a user, the affiliate of each key. Invariant: a later change
//! of a row replaces an earlier one. Deliberately absent: lanes and counts of users, which version 6 derives from the log.

use rusqlite::types::Type;
use rusqlite::{Connection, params};
use serde::Deserialize;
use std::collections::BTreeMap;

/// What one transaction of version 5 changed. The fields and their order are its format.
#[derive(Deserialize)]
struct Changes {
    users: Vec<(i64, Option<UserRow>)>,
    ids: Vec<([u8; 16], Option<IdRow>)>,
}

/// A row of `users`.
#[derive(Deserialize)]
struct UserRow {
    _waiting: u32,
    _lane: Option<i64>,
    affiliate: Option<i64>,
    /// The key with its tag.
    entry: Option<[u8; 17]>,
}

/// A row of `seen`.
#[derive(Deserialize)]
struct IdRow {
    at: i64,
    seq: i64,
}

/// Writes the buffered changes to their rows.
pub fn flush(connection: &Connection) -> rusqlite::Result<()> {
    let (mut users, mut ids) = (BTreeMap::new(), BTreeMap::new());
    let mut statement = connection.prepare("SELECT rows FROM v5_changes ORDER BY n")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        let changes: Changes = postcard::from_bytes(row.get_ref(0)?.as_blob()?)
            .map_err(|error| rusqlite::Error::FromSqlConversionFailure(0, Type::Blob, error.into()))?;
        users.extend(changes.users);
        ids.extend(changes.ids);
    }
    users.into_iter().try_for_each(|(key, user)| write_user(connection, key, user))?;
    ids.into_iter().try_for_each(|(id, row)| write_id(connection, &id, row))
}

fn write_user(connection: &Connection, key: i64, user: Option<UserRow>) -> rusqlite::Result<()> {
    let Some(UserRow { affiliate: Some(affiliate), entry: Some(entry), .. }) = user else {
        return connection.prepare_cached("DELETE FROM v5_users WHERE key = ?1")?.execute([key]).map(drop);
    };
    let sql = "INSERT INTO v5_users (key, waiting, affiliate, entry) VALUES (?1, 0, ?2, ?3)
               ON CONFLICT (key) DO UPDATE SET affiliate = ?2, entry = ?3";
    connection.prepare_cached(sql)?.execute(params![key, affiliate, entry]).map(drop)
}

fn write_id(connection: &Connection, id: &[u8; 16], row: Option<IdRow>) -> rusqlite::Result<()> {
    let Some(IdRow { at, seq }) = row else {
        return connection.prepare_cached("DELETE FROM v5_seen WHERE id = ?1")?.execute([id]).map(drop);
    };
    let sql = "INSERT INTO v5_seen (id, at, seq) VALUES (?1, ?2, ?3)
               ON CONFLICT (id) DO UPDATE SET at = ?2, seq = ?3";
    connection.prepare_cached(sql)?.execute(params![id, at, seq]).map(drop)
}
