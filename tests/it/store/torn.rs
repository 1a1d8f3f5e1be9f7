//! Crashes, simulated by copies of the file: made while it is written, or with a torn end.
//!
//! A copy holds every event that was appended before the copying began; a torn WAL gives a prefix of the commits; the file is
//! never damaged.

use super::engine::{Sqlite, TestStore, accepted, done, known, progress, remember, unit};
use refersion_destination::store::{NewEvent, SqliteStore};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The three files of a store; `-shm` is only an index of the WAL and is made anew where it is missing.
const FILES: [&str; 3] = ["", "-wal", "-shm"];

fn file(path: &Path, suffix: &str) -> PathBuf {
    PathBuf::from(format!("{}{suffix}", path.display()))
}

/// Copies a store file by file, the main file first: a page that a checkpoint moves meanwhile is in the copied WAL as well,
/// unless that WAL began anew; so the copy counts only if it did not.
fn copy(from: &Sqlite, suffixes: &[&str]) -> Sqlite {
    let to = Sqlite::new();
    to.own_folder();
    for suffix in suffixes {
        std::fs::copy(file(&from.path(), suffix), file(&to.path(), suffix)).expect("copied");
    }
    to
}

/// Opens a copy; its file is sound, its ids count, and its events can be carried out. Their names, in log order.
async fn names_in(copy: &Sqlite) -> Vec<String> {
    let store = TestStore::on(copy);
    let sound: String = copy
        .connection()
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .expect("the file can be checked");
    assert_eq!(sound, "ok");
    let names = store.names().await;
    assert_eq!(store.counts(), (names.len() as u64, 0));
    if let Some(last) = names.last() {
        assert!(store.is_duplicate(last).await, "{last}");
    }
    let next = format!("after {}", names.len());
    let entries = store.entries().await;
    assert!(store.append(&next, &["u1"]).await > entries.last().map_or_else(Default::default, |entry| entry.seq));
    for entry in entries {
        store.settle(entry.seq, done()).await;
    }
    names
}

/// Events `e0`, `e1`, …, one commit each.
async fn append_one_by_one(store: &TestStore, count: usize) {
    for n in 0..count {
        store.append(&format!("e{n}"), &[&format!("u{n}")]).await;
    }
}

#[tokio::test]
async fn a_copy_of_an_open_store_holds_all_that_was_appended() {
    let (store, outside) = TestStore::sqlite();
    append_one_by_one(&store, 50).await;
    for suffixes in [&FILES[..], &FILES[..2]] {
        let names = names_in(&copy(&outside, suffixes)).await;
        assert_eq!(names, (0..50).map(|n| format!("e{n}")).collect::<Vec<_>>());
    }
}

/// Else the next start would warn of a loss that did not happen, or not warn of one that did.
#[tokio::test]
async fn whether_a_crashed_store_needs_a_migration_is_found_out_without_removing_or_making_a_wal() {
    let (store, outside) = TestStore::sqlite();
    append_one_by_one(&store, 3).await;
    outside.connection().pragma_update(None, "user_version", 9).expect("written");
    for suffixes in [&FILES[..2], &FILES[..1]] {
        let crashed = copy(&outside, suffixes);
        let wal = || std::fs::read(file(&crashed.path(), "-wal")).ok();
        let before = wal();
        assert_eq!(before.is_some(), suffixes.len() == 2);
        let needs_migration = SqliteStore::needs_migration(&crashed.path()).expect("read");
        assert!(wal() == before, "{suffixes:?}");
        assert_eq!(needs_migration, before.is_some(), "the version was written after the last checkpoint");
    }
}

