//! The table `attempts`: the progress of pending events, the groups they were begun in, and their failures.
//!
//! Invariants: an event without progress, group, failure and history has no row; a column that cannot be read is reported, never
//! replaced by a default.

use super::decode::{self, Damaged, blob, integer, text};
use crate::delivery::Progress;
use crate::domain::{Seq, Timestamp};
use crate::scheduling::RetryWait;
use crate::store::Attempt;
use crate::store::history;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::time::Duration;

/// The columns that [`Attempts::read`] reads, in this order.
pub const COLUMNS: &str =
    "attempts.begun, attempts.followers, attempts.progress, attempts.failures, attempts.failing_for,
                           attempts.wait, attempts.noted_at";

/// A row, but for its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Its progress was saved, and it was not settled since.
    pub begun: bool,
    /// The events that were begun in one group with it.
    pub followers: Vec<Seq>,
    /// The progress.
    pub progress: Progress,
    /// How many attempts failed.
    pub failures: u32,
    /// For how long it has been failing.
    pub failing_for: Duration,
    /// The wait after the last failure, if the event was not begun since.
    pub retry: Option<RetryWait>,
}

impl Attempts {
    /// Reads [`COLUMNS`], the first of which is column `at`. No row (an outer join): the default.
    pub fn read(row: &Row<'_>, at: usize) -> Result<Self, Damaged> {
        let Some(begun) = integer(row, at, "attempts.begun")? else { return Ok(Self::default()) };
        let followers = blob(row, at + 1, "attempts.followers")?.map_or(Some(Vec::new()), followers);
        let progress = text(row, at + 2, "attempts.progress")?;
        let progress = progress.map_or(Ok(Progress::default()), serde_json::from_str);
        let failures = integer(row, at + 3, "attempts.failures")?.and_then(|failures| u32::try_from(failures).ok());
        let failing_for = integer(row, at + 4, "attempts.failing_for")?.and_then(milliseconds);
        let wait =
            integer(row, at + 5, "attempts.wait")?.map(|wait| milliseconds(wait).ok_or(Damaged("attempts.wait")));
        let noted_at = integer(row, at + 6, "attempts.noted_at")?;
        let retry = wait.transpose()?.zip(noted_at);
        Ok(Self {
            begun: begun != 0,
            followers: followers.ok_or(Damaged("attempts.followers"))?,
            progress: progress.map_err(|_| Damaged("attempts.progress"))?,
            failures: failures.ok_or(Damaged("attempts.failures"))?,
            failing_for: failing_for.ok_or(Damaged("attempts.failing_for"))?,
            retry: retry.map(|(wait, noted_at)| RetryWait { wait, noted_at: Timestamp(noted_at) }),
        })
    }

    /// Whether the event was begun before, as far as the scheduler is concerned: a history alone (of a replay) does not count.
    pub fn attempted(&self) -> bool {
        *self != Self::default()
    }
}

fn milliseconds(stored: i64) -> Option<Duration> {
    u64::try_from(stored).ok().map(Duration::from_millis)
}

fn to_milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn followers(blob: &[u8]) -> Option<Vec<Seq>> {
    let (seqs, rest) = blob.as_chunks::<8>();
    rest.is_empty().then(|| seqs.iter().map(|seq| Seq(i64::from_be_bytes(*seq))).collect())
}

fn followers_blob(seqs: &[Seq]) -> Option<Vec<u8>> {
    (!seqs.is_empty()).then(|| seqs.iter().flat_map(|seq| seq.0.to_be_bytes()).collect())
}

fn progress_text(progress: &Progress) -> rusqlite::Result<Option<String>> {
    let begun = *progress != Progress::default();
    begun.then(|| decode::to_json(progress)).transpose()
}

/// Marks the event as begun in a group with these followers, and saves its progress.
pub fn mark_begun(connection: &Connection, head: Seq, followers: &[Seq], progress: &Progress) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO attempts (seq, begun, followers, progress, failures, failing_for) VALUES (?1, 1, ?2, ?3, 0, 0)
               ON CONFLICT (seq) DO UPDATE SET begun = 1, followers = ?2, progress = ?3, wait = NULL, noted_at = NULL";
    let values = params![head.0, followers_blob(followers), progress_text(progress)?];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// A failed attempt that is to be retried.
