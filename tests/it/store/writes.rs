//! Requests that change nothing write nothing, however often they are made.

use super::engine::{TestStore, progress, unit};
use refersion_destination::domain::Seq;
use refersion_destination::store::{DeadLetterFilter, PageStart};

#[tokio::test]
async fn a_request_that_changes_nothing_writes_nothing() {
    let (store, outside) = TestStore::sqlite();
    let a = store.append("a", &["u1"]).await;
    let letter = store.die("b", &["u2"]).await;
    store.save(&unit(&[a]), &progress(1)).await;
    let files = || -> Vec<(std::ffi::OsString, Vec<u8>)> {
        let entries = std::fs::read_dir(outside.own_folder()).expect("the folder").map(|file| file.expect("an entry"));
        // The index of the WAL holds the locks of readers, and is never synced.
        let files = entries.filter(|file| !file.file_name().to_string_lossy().ends_with("-shm"));
        let mut files: Vec<_> =
            files.map(|file| (file.file_name(), std::fs::read(file.path()).expect("readable"))).collect();
        files.sort();
        files
    };
    let before = files();
    for _ in 0..20 {
        let log = store.store();
        assert_eq!((log.status().pending, log.pending().len()), (1, 1));
        assert_eq!(log.read(&store.account, Seq(0), 9).await.expect("read").len(), 1);
        assert_eq!(log.begin(&store.account, &[unit(&[a])]).await.expect("begun").len(), 1);
        log.release(&[a]);
        assert_eq!(
            log.dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 9).await.expect("read").letters.len(),
            1
        );
        assert!(log.dead_letter(letter.0).await.expect("read").is_some());
        assert_eq!(log.kept_api_keys().await.expect("read").len(), 0);
        assert_eq!(log.health(&store.account).await.expect("read"), None);
        assert!(store.is_duplicate("a").await, "a repeat");
        assert_eq!(log.discard(&[i64::MAX]).await.expect("nothing"), [0; 0]);
        log.unlink(store.keys(&["unknown"])).await.expect("nothing");
    }
    assert!(files() == before);
    store.store().probe().await.expect("writable");
    assert!(files() != before, "a probe proves that the store can be written, by writing");
}

/// What is written at random places costs a page each time: an event costs none as long as it waits.
#[tokio::test]
async fn an_append_writes_three_rows_in_sequence() {
    let (store, outside) = TestStore::sqlite();
    store.append("a", &["u1", "u1@x.io"]).await;
    let connection = outside.connection();
    let tables = "SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name";
    let mut statement = connection.prepare(tables).expect("a statement");
    let tables: Vec<String> =
        statement.query_map([], |row| row.get(0)).expect("rows").collect::<Result<_, _>>().expect("names");
    let rows = |table: &str| -> i64 {
        connection.query_row(&format!("SELECT count(*) FROM {table}"), [], |row| row.get(0)).expect("a count")
    };
    let before: Vec<i64> = tables.iter().map(|table| rows(table)).collect();
    store.append("b", &["u2", "u2@x.io"]).await;
    let more: Vec<&str> = tables
        .iter()
        .zip(&before)
        .filter(|(table, before)| rows(table) != **before)
        .map(|(table, _)| table.as_str())
        .collect();
    assert_eq!(more, ["bodies", "log"], "the third is the entry in the index of what waits");
}
