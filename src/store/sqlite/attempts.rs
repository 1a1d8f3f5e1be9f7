//! The table `attempts`: reads and writes the record of a pending event ([`crate::store::rows::attempts`]).

use super::log_state::AccountNumber;
use super::query::Query;
use crate::domain::Seq;
use crate::store::StoreError;
use crate::store::rows::attempts::{AttemptRecord, COLUMNS, FAILURES_AND_HISTORY, HISTORY, failures_and_history};
use rusqlite::{Connection, params};

/// Changes the record of an event; an error if the event is not pending in the account. A record that cannot be read is not changed.
pub fn change(
    connection: &Connection,
    account: AccountNumber,
    seq: Seq,
    change: impl FnOnce(AttemptRecord) -> AttemptRecord,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {COLUMNS}, {HISTORY} FROM log LEFT JOIN attempts USING (seq)
         WHERE seq = ?1 AND account = ?2 AND outcome IS NULL"
    );
    let stored = connection.one(&sql, [seq.0, account], |row| Ok(AttemptRecord::read(row, 0)))?;
    match stored.ok_or(StoreError::NotPending)? {
        Ok(record) => write(connection, seq, change(record)),
        Err(_damaged) => Ok(()),
    }
}

/// Writes the record of a pending event, or deletes the row if it needs none.
pub fn write(connection: &Connection, seq: Seq, record: AttemptRecord) -> Result<(), StoreError> {
    let Some(row) = record.columns() else { return delete(connection, seq) };
    let sql = "INSERT INTO attempts (seq, begun, followers, progress, failures, failing_for, wait, noted_at, history)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)
               ON CONFLICT (seq) DO UPDATE SET begun = ?2, followers = ?3, progress = ?4, failures = ?5, failing_for = ?6,
                   wait = ?7, noted_at = ?8, history = ?9";
    let (failures, failing_for, wait, noted_at) = (row.failures, row.failing_for, row.wait, row.noted_at);
    let values =
        params![seq.0, row.begun, row.followers, row.progress, failures, failing_for, wait, noted_at, row.history];
    connection.run(sql, values).map(drop)
}

/// Deletes the row of an event that has ended.
pub fn delete(connection: &Connection, seq: Seq) -> Result<(), StoreError> {
    connection.run("DELETE FROM attempts WHERE seq = ?1", [seq.0]).map(drop)
}

/// The number of failed attempts at the event, and its stored history.
pub fn of_dead_letter(connection: &Connection, seq: Seq) -> Result<(u32, Option<String>), StoreError> {
    let sql = format!("SELECT {FAILURES_AND_HISTORY} FROM attempts WHERE seq = ?1");
    Ok(connection.one(&sql, [seq.0], |row| Ok(failures_and_history(row, 0)))?.unwrap_or_default())
}
