//! Dead letters: listing, replaying and discarding them.
//!
//! Invariants: the user keys of a dead letter are in `dead_keys` exactly while its body is kept. The rows of the accounts are locked before
//! a replay, so new seqs are in the order of commits and no event of the same id is appended meanwhile. Any process may replay and discard,
//! without the token of a lease. Bodies do not leave the server. Deliberately absent: keeping dead letters ([`super::settle`]).

use super::accounts::Locked;
use super::append::DRAW;
use super::compact;
use super::error::JobError;
use super::session::Session;
use crate::domain::{AccountName, EventId, Seq};
use crate::store::rows::dead_letters::{COLUMNS, EXAMINED, ToReplay, examine, to_replay, whole};
use crate::store::rows::page::PageScan;
use crate::store::{DeadLetter, DeadLetterFilter, DeadLetterPage, PageStart, Replay, ReplayResult};
use std::collections::{BTreeMap, BTreeSet, HashSet};
use std::sync::LazyLock;
use tokio_postgres::{Error, Row};

static OLDEST: LazyLock<String> = LazyLock::new(|| page_statement("seq > $1 ORDER BY seq"));
static NEWEST: LazyLock<String> = LazyLock::new(|| page_statement("seq < $1 ORDER BY seq DESC"));

/// The limit is a value, so that a plan which was made while the table was small reads the primary key in its order, too.
fn page_statement(order: &str) -> String {
    format!("SELECT {COLUMNS}, body IS NULL FROM dead_letters JOIN accounts USING (account) WHERE {order} LIMIT $2")
}

/// Appends dead letters, by their ids, as events with these seqs.
const APPEND: &str = "WITH letter AS MATERIALIZED (SELECT replayed.new, letter.*,
            (SELECT source FROM log WHERE log.seq = replayed.old)
        FROM unnest($1::bigint[], $2::bigint[]) AS replayed (old, new)
            CROSS JOIN LATERAL (SELECT * FROM dead_letters WHERE dead_letters.seq = replayed.old LIMIT 1) AS letter),
    logged AS (INSERT INTO log (seq, received_at, account, id, keys, source)
        SELECT new, received_at, account, id, keys, source FROM letter),
    stored AS (INSERT INTO bodies (seq, body) SELECT new, body FROM letter),
    tried AS (INSERT INTO attempts (seq, begun, failures, failing_for, history)
        SELECT new, false, 0, 0, history FROM letter WHERE history IS NOT NULL)
    INSERT INTO ids (id, seq) SELECT id, new FROM letter ON CONFLICT (id) DO UPDATE SET seq = excluded.seq";

static WHOLE: LazyLock<String> = LazyLock::new(|| {
    format!(
        "SELECT {COLUMNS}, body IS NULL, history, body FROM dead_letters JOIN accounts USING (account) WHERE seq = $1"
    )
});

/// Up to `limit` dead letters from `start` on, without history and body.
pub async fn page(
    session: &Session,
    filter: &DeadLetterFilter,
    start: PageStart,
    limit: usize,
) -> Result<DeadLetterPage, JobError> {
    let (sql, start) = match start {
        PageStart::After(id) => (&OLDEST, id),
        PageStart::Before(id) => (&NEWEST, id),
    };
    let last = session.query_one("SELECT coalesce(max(seq), 0) FROM log", &[]).await?.get(0);
    let rows = session.query(sql, &[&start, &i64::try_from(EXAMINED).unwrap_or(i64::MAX)]).await?;
    let (letters, next) = PageScan::new(limit, EXAMINED).read(&rows, |scan, row| examine(scan, filter, row))?;
    Ok(DeadLetterPage { letters, next, last })
}

/// One dead letter, with its history and its body.
pub async fn one(session: &Session, id: i64) -> Result<Option<DeadLetter>, JobError> {
    Ok(session.query_opt(&WHOLE, &[&id]).await?.map(|row| whole(&row)).transpose()?)
}

/// The number of these dead letters in each account. At most this number is replayed: another process may replay some before the account
/// is locked.
pub async fn counts(session: &Session, ids: &[i64]) -> Result<BTreeMap<AccountName, u64>, Error> {
    let sql =
        "SELECT name, count(*) FROM dead_letters JOIN accounts USING (account) WHERE seq = ANY ($1) GROUP BY name";
    let count = |row: &Row| (AccountName::from(row.get::<_, String>(0)), row.get::<_, i64>(1).unsigned_abs());
    Ok(session.query(sql, &[&ids]).await?.iter().map(count).collect())
}

