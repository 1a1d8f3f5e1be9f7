//! Dead letters: keeping, listing, replaying and discarding them.
//!
//! Invariants: the body of a dead letter stays where the body of the pending event was; the user keys of a dead letter are in `dead_keys`
//! exactly while its body is kept.

use super::append;
use super::attempts;
use super::bodies;
use super::compact;
use super::log_state::AccountNumber;
use super::query::Query;
use super::read::is_pending;
use super::settle::{RowCleanup, end};
use super::write_tx::WriteTx;
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, Seq, Timestamp};
use crate::store::append_decision::check_backlogs;
use crate::store::rows::attempts::AttemptRecord;
use crate::store::rows::dead_letters::{
    COLUMNS, ERASED, EXAMINED, REPLAY_COLUMNS, ToReplay, examine, to_replay, whole,
};
use crate::store::rows::page::PageScan;
use crate::store::{
    DeadLetter, DeadLetterFilter, DeadLetterPage, FailedAttempt, NewEvent, PageStart, Replay, ReplayResult, StoreError,
    history, user_keys,
};
use rusqlite::{Connection, params};
use std::collections::BTreeSet;

/// A dead letter to insert.
struct NewDeadLetter<'a> {
    outcome: OutcomeCode,
    reason: &'a str,
    at: Timestamp,
    failures: u32,
    history: Option<String>,
    /// It has neither a body nor user keys.
    is_erased: bool,
}

/// Ends the pending event `seq` of the account as a dead letter; [`StoreError::NotPending`] if it is not pending. Its body stays where it
/// is; a body that cannot be read counts as erased.
pub fn keep(
    tx: &mut WriteTx<'_>,
    account: AccountNumber,
    seq: Seq,
    outcome: OutcomeCode,
    reason: &str,
    at: Timestamp,
    rows: RowCleanup,
) -> Result<(), StoreError> {
    let ((failures, before), has_body, rows) = if let RowCleanup::Leave { has_body } = rows {
        ((0, None), has_body, rows)
    } else {
        let has_body = bodies::read(tx.connection, seq)?.is_some();
        (attempts::of_dead_letter(tx.connection, seq)?, has_body, RowCleanup::KeepBody)
    };
    let last = FailedAttempt { at, what: reason.to_owned() };
    let history = Some(history::with(seq, before.as_deref(), &last));
    insert(tx, account, seq, NewDeadLetter { outcome, reason, at, failures, history, is_erased: !has_body })?;
    end(tx, account, seq, outcome, rows).map(drop)
}

/// Ends a pending event whose user is erased as a dead letter without body and user keys; [`StoreError::NotPending`] if it is not pending.
pub fn keep_erased(tx: &mut WriteTx<'_>, account: AccountNumber, seq: Seq, at: Timestamp) -> Result<(), StoreError> {
    let (failures, history) = attempts::of_dead_letter(tx.connection, seq)?;
    let outcome = OutcomeCode::Erased;
    insert(tx, account, seq, NewDeadLetter { outcome, reason: ERASED, at, failures, history, is_erased: true })?;
    end(tx, account, seq, outcome, RowCleanup::Erase).map(drop)
}

fn insert(tx: &mut WriteTx<'_>, account: AccountNumber, seq: Seq, letter: NewDeadLetter<'_>) -> Result<(), StoreError> {
    let NewDeadLetter { outcome, reason, at, failures, history, is_erased } = letter;
    let sql = "INSERT INTO dead_letters
                   (seq, account, id, code, reason, failures, received_at, died_at, erased, keys, history)
               SELECT seq, account, id, ?2, ?3, ?4, received_at, ?5, ?6, iif(?6, NULL, keys), ?7
               FROM log WHERE seq = ?1 AND account = ?8 AND outcome IS NULL RETURNING keys";
    let values = params![seq.0, outcome.as_str(), reason, failures, at.0, is_erased, history, account];
    let stored: Option<Option<Vec<u8>>> = tx.connection.one(sql, values, |row| Ok(row.get(0)?))?;
    let stored = stored.ok_or(StoreError::NotPending)?;
    for key in user_keys::hashes(&stored.unwrap_or_default()) {
        let sql = "INSERT OR IGNORE INTO dead_keys (key, seq) VALUES (?1, ?2)";
        tx.connection.run(sql, params![key.as_slice(), seq.0])?;
    }
    tx.state.log.add_dead_letters(1);
    Ok(())
}

