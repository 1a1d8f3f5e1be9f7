//! A migrated store of version 8, that of release 0.5.0: its filters of the blocks of the log have no ids of events.

use super::engine::{Sqlite, TestStore};
use super::migrate_v9::AS_VERSION_9;
use refersion_destination::store::LookupQuery;

/// More than a block of the log has.
const EVENTS: usize = 2_100;

/// Removes what version 9 has added, and the ids from the filters.
const AS_VERSION_8: &str = "
    DROP TABLE remembered_traits;
    ALTER TABLE log DROP COLUMN source;
    ALTER TABLE log DROP COLUMN answered;
    UPDATE key_blocks SET filter = zeroblob(length(filter));
    PRAGMA user_version = 8";

fn number(file: &Sqlite, sql: &str) -> i64 {
    file.connection().query_row(sql, [], |row| row.get(0)).expect("a number")
}

async fn found(store: &TestStore, message_id: &str) -> Vec<i64> {
    let ids = LookupQuery::ids(store.store().hash_key(), &store.account, message_id, &[]);
    let query =
        LookupQuery { account: store.account.clone(), users: Vec::new(), code: None, ids, before: None, limit: 100 };
    store.store().lookup(&query).await.expect("looked up").events.iter().map(|event| event.seq).collect()
}

#[tokio::test]
async fn an_event_is_found_by_its_message_id_although_the_filter_of_its_block_was_made_without() {
    let (store, file) = TestStore::sqlite();
    let events = (1..=EVENTS).map(|n| store.event(&format!("m{n}"), &[&format!("u{n}")], 1)).collect();
    store.store().append(events).await.expect("appended");
    store.compact(0).await;
    store.store().close().await;
    assert_eq!(number(&file, "SELECT count(*) FROM key_blocks WHERE filter IS NOT NULL"), 1);
    file.connection().execute_batch(AS_VERSION_9).expect("as the release after it");
    file.connection().execute_batch(AS_VERSION_8).expect("as that release left it");
    let store = TestStore::on(&file);
    assert_eq!(number(&file, "PRAGMA user_version"), 10);
    for made_anew in [0, 1] {
        assert_eq!(number(&file, "SELECT count(*) FROM key_blocks WHERE filter IS NOT NULL"), made_anew);
        assert_eq!((found(&store, "m1234").await, found(&store, "never").await), (vec![1_234], vec![]));
        store.compact(0).await;
    }
}
