//! Compaction of the tables, one portion at a time: forgets ids whose deduplication window has passed, and removes settled events that
//! the ledger keeps no longer.
//!
//! Invariants: a portion is one short transaction, and of all processes one at a time runs it: whoever finds the row that says so
//! locked leaves the work to the other. An event stays in the log while it is pending and while its dead letter is kept, and so does
//! its id.
//! Deliberately absent: when it is done ([`super::maintenance`]), and the space of what was removed ([`super::vacuum`]).

use super::key_blocks;
use super::session::Session;
use crate::domain::{Seq, Timestamp};
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// So many rows are examined in one transaction.
const PORTION: i64 = 2_000;

/// The row of the process that compacts.
const LOCK_ROW: &str = "INSERT INTO meta (name, value) VALUES ('compaction', '') ON CONFLICT (name) DO NOTHING";

/// What a portion came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Portion {
    /// How many events were removed.
    pub removed: u64,
    /// The seq after which to go on; none at the end of the log.
    pub next: Option<i64>,
}

/// Forgets the ids of the next events received before `before`, up to the first one that was received later; says whether there may be
/// more. `None`: another process is at it. An event that is pending or a dead letter keeps its id, until its dead letter is discarded or its
/// row is removed.
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

/// Forgets the ids of events that are kept as dead letters no longer, if their window has passed meanwhile.
pub async fn forget_ids_of(session: &Session, seqs: &[i64]) -> Result<(), Error> {
    let sql = "DELETE FROM ids USING log WHERE log.seq = ANY ($1) AND log.seq <= $2 AND ids.id = log.id AND ids.seq = log.seq";
    session.execute(sql, &[&seqs, &ids_forgotten_up_to(session).await?]).await.map(drop)
}

/// The last seq up to which ids count only while their events are pending or dead letters.
pub async fn ids_forgotten_up_to(session: &Session) -> Result<i64, Error> {
    let row = session.query_opt("SELECT value FROM meta WHERE name = 'ids_forgotten_up_to'", &[]).await?;
    Ok(row.and_then(|row| row.get::<_, &[u8]>(0).try_into().ok()).map_or(0, i64::from_be_bytes))
}

/// Writes that ids up to this seq count only while their events are pending or dead letters.
pub async fn set_ids_forgotten_up_to(session: &Session, seq: i64) -> Result<(), Error> {
    let sql = "INSERT INTO meta (name, value) VALUES ('ids_forgotten_up_to', $1)
               ON CONFLICT (name) DO UPDATE SET value = excluded.value";
    session.execute(sql, &[&seq.to_be_bytes().as_slice()]).await.map(drop)
}

/// Removes settled events received before `before` from the portion of the log after the seq `after`. `None`: another process is at
/// it.
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
        // A replayed event's id leads to its new row, and stays.
        let sql = "DELETE FROM ids USING log WHERE log.seq = ANY ($1) AND ids.id = log.id AND ids.seq = log.seq";
        session.execute(sql, &[&removable]).await?;
        session.execute("DELETE FROM log WHERE seq = ANY ($1)", &[&removable]).await?;
        key_blocks::remove_empty(session, &removable).await?;
    }
    Ok(Some(Portion { removed: removable.len() as u64, next }))
}

/// Makes one filter of a block of the log up to `until`; says whether there may be more to make. `None`: another process is at it.
pub async fn build_filter(session: &Session, until: Seq) -> Result<Option<bool>, Error> {
    if !lock(session).await? {
        return Ok(None);
    }
    key_blocks::build(session, until).await.map(Some)
}

/// Removes all blocks of the log that have no row any more, unless another process compacts.
pub async fn remove_empty_blocks(session: &Session) -> Result<(), Error> {
    if lock(session).await? { key_blocks::remove_all_empty(session).await } else { Ok(()) }
}

/// Waits until no process compacts, and none does until the transaction ends. Rows of accounts are locked before, rows of the log are not.
pub async fn exclude(session: &Session) -> Result<(), Error> {
    session.execute(LOCK_ROW, &[]).await?;
    session.query("SELECT 1 FROM meta WHERE name = 'compaction' FOR UPDATE", &[]).await.map(drop)
}

/// Locks the row of the process that compacts, until the transaction ends; says whether no other process has it.
pub async fn lock(session: &Session) -> Result<bool, Error> {
    session.execute(LOCK_ROW, &[]).await?;
    let locked = session.query("SELECT 1 FROM meta WHERE name = 'compaction' FOR UPDATE NOWAIT", &[]).await;
    match locked {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        Err(error) => Err(error),
    }
}
