//! Where a backup and a restored store may be: nothing is overwritten, and what is not a store is refused.

use super::{back_up, files, restore, run, store, text};
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use serde_json::Value;
use std::path::Path;
use tempfile::TempDir;

/// A folder whose store has an event; the service is stopped in order.
async fn stopped() -> (Refersion, TempDir) {
    let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    assert_eq!(process.send(&identify("m1", "u1", &Value::Null)).await.expect("answered").brief(), "200 delivered");
    process.terminate();
    assert!(process.ended().await.0.success());
    (refersion, folder)
}

async fn refused(folder: &Path, arguments: &[&str], why: &str) {
    let ran = run(folder, arguments).await;
    assert_eq!((ran.code, &*ran.out), (Some(1), ""), "{arguments:?}: {}", ran.err);
    assert!(ran.err.starts_with("refersion-destination: ") && ran.err.contains(why), "{arguments:?}: {}", ran.err);
}

#[tokio::test]
async fn a_backup_without_a_name_is_beside_the_store_and_named_after_the_time() {
    let (_, folder) = stopped().await;
    let other = folder.path().join("other");
    std::fs::create_dir(&other).expect("made");
    for (arguments, expected) in [(&[][..], folder.path()), (&[text(&other)], &other)] {
        let backup = back_up(folder.path(), arguments).await;
        assert_eq!(backup.parent(), Some(expected));
        let name = backup.file_name().and_then(|name| name.to_str()).expect("a name");
        let time = name.strip_prefix("store-20").and_then(|name| name.strip_suffix("Z.db")).expect(name);
        assert!(time.len() == 13 && time.bytes().all(|byte| byte.is_ascii_digit() || byte == b'T'), "{name}");
    }
    let backup = back_up(folder.path(), &["relative.db"]).await;
    assert_eq!(backup, Path::new("relative.db"));
    assert!(folder.path().join(backup).exists());
}

#[tokio::test]
async fn a_backup_overwrites_nothing_and_leaves_nothing_behind_if_it_fails() {
    let (_, folder) = stopped().await;
    let taken = folder.path().join("taken.db");
    std::fs::write(&taken, "precious").expect("written");
    let before = files(folder.path());
    refused(folder.path(), &["backup", text(&taken)], "taken.db exists already, and is not overwritten").await;
    refused(folder.path(), &["backup", text(&store(folder.path()))], "store.db exists already").await;
    refused(folder.path(), &["backup", "no/such/folder/b.db"], "cannot write no/such/folder: ").await;
    assert_eq!(std::fs::read_to_string(&taken).expect("there"), "precious");
    assert_eq!(files(folder.path()), before);
    let empty = TempDir::new().expect("a folder");
    refused(empty.path(), &["backup"], "there is no store at ").await;
    assert_eq!(files(empty.path()), [""; 0]);
}

#[tokio::test]
async fn a_store_that_was_not_closed_is_backed_up_and_its_files_stay_as_they_are() {
    let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    assert_eq!(process.send(&identify("m1", "u1", &Value::Null)).await.expect("answered").brief(), "200 delivered");
    process.kill();
    let bytes = || ["store.db", "store.db-wal"].map(|name| std::fs::read(folder.path().join(name)).expect(name));
    let before = bytes();
    let backup = back_up(folder.path(), &[]).await;
    assert!(bytes() == before);
    let place = TempDir::new().expect("a folder");
    restore(place.path(), &backup).await;
    let process = Process::start(&refersion.base_url, place.path(), &[]);
    assert_eq!(process.send(&identify("m1", "u1", &Value::Null)).await.expect("answered").brief(), "200 duplicate");
    process.kill();
}

#[tokio::test]
async fn a_backup_is_restored_into_an_empty_place_only() {
    let (refersion, folder) = stopped().await;
    let backup = back_up(folder.path(), &[]).await;
    let restore_into = ["restore", text(&backup)];
    refused(folder.path(), &restore_into, "store.db exists: a backup is restored into an empty place only").await;
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    refused(folder.path(), &restore_into, "store.db is in use by another process of this service").await;
    process.kill();
    // What an earlier store left would be taken for a part of the restored one.
    for left in ["store.db-wal", "store.db-journal"] {
        let place = TempDir::new().expect("a folder");
        std::fs::write(place.path().join(left), "of an earlier store").expect("written");
        refused(place.path(), &restore_into, &format!("{left} exists: ")).await;
    }
    let place = TempDir::new().expect("a folder");
    let inner = place.path().join("not/made/yet");
    let inner_store = format!("sqlite://{}", inner.join("store.db").display());
    let mut command = crate::support::process::binary();
    command.args(restore_into).env("STORE_URL", inner_store);
    let ran = within(tokio::task::spawn_blocking(move || command.output().expect("runs"))).await.expect("ends");
    assert!(ran.status.success());
    assert_eq!(files(&inner), ["store.db", "store.db.lock"]);
}

#[tokio::test]
async fn a_file_that_is_no_backup_is_refused() {
    let place = TempDir::new().expect("a folder");
    let file = |name: &str| place.path().join(name);
    std::fs::write(file("diary"), "Dear diary, today I was opened as a database. ".repeat(40)).expect("written");
    std::fs::write(file("empty"), "").expect("written");
    let other = rusqlite::Connection::open(file("other")).expect("made");
    other.execute_batch("CREATE TABLE songs (name TEXT); PRAGMA user_version = 7").expect("made");
    drop(other);
    for name in ["diary", "empty", "other"] {
        refused(place.path(), &["restore", name], &format!("{name} is not a store of this service")).await;
    }
    refused(place.path(), &["restore", "missing"], "there is no file missing").await;
    assert_eq!(files(place.path()), ["diary", "empty", "other"]);
}

/// The service lives with a damaged page; so must its backup.
#[tokio::test]
async fn a_damaged_store_is_copied_as_it_is_and_the_exit_code_says_so() {
    use std::os::unix::fs::FileExt;
    let (_, folder) = stopped().await;
    let connection = rusqlite::Connection::open(store(folder.path())).expect("opens");
    let root: u32 = connection
        .query_row("SELECT rootpage FROM sqlite_schema WHERE name = 'log'", [], |row| row.get(0))
        .expect("a page");
    drop(connection);
    let file = std::fs::OpenOptions::new().write(true).open(store(folder.path())).expect("opens");
    file.write_all_at(&[0xff; 4], u64::from(root - 1) * 4_096).expect("damaged");
    drop(file);
    let ran = run(folder.path(), &["backup", "b.db"]).await;
    assert_eq!((ran.code, &*ran.out), (Some(1), "b.db\n"), "{}", ran.err);
    assert!(ran.err.contains("copied as it is, but a part of it is damaged: "), "{}", ran.err);
    let bytes = |path: &Path| std::fs::read(path).expect("there");
    let (copy, original) = (bytes(&folder.path().join("b.db")), bytes(&store(folder.path())));
    let page = (root as usize - 1) * 4_096;
    assert!(copy[page..page + 4_096] == original[page..page + 4_096], "the damaged page, too");
}
