//! What an event has been through: its last attempts, as JSON beside it.

use crate::queue::Attempt;
use rusqlite::Connection;

/// More attempts than this are not kept of one event; the latest are.
const KEPT: usize = 20;

/// What the history of the waiting event `seq` becomes by `attempt`.
pub fn longer(connection: &Connection, seq: i64, attempt: Attempt) -> rusqlite::Result<String> {
    let mut statement = connection.prepare_cached("SELECT history FROM events WHERE seq = ?1")?;
    let mut attempts = read(statement.query_row([seq], |row| row.get(0))?);
    attempts.push(attempt);
    attempts.drain(..attempts.len().saturating_sub(KEPT));
    serde_json::to_string(&attempts).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))
}

/// A history as stored. One that a later release wrote otherwise is none.
pub fn read(text: Option<String>) -> Vec<Attempt> {
    text.and_then(|text| serde_json::from_str(&text).ok()).unwrap_or_default()
}
