//! Claiming: the heads of lanes that are ready, leased, each with what is remembered of its user.

use super::keys::Keys;
use super::memory;
use super::schema::IS_HEAD;
use super::writer::Store;
use crate::delivery::{Memory, Progress};
use crate::domain::{AccountName, EventId, Timestamp};
use crate::failpoint;
use crate::queue::{Batch, Claimed, Ticket};
use rusqlite::{OptionalExtension, Row, params};

/// Leases up to `limit` events until `until`, inside the current transaction.
pub fn claim(
    store: &mut Store,
    account: &AccountName,
    limit: usize,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Batch> {
    let mut events = ready(store, account, limit, now)?;
    let sql = "UPDATE events SET ready_at = ?2, lease = 1, claim = claim + 1 WHERE seq = ?1";
    let mut lease = store.connection.prepare_cached(sql)?;
    for event in &mut events {
        lease.execute([event.ticket.seq, until.0])?;
        event.memory = memory::recall(&store.connection, &event.keys)?;
        failpoint::step("queue::claim");
    }
    let next = if events.len() < limit { next_ready(store, account, now)? } else { None };
    Ok(Batch { events, next })
}

fn ready(store: &Store, account: &AccountName, limit: usize, now: Timestamp) -> rusqlite::Result<Vec<Claimed>> {
    let sql = format!(
        "SELECT seq, claim, id, body, keys, progress, lease, failures, failing_since, received_at
         FROM events WHERE account = ?1 AND ready_at <= ?2 AND {IS_HEAD} ORDER BY ready_at, seq LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    store.connection.prepare_cached(&sql)?.query_map(params![account.as_str(), now.0, limit], read)?.collect()
}

fn next_ready(store: &Store, account: &AccountName, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let sql = format!(
        "SELECT ready_at FROM events WHERE account = ?1 AND ready_at > ?2 AND {IS_HEAD} ORDER BY ready_at LIMIT 1"
    );
    let mut statement = store.connection.prepare_cached(&sql)?;
    statement.query_row(params![account.as_str(), now.0], |row| row.get(0).map(Timestamp)).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let progress: Option<String> = row.get(5)?;
    let failing_since: Option<i64> = row.get(8)?;
    Ok(Claimed {
        ticket: Ticket { seq: row.get(0)?, claim: row.get::<_, i64>(1)? + 1, id: EventId(row.get(2)?) },
        body: row.get(3)?,
        keys: Keys::from_blob(row.get(4)?).users(),
        memory: Memory::default(),
        progress: progress.as_deref().map_or_else(Progress::default, read_progress),
        interrupted: row.get::<_, i64>(6)? != 0,
        failures: row.get(7)?,
        failing_since: failing_since.map(Timestamp),
        received_at: Timestamp(row.get(9)?),
    })
}

/// Progress that a later release wrote otherwise is no progress: the plan then begins anew, which is safe at every step.
fn read_progress(text: &str) -> Progress {
    serde_json::from_str(text).unwrap_or_default()
}
