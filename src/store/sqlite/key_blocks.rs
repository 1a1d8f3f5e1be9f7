//! The blocks of the log, each with a filter of the event ids and user keys in it ([`crate::store::user_key_filter`]), by which a lookup
//! finds events.
//!
//! In: rows of the log, when there are enough for a block. Out: the blocks that may hold an id or a user key, and the rows in them that do.
//! Invariants: blocks do not overlap, and follow each other without a gap; rows after the last block, which are of the last seconds because
//! [`build`] runs with every compaction, are read one by one; a block without rows is removed; if a user of a block is forgotten, its
//! filter is removed and made again. Deliberately absent: the lookup itself ([`super::lookup`]).

use super::query::Query;
use super::write_tx::WriteTx;
use crate::domain::Seq;
use crate::store::StoreError;
use crate::store::erasure::UserKeyHash;
use crate::store::portions::SeqRange;
use crate::store::user_key_filter::{BLOCK_ROWS, UserKeyFilter, may_hold};
use crate::store::user_keys;
use rusqlite::{Connection, Row, params};

/// The rows after the last block that one read examines.
const PORTION: i64 = 5_000;

/// Makes one filter: of the oldest block without one, or else of the next block; returns whether there may be more to make.
pub fn build(tx: &mut WriteTx<'_>) -> Result<bool, StoreError> {
    let read = |row: &Row<'_>| Ok(SeqRange { first: row.get(0)?, last: row.get(1)? });
    let sql = "SELECT first, last FROM key_blocks WHERE filter IS NULL ORDER BY last LIMIT 1";
    if let Some(block) = tx.connection.one(sql, [], read)? {
        let (filter, _, _) = filter(tx.connection, block)?;
        let sql = "UPDATE key_blocks SET filter = ?2 WHERE last = ?1";
        tx.connection.run(sql, params![block.last, filter.as_bytes()])?;
        return Ok(true);
    }
    let first = covered_up_to(tx.connection)? + 1;
    let (filter, rows, last) = filter(tx.connection, SeqRange { first, last: i64::MAX })?;
    if rows < BLOCK_ROWS {
        return Ok(false);
    }
    let sql = "INSERT INTO key_blocks (last, first, filter) VALUES (?1, ?2, ?3)";
    tx.connection.run(sql, params![last, first, filter.as_bytes()])?;
    Ok(true)
}

/// The filter of the first rows of a range (at most a block), their number, and the seq of the last one.
fn filter(
    connection: &Connection,
    SeqRange { first, last }: SeqRange,
) -> Result<(UserKeyFilter, i64, i64), StoreError> {
    let sql = "SELECT seq, id, keys FROM log WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq LIMIT ?3";
    let (mut filter, mut count, mut end) = (UserKeyFilter::new(), 0, first);
    connection.each(sql, params![first, last, BLOCK_ROWS], |row| {
        (count, end) = (count + 1, row.get(0)?);
        filter.add(blob(row, 1)?, blob(row, 2)?);
        Ok(false)
    })?;
    Ok((filter, count, end))
}

/// A column as bytes; none if it cannot be read.
fn blob<'a>(row: &'a Row<'_>, column: usize) -> rusqlite::Result<&'a [u8]> {
    Ok(row.get_ref(column)?.as_blob().unwrap_or_default())
}

/// The last seq of the last block.
fn covered_up_to(connection: &Connection) -> Result<i64, StoreError> {
    let last = connection.one("SELECT max(last) FROM key_blocks", [], |row| Ok(row.get::<_, Option<i64>>(0)?))?;
    Ok(last.flatten().unwrap_or(0))
}

/// Removes the filters of the blocks with these rows, whose user keys were removed.
pub fn remove_filters(connection: &Connection, rows: &[Seq]) -> Result<(), StoreError> {
    let sql = "UPDATE key_blocks SET filter = NULL
               WHERE last = (SELECT last FROM key_blocks WHERE last >= ?1 ORDER BY last LIMIT 1) AND first <= ?1";
    rows.iter().try_for_each(|row| connection.run(sql, [row.0]).map(drop))
}

/// Removes the blocks that have no row after these rows were removed, which follow each other.
pub fn remove_empty(connection: &Connection, rows: &[Seq]) -> Result<(), StoreError> {
    let sql = "DELETE FROM key_blocks WHERE last >= ?1
                   AND last <= coalesce((SELECT last FROM key_blocks WHERE last >= ?2 ORDER BY last LIMIT 1), ?2)
                   AND NOT EXISTS (SELECT 1 FROM log WHERE seq >= key_blocks.first AND seq <= key_blocks.last)";
    let ends = params![rows.first().map(|row| row.0), rows.last().map(|row| row.0)];
    connection.run(sql, ends).map(drop)
}

/// The ranges of rows that may have one of these ids or user keys, the newest first. Reads every filter: 4 bytes of each event.
pub fn candidates(connection: &Connection, keys: &[UserKeyHash]) -> Result<Vec<SeqRange>, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let mut ranges = vec![SeqRange { first: covered_up_to(&snapshot)? + 1, last: i64::MAX - 1 }];
    snapshot.each("SELECT first, last, filter FROM key_blocks ORDER BY last DESC", [], |row| {
        if may_hold(row.get_ref(2)?.as_blob_or_null().unwrap_or_default(), keys) {
            ranges.push(SeqRange { first: row.get(0)?, last: row.get(1)? });
        }
        Ok(false)
    })?;
    Ok(ranges)
}

/// Examines the last rows of a range: returns the rows with one of these ids or user keys, the newest first, and the rest of the range.
pub fn examine(
    connection: &Connection,
    keys: &[UserKeyHash],
    range: SeqRange,
) -> Result<(Vec<i64>, Option<SeqRange>), StoreError> {
    let sql = "SELECT seq, id, keys FROM log WHERE seq >= ?1 AND seq <= ?2 ORDER BY seq DESC LIMIT ?3";
    let (mut found, mut examined, mut lowest) = (Vec::new(), 0, range.first);
    connection.each(sql, params![range.first, range.last, PORTION], |row| {
        (examined, lowest) = (examined + 1, row.get(0)?);
        let id: Option<UserKeyHash> = blob(row, 1)?.try_into().ok();
        if id.into_iter().chain(user_keys::hashes(blob(row, 2)?)).any(|hash| keys.contains(&hash)) {
            found.push(lowest);
        }
        Ok(false)
    })?;
    Ok((found, (examined == PORTION).then_some(SeqRange { first: range.first, last: lowest - 1 })))
}
