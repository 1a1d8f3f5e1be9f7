//! The part of the deduplication index on disk: the table `older_ids`, with ids that do not fit into memory.
//!
//! In: ids that are evicted from memory ([`IdIndex::to_evict`]), a generation at a time, the oldest first. Out: the rows of the log that
//! may have an id. Invariants: an id leaves the memory only when the table has it; the bound of the memory holds also while the file is
//! opened. Deliberately absent: forgetting ids ([`super::compact`]).

use super::id_index::{IdIndex, fingerprint};
use super::query::Query;
use super::schema::{IDS_FORGOTTEN_UP_TO, meta, set_meta};
use crate::domain::{EventId, Seq};
use crate::store::StoreError;
use crate::store::rows::event_id;
use rusqlite::{Connection, params};

/// The ids that are written in one transaction.
pub const PORTION: usize = 500;

/// The name in `meta` of the last seq whose id is in the table.
const UP_TO: &str = "older_ids_up_to";

/// Whether the table has any id.
pub fn exist(connection: &Connection) -> rusqlite::Result<bool> {
    connection.query_row("SELECT EXISTS (SELECT 1 FROM older_ids)", [], |row| row.get(0))
}

/// The rows after the seq ?1 whose ids count, in their order: up to the seq ?2 only those of pending events and of dead letters.
const COUNTING: &str = "SELECT seq, id FROM (
    SELECT seq, id FROM log WHERE ?1 < ?2 AND seq > ?1 AND seq <= ?2 AND seq IN (
        SELECT seq FROM log INDEXED BY log_waiting WHERE outcome IS NULL AND seq <= ?2 UNION SELECT seq FROM dead_letters)
    UNION ALL SELECT seq, id FROM log WHERE seq > max(?1, ?2) AND answered = 0) ORDER BY seq";

/// Reads the ids of the log into memory in one pass. Ids that do not fit into `allowed` bytes are written into the table.
pub fn load(connection: &Connection, allowed: usize) -> rusqlite::Result<IdIndex> {
    let (on_disk, forgotten) = (meta(connection, UP_TO)?, meta(connection, IDS_FORGOTTEN_UP_TO)?);
    let after = on_disk.max(forgotten);
    let seq = |sql| connection.query_row(sql, [after], |row| row.get::<_, i64>(0));
    let last = seq("SELECT coalesce((SELECT max(seq) FROM log), ?1)")?;
    let first = seq("SELECT coalesce((SELECT min(seq) FROM log WHERE seq > ?1), ?1)")?;
    let mut ids = IdIndex::new(allowed, usize::try_from(last - first).unwrap_or(0));
    let mut statement = connection.prepare(COUNTING)?;
    let mut rows = statement.query([on_disk, forgotten])?;
    while let Some(row) = rows.next()? {
        // An id that cannot be read is left out. Its event is found damaged when it is begun.
        let Ok(id) = event_id(row, 1, "log.id") else { continue };
        ids.insert(&id, row.get(0)?);
        while let Some((evicted, last)) = ids.to_evict() {
            let transaction = connection.unchecked_transaction()?;
            insert(&transaction, &evicted)?;
            set_up_to(&transaction, last)?;
            transaction.commit()?;
            ids.drop_up_to(last);
        }
    }
    Ok(ids)
}

/// Writes ids into the table. They must be sorted like the table.
pub fn insert(connection: &Connection, ids: &[(u32, i64)]) -> rusqlite::Result<()> {
    let sql = "INSERT OR IGNORE INTO older_ids (fingerprint, seq) VALUES (?1, ?2)";
    let mut insert = connection.prepare_cached(sql)?;
    ids.iter().try_for_each(|(fingerprint, seq)| insert.execute(params![fingerprint, seq]).map(drop))
}

/// Records that the table has all ids up to the seq `last`.
pub fn set_up_to(connection: &Connection, last: i64) -> rusqlite::Result<()> {
    set_meta(connection, UP_TO, last)
}

/// Deletes the id of the row `seq` of the log.
pub fn delete(connection: &Connection, id: &EventId, seq: Seq) -> Result<(), StoreError> {
    let sql = "DELETE FROM older_ids WHERE fingerprint = ?1 AND seq = ?2";
    connection.run(sql, params![fingerprint(id), seq.0]).map(drop)
}

/// The seqs in the table at which the id may be in the log, the newest first.
pub fn candidates(connection: &Connection, id: &EventId) -> Result<Vec<i64>, StoreError> {
    let sql = "SELECT seq FROM older_ids WHERE fingerprint = ?1 ORDER BY seq DESC";
    connection.all(sql, [fingerprint(id)], |row| Ok(row.get(0)?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::sqlite::schema;
    use rusqlite::StatementStatus;

    fn id(n: u32) -> EventId {
        let bytes = n.wrapping_mul(2_654_435_761).to_be_bytes();
        EventId(std::array::from_fn(|i| bytes[i % 4]))
    }

    /// A log whose rows have these ids and no outcome, or this one.
    fn log(ids: u32, outcome: Option<i64>) -> Connection {
        let connection = Connection::open_in_memory().expect("opened");
        schema::create(&connection, &[0; 32]).expect("made");
        let transaction = connection.unchecked_transaction().expect("begun");
        for n in 1..=ids {
            let sql = "INSERT INTO log (seq, account, id, keys, received_at, outcome) VALUES (?1, 1, ?2, x'', 0, ?3)";
            transaction.execute(sql, params![n, id(n).0.as_slice(), outcome]).expect("inserted");
        }
        transaction.commit().expect("committed");
        connection
    }

    #[test]
    fn the_bound_on_memory_is_kept_while_the_ids_are_read_and_none_is_lost() {
        const IDS: u32 = 20_000;
        let connection = log(IDS, Some(28));
        for round in 1..=2 {
            let allowed = 128 * 1024;
            let ids = load(&connection, allowed).expect("read");
            assert!(ids.memory() <= allowed && ids.memory() > allowed / 2, "round {round}: {} bytes", ids.memory());
            for n in 1..=IDS {
                let seqs = ids.candidates(&id(n));
                let older = candidates(&connection, &id(n)).expect("read");
                assert_eq!([seqs, older].concat(), [i64::from(n)], "{n}");
            }
            assert!(exist(&connection).expect("read"));
        }
    }

    #[test]
    fn pending_events_are_sorted_only_where_other_ids_are_forgotten() {
        const IDS: i32 = 10_000;
        let connection = log(IDS.unsigned_abs(), None);
        for forgotten in [0, IDS / 100] {
            let mut statement = connection.prepare(COUNTING).expect("prepared");
            assert_eq!(statement.query_map([0, forgotten], |_| Ok(())).expect("begun").count(), 10_000);
            let steps = statement.get_status(StatementStatus::VmStep);
            assert!(steps < 20 * IDS, "{steps} steps of SQLite's machine, if ids up to {forgotten} are forgotten");
        }
    }
}
