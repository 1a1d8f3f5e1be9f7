//! Dead letters: keeping, listing, replaying and discarding them.
//!
//! Invariant: the keys of a dead letter are in `dead_keys` exactly as long as its body is kept.

use super::append::{self, Row as LogRow};
use super::attempts;
use super::decode::{Damaged, blob};
use super::error::{JobError, is_corruption};
use super::settle::Rows;
use super::writer_state::{Change, WriteTx};
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, EventId, Seq, Timestamp};
use crate::store::body::unpack;
use crate::store::history;
use crate::store::keys;
use crate::store::{Attempt, DeadLetter, Filter, Page, Replay, StoreError};
use rusqlite::types::Value;
use rusqlite::{Connection, OptionalExtension, Row, params};
use std::collections::{BTreeMap, BTreeSet};

/// A page examines at most so many dead letters, so that a filter that fits none takes no long transaction.
const EXAMINED: i64 = 400;

const COLUMNS: &str = "seq, name, id, code, reason, failures, received_at, died_at, body IS NULL";

/// Keeps the waiting event `seq` as a dead letter.
pub fn keep(
    tx: &mut WriteTx<'_>,
    seq: Seq,
    outcome: OutcomeCode,
    reason: &str,
    at: Timestamp,
    rows: &Rows,
) -> rusqlite::Result<()> {
    let last = Attempt { at, what: reason.to_owned() };
    let (attempts, body) = match rows {
        Rows::Delete => (attempts::failures_and_history(tx.connection, seq)?, body(tx.connection, seq)?),
        Rows::Leave { body } => ((0, None), body.clone()),
    };
    let history = history::with(seq, attempts.1.as_deref(), &last);
    insert(tx, seq, outcome, reason, at, (attempts.0, Some(history)), body)
}

/// Keeps a pending event whose user is erased as a dead letter without body and keys.
pub fn keep_erased(tx: &mut WriteTx<'_>, seq: Seq, at: Timestamp) -> rusqlite::Result<()> {
    let attempts = attempts::failures_and_history(tx.connection, seq)?;
    insert(tx, seq, OutcomeCode::Erased, "its user was erased while it waited", at, attempts, None)
}

fn insert(
    tx: &mut WriteTx<'_>,
    seq: Seq,
    outcome: OutcomeCode,
    reason: &str,
    at: Timestamp,
    (failures, history): (u32, Option<String>),
    body: Option<Value>,
) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO dead_letters (seq, account, id, code, reason, failures, received_at, died_at, body, keys, history)
               SELECT seq, account, id, ?2, ?3, ?4, received_at, ?5, ?6, iif(?6 IS NULL, NULL, keys), ?7
               FROM log WHERE seq = ?1 RETURNING keys";
    let values = params![seq.0, outcome.as_str(), reason, failures, at.0, body, history];
    let keys: Option<Vec<u8>> = tx.connection.prepare_cached(sql)?.query_row(values, |row| row.get(0))?;
    let mut insert = tx.connection.prepare_cached("INSERT OR IGNORE INTO dead_keys (key, seq) VALUES (?1, ?2)")?;
    for key in keys::hashes(&keys.unwrap_or_default()) {
        insert.execute(params![key.as_slice(), seq.0])?;
    }
    tx.on_commit(Change::DeadLetters(1));
    Ok(())
}

/// The body of a waiting event as it is stored, whatever its type.
fn body(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Value>> {
    connection.prepare_cached("SELECT body FROM bodies WHERE seq = ?1")?.query_row([seq.0], |row| row.get(0)).optional()
}

/// The same, but `None` if it is on a damaged page.
pub fn body_if_readable(connection: &Connection, seq: Seq) -> rusqlite::Result<Option<Value>> {
    match body(connection, seq) {
        Err(error) if is_corruption(&error) => Ok(None),
        body => body,
    }
}

/// Up to `limit` dead letters with an id above `after`, without history and body; and the id after which to go on.
pub fn page(connection: &Connection, filter: &Filter, after: i64, limit: usize) -> rusqlite::Result<Page> {
    let snapshot = connection.unchecked_transaction()?;
    let sql = "SELECT seq FROM dead_letters WHERE seq > ?1 ORDER BY seq LIMIT 1 OFFSET ?2";
    let mut statement = snapshot.prepare_cached(sql)?;
    let bound: Option<i64> = statement.query_row([after, EXAMINED - 1], |row| row.get(0)).optional()?;
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters JOIN accounts USING (account)
         WHERE seq > ?1 AND seq <= ?2 AND (?3 IS NULL OR name = ?3) AND (?4 IS NULL OR code = ?4)
           AND (?5 IS NULL OR died_at >= ?5) ORDER BY seq LIMIT ?6"
    );
    let (until, since) = (bound.unwrap_or(i64::MAX), filter.since.map(|since| since.0));
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = snapshot.prepare_cached(&sql)?;
    let found = statement.query_map(params![after, until, filter.account, filter.reason, since, most], read)?;
    let letters = found.collect::<rusqlite::Result<Vec<_>>>()?;
    let full = letters.last().filter(|_| letters.len() == limit).map(|last| last.id);
    Ok(Page { next: full.or(bound), last: 0, letters })
}

