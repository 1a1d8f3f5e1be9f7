//! The tables of version 10, and the settings of every connection. Files of earlier versions are migrated to them ([`super::migrations`],
//! [`super::migrate_v5`]).
//!
//! Appending writes in sequence only: a row of `log`, an entry of its partial index, a row of `bodies`. Rows at random places
//! are written when an event is settled (`links`), or for the few that fail. State derived from the log (which events share a
//! user, which ids are known) is in memory: see [`crate::store`] and [`crate::scheduling`].

use rusqlite::config::DbConfig;
use rusqlite::{Connection, OptionalExtension, ToSql};
use std::time::Duration;

/// The `PRAGMA user_version` of these tables, which every change of them raises.
pub const VERSION: i64 = 10;

/// This release.
pub const RELEASE: &str = env!("CARGO_PKG_VERSION");

/// The tables.
const TABLES: &str = "
-- Single values: 'hash_key' (32 bytes), 'next_seq' (as of the last compaction: no seq below it is assigned again),
-- 'older_ids_up_to' (up to this seq the ids of the log are found in older_ids), 'ids_forgotten_up_to' (up to this seq only the ids of
-- pending events and of dead letters count), 'former_ids_below' (events below this seq may have
-- their former id), 'probes', 'open' (see clean_shutdown.rs), 'release' (that opened the file last), 'list 1' (how far Refersion's list of
-- the affiliates of account 1 was read).
CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;

-- Accounts, by a small number. health: opaque text.
CREATE TABLE accounts (account INTEGER PRIMARY KEY, name TEXT NOT NULL UNIQUE, health TEXT);

-- Every event, in the order of its commit, until the deduplication window and that of the ledger have passed.
CREATE TABLE log (
    seq         INTEGER PRIMARY KEY,
    account     INTEGER NOT NULL,
    id          BLOB    NOT NULL, -- 16 bytes
    keys        BLOB    NOT NULL, -- see user_keys.rs; empty once its user was forgotten
    received_at INTEGER NOT NULL, -- ms
    outcome     INTEGER,          -- NULL: pending; else the number of an OutcomeCode
    source      TEXT,             -- the id of the source at Segment, if the event said one
    answered    INTEGER NOT NULL DEFAULT 0 -- 1: answered without being appended; it has an outcome and no body, and its id is in no index
);
-- Pending events, by account and seq.
CREATE INDEX log_waiting ON log (account) WHERE outcome IS NULL;

-- Bodies of pending events and of dead letters; see bodies.rs and body.rs. event: the seq of the event, if its body was moved to this
-- place; NULL: the place is the seq. An erased body is as many zero bytes.
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, event INTEGER, body BLOB NOT NULL);
CREATE INDEX bodies_moved ON bodies (event) WHERE event IS NOT NULL;

-- Pending events that were begun with a mark, or failed.
CREATE TABLE attempts (
    seq         INTEGER PRIMARY KEY,
    begun       INTEGER NOT NULL, -- 1: its progress was saved, and it was not settled since
    followers   BLOB,             -- seqs begun in one group with it, 8 bytes each, big-endian; NULL: none
    progress    TEXT,             -- JSON; NULL: none
    failures    INTEGER NOT NULL,
    failing_for INTEGER NOT NULL, -- ms
    wait        INTEGER,          -- ms; NULL: no wait
    noted_at    INTEGER,          -- ms; when the wait was written
    history     TEXT              -- see history.rs
);

-- Affiliates remembered.
CREATE TABLE affiliates (
    affiliate      INTEGER PRIMARY KEY,
    account        INTEGER NOT NULL,
    code           TEXT    NOT NULL,
    id             INTEGER,
    found          INTEGER NOT NULL, -- 1: it existed before this service met it
    sent           BLOB    NOT NULL, -- see SentAttributes
    email_conflict INTEGER NOT NULL  -- 1: its e-mail could not be changed, because another affiliate has the new one
);
CREATE INDEX affiliates_email_conflict ON affiliates (affiliate) WHERE email_conflict = 1;

-- The keys that lead to an affiliate, one of them its own; see user_keys.rs.
CREATE TABLE links (key BLOB PRIMARY KEY, affiliate INTEGER NOT NULL) WITHOUT ROWID;
CREATE INDEX links_affiliate ON links (affiliate);

-- What can never be carried out. erased: 1 if its body was. keys: NULL then.
CREATE TABLE dead_letters (
    seq         INTEGER PRIMARY KEY,
    account     INTEGER NOT NULL,
    id          BLOB    NOT NULL,
    code        TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    failures    INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    died_at     INTEGER NOT NULL,
    erased      INTEGER NOT NULL,
    keys        BLOB,
    history     TEXT
);
CREATE TABLE dead_keys (key BLOB NOT NULL, seq INTEGER NOT NULL, PRIMARY KEY (key, seq)) WITHOUT ROWID;
CREATE INDEX dead_keys_seq ON dead_keys (seq);

-- Keys (16 bytes, without tag) of users that were deleted, and when.
CREATE TABLE deleted_users (
    key         BLOB PRIMARY KEY,
    deleted_at  INTEGER NOT NULL, -- ms; no newer than the receipt
    received_at INTEGER NOT NULL  -- ms; of the event that deleted them
) WITHOUT ROWID;
CREATE INDEX deleted_users_received ON deleted_users (received_at);

-- Ids that do not fit into the index in memory any more; see id_index.rs.
CREATE TABLE older_ids (
    fingerprint INTEGER NOT NULL,
    seq         INTEGER NOT NULL,
    PRIMARY KEY (fingerprint, seq)
) WITHOUT ROWID;

