//! The file as a crash leaves it: copied while it is written, or with a torn end.
//!
//! A copy is opened as after a crash. What was recorded before the copying began is in it, a torn WAL gives a prefix of
//! what was committed, and the file is never damaged.

use super::engine::{LATE, Sqlite, Store};
use refersion_destination::queue::{NewEvent, Recorded};
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
    std::fs::create_dir_all(to.path().parent().expect("a parent")).expect("a folder");
    for suffix in suffixes {
        std::fs::copy(file(&from.path(), suffix), file(&to.path(), suffix)).expect("copied");
    }
    to
}

/// Opens a copy; its file is sound and its names are told in the order of arrival.
async fn names_in(copy: &Sqlite) -> Vec<String> {
    let store = Store::new(Box::new(copy.clone()), 1_000_000);
    let sound: String = copy
        .behind_its_back()
        .pragma_query_value(None, "integrity_check", |row| row.get(0))
        .expect("the file can be checked");
    assert_eq!(sound, "ok");
    let mut claimed = store.batch(1_000_000, LATE).await.events;
    claimed.sort_by_key(|claimed| claimed.ticket.seq);
    let waiting = store.depth().await.0;
    assert_eq!(waiting, claimed.len() as u64);
    for claimed in &claimed {
        store.done(claimed).await;
    }
    super::engine::names(&claimed)
}

/// Events `e0`, `e1`, …, one commit each.
async fn record_one_by_one(store: &Store, count: usize) {
    for n in 0..count {
        store.record(&format!("e{n}"), &[&format!("u{n}")]).await;
    }
}

#[tokio::test]
async fn a_copy_of_an_open_store_holds_all_that_was_recorded() {
    let (store, outside) = Store::sqlite();
    record_one_by_one(&store, 50).await;
    for suffixes in [&FILES[..], &FILES[..2]] {
        let names = names_in(&copy(&outside, suffixes)).await;
        assert_eq!(names, (0..50).map(|n| format!("e{n}")).collect::<Vec<_>>());
    }
}

#[tokio::test]
async fn a_wal_torn_anywhere_gives_a_prefix_of_what_was_committed() {
    let (store, outside) = Store::sqlite();
    store.tidy(0).await;
    record_one_by_one(&store, 30).await;
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
async fn a_wal_whose_end_is_garbage_gives_a_prefix_of_what_was_committed() {
    let (store, outside) = Store::sqlite();
    store.tidy(0).await;
    record_one_by_one(&store, 20).await;
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

/// Many callers record at once while the files are copied again and again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whatever_was_recorded_before_a_copy_made_amidst_writing_is_in_it() {
    let (store, outside) = Store::sqlite();
    let told = Arc::new(AtomicUsize::new(0));
    let (queue, count) = (Arc::clone(store.queue()), Arc::clone(&told));
    let events: Vec<NewEvent> = (0..600).map(|n| store.event(&format!("e{n}"), &[&format!("u{n}")], 0)).collect();
    let writer = tokio::spawn(async move {
        for event in events {
            let recorded = queue.record(vec![event]).await.expect("recorded");
            assert!(matches!(recorded[0], Recorded::Accepted { .. }));
            count.fetch_add(1, Ordering::SeqCst);
        }
    });
    let mut copies = Vec::new();
    while !writer.is_finished() {
        let before = told.load(Ordering::SeqCst);
        let salt = wal_salt(&outside);
        let copied = copy(&outside, &FILES[..2]);
        if wal_salt(&outside) == salt && wal_salt(&copied) == salt {
            copies.push((before, copied));
        }
        tokio::task::yield_now().await;
    }
    writer.await.expect("all recorded");
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
async fn a_delivery_cut_short_by_a_crash_is_taken_up_where_it_was_written_down() {
    let (store, outside) = Store::sqlite();
    store.record("a", &["u1"]).await;
    store.record("b", &["u1"]).await;
    let claimed = store.claim_one(0).await;
    let (until, change) =
        (refersion_destination::domain::Timestamp(LATE), super::engine::remember("code", store.keys(&["u1"])));
    let written = super::engine::progress(6);
    store.queue().checkpoint(&claimed.ticket, &written, change, until).await.expect("written");
    let after = Store::new(Box::new(copy(&outside, &FILES)), 9);
    let again = after.claim_one(0).await;
    assert_eq!((again.progress.clone(), again.interrupted), (written, true));
    assert_eq!(again.memory.by_user_id, Some(super::engine::known("code")));
    after.done(&again).await;
    assert_eq!(after.claim_names(0).await, ["b"]);
}