#[derive(Debug)]
pub struct FailedAttempt<'a> {
    /// How long to wait.
    pub wait: Duration,
    /// The progress; `None`: as it was last saved, and the call that was about to be made may have had its effect.
    pub progress: Option<&'a Progress>,
    /// How many attempts failed.
    pub failures: u32,
    /// For how long it has been failing.
    pub failing_for: Duration,
    /// The reason.
    pub attempt: &'a Attempt,
}

/// Saves a failed attempt. The events of its group stay marked as begun with it.
pub fn record_failure(connection: &Connection, head: Seq, failure: &FailedAttempt<'_>) -> rusqlite::Result<()> {
    let (_, history) = failures_and_history(connection, head)?;
    let history = history::with(head, history.as_deref(), failure.attempt);
    let sql = "INSERT INTO attempts (seq, begun, progress, failures, failing_for, wait, noted_at, history)
               VALUES (?1, 0, ?2, ?3, ?4, ?5, ?6, ?7)
               ON CONFLICT (seq) DO UPDATE SET begun = iif(?8, 0, begun), progress = iif(?8, ?2, progress), failures = ?3,
                   failing_for = ?4, wait = ?5, noted_at = ?6, history = ?7";
    let values = params![
        head.0,
        failure.progress.map(progress_text).transpose()?.flatten(),
        failure.failures,
        to_milliseconds(failure.failing_for),
        to_milliseconds(failure.wait),
        failure.attempt.at.0,
        history,
        failure.progress.is_some(),
    ];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// Saves that the event was handed back. The events of its group stay marked if several are asked for together.
pub fn hand_back(connection: &Connection, head: Seq, progress: &Progress) -> rusqlite::Result<()> {
    let text = progress_text(progress)?;
    if text.is_some() {
        let sql = "INSERT INTO attempts (seq, begun, progress, failures, failing_for) VALUES (?1, 0, ?2, 0, 0)
                   ON CONFLICT (seq) DO UPDATE SET begun = 0, progress = ?2, wait = NULL, noted_at = NULL,
                       followers = iif(?3, followers, NULL)";
        return connection.prepare_cached(sql)?.execute(params![head.0, text, progress.coalesced.is_some()]).map(drop);
    }
    let sql =
        "UPDATE attempts SET begun = 0, progress = NULL, wait = NULL, noted_at = NULL, followers = NULL WHERE seq = ?1";
    connection.prepare_cached(sql)?.execute([head.0])?;
    let sql = "DELETE FROM attempts WHERE seq = ?1 AND failures = 0 AND history IS NULL";
    connection.prepare_cached(sql)?.execute([head.0]).map(drop)
}

/// Gives a replayed event the history of its dead letter.
pub fn keep_history(connection: &Connection, seq: Seq, history: &str) -> rusqlite::Result<()> {
    let sql = "INSERT INTO attempts (seq, begun, failures, failing_for, history) VALUES (?1, 0, 0, 0, ?2)";
    connection.prepare_cached(sql)?.execute(params![seq.0, history]).map(drop)
}

/// Deletes the row of an event that has ended.
pub fn delete(connection: &Connection, seq: Seq) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM attempts WHERE seq = ?1")?.execute([seq.0]).map(drop)
}

/// How many attempts at the event failed, and its history as it is stored. A damaged column counts as empty: it was
/// reported when the event was begun, and must not keep it from becoming a dead letter.
pub fn failures_and_history(connection: &Connection, seq: Seq) -> rusqlite::Result<(u32, Option<String>)> {
    let mut statement = connection.prepare_cached("SELECT failures, history FROM attempts WHERE seq = ?1")?;
    let stored = statement.query_row([seq.0], |row| {
        let failures = integer(row, 0, "attempts.failures").ok().flatten();
        let history = text(row, 1, "attempts.history").ok().flatten().map(str::to_owned);
        Ok((failures.and_then(|failures| failures.try_into().ok()).unwrap_or_default(), history))
    });
    Ok(stored.optional()?.unwrap_or_default())
}
