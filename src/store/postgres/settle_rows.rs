//! The rows that settlements of one transaction write: attempts, outcomes, dead letters.
//!
//! In: one call for each change. Out: one statement for each table, however many events there are. Invariants: an event is in it once; a
//! dead letter is made from the row of the log and the body before these change.

use super::columns::text;
use super::session::{Session, Values};
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
const KEEP_DEAD: &str = "INSERT INTO dead_letters
        (seq, account, id, code, reason, failures, received_at, died_at, body, keys, history)
    SELECT log.seq, log.account, log.id, dead.code, dead.reason, dead.failures, log.received_at, dead.died_at, log.body,
        CASE WHEN log.body IS NULL THEN NULL ELSE log.keys END, dead.history
    FROM unnest($1::bigint[], $2::text[], $3::text[], $4::int[], $5::bigint[], $6::text[])
            AS dead (seq, code, reason, failures, died_at, history)
        CROSS JOIN LATERAL (SELECT log.*, (SELECT body FROM bodies WHERE bodies.seq = log.seq)
            FROM log WHERE log.seq = dead.seq LIMIT 1) AS log";
/// Inserts the user keys of these dead letters, each of which has one or two.
const DEAD_KEYS: &str = "INSERT INTO dead_keys (key, seq) SELECT of_user.key, dead_letters.seq
    FROM dead_letters CROSS JOIN LATERAL (VALUES (substr(keys, 2, 16)), (substr(keys, 19, 16))) AS of_user (key)
    WHERE dead_letters.seq = ANY ($1) AND of_user.key <> '' ON CONFLICT (key, seq) DO NOTHING";
/// Ends events in one statement, since each statement costs both sides a wake-up. The seqs rise, so `width_bucket` finds the position of
/// each.
const END: &str =
    "WITH erased AS (DELETE FROM bodies WHERE seq = ANY ($1)), ended AS (DELETE FROM attempts WHERE seq = ANY ($1))
    UPDATE log SET outcome = ($2::smallint[])[width_bucket(log.seq, $1::bigint[])] WHERE log.seq = ANY ($1)";

/// The statements that are sent together.
pub const STATEMENTS: &[&str] = &[SAVE_ATTEMPTS, DELETE_ATTEMPTS, KEEP_DEAD, DEAD_KEYS, END];

/// The rows to write.
#[derive(Debug, Default)]
pub struct SettledRows {
    saved: Vec<(Seq, AttemptColumns)>,
    /// Events that have no attempts any more.
    deleted: Vec<Seq>,
    ended: BTreeMap<Seq, OutcomeCode>,
    dead: Vec<NewDeadLetter>,
}

#[derive(Debug)]
struct NewDeadLetter {
    seq: Seq,
    code: &'static str,
    reason: String,
    failures: i32,
    died_at: Timestamp,
    history: String,
}

impl SettledRows {
    /// Saves the attempts of a pending event; `None`: the row is damaged, and stays as it is.
    pub fn save_attempts(&mut self, seq: Seq, record: Option<AttemptRecord>) {
        match record.map(AttemptRecord::columns) {
            Some(Some(columns)) => self.saved.push((seq, columns)),
            Some(None) => self.deleted.push(seq),
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
            seq,
            code: outcome.as_str(),
            reason: text(reason),
            failures,
            died_at: at,
            history,
        });
    }

    /// The number of added dead letters.
    pub fn dead_letters(&self) -> i64 {
        i64::try_from(self.dead.len()).unwrap_or(i64::MAX)
    }

    /// Writes everything. Sends the statements when it is first polled.
    pub async fn write(&self, session: &Session) -> Result<(), Error> {
        let attempts = try_join(self.delete_attempts(session), self.write_attempts(session));
        let dead = try_join(self.write_dead(session), self.write_dead_keys(session));
        try_join3(attempts, dead, self.write_ends(session)).await.map(drop)
    }

    async fn delete_attempts(&self, session: &Session) -> Result<(), Error> {
        if self.deleted.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = self.deleted.iter().map(|seq| seq.0).collect();
        session.execute(DELETE_ATTEMPTS, &[&seqs]).await.map(drop)
    }

    async fn write_attempts(&self, session: &Session) -> Result<(), Error> {
        if self.saved.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = self.saved.iter().map(|(seq, _)| seq.0).collect();
        let of = |saved: &(Seq, AttemptColumns)| i32::try_from(saved.1.failures).unwrap_or(i32::MAX);
        let failures: Vec<i32> = self.saved.iter().map(of).collect();
        let begun: Vec<bool> = self.saved.iter().map(|(_, row)| row.begun).collect();
        let followers: Vec<Option<&[u8]>> = self.saved.iter().map(|(_, row)| row.followers.as_deref()).collect();
        let progress: Vec<Option<&str>> = self.saved.iter().map(|(_, row)| row.progress.as_deref()).collect();
        let failing_for: Vec<i64> = self.saved.iter().map(|(_, row)| row.failing_for).collect();
        let wait: Vec<Option<i64>> = self.saved.iter().map(|(_, row)| row.wait).collect();
        let noted_at: Vec<Option<i64>> = self.saved.iter().map(|(_, row)| row.noted_at).collect();
        let history: Vec<Option<&str>> = self.saved.iter().map(|(_, row)| row.history.as_deref()).collect();
        let values: Values<'_> =
            &[&seqs, &begun, &followers, &progress, &failures, &failing_for, &wait, &noted_at, &history];
        session.execute(SAVE_ATTEMPTS, values).await.map(drop)
    }

    async fn write_dead(&self, session: &Session) -> Result<(), Error> {
        if self.dead.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = self.dead.iter().map(|dead| dead.seq.0).collect();
        let codes: Vec<&str> = self.dead.iter().map(|dead| dead.code).collect();
        let reasons: Vec<&str> = self.dead.iter().map(|dead| dead.reason.as_str()).collect();
        let failures: Vec<i32> = self.dead.iter().map(|dead| dead.failures).collect();
        let died_at: Vec<i64> = self.dead.iter().map(|dead| dead.died_at.0).collect();
        let histories: Vec<&str> = self.dead.iter().map(|dead| dead.history.as_str()).collect();
        session.execute(KEEP_DEAD, &[&seqs, &codes, &reasons, &failures, &died_at, &histories]).await.map(drop)
    }

    async fn write_dead_keys(&self, session: &Session) -> Result<(), Error> {
        if self.dead.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = self.dead.iter().map(|dead| dead.seq.0).collect();
        session.execute(DEAD_KEYS, &[&seqs]).await.map(drop)
    }

    async fn write_ends(&self, session: &Session) -> Result<(), Error> {
        if self.ended.is_empty() {
            return Ok(());
        }
        let seqs: Vec<i64> = self.ended.keys().map(|seq| seq.0).collect();
        let outcomes: Vec<i16> = self.ended.values().map(|outcome| i16::from(*outcome as u8)).collect();
        session.execute(END, &[&seqs, &outcomes]).await.map(drop)
    }
}
