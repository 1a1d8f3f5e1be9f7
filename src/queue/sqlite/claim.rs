//! Claiming: the heads of lanes that are ready, leased, each with what is remembered of its user and with what waits behind it.

use super::keys::Keys;
use super::memory;
use super::schema::IS_HEAD;
use super::writer::Store;
use crate::delivery::{Memory, Progress};
use crate::domain::{AccountName, EventId, Timestamp};
use crate::failpoint;
use crate::queue::{Batch, Behind, Claimed, Place, Ticket};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// More than these are not brought along with a head.
const MOST_BEHIND: i64 = 50;
const MOST_BYTES_BEHIND: usize = 128 * 1024;
/// A claim brings no more bytes of bodies than these, what waits behind the heads included; one head it always brings.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Leases up to `limit` events until `until`, inside the current transaction.
pub fn claim(
    store: &mut Store,
    account: &AccountName,
    limit: usize,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Batch> {
    let (mut events, mut room) = ready(store, account, limit, now)?;
    let sql = "UPDATE events SET ready_at = ?2, lease = 1, claim = claim + 1 WHERE seq = ?1";
    let mut lease = store.connection.prepare_cached(sql)?;
    for event in &mut events {
        lease.execute([event.ticket.seq, until.0])?;
        event.memory = memory::recall(&store.connection, &event.keys)?;
        event.behind = behind(&store.connection, account, event.ticket.seq, room.min(MOST_BYTES_BEHIND))?;
        room -= event.behind.iter().map(|behind| behind.body.len()).sum::<usize>();
        failpoint::step("queue::claim");
    }
    let next = if events.len() < limit { next_ready(store, account, now)? } else { None };
    Ok(Batch { events, next })
}

/// The heads, and how many more bytes there is room for.
fn ready(
    store: &Store,
    account: &AccountName,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<(Vec<Claimed>, usize)> {
    let sql = format!(
        "SELECT seq, claim, id, body, keys, progress, lease, failures, failing_since, received_at
         FROM events WHERE account = ?1 AND ready_at <= ?2 AND {IS_HEAD} ORDER BY ready_at, seq LIMIT ?3"
    );
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = store.connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params![account.as_str(), now.0, limit])?;
    let (mut events, mut room) = (Vec::new(), MOST_BYTES);
    while let Some(row) = rows.next()? {
        let event = read(row)?;
        if event.body.len() > room && !events.is_empty() {
            break;
        }
        room = room.saturating_sub(event.body.len());
        events.push(event);
    }
    Ok((events, room))
}

/// What waits behind a head and was never tried, up to so many bytes of bodies.
fn behind(
    connection: &Connection,
    account: &AccountName,
    seq: i64,
    most_bytes: usize,
) -> rusqlite::Result<Vec<Behind>> {
    let sql = "SELECT seq, id, body, lease = 0 AND failures = 0 AND progress IS NULL AND account = ?3 FROM events
               WHERE lane = (SELECT lane FROM events WHERE seq = ?1) AND seq > ?1 ORDER BY seq LIMIT ?2";
    let mut statement = connection.prepare_cached(sql)?;
    let (mut rows, mut behind, mut bytes) =
        (statement.query(params![seq, MOST_BEHIND, account.as_str()])?, Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(2)?;
        bytes += body.len();
        if !row.get::<_, bool>(3)? || bytes > most_bytes {
            break;
        }
        let place = Place { seq: row.get(0)?, id: EventId(row.get(1)?) };
        behind.push(Behind { place, body });
    }
    Ok(behind)
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
        behind: Vec::new(),
    })
}

/// Progress that a later release wrote otherwise is no progress: the plan then begins anew, which is safe at every step.
fn read_progress(text: &str) -> Progress {
    serde_json::from_str(text).unwrap_or_default()
}
