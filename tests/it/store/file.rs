//! The SQLite engine's file: its lock, its version, its permissions, its size.

use super::engine::{LATE, Sqlite, TestStore, done};
use refersion_destination::store::{Maintenance, NewEvent};

/// One limit for all.
const LIMIT: u64 = 9;

#[test]
fn a_file_that_is_open_is_refused_until_it_is_closed_or_dropped() {
    let engine = Sqlite::new();
    for round in 0..50 {
        let first = engine.try_open(LIMIT).expect("the store opens");
        let refused = engine.try_open(LIMIT).expect_err("in use");
        let expected = "is in use by another process of this service; one store serves one process (stop it, or set \
                        STORE_URL)";
        assert_eq!(refused, format!("{} {expected}", engine.path().display()));
        if round % 2 == 0 {
            let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
            runtime.block_on(first.close());
        } else {
            drop(first);
        }
    }
}

#[tokio::test]
async fn an_event_appended_before_the_last_handle_was_dropped_is_on_disk() {
    let (store, outside) = TestStore::sqlite();
    store.append("a", &["u1"]).await;
    drop(store);
    assert_eq!(TestStore::on(&outside).names().await, ["a"]);
}

#[test]
fn a_file_of_another_version_is_refused_with_a_remedy_and_left_as_it_is() {
    let engine = Sqlite::new();
    drop(engine.try_open(LIMIT).expect("the store opens"));
    let connection = engine.connection();
    let ours: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    for version in [ours + 1, 4, 1] {
        connection.pragma_update(None, "user_version", version).expect("written");
        let refused = engine.try_open(LIMIT).expect_err("another version");
        let path = engine.path();
        let (which, by) = if version > ours {
            ("a newer", concat!(", last opened by release ", env!("CARGO_PKG_VERSION")))
        } else {
            ("an older", "")
        };
        let expected = format!("{} was made by {which} release (version {version} of its tables{by})", path.display());
        assert!(refused.starts_with(&expected), "{refused}");
        assert!(refused.contains("start"), "it says what to do: {refused}");
        let found: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
        assert_eq!(found, version);
    }
    connection.pragma_update(None, "user_version", ours).expect("written");
    drop(engine.try_open(LIMIT).expect("the store opens"));
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let engine = Sqlite::new();
    engine.own_folder();
    std::fs::write(engine.path(), "Dear diary, today I was opened as a database. ".repeat(40)).expect("written");
    let refused = engine.try_open(LIMIT).expect_err("no database");
    let reported = format!("{} is not a store of this service; ", engine.path().display());
    assert!(refused.starts_with(&reported), "{refused}");
}

#[test]
fn a_database_of_another_program_is_refused_and_left_as_it_is() {
    let engine = Sqlite::new();
    engine.own_folder();
    let other = rusqlite::Connection::open(engine.path()).expect("opens");
    other.execute_batch("CREATE TABLE orders (id INTEGER PRIMARY KEY)").expect("a table");
    drop(other);
    let before = std::fs::read(engine.path()).expect("read");
    let refused = engine.try_open(LIMIT).expect_err("no store");
    assert!(refused.starts_with(&format!("{} is not a store of this service; ", engine.path().display())), "{refused}");
    assert!(std::fs::read(engine.path()).expect("read") == before, "no byte is changed");
}

#[test]
fn a_folder_that_cannot_be_made_is_named() {
    let engine = Sqlite::new();
    std::fs::write(engine.folder().join("store"), "a file where a folder is wanted").expect("written");
    let refused = engine.try_open(LIMIT).expect_err("no folder");
    assert!(refused.starts_with("cannot make ") && refused.ends_with("is the folder writable for this user?"));
}

#[cfg(unix)]
#[tokio::test]
async fn only_this_user_may_read_the_file_and_its_wal() {
    use std::os::unix::fs::PermissionsExt;
    let (store, outside) = TestStore::sqlite();
    store.append("a", &["u1"]).await;
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", outside.path().display());
        let mode = std::fs::metadata(&path).expect(&path).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn the_hash_key_is_the_stores_own_and_outlives_a_restart() {
    let (mut store, _outside) = TestStore::sqlite();
    let before = store.id("a");
    store.reopen().await;
    assert_eq!(store.id("a"), before);
    assert_ne!(TestStore::on(&Sqlite::new()).id("a"), before);
}

#[tokio::test]
async fn space_of_settled_events_is_given_back() {
    let (store, outside) = TestStore::sqlite();
    let size = || std::fs::metadata(outside.path()).expect("the file").len();
    store.compact(0).await;
    let empty = size();
    // Not packed: bytes that do not repeat.
    let noise =
        |n: u32| (0..5_000_u32).flat_map(|i| (i ^ (n << 13)).wrapping_mul(2_654_435_761).to_be_bytes()).collect();
    let event = |n: u32| NewEvent { body: noise(n), ..store.event(&n.to_string(), &[&n.to_string()], 0) };
    store.store().append((0..100).map(event).collect()).await.expect("appended");
    for entry in store.entries().await {
        store.settle(entry.seq, done()).await;
    }
    store.compact(LATE).await;
    assert!(size() <= empty + 100_000, "{} bytes, {empty} when new", size());
}