#[tokio::test]
async fn a_wal_torn_anywhere_gives_a_prefix_of_the_commits() {
    let (store, outside) = TestStore::sqlite();
    store.compact(0).await;
    append_one_by_one(&store, 30).await;
    let length = std::fs::metadata(file(&outside.path(), "-wal")).expect("the WAL").len();
    let mut longest = 0;
    for step in 0..=40 {
        // Now and then at the border of a frame, mostly amidst one.
        let torn = copy(&outside, &FILES[..2]);
        let cut = length * step / 40 + if step == 40 { 0 } else { step % 3 * 7 };
        let wal = std::fs::OpenOptions::new().write(true).open(file(&torn.path(), "-wal")).expect("the WAL");
        wal.set_len(cut).expect("cut");
        let names = names_in(&torn).await;
        assert_eq!(names, (0..names.len()).map(|n| format!("e{n}")).collect::<Vec<_>>(), "cut at {cut}");
        assert!(names.len() >= longest, "a longer WAL holds no less");
        longest = names.len();
    }
    assert_eq!(longest, 30);
}

#[tokio::test]
async fn a_wal_with_garbage_at_its_end_gives_a_prefix_of_the_commits() {
    let (store, outside) = TestStore::sqlite();
    store.compact(0).await;
    append_one_by_one(&store, 20).await;
    let wal = std::fs::read(file(&outside.path(), "-wal")).expect("the WAL");
    for step in 1..10 {
        let torn = copy(&outside, &FILES[..2]);
        let mut bytes = wal.clone();
        let from = wal.len() * step / 10;
        bytes[from..].iter_mut().for_each(|byte| *byte = byte.wrapping_mul(31).wrapping_add(7));
        std::fs::write(file(&torn.path(), "-wal"), bytes).expect("written");
        let names = names_in(&torn).await;
        assert!(names.len() < 20, "the end is gone");
        assert_eq!(names, (0..names.len()).map(|n| format!("e{n}")).collect::<Vec<_>>());
    }
}

/// Many callers append at once while the files are copied again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_copy_made_amidst_writing_has_every_event_appended_before_it() {
    let (store, outside) = TestStore::sqlite();
    let answered = Arc::new(AtomicUsize::new(0));
    let (log, count) = (Arc::clone(store.store()), Arc::clone(&answered));
    let events: Vec<NewEvent> = (0..600).map(|n| store.event(&format!("e{n}"), &[&format!("u{n}")], 0)).collect();
    let writer = tokio::spawn(async move {
        for event in events {
            accepted(log.append(vec![event]).await.expect("appended")[0]);
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut copies = Vec::new();
    while !writer.is_finished() {
        let before = answered.load(Ordering::SeqCst);
        let salt = wal_salt(&outside);
        let copied = copy(&outside, &FILES[..2]);
        if wal_salt(&outside) == salt && wal_salt(&copied) == salt {
            copies.push((before, copied));
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("all appended");
    assert!(copies.iter().any(|(before, _)| (1..600).contains(before)), "a copy was made amidst writing");
    let every = copies.len().div_ceil(20);
    for (before, copied) in copies.into_iter().step_by(every) {
        let names = names_in(&copied).await;
        assert!(names.len() >= before, "{} of {before}", names.len());
        assert_eq!(names, (0..names.len()).map(|n| format!("e{n}")).collect::<Vec<_>>());
    }
}

/// What tells one generation of a WAL from the next; empty while there is none.
fn wal_salt(store: &Sqlite) -> Vec<u8> {
    let wal = std::fs::read(file(&store.path(), "-wal")).unwrap_or_default();
    wal.get(16..24).map(<[u8]>::to_vec).unwrap_or_default()
}

#[tokio::test]
async fn a_delivery_cut_short_by_a_crash_is_taken_up_where_its_progress_was_saved() {
    let (store, outside) = TestStore::sqlite();
    let a = store.append("a", &["u1"]).await;
    let b = store.append("b", &["u1"]).await;
    store.begin_units(&[unit(&[a, b])]).await;
    let changes = remember("code", store.keys(&["u1"]));
    store.store().save_progress(&store.account, &unit(&[a, b]), &progress(6), changes).await.expect("saved");
    let after = TestStore::on(&copy(&outside, &FILES));
    assert_eq!(after.entries().await[0].followers, [b]);
    let again = after.begin(a).await;
    assert_eq!((again.progress, again.interrupted), (progress(6), true));
    assert_eq!(again.memory.by_user_id, Some(known("code")));
    after.settle(a, done()).await;
    assert_eq!(after.names().await, ["b"]);
}
