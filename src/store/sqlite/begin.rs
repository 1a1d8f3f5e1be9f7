//! Beginning units: reads the bodies, known affiliates and progress of pending events.
//!
//! In: units of an account. Out: one [`Begun`] for each whose head is pending. Invariant: a damaged page affects only the units on it.
//! [`crate::store::rows::pending`] handles damaged parts.

use super::affiliates;
use super::bodies;
use super::query::Query;
use crate::delivery::Memory;
use crate::domain::{AccountName, Seq};
use crate::failpoint;
use crate::scheduling::Unit;
use crate::store::rows::pending::{self, Head};
use crate::store::rows::{attempts, report};
use crate::store::{Begun, Follower, StoreError};
use rusqlite::{Connection, params};

/// Reads units of `account`, in this order, as of one moment: `None` for one whose head is not pending.
pub fn begin(connection: &Connection, account: &AccountName, units: &[Unit]) -> Result<Vec<Option<Begun>>, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let (mut begun, mut bytes) = (Vec::with_capacity(units.len()), 0);
    for unit in units {
        if bytes >= pending::MAX_BYTES {
            break;
        }
        let head = match head(&snapshot, account, unit) {
            Err(StoreError::Corrupt(_)) => Some(Head::unreadable().begun(unit.head, Ok(Memory::default()))),
            head => head?,
        };
        bytes += head.as_ref().map_or(0, Begun::body_bytes);
        begun.push(head);
    }
    failpoint::reach("store::begin");
    Ok(begun)
}

fn head(connection: &Connection, account: &AccountName, unit: &Unit) -> Result<Option<Begun>, StoreError> {
    let sql = format!(
        "SELECT {}, {} FROM log LEFT JOIN bodies ON bodies.seq = {} LEFT JOIN attempts ON attempts.seq = log.seq
         WHERE log.seq = ?1 AND log.account = (SELECT account FROM accounts WHERE name = ?2) AND log.outcome IS NULL",
        pending::HEAD_COLUMNS,
        attempts::COLUMNS,
        bodies::place("log.seq")
    );
    let head = connection.one(&sql, params![unit.head.0, account.as_str()], |row| Ok(Head::read(row)))?;
    let Some(head) = head else { return Ok(None) };
    let memory = match affiliates::memory(connection, head.user_keys()) {
        Err(StoreError::Corrupt(part)) => Err(part),
        memory => Ok(memory?),
    };
    let mut followers = head.followers(unit);
    let mut begun = head.begun(unit.head, memory);
    for seq in followers.seqs.clone() {
        let Some(follower) = follower(connection, account, seq)? else { continue };
        if !followers.add(&mut begun, follower) {
            break;
        }
    }
    Ok(Some(begun))
}

fn follower(connection: &Connection, account: &AccountName, seq: Seq) -> Result<Option<Follower>, StoreError> {
    let sql = format!(
        "SELECT {} FROM log LEFT JOIN bodies ON bodies.seq = {}
         WHERE log.seq = ?1 AND log.account = (SELECT account FROM accounts WHERE name = ?2) AND log.outcome IS NULL",
        pending::FOLLOWER_COLUMNS,
        bodies::place("log.seq")
    );
    match connection.one(&sql, params![seq.0, account.as_str()], |row| Ok(pending::follower(seq, row)?)) {
        Err(StoreError::Corrupt(part)) => {
            report(seq, &part);
            Ok(None)
        }
        read => read,
    }
}