/// One dead letter, with its history and its body.
pub fn one(connection: &Connection, id: i64) -> rusqlite::Result<Option<DeadLetter>> {
    let sql = format!("SELECT {COLUMNS}, history, body FROM dead_letters JOIN accounts USING (account) WHERE seq = ?1");
    let mut statement = connection.prepare_cached(&sql)?;
    let whole = statement.query_row([id], |row| {
        let history = history::read(Seq(id), row.get::<_, Option<String>>(9)?.as_deref());
        let body = body_text(id, blob(row, 10, "dead_letters.body"));
        Ok(DeadLetter { history, body, ..read(row)? })
    });
    whole.optional()
}

/// The body as text; `None` if it was erased, or cannot be read.
fn body_text(id: i64, stored: Result<Option<&[u8]>, Damaged>) -> Option<String> {
    let body =
        stored.and_then(|stored| stored.map(|stored| unpack(stored).ok_or(Damaged("dead_letters.body"))).transpose());
    let body = body.unwrap_or_else(|Damaged(part)| {
        tracing::error!(seq = id, part, "a row of the store is damaged");
        None
    });
    body.map(|body| String::from_utf8_lossy(&body).into_owned())
}

fn read(row: &Row<'_>) -> rusqlite::Result<DeadLetter> {
    Ok(DeadLetter {
        id: row.get(0)?,
        account: row.get(1)?,
        event: EventId(row.get(2)?).to_string(),
        code: row.get(3)?,
        reason: row.get(4)?,
        failures: row.get(5)?,
        received_at: Timestamp(row.get(6)?),
        died_at: Timestamp(row.get(7)?),
        erased: row.get(8)?,
        history: Vec::new(),
        body: None,
    })
}

/// Appends dead letters anew, or refuses all of them.
pub fn replay(tx: &mut WriteTx<'_>, ids: &BTreeSet<i64>, max_backlog: u64) -> Result<Vec<(i64, Replay)>, JobError> {
    let mut added: BTreeMap<AccountName, u64> = BTreeMap::new();
    let sql = "SELECT name FROM dead_letters JOIN accounts USING (account) WHERE seq = ?1";
    let mut statement = tx.connection.prepare_cached(sql)?;
    for id in ids {
        let account: Option<String> = statement.query_row([id], |row| row.get(0)).optional()?;
        if let Some(name) = account {
            *added.entry(AccountName::from(name)).or_default() += 1;
        }
    }
    for (account, more) in added {
        let waiting = tx.find_account(&account).map_or(0, |account| tx.pending(account));
        if waiting + more > max_backlog {
            return Err(JobError::Refused(StoreError::Full(waiting)));
        }
    }
    let each = ids.iter().map(|id| Ok((*id, replay_one(tx, Seq(*id))?)));
    each.collect()
}

/// Appends a dead letter as a new event of its user; its history goes with it.
fn replay_one(tx: &mut WriteTx<'_>, seq: Seq) -> rusqlite::Result<Replay> {
    let sql = "SELECT account, id, keys, received_at, history, body FROM dead_letters WHERE seq = ?1";
    let mut statement = tx.connection.prepare_cached(sql)?;
    let columns = |row: &Row<'_>| {
        let body = blob(row, 5, "dead_letters.body").map(|body| body.map(<[u8]>::to_vec));
        let (keys, history): (Option<Vec<u8>>, Option<String>) = (row.get(2)?, row.get(4)?);
        Ok((row.get(0)?, EventId(row.get(1)?), keys, Timestamp(row.get(3)?), history, body))
    };
    let Some((account, id, keys, received_at, history, body)) = statement.query_row([seq.0], columns).optional()?
    else {
        return Ok(Replay::Missing);
    };
    let Ok(body) = body else { return Ok(Replay::Damaged) };
    let Some(body) = body else { return Ok(Replay::Erased) };
    let Some(users) = keys.as_deref().and_then(keys::from_blob) else { return Ok(Replay::KeysMissing) };
    if let Some(newest) = tx.find_id(id)?
        && tx.connection.prepare_cached("SELECT 1 FROM log WHERE seq = ?1 AND outcome IS NULL")?.exists([newest.0])?
    {
        return Ok(Replay::SentAgain);
    }
    discard(tx, seq)?;
    let again = append::insert(tx, account, &LogRow { id, users: &users, received_at, body: &body })?;
    history.map_or(Ok(()), |history| attempts::keep_history(tx.connection, again, &history))?;
    Ok(Replay::Replayed)
}

/// Deletes a dead letter; returns whether there was one.
pub fn discard(tx: &mut WriteTx<'_>, seq: Seq) -> rusqlite::Result<bool> {
    let there = tx.connection.prepare_cached("DELETE FROM dead_letters WHERE seq = ?1")?.execute([seq.0])? > 0;
    if there {
        tx.connection.prepare_cached("DELETE FROM dead_keys WHERE seq = ?1")?.execute([seq.0])?;
        tx.on_commit(Change::DeadLetters(-1));
    }
    Ok(there)
}
