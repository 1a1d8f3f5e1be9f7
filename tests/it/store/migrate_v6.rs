//! A migrated store of version 6: the log is as it was, affiliates have an owner, and deletes are known by their former ids.
//!
//! The head of `fixtures/version-6.sql` lists its rows.

use super::engine::{LATE, Sqlite, TestStore, done, name, remember};
use refersion_destination::delivery::{AffiliateRecord, Origin, Stage};
use refersion_destination::domain::{
    AccountName, AffiliateCode, AffiliateStatus, Attribute, FactTime, Field, Seq, Timestamp,
};
use refersion_destination::scheduling::RetryWait;
use refersion_destination::store::{Appended, NewEvent, Replay};
use std::time::Duration;

const VERSION_6: &str = include_str!("fixtures/version-6.sql");

/// When the first event was received, but for a millisecond.
const START: i64 = 1_700_000_000_000;

fn version_6() -> Sqlite {
    let file = Sqlite::new();
    file.own_folder();
    file.connection().execute_batch(VERSION_6).expect("made");
    file
}

fn migrated() -> TestStore {
    TestStore::on(&version_6())
}

const OF_MAIN: [&str; 7] =
    ["waits", "retried", "handed back", "of the known", "marked 1", "marked 2", "after the marked"];

#[tokio::test]
async fn pending_events_keep_their_order_and_new_events_come_after_them() {
    let mut store = migrated();
    for _ in 0..2 {
        assert_eq!(store.counts(), (9, 2));
        assert_eq!(store.store().pending(), [("main".to_owned(), 8), ("other".to_owned(), 1)].into());
        let (json, names): (Vec<String>, Vec<String>) =
            store.names().await.into_iter().partition(|name| name.starts_with('{'));
        assert_eq!(names, OF_MAIN);
        assert!(json[0].contains("trait_39"), "its body was packed");
        store.reopen().await;
    }
    assert_eq!(store.append("new", &["u1"]).await, Seq(4_097), "seqs below it were reserved by that release");
}

#[tokio::test]
async fn attempts_keep_their_progress_their_wait_and_their_group() {
    let store = migrated();
    let entries = store.entries().await;
    let entry = |seq: i64| entries.iter().find(|entry| entry.seq == Seq(seq)).expect("it is pending");
    let retried = store.look_at(Seq(11)).await;
    assert_eq!((retried.failures, retried.failing_for), (2, Duration::from_secs(90)));
    assert_eq!(retried.progress.stage, Stage::Searching { page: 3, seen: 0 });
    let wait = RetryWait { wait: Duration::from_secs(60), noted_at: Timestamp(START + 90_000) };
    assert_eq!(entry(11).retry, Some(wait));
    let handed_back = store.look_at(Seq(12)).await;
    assert_eq!((handed_back.progress.stage, handed_back.interrupted), (Stage::Searching { page: 7, seen: 0 }, false));
    let marked = store.look_at(Seq(14)).await;
    assert_eq!((marked.progress.coalesced, marked.interrupted), (Some(2), true));
    assert_eq!(entry(14).followers, [Seq(15)]);
}

#[tokio::test]
async fn affiliates_keep_their_records_and_sent_values_are_older_than_any_fact() {
    let mut store = migrated();
    let begun = store.look_at(Seq(13)).await;
    let AffiliateRecord { code, id, origin, sent } = begun.memory.by_user_id.expect("remembered");
    assert_eq!((code.0.as_str(), id.map(|id| id.0), origin), ("created", Some(11), Origin::Created));
    let (hash, city) = (store.store().hash_key(), Attribute::Field(Field::City));
    assert!(sent.has(hash, &city, "Paris") && sent.has_status(hash, AffiliateStatus::Active));
    assert!(sent.accepts(&city, FactTime::new(Some(Timestamp(0)), Timestamp(LATE))));
    let seq = store.append("a", &["k2@x.io"]).await;
    let AffiliateRecord { code, id, origin, .. } = store.look_at(seq).await.memory.by_email.expect("remembered");
    assert_eq!((code.0.as_str(), id, origin), ("found", None, Origin::Found));
    assert_eq!(store.store().email_conflicts(Some(&store.account), 0, 9).await, Ok(Vec::new()));
    store.teach("b", &["k2"], remember("found", store.keys(&["k2"]))).await;
    store.use_account(&AccountName::from("other".to_owned())).await;
    let seq = store.append("c", &["k1"]).await;
    assert!(store.look_at(seq).await.memory.by_user_id.is_some_and(|known| known.code.0 == "created"));
}

