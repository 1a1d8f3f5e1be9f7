//! Saving the progress of an attempt, and settling it: done, retry, handed back, or dead letter.
//!
//! Invariants: changes of the affiliate index are written in the same transaction; nothing is written if the head is not
//! pending. SQLite commits no transaction that has touched a damaged page: such a settlement is repeated with
//! [`Rows::Leave`].

use super::affiliates;
use super::attempts::{self, FailedAttempt};
use super::dead_letters;
use super::error::JobError;
use super::writer_state::{AccountNumber, WriteTx};
use crate::delivery::{OutcomeCode, Progress};
use crate::domain::{AccountName, Seq};
use crate::failpoint;
use crate::scheduling::Unit;
use crate::store::{AffiliateChanges, Settlement, StoreError};
use rusqlite::params;
use rusqlite::types::Value;

/// Saves that `unit` is begun, and its progress.
pub fn save_progress(
    tx: &mut WriteTx<'_>,
    account: &AccountName,
    unit: &Unit,
    progress: &Progress,
    changes: &AffiliateChanges,
) -> Result<(), JobError> {
    let number = account_of_pending(tx, account, unit.head)?;
    affiliates::apply(tx, account, number, unit, changes)?;
    attempts::mark_begun(tx.connection, unit.head, &unit.followers, progress)?;
    failpoint::step("store::save_progress");
    Ok(())
}

/// What becomes of the rows that an ended event has in `bodies` and `attempts`.
#[derive(Debug)]
pub enum Rows {
    /// They are deleted.
    Delete,
    /// They stay in the file, untouched, because one of their pages is damaged.
    Leave {
        /// The body of the head, if it can be read: for its dead letter.
        body: Option<Value>,
    },
}

/// How an attempt ends, for a settlement that may have to be repeated.
#[derive(Debug)]
pub struct Ending {
    /// The account of the unit.
    pub account: AccountName,
    /// The unit.
    pub unit: Unit,
    /// How it ends.
    pub settlement: Settlement,
    /// What changes in the affiliate index.
    pub changes: AffiliateChanges,
}

/// Ends an attempt.
pub fn settle(tx: &mut WriteTx<'_>, ending: &Ending, rows: &Rows) -> Result<(), JobError> {
    let Ending { account, unit, settlement, changes } = ending;
    let (head, number) = (unit.head, account_of_pending(tx, account, unit.head)?);
    affiliates::apply(tx, account, number, unit, changes)?;
    match settlement {
        Settlement::Done { outcome, followers } => {
            end(tx, number, head, *outcome, rows)?;
            for (seq, outcome) in followers {
                end(tx, number, *seq, *outcome, rows)?;
            }
        }
        Settlement::Retry { wait, progress, failures, failing_for, attempt } => {
            let (wait, progress, failures, failing_for) = (*wait, Some(progress), *failures, *failing_for);
            attempts::record_failure(
                tx.connection,
                head,
                &FailedAttempt { wait, progress, failures, failing_for, attempt },
            )?;
        }
        Settlement::Interrupted { wait, failures, failing_for, attempt } => {
            let (wait, progress, failures, failing_for) = (*wait, None, *failures, *failing_for);
            attempts::record_failure(
                tx.connection,
                head,
                &FailedAttempt { wait, progress, failures, failing_for, attempt },
            )?;
        }
        Settlement::HandBack { progress } => attempts::hand_back(tx.connection, head, progress)?,
        Settlement::Dead { outcome, reason, at } => {
            dead_letters::keep(tx, head, *outcome, reason, *at, rows)?;
            end(tx, number, head, *outcome, rows)?;
        }
    }
    failpoint::step("store::settle");
    Ok(())
}

/// The number of the account; refuses if the event is not pending there.
fn account_of_pending(tx: &WriteTx<'_>, account: &AccountName, head: Seq) -> Result<AccountNumber, JobError> {
    let number = tx.find_account(account).ok_or(JobError::Refused(StoreError::NotPending))?;
    let sql = "SELECT 1 FROM log WHERE seq = ?1 AND account = ?2 AND outcome IS NULL";
    let pending = tx.connection.prepare_cached(sql)?.exists([head.0, number])?;
    if pending { Ok(number) } else { Err(JobError::Refused(StoreError::NotPending)) }
}

/// Ends a pending event of the account. Returns whether it was pending; if not, nothing is changed.
pub fn end(
    tx: &mut WriteTx<'_>,
    account: AccountNumber,
    seq: Seq,
    outcome: OutcomeCode,
    rows: &Rows,
) -> rusqlite::Result<bool> {
    let sql = "UPDATE log SET outcome = ?3 WHERE seq = ?1 AND account = ?2 AND outcome IS NULL";
    let ended = tx.connection.prepare_cached(sql)?.execute(params![seq.0, account, outcome.number()])? > 0;
    if ended {
        if matches!(rows, Rows::Delete) {
            tx.connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?.execute([seq.0])?;
            attempts::delete(tx.connection, seq)?;
        }
        tx.end_event(account);
    }
    Ok(ended)
}
