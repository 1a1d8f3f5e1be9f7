//! Ending a claim: carried out, again later, handed back, or dead; and the next of the lane moves up.

use super::history;
use super::keys::Keys;
use super::lane::{Leased, leave};
use super::memory;
use super::schema::IS_HEAD;
use super::writer::Store;
use crate::delivery::Progress;
use crate::domain::Timestamp;
use crate::failpoint;
use crate::queue::{Attempt, Change, Place, QueueError, Settlement, Ticket};
use rusqlite::{OptionalExtension, Row, params};

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
    failpoint::step("queue::checkpoint");
    Ok(Ok(()))
}

/// Ends the claim of `ticket`.
pub fn settle(store: &mut Store, ticket: &Ticket, settlement: &Settlement, change: &Change) -> Settled {
    let Some(leased) = leased(store, ticket)? else { return Ok(Err(QueueError::LeaseLost)) };
    memory::apply(&store.connection, &leased.account, change)?;
    match settlement {
        Settlement::Done => leave(store, ticket.seq, &ticket.id.0, &leased)?,
        Settlement::DoneWith { behind } => {
            for place in behind {
                if let Some(untouched) = waiting(store, *place)? {
                    leave(store, place.seq, &place.id.0, &untouched)?;
                }
            }
            leave(store, ticket.seq, &ticket.id.0, &leased)?;
        }
        Settlement::Dead { code, reason, at } => {
            bury(store, ticket, &leased, code, reason, *at)?;
            leave(store, ticket.seq, &ticket.id.0, &leased)?;
        }
        Settlement::Retry { at, progress, failures, failing_since, attempt } => {
            let history = history::longer(&store.connection, ticket.seq, attempt.clone())?;
            let sql =
                "UPDATE events SET not_before = ?2, failures = ?3, failing_since = ?4, history = ?5 WHERE seq = ?1";
            let values = params![ticket.seq, at.0, failures, failing_since.0, history];
            store.connection.prepare_cached(sql)?.execute(values)?;
            stay(store, ticket, progress)?;
        }
        Settlement::HandBack { progress } => stay(store, ticket, progress)?,
    }
    failpoint::step("queue::settle");
    Ok(Ok(()))
}

/// Makes what was received after `now` claimable at `now`. The last event recorded tells whether there is any, so that a
/// start with a million waiting does not read them all.
pub fn mend(store: &mut Store, now: Timestamp) -> rusqlite::Result<()> {
    let last = store
        .connection
        .query_row("SELECT received_at FROM events ORDER BY seq DESC LIMIT 1", [], |row| row.get::<_, i64>(0));
    if last.optional()?.is_some_and(|last| last > now.0) {
        let sql = "UPDATE events SET not_before = ?1, ready_at = CASE WHEN ready_at IS NOT NULL THEN ?1 END
                   WHERE received_at > ?1 AND lease <> 1";
        store.connection.execute(sql, [now.0])?;
    }
    Ok(())
}

/// Forgets a portion of the event ids recorded before `before`; says whether more remain.
pub fn forget_ids(store: &mut Store, before: Timestamp) -> rusqlite::Result<bool> {
    const PORTION: u32 = 5_000;
    let sql = "DELETE FROM seen WHERE id IN (SELECT id FROM seen WHERE at < ?1 ORDER BY at LIMIT ?2)";
    let gone = store.connection.prepare_cached(sql)?.execute(params![before.0, PORTION])?;
    Ok(gone == PORTION as usize)
}

fn leased(store: &Store, ticket: &Ticket) -> rusqlite::Result<Option<Leased>> {
    let sql = "SELECT account, lane, keys, received_at FROM events
               WHERE seq = ?1 AND claim = ?2 AND id = ?3 AND lease = 1";
    let mut statement = store.connection.prepare_cached(sql)?;
    statement.query_row(params![ticket.seq, ticket.claim, ticket.id.0.as_slice()], read).optional()
}

/// An event that nobody has leased.
fn waiting(store: &Store, place: Place) -> rusqlite::Result<Option<Leased>> {
    let sql = "SELECT account, lane, keys, received_at FROM events WHERE seq = ?1 AND id = ?2 AND lease = 0";
    let mut statement = store.connection.prepare_cached(sql)?;
    statement.query_row(params![place.seq, place.id.0.as_slice()], read).optional()
}

fn read(row: &Row<'_>) -> rusqlite::Result<Leased> {
    let keys = Keys::from_blob(row.get(2)?);
    Ok(Leased { account: row.get(0)?, lane: row.get(1)?, keys, received_at: row.get(3)? })
}

fn write_progress(progress: &Progress) -> rusqlite::Result<Option<String>> {
    if *progress == Progress::default() {
        return Ok(None);
    }
    serde_json::to_string(progress).map(Some).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The event stays in its lane: ready in time, or, if its lane became one with another while it was leased, when it is its
/// turn.
fn stay(store: &Store, ticket: &Ticket, progress: &Progress) -> rusqlite::Result<()> {
    let sql = format!(
        "UPDATE events SET lease = 0, ready_at = CASE WHEN {IS_HEAD} THEN not_before END, progress = ?2 WHERE seq = ?1"
    );
    store.connection.prepare_cached(&sql)?.execute(params![ticket.seq, write_progress(progress)?]).map(drop)
}

fn bury(
    store: &mut Store,
    ticket: &Ticket,
    leased: &Leased,
    code: &str,
    reason: &str,
    at: Timestamp,
) -> rusqlite::Result<()> {
    let last = Attempt { at, what: reason.to_owned() };
    let history = history::longer(&store.connection, ticket.seq, last)?;
    let sql = "INSERT INTO dead_letters
                   (seq, account, id, code, reason, failures, received_at, died_at, body, keys, history)
               SELECT seq, account, id, ?2, ?3, failures, received_at, ?4, body, keys, ?5 FROM events WHERE seq = ?1";
    store.connection.prepare_cached(sql)?.execute(params![ticket.seq, code, reason, at.0, history])?;
    store.counts.dead += 1;
    let mut mark = store.connection.prepare_cached("INSERT OR IGNORE INTO dead_keys (key, seq) VALUES (?1, ?2)")?;
    for key in leased.keys.users() {
        mark.execute(params![key.bytes().as_slice(), ticket.seq])?;
    }
    Ok(())
}
