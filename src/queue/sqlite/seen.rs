//! Event ids recorded, for deduplication: forgetting them in time.
//!
//! Ids are random, so those that are old lie anywhere. Instead of an index by age, which each event would pay for, the table
//! is walked, a portion at a time, again and again; a portion's ids lie side by side and go together.

use super::writer::Store;
use crate::domain::Timestamp;
use rusqlite::{OptionalExtension, params};

/// So many ids are looked at in one transaction.
const PORTION: i64 = 5_000;

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
    store.connection.prepare_cached(&sql)?.execute(params![store.walked, before.0, last])?;
    store.walked = last.unwrap_or_default();
    Ok(!store.walked.is_empty())
}