/// Appends dead letters of the locked accounts again, in the order of their ids. Returns each id with its result, and the events that were
/// appended, in the order of their seqs. A dead letter of another account, which became one after the accounts were locked, counts as
/// missing.
pub async fn replay(
    session: &Session,
    locked: &Locked,
    ids: &BTreeSet<i64>,
) -> Result<(Vec<ReplayResult>, Vec<(AccountName, Seq)>), Error> {
    let wanted: Vec<i64> = ids.iter().copied().collect();
    // Neither the history nor the source is needed, nor the body, for which an empty text stands.
    let sql = "SELECT name, id, keys, received_at, NULL::text, NULL::text,
                   CASE WHEN body IS NULL THEN NULL ELSE ''::bytea END, seq
               FROM dead_letters JOIN accounts USING (account) WHERE seq = ANY ($1) ORDER BY seq FOR UPDATE OF dead_letters";
    let rows = session.query(sql, &[&wanted]).await?;
    let is_locked = |row: &&Row| locked.get(&AccountName::from(row.get::<_, String>(0))).is_some();
    let letters = rows.iter().filter(is_locked).map(|row| (row.get(7), to_replay(Seq(row.get(7)), row)));
    let letters: BTreeMap<i64, Result<ToReplay, Replay>> = letters.collect();
    let event_ids = letters.values().filter_map(|letter| Some(letter.as_ref().ok()?.event.id));
    let mut pending = pending(session, event_ids.collect()).await?;
    let (mut results, mut old, mut accounts) = (Vec::new(), Vec::new(), Vec::new());
    for id in wanted {
        let result = match letters.get(&id) {
            None => Replay::Missing,
            Some(Err(why)) => *why,
            Some(Ok(letter)) if !pending.insert(letter.event.id) => Replay::SentAgain,
            Some(Ok(letter)) => {
                old.push(id);
                accounts.push(letter.event.account.clone());
                Replay::Replayed
            }
        };
        results.push((id, result));
    }
    let new: Vec<Seq> = append(session, &old).await?.into_iter().map(Seq).collect();
    let mut seqs = new.iter().copied();
    let result = |(id, outcome)| match outcome {
        Replay::Replayed => ReplayResult::new(id, seqs.next().ok_or(outcome)),
        _ => ReplayResult::new(id, Err(outcome)),
    };
    Ok((results.into_iter().map(result).collect(), accounts.into_iter().zip(new).collect()))
}

/// The ids of this list of which an event is pending.
async fn pending(session: &Session, ids: Vec<EventId>) -> Result<HashSet<EventId>, Error> {
    let sql = "SELECT ids.id FROM ids JOIN log USING (seq) WHERE ids.id = ANY ($1) AND log.outcome IS NULL";
    let ids: Vec<&[u8]> = ids.iter().map(|id| id.0.as_slice()).collect();
    let rows = session.query(sql, &[&ids]).await?;
    Ok(rows.iter().filter_map(|row| row.get::<_, &[u8]>(0).try_into().ok().map(EventId)).collect())
}

/// Appends the dead letters `old` as new events, with their histories, and deletes them; returns the seqs of the events.
async fn append(session: &Session, old: &[i64]) -> Result<Vec<i64>, Error> {
    let length = i32::try_from(old.len()).unwrap_or(i32::MAX);
    let new = session.query(DRAW, &[&length]).await?;
    let mut new: Vec<i64> = new.iter().map(|row| row.get(0)).collect();
    new.sort_unstable();
    session.execute(APPEND, &[&old, &new]).await?;
    discard(session, old).await?;
    Ok(new)
}

/// Deletes dead letters; returns the ids of those that existed, in the order in which they were given.
pub async fn discard(session: &Session, ids: &[i64]) -> Result<Vec<i64>, Error> {
    // In a fixed order, so that no two processes wait for each other.
    let sql = "SELECT seq FROM dead_letters WHERE seq = ANY ($1) ORDER BY seq FOR UPDATE";
    let there: Vec<i64> = session.query(sql, &[&ids]).await?.iter().map(|row| row.get(0)).collect();
    session.execute("DELETE FROM dead_letters WHERE seq = ANY ($1)", &[&there]).await?;
    session.execute("DELETE FROM dead_keys WHERE seq = ANY ($1)", &[&there]).await?;
    compact::forget_ids_of(session, &there).await?;
    let mut there = BTreeSet::from_iter(there); // an id that is in the list twice existed once
    Ok(ids.iter().copied().filter(|id| there.remove(id)).collect())
}
