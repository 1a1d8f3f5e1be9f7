//! Compaction of the tables, one portion at a time: removes settled events whose deduplication window has passed, and their ids.
//!
//! Invariants: a portion is one short transaction, and of all processes one at a time runs it: whoever finds the row that says so
//! locked leaves the work to the other. An event stays in the log while it is pending and while its dead letter is kept.
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
