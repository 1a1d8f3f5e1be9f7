//! Promise 9, on disk: delivered, erased and forgotten content is nowhere in the files after a compaction.

use super::engine::{
    LATE, Sqlite, TestStore, accepted, dead, done, done_with, erase, forget, name, remember, retry, unit,
};
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{AffiliateChanges, NewEvent};

const MARKER: &str = "peter.gibbons@initech.example";

/// Appends an event whose body can be found in a file.
async fn append_marked(store: &TestStore, name: &str, users: &[&str]) -> Seq {
    let event = NewEvent { body: format!("{MARKER} {name}").into_bytes(), ..store.event(name, users, 0) };
    accepted(store.try_append(event).await)
}

#[tokio::test]
async fn a_delivered_body_is_nowhere_on_disk_after_compaction() {
    let (store, outside) = TestStore::sqlite();
    let a = append_marked(&store, "a", &["u1"]).await;
    assert!(outside.holds(MARKER), "the test can see it");
    store.begin(a).await;
    store.settle(a, done()).await;
    store.compact(0).await;
    assert!(!outside.holds(MARKER));
}

#[tokio::test]
async fn a_delivered_body_is_nowhere_on_disk_after_closing() {
    let (store, outside) = TestStore::sqlite();
    let a = append_marked(&store, "a", &["u1"]).await;
    store.settle(a, retry(0)).await;
    store.begin(a).await;
    store.settle(a, done()).await;
    store.store().close().await;
    assert!(!outside.holds(MARKER));
}

#[tokio::test]
async fn the_bodies_of_a_whole_group_are_nowhere_on_disk_after_compaction() {
    let (store, outside) = TestStore::sqlite();
    let [a, b] = [append_marked(&store, "a", &["u1"]).await, append_marked(&store, "b", &["u1"]).await];
    store.try_settle(&unit(&[a, b]), done_with(&[b])).await.expect("settled");
    store.compact(0).await;
    assert!(!outside.holds(MARKER));
}

/// A connection of the store that reads keeps the WAL from being emptied; compaction waits for it, or says that it could not.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delivered_body_is_nowhere_on_disk_although_reads_run() {
    let (store, outside) = TestStore::sqlite();
    let stop = std::sync::Arc::new(std::sync::atomic::AtomicBool::new(false));
    let mut readers = tokio::task::JoinSet::new();
    for _ in 0..3 {
        let (log, account, stop) =
            (std::sync::Arc::clone(store.store()), store.account.clone(), std::sync::Arc::clone(&stop));
        readers.spawn(async move {
            while !stop.load(std::sync::atomic::Ordering::SeqCst) {
                let entries = log.read(&account, Seq(0), 100).await.expect("read");
                let units: Vec<Unit> = entries.iter().map(|entry| Unit::of(entry.seq)).collect();
                log.begin(&account, &units).await.expect("begun");
                log.release(&units.iter().map(|unit| unit.head).collect::<Vec<_>>());
                log.kept_api_keys().await.expect("read");
                tokio::task::yield_now().await;
            }
        });
    }
    for round in 0..20 {
        let seq = append_marked(&store, &round.to_string(), &["u1"]).await;
        store.settle(seq, done()).await;
        store.compact(0).await;
        assert!(!outside.holds(MARKER), "round {round}");
    }
    stop.store(true, std::sync::atomic::Ordering::SeqCst);
    readers.join_all().await;
}

/// Bodies of all sizes come and go in no order, so that SQLite moves what stays from page to page.
#[tokio::test]
async fn no_delivered_body_leaves_a_copy_when_pages_are_rearranged() {
    let (store, outside) = TestStore::sqlite();
    let count = 600_usize;
    let names: Vec<String> = (0..count).map(|n| format!("<{n}>")).collect();
    let body = |n: usize| format!("{}{}", names[n], names[n].repeat(n * 7919 % 250)).into_bytes();
    let event = |n: usize| NewEvent { body: body(n), ..store.event(&names[n], &[&names[n]], 0) };
    let appended = store.store().append((0..count).map(event).collect()).await.expect("appended");
    let mut seqs: Vec<Seq> = appended.into_iter().map(accepted).collect();
    seqs.sort_by_key(|seq| seq.0 * 7907 % 601);
    let kept = seqs.split_off(count * 9 / 10);
    let mut gone = Vec::new();
    for seq in seqs {
        let body = name(&store.begin(seq).await);
        gone.push(body[..=body.find('>').expect(">")].to_owned());
        store.settle(seq, done()).await;
    }
    store.compact(0).await;
    let bytes = outside.bytes_on_disk();
    let left: Vec<_> =
        gone.into_iter().filter(|name| bytes.windows(name.len()).any(|w| w == name.as_bytes())).collect();
    assert_eq!(left, [""; 0]);
    assert_eq!(store.entries().await.len(), kept.len());
}

