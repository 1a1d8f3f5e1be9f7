//! Compaction of the tables, one portion at a time: it forgets ids whose deduplication window has passed, and removes settled events that
//! the ledger no longer keeps.
//!
//! Invariants: a portion is one short transaction, and one process at a time runs it: a process that finds the lock row locked leaves the
//! work to the other. An event and its id stay in the log while the event is pending and while its dead letter is kept. Deliberately
//! absent: the time of compaction ([`super::maintenance`]), and freeing space ([`super::vacuum`]).

use super::key_blocks;
use super::session::Session;
use crate::domain::{Seq, Timestamp};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// The rows that are examined in one transaction.
const PORTION: i64 = 2_000;

/// The lock row of the process that compacts.
const LOCK_ROW: &str = "INSERT INTO meta (name, value) VALUES ('compaction', '') ON CONFLICT (name) DO NOTHING";

/// The result of a portion.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// The number of removed events.
    pub removed: u64,
    /// The seq after which the next portion begins; none at the end of the log.
    pub next: Option<i64>,
}

/// Forgets the ids of the next events received before `before`, up to the first one that was received later; returns whether there may be
/// more. `None`: another process compacts. A pending event or a dead letter keeps its id, until the dead letter is discarded or its row is
/// removed.
pub async fn forget_ids(session: &Session, before: Timestamp) -> Result<Option<bool>, Error> {
    if !lock(session).await? {
        return Ok(None);
    }
    let after = ids_forgotten_up_to(session).await?;
    let sql = "SELECT seq, received_at < $2 FROM log WHERE seq > $1 ORDER BY seq LIMIT $3";
    let rows = session.query(sql, &[&after, &before.0, &PORTION]).await?;
    let past: Vec<i64> = rows.iter().take_while(|row| row.get(1)).map(|row| row.get(0)).collect();
    if let Some(last) = past.last() {
        let sql = "DELETE FROM ids USING log WHERE log.seq = ANY ($1) AND ids.id = log.id AND ids.seq = log.seq
                   AND log.outcome IS NOT NULL
                   AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.seq = log.seq)";
        session.execute(sql, &[&past]).await?;
        set_ids_forgotten_up_to(session, *last).await?;
    }
    Ok(Some(i64::try_from(past.len()) == Ok(PORTION)))
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
    let sql = "INSERT INTO meta (name, value) VALUES ('ids_forgotten_up_to', $1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    session.execute(sql, &[&seq.to_be_bytes().as_slice()]).await.map(drop)
}

/// Removes settled events received before `before` from the portion of the log after the seq `after`. `None`: another process compacts.
pub async fn remove_portion(session: &Session, after: i64, before: Timestamp) -> Result<Option<Portion>, Error> {
    if !lock(session).await? {
        return Ok(None);
    }
    let sql = "SELECT seq FROM log WHERE seq > $1 ORDER BY seq LIMIT 1 OFFSET $2";
    let next: Option<i64> = session.query_opt(sql, &[&after, &(PORTION - 1)]).await?.map(|row| row.get(0));
    let sql = "SELECT seq FROM log WHERE seq > $1 AND seq <= $2 AND outcome IS NOT NULL AND received_at < $3
               AND NOT EXISTS (SELECT 1 FROM dead_letters WHERE dead_letters.seq = log.seq) ORDER BY seq";
    let until = next.unwrap_or(i64::MAX);
    let removable: Vec<i64> =
        session.query(sql, &[&after, &until, &before.0]).await?.iter().map(|row| row.get(0)).collect();
    if !removable.is_empty() {
        // The id of a replayed event leads to its new row, and stays.
        let sql = "DELETE FROM ids USING log WHERE log.seq = ANY ($1) AND ids.id = log.id AND ids.seq = log.seq";
        session.execute(sql, &[&removable]).await?;
        session.execute("DELETE FROM log WHERE seq = ANY ($1)", &[&removable]).await?;
        key_blocks::remove_empty(session, &removable).await?;
    }
    Ok(Some(Portion { removed: removable.len() as u64, next }))
}

/// Makes one filter of a block of the log up to `until`; returns whether there may be more to make. `None`: another process compacts.
pub async fn build_filter(session: &Session, until: Seq) -> Result<Option<bool>, Error> {
    if !lock(session).await? {
        return Ok(None);
    }
    key_blocks::build(session, until).await.map(Some)
}

/// Removes all blocks of the log without rows, unless another process compacts.
pub async fn remove_empty_blocks(session: &Session) -> Result<(), Error> {
    if lock(session).await? { key_blocks::remove_all_empty(session).await } else { Ok(()) }
}

/// Waits until no process compacts, and prevents compaction until the transaction ends. Rows of accounts must be locked before, rows of the
/// log after.
pub async fn exclude(session: &Session) -> Result<(), Error> {
    session.execute(LOCK_ROW, &[]).await?;
    session.query("SELECT 1 FROM meta WHERE name = 'compaction' FOR UPDATE", &[]).await.map(drop)
}

/// Locks the lock row until the transaction ends; returns false if another process has it.
pub async fn lock(session: &Session) -> Result<bool, Error> {
    session.execute(LOCK_ROW, &[]).await?;
    let locked = session.query("SELECT 1 FROM meta WHERE name = 'compaction' FOR UPDATE NOWAIT", &[]).await;
    match locked {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        Err(error) => Err(error),
    }
}
