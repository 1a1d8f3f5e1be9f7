//! Saving progress, and ending an attempt: done, again later, handed back, or a dead letter.
//!
//! Invariant: what was learned of affiliates is written in the same transaction, and nothing is if the head does not wait.
//! Where a page is damaged, SQLite commits no transaction that has touched it: such a settlement is repeated with
//! [`Rows::Leave`].

use super::affiliates;
use super::attempts::{self, Failure};
use super::dead_letters;
use super::error::JobError;
use super::state::{AccountNumber, Tx};
use crate::delivery::{OutcomeCode, Progress};
use crate::domain::{AccountName, Seq};
use crate::failpoint;
use crate::scheduling::Unit;
use crate::store::{AffiliateChanges, Settlement, StoreError};
use rusqlite::params;
use rusqlite::types::Value;

/// Writes down that `unit` is begun, and how far it got.
pub fn save_progress(
    tx: &mut Tx<'_>,
    account: &AccountName,
    unit: &Unit,
    progress: &Progress,
    changes: &AffiliateChanges,
) -> Result<(), JobError> {
    let number = waiting(tx, account, unit.head)?;
    affiliates::change(tx, account, number, changes)?;
    attempts::begin(tx.connection, unit.head, &unit.followers, progress)?;
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
    /// What was learned.
    pub changes: AffiliateChanges,
}

/// Ends an attempt.
pub fn settle(tx: &mut Tx<'_>, ending: &Ending, rows: &Rows) -> Result<(), JobError> {
    let Ending { account, unit, settlement, changes } = ending;
    let (head, number) = (unit.head, waiting(tx, account, unit.head)?);
    affiliates::change(tx, account, number, changes)?;
    match settlement {
        Settlement::Done { outcome, followers } => {
            end(tx, number, head, *outcome, rows)?;
            for (seq, outcome) in followers {
                end(tx, number, *seq, *outcome, rows)?;
            }
        }
        Settlement::Retry { wait, progress, failures, failing_for, attempt } => {
            let (wait, progress, failures, failing_for) = (*wait, Some(progress), *failures, *failing_for);
            attempts::fail(tx.connection, head, &Failure { wait, progress, failures, failing_for, attempt })?;
        }
        Settlement::Interrupted { wait, failures, failing_for, attempt } => {
            let (wait, progress, failures, failing_for) = (*wait, None, *failures, *failing_for);
            attempts::fail(tx.connection, head, &Failure { wait, progress, failures, failing_for, attempt })?;
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

/// The number of the account; refuses if the event does not wait there.
fn waiting(tx: &Tx<'_>, account: &AccountName, head: Seq) -> Result<AccountNumber, JobError> {
    let number = tx.find_account(account).ok_or(JobError::Refused(StoreError::NotPending))?;
    let sql = "SELECT 1 FROM log WHERE seq = ?1 AND account = ?2 AND outcome IS NULL";
    let waits = tx.connection.prepare_cached(sql)?.exists([head.0, number])?;
    if waits { Ok(number) } else { Err(JobError::Refused(StoreError::NotPending)) }
}

/// An event of the account waits no more. Says whether it did: one that does not wait is passed over.
pub fn end(
    tx: &mut Tx<'_>,
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
        tx.left(account);
    }
    Ok(ended)
}
