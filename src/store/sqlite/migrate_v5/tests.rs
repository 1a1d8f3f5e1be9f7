//! What the migration makes of the rows of version 5, as far as it does not show in the behaviour of the store afterwards, which is tested in
//! `tests/it/store`.

use super::*;
use crate::store::sqlite::open::make_tables;
use rusqlite::Connection;
use rusqlite::types::FromSql;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use tempfile::TempDir;

/// See its head for what is in it.
const VERSION_5: &str = include_str!("../../../../tests/it/store/fixtures/version-5.sql");

/// When its first event was received.
const START: i64 = 1_700_000_000_000;

fn open(path: &Path) -> Connection {
    let connection = Connection::open(path).expect("opened");
    connection.pragma_update(None, "journal_mode", "WAL").expect("a WAL");
    connection
}

/// A file of version 5.
fn version_5(folder: &TempDir) -> Connection {
    let connection = open(&folder.path().join("store.db"));
    connection.execute_batch(VERSION_5).expect("made");
    connection
}

/// The same file, migrated.
fn migrated() -> Connection {
    let mut connection = version_5(&TempDir::new().expect("a folder"));
    make_tables(&mut connection, 5).expect("migrated");
    assert_eq!(version(&connection), schema::VERSION);
    connection
}

fn version(connection: &Connection) -> i64 {
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

/// The first column of what `sql` finds.
fn column<T: FromSql>(connection: &Connection, sql: &str) -> Vec<T> {
    let mut statement = connection.prepare(sql).expect("a statement");
    let rows = statement.query_map([], |row| row.get(0)).expect("rows");
    rows.collect::<rusqlite::Result<_>>().expect("values")
}

fn one(connection: &Connection, sql: &str) -> i64 {
    column(connection, sql)[0]
}

#[test]
fn a_pending_event_keeps_its_number_its_id_its_keys_and_its_body() {
    let folder = TempDir::new().expect("a folder");
    let before = version_5(&folder);
    let waiting = |table: &str, keys: &str, sql: &str| {
        format!("SELECT seq || hex(id) || hex({keys}) || received_at || hex(body) FROM {table} {sql} ORDER BY seq")
    };
    let keys = "substr(keys, 1, 17 * (SELECT count(*) FROM (VALUES (1), (18)) WHERE hex(substr(keys, column1, 1)) IN ('01', '02')))";
    let expected = column::<String>(&before, &waiting("events", keys, ""));
    assert_eq!(expected.len(), 33);
    let migrated = migrated();
    let found = column::<String>(&migrated, &waiting("log JOIN bodies USING (seq)", "keys", "WHERE outcome IS NULL"));
    assert_eq!(found, expected);
    let tags =
        column::<String>(&migrated, "SELECT DISTINCT hex(substr(keys, 1, 1)) || hex(substr(keys, 18, 1)) FROM log");
    assert!(tags.iter().all(|tags| ["", "01", "02", "0102", "0101"].contains(&tags.as_str())), "{tags:?}");
    let accounts =
        "SELECT name || ' ' || count(*) FROM log JOIN accounts USING (account) WHERE outcome IS NULL GROUP BY name";
    assert_eq!(column::<String>(&migrated, accounts), ["main 24", "other 9"]);
}

/// A code that this release does not know counts as refused.
#[test]
fn dead_letters_have_an_outcome_in_the_log() {
    let outcomes = "SELECT dead_letters.code || ' ' || outcome FROM dead_letters JOIN log USING (seq) ORDER BY seq";
    let expected = ["refused 42", "unmappable 40", "email_taken 43", "superseded 42", "expired 46", "erased 60"];
    assert_eq!(column::<String>(&migrated(), outcomes), expected);
}

#[test]
fn ids_of_settled_events_are_numbered_anew_by_time_after_the_highest_number_that_was_given() {
    let migrated = migrated();
    let settled = "SELECT seq FROM log WHERE outcome = 28 ORDER BY received_at";
    let seqs = column::<i64>(&migrated, settled);
    // 30, 7 that taught, 5 that changed that, two that erased (one of which was never a dead letter's), and the discarded one.
    assert_eq!(seqs, (48..=91).collect::<Vec<_>>());
    assert_eq!(one(&migrated, "SELECT value FROM meta WHERE name = 'next_seq'"), 92);
    assert_eq!(one(&migrated, "SELECT count(*) FROM log WHERE outcome = 28 AND (keys <> x'' OR account <> 0)"), 0);
    assert_eq!(one(&migrated, "SELECT min(received_at) FROM log WHERE outcome = 28"), START + 1);
    assert_eq!(one(&migrated, "SELECT count(*) - count(DISTINCT id) FROM log"), 0);
}

#[test]
fn nothing_of_version_5_is_left() {
    let migrated = migrated();
    let fresh = Connection::open_in_memory().expect("opened");
    schema::create(&fresh, &[0; 32]).expect("made");
    let tables = "SELECT name || coalesce(sql, '') FROM sqlite_schema ORDER BY name";
    assert_eq!(column::<String>(&migrated, tables), column::<String>(&fresh, tables));
    assert_eq!(
        column::<String>(&migrated, "SELECT name FROM meta ORDER BY name"),
        ["former_ids_below", "hash_key", "next_seq"]
    );
    assert_eq!(one(&migrated, "SELECT count(*) FROM sealed_keys"), 2);
    assert_eq!(column::<String>(&migrated, "PRAGMA integrity_check"), ["ok"]);
}

/// The process ends just before the commit, which is the only one.
#[test]
fn an_interrupted_migration_leaves_the_file_at_version_5() {
    let folder = TempDir::new().expect("a folder");
    let mut connection = version_5(&folder);
    let before = |connection: &Connection| {
        (
            version(connection),
            one(connection, "SELECT count(*) FROM events"),
            one(connection, "SELECT count(*) FROM changes"),
        )
    };
    let expected = before(&connection);
    assert_eq!((expected.0, expected.1), (5, 33));
    let (path, commits) = (folder.path().to_owned(), Arc::new(AtomicU32::new(0)));
    let counted = Arc::clone(&commits);
    let copy_before_commit = move || {
        for file in ["store.db", "store.db-wal"] {
            std::fs::copy(path.join(file), path.join(file.replace("store", "copy"))).expect("copied");
        }
        counted.fetch_add(1, Ordering::Relaxed);
        false // it is committed
    };
    connection.commit_hook(Some(copy_before_commit)).expect("set");
    make_tables(&mut connection, 5).expect("migrated");
    assert_eq!(commits.load(Ordering::Relaxed), 1);
    let mut copy = open(&folder.path().join("copy.db"));
    assert_eq!(before(&copy), expected);
    make_tables(&mut copy, 5).expect("migrated at the next start");
    for connection in [connection, copy] {
        assert_eq!((version(&connection), one(&connection, "SELECT count(*) FROM bodies")), (schema::VERSION, 37));
    }
}

#[test]
fn a_buffer_that_cannot_be_read_leaves_the_file_as_it_is() {
    let folder = TempDir::new().expect("a folder");
    let mut connection = version_5(&folder);
    connection.execute("UPDATE changes SET rows = x'ff' WHERE n = (SELECT max(n) FROM changes)", []).expect("broken");
    make_tables(&mut connection, 5).expect_err("refused");
    assert_eq!((version(&connection), one(&connection, "SELECT count(*) FROM events")), (5, 33));
}
