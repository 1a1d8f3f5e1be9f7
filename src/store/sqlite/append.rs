//! Appending events to the log; [`decide`] decides about each.
//!
//! In: a call's events. Out: one answer per event. Invariants: a call that does not fit appends none of its events; of an event whose user
//! is unknown, only the moment of a delete is written here; [`crate::store::AnsweredEvent`] records it in the ledger.

use super::bodies;
use super::erase;
use super::query::Query;
use super::remembered;
use super::write_tx::WriteTx;
use crate::domain::{AccountName, Seq, SourceId};
use crate::failpoint;
use crate::store::append_decision::{AppendDecision, EventLookup, decide};
use crate::store::erasure::UserKeyHash;
use crate::store::{Appended, KnownUsersOnly, NewEvent, StoreError, user_keys};
use rusqlite::params;

/// Appends events in this order, or refuses all of them.
pub fn append(tx: &mut WriteTx<'_>, events: &[NewEvent], max_backlog: u64) -> Result<Vec<Appended>, StoreError> {
    let lookups = events.iter().map(|event| look_up(tx, event)).collect::<Result<Vec<_>, StoreError>>()?;
    let pending = |account: &AccountName| tx.state.log.pending(account);
    let decisions = decide(events, &lookups, pending, max_backlog)?;
    let appended = events.iter().zip(decisions).map(|(event, decision)| apply(tx, event, decision));
    let appended = appended.collect::<Result<Vec<_>, StoreError>>()?;
    failpoint::reach("store::append");
    Ok(appended)
}

/// Looks up an event to append.
pub fn look_up(tx: &WriteTx<'_>, event: &NewEvent) -> Result<EventLookup, StoreError> {
    let has_former_id = || event.former_id.map_or(Ok(false), |id| tx.has_former_id(id, &event.user_keys));
    let is_repeat = tx.find_id(event.id)?.is_some() || has_former_id()?;
    let may_be_known = match event.known_users_only {
        Some(only) if !is_repeat => may_be_known(tx, event, only)?,
        _ => false,
    };
    Ok(EventLookup { is_repeat, may_be_known })
}

/// Whether the user of an event is known, or may become known by a pending event or a dead letter. A dead letter without a value that
/// Refersion requires makes nobody known. For a delete, a user with any stored data is known.
fn may_be_known(tx: &WriteTx<'_>, event: &NewEvent, only: KnownUsersOnly) -> Result<bool, StoreError> {
    if tx.state.log.may_be_pending(&event.account, &event.user_keys, only.none_pending_up_to.map(|read| read.seq)) {
        return Ok(true);
    }
    let is_delete = only.deleted_at.is_some();
    let dead = "SELECT 1 FROM dead_keys JOIN dead_letters USING (seq) WHERE key = ?1 AND erased = 0
                AND (?2 OR code <> 'unmappable')";
    for key in &event.user_keys {
        if tx.connection.exists("SELECT 1 FROM links WHERE key = ?1", [user_keys::tagged(key).as_slice()])?
            || tx.connection.exists(dead, (key.bytes().as_slice(), is_delete))?
            || is_delete && !remembered::rows_of(tx.connection, key.bytes())?.is_empty()
        {
            return Ok(true);
        }
    }
    Ok(false)
}

fn apply(tx: &mut WriteTx<'_>, event: &NewEvent, decision: AppendDecision) -> Result<Appended, StoreError> {
    match decision {
        AppendDecision::Append { pending } => Ok(Appended::Accepted { seq: insert(tx, event)?, pending }),
        AppendDecision::Duplicate => Ok(Appended::Duplicate),
        AppendDecision::UnknownUser => {
            if let Some(deleted_at) = event.known_users_only.and_then(|only| only.deleted_at) {
                let keys: Vec<UserKeyHash> = event.user_keys.iter().map(|key| *key.bytes()).collect();
                erase::keep_moment(tx.connection, &keys, deleted_at, event.received_at)?;
            }
            Ok(Appended::UnknownUser)
        }
    }
}

/// Appends an event without a check of its id. Its body must be packed.
pub fn insert(tx: &mut WriteTx<'_>, event: &NewEvent) -> Result<Seq, StoreError> {
    let account = tx.account_number(&event.account)?;
    let seq = tx.state.log.append(account, event.id, &event.user_keys);
    let sql = "INSERT INTO log (seq, account, id, keys, received_at, source) VALUES (?1, ?2, ?3, ?4, ?5, ?6)";
    let (keys, source) = (user_keys::to_blob(&event.user_keys), event.source.as_ref().map(SourceId::as_str));
    tx.connection.run(sql, params![seq.0, account, event.id.0, keys, event.received_at.0, source])?;
    bodies::insert(tx.connection, seq, &event.body)?;
    Ok(seq)
}
