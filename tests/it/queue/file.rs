//! What SQLite's store promises of its file: whose it is, who may read it, and what is no longer in it.

use super::engine::{Engine, LATE, Sqlite, Store, dead, remember, retry};
use refersion_destination::domain::AffiliateCode;
use refersion_destination::queue::{Change, NewEvent, SqliteQueue};

const MARKER: &str = "peter.gibbons@initech.example";

fn contains(bytes: &[u8], text: &str) -> bool {
    bytes.windows(text.len()).any(|window| window == text.as_bytes())
}

async fn record_marked(store: &Store, name: &str, users: &[&str]) {
    let event = NewEvent { body: format!("{MARKER} {name}").into_bytes(), ..store.event(name, users, 0) };
    store.try_record(vec![event]).await.expect("recorded");
}

#[test]
fn a_file_that_is_open_is_refused_until_it_is_closed_or_dropped() {
    let engine = Sqlite::new();
    for round in 0..50 {
        let first = engine.open(9);
        let refused = SqliteQueue::open(&engine.path(), 9).expect_err("in use").to_string();
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
async fn what_was_handed_in_before_the_last_handle_was_dropped_is_on_disk() {
    let (store, outside) = Store::sqlite();
    store.record("a", &["u1"]).await;
    drop(store);
    let store = Store::new(Box::new(outside), 9);
    assert_eq!(store.claim_names(0).await, ["a"]);
}

#[test]
fn a_file_of_a_newer_release_is_refused_and_left_as_it_is() {
    let engine = Sqlite::new();
    drop(engine.open(9));
    let connection = engine.behind_its_back();
    let ours: i64 = connection.pragma_query_value(None, "user_version", |row| row.get(0)).expect("a version");
    connection.pragma_update(None, "user_version", ours + 1).expect("written");
    let refused = SqliteQueue::open(&engine.path(), 9).expect_err("newer").to_string();
    let expected =
        format!("was made by a newer release (version {} of its tables); start that release instead", ours + 1);
    assert_eq!(refused, format!("{} {expected}", engine.path().display()));
    connection.pragma_update(None, "user_version", ours).expect("written");
    drop(engine.open(9));
}

#[test]
fn a_file_that_is_no_store_is_refused() {
    let engine = Sqlite::new();
    std::fs::create_dir_all(engine.path().parent().expect("a parent")).expect("a folder");
    std::fs::write(engine.path(), "Dear diary, today I was opened as a database. ".repeat(40)).expect("written");
    let refused = SqliteQueue::open(&engine.path(), 9).expect_err("no database").to_string();
    assert!(refused.starts_with(&format!("cannot open {}: ", engine.path().display())), "{refused}");
}

#[test]
fn a_place_that_cannot_be_made_is_told() {
    let engine = Sqlite::new();
    std::fs::write(engine.folder().join("store"), "a file where a folder is wanted").expect("written");
    let refused = SqliteQueue::open(&engine.path(), 9).expect_err("no folder").to_string();
    assert!(refused.starts_with("cannot make ") && refused.ends_with("is the folder writable for this user?"));
}

#[cfg(unix)]
#[tokio::test]
async fn only_this_user_may_read_the_file_and_its_wal() {
    use std::os::unix::fs::PermissionsExt;
    let (store, outside) = Store::sqlite();
    store.record("a", &["u1"]).await;
    for suffix in ["", "-wal", "-shm"] {
        let path = format!("{}{suffix}", outside.path().display());
        let mode = std::fs::metadata(&path).expect(&path).permissions().mode();
        assert_eq!(mode & 0o777, 0o600, "{path}");
    }
}

#[tokio::test]
async fn the_hash_key_is_the_stores_own_and_outlives_a_restart() {
    let (mut store, _outside) = Store::sqlite();
    let before = store.id("a");
    store.reopen().await;
    assert_eq!(store.id("a"), before);
    assert_ne!(Store::new(Box::new(Sqlite::new()), 9).id("a"), before);
}

#[tokio::test]
async fn a_delivered_body_is_nowhere_on_disk_after_tidying() {
    let (store, outside) = Store::sqlite();
    record_marked(&store, "a", &["u1"]).await;
    assert!(contains(&outside.bytes_on_disk(), MARKER), "the test can see it");
    let claimed = store.claim_one(0).await;
    store.done(&claimed).await;
    store.tidy(0).await;
    assert!(!contains(&outside.bytes_on_disk(), MARKER));
}

#[tokio::test]
async fn a_delivered_body_is_nowhere_on_disk_after_closing() {
    let (store, outside) = Store::sqlite();
    record_marked(&store, "a", &["u1"]).await;
    let claimed = store.claim_one(0).await;
    store.settle(&claimed.ticket, retry(0)).await.expect("settled");
    let claimed = store.claim_one(0).await;
    store.done(&claimed).await;
    store.queue().close().await;
    assert!(!contains(&outside.bytes_on_disk(), MARKER));
}

/// Bodies of all sizes come and go in no order, so that SQLite moves what stays from page to page.
#[tokio::test]
async fn no_delivered_body_leaves_a_copy_behind_when_pages_are_rearranged() {
    let (store, outside) = Store::sqlite();
    let count = 600_usize;
    let names: Vec<String> = (0..count).map(|n| format!("<{n}>")).collect();
    let body = |n: usize| format!("{}{}", names[n], names[n].repeat(n * 7919 % 250)).into_bytes();
    let event = |n: usize| NewEvent { body: body(n), ..store.event(&names[n], &[&names[n]], 0) };
    store.try_record((0..count).map(event).collect()).await.expect("recorded");
    let mut claimed = store.claim(0).await;
    claimed.sort_by_key(|claimed| claimed.ticket.seq * 7907 % 601);
    let kept = claimed.split_off(count * 9 / 10);
    for claimed in &claimed {
        store.done(claimed).await;
    }
    store.tidy(0).await;
    let bytes = outside.bytes_on_disk();
    let left: Vec<_> = super::engine::names(&claimed)
        .into_iter()
        .map(|body| body[..=body.find('>').expect(">")].to_owned())
        .filter(|name| contains(&bytes, name))
        .collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(kept.len(), count / 10);
}

#[tokio::test]
async fn asking_for_the_depth_proves_the_store_writable_by_writing() {
    let (store, outside) = Store::sqlite();
    for _ in 0..3 {
        let before = outside.bytes_on_disk();
        store.depth().await;
        assert!(outside.bytes_on_disk() != before);
    }
}

#[tokio::test]
async fn space_of_settled_events_is_given_back() {
    let (store, outside) = Store::sqlite();
    let size = || std::fs::metadata(outside.path()).expect("the file").len();
    store.tidy(0).await;
    let empty = size();
    let event = |n: usize| NewEvent { body: vec![b'x'; 20_000], ..store.event(&n.to_string(), &[&n.to_string()], 0) };
    store.try_record((0..300).map(event).collect()).await.expect("recorded");
    for claimed in store.claim(0).await {
        store.done(&claimed).await;
    }
    store.tidy(LATE).await;
    assert!(size() <= empty + 100_000, "{} bytes, {empty} when new", size());
}

#[tokio::test]
async fn a_dead_letter_keeps_its_body_until_its_user_is_deleted() {
    let (store, outside) = Store::sqlite();
    record_marked(&store, "a", &["u1", "u1@x.io"]).await;
    let claimed = store.claim_one(0).await;
    store.settle(&claimed.ticket, dead()).await.expect("settled");
    store.tidy(LATE).await;
    assert!(contains(&outside.bytes_on_disk(), MARKER));
    let erase = store.keys(&["u2"]);
    store.teach("delete another", &["u2"], Change { erase, ..Change::default() }).await;
    store.tidy(LATE).await;
    assert!(contains(&outside.bytes_on_disk(), MARKER));
    let erase = store.keys(&["u1@x.io"]);
    store.teach("delete", &["u1@x.io"], Change { erase, ..Change::default() }).await;
    store.tidy(LATE).await;
    assert!(!contains(&outside.bytes_on_disk(), MARKER));
    assert_eq!(store.depth().await, (0, 1), "that it died stays known");
}

#[tokio::test]
async fn a_delete_reaches_dead_letters_through_the_forgotten_affiliate() {
    let (store, outside) = Store::sqlite();
    store.teach("known", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
    record_marked(&store, "a", &["u1"]).await;
    let claimed = store.claim_one(LATE).await;
    store.settle(&claimed.ticket, dead()).await.expect("settled");
    let change =
        Change { forget: vec![AffiliateCode("one".to_owned())], erase: store.keys(&["u1@x.io"]), remember: None };
    store.teach("delete", &["u1@x.io"], change).await;
    store.tidy(0).await;
    assert!(!contains(&outside.bytes_on_disk(), MARKER));
}

#[tokio::test]
async fn forgetting_an_affiliate_that_is_gone_erases_no_dead_letter() {
    let (store, outside) = Store::sqlite();
    store.teach("known", &["u1"], remember("one", store.keys(&["u1"]))).await;
    record_marked(&store, "a", &["u1"]).await;
    let claimed = store.claim_one(LATE).await;
    store.settle(&claimed.ticket, dead()).await.expect("settled");
    store.teach("b", &["u1"], Change { forget: vec![AffiliateCode("one".to_owned())], ..Change::default() }).await;
    store.tidy(0).await;
    assert!(contains(&outside.bytes_on_disk(), MARKER));
}

#[tokio::test]
async fn no_name_of_a_user_is_on_disk() {
    let (store, outside) = Store::sqlite();
    store.teach("a", &["u-secret"], remember("one", store.keys(&["u-secret", "secret@x.io"]))).await;
    store.record("b", &["u-secret", "secret@x.io"]).await;
    let bytes = outside.bytes_on_disk();
    assert!(!contains(&bytes, "u-secret") && !contains(&bytes, "secret@x.io"));
}
