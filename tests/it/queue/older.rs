//! Files of earlier releases are taken over as they are: what waits, who is known, what was sent before.

use super::engine::{LATE, Sqlite, Store, is_behind, known, names, progress};
use refersion_destination::domain::{AccountName, Timestamp};
use refersion_destination::queue::{Filter, Recorded, Replay, SqliteQueue};

/// What version 5 has and version 4 had not.
const BEFORE_5: &str = "DROP TABLE changes; PRAGMA user_version = 4;";
/// What version 3 had and version 2 had not; and so on.
const BEFORE_3: &str = "DROP TABLE sealed_keys; PRAGMA user_version = 2;";
const BEFORE_2: &str = "ALTER TABLE events DROP COLUMN history; ALTER TABLE dead_letters DROP COLUMN history;
    ALTER TABLE dead_letters DROP COLUMN keys; DROP INDEX dead_keys_seq; PRAGMA user_version = 1;";

/// What version 3 left.
const VERSION_3: &str = include_str!("../../data/stores/version-3.sql");

/// A store of an earlier release, opened by this one.
fn taken_over(sql: &[&str]) -> Store {
    Store::new(Box::new(older(sql)), u64::MAX / 2)
}

fn older(sql: &[&str]) -> Sqlite {
    let file = Sqlite::new();
    std::fs::create_dir(file.path().parent().expect("a folder")).expect("made");
    let older = file.behind_its_back();
    for sql in sql {
        older.execute_batch(sql).expect("as it was");
    }
    file
}

/// Version 4: what this release makes of version 3, without what it has more.
fn of_version_4() -> Store {
    let file = older(&[VERSION_3]);
    drop(SqliteQueue::open(&file.path(), 1).expect("opened"));
    file.behind_its_back().execute_batch(BEFORE_5).expect("as it was");
    Store::new(Box::new(file), u64::MAX / 2)
}

fn all() -> [Store; 4] {
    let [two, one] = [&[VERSION_3, BEFORE_3][..], &[VERSION_3, BEFORE_3, BEFORE_2]].map(taken_over);
    [of_version_4(), taken_over(&[VERSION_3]), two, one]
}

#[tokio::test]
async fn what_waits_is_claimed_in_its_order_and_what_was_leased_as_interrupted() {
    for mut store in all() {
        assert_eq!(store.depth().await, (9, 1));
        let claimed = store.claim(20).await;
        assert_eq!(names(&claimed), ["leased", "first", "by id", "of the known"]);
        assert_eq!(claimed.iter().map(|claimed| claimed.interrupted).collect::<Vec<_>>(), [true, false, false, false]);
        assert_eq!(claimed[0].progress, progress(9));
        for claimed in &claimed {
            store.done(claimed).await;
        }
        assert_eq!(store.claim_names(20).await, ["second", "by e-mail"]);
        let retried = store.batch(9, 500).await.events.remove(0);
        assert_eq!((retried.body.as_slice(), retried.failures), (&b"retried"[..], 1));
        assert_eq!((retried.failing_since, retried.progress.clone()), (Some(Timestamp(4)), progress(2)));
        store.account = AccountName::from("other".to_owned());
        assert_eq!(store.claim_names(20).await, ["of another"]);
        store.reopen().await;
        assert_eq!(store.depth().await, (5, 1));
    }
}

#[tokio::test]
async fn lines_hold_what_came_before_and_what_comes_now() {
    for store in all() {
        assert!(is_behind(store.record("third", &["u2@x.io"]).await));
        assert!(is_behind(store.record("of the merged", &["u5@x.io"]).await));
        assert!(is_behind(store.record("of the known by e-mail", &["u1@x.io"]).await), "they lead to one affiliate");
        assert!(!is_behind(store.record("of nobody", &["u9"]).await));
        let first = store.claim(20).await.into_iter().find(|claimed| claimed.body == b"by id").expect("it is ready");
        let behind = first.behind.iter().map(|behind| String::from_utf8_lossy(&behind.body).into_owned());
        assert_eq!(behind.collect::<Vec<_>>(), ["by e-mail", "by both", "of the merged"]);
    }
}

#[tokio::test]
async fn who_was_known_is_known_and_what_was_seen_is_a_duplicate() {
    for store in all() {
        for name in ["settled", "dead", "leased", "second", "retried"] {
            assert_eq!(store.record(name, &["u7"]).await, Recorded::Duplicate, "{name}");
        }
        assert_eq!(store.record_if_known("of a stranger", &["u8"]).await, Recorded::UnknownUser);
        assert!(is_behind(store.record_if_known("of a friend", &["u1@x.io"]).await));
        let of_the_known = store.claim(20).await.pop().expect("it is ready");
        assert_eq!(of_the_known.memory.by_user_id, Some(known("one")));
        assert_eq!(of_the_known.memory.by_email, None, "the event names no e-mail address");
        store.tidy(4).await;
        assert!(!is_behind(store.record("settled", &["u7"]).await), "its time is over");
        assert_eq!(store.record("retried", &["u7"]).await, Recorded::Duplicate, "it still waits");
    }
}

#[tokio::test]
async fn dead_letters_are_replayed_if_their_keys_were_kept() {
    for (store, expected) in all().into_iter().zip([Replay::Waits, Replay::Waits, Replay::Waits, Replay::Unplaced]) {
        let page = store.queue().dead_letters(&Filter::default(), 0, 9).await.expect("read");
        assert_eq!(page.letters.len(), 1);
        let id = page.letters[0].id;
        assert_eq!(store.queue().dead_letter(id).await.expect("read").expect("kept").body.as_deref(), Some("dead"));
        assert_eq!(store.queue().replay(&[id]).await, Ok(vec![(id, expected)]));
        if expected == Replay::Unplaced {
            let forgotten = store.queue().forget(&store.keys(&["u6"]), Timestamp(LATE)).await.expect("forgotten");
            assert_eq!(forgotten.dead_letters, 1);
            assert_eq!(store.queue().discard(&[id]).await, Ok(vec![id]));
        }
    }
}

#[tokio::test]
async fn keys_that_were_kept_are_kept() {
    for (store, kept) in all().into_iter().zip([1, 1, 0, 0]) {
        assert_eq!(store.queue().kept_keys().await.expect("read").len(), kept);
    }
}

#[tokio::test]
async fn a_file_that_cannot_shrink_is_tidied_all_the_same() {
    let store = taken_over(&[&VERSION_3.replace("PRAGMA auto_vacuum = INCREMENTAL;", "")]);
    store.tidy(LATE).await;
    assert_eq!(store.depth().await, (9, 1));
}
