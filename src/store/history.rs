//! The format of an event's history (its last failed attempts): JSON.
//!
//! Invariant: a history that cannot be read is logged, with the event's seq and without its content.

use crate::domain::Seq;
use crate::store::FailedAttempt;

/// The most attempts of one event that are kept: the latest.
const MAX_ATTEMPTS: usize = 20;

/// The stored history of the event `seq`, with one more attempt.
pub fn with(seq: Seq, stored: Option<&str>, attempt: &FailedAttempt) -> String {
    let mut attempts = read(seq, stored);
    attempts.push(attempt.clone());
    attempts.drain(..attempts.len().saturating_sub(MAX_ATTEMPTS));
    serde_json::to_string(&attempts).unwrap_or_default() // never fails: numbers and text
}

/// Reads a stored history. If it cannot be read, that is logged, and the history is empty.
pub fn read(seq: Seq, stored: Option<&str>) -> Vec<FailedAttempt> {
    let attempts = stored.map_or(Ok(Vec::new()), serde_json::from_str);
    attempts.unwrap_or_else(|_| {
        tracing::error!(%seq, part = "history", "a row of the store is damaged");
        Vec::new()
    })
}
