//! Compaction of the tables, one portion at a time: removes settled events whose deduplication window has passed, and their ids.
//!
//! Invariants: a portion is one short transaction, and of all processes one at a time runs it: whoever finds the row that says so
//! locked leaves the work to the other. An event stays in the log while it is pending and while its dead letter is kept.
//! Deliberately absent: when it is done ([`super::maintenance`]), and the space of what was removed ([`super::vacuum`]).

use super::session::Session;
use crate::domain::Timestamp;
use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

/// So many rows are examined in one transaction.
const PORTION: i64 = 2_000;

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
    }
    Ok(Some(Portion { removed: removable.len() as u64, next }))
}

/// Locks the row of the process that compacts, until the transaction ends; says whether no other process has it.
async fn lock(session: &Session) -> Result<bool, Error> {
    let sql = "INSERT INTO meta (name, value) VALUES ('compaction', '') ON CONFLICT (name) DO NOTHING";
    session.execute(sql, &[]).await?;
    let locked = session.query("SELECT 1 FROM meta WHERE name = 'compaction' FOR UPDATE NOWAIT", &[]).await;
    match locked {
        Ok(_) => Ok(true),
        Err(error) if error.code() == Some(&SqlState::LOCK_NOT_AVAILABLE) => Ok(false),
        Err(error) => Err(error),
    }
}
