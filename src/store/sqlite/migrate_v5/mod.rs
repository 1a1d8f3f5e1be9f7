//! Migration of a file of version 5 (a queue with lanes, leases and a write buffer) to version 10 (an event log).
//!
//! In: a file of version 5, in a transaction. Out: the same file with the tables of version 10. Invariants: pending events and dead
//! letters keep their numbers, and no number of a dead letter, of a discarded one either, is given again; memory is bounded by
//! [`CACHE_KIB`] and [`ids::PORTION`], however large the file. The disk needs room for the file twice more (in the WAL, and
//! until the next compaction in the file). Measured: 100,000 waiting events and a million ids take 3 seconds and 98 MB of memory,
//! with a million affiliates as well 15 seconds and 125 MB. Deliberately absent: versions 1 to 4, which release 0.1.0
//! migrates to version 5.

mod affiliates;
mod attempts;
mod buffer;
mod dead_letters;
mod events;
mod ids;
#[cfg(test)]
mod tests;

use super::schema;
use crate::domain::HashKey;
use rusqlite::Transaction;

/// What SQLite may hold in memory meanwhile: keys are hashes, so their rows lie at random places.
const CACHE_KIB: i32 = 64 * 1024;

/// The tables of version 5. All are renamed, because version 10 uses some of the names.
const TABLES_5: [&str; 12] = [
    "affiliates",
    "changes",
    "dead_keys",
    "dead_letters",
    "events",
    "leases",
    "meta",
    "ready",
    "sealed_keys",
    "seen",
    "users",
    "waiting",
];

/// Numbers for the names of accounts; sealed keys, which need no change.
const ACCOUNTS_AND_SEALED_KEYS: &str = "
INSERT INTO accounts (name)
    SELECT account FROM v5_events UNION SELECT account FROM v5_dead_letters UNION SELECT account FROM v5_affiliates;
INSERT INTO sealed_keys (account, sealed) SELECT account, sealed FROM v5_sealed_keys;
";

/// No number up to the highest one ever given is given again: `last_letter` may be that of a discarded dead letter. Every event so far may
/// have its former id.
const NEXT_SEQ: &str = "
INSERT INTO meta (name, value) SELECT 'next_seq', 1 + max(
    (SELECT coalesce(max(seq), 0) FROM log),
    (SELECT coalesce(max(value), 0) FROM v5_meta WHERE name = 'last_letter'));
INSERT INTO meta (name, value) SELECT 'former_ids_below', value FROM meta WHERE name = 'next_seq';
";

/// Makes the tables of version 10 of those of version 5.
pub fn migrate(transaction: &Transaction<'_>) -> rusqlite::Result<()> {
    let cache: i64 = transaction.pragma_query_value(None, "cache_size", |row| row.get(0))?;
    transaction.pragma_update(None, "cache_size", -CACHE_KIB)?;
    let hash_key = transaction.query_row("SELECT value FROM meta WHERE name = 'hash_key'", [], |row| row.get(0))?;
    transaction.execute_batch("DROP INDEX dead_keys_seq")?; // version 10 has one of this name
    for table in TABLES_5 {
        transaction.execute_batch(&format!("ALTER TABLE {table} RENAME TO v5_{table}"))?;
    }
    schema::create(transaction, &hash_key)?;
    buffer::flush(transaction)?;
    transaction.execute_batch(ACCOUNTS_AND_SEALED_KEYS)?;
    events::migrate(transaction)?;
    attempts::migrate(transaction)?;
    dead_letters::migrate(transaction)?;
    affiliates::migrate(transaction, &HashKey::new(&hash_key))?;
    ids::migrate(transaction)?;
    transaction.execute_batch(NEXT_SEQ)?;
    for table in TABLES_5 {
        transaction.execute_batch(&format!("DROP TABLE v5_{table}"))?;
    }
    transaction.pragma_update(None, "cache_size", cache)
}
