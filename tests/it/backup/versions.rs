//! Upgrade and downgrade: a backup keeps the version of its store, so that the release before an upgrade can be gone back to.

use super::{back_up, restore, run, store};
use crate::support::process::Process;
use crate::support::service::Refersion;
use std::path::Path;
use tempfile::TempDir;

/// A store as release 0.2.0 left it.
const VERSION_6: &str = include_str!("../store/fixtures/version-6.sql");

fn version(file: &Path) -> i64 {
    let connection = rusqlite::Connection::open(file).expect("opens");
    connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version")
}

fn set_version(file: &Path, version: i64) {
    rusqlite::Connection::open(file).expect("opens").pragma_update(None, "user_version", version).expect("written");
}

fn version_6(folder: &Path) {
    rusqlite::Connection::open(store(folder)).expect("opens").execute_batch(VERSION_6).expect("made");
}

#[tokio::test]
async fn a_backup_of_an_older_store_is_of_the_older_version_and_is_migrated_only_when_it_is_served() {
    let (refersion, folder, place) = (Refersion::start().await, TempDir::new().expect("a"), TempDir::new().expect("b"));
    version_6(folder.path());
    let backup = back_up(folder.path(), &[]).await;
    assert_eq!((version(&store(folder.path())), version(&backup)), (6, 6));
    // The upgrade, and back.
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    process.kill();
    assert!(version(&store(folder.path())) > 6);
    restore(place.path(), &backup).await;
    assert_eq!(version(&store(place.path())), 6, "the earlier release can open it");
    let process = Process::start(&refersion.base_url, place.path(), &[]);
    assert!(process.ready().await.json()["pending"].as_u64() > Some(0));
    process.kill();
    assert!(version(&store(place.path())) > 6);
}

#[tokio::test]
async fn a_store_of_a_newer_release_is_refused_by_the_name_of_that_release_and_can_be_backed_up() {
    let (refersion, folder) = (Refersion::start().await, TempDir::new().expect("a folder"));
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    process.terminate();
    assert!(process.ended().await.0.success());
    let file = store(folder.path());
    let newest = version(&file);
    set_version(&file, 99);
    let rename = "UPDATE meta SET value = '9.9.9' WHERE name = 'release'";
    let connection = rusqlite::Connection::open(&file).expect("opens");
    assert_eq!(connection.execute(rename, []).expect("written"), 1, "the file names the release that opened it last");
    drop(connection);
    let ran = run(folder.path(), &["dead-letters", "list"]).await;
    let expected = format!(
        "refersion-destination: {} was made by a newer release (version 99 of its tables, last opened by release 9.9.9), and \
         this one, {}, reads versions up to {}: start that release instead, or restore a backup from before its first start\n",
        file.display(),
        env!("CARGO_PKG_VERSION"),
        newest,
    );
    assert_eq!((ran.code, ran.err), (Some(1), expected));
    let backup = back_up(folder.path(), &[]).await;
    assert_eq!(version(&backup), 99, "the newer release can restore it");
    let place = TempDir::new().expect("a folder");
    let ran = run(place.path(), &["restore", super::text(&backup)]).await;
    assert_eq!(ran.code, Some(1));
    assert!(
        ran.err.contains("was made by a newer release (version 99 of its tables, last opened by release 9.9.9)"),
        "{}",
        ran.err
    );
}
