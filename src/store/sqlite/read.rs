//! Reading the log: pending entries in log order, with the affiliates that their keys lead to.

use super::affiliates::{find_affiliate, own_affiliate_key};
use super::query::Query;
use super::remembered;
use crate::domain::{AccountName, Seq};
use crate::scheduling::Entry;
use crate::store::rows::{attempts, pending};
use crate::store::{StoreError, user_keys};
use rusqlite::{Connection, params};

/// Up to `limit` pending entries of `account` with a seq above `after`. An entry on a damaged page has only its seq.
pub fn read(
    connection: &Connection,
    account: &AccountName,
    after: Seq,
    limit: usize,
) -> Result<Vec<Entry>, StoreError> {
    let snapshot = connection.unchecked_transaction()?;
    let mut entries: Vec<Entry> = Vec::new();
    loop {
        let read = read_into(&mut entries, &snapshot, account, after, limit);
        if !matches!(read, Err(StoreError::Corrupt(_))) {
            return read.map(|()| entries);
        }
        let last = entries.last().map_or(after, |last| last.seq);
        // Read from the index alone.
        let sql = "SELECT seq FROM log INDEXED BY log_waiting
                   WHERE account = (SELECT account FROM accounts WHERE name = ?1) AND outcome IS NULL AND seq > ?2
                   ORDER BY seq LIMIT 1";
        let next = snapshot.one(sql, params![account.as_str(), last.0], |row| Ok(Seq(row.get(0)?)))?;
        let Some(next) = next else { return Ok(entries) };
        entries.push(pending::unreadable_entry(next));
    }
}

/// Continues after the last of `entries`, or after `after`.
fn read_into(
    entries: &mut Vec<Entry>,
    connection: &Connection,
    account: &AccountName,
    after: Seq,
    limit: usize,
) -> Result<(), StoreError> {
    let sql = format!(
        "SELECT {}, {}, log.seq FROM log INDEXED BY log_waiting LEFT JOIN attempts USING (seq)
         WHERE log.account = (SELECT account FROM accounts WHERE name = ?1) AND log.outcome IS NULL AND log.seq > ?2
         ORDER BY log.seq LIMIT ?3",
        pending::ENTRY_COLUMNS,
        attempts::COLUMNS
    );
    let last = entries.last().map_or(after, |last| last.seq);
    let limit = i64::try_from(limit - entries.len()).unwrap_or(i64::MAX);
    connection.each(&sql, params![account.as_str(), last.0, limit], |row| {
        let mut entry = pending::entry(Seq(row.get("seq")?), row);
        for key in pending::user_keys_of(&entry) {
            for user in remembered::shared_lanes(connection, &key)? {
                pending::add_affiliate(&mut entry, user);
            }
            let Some(affiliate) = find_affiliate(connection, &user_keys::tagged(&key))? else { continue };
            if let Some(own) = own_affiliate_key(connection, affiliate)? {
                pending::add_affiliate(&mut entry, own);
            }
        }
        entry.followers = still_pending(connection, &entry.followers)?;
        entries.push(entry);
        Ok(false)
    })
}

/// The events of this list that are pending.
pub fn still_pending(connection: &Connection, seqs: &[Seq]) -> Result<Vec<Seq>, StoreError> {
    let pending = seqs.iter().map(|seq| Ok(is_pending(connection, *seq)?.then_some(*seq)));
    pending.filter_map(Result::transpose).collect()
}

/// Whether an event is pending.
pub fn is_pending(connection: &Connection, seq: Seq) -> Result<bool, StoreError> {
    connection.exists("SELECT 1 FROM log WHERE seq = ?1 AND outcome IS NULL", [seq.0])
}
