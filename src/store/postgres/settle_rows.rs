//! The rows that settlements of one transaction write: attempts, outcomes, dead letters.
//!
//! In: one call for each change. Out: one statement for each table, however many events there are. Invariants: an event is in it once; a
//! dead letter is made from the row of the log and the body before these change.

use super::columns::{arrays, text};
use super::session::Session;
use crate::delivery::OutcomeCode;
use crate::domain::{Seq, Timestamp};
use crate::store::rows::attempts::{AttemptColumns, AttemptRecord};
use crate::store::{FailedAttempt, history};
use futures_util::future::{try_join, try_join3};
use std::collections::BTreeMap;
use tokio_postgres::Error;

const SAVE_ATTEMPTS: &str = "INSERT INTO attempts
        (seq, begun, followers, progress, failures, failing_for, wait, noted_at, history)
    SELECT * FROM unnest($1::bigint[], $2::boolean[], $3::bytea[], $4::text[], $5::int[], $6::bigint[], $7::bigint[],
        $8::bigint[], $9::text[])
    ON CONFLICT (seq) DO UPDATE SET begun = excluded.begun, followers = excluded.followers, progress = excluded.progress,
        failures = excluded.failures, failing_for = excluded.failing_for, wait = excluded.wait,
        noted_at = excluded.noted_at, history = excluded.history";
const DELETE_ATTEMPTS: &str = "DELETE FROM attempts WHERE seq = ANY ($1)";
/// Inserts dead letters, and their user keys, of which each has one or two.
const KEEP_DEAD: &str = "WITH kept AS (INSERT INTO dead_letters
            (seq, account, id, code, reason, failures, received_at, died_at, body, keys, history)
        SELECT log.seq, log.account, log.id, dead.code, dead.reason, dead.failures, log.received_at, dead.died_at, log.body,
            CASE WHEN log.body IS NULL THEN NULL ELSE log.keys END, dead.history
        FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::text[])
                AS dead (seq, code, reason, failures, died_at, history)
            CROSS JOIN LATERAL (SELECT log.*, (SELECT body FROM bodies WHERE bodies.seq = log.seq)
                FROM log WHERE log.seq = dead.seq LIMIT 1) AS log
        RETURNING seq, keys)
    INSERT INTO dead_keys (key, seq) SELECT of_user.key, kept.seq
    FROM kept CROSS JOIN LATERAL (VALUES (substr(keys, 2, 16)), (substr(keys, 19, 16))) AS of_user (key)
    WHERE of_user.key <> '' ON CONFLICT (key, seq) DO NOTHING";
/// Ends events in one statement, since each statement costs both sides a wake-up. The seqs rise, so `width_bucket` finds the position of
/// each.
const END: &str =
    "WITH erased AS (DELETE FROM bodies WHERE seq = ANY ($1)), ended AS (DELETE FROM attempts WHERE seq = ANY ($1))
    UPDATE log SET outcome = ($2::smallint[])[width_bucket(log.seq, $1::bigint[])] WHERE log.seq = ANY ($1)";

/// The statements that are sent together.
pub const STATEMENTS: &[&str] = &[SAVE_ATTEMPTS, DELETE_ATTEMPTS, KEEP_DEAD, END];

/// The rows to write.
#[derive(Debug, Default)]
pub struct SettledRows {
    saved: Vec<(i64, AttemptColumns)>,
    /// Events that have no attempts any more.
    deleted: Vec<i64>,
    ended: BTreeMap<Seq, OutcomeCode>,
    dead: Vec<NewDeadLetter>,
}

#[derive(Debug)]
struct NewDeadLetter {
    seq: i64,
    code: &'static str,
    reason: String,
    failures: i32,
    died_at: i64,
    history: String,
}

impl SettledRows {
    /// Saves the attempts of a pending event; `None`: the row is damaged, and stays as it is.
    pub fn save_attempts(&mut self, seq: Seq, record: Option<AttemptRecord>) {
        match record.map(AttemptRecord::columns) {
            Some(Some(columns)) => self.saved.push((seq.0, columns)),
            Some(None) => self.deleted.push(seq.0),
            None => {}
        }
    }

    /// Ends a pending event.
    pub fn end(&mut self, seq: Seq, outcome: OutcomeCode) {
        self.ended.entry(seq).or_insert(outcome);
    }

    /// Whether this event ends.
    pub fn ends(&self, seq: Seq) -> bool {
        self.ended.contains_key(&seq)
    }

    /// Keeps a pending event as a dead letter, with its history.
    pub fn keep_dead(
        &mut self,
        seq: Seq,
        outcome: OutcomeCode,
        reason: &str,
        at: Timestamp,
        failures: u32,
        stored_history: Option<&str>,
    ) {
        let last = FailedAttempt { at, what: reason.to_owned() };
        let history = history::with(seq, stored_history, &last);
        let failures = i32::try_from(failures).unwrap_or(i32::MAX);
        self.dead.push(NewDeadLetter {
            seq: seq.0,
            code: outcome.as_str(),
            reason: text(reason),
            failures,
            died_at: at.0,
            history,
        });
    }

    /// The number of added dead letters.
    pub fn dead_letters(&self) -> i64 {
        i64::try_from(self.dead.len()).unwrap_or(i64::MAX)
    }

    /// Writes everything. Sends the statements when it is first polled, if they are prepared already.
    pub async fn write(&self, session: &Session) -> Result<(), Error> {
        // A statement that is prepared would overtake one that is not, and the body would be gone before the dead letter gets it.
        session.prepare(STATEMENTS).await?;
        let attempts = try_join(self.delete_attempts(session), self.write_attempts(session));
        try_join3(attempts, self.write_dead(session), self.write_ends(session)).await.map(drop)
    }

    async fn delete_attempts(&self, session: &Session) -> Result<(), Error> {
        if self.deleted.is_empty() {
            return Ok(());
        }
        session.execute(DELETE_ATTEMPTS, &[&self.deleted]).await.map(drop)
    }

    async fn write_attempts(&self, session: &Session) -> Result<(), Error> {
        if self.saved.is_empty() {
            return Ok(());
        }
        let values = arrays!(row in self.saved =>
            row.0, row.1.begun, row.1.followers.as_deref(), row.1.progress.as_deref(),
            i32::try_from(row.1.failures).unwrap_or(i32::MAX), row.1.failing_for, row.1.wait, row.1.noted_at,
            row.1.history.as_deref());
        session.execute(SAVE_ATTEMPTS, values).await.map(drop)
    }

    async fn write_dead(&self, session: &Session) -> Result<(), Error> {
        if self.dead.is_empty() {
            return Ok(());
        }
        let values = arrays!(dead in self.dead =>
            dead.seq, dead.code, &*dead.reason, dead.failures, dead.died_at, &*dead.history);
        session.execute(KEEP_DEAD, values).await.map(drop)
    }

    async fn write_ends(&self, session: &Session) -> Result<(), Error> {
        if self.ended.is_empty() {
            return Ok(());
        }
        session.execute(END, arrays!(end in self.ended => end.0.0, i16::from(*end.1 as u8))).await.map(drop)
    }
}