#[tokio::test]
async fn each_user_id_that_led_to_an_affiliate_is_its_owner() {
    let store = migrated();
    for (code, users, other) in [
        ("of two", &["k3"][..], false),
        ("of two", &["k4"], false),
        ("of two", &["k1"], true),
        ("of two", &[], true),
        ("created", &["k1"], false),
        ("found", &["k1"], false),
    ] {
        let recalled = store.store().recall(&store.account, &AffiliateCode(code.to_owned()), &store.keys(users)).await;
        let recalled = recalled.expect("read").expect("remembered");
        assert_eq!(recalled.has_other_owner, other, "{code} {users:?}");
    }
}

/// A delete whose id names its user, with the id that version 6 gave it.
fn delete(store: &TestStore, name: &str, users: &[&str]) -> NewEvent {
    NewEvent { former_id: Some(store.id(name)), ..store.event(&format!("{name} of {users:?}"), users, START) }
}

#[tokio::test]
async fn a_delete_from_before_the_migration_is_a_repeat_of_the_same_user_alone() {
    let table: [(&str, &[&str], bool); 6] = [
        ("delete", &["d1", "d1@x.io"], true),
        ("delete", &["d2", "d1@x.io"], false),
        ("delete", &["d1"], false),
        ("delete of the forgotten", &["d2"], true),
        ("never sent", &["d1", "d1@x.io"], false),
        ("waits", &["w1", "w1@x.io"], true),
    ];
    for (name, users, repeat) in table {
        for ids_on_disk in [false, true] {
            let file = if ids_on_disk { Sqlite::with_ids_on_disk() } else { Sqlite::new() };
            file.own_folder();
            file.connection().execute_batch(VERSION_6).expect("made");
            let mut store = TestStore::on(&file);
            if ids_on_disk {
                let events = (0..10_000).map(|n| store.event(&n.to_string(), &["u1"], START)).collect();
                store.store().append(events).await.expect("appended");
                store.compact(0).await;
                let older: i64 = file
                    .connection()
                    .query_row("SELECT count(*) FROM older_ids WHERE seq < 19", [], |row| row.get(0))
                    .expect("counted");
                assert_eq!(older, 18, "the test looks at ids on disk");
            }
            store.reopen().await;
            let appended = store.try_append(delete(&store, name, users)).await;
            assert_eq!(appended == Appended::Duplicate, repeat, "{name} {users:?} {ids_on_disk}");
        }
    }
}

#[tokio::test]
async fn an_event_after_the_migration_is_no_former_delete() {
    let (migrated, (new, _)) = (migrated(), TestStore::sqlite());
    for store in [migrated, new] {
        store.append("an identify", &["d3"]).await;
        assert_ne!(store.try_append(delete(&store, "an identify", &["d3"])).await, Appended::Duplicate);
    }
}

#[tokio::test]
async fn a_former_repeat_does_not_count_towards_the_backlog() {
    let file = version_6();
    let store = TestStore::on_limited(&file, 8);
    let repeat = delete(&store, "delete", &["d1", "d1@x.io"]);
    assert_eq!(store.store().append(vec![repeat]).await, Ok(vec![Appended::Duplicate]));
}

#[tokio::test]
async fn a_former_delete_can_be_sent_again_once_its_window_has_passed() {
    let store = migrated();
    store.compact(START + 1_000).await;
    assert_ne!(store.try_append(delete(&store, "delete", &["d1", "d1@x.io"])).await, Appended::Duplicate);
}

#[tokio::test]
async fn dead_letters_sealed_keys_and_health_are_as_they_were() {
    let store = migrated();
    assert_eq!(store.replay(&[Seq(8), Seq(9)]).await, [(8, Replay::Replayed), (9, Replay::Erased)]);
    let kept = store.store().kept_api_keys().await.expect("read");
    assert_eq!(
        kept.iter().map(|key| (key.account.as_str(), &key.blob[..])).collect::<Vec<_>>(),
        [("key-0123456789abcdef", &b"\0sealed one"[..])]
    );
    assert_eq!(store.store().health(&store.account).await, Ok(Some("{\"halted\":true}".to_owned())));
}

#[tokio::test]
async fn all_of_it_can_be_carried_out_and_nothing_of_it_is_on_disk_then() {
    let file = version_6();
    let mut store = TestStore::on(&file);
    assert!(file.holds("after the marked"), "the test can see it");
    for account in [AccountName::main(), AccountName::from("other".to_owned())] {
        store.account = account;
        for entry in store.entries().await {
            let begun = store.look_at(entry.seq).await;
            assert!(begun.body.is_ok(), "{}", name(&begun));
            store.settle(entry.seq, done()).await;
        }
    }
    store.compact(LATE).await;
    assert_eq!(store.counts(), (0, 2));
    assert!(!file.holds("after the marked"));
}
