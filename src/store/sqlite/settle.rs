//! Saving the progress of an attempt, and settling it: done, retry, handed back, or dead letter.
//!
//! Invariants: changes of the affiliate index are written in the same transaction; nothing is written if the head is not
//! pending. SQLite commits no transaction that has touched a damaged page: such a settlement is repeated with
//! [`RowCleanup::Leave`].

use super::log_state::AccountNumber;
use super::query::Query;
use super::write_tx::WriteTx;
use super::{affiliates, attempts, bodies, dead_letters};
use crate::delivery::{OutcomeCode, Progress};
use crate::domain::{AccountName, Seq};
use crate::failpoint;
use crate::scheduling::Unit;
use crate::store::{AffiliateChanges, Settlement, StoreError};
use rusqlite::params;

/// Saves that `unit` is begun, and its progress.
pub fn save_progress(
    tx: &mut WriteTx<'_>,
    account: &AccountName,
    unit: &Unit,
    progress: &Progress,
    changes: &AffiliateChanges,
) -> Result<(), StoreError> {
    let number = find_account(tx, account)?;
    attempts::change(tx.connection, number, unit.head, |record| record.begun(unit, progress))?;
    affiliates::apply(tx, account, number, unit, changes)?;
    failpoint::reach("store::save_progress");
    Ok(())
}

/// How the rows of an ended event in `bodies` and `attempts` are cleaned up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RowCleanup {
    /// Its body is erased, and its attempts are deleted.
    Erase,
    /// Its body stays, as the body of a dead letter; its attempts are deleted.
    KeepBody,
    /// Both stay unchanged in the file, because one of their pages is damaged.
    Leave {
        /// Whether the body of the head can be read, for its dead letter.
        has_body: bool,
    },
}

/// Ends an attempt.
pub fn settle(
    tx: &mut WriteTx<'_>,
    account: &AccountName,
    unit: &Unit,
    settlement: &Settlement,
    changes: &AffiliateChanges,
    rows: RowCleanup,
) -> Result<(), StoreError> {
    let (head, number) = (unit.head, find_account(tx, account)?);
    match settlement {
        Settlement::Done { outcome, followers } => {
            if !end(tx, number, head, *outcome, rows)? {
                return Err(StoreError::NotPending);
            }
            for (seq, outcome) in followers {
                end(tx, number, *seq, *outcome, rows)?;
            }
        }
        Settlement::Dead { outcome, reason, at } => {
            dead_letters::keep(tx, number, head, *outcome, reason, *at, rows)?;
        }
        Settlement::Retry { .. } | Settlement::HandBack { .. } => {
            attempts::change(tx.connection, number, head, |record| record.settled(head, settlement))?;
        }
    }
    affiliates::apply(tx, account, number, unit, changes)?;
    failpoint::reach("store::settle");
    Ok(())
}

fn find_account(tx: &WriteTx<'_>, account: &AccountName) -> Result<AccountNumber, StoreError> {
    tx.state.log.find_account(account).ok_or(StoreError::NotPending)
}

/// Ends a pending event of the account. Returns whether it was pending; if not, nothing is changed.
pub fn end(
    tx: &mut WriteTx<'_>,
    account: AccountNumber,
    seq: Seq,
    outcome: OutcomeCode,
    rows: RowCleanup,
) -> Result<bool, StoreError> {
    let sql = "UPDATE log SET outcome = ?3 WHERE seq = ?1 AND account = ?2 AND outcome IS NULL";
    let ended = tx.connection.run(sql, params![seq.0, account, outcome.number()])? > 0;
    if ended {
        if rows == RowCleanup::Erase {
            bodies::erase(tx.connection, seq)?;
        }
        if !matches!(rows, RowCleanup::Leave { .. }) {
            attempts::delete(tx.connection, seq)?;
        }
        tx.state.log.end_event(account);
    }
    Ok(ended)
}
