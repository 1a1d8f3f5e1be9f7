//! Compaction of the file, one portion at a time: it forgets ids whose deduplication window has passed, removes settled events that the
//! ledger no longer keeps, and returns free pages to the file system.
//!
//! Invariants: a portion occupies the writer for some milliseconds at most; an event and its id stay in the log while the event is pending
//! and while its dead letter is kept. Deliberately absent: the time of compaction ([`super::maintenance`]).

use super::key_blocks;
use super::older_ids;
use super::query::Query;
use super::schema::{IDS_FORGOTTEN_UP_TO, NEXT_SEQ, meta, set_meta};
use super::write_tx::WriteTx;
use crate::domain::{EventId, Seq, Timestamp};
use crate::store::portions::{PORTION_ROWS, Portion};
use crate::store::rows::event_id;
use crate::store::{Retention, StoreError};
use rusqlite::{Connection, Row, params};

/// The rows that are removed in one transaction.
pub const PORTION: usize = 500;

/// The pages that are returned at once.
const PAGES: u32 = 100;

/// The events to remove.
const REMOVABLE: &str = "outcome IS NOT NULL AND received_at < ?2
                         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.seq = log.seq)";

/// Forgets the ids of the next events received before `before`, up to the first one that was received later: they leave the index in memory
/// and the table `older_ids`. Returns whether there may be more. A pending event or a dead letter keeps its id, until the dead letter is
/// discarded or its row is removed.
pub fn forget_ids(tx: &mut WriteTx<'_>, before: Timestamp) -> Result<bool, StoreError> {
    let after = meta(tx.connection, IDS_FORGOTTEN_UP_TO)?;
    let sql = "SELECT seq, id, received_at < ?2, answered = 0 AND outcome IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.seq = log.seq)
               FROM log WHERE seq > ?1 ORDER BY seq LIMIT ?3";
    let limit = i64::try_from(PORTION).unwrap_or(i64::MAX);
    let read = |row: &Row<'_>| {
        Ok((Seq(row.get(0)?), event_id(row, 1, "log.id").ok(), row.get::<_, bool>(2)?, row.get::<_, bool>(3)?))
    };
    let rows = tx.connection.all(sql, params![after, before.0, limit], read)?;
    let past: Vec<_> = rows.iter().take_while(|(_, _, is_past, _)| *is_past).collect();
    for (seq, id, _, _) in past.iter().filter(|(_, _, _, has_ended)| *has_ended) {
        if let Some(id) = id {
            forget_id(tx, *id, *seq)?;
        }
    }
    if let Some((last, ..)) = past.last() {
        set_meta(tx.connection, IDS_FORGOTTEN_UP_TO, last.0)?;
    }
    Ok(past.len() == PORTION)
}

/// Forgets the id of an event that is no longer a dead letter, if its window has passed.
pub fn forget_id_of(tx: &mut WriteTx<'_>, seq: Seq) -> Result<(), StoreError> {
    let sql = "SELECT id FROM log WHERE seq = ?1 AND seq <= ?2";
    let values = [seq.0, meta(tx.connection, IDS_FORGOTTEN_UP_TO)?];
    let id = tx.connection.one(sql, values, |row| Ok(event_id(row, 0, "log.id").ok()))?.flatten();
    id.map_or(Ok(()), |id| forget_id(tx, id, seq))
}

fn forget_id(tx: &mut WriteTx<'_>, id: EventId, seq: Seq) -> Result<(), StoreError> {
    if tx.state.older_ids {
        older_ids::delete(tx.connection, &id, seq)?;
    }
    tx.state.log.remove(id, seq);
    Ok(())
}

/// Examines the portion of the rows after the seq `after`, and returns the ones to remove. The next run does not continue after a portion
/// that ends within the window, but it does after one that was received in the future (a clock was wrong).
pub fn examine(
    connection: &Connection,
    after: i64,
    retention: Retention,
) -> Result<(Vec<Seq>, Portion<i64>), StoreError> {
    let sql = "SELECT seq, received_at BETWEEN ?3 AND ?4 FROM log WHERE seq > ?1 ORDER BY seq LIMIT 1 OFFSET ?2";
    let values = [after, PORTION_ROWS - 1, retention.events.0, retention.now.0];
    let last: Option<(i64, bool)> = connection.one(sql, values, |row| Ok((row.get(0)?, row.get(1)?)))?;
    let sql = format!("SELECT seq FROM log WHERE seq > ?1 AND seq <= ?3 AND {REMOVABLE} ORDER BY seq");
    let values = [after, retention.events.0, last.map_or(i64::MAX, |(seq, _)| seq)];
    let removable = connection.all(&sql, values, |row| Ok(Seq(row.get(0)?)))?;
    let portion = Portion::new(removable.is_empty(), last);
    Ok((removable, portion))
}

/// Removes these rows, which must be in the order of their seqs, and their ids, except rows that must stay by now.
pub fn remove(tx: &mut WriteTx<'_>, seqs: &[Seq], before: Timestamp) -> Result<(), StoreError> {
    let sql = format!("DELETE FROM log WHERE seq = ?1 AND {REMOVABLE} RETURNING id");
    for seq in seqs {
        let id = |row: &Row<'_>| Ok(event_id(row, 0, "log.id").ok());
        if let Some(id) = tx.connection.one(&sql, params![seq.0, before.0], id)?.flatten() {
            forget_id(tx, id, *seq)?;
        }
    }
    key_blocks::remove_empty(tx.connection, seqs)?;
    // The remaining rows do not show which seqs were assigned.
    Ok(set_meta(tx.connection, NEXT_SEQ, tx.state.log.next_seq())?)
}

/// Returns a portion of the free pages to the file system; returns whether more remain and can be returned. A file that this service did
/// not create (for instance from a dump) may not be able to shrink.
pub fn return_free_pages(connection: &Connection) -> rusqlite::Result<bool> {
    let free = || connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    let before = free()?;
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {} // a page per step
    let after = free()?;
    Ok(0 < after && after < before)
}
