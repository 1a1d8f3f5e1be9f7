//! Dead letters: shown in pages, sent into their lines again, or thrown away.

use super::body;
use super::history;
use super::keys::Keys;
use super::record;
use super::seen;
use super::writer::Store;
use crate::domain::{AccountName, EventId, HashKey, Timestamp};
use crate::queue::{DeadLetter, Filter, NewEvent, Page, Replay};
use rusqlite::{OptionalExtension, Row, params};
use std::collections::BTreeSet;

/// A page is sought among so many dead letters at most, so that a filter that fits none holds nobody up.
const EXAMINED: i64 = 400;

const COLUMNS: &str = "seq, account, id, code, reason, failures, received_at, died_at, body IS NULL";

/// Up to `limit` dead letters with an id above `after`, without what only one of them by itself shows.
pub fn page(store: &Store, filter: &Filter, after: i64, limit: usize) -> rusqlite::Result<Page> {
    let sql = "SELECT seq FROM dead_letters WHERE seq > ?1 ORDER BY seq LIMIT 1 OFFSET ?2";
    let mut statement = store.connection.prepare_cached(sql)?;
    let bound: Option<i64> = statement.query_row([after, EXAMINED - 1], |row| row.get(0)).optional()?;
    let sql = format!(
        "SELECT {COLUMNS} FROM dead_letters
         WHERE seq > ?1 AND seq <= ?2 AND (?3 IS NULL OR account = ?3) AND (?4 IS NULL OR code = ?4)
           AND (?5 IS NULL OR died_at >= ?5) ORDER BY seq LIMIT ?6"
    );
    let (until, since) = (bound.unwrap_or(i64::MAX), filter.since.map(|since| since.0));
    let most = i64::try_from(limit).unwrap_or(i64::MAX);
    let mut statement = store.connection.prepare_cached(&sql)?;
    let found = statement.query_map(params![after, until, filter.account, filter.reason, since, most], read)?;
    let letters = found.collect::<rusqlite::Result<Vec<_>>>()?;
    let full = letters.last().filter(|_| letters.len() == limit).map(|last| last.id);
    Ok(Page { next: full.or(bound), last: store.counts.next_seq - 1, letters })
}

/// One dead letter, with its history and its body.
pub fn one(store: &Store, id: i64) -> rusqlite::Result<Option<DeadLetter>> {
    let sql = format!("SELECT {COLUMNS}, history, body FROM dead_letters WHERE seq = ?1");
    let mut statement = store.connection.prepare_cached(&sql)?;
    let whole = statement.query_row([id], |row| {
        let body: Option<Vec<u8>> = row.get(10)?;
        let body = body.map(|kept| String::from_utf8_lossy(&body::unpack(kept)).into_owned());
        Ok(DeadLetter { history: history::read(row.get(9)?), body, ..read(row)? })
    });
    whole.optional()
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

/// Lets a dead letter wait again: as a new event of its user, but for its id, which must not make it a duplicate.
pub fn replay(store: &mut Store, hash: &HashKey, id: i64) -> rusqlite::Result<Replay> {
    let sql = "SELECT account, id, keys, received_at, history, body FROM dead_letters WHERE seq = ?1";
    let kept = store.connection.prepare_cached(sql)?.query_row([id], |row| {
        let event = |keys: Keys, body| {
            Ok::<_, rusqlite::Error>(NewEvent {
                account: AccountName::from(row.get::<_, String>(0)?),
                id: EventId(row.get(1)?),
                keys: keys.users(),
                only_if_known: false,
                body,
                received_at: Timestamp(row.get(3)?),
            })
        };
        let (keys, body): (Option<Vec<u8>>, Option<Vec<u8>>) = (row.get(2)?, row.get(5)?);
        match (keys.map(Keys::from_blob), body) {
            (_, None) => Ok(Err(Replay::Erased)),
            (None, _) => Ok(Err(Replay::Unplaced)),
            (Some(keys), Some(body)) => Ok(Ok((event(keys, body)?, row.get::<_, Option<String>>(4)?))),
        }
    });
    let (event, history) = match kept.optional()? {
        None => return Ok(Replay::Missing),
        Some(Err(replay)) => return Ok(replay),
        Some(Ok(kept)) => kept,
    };
    if waits(store, event.id)? {
        return Ok(Replay::SentAgain);
    }
    remove(store, id)?;
    let seq = record::again(store, hash, &event)?;
    let sql = "UPDATE events SET history = ?2 WHERE seq = ?1";
    store.connection.prepare_cached(sql)?.execute(params![seq, history])?;
    Ok(Replay::Waits)
}

/// The account of each of these dead letters that is there.
pub fn accounts(store: &Store, ids: &BTreeSet<i64>) -> rusqlite::Result<Vec<String>> {
    let mut statement = store.connection.prepare_cached("SELECT account FROM dead_letters WHERE seq = ?1")?;
    let found = ids.iter().map(|id| statement.query_row([id], |row| row.get(0)).optional());
    found.filter_map(Result::transpose).collect()
}

/// Throws a dead letter away; says whether there was one.
pub fn discard(store: &mut Store, id: i64) -> rusqlite::Result<bool> {
    let there = store.connection.prepare_cached("SELECT 1 FROM dead_letters WHERE seq = ?1")?.exists([id])?;
    if there {
        remove(store, id)?;
    }
    Ok(there)
}

fn waits(store: &Store, id: EventId) -> rusqlite::Result<bool> {
    let Some(seen) = seen::find(store, id)? else { return Ok(false) };
    let sql = "SELECT 1 FROM events WHERE seq = ?1 AND id = ?2";
    store.connection.prepare_cached(sql)?.exists(params![seen.seq, id.0.as_slice()])
}

/// Takes a dead letter out. Its id is not given again, even if it was the last one: an operator may have written it down.
fn remove(store: &mut Store, id: i64) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES ('last_letter', ?1) ON CONFLICT (name) DO UPDATE SET value = max(value, ?1)";
    store.connection.prepare_cached(sql)?.execute([id])?;
    store.connection.prepare_cached("DELETE FROM dead_letters WHERE seq = ?1")?.execute([id])?;
    store.connection.prepare_cached("DELETE FROM dead_keys WHERE seq = ?1")?.execute([id])?;
    store.counts.dead = store.counts.dead.saturating_sub(1);
    Ok(())
}
