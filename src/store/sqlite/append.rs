//! Appending events to the log, after three checks: whether it is a repeat, whether its user is known, whether it fits into
//! the backlog.
//!
//! In: a call's events. Out: one answer per event. Invariants: a call that does not fit appends none of its events, but
//! repeats are answered as such even then; an event whose user is unknown leaves no trace but, if it is a delete, its moment.

use super::deletions;
use super::erase::KeyHash;
use super::error::JobError;
use super::writer_state::{AccountNumber, WriteTx};
use crate::domain::{AccountName, EventId, Seq, Timestamp, UserKey};
use crate::failpoint;
use crate::store::keys;
use crate::store::{Appended, NewEvent, StoreError};
use rusqlite::params;
use std::collections::{HashMap, HashSet};

/// Appends events in this order, or refuses all of them.
pub fn append(tx: &mut WriteTx<'_>, events: &[NewEvent], max_backlog: u64) -> Result<Vec<Appended>, JobError> {
    check_backlog(tx, events, max_backlog)?;
    let mut answers = Vec::with_capacity(events.len());
    for event in events {
        answers.push(append_one(tx, event)?);
    }
    failpoint::step("store::append");
    Ok(answers)
}

fn append_one(tx: &mut WriteTx<'_>, event: &NewEvent) -> rusqlite::Result<Appended> {
    if is_repeat(tx, event)? {
        return Ok(Appended::Duplicate);
    }
    let account = tx.find_account(&event.account);
    if let Some(only) = event.known_users_only
        && !may_be_known(tx, account, &event.keys, only.none_pending_up_to)?
    {
        if let Some(deleted_at) = only.deleted_at {
            let keys: Vec<KeyHash> = event.keys.iter().map(|key| *key.bytes()).collect();
            deletions::keep(tx.connection, &keys, deleted_at, event.received_at)?;
        }
        return Ok(Appended::UnknownUser);
    }
    let account = account.map_or_else(|| tx.account_number(&event.account), Ok)?;
    let pending = tx.pending(account);
    let row = Row { id: event.id, users: &event.keys, received_at: event.received_at, body: &event.body };
    Ok(Appended::Accepted { seq: insert(tx, account, &row)?, pending })
}

/// Whether the log has this event.
fn is_repeat(tx: &WriteTx<'_>, event: &NewEvent) -> rusqlite::Result<bool> {
    if tx.find_id(event.id)?.is_some() {
        return Ok(true);
    }
    event.former_id.map_or(Ok(false), |id| tx.has_former_id(id, &event.keys))
}

/// A row to append; its body is packed.
#[derive(Debug)]
pub struct Row<'a> {
    /// The event's identity.
    pub id: EventId,
    /// Its user's keys.
    pub users: &'a [UserKey],
    /// When it was received.
    pub received_at: Timestamp,
    /// Its body, as it is stored.
    pub body: &'a [u8],
}

/// Appends a row, whatever its id.
pub fn insert(tx: &mut WriteTx<'_>, account: AccountNumber, row: &Row<'_>) -> rusqlite::Result<Seq> {
    let seq = tx.assign_seq(account, row.id, row.users)?;
    let sql = "INSERT INTO log (seq, account, id, keys, received_at) VALUES (?1, ?2, ?3, ?4, ?5)";
    let values = params![seq.0, account, row.id.0.as_slice(), keys::to_blob(row.users), row.received_at.0];
    tx.connection.prepare_cached(sql)?.execute(values)?;
    tx.connection
        .prepare_cached("INSERT INTO bodies (seq, body) VALUES (?1, ?2)")?
        .execute(params![seq.0, row.body])?;
    Ok(seq)
}

/// Refuses events that do not fit into the backlog of their account. Repeats are counted only where that decides it.
fn check_backlog(tx: &WriteTx<'_>, events: &[NewEvent], max: u64) -> Result<(), JobError> {
    let mut added: HashMap<&AccountName, u64> = HashMap::new();
    for event in events {
        *added.entry(&event.account).or_default() += 1;
    }
    for (account, most) in added {
        let waiting = tx.find_account(account).map_or(0, |account| tx.pending(account));
        if waiting + most > max && waiting + new_ids(tx, events, account)? > max {
            return Err(JobError::Refused(StoreError::Full(waiting)));
        }
    }
    Ok(())
}

/// How many events of the account are not repeats.
fn new_ids(tx: &WriteTx<'_>, events: &[NewEvent], account: &AccountName) -> rusqlite::Result<u64> {
    let mut new = HashSet::new();
    for event in events.iter().filter(|event| event.account == *account) {
        if !is_repeat(tx, event)? {
            new.insert(event.id);
        }
    }
    Ok(new.len() as u64)
}

/// Whether the user with these keys is known, or may become known through a pending event.
fn may_be_known(
    tx: &WriteTx<'_>,
    account: Option<AccountNumber>,
    users: &[UserKey],
    none_pending_up_to: Option<Seq>,
) -> rusqlite::Result<bool> {
    if account.is_some_and(|account| !users.is_empty() && tx.may_be_pending(account, users, none_pending_up_to)) {
        return Ok(true);
    }
    let mut link = tx.connection.prepare_cached("SELECT 1 FROM links WHERE key = ?1")?;
    let sql = "SELECT 1 FROM dead_keys JOIN dead_letters USING (seq) WHERE key = ?1 AND body IS NOT NULL";
    let mut dead = tx.connection.prepare_cached(sql)?;
    for key in users {
        if link.exists([keys::tagged(key).as_slice()])? || dead.exists([key.bytes().as_slice()])? {
            return Ok(true);
        }
    }
    Ok(false)
}
