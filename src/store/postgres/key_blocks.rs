//! The blocks of the log, each with a filter of the event ids and user keys in it ([`crate::store::user_key_filter`]), by which a lookup
//! finds events.
//!
//! In: rows of the log, when there are enough for a block. Out: the blocks that may hold an id or a user key, and the rows in them that do.
//! A compaction makes filters, in one process at a time. Invariants: blocks do not overlap, and follow each other without a gap; a block is
//! made when everything up to its end has committed, since seqs of several accounts commit in any order, so no row is missed; a block
//! without rows is removed; if a user of a block is forgotten, the filter of the block is removed and made again. Deliberately absent: a
//! `BRIN` index with Bloom filters, which only fill up when the space of removed rows is used again.

use super::accounts::AccountNumber;
use super::erase::as_slices;
use super::session::Session;
use crate::domain::Seq;
use crate::store::erasure::UserKeyHash;
use crate::store::portions::SeqRange;
use crate::store::user_key_filter::{BLOCK_ROWS, UserKeyFilter};
use std::time::SystemTime;
use tokio_postgres::Error;

/// The rows of the log that one statement examines.
const PORTION: i64 = 20_000;

/// The last drawn seq. The function needs only `USAGE`, unlike a look into the sequence. It returns NULL if nothing was drawn since the rows
/// were moved here from another store.
pub const LAST_SEQ: &str = "SELECT coalesce(pg_sequence_last_value('log_seq'), (SELECT max(seq) FROM log), 0)";

/// A seq, and the first transaction that began after it was drawn, on the server with this start.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    seq: i64,
    transaction: i64,
    server: SystemTime,
}

impl Horizon {
    /// The last drawn seq. Its transaction has a number already, because it has locked the row of an account before.
    pub async fn now(session: &Session) -> Result<Self, Error> {
        let seq = session.query_one(LAST_SEQ, &[]).await?.get(0);
        // After the seq was read.
        let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint, pg_postmaster_start_time()";
        let row = session.query_one(sql, &[]).await?;
        Ok(Self { seq, transaction: row.get(0), server: row.get(1) })
    }

    /// The seq up to which everything has committed or never will; none while that is not certain. On another server, which may have drawn
    /// fewer seqs and begun fewer transactions, no seq is certain but those below the first.
    pub async fn passed(self, session: &Session) -> Result<Option<Seq>, Error> {
        let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1, pg_postmaster_start_time()";
        let row = session.query_one(sql, &[&self.transaction]).await?;
        if row.get::<_, SystemTime>(1) != self.server {
            return Ok(Some(Seq(0)));
        }
        Ok(row.get::<_, bool>(0).then_some(Seq(self.seq)))
    }
}

/// Makes one filter: of the oldest block without one (or with one without ids, of an earlier release), or else of the next block, if it
/// ends at `until`; returns whether there may be more to make. The lock row must be locked.
pub async fn build(session: &Session, until: Seq) -> Result<bool, Error> {
    let sql = "SELECT first, last FROM key_blocks WHERE filter IS NULL OR NOT with_ids ORDER BY last LIMIT 1";
    if let Some(row) = session.query_opt(sql, &[]).await? {
        let block = SeqRange { first: row.get(0), last: row.get(1) };
        let (filter, _, _) = filter(session, block).await?;
        let sql = "UPDATE key_blocks SET filter = $2, with_ids = true WHERE last = $1";
        session.execute(sql, &[&block.last, &filter.as_bytes()]).await?;
        return Ok(true);
    }
    let first = covered_up_to(session).await? + 1;
    let (filter, rows, last) = filter(session, SeqRange { first, last: until.0 }).await?;
    if rows < BLOCK_ROWS {
        return Ok(false);
    }
    let sql = "INSERT INTO key_blocks (last, first, filter, with_ids) VALUES ($1, $2, $3, true)";
    session.execute(sql, &[&last, &first, &filter.as_bytes()]).await?;
    Ok(true)
}

/// The filter of the first rows of a range (at most a block), their number, and the seq of the last one.
async fn filter(session: &Session, SeqRange { first, last }: SeqRange) -> Result<(UserKeyFilter, i64, i64), Error> {
    let sql = "SELECT seq, id, keys FROM log WHERE seq >= $1 AND seq <= $2 ORDER BY seq LIMIT $3";
    let rows = session.query(sql, &[&first, &last, &BLOCK_ROWS]).await?;
    let mut filter = UserKeyFilter::new();
    for row in &rows {
        filter.add(row.get(1), row.get(2));
    }
    let end = rows.last().map_or(first, |row| row.get(0));
    Ok((filter, i64::try_from(rows.len()).unwrap_or(i64::MAX), end))
}

