//! Ending a claim: carried out, again later, handed back, or dead; and the next of the lane moves up.

use super::history;
use super::lane::{self, IS_LEASED, MEMBER, Member, leave};
use super::memory;
use super::writer::Store;
use crate::delivery::Progress;
use crate::domain::Timestamp;
use crate::failpoint;
use crate::queue::{Attempt, Change, Place, QueueError, Settlement, Ticket};
use rusqlite::{OptionalExtension, params};

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
    let sql = "UPDATE leases SET until = ?3, progress = ?4 WHERE account = ?1 AND seq = ?2";
    let values = params![leased.account, ticket.seq, until.0, write_progress(progress)?];
    store.connection.prepare_cached(sql)?.execute(values)?;
    memory::apply(store, &leased.account, change)?;
    failpoint::step("queue::checkpoint");
    Ok(Ok(()))
}

/// Ends the claim of `ticket`.
pub fn settle(store: &mut Store, ticket: &Ticket, settlement: &Settlement, change: &Change) -> Settled {
    let Some(leased) = leased(store, ticket)? else { return Ok(Err(QueueError::LeaseLost)) };
    memory::apply(store, &leased.account, change)?;
    if let Settlement::DoneWith { behind } = settlement {
        for place in behind {
            if let Some(untouched) = waiting(store, *place)? {
                leave(store, place.seq, &untouched)?;
            }
        }
    }
    let sql = "DELETE FROM leases WHERE account = ?1 AND seq = ?2";
    store.connection.prepare_cached(sql)?.execute((&leased.account, ticket.seq))?;
    match settlement {
        Settlement::Done | Settlement::DoneWith { .. } => leave(store, ticket.seq, &leased)?,
        Settlement::Dead { code, reason, at } => {
            bury(store, ticket, &leased, code, reason, *at)?;
            leave(store, ticket.seq, &leased)?;
        }
        Settlement::Retry { at, progress, failures, failing_since, attempt } => {
            let history = history::longer(&store.connection, ticket.seq, attempt.clone())?;
            let sql =
                "UPDATE events SET not_before = ?2, failures = ?3, failing_since = ?4, history = ?5 WHERE seq = ?1";
            let values = params![ticket.seq, at.0, failures, failing_since.0, history];
            store.connection.prepare_cached(sql)?.execute(values)?;
            stay(store, ticket, &leased, progress)?;
        }
        Settlement::HandBack { progress } => stay(store, ticket, &leased, progress)?,
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
        let late = format!("received_at > ?1 AND NOT {IS_LEASED}");
        let sql = format!("UPDATE ready SET at = ?1 WHERE seq IN (SELECT seq FROM events WHERE {late})");
        store.connection.execute(&sql, [now.0])?;
        store.connection.execute(&format!("UPDATE events SET not_before = ?1 WHERE {late}"), [now.0])?;
    }
    Ok(())
}

fn leased(store: &Store, ticket: &Ticket) -> rusqlite::Result<Option<Member>> {
    let sql = format!(
        "SELECT {MEMBER} FROM events JOIN leases ON leases.account = events.account AND leases.seq = events.seq
         WHERE events.seq = ?1 AND claim = ?2 AND id = ?3"
    );
    let mut statement = store.connection.prepare_cached(&sql)?;
    statement.query_row(params![ticket.seq, ticket.claim, ticket.id.0.as_slice()], Member::read).optional()
}

/// An event that nobody has leased.
fn waiting(store: &Store, place: Place) -> rusqlite::Result<Option<Member>> {
    let sql = format!("SELECT {MEMBER} FROM events WHERE seq = ?1 AND id = ?2 AND interrupted = 0 AND NOT {IS_LEASED}");
    let mut statement = store.connection.prepare_cached(&sql)?;
    statement.query_row(params![place.seq, place.id.0.as_slice()], Member::read).optional()
}

fn write_progress(progress: &Progress) -> rusqlite::Result<String> {
    serde_json::to_string(progress).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// The event stays in its lane: ready in time, or, if its lane became one with another while it was leased, when it is its
/// turn.
fn stay(store: &Store, ticket: &Ticket, leased: &Member, progress: &Progress) -> rusqlite::Result<()> {
    let begun = (*progress != Progress::default()).then(|| write_progress(progress)).transpose()?;
    let sql = "UPDATE events SET interrupted = 0, progress = ?2 WHERE seq = ?1";
    store.connection.prepare_cached(sql)?.execute(params![ticket.seq, begun])?;
    lane::move_up(&store.connection, leased.lane)
}

fn bury(
    store: &mut Store,
    ticket: &Ticket,
    leased: &Member,
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
