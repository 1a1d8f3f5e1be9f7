//! Saving progress, and ending an attempt: done, again later, handed back, or a dead letter.
//!
//! Invariant: what was learned of affiliates is written in the same transaction, and nothing is if the head does not wait.

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

/// Ends an attempt at `unit`.
pub fn settle(
    tx: &mut Tx<'_>,
    account: &AccountName,
    unit: &Unit,
    settlement: &Settlement,
    changes: &AffiliateChanges,
) -> Result<(), JobError> {
    let (head, number) = (unit.head, waiting(tx, account, unit.head)?);
    affiliates::change(tx, account, number, changes)?;
    match settlement {
        Settlement::Done { outcome, followers } => {
            end(tx, number, head, *outcome)?;
            for (seq, outcome) in followers {
                end(tx, number, *seq, *outcome)?;
            }
        }
        Settlement::Retry { wait, progress, failures, failing_for, attempt } => {
            let (wait, failures, failing_for) = (*wait, *failures, *failing_for);
            attempts::fail(tx.connection, head, &Failure { wait, progress, failures, failing_for, attempt })?;
        }
        Settlement::HandBack { progress } => attempts::hand_back(tx.connection, head, progress)?,
        Settlement::Dead { outcome, reason, at } => {
            dead_letters::keep(tx, head, *outcome, reason, *at)?;
            end(tx, number, head, *outcome)?;
        }
    }
    failpoint::step("store::settle");
    Ok(())
}

/// The number of the account; refuses if the event does not wait there.
fn waiting(tx: &Tx<'_>, account: &AccountName, head: Seq) -> Result<AccountNumber, JobError> {
    let number = tx.find_account(account).ok_or(JobError::Refused(StoreError::NotWaiting))?;
    let sql = "SELECT 1 FROM log WHERE seq = ?1 AND account = ?2 AND outcome IS NULL";
    let waits = tx.connection.prepare_cached(sql)?.exists([head.0, number])?;
    if waits { Ok(number) } else { Err(JobError::Refused(StoreError::NotWaiting)) }
}

/// An event of the account waits no more: its body is erased. One that does not wait is passed over.
pub fn end(tx: &mut Tx<'_>, account: AccountNumber, seq: Seq, outcome: OutcomeCode) -> rusqlite::Result<bool> {
    let sql = "UPDATE log SET outcome = ?3 WHERE seq = ?1 AND account = ?2 AND outcome IS NULL";
    let ended = tx.connection.prepare_cached(sql)?.execute(params![seq.0, account, outcome.number()])? > 0;
    if ended {
        tx.connection.prepare_cached("DELETE FROM bodies WHERE seq = ?1")?.execute([seq.0])?;
        attempts::delete(tx.connection, seq)?;
        tx.left(account);
    }
    Ok(ended)
}
