//! Reading the log: pending entries in log order, with the affiliates that their keys lead to.

use super::affiliates::{find_affiliate, own_key};
use super::attempts::{self, Attempts};
use super::begin;
use super::error::is_corruption;
use crate::domain::{AccountName, EventId, LaneKey, Seq, UserKey};
use crate::scheduling::Entry;
use crate::store::keys;
use rusqlite::{Connection, params};

/// At most so many entries are read in one transaction.
pub const PORTION: usize = 2_000;

/// Up to `limit` pending entries of `account` with a seq above `after`.
///
/// An id, keys and attempts that cannot be read are left out; of an entry on a damaged page only the seq is returned. When such an
/// event is begun, it is reported as damaged.
pub fn read(connection: &Connection, account: &AccountName, after: Seq, limit: usize) -> rusqlite::Result<Vec<Entry>> {
    let snapshot = connection.unchecked_transaction()?;
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let last = entries.last().map_or(after, |last| last.seq);
        match read_into(&mut entries, &snapshot, account, last, limit) {
            Err(error) if is_corruption(&error) => {
                let last = entries.last().map_or(after, |last| last.seq);
                entries.push(unreadable(next_waiting(&snapshot, account, last)?));
            }
            read => return read.map(|()| entries),
        }
    }
}

fn read_into(
    entries: &mut Vec<Entry>,
    connection: &Connection,
    account: &AccountName,
    after: Seq,
    limit: usize,
) -> rusqlite::Result<()> {
    let sql = format!(
        "SELECT log.seq, log.keys, log.id, {} FROM log INDEXED BY log_waiting LEFT JOIN attempts USING (seq)
         WHERE log.account = (SELECT account FROM accounts WHERE name = ?1) AND log.outcome IS NULL AND log.seq > ?2
         ORDER BY log.seq LIMIT ?3",
        attempts::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let limit = i64::try_from(limit - entries.len()).unwrap_or(i64::MAX);
    let mut rows = statement.query(params![account.as_str(), after.0, limit])?;
    while let Some(row) = rows.next()? {
        let users = row.get_ref(1)?.as_blob().ok().and_then(keys::from_blob).unwrap_or_default();
        let attempts = Attempts::read(row, 3);
        let attempted = attempts.as_ref().map_or(true, Attempts::attempted);
        let attempts = attempts.unwrap_or_default();
        entries.push(Entry {
            seq: Seq(row.get(0)?),
            id: begin::id(row, 2).unwrap_or(EventId([0; 16])),
            keys: lane_keys(connection, &users)?,
            attempted,
            group: still_pending(connection, attempts.followers)?,
            retry: attempts.retry,
        });
    }
    Ok(())
}

/// The seq of the next pending entry, read from the index alone.
fn next_waiting(connection: &Connection, account: &AccountName, after: Seq) -> rusqlite::Result<Seq> {
    let sql = "SELECT seq FROM log INDEXED BY log_waiting
               WHERE account = (SELECT account FROM accounts WHERE name = ?1) AND outcome IS NULL AND seq > ?2
               ORDER BY seq LIMIT 1";
    let mut statement = connection.prepare_cached(sql)?;
    statement.query_row(params![account.as_str(), after.0], |row| row.get(0)).map(Seq)
}

fn unreadable(seq: Seq) -> Entry {
    Entry { seq, id: EventId([0; 16]), keys: Vec::new(), attempted: true, group: Vec::new(), retry: None }
}

fn lane_keys(connection: &Connection, users: &[UserKey]) -> rusqlite::Result<Vec<LaneKey>> {
    let mut lane: Vec<LaneKey> = users.iter().copied().map(LaneKey::User).collect();
    for key in users {
        let Some(affiliate) = find_affiliate(connection, &keys::tagged(key))? else { continue };
        let own = own_key(connection, affiliate)?.map(LaneKey::Affiliate);
        lane.extend(own.filter(|own| !lane.contains(own)));
    }
    Ok(lane)
}

fn still_pending(connection: &Connection, mut seqs: Vec<Seq>) -> rusqlite::Result<Vec<Seq>> {
    let mut statement = connection.prepare_cached("SELECT 1 FROM log WHERE seq = ?1 AND outcome IS NULL")?;
    let mut gone = Vec::new();
    for seq in &seqs {
        if !statement.exists([seq.0])? {
            gone.push(*seq);
        }
    }
    seqs.retain(|seq| !gone.contains(seq));
    Ok(seqs)
}