#[tokio::test]
async fn a_dead_letter_keeps_its_body_until_its_user_is_deleted() {
    let (store, outside) = TestStore::sqlite();
    let a = append_marked(&store, "a", &["u1", "u1@x.io"]).await;
    store.settle(a, dead()).await;
    store.teach("delete another", &["u2"], erase(store.keys(&["u2"]))).await;
    store.compact(LATE).await;
    assert!(outside.holds(MARKER));
    store.teach("delete", &["u1@x.io"], erase(store.keys(&["u1@x.io"]))).await;
    store.compact(LATE).await;
    assert!(!outside.holds(MARKER));
    assert_eq!(store.counts(), (0, 1), "that it died stays known");
}

#[tokio::test]
async fn a_dead_letter_that_was_discarded_or_replayed_and_delivered_is_nowhere_on_disk() {
    let (store, outside) = TestStore::sqlite();
    let [discarded, replayed] = [append_marked(&store, "a", &["u1"]).await, append_marked(&store, "b", &["u1"]).await];
    for seq in [discarded, replayed] {
        store.settle(seq, dead()).await;
    }
    store.store().discard(&[discarded.0]).await.expect("discarded");
    store.store().replay(&[replayed.0]).await.expect("replayed");
    let again = store.entries().await[0].seq;
    store.settle(again, done()).await;
    store.compact(0).await;
    assert!(!outside.holds(MARKER));
}

#[tokio::test]
async fn a_delete_reaches_dead_letters_through_the_forgotten_affiliate() {
    for (deleted, left) in [(true, false), (false, true)] {
        let (store, outside) = TestStore::sqlite();
        store.teach("known", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
        let a = append_marked(&store, "a", &["u1"]).await;
        store.settle(a, dead()).await;
        let erase = if deleted { store.keys(&["u1@x.io"]) } else { Vec::new() };
        store.teach("b", &["u1@x.io"], AffiliateChanges { erase, ..forget("one") }).await;
        store.compact(0).await;
        assert_eq!(outside.holds(MARKER), left, "an affiliate that is gone at Refersion erases no dead letter");
    }
}

#[tokio::test]
async fn nothing_of_a_forgotten_user_is_left_in_the_files() {
    let (store, outside) = TestStore::sqlite();
    let letter = append_marked(&store, "dead", &["u1"]).await;
    store.settle(letter, dead()).await;
    append_marked(&store, "waits", &["u1"]).await;
    store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
    store.compact(0).await;
    assert!(!outside.holds(MARKER));
}

/// The hashes of a user's keys, too: in the rows of settled events as well.
#[tokio::test]
async fn the_keys_of_a_forgotten_user_are_blank_in_the_log_except_those_of_events_in_flight() {
    let (store, outside) = TestStore::sqlite();
    let settled = store.append("settled", &["u1"]).await;
    store.settle(settled, done()).await;
    store.append("waits", &["u1"]).await;
    let in_flight = store.append("in flight", &["u1"]).await;
    store.begin(in_flight).await;
    store.append("another", &["u2"]).await;
    let with_keys = || -> Vec<i64> {
        let connection = outside.connection();
        let mut statement =
            connection.prepare("SELECT seq FROM log WHERE length(keys) > 0 ORDER BY seq").expect("a statement");
        let seqs = statement.query_map([], |row| row.get(0)).expect("rows");
        seqs.collect::<rusqlite::Result<_>>().expect("seqs")
    };
    assert_eq!(with_keys().len(), 4);
    store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
    assert_eq!(with_keys(), [in_flight.0, in_flight.0 + 1]);
}

#[tokio::test]
async fn no_name_of_a_user_is_on_disk() {
    let (store, outside) = TestStore::sqlite();
    store.teach("a", &["u-secret"], remember("one", store.keys(&["u-secret", "secret@x.io"]))).await;
    store.append("b", &["u-secret", "secret@x.io"]).await;
    assert!(!outside.holds("u-secret") && !outside.holds("secret@x.io"));
}

/// So that a test of this file cannot pass because nothing is found.
#[tokio::test]
async fn a_pending_event_is_on_disk() {
    let outside = Sqlite::new();
    let store = TestStore::on(&outside);
    append_marked(&store, "a", &["u1"]).await;
    assert!(outside.holds(MARKER));
}
