//! Events of an account without a worker: its pending events become dead letters, and dead letters move to another account.
//!
//! Invariants: each call is one transaction, so an event is in one place, and in one only; a pending event that is in flight stays where it
//! is; events move to another account in the order of their ids, after all pending events there. Deliberately absent: the check that the
//! account has no worker, and mapping an event for another account, which the caller does.

use super::append;
use super::dead_letters::{append_again, keep};
use super::query::Query;
use super::settle::RowCleanup;
use super::write_tx::WriteTx;
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, Seq, Timestamp};
use crate::store::append_decision::check_backlogs;
use crate::store::in_flight::{EraseGuard, InFlightEvents};
use crate::store::rows::dead_letters::ACCOUNT_GONE;
use crate::store::{MovedDeadLetter, Replay, ReplayResult, StoreError};
use rusqlite::params;
use std::sync::Arc;

/// Turns up to `limit` pending events of the account into dead letters. The caller must hold the guard, which has these events, until this
/// has committed. `None`: the account never had an event.
pub fn set_aside(
    tx: &mut WriteTx<'_>,
    in_flight: &Arc<InFlightEvents>,
    account: &AccountName,
    at: Timestamp,
    limit: usize,
) -> Result<Option<EraseGuard>, StoreError> {
    let Some(number) = tx.state.log.find_account(account) else { return Ok(None) };
    let sql = "SELECT seq FROM log INDEXED BY log_waiting WHERE account = ?1 AND outcome IS NULL ORDER BY seq LIMIT ?2";
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let pending: Vec<Seq> = tx.connection.all(sql, params![number, limit], |row| Ok(Seq(row.get(0)?)))?;
    let free = in_flight.erase(&pending);
    for seq in &free.seqs {
        keep(tx, number, *seq, OutcomeCode::AccountGone, ACCOUNT_GONE, at, RowCleanup::Erase)?;
    }
    Ok(Some(free))
}

/// Appends dead letters to another account, or refuses all of them. Their bodies are packed, and they are in the order of their ids.
pub fn move_dead_letters(
    tx: &mut WriteTx<'_>,
    moved: &[MovedDeadLetter],
    max_backlog: u64,
) -> Result<Vec<ReplayResult>, StoreError> {
    let events = moved.iter().map(|letter| (&letter.event.account, 1));
    check_backlogs(events, |account| tx.state.log.pending(account), max_backlog)?;
    moved.iter().map(|letter| Ok(ReplayResult::new(letter.id, move_one(tx, letter)?))).collect()
}

/// Appends a dead letter to another account, with its history. Returns the new seq, or why the dead letter stays.
fn move_one(tx: &mut WriteTx<'_>, moved: &MovedDeadLetter) -> Result<Result<Seq, Replay>, StoreError> {
    let (id, event) = (Seq(moved.id), &moved.event);
    let sql = "SELECT erased, history FROM dead_letters WHERE seq = ?1";
    let history = |row: &rusqlite::Row<'_>| Ok((row.get(0)?, row.get_ref(1)?.as_str().ok().map(str::to_owned)));
    let letter: Option<(bool, Option<String>)> = tx.connection.one(sql, [id.0], history)?;
    let history = match letter {
        None => return Ok(Err(Replay::Missing)),
        Some((true, _)) => return Ok(Err(Replay::Erased)),
        Some((false, history)) => history,
    };
    if append::look_up(tx, event)?.is_repeat {
        return Ok(Err(Replay::Duplicate));
    }
    Ok(Ok(append_again(tx, id, event, history)?))
}
