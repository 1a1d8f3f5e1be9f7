//! Ending a claim: carried out, again later, handed back, or dead; and the next of the lane moves up.

use super::keys::Keys;
use super::memory;
use super::writer::Store;
use crate::delivery::Progress;
use crate::domain::Timestamp;
use crate::queue::{Change, QueueError, Settlement, Ticket};
use rusqlite::{OptionalExtension, params};

/// The row that a valid ticket stands for.
struct Leased {
    account: String,
    lane: i64,
    keys: Keys,
}

type Settled = rusqlite::Result<Result<(), QueueError>>;

/// Writes down progress and memory, and holds the lease until `until`.
pub fn checkpoint(
    store: &mut Store,
    ticket: &Ticket,
    progress: &Progress,
    change: &Change,
    until: Timestamp,
) -> Settled {
    let Some(leased) = leased(store, ticket)? else { return Ok(Err(QueueError::LeaseLost)) };
    let sql = "UPDATE events SET ready_at = ?2, progress = ?3 WHERE seq = ?1";
    store.connection.prepare_cached(sql)?.execute(params![ticket.seq, until.0, write_progress(progress)?])?;
    memory::apply(&store.connection, &leased.account, change)?;
    Ok(Ok(()))
}

/// Ends the claim of `ticket`.
pub fn settle(store: &mut Store, ticket: &Ticket, settlement: &Settlement, change: &Change) -> Settled {
    let Some(leased) = leased(store, ticket)? else { return Ok(Err(QueueError::LeaseLost)) };
    memory::apply(&store.connection, &leased.account, change)?;
    match settlement {
        Settlement::Done => leave(store, ticket, &leased)?,
        Settlement::Dead { code, reason, at } => {
            bury(store, ticket, &leased, code, reason, *at)?;
            leave(store, ticket, &leased)?;
        }
        Settlement::Retry { at, progress, failures, failing_since } => {
            let sql = "UPDATE events SET lease = 0, ready_at = ?2, progress = ?3, failures = ?4, failing_since = ?5
                       WHERE seq = ?1";
            let progress = write_progress(progress)?;
            let values = params![ticket.seq, at.0, progress, failures, failing_since.0];
            store.connection.prepare_cached(sql)?.execute(values)?;
            step_back(store, ticket, leased.lane)?;
        }
        Settlement::HandBack { progress } => {
            let sql = "UPDATE events SET lease = 0, ready_at = received_at, progress = ?2 WHERE seq = ?1";
            store.connection.prepare_cached(sql)?.execute(params![ticket.seq, write_progress(progress)?])?;
            step_back(store, ticket, leased.lane)?;
        }
    }
    Ok(Ok(()))
}

/// Forgets a portion of the event ids recorded before `before`, never one whose event still waits; says whether more remain.
pub fn forget_ids(store: &mut Store, before: Timestamp) -> rusqlite::Result<bool> {
    const PORTION: u32 = 5_000;
    let oldest: Option<i64> = store
        .connection
        .query_row("SELECT received_at FROM events ORDER BY seq LIMIT 1", [], |row| row.get(0))
        .optional()?;
    let before = before.0.min(oldest.unwrap_or(i64::MAX));
    let sql = "DELETE FROM seen WHERE id IN (SELECT id FROM seen WHERE at < ?1 ORDER BY at LIMIT ?2)";
    let gone = store.connection.prepare_cached(sql)?.execute(params![before, PORTION])?;
    Ok(gone == PORTION as usize)
}

fn leased(store: &Store, ticket: &Ticket) -> rusqlite::Result<Option<Leased>> {
    let sql = "SELECT account, lane, keys FROM events WHERE seq = ?1 AND claim = ?2 AND lease = 1";
    let mut statement = store.connection.prepare_cached(sql)?;
    let read = statement.query_row([ticket.seq, ticket.claim], |row| {
        Ok(Leased { account: row.get(0)?, lane: row.get(1)?, keys: Keys::from_blob(row.get(2)?) })
    });
    read.optional()
}

fn write_progress(progress: &Progress) -> rusqlite::Result<Option<String>> {
    if *progress == Progress::default() {
        return Ok(None);
    }
    serde_json::to_string(progress).map(Some).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// An event that is no longer the earliest of its lane, because two lines became one while it was leased, waits its turn;
/// the earliest then is ready, unless it is leased itself.
fn step_back(store: &Store, ticket: &Ticket, lane: i64) -> rusqlite::Result<()> {
    let sql =
        "UPDATE events SET ready_at = NULL WHERE seq = ?1 AND seq > (SELECT min(seq) FROM events WHERE lane = ?2)";
    store.connection.prepare_cached(sql)?.execute([ticket.seq, lane]).map(drop)
}

/// The event leaves its lane, and the next one moves up.
fn leave(store: &mut Store, ticket: &Ticket, leased: &Leased) -> rusqlite::Result<()> {
    let connection = &store.connection;
    connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([ticket.seq])?;
    store.waiting = store.waiting.saturating_sub(1);
    for key in leased.keys.lanes() {
        connection.prepare_cached("UPDATE lanes SET waiting = waiting - 1 WHERE key = ?1")?.execute([key])?;
        connection.prepare_cached("DELETE FROM lanes WHERE key = ?1 AND waiting <= 0")?.execute([key])?;
    }
    let sql = "UPDATE events SET ready_at = received_at
               WHERE seq = (SELECT min(seq) FROM events WHERE lane = ?1) AND ready_at IS NULL";
    connection.prepare_cached(sql)?.execute([leased.lane]).map(drop)
}

fn bury(
    store: &Store,
    ticket: &Ticket,
    leased: &Leased,
    code: &str,
    reason: &str,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let sql = "INSERT INTO dead_letters (seq, account, id, code, reason, failures, received_at, died_at, body)
               SELECT seq, account, id, ?2, ?3, failures, received_at, ?4, body FROM events WHERE seq = ?1";
    store.connection.prepare_cached(sql)?.execute(params![ticket.seq, code, reason, at.0])?;
    let mut mark = store.connection.prepare_cached("INSERT OR IGNORE INTO dead_keys (key, seq) VALUES (?1, ?2)")?;
    for key in leased.keys.users() {
        mark.execute(params![key.bytes().as_slice(), ticket.seq])?;
    }
    Ok(())
}
