//! Events of an account without a worker: its pending events become dead letters, and dead letters move to another account.
//!
//! Invariants: each call is one transaction, so each event is in exactly one place. It locks the row of the account that it appends to or
//! takes from, so no process takes the account over or appends to it meanwhile; it locks dead letters after that row, as a replay does.
//! Deliberately absent: mapping an event for another account, which the caller does.

use super::accounts::{self, AccountNumber, Locked};
use super::append::Repeats;
use super::append_rows;
use super::dead_letters::discard;
use super::error::JobError;
use super::session::Session;
use super::settle::ATTEMPTS;
use super::settle_rows::SettledRows;
use super::shared::Shared;
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, EventId, Seq, Timestamp};
use crate::store::append_decision::check_backlogs;
use crate::store::rows::attempts::AttemptRecord;
use crate::store::rows::dead_letters::ACCOUNT_GONE;
use crate::store::{MovedDeadLetter, NewEvent, Replay, ReplayResult};
use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

/// Whether a live process owns the account.
const OWNED: &str = "SELECT 1 FROM accounts JOIN replicas ON replicas.replica = accounts.owner
    WHERE accounts.account = $1 AND replicas.until > clock_timestamp()";
const PENDING: &str = "SELECT seq FROM log WHERE account = $1 AND outcome IS NULL ORDER BY seq LIMIT $2";
const LETTERS: &str =
    "SELECT seq, body IS NULL, received_at FROM dead_letters WHERE seq = ANY ($1) ORDER BY seq FOR UPDATE";
const HISTORIES: &str = "INSERT INTO attempts (seq, begun, failures, failing_for, history)
    SELECT moved.new, false, 0, 0, letter.history
    FROM unnest($1::bigint[], $2::bigint[]) AS moved (old, new) JOIN dead_letters AS letter ON letter.seq = moved.old
    WHERE letter.history IS NOT NULL";

/// Turns up to `limit` pending events of the account into dead letters; returns their number. `None`: a process owns the account.
pub async fn set_aside(
    session: &Session,
    shared: Arc<Shared>,
    account: AccountName,
    at: Timestamp,
    limit: usize,
) -> Result<Option<u64>, JobError> {
    let work = async {
        let locked = session.lock(&[account.as_str()]).await?;
        let Some(number) = locked.number(&account) else { return Ok(Some(0)) };
        if session.query_opt(OWNED, &[&number]).await?.is_some() {
            return Ok::<_, JobError>(None);
        }
        Ok(Some(end_pending(session, number, at, limit).await?))
    };
    let ended = session.transaction(work).await?;
    if let Some(ended) = ended {
        shared.backlogs.ended([(&account, ended)], ended.cast_signed());
    }
    Ok(ended)
}

/// Turns pending events of the locked account into dead letters, with their histories.
async fn end_pending(session: &Session, number: AccountNumber, at: Timestamp, limit: usize) -> Result<u64, JobError> {
    let limit = i64::try_from(limit).unwrap_or(i64::MAX);
    let pending = session.query(PENDING, &[&number, &limit]).await?;
    let pending: Vec<i64> = pending.iter().map(|row| row.get(0)).collect();
    let attempts = session.query(ATTEMPTS, &[&pending]).await?;
    // A damaged row counts as empty.
    let attempts = attempts.iter().map(|row| (row.get(8), AttemptRecord::read(row, 0).unwrap_or_default()));
    let mut attempts: HashMap<i64, AttemptRecord> = attempts.collect();
    let mut rows = SettledRows::default();
    for seq in &pending {
        let record = attempts.remove(seq).unwrap_or_default();
        let (failures, history) = (record.attempts.failures, record.history);
        rows.keep_dead(Seq(*seq), OutcomeCode::AccountGone, ACCOUNT_GONE, at, failures, history.as_deref());
        rows.end(Seq(*seq), OutcomeCode::AccountGone);
    }
    rows.write(session).await?;
    Ok(pending.len() as u64)
}

/// Appends dead letters to another account, or refuses all of them. Their bodies are packed, and they are in the order of their ids. Also
/// returns the accounts to which events may have been appended.
pub async fn move_dead_letters(
    session: &Session,
    shared: Arc<Shared>,
    moved: Vec<MovedDeadLetter>,
) -> Result<(Vec<ReplayResult>, Locked), JobError> {
    let (ids, events): (Vec<i64>, Vec<NewEvent>) = moved.into_iter().map(|moved| (moved.id, moved.event)).unzip();
    let group = [events];
    let names = accounts::distinct(group[0].iter().map(|event| &event.account));
    accounts::add(session, &names).await?;
    let work = async {
        let locked = session.lock(&names).await?;
        let events = group[0].iter().map(|event| (&event.account, 1));
        check_backlogs(events, |account| shared.backlogs.certainly_pending(account), shared.max_backlog)?;
        let repeats = Repeats::read(session, &group, shared.has_former_ids).await?;
        Ok::<_, JobError>((append(session, (&ids, &group[0]), &locked, &repeats).await?, locked))
    };
    let (results, locked) = session.transaction(work).await?;
    let seqs = results.iter().zip(&group[0]).filter_map(|(result, event)| Some((&event.account, Seq(result.seq?))));
    shared.backlogs.replayed(&seqs.collect::<Vec<_>>());
    Ok((results, locked))
}

/// Appends the dead letters that exist and are no repeats, and deletes them.
async fn append(
    session: &Session,
    (ids, events): (&[i64], &[NewEvent]),
    locked: &Locked,
    repeats: &Repeats,
) -> Result<Vec<ReplayResult>, JobError> {
    let letters = session.query(LETTERS, &[&ids]).await?;
    let letters: HashMap<i64, (bool, i64)> = letters.iter().map(|row| (row.get(0), (row.get(1), row.get(2)))).collect();
    let mut own: HashSet<EventId> = HashSet::new();
    let decide = |(id, event): (&i64, &NewEvent)| match letters.get(id) {
        // A promoted standby may have given its id to another one since it was read.
        Some((_, received_at)) if *received_at != event.received_at.0 => Err(Replay::Missing),
        None => Err(Replay::Missing),
        Some((true, _)) => Err(Replay::Erased),
        Some((false, _)) if repeats.contains(event) || !own.insert(event.id) => Err(Replay::Duplicate),
        Some((false, _)) => Ok(()),
    };
    let decided: Vec<Result<(), Replay>> = ids.iter().zip(events).map(decide).collect();
    let accepted = || (0..events.len()).filter(|index| decided[*index].is_ok());
    let wanted: Vec<&NewEvent> = accepted().map(|index| &events[index]).collect();
    let seqs = append_rows::insert(session, locked, &wanted).await?;
    let new: BTreeMap<i64, Seq> = accepted().zip(seqs).filter_map(|(nth, seq)| Some((ids[nth], seq?))).collect();
    let (appended, at): (Vec<i64>, Vec<i64>) = new.iter().map(|(id, seq)| (*id, seq.0)).unzip();
    session.execute(HISTORIES, &[&appended, &at]).await?;
    discard(session, &appended).await?;
    let result = |(id, decided): (&i64, Result<(), Replay>)| {
        ReplayResult::new(*id, decided.and_then(|()| new.get(id).copied().ok_or(Replay::Duplicate)))
    };
    Ok(ids.iter().zip(decided).map(result).collect())
}
