//! Migration of a file of the versions 6 to 9 to version 10.
//!
//! In: a file, in a transaction. Out: the same file with the tables of version 10 ([`schema`]): each step makes the tables of a version from
//! those of the version before. Measured: a million affiliates take 7 seconds and 31 MB of memory from version 6 on. Invariant: a row
//! that a step inserts into every file is also inserted by [`schema::create`]; a test compares only the tables. Deliberately absent: version 5
//! ([`super::migrate_v5`]).

use super::schema;
use rusqlite::Connection;

/// The tables that version 7 has changed or added. What was sent of an affiliate stays JSON until it changes: `SentAttributes` reads both.
const TO_7: &str = "
ALTER TABLE affiliates RENAME TO v6_affiliates;

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

-- Keys (16 bytes, without tag) of users that were deleted, and when.
CREATE TABLE deleted_users (
    key         BLOB PRIMARY KEY,
    deleted_at  INTEGER NOT NULL, -- ms; no newer than the receipt
    received_at INTEGER NOT NULL  -- ms; of the event that deleted them
) WITHOUT ROWID;
CREATE INDEX deleted_users_received ON deleted_users (received_at);

INSERT INTO affiliates SELECT affiliate, account, code, id, found, CAST(sent AS BLOB), 0 FROM v6_affiliates ORDER BY affiliate;
DROP TABLE v6_affiliates;

-- Every event that was appended so far may have its former id.
INSERT INTO meta SELECT 'former_ids_below', max(seq) + 1 FROM log HAVING count(*) > 0;
";

/// The tables that version 8 has added. The first compaction makes the filters; until then a lookup reads the rows one by one.
const TO_8: &str = "
-- Blocks of successive rows of the log, in order; see key_blocks.rs. filter: of the keys in it; NULL: to be made anew.
CREATE TABLE key_blocks (last INTEGER PRIMARY KEY, first INTEGER NOT NULL, filter BLOB);
CREATE INDEX key_blocks_without_filter ON key_blocks (last) WHERE filter IS NULL;
";

/// The tables that version 9 has changed or added. Filters made before have no ids of events. Rows of the log stay: they came from no source
/// that is known, and were appended.
const TO_9: &str = "
-- source: the id of the source at Segment, if the event said one. answered: 1 for an event that was answered without being
-- appended: it has an outcome and no body, and its id is in no index.
ALTER TABLE log ADD COLUMN source TEXT;
ALTER TABLE log ADD COLUMN answered INTEGER NOT NULL DEFAULT 0;
UPDATE key_blocks SET filter = NULL;

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

/// The tables that version 10 has changed. Bodies, including those of dead letters, are written again, so that no copy is left of rows that
/// moved between pages before. The disk needs room for them twice more, until the WAL is emptied.
const TO_10: &str = "
ALTER TABLE bodies RENAME TO v9_bodies;
ALTER TABLE dead_letters RENAME TO v9_dead_letters;

-- Bodies of pending events and of dead letters; see bodies.rs and body.rs. event: the seq of the event, if its body was moved to this
-- place; NULL: the place is the seq. An erased body is as many zero bytes.
CREATE TABLE bodies (seq INTEGER PRIMARY KEY, event INTEGER, body BLOB NOT NULL);
CREATE INDEX bodies_moved ON bodies (event) WHERE event IS NOT NULL;
INSERT INTO bodies (seq, body) SELECT seq, body FROM v9_bodies
    UNION ALL SELECT seq, body FROM v9_dead_letters WHERE body IS NOT NULL ORDER BY seq;

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
INSERT INTO dead_letters SELECT seq, account, id, code, reason, failures, received_at, died_at, body IS NULL, keys, history
    FROM v9_dead_letters ORDER BY seq;

DROP TABLE v9_bodies;
DROP TABLE v9_dead_letters;
";

/// The step to each version.
const STEPS: [(i64, &str); 4] = [(7, TO_7), (8, TO_8), (9, TO_9), (10, TO_10)];

/// Makes the tables of version 10 of those of `version`, within the caller's transaction.
pub fn migrate(connection: &Connection, version: i64) -> rusqlite::Result<()> {
    let mut steps = STEPS.iter().filter(|(made, _)| *made > version);
    steps.try_for_each(|(_, statements)| connection.execute_batch(statements))?;
    connection.pragma_update(None, "user_version", schema::VERSION)
}

/// A file of a version from 6 on, in memory.
#[cfg(test)]
pub fn file_of_version(version: i64) -> Connection {
    let connection = Connection::open_in_memory().expect("opened");
    connection.execute_batch(include_str!("../../../tests/it/store/fixtures/version-6.sql")).expect("made");
    for (made, statements) in STEPS.iter().filter(|(made, _)| *made <= version) {
        connection.execute_batch(statements).expect("migrated");
        connection.pragma_update(None, "user_version", made).expect("set");
    }
    connection
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definitions of tables and indexes, without comments and spaces.
    fn definitions(connection: &Connection) -> Vec<String> {
        let sql = "SELECT coalesce(sql, name) FROM sqlite_schema ORDER BY name";
        let mut statement = connection.prepare(sql).expect("a statement");
        let rows = statement.query_map([], |row| row.get::<_, String>(0)).expect("rows");
        let code = |line: &str| line.split("--").next().unwrap_or_default().split_whitespace().collect::<String>();
        rows.map(|sql| sql.expect("text").lines().map(code).collect()).collect()
    }

    #[test]
    fn a_file_of_every_version_gets_the_tables_of_a_new_one() {
        let new = Connection::open_in_memory().expect("opened");
        schema::create(&new, &[0; 32]).expect("made");
        for version in 6..schema::VERSION {
            let migrated = file_of_version(version);
            migrate(&migrated, version).expect("migrated");
            assert_eq!(definitions(&migrated), definitions(&new), "{version}");
        }
    }
}
