//! The blocks of the log, each with a filter of the ids and keys in it ([`crate::store::user_key_filter`]): how the events of a user, or with
//! an id, are found.
//!
//! In: rows of the log, once there are enough for a block. Out: the blocks that may hold an id or a key, and the rows in them that do.
//! Filters are made with a compaction, by one process at a time. Invariants: blocks do not overlap, and follow each other without a gap; a block is
//! made once everything up to its end has committed, and seqs of several accounts are committed in any order: so no row is missed; a
//! block without rows is removed; the filter of a block whose user was forgotten is removed, and made anew. Deliberately absent: a `BRIN`
//! index with Bloom filters, whose filters only ever fill up where the space of removed rows is used again.

use super::erase::as_slices;
use super::session::Session;
use super::shared::AccountNumber;
use crate::domain::Seq;
use crate::store::erasure::UserKeyHash;
use crate::store::portions::SeqRange;
use crate::store::user_key_filter::{BLOCK_ROWS, UserKeyFilter};
use tokio_postgres::Error;

/// So many rows of the log are examined by one statement.
const PORTION: i64 = 20_000;

/// A seq, and the first transaction that began after it was drawn.
#[derive(Clone, Copy, Debug)]
pub struct Horizon {
    seq: i64,
    transaction: i64,
}

impl Horizon {
    /// The seq that was drawn last. The transaction that drew it has a number by then: it has locked the row of an account before.
    pub async fn now(session: &Session) -> Result<Self, Error> {
        let seq = session.query_one("SELECT last_value FROM log_seq", &[]).await?.get(0);
        let sql = "SELECT pg_snapshot_xmax(pg_current_snapshot())::text::bigint"; // after that seq was read
        Ok(Self { seq, transaction: session.query_one(sql, &[]).await?.get(0) })
    }

    /// The seq up to which everything has committed, or never will; none as long as that is not certain.
    pub async fn passed(self, session: &Session) -> Result<Option<Seq>, Error> {
        let sql = "SELECT pg_snapshot_xmin(pg_current_snapshot())::text::bigint >= $1";
        let passed: bool = session.query_one(sql, &[&self.transaction]).await?.get(0);
        Ok(passed.then_some(Seq(self.seq)))
    }
}

/// Makes one filter: of the oldest block that has none (or one without ids, of an earlier release), or else of the next block, if it ends at `until`; says whether there may be more
/// to make. The row of the process that compacts is locked.
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

/// The filter of the first rows of a range, how many they are (a block at most), and the seq of the last one.
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

/// Removes the filters of the blocks with these rows: keys are removed from the rows. The row of the process that compacts is locked.
pub async fn remove_filters(session: &Session, rows: &[i64]) -> Result<(), Error> {
    let sql = "UPDATE key_blocks SET filter = NULL WHERE last IN (
                   SELECT (SELECT last FROM key_blocks WHERE last >= seq ORDER BY last LIMIT 1)
                   FROM unnest($1::bigint[]) AS changed (seq))";
    session.execute(sql, &[&rows]).await.map(drop)
}

/// Removes the blocks that have no row any more. These rows were removed. The row of the process that compacts is locked.
pub async fn remove_empty(session: &Session, rows: &[i64]) -> Result<(), Error> {
    let sql = "DELETE FROM key_blocks WHERE last IN (
                   SELECT (SELECT last FROM key_blocks WHERE last >= seq ORDER BY last LIMIT 1)
                   FROM unnest($1::bigint[]) AS removed (seq))
               AND NOT EXISTS (SELECT 1 FROM log WHERE log.seq >= key_blocks.first AND log.seq <= key_blocks.last)";
    session.execute(sql, &[&rows]).await.map(drop)
}

/// Removes every block that has no row. The row of the process that compacts is locked.
pub async fn remove_all_empty(session: &Session) -> Result<(), Error> {
    let sql = "DELETE FROM key_blocks
               WHERE NOT EXISTS (SELECT 1 FROM log WHERE log.seq >= key_blocks.first AND log.seq <= key_blocks.last)";
    session.execute(sql, &[]).await.map(drop)
}

/// The rows that may have one of these ids or keys, the newest first. It reads every filter: 4 bytes of each event.
pub async fn candidates(session: &Session, keys: &[UserKeyHash]) -> Result<Vec<SeqRange>, Error> {
    // The bits of each key, as `UserKeyFilter` sets them.
    let sql = "SELECT first, last FROM key_blocks WHERE filter IS NULL OR NOT with_ids OR EXISTS (
                   SELECT 1 FROM unnest($1::bytea[]) AS asked (key) WHERE NOT EXISTS (
                       SELECT 1 FROM generate_series(0, 7) AS pair
                       WHERE get_bit(filter, 256 * get_byte(key, 2 * pair) + get_byte(key, 2 * pair + 1)) = 0))
               ORDER BY last DESC";
    // First the end of the blocks: of a block that is made meanwhile, the rows are read one by one.
    let covered = covered_up_to(session).await?;
    let rows = session.query(sql, &[&as_slices(keys)]).await?;
    let blocks = rows.iter().map(|row| SeqRange { first: row.get(0), last: row.get(1) });
    Ok([SeqRange { first: covered + 1, last: i64::MAX - 1 }]
        .into_iter()
        .chain(blocks.filter(|block| block.last <= covered))
        .collect())
}

/// Examines the last rows of a range: those of the account with one of these ids or keys, the newest first, and the rest of the range.
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