async fn covered_up_to(session: &Session) -> Result<i64, Error> {
    let sql = "SELECT coalesce((SELECT last FROM key_blocks ORDER BY last DESC LIMIT 1), 0)";
    Ok(session.query_one(sql, &[]).await?.get(0))
}

/// Removes the filters of the blocks with these rows, whose user keys are removed. The lock row must be locked.
pub async fn remove_filters(session: &Session, rows: &[i64]) -> Result<(), Error> {
    let sql = "UPDATE key_blocks SET filter = NULL WHERE last IN (
                   SELECT (SELECT last FROM key_blocks WHERE last >= seq ORDER BY last LIMIT 1)
                   FROM unnest($1::bigint[]) AS changed (seq))";
    session.execute(sql, &[&rows]).await.map(drop)
}

/// Removes the blocks that have no row after these rows were removed. The lock row must be locked.
pub async fn remove_empty(session: &Session, rows: &[i64]) -> Result<(), Error> {
    let sql = "DELETE FROM key_blocks WHERE last IN (
                   SELECT (SELECT last FROM key_blocks WHERE last >= seq ORDER BY last LIMIT 1)
                   FROM unnest($1::bigint[]) AS removed (seq))
               AND NOT EXISTS (SELECT 1 FROM log WHERE log.seq >= key_blocks.first AND log.seq <= key_blocks.last)";
    session.execute(sql, &[&rows]).await.map(drop)
}

/// Removes every block without rows. The lock row must be locked.
pub async fn remove_all_empty(session: &Session) -> Result<(), Error> {
    let sql = "DELETE FROM key_blocks
               WHERE NOT EXISTS (SELECT 1 FROM log WHERE log.seq >= key_blocks.first AND log.seq <= key_blocks.last)";
    session.execute(sql, &[]).await.map(drop)
}

/// The ranges of rows that may have one of these ids or user keys, the newest first. Reads every filter: 4 bytes of each event.
pub async fn candidates(session: &Session, keys: &[UserKeyHash]) -> Result<Vec<SeqRange>, Error> {
    // The bits of each key, as `UserKeyFilter` sets them.
    let sql = "SELECT first, last FROM key_blocks WHERE filter IS NULL OR NOT with_ids OR EXISTS (
                   SELECT 1 FROM unnest($1::bytea[]) AS asked (key) WHERE NOT EXISTS (
                       SELECT 1 FROM generate_series(0, 7) AS pair
                       WHERE get_bit(filter, 256 * get_byte(key, 2 * pair) + get_byte(key, 2 * pair + 1)) = 0))
               ORDER BY last DESC";
    // The end of the blocks is read first. The rows of a block that is made meanwhile are read one by one.
    let covered = covered_up_to(session).await?;
    let rows = session.query(sql, &[&as_slices(keys)]).await?;
    let blocks = rows.iter().map(|row| SeqRange { first: row.get(0), last: row.get(1) });
    Ok([SeqRange { first: covered + 1, last: i64::MAX - 1 }]
        .into_iter()
        .chain(blocks.filter(|block| block.last <= covered))
        .collect())
}

/// Examines the last rows of a range: returns the rows of the account with one of these ids or user keys, the newest first, and the rest of
/// the range.
pub async fn examine(
    session: &Session,
    account: AccountNumber,
    keys: &[UserKeyHash],
    SeqRange { first, last }: SeqRange,
) -> Result<(Vec<i64>, Option<SeqRange>), Error> {
    let sql = "SELECT seq FROM log WHERE seq >= $1 AND seq <= $2 ORDER BY seq DESC LIMIT 1 OFFSET $3";
    let lowest = session.query_opt(sql, &[&first, &last, &(PORTION - 1)]).await?.map(|row| row.get::<_, i64>(0));
    // An event has one key or two.
    let sql = "SELECT seq FROM log WHERE seq >= $1 AND seq <= $2 AND account = $3
               AND (id = ANY ($4) OR substr(keys, 2, 16) = ANY ($4) OR substr(keys, 19, 16) = ANY ($4)) ORDER BY seq DESC";
    let rows = session.query(sql, &[&lowest.unwrap_or(first), &last, &account, &as_slices(keys)]).await?;
    let rest = lowest.filter(|lowest| *lowest > first).map(|lowest| SeqRange { first, last: lowest - 1 });
    Ok((rows.iter().map(|row| row.get(0)).collect(), rest))
}
