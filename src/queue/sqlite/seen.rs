//! The table `seen`: event ids recorded, for deduplication, and forgetting them in time.
//!
//! Ids are random: a row is written to its place late ([`super::recent`]), and those that are old lie anywhere. Instead of an
//! index by age, which each event would pay for, the table is walked, a portion at a time, again and again; a portion's ids
//! lie side by side and go together.

use super::recent::Row;
use super::writer::Store;
use crate::domain::{EventId, Timestamp};
use rusqlite::{Connection, OptionalExtension, Statement, params};
use serde::{Deserialize, Serialize};

/// So many ids are looked at in one transaction.
const PORTION: i64 = 5_000;

/// When an event was recorded, and its place in the order of arrival.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Seen {
    pub at: Timestamp,
    pub seq: i64,
}

impl Row for Seen {
    type Key = [u8; 16];

    const FIRST: [u8; 16] = [0; 16];

    const WRITE: &'static str = "INSERT INTO seen (id, at, seq) VALUES (?1, ?2, ?3)
        ON CONFLICT (id) DO UPDATE SET at = ?2, seq = ?3";

    fn keys(connection: &Connection, from: [u8; 16], most: u32) -> rusqlite::Result<Vec<[u8; 16]>> {
        let mut statement = connection.prepare_cached("SELECT id FROM seen WHERE id >= ?1 ORDER BY id LIMIT ?2")?;
        statement.query_map(params![from.as_slice(), most], |row| row.get(0))?.collect()
    }

    fn read(connection: &Connection, key: [u8; 16]) -> rusqlite::Result<Option<Self>> {
        let mut statement = connection.prepare_cached("SELECT at, seq FROM seen WHERE id = ?1")?;
        let seen =
            statement.query_row([key.as_slice()], |row| Ok(Self { at: Timestamp(row.get(0)?), seq: row.get(1)? }));
        seen.optional()
    }

    fn write(&self, statement: &mut Statement<'_>, key: [u8; 16]) -> rusqlite::Result<()> {
        statement.execute(params![key.as_slice(), self.at.0, self.seq]).map(drop)
    }

    fn remove(connection: &Connection, key: [u8; 16]) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM seen WHERE id = ?1")?.execute([key.as_slice()]).map(drop)
    }
}

/// When the event was recorded, if it was.
pub fn find(store: &Store, id: EventId) -> rusqlite::Result<Option<Seen>> {
    store.recent.seen.find(&store.connection, id.0)
}

/// The event is recorded.
pub fn note(store: &mut Store, id: EventId, seen: Seen) {
    store.recent.seen.put(id.0, Some(seen));
}

/// Forgets, among the ids of the next portion, those recorded before `before` whose events wait no more; says whether there
/// are more ids to look at before the walk begins anew.
pub fn forget(store: &mut Store, before: Timestamp) -> rusqlite::Result<bool> {
    let sql = "SELECT id FROM seen WHERE id > ?1 ORDER BY id LIMIT 1 OFFSET ?2";
    let last = store.connection.prepare_cached(sql)?.query_row(params![store.walked, PORTION - 1], |row| row.get(0));
    let last: Option<Vec<u8>> = last.optional()?;
    let portion = if last.is_some() { "id > ?1 AND id <= ?3" } else { "id > ?1 AND ?3 IS NULL" };
    let sql = format!(
        "DELETE FROM seen WHERE {portion} AND at < ?2
         AND NOT EXISTS (SELECT 1 FROM events WHERE events.seq = seen.seq AND events.id = seen.id)"
    );
    let forgotten = store.connection.prepare_cached(&sql)?.execute(params![store.walked, before.0, last])?;
    store.recent.seen.lost(forgotten);
    store.walked = last.unwrap_or_default();
    Ok(!store.walked.is_empty())
}
