//! Tidying, one portion at a time: settled events whose window has passed, ids that do not fit into memory, free pages, the WAL.
//!
//! Invariants: a portion holds the writer up for some milliseconds at most; an event stays in the log while it waits and while
//! its dead letter is kept; an id leaves the index in memory only when the table `older_ids` has it.

use super::schema;
use super::state::{Change, Tx};
use crate::domain::{EventId, Seq, Timestamp};
use crate::store::id_index::fingerprint;
use rusqlite::{Connection, OptionalExtension, params};
use std::time::Duration;

/// So many rows are looked at in one reading.
const EXAMINED: i64 = 5_000;

/// So many rows are removed, or ids moved, in one transaction.
pub const PORTION: usize = 500;

/// So many pages are given back at once.
const PAGES: u32 = 100;

/// The events that are to be removed.
const REMOVABLE: &str = "outcome IS NOT NULL AND received_at < ?2
                         AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.seq = log.seq)";

/// Rows of the log that were looked at.
#[derive(Debug)]
pub struct Examined {
    /// Those that are to be removed.
    pub removable: Vec<Seq>,
    /// Where to go on; none at the end of the log.
    pub next: Option<i64>,
}

/// Looks at the rows behind the seq `after`.
pub fn examine(connection: &Connection, after: i64, before: Timestamp) -> rusqlite::Result<Examined> {
    let sql = "SELECT seq FROM log WHERE seq > ?1 ORDER BY seq LIMIT 1 OFFSET ?2";
    let next = connection.prepare_cached(sql)?.query_row([after, EXAMINED - 1], |row| row.get(0)).optional()?;
    let sql = format!("SELECT seq FROM log WHERE seq > ?1 AND seq <= ?3 AND {REMOVABLE} ORDER BY seq");
    let mut statement = connection.prepare_cached(&sql)?;
    let until = next.unwrap_or(i64::MAX);
    let removable = statement.query_map(params![after, before.0, until], |row| Ok(Seq(row.get(0)?)))?;
    Ok(Examined { removable: removable.collect::<rusqlite::Result<_>>()?, next })
}

/// Removes these rows, unless that has become wrong, and their ids.
pub fn remove(tx: &mut Tx<'_>, seqs: &[Seq], before: Timestamp) -> rusqlite::Result<()> {
    let sql = format!("DELETE FROM log WHERE seq = ?1 AND {REMOVABLE} RETURNING id");
    let mut delete = tx.connection.prepare_cached(&sql)?;
    let sql = "DELETE FROM older_ids WHERE fingerprint = ?1 AND seq = ?2";
    let mut delete_older = tx.connection.prepare_cached(sql)?;
    for seq in seqs {
        let id: Option<Vec<u8>> = delete.query_row(params![seq.0, before.0], |row| row.get(0)).optional()?;
        let Some(id) = id.and_then(|id| id.try_into().ok()).map(EventId) else { continue };
        if tx.state.older_ids {
            delete_older.execute(params![fingerprint(&id), seq.0])?;
        }
        tx.note(Change::Removed(id, *seq));
    }
    Ok(())
}

/// Writes ids that are to leave the memory into the table `older_ids`; they are sorted as it is.
pub fn move_ids(tx: &mut Tx<'_>, ids: &[(u32, i64)]) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO older_ids (fingerprint, seq) VALUES (?1, ?2)";
    let mut insert = tx.connection.prepare_cached(sql)?;
    for (fingerprint, seq) in ids {
        insert.execute(params![fingerprint, seq])?;
    }
    tx.state.older_ids = true; // stays so if this is rolled back: then lookups ask in vain
    Ok(())
}

/// All ids up to `last` were moved: they leave the memory with this transaction.
pub fn ids_moved(tx: &mut Tx<'_>, last: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES ('older_ids_up_to', ?1) ON CONFLICT (name) DO UPDATE SET value = ?1";
    tx.connection.prepare_cached(sql)?.execute([last])?;
    tx.note(Change::MovedUpTo(last));
    Ok(())
}

/// Returns a portion of the free pages to the file system; says whether more remain and can be returned: a file that was made
/// by other hands (from a dump, say) may not be able to shrink.
pub fn give_back_space(connection: &Connection) -> rusqlite::Result<bool> {
    let free = || connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    let before = free()?;
    let mut statement = connection.prepare(&format!("PRAGMA incremental_vacuum({PAGES})"))?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {} // a page per step
    let after = free()?;
    Ok(0 < after && after < before)
}

/// Moves what the WAL holds into the file, as far as no reading needs it.
pub fn checkpoint(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(PASSIVE)", [], |_| Ok(()))
}

/// Empties the WAL, which still holds what was deleted; says whether it is empty now. It is not if another process reads.
pub fn empty_wal(connection: &Connection) -> rusqlite::Result<bool> {
    connection.busy_timeout(Duration::ZERO)?; // the writer must not wait for another process
    let busy = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get::<_, i64>(0));
    connection.busy_timeout(schema::BUSY_TIMEOUT)?;
    Ok(busy? == 0)
}
