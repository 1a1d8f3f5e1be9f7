//! The tables, and what keeps their file small and clean.
//!
//! `events` waits in lanes: a lane is the line of one user, its head the earliest in it. An event is in one of three states:
//! `ready` (the head of its lane, free), leased (in `leases`), or behind another of its lane (in neither). So a claim finds
//! heads only, costs the same at any backlog, and moves two small rows instead of a large one. Most lanes hold one event: it
//! needs no entry in `events_lane`, for a lane is named after whoever began it. What lies at random places (an
//! event's id, its user's keys) is written there in bulk, and meanwhile stands in `changes`.

use rusqlite::Connection;
use rusqlite::config::DbConfig;

/// Raised with every change of the tables; `older` says how to get there.
pub const VERSION: i64 = 5;

/// Kept since the first version: single values by name, the key of all hashes among them.
const META: &str = "CREATE TABLE meta (name TEXT PRIMARY KEY, value BLOB NOT NULL) WITHOUT ROWID;";

/// What changed with version 4; all else but [`SINCE_5`] is as before.
pub const SINCE_4: &str = "
-- What waits or is being carried out, in the order of arrival.
CREATE TABLE events (
    seq           INTEGER PRIMARY KEY,
    account       TEXT    NOT NULL,
    id            BLOB    NOT NULL,
    keys          BLOB    NOT NULL, -- see keys.rs
    lane          INTEGER,          -- NULL: its own seq, for it began the lane
    received_at   INTEGER NOT NULL, -- ms
    not_before    INTEGER,          -- ms; what the last retry asked for; NULL: received_at
    interrupted   INTEGER NOT NULL DEFAULT 0, -- 1: the last attempt ended without a word
    failures      INTEGER NOT NULL DEFAULT 0,
    failing_since INTEGER,
    progress      TEXT,
    history       TEXT,             -- see history.rs
    body          BLOB    NOT NULL  -- see body.rs
);
CREATE INDEX events_lane ON events (lane) WHERE lane IS NOT NULL;

-- The heads that are free, and from when on each may be claimed (ms).
CREATE TABLE ready (
    account TEXT    NOT NULL,
    at      INTEGER NOT NULL,
    seq     INTEGER NOT NULL,
    PRIMARY KEY (account, at, seq)
) WITHOUT ROWID;

-- Events that are leased.
CREATE TABLE leases (
    account  TEXT    NOT NULL,
    seq      INTEGER NOT NULL,
    claim    INTEGER NOT NULL, -- the number on the ticket
    until    INTEGER NOT NULL, -- ms
    progress TEXT,             -- since the claim
    PRIMARY KEY (account, seq)
) WITHOUT ROWID;

-- How many events of each account wait. None: no row.
CREATE TABLE waiting (
    account TEXT    PRIMARY KEY,
    events  INTEGER NOT NULL
) WITHOUT ROWID;

-- The users that wait or are known, by the first half of a key (see keys.rs): their lane, how many events wait under the key,
-- and the affiliate that the key leads to.
CREATE TABLE users (
    key       INTEGER PRIMARY KEY,
    waiting   INTEGER NOT NULL, -- 0: lane is NULL
    lane      INTEGER,
    affiliate INTEGER,
    entry     BLOB              -- the whole key; NULL: it leads to no affiliate
);
CREATE INDEX users_affiliate ON users (affiliate) WHERE affiliate IS NOT NULL;

-- Affiliates remembered.
CREATE TABLE affiliates (
    affiliate INTEGER PRIMARY KEY,
    account   TEXT    NOT NULL,
    code      TEXT    NOT NULL,
    id        INTEGER,
    found     INTEGER NOT NULL, -- 1: existed before this service met it
    sent      TEXT    NOT NULL  -- fingerprint
);
CREATE UNIQUE INDEX affiliates_code ON affiliates (account, code);

-- Event ids recorded, for deduplication: when (ms), and as which event. While that one waits, its id cannot be forgotten.
CREATE TABLE seen (
    id  BLOB    PRIMARY KEY,
    at  INTEGER NOT NULL,
    seq INTEGER NOT NULL
) WITHOUT ROWID;
";

/// What came with version 5; and bodies may be packed since.
pub const SINCE_5: &str = "
-- What changed lately in users and seen and may not be there yet; see recent.
CREATE TABLE changes (
    n    INTEGER PRIMARY KEY,
    rows BLOB    NOT NULL
);
";

const OTHER_TABLES: &str = "
-- What can never be carried out. A body that was erased is NULL, and so are its keys.
CREATE TABLE dead_letters (
    seq         INTEGER PRIMARY KEY,
    account     TEXT    NOT NULL,
    id          BLOB    NOT NULL,
    code        TEXT    NOT NULL,
    reason      TEXT    NOT NULL,
    failures    INTEGER NOT NULL,
    received_at INTEGER NOT NULL,
    died_at     INTEGER NOT NULL,
    body        BLOB,
    history     TEXT,
    keys        BLOB -- as in events
);
CREATE TABLE dead_keys (
    key BLOB    NOT NULL,
    seq INTEGER NOT NULL,
    PRIMARY KEY (key, seq)
) WITHOUT ROWID;
CREATE INDEX dead_keys_seq ON dead_keys (seq);

-- API keys of accounts that are not configured.
CREATE TABLE sealed_keys (
    account TEXT PRIMARY KEY,
    sealed  BLOB NOT NULL -- nonce and sealed key pair
) WITHOUT ROWID;
";

/// What SQLite may hold in memory: enough for the inner pages of a million events. Measured: with 16 MiB it is no faster.
const CACHE_KIB: i32 = 4 * 1024;

/// The bytes of a page of a new file: of events of a kilobyte, seven fit where two halves hold six. Measured: nothing is slower.
const PAGE: i32 = 8 * 1024;

/// How long the log may grow (4 MiB) before it is moved into the file: a page that many commits changed is moved once, but
/// whoever comes meanwhile waits. Measured: four times as long saves nothing, and doubles the longest hundredth of waits.
const LOG_PAGES: i32 = 500;

/// Makes the connection what the promises need. `FULL` syncs the WAL at every commit; deleted content is overwritten.
pub fn prepare(connection: &Connection) -> rusqlite::Result<()> {
    connection.pragma_update(None, "page_size", PAGE)?; // both before the first table
    connection.pragma_update(None, "auto_vacuum", "INCREMENTAL")?;
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

/// Makes the tables of an empty file.
pub fn create(connection: &Connection, new_hash_key: &[u8; 32]) -> rusqlite::Result<()> {
    connection.execute_batch(META)?;
    connection.execute("INSERT INTO meta VALUES ('hash_key', ?1)", [new_hash_key.as_slice()])?;
    connection.execute_batch(SINCE_4)?;
    connection.execute_batch(SINCE_5)?;
    connection.execute_batch(OTHER_TABLES)
}

/// Returns a portion of the free pages to the file system; says whether more remain and can be returned: a file that was made
/// by other hands (from a dump, say) may not be able to shrink.
pub fn give_back_space(connection: &Connection) -> rusqlite::Result<bool> {
    let free = || connection.pragma_query_value(None, "freelist_count", |row| row.get::<_, i64>(0));
    let before = free()?;
    let mut statement = connection.prepare("PRAGMA incremental_vacuum(500)")?;
    let mut pages = statement.query([])?;
    while pages.next()?.is_some() {} // a page per step
    let after = free()?;
    Ok(0 < after && after < before)
}

/// Empties the WAL, which still holds what was deleted.
pub fn empty_wal(connection: &Connection) -> rusqlite::Result<()> {
    connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |_| Ok(()))
}
