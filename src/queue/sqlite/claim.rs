//! Claiming: the heads of lanes that are ready, leased, each with what is remembered of its user and with what waits behind it.

use super::body;
use super::keys::Keys;
use super::lane::{self, IS_LEASED};
use super::memory;
use super::writer::Store;
use crate::delivery::{Memory, Progress};
use crate::domain::{AccountName, EventId, Timestamp};
use crate::failpoint;
use crate::queue::{Batch, Behind, Claimed, Place, Ticket};
use rusqlite::{Connection, Row, params};

/// More than these are not brought along with a head.
const MOST_BEHIND: i64 = 50;
const MOST_BYTES_BEHIND: usize = 128 * 1024;
/// A claim brings no more bytes of bodies (unpacked) than these, what waits behind the heads included; one head it always brings.
const MOST_BYTES: usize = 8 * 1024 * 1024;

/// Who may be claimed: since when, and which.
type Candidate = (i64, i64);

/// Leases up to `limit` events until `until`, inside the current transaction.
pub fn claim(
    store: &mut Store,
    account: &AccountName,
    limit: usize,
    now: Timestamp,
    until: Timestamp,
) -> rusqlite::Result<Batch> {
    let mut candidates = ready(&store.connection, account, limit, now)?;
    let (expired, mut next) = expired(&store.connection, account, now)?;
    if !expired.is_empty() {
        candidates.extend(expired);
        candidates.sort_unstable();
        candidates.truncate(limit);
    }
    let (mut events, mut room) = (Vec::with_capacity(candidates.len()), MOST_BYTES);
    let mut last = None;
    for (at, seq) in candidates {
        let (mut event, lane) = read(&store.connection, seq)?;
        if body::length(&event.body) > room && !events.is_empty() {
            break;
        }
        room = room.saturating_sub(body::length(&event.body));
        event.ticket.claim = store.counts.next_claim;
        store.counts.next_claim += 1;
        lease(&store.connection, account, &event.ticket, until)?;
        last = Some((at, seq));
        event.memory = memory::recall(store, &event.keys)?;
        event.behind = behind(&store.connection, account, seq, lane, room.min(MOST_BYTES_BEHIND))?;
        room -= event.behind.iter().map(|behind| body::length(&behind.body)).sum::<usize>();
        events.push(event);
        failpoint::step("queue::claim");
    }
    if let Some((at, seq)) = last {
        // They came in this order, so all of them are gone through.
        let sql = "DELETE FROM ready WHERE account = ?1 AND (at, seq) <= (?2, ?3)";
        store.connection.prepare_cached(sql)?.execute((account.as_str(), at, seq))?;
    }
    if events.len() < limit {
        let ready = next_ready(&store.connection, account, now)?;
        next = [next, ready].into_iter().flatten().chain((!events.is_empty()).then_some(until)).min();
    }
    let next = next.filter(|_| events.len() < limit);
    Ok(Batch { events, next })
}

/// The heads that are free and ready at `now`, the longest ready first.
fn ready(
    connection: &Connection,
    account: &AccountName,
    limit: usize,
    now: Timestamp,
) -> rusqlite::Result<Vec<Candidate>> {
    let sql = "SELECT at, seq FROM ready WHERE account = ?1 AND at <= ?2 ORDER BY at, seq LIMIT ?3";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = connection.prepare_cached(sql)?;
    let found = statement.query_map(params![account.as_str(), now.0, limit], |row| Ok((row.get(0)?, row.get(1)?)))?;
    found.collect()
}

/// The heads whose leases have expired at `now`, and when the next lease of a head will.
fn expired(
    connection: &Connection,
    account: &AccountName,
    now: Timestamp,
) -> rusqlite::Result<(Vec<Candidate>, Option<Timestamp>)> {
    let mut leases = connection.prepare_cached("SELECT until, seq FROM leases WHERE account = ?1")?;
    let mut rows = leases.query([account.as_str()])?;
    let (mut expired, mut next) = (Vec::new(), None);
    while let Some(row) = rows.next()? {
        let (until, seq) = (row.get(0)?, row.get(1)?);
        if until > now.0 && next.is_some_and(|next| next <= Timestamp(until)) {
            continue;
        }
        if !lane::is_head(connection, seq)? {
            continue;
        }
        if until <= now.0 {
            expired.push((until, seq));
        } else {
            next = Some(Timestamp(until));
        }
    }
    Ok((expired, next))
}

