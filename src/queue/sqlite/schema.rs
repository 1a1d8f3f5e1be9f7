//! The tables, and what keeps their file small and clean.
//!
//! `events` waits in lanes: a lane is the line of one user, its head the earliest in it. `ready_at` is NULL for an event
//! behind another of its lane, so the partial index holds heads only and a claim costs the same at any backlog. A lease is a
//! `ready_at` in the future. One kind of event is ready without being a head: one that was leased when its lane became one
//! with another, until it is settled; hence [`IS_HEAD`] wherever it matters.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// Raised with every change of the tables; [`migrate`] says how to get there.
const VERSION: i64 = 3;

/// The condition that an event has none of its lane ahead of it.
pub const IS_HEAD: &str =
    "NOT EXISTS (SELECT 1 FROM events AS ahead WHERE ahead.lane = events.lane AND ahead.seq < events.seq)";

const TABLES: &str = "
-- What waits, in the order of arrival.
CREATE TABLE events (
    seq           INTEGER PRIMARY KEY,
    account       TEXT    NOT NULL,
    id            BLOB    NOT NULL,
    keys          BLOB    NOT NULL, -- see keys.rs
    lane          INTEGER NOT NULL,
    not_before    INTEGER NOT NULL, -- ms; received_at, or what the last retry asked for
    ready_at      INTEGER,          -- ms; not_before; NULL: behind another; while leased: when the lease expires
    lease         INTEGER NOT NULL DEFAULT 0, -- 0 free, 1 leased, 2 interrupted
    claim         INTEGER NOT NULL DEFAULT 0, -- counts claims: the number on the ticket
    failures      INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    received_at   INTEGER NOT NULL,
    progress      TEXT,
    body          BLOB    NOT NULL
);
CREATE INDEX events_ready ON events (account, ready_at) WHERE ready_at IS NOT NULL;
CREATE INDEX events_lane ON events (lane);
CREATE INDEX events_leased ON events (lease) WHERE lease = 1; -- to be found when the file is opened

-- The lane of each user key that waits, and how many events wait under it.
CREATE TABLE lanes (
    key     INTEGER PRIMARY KEY,
    lane    INTEGER NOT NULL,
    waiting INTEGER NOT NULL
);

-- Event ids recorded, for deduplication. `at` is when; NULL while the event waits, so that its id cannot be forgotten.
CREATE TABLE seen (
    id BLOB PRIMARY KEY,
    at INTEGER
) WITHOUT ROWID;
CREATE INDEX seen_at ON seen (at) WHERE at IS NOT NULL;

-- Affiliates remembered, and the user keys that lead to them.
CREATE TABLE affiliates (
    account TEXT    NOT NULL,
    code    TEXT    NOT NULL,
    id      INTEGER,
    found   INTEGER NOT NULL, -- 1: existed before this service met it
    sent    TEXT    NOT NULL, -- fingerprint
    PRIMARY KEY (account, code)
) WITHOUT ROWID;
CREATE TABLE links (
    key      BLOB    PRIMARY KEY,
    is_email INTEGER NOT NULL,
    account  TEXT    NOT NULL,
    code     TEXT    NOT NULL
) WITHOUT ROWID;
CREATE INDEX links_affiliate ON links (account, code);

-- What can never be carried out. A body that was erased is NULL.
CREATE TABLE dead_letters (
    seq         INTEGER PRIMARY KEY,
    account     TEXT    NOT NULL,
    id          BLOB    NOT NULL,
    code        TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    failures    INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    died_at     INTEGER NOT NULL,
    body        BLOB
);
CREATE TABLE dead_keys (
    key BLOB    NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (key, seq)
) WITHOUT ROWID;
";

/// Since version 2, an event's history, and dead letters that can be replayed. Of those before, the keys are not known.
const VERSION_2: &str = "
ALTER TABLE events ADD COLUMN history TEXT;       -- see history.rs
ALTER TABLE dead_letters ADD COLUMN history TEXT;
ALTER TABLE dead_letters ADD COLUMN keys BLOB;    -- as in events; NULL: erased
CREATE INDEX dead_keys_seq ON dead_keys (seq);
";

/// Since version 3, API keys of accounts that are not configured.
const VERSION_3: &str = "
CREATE TABLE sealed_keys (
    account TEXT PRIMARY KEY,
    sealed  BLOB NOT NULL -- nonce and sealed key pair
) WITHOUT ROWID;
";

/// What SQLite may hold in memory: enough for the inner pages of a million events.
const CACHE_KIB: i32 = 16 * 1024;

/// How long the log may grow (16 MiB) before it is moved into the file: a page that many commits changed is moved once.
const LOG_PAGES: i32 = 4_000;

/// Makes the connection what the promises need. `FULL` syncs the WAL at every commit; deleted content is overwritten.
pub fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?; // before the first table
    connection.pragma_update(None, "journal_mode", "WAL")?;
    connection.pragma_update(None, "synchronous", "FULL")?;
    connection.pragma_update(None, "secure_delete", "ON")?;
    connection.pragma_update(None, "cache_size", -CACHE_KIB)?;
    connection.pragma_update(None, "wal_autocheckpoint", LOG_PAGES)?;
    // Plans do not depend on what is bound; else SQLite compiles many a statement anew each time it is run.
    connection.set_db_config(DbConfig::SQLITE_DBCONFIG_ENABLE_QPSG, true)?;
    connection.set_prepared_statement_cache_capacity(128);
    Ok(())
}

/// The version of a file made by a newer release, if it is one; else the tables are there when this returns.
pub fn migrate(connection: &mut Connection, new_hash_key: &[u8; 32]) -> rusqlite::Result<Option<i64>> {
    let transaction = connection.transaction()?;
    let version: i64 = transaction.pragma_query_value(None, "user_version", |row| row.get(0))?;
    if version > VERSION {
        return Ok(Some(version));
    }
    if version == 0 {
        transaction.execute_batch("CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;")?;
        transaction.execute("INSERT INTO meta VALUES ('hash_key', ?1)", [new_hash_key.as_slice()])?;
        transaction.execute_batch(TABLES)?;
    }
    if version < 2 {
        transaction.execute_batch(VERSION_2)?;
    }
    if version < 3 {
        transaction.execute_batch(VERSION_3)?;
        transaction.pragma_update(None, "user_version", VERSION)?;
    }
    transaction.commit()?;
    Ok(None)
}

/// Returns a portion of the free pages to the file system; says whether more remain.
pub fn give_back_space(connection: &Connection) -> rusqlite::Result<bool> {
    let mut statement = connection.prepare("PRAGMA incremental_vacuum(1000)")?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {} // a page per step
    connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0)).map(|free| free > 0)
}

/// Empties the WAL, which still holds what was deleted.
pub fn empty_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
