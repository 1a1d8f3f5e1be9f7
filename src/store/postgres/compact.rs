//! Compaction of the tables, one portion at a time: it forgets ids whose deduplication window has passed, and removes settled events that
//! the ledger no longer keeps.
//!
//! Invariants: a portion is one short transaction, and one process at a time writes: a process that finds the lock row locked leaves the
//! work to the other. An event and its id stay in the log while the event is pending and while its dead letter is kept. Deliberately
//! absent: the time of compaction ([`super::maintenance`]), and freeing space ([`super::vacuum`]).

use super::key_blocks;
use super::migrate::set_meta;
use super::session::Session;
use crate::domain::Timestamp;
use crate::store::Retention;
use crate::store::portions::{PORTION_ROWS, Portion, SeqRange};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The lock row of the process that compacts.
const LOCK_ROW: &str = "INSERT INTO meta (name, value) VALUES ('compaction', '') ON CONFLICT (name) DO NOTHING";

/// Forgets the ids of the next events received before `before`, up to the first one that was received later; returns whether there may be
/// more. A pending event or a dead letter keeps its id, until the dead letter is discarded or its row is removed.
pub async fn forget_ids(session: &Session, before: Timestamp) -> Result<bool, Error> {
    let after = ids_forgotten_up_to(session).await?;
    let sql = "SELECT seq, received_at < $2 FROM log WHERE seq > $1 ORDER BY seq LIMIT $3";
    let rows = session.query(sql, &[&after, &before.0, &PORTION_ROWS]).await?;
    let past: Vec<i64> = rows.iter().take_while(|row| row.get(1)).map(|row| row.get(0)).collect();
    if let Some(last) = past.last() {
        let sql = "DELETE FROM ids USING log WHERE log.seq = ANY ($1) AND ids.id = log.id AND ids.seq = log.seq
                   AND log.outcome IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.seq = log.seq)";
        session.execute(sql, &[&past]).await?;
        set_ids_forgotten_up_to(session, *last).await?;
    }
    Ok(i64::try_from(past.len()) == Ok(PORTION_ROWS))
}

/// Forgets the ids of events that are no longer dead letters, if their window has passed.
pub async fn forget_ids_of(session: &Session, seqs: &[i64]) -> Result<(), Error> {
    let sql = "DELETE FROM ids USING log WHERE log.seq = ANY ($1) AND log.seq <= $2 AND ids.id = log.id AND ids.seq = log.seq";
    session.execute(sql, &[&seqs, &ids_forgotten_up_to(session).await?]).await.map(drop)
}

/// The last seq up to which ids count only while their events are pending or dead letters.
pub async fn ids_forgotten_up_to(session: &Session) -> Result<i64, Error> {
    let row = session.query_opt("SELECT value FROM meta WHERE name = 'ids_forgotten_up_to'", &[]).await?;
    Ok(row.and_then(|row| row.get::<_, &[u8]>(0).try_into().ok()).map_or(0, i64::from_be_bytes))
}

/// Saves the seq up to which ids count only while their events are pending or dead letters.
pub async fn set_ids_forgotten_up_to(session: &Session, seq: i64) -> Result<(), Error> {
    set_meta(session, "ids_forgotten_up_to", &seq.to_be_bytes()).await
}

/// Removes old settled events from the portion of the log after the seq `after`. The next run does not continue after a portion that ends
/// within the window, but it does after one that was received in the future (a clock was wrong). `None`: there is something to remove, and
/// another process compacts.
pub async fn remove_portion(
    session: &Session,
    after: i64,
    retention: Retention,
) -> Result<Option<Portion<i64>>, Error> {
    let sql = "SELECT seq, received_at BETWEEN $3 AND $4 FROM log WHERE seq > $1 ORDER BY seq LIMIT 1 OFFSET $2";
    let last = session.query_opt(sql, &[&after, &(PORTION_ROWS - 1), &retention.events.0, &retention.now.0]).await?;
    let last: Option<(i64, bool)> = last.map(|row| (row.get(0), row.get(1)));
    let seqs = SeqRange { first: after + 1, last: last.map_or(i64::MAX, |(seq, _)| seq) };
    let portion = Portion::new(removable(session, seqs, retention).await?.is_empty(), last);
    // Most portions have nothing to remove, and then nothing is locked or written.
    if portion.was_empty || exclusively(session, remove(session, seqs, retention)).await?.is_some() {
        return Ok(Some(portion));
    }
    Ok(None)
}

/// The settled events in this range that the ledger no longer keeps.
async fn removable(session: &Session, seqs: SeqRange, retention: Retention) -> Result<Vec<i64>, Error> {
    let sql = "SELECT seq FROM log WHERE seq BETWEEN $1 AND $2 AND outcome IS NOT NULL AND received_at < $3
               AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.seq = log.seq) ORDER BY seq";
    let rows = session.query(sql, &[&seqs.first, &seqs.last, &retention.events.0]).await?;
    Ok(rows.iter().map(|row| row.get(0)).collect())
}

async fn remove(session: &Session, seqs: SeqRange, retention: Retention) -> Result<(), Error> {
    let removable = removable(session, seqs, retention).await?;
    // The id of a replayed event leads to its new row, and stays.
    let sql = "DELETE FROM ids USING log WHERE log.seq = ANY ($1) AND ids.id = log.id AND ids.seq = log.seq";
    session.execute(sql, &[&removable]).await?;
    session.execute("DELETE FROM log WHERE seq = ANY ($1)", &[&removable]).await?;
    key_blocks::remove_empty(session, &removable).await
}

/// Waits until no process compacts, and prevents compaction until the transaction ends. Rows of accounts must be locked before, rows of the
/// log after.
pub async fn exclude(session: &Session) -> Result<(), Error> {
    session.execute(LOCK_ROW, &[]).await?;
    session.query("SELECT 1 FROM meta WHERE name = 'compaction' FOR UPDATE", &[]).await.map(drop)
}

/// Runs `work` in a transaction that has the lock row. `None`: another process compacts.
pub async fn exclusively<T>(
    session: &Session,
    work: impl Future<Output = Result<T, Error>>,
) -> Result<Option<T>, Error> {
    let work = async {
        session.execute(LOCK_ROW, &[]).await?;
        match session.query("SELECT 1 FROM meta WHERE name = 'compaction' FOR UPDATE NOWAIT", &[]).await {
            Ok(_) => work.await.map(Some),
            Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(None),
            Err(error) => Err(error),
        }
    };
    session.transaction(work).await
}