/// The event with `ticket`, which was ready or leased by somebody else till now, is leased.
fn lease(connection: &Connection, account: &AccountName, ticket: &Ticket, until: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO leases (account, seq, claim, until) VALUES (?1, ?2, ?3, ?4)
               ON CONFLICT (account, seq) DO UPDATE SET claim = ?3, until = ?4";
    connection.prepare_cached(sql)?.execute((account.as_str(), ticket.seq, ticket.claim, until.0)).map(drop)
}

/// What waits behind a head and was never tried, up to so many bytes of bodies.
fn behind(
    connection: &Connection,
    account: &AccountName,
    seq: i64,
    lane: i64,
    most_bytes: usize,
) -> rusqlite::Result<Vec<Behind>> {
    let sql = format!(
        "SELECT seq, id, body, interrupted = 0 AND failures = 0 AND progress IS NULL AND account = ?4 AND NOT {IS_LEASED}
         FROM events WHERE lane = ?2 AND seq > ?1 ORDER BY seq LIMIT ?3"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (mut rows, mut behind, mut bytes) =
        (statement.query(params![seq, lane, MOST_BEHIND, account.as_str()])?, Vec::new(), 0);
    while let Some(row) = rows.next()? {
        let body: Vec<u8> = row.get(2)?;
        bytes += body::length(&body);
        if !row.get::<_, bool>(3)? || bytes > most_bytes {
            break;
        }
        let place = Place { seq: row.get(0)?, id: EventId(row.get(1)?) };
        behind.push(Behind { place, body });
    }
    Ok(behind)
}

fn next_ready(connection: &Connection, account: &AccountName, now: Timestamp) -> rusqlite::Result<Option<Timestamp>> {
    let sql = "SELECT min(at) FROM ready WHERE account = ?1 AND at > ?2";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![account.as_str(), now.0], |row| Ok(row.get::<_, Option<i64>>(0)?.map(Timestamp)))
}

/// The event, but for the number of its claim and what it comes with; and its lane.
fn read(connection: &Connection, seq: i64) -> rusqlite::Result<(Claimed, i64)> {
    let sql =
        "SELECT id, body, keys, coalesce(leases.progress, events.progress), interrupted OR leases.seq IS NOT NULL,
                      failures, failing_since, received_at, coalesce(lane, events.seq)
               FROM events LEFT JOIN leases ON leases.account = events.account AND leases.seq = events.seq
               WHERE events.seq = ?1";
    connection.prepare_cached(sql)?.query_row([seq], |row| Ok((claimed(seq, row)?, row.get(8)?)))
}

fn claimed(seq: i64, row: &Row<'_>) -> rusqlite::Result<Claimed> {
    let progress: Option<String> = row.get(3)?;
    let failing_since: Option<i64> = row.get(6)?;
    Ok(Claimed {
        ticket: Ticket { seq, claim: 0, id: EventId(row.get(0)?) },
        body: row.get(1)?,
        keys: Keys::from_blob(row.get(2)?).users(),
        memory: Memory::default(),
        progress: progress.as_deref().map_or_else(Progress::default, read_progress),
        interrupted: row.get(4)?,
        failures: row.get(5)?,
        failing_since: failing_since.map(Timestamp),
        received_at: Timestamp(row.get(7)?),
        behind: Vec::new(),
    })
}

/// Progress that a later release wrote otherwise is no progress: the plan then begins anew, which is safe at every step.
fn read_progress(text: &str) -> Progress {
    serde_json::from_str(text).unwrap_or_default()
}
