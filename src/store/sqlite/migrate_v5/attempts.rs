//! Migration of attempts at pending events: progress, failures, retry waits, and events that were begun together.
//!
//! In: `v5_events` and `v5_leases`. Out: rows of `attempts`. An event that is leased, or was when a process ended, counts
//! as begun, so it is interrupted. Moments become durations, within limits, so that a clock that was wrong does no harm.
//! Version 5 wrote down how many events were begun together, but not which: it took the next ones of the lane, and so does
//! this migration. Text (progress, history) is copied unchanged.

use crate::delivery::Progress;
use crate::store::FailedAttempt;
use rusqlite::{Connection, Row, params};
use std::ops::RangeInclusive;

/// No event fails for longer (ms): 72 hours.
const FAILING_FOR: RangeInclusive<i64> = 0..=72 * 3_600_000;
/// No wait is longer (ms): 24 hours.
const WAIT: RangeInclusive<i64> = 0..=24 * 3_600_000;

/// The columns that [`write()`] reads, of every event that was attempted.
const ATTEMPTED: &str = "
    SELECT event.seq, event.account, coalesce(event.lane, event.seq), event.interrupted OR lease.seq IS NOT NULL,
           coalesce(lease.progress, event.progress), failures, failing_since, not_before, history
    FROM v5_events AS event LEFT JOIN v5_leases AS lease ON lease.account = event.account AND lease.seq = event.seq
    WHERE event.interrupted OR lease.seq IS NOT NULL OR failures > 0 OR event.progress IS NOT NULL OR history IS NOT NULL
    ORDER BY event.seq";

/// What follows in the lane ?1 of account ?2 behind the event ?3, in order, up to ?4 events; and whether it was never attempted.
const FOLLOWING: &str = "
    SELECT event.seq, event.interrupted = 0 AND failures = 0 AND event.progress IS NULL AND lease.seq IS NULL
    FROM v5_events AS event LEFT JOIN v5_leases AS lease ON lease.account = event.account AND lease.seq = event.seq
    WHERE lane = ?1 AND event.account = ?2 AND event.seq > ?3 ORDER BY event.seq LIMIT ?4";

/// Writes the attempts at pending events.
pub fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let mut statement = connection.prepare(ATTEMPTED)?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        write(connection, row)?;
    }
    Ok(())
}

/// Writes down what is known of attempts at one event.
fn write(connection: &Connection, row: &Row<'_>) -> rusqlite::Result<()> {
    let (seq, begun, progress): (i64, bool, Option<String>) = (row.get(0)?, row.get(3)?, row.get(4)?);
    let (failures, failing_since, not_before): (u32, Option<i64>, Option<i64>) =
        (row.get(5)?, row.get(6)?, row.get(7)?);
    let history: Option<String> = row.get(8)?;
    // When it last failed, as far as that was written down.
    let attempts = history.as_deref().and_then(|history| serde_json::from_str::<Vec<FailedAttempt>>(history).ok());
    let last = attempts.and_then(|attempts| attempts.last().map(|attempt| attempt.at.0)).filter(|_| failures > 0);
    let failing_for = last.zip(failing_since).map_or(0, |(last, since)| within(&FAILING_FOR, last, since));
    // An event that was begun since does not wait any more.
    let noted_at = last.filter(|_| !begun && not_before.is_some());
    let wait = noted_at.zip(not_before).map(|(last, until)| within(&WAIT, until, last));
    let followers = followers(connection, row, progress.as_deref())?;
    let sql = "INSERT INTO attempts (seq, begun, followers, progress, failures, failing_for, wait, noted_at, history)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)";
    let values = params![seq, begun, followers, progress, failures, failing_for, wait, noted_at, history];
    connection.prepare_cached(sql)?.execute(values).map(drop)
}

/// The numbers of the events that were begun together with it: 8 bytes each, big-endian.
fn followers(connection: &Connection, row: &Row<'_>, progress: Option<&str>) -> rusqlite::Result<Option<Vec<u8>>> {
    let progress: Option<Progress> = progress.and_then(|text| serde_json::from_str(text).ok());
    let Some(begun_together) = progress.and_then(|progress| progress.coalesced) else { return Ok(None) };
    let count = i64::try_from(begun_together.saturating_sub(1)).unwrap_or(i64::MAX);
    let (seq, account, lane): (i64, String, i64) = (row.get(0)?, row.get(1)?, row.get(2)?);
    let mut statement = connection.prepare_cached(FOLLOWING)?;
    let mut rows = statement.query(params![lane, account, seq, count])?;
    let mut followers = Vec::new();
    while let Some(row) = rows.next()? {
        if !row.get::<_, bool>(1)? {
            break;
        }
        followers.extend(row.get::<_, i64>(0)?.to_be_bytes());
    }
    Ok((!followers.is_empty()).then_some(followers))
}

/// How long `until` is after `since`, in milliseconds, within `limits`.
fn within(limits: &RangeInclusive<i64>, until: i64, since: i64) -> i64 {
    until.saturating_sub(since).clamp(*limits.start(), *limits.end())
}