-- Blocks of successive rows of the log, in order; see key_blocks.rs. filter: of the keys in it; NULL: to be made anew.
CREATE TABLE key_blocks (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, filter BLOB);
CREATE INDEX key_blocks_without_filter ON key_blocks (last) WHERE filter IS NULL;

-- API keys of accounts that are not configured: nonce and sealed key pair.
CREATE TABLE sealed_keys (account TEXT PRIMARY KEY, sealed BLOB NOT NULL) WITHOUT ROWID;

-- What is remembered of users who are no affiliates yet. Keys: 16 bytes, without tag.
CREATE TABLE remembered_traits (
    key        BLOB PRIMARY KEY, -- of the userId
    account    INTEGER NOT NULL,
    email      BLOB,             -- of the e-mail address that is in it; NULL: none is
    expires_at INTEGER NOT NULL, -- ms
    size       INTEGER NOT NULL, -- bytes of sealed
    names      TEXT    NOT NULL, -- of what is in it, on one line each
    sealed     BLOB    NOT NULL  -- see RememberedTraits; sealed with STORE_SEAL_KEY
);
CREATE INDEX remembered_traits_email ON remembered_traits (email) WHERE email IS NOT NULL;
CREATE INDEX remembered_traits_age ON remembered_traits (account, expires_at, size);
CREATE INDEX remembered_traits_expires ON remembered_traits (expires_at);
";

/// The name in `meta` of the last seq up to which ids count only while their events are pending or dead letters.
pub const IDS_FORGOTTEN_UP_TO: &str = "ids_forgotten_up_to";

/// The name in `meta` of the seq below which events may have their former id; none in a file that was not migrated.
pub const FORMER_IDS_BELOW: &str = "former_ids_below";

/// The name in `meta` of the lowest next seq. It is written when rows of the log are deleted, which would otherwise show it.
pub const NEXT_SEQ: &str = "next_seq";

/// SQLite's cache for the writer: the inner pages of a million events. Measured: 16 MiB are no faster.
const CACHE_KIB: i32 = 4 * 1024;

/// SQLite's cache for a connection that reads.
const READER_CACHE_KIB: i32 = 1024;

/// The page size of a new file. A settlement changes rows at random places, each of which costs a page in the WAL and one in the file. With
/// pages of 8 KiB it writes half as much again, and appending is no cheaper.
pub const PAGE: i32 = 4 * 1024;

/// How long SQLite waits for another process that writes to the file, or recovers it.
pub const BUSY_TIMEOUT: Duration = Duration::from_secs(5);

/// Sets up the connection that writes. `synchronous=FULL` syncs the WAL at every commit. `secure_delete` overwrites deleted content with
/// zeros, in the pages of the file and, through it, in later pages of the WAL; earlier pages are gone when compaction has emptied the WAL.
/// A copy that SQLite leaves when it moves a row is not overwritten: see [`super::bodies`].
pub fn prepare_writer(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE)?; // both before the first table
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    prepare_statements(connection)
}

/// Sets up a connection that only reads.
pub fn prepare_reader(connection: &Connection) -> rusqlite::Result<()> {
    keep_wal_on_close(connection, true)?;
    connection.pragma_update(None, "query_only", "ON")?;
    connection.pragma_update(None, "cache_size", -READER_CACHE_KIB)?;
    prepare_statements(connection)
}

/// Whether the WAL stays as it is when this connection closes as the last one. Otherwise it is written into the file and removed.
pub fn keep_wal_on_close(connection: &Connection, keep: bool) -> rusqlite::Result<()> {
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_NO_CKPT_ON_CLOSE, keep).map(drop)
}

/// Query plans do not depend on bound values; otherwise SQLite recompiles many statements at every run.
fn prepare_statements(connection: &Connection) -> rusqlite::Result<()> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// Makes the tables of an empty file, within the caller's transaction.
pub fn create(connection: &Connection, new_hash_key: &[u8; 32]) -> rusqlite::Result<()> {
    connection.execute_batch(TABLES)?;
    connection.pragma_update(None, "user_version", VERSION)?;
    set_meta(connection, "hash_key", new_hash_key.as_slice())
}

/// Whether the file has tables, and none of them are of this service: its first transaction makes all of them, with their version.
pub fn is_of_another_program(connection: &Connection) -> rusqlite::Result<bool> {
    let sql = "SELECT (SELECT user_version FROM pragma_user_version) = 0 AND EXISTS (SELECT 1 FROM sqlite_schema)";
    connection.query_row(sql, [], |row| row.get(0))
}

/// The release that opened the file last, if it recorded its name: releases before 0.4.0 did not.
pub fn release(connection: &Connection) -> rusqlite::Result<Option<String>> {
    let release = connection.query_row("SELECT value FROM meta WHERE name = 'release'", [], |row| row.get(0));
    release.optional()
}

/// A number in the table `meta`; 0 if there is none of this name.
pub fn meta(connection: &Connection, name: &str) -> rusqlite::Result<i64> {
    let value = connection.query_row("SELECT value FROM meta WHERE name = ?1", [name], |row| row.get(0));
    Ok(value.optional()?.unwrap_or(0))
}

/// Writes a value into the table `meta`.
pub fn set_meta(connection: &Connection, name: &str, value: impl ToSql) -> rusqlite::Result<()> {
    let sql = "INSERT INTO meta VALUES (?1, ?2) ON CONFLICT (name) DO UPDATE SET value = ?2 WHERE value <> ?2";
    connection.prepare_cached(sql)?.execute((name, value)).map(drop)
}
