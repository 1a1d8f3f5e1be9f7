//! Migration of the ids of settled events: a repeat stays a duplicate until the deduplication window has passed.
//!
//! In: `v5_seen`. Out: rows of `log` with the outcome [`OutcomeCode::Unrecorded`], without keys, and of the account 0, which has no name:
//! version 5 kept neither. Ids of waiting events and dead letters are in the log already. The numbers of settled events were given again by
//! version 5 after each restart, so they get new numbers: in the order in which they were received, after the highest number that was
//! given. Memory is bounded by [`PORTION`], and nothing is sorted on disk.

use crate::delivery::OutcomeCode;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// The ids that are sorted at a time, of 24 bytes each; more if more were received in one minute.
pub const PORTION: u64 = 1_000_000;

/// The account of events of which only the id is known.
const NO_ACCOUNT: i64 = 0;

/// How long the parts are in which ids are counted, in milliseconds.
const MINUTE: i64 = 60_000;

/// The highest number that was ever given.
const LAST_SEQ: &str = "SELECT max((SELECT coalesce(max(seq), 0) FROM log),
    (SELECT coalesce(max(value), 0) FROM v5_meta WHERE name = 'last_letter'))";

/// Ids received from ?1 to ?2 whose events neither wait nor are dead letters.
const SETTLED: &str = "SELECT at, id FROM v5_seen WHERE at BETWEEN ?1 AND ?2
    AND NOT EXISTS (SELECT 1 FROM log WHERE log.seq = v5_seen.seq AND log.id = v5_seen.id)";

/// Appends the ids of settled events to the log.
pub fn migrate(connection: &Connection) -> rusqlite::Result<()> {
    let mut seq: i64 = connection.query_row(LAST_SEQ, [], |row| row.get(0))?;
    // All portions are known before the first row is appended, and no appended row is one of theirs.
    for (from, until) in portions(connection)? {
        for (at, id) in settled(connection, from, until)? {
            seq += 1;
            let sql = "INSERT INTO log (seq, account, id, keys, received_at, outcome) VALUES (?1, ?2, ?3, x'', ?4, ?5)";
            let values = params![seq, NO_ACCOUNT, id, at, OutcomeCode::Unrecorded.number()];
            connection.prepare_cached(sql)?.execute(values)?;
        }
    }
    Ok(())
}

/// From when until when the ids of each portion were received, in order.
fn portions(connection: &Connection) -> rusqlite::Result<Vec<(i64, i64)>> {
    let mut minutes: BTreeMap<i64, u64> = BTreeMap::new();
    let mut statement = connection.prepare("SELECT at FROM v5_seen")?;
    let mut rows = statement.query([])?;
    while let Some(row) = rows.next()? {
        *minutes.entry(row.get::<_, i64>(0)?.div_euclid(MINUTE)).or_default() += 1;
    }
    let (mut portions, mut count): (Vec<(i64, i64)>, u64) = (Vec::new(), 0);
    for (minute, ids) in minutes {
        let (from, until) = (minute * MINUTE, minute * MINUTE + (MINUTE - 1));
        match portions.last_mut() {
            Some(portion) if count + ids <= PORTION => portion.1 = until,
            _ => {
                portions.push((from, until));
                count = 0;
            }
        }
        count += ids;
    }
    Ok(portions)
}

fn settled(connection: &Connection, from: i64, until: i64) -> rusqlite::Result<Vec<(i64, [u8; 16])>> {
    let mut statement = connection.prepare_cached(SETTLED)?;
    let ids = statement.query_map([from, until], |row| Ok((row.get(0)?, row.get(1)?)))?;
    let mut ids = ids.collect::<rusqlite::Result<Vec<(i64, [u8; 16])>>>()?;
    ids.sort_unstable();
    Ok(ids)
}