/// Up to `limit` dead letters from `start` on, without history and body. `last`: the last assigned seq.
pub fn page(
    connection: &Connection,
    filter: &DeadLetterFilter,
    start: PageStart,
    limit: usize,
    last: i64,
) -> Result<DeadLetterPage, StoreError> {
    let (start, order) = match start {
        PageStart::After(id) => (id, "seq > ?1 ORDER BY seq"),
        PageStart::Before(id) => (id, "seq < ?1 ORDER BY seq DESC"),
    };
    let sql = format!(
        "SELECT {COLUMNS}, erased FROM dead_letters JOIN accounts USING (account) WHERE {order} LIMIT {EXAMINED}"
    );
    let mut scan = PageScan::new(limit, EXAMINED);
    connection.each(&sql, [start], |row| Ok(examine(&mut scan, filter, row)?))?;
    let (letters, next) = scan.page();
    Ok(DeadLetterPage { letters, next, last })
}

/// One dead letter, with its history and its body.
pub fn one(connection: &Connection, id: i64) -> Result<Option<DeadLetter>, StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, erased, history, {} FROM dead_letters JOIN accounts USING (account) WHERE seq = ?1",
        body_of_letter()
    );
    connection.one(&sql, [id], |row| Ok(whole(row)?))
}

/// The column of a dead letter's body; NULL if it was erased.
pub fn body_of_letter() -> String {
    format!(
        "iif(dead_letters.erased, NULL, (SELECT body FROM bodies WHERE bodies.seq = {}))",
        bodies::place("dead_letters.seq")
    )
}

/// Appends dead letters again, or refuses all of them.
pub fn replay(tx: &mut WriteTx<'_>, ids: &BTreeSet<i64>, max_backlog: u64) -> Result<Vec<ReplayResult>, StoreError> {
    let sql = "SELECT name FROM dead_letters JOIN accounts USING (account) WHERE seq = ?1";
    let account = |id| tx.connection.one(sql, [id], |row| Ok(AccountName::from(row.get::<_, String>(0)?)));
    let accounts = ids.iter().filter_map(|id| account(id).transpose()).collect::<Result<Vec<_>, StoreError>>()?;
    check_backlogs(accounts.iter().map(|account| (account, 1)), |account| tx.state.log.pending(account), max_backlog)?;
    ids.iter().map(|id| Ok(ReplayResult::new(*id, replay_one(tx, Seq(*id))?))).collect()
}

/// Appends a dead letter as a new event of its user, with its history. Returns the new seq, or why it stays a dead letter.
fn replay_one(tx: &mut WriteTx<'_>, seq: Seq) -> Result<Result<Seq, Replay>, StoreError> {
    let sql = format!(
        "SELECT {REPLAY_COLUMNS}, (SELECT source FROM log WHERE log.seq = dead_letters.seq), {}
         FROM dead_letters JOIN accounts USING (account) WHERE dead_letters.seq = ?1",
        body_of_letter()
    );
    let ToReplay { event, history } = match tx.connection.one(&sql, [seq.0], |row| Ok(to_replay(seq, row)))? {
        None => return Ok(Err(Replay::Missing)),
        Some(Err(why)) => return Ok(Err(why)),
        Some(Ok(letter)) => letter,
    };
    if let Some(newest) = tx.find_id(event.id)?
        && is_pending(tx.connection, newest)?
    {
        return Ok(Err(Replay::SentAgain));
    }
    Ok(Ok(append_again(tx, seq, &event, history)?))
}

/// Appends a dead letter as this event, with its history, and deletes it.
pub fn append_again(
    tx: &mut WriteTx<'_>,
    letter: Seq,
    event: &NewEvent,
    history: Option<String>,
) -> Result<Seq, StoreError> {
    discard(tx, letter)?;
    let new = append::insert(tx, event)?;
    attempts::write(tx.connection, new, AttemptRecord::of_replayed(history))?;
    Ok(new)
}

/// Deletes a dead letter, and erases its body; returns whether there was one.
pub fn discard(tx: &mut WriteTx<'_>, seq: Seq) -> Result<bool, StoreError> {
    let there = tx.connection.run("DELETE FROM dead_letters WHERE seq = ?1", [seq.0])? > 0;
    if there {
        bodies::erase(tx.connection, seq)?;
        tx.connection.run("DELETE FROM dead_keys WHERE seq = ?1", [seq.0])?;
        tx.state.log.add_dead_letters(-1);
        compact::forget_id_of(tx, seq)?;
    }
    Ok(there)
}
