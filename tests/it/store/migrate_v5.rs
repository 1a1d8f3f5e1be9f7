//! A migrated store of version 5: pending events, affiliates, ids of settled events, dead letters.
//!
//! The head of `fixtures/version-5.sql` lists its content. The migration of each row is tested beside the code.

use super::engine::{LATE, Sqlite, TestStore, accepted, dead_of, done, name};
use refersion_destination::delivery::{Origin, OutcomeCode, Stage};
use refersion_destination::domain::{AccountName, AffiliateCode, AffiliateId, Seq, Timestamp};
use refersion_destination::scheduling::RetryWait;
use refersion_destination::store::{Appended, Begun, DeadLetterFilter, Forgotten, NewEvent, PageStart, Replay};
use std::time::Duration;

const VERSION_5: &str = include_str!("fixtures/version-5.sql");

/// When the first event was received.
const START: i64 = 1_700_000_000_000;

/// A file of version 5.
fn version_5() -> Sqlite {
    let file = Sqlite::new();
    file.own_folder();
    file.connection().execute_batch(VERSION_5).expect("made");
    file
}

fn migrated() -> TestStore {
    TestStore::on(&version_5())
}

fn other() -> AccountName {
    AccountName::from("other".to_owned())
}

/// The event whose body begins with these words, as it is begun.
async fn begin(store: &TestStore, words: &str) -> Begun {
    for entry in store.entries().await {
        let begun = store.look_at(entry.seq).await;
        if name(&begun) == words {
            return begun;
        }
    }
    panic!("{words} does not wait")
}

/// What waits, in log order; but for one whose body is JSON.
const OF_MAIN: [&str; 23] = [
    "retried",
    "retried by a clock ahead",
    "retried by a clock behind",
    "replayed",
    "behind the replayed",
    "handed back",
    "first",
    "second",
    "by e-mail",
    "also by e-mail",
    "by both",
    "after both",
    "of the known by id",
    "of the known by e-mail",
    "a group that failed 1",
    "a group that failed 2",
    "a group that failed 3",
    "a joined group 1",
    "joins it",
    "a joined group 2",
    "makes it one",
    "leased",
    "behind the leased",
];
const OF_OTHER: [&str; 9] = [
    "first",
    "second",
    "of another user",
    "leased without a word",
    "a group 1",
    "a group 2",
    "a group 3",
    "a group 4",
    "behind the leased without a word",
];

#[tokio::test]
async fn pending_events_keep_their_order_and_new_events_come_after_them() {
    let mut store = migrated();
    for _ in 0..2 {
        assert_eq!(store.counts(), (33, 6));
        assert_eq!(store.store().pending(), [("main".to_owned(), 24), ("other".to_owned(), 9)].into());
        let (json, names): (Vec<String>, Vec<String>) =
            store.names().await.into_iter().partition(|name| name.starts_with('{'));
        assert_eq!(names, OF_MAIN);
        assert!(json[0].contains("packed@x.io") && json[0].len() > 1_000, "it was packed");
        store.account = other();
        assert_eq!(store.names().await, OF_OTHER);
        store.use_account(&AccountName::main()).await;
        store.reopen().await;
    }
    assert_eq!(store.append("new", &["u1"]).await, Seq(92), "behind all that waits, and behind the ids that are known");
    assert_eq!(store.names().await.pop().expect("it waits"), "new");
}

/// An event, its account, whether its attempt was interrupted, the page it got to, and its followers.
type UnderWay = (&'static str, AccountName, bool, Option<u32>, &'static [&'static str]);

#[tokio::test]
async fn a_delivery_in_flight_is_interrupted_with_its_progress_and_its_group() {
    let table: [UnderWay; 7] = [
        ("leased", AccountName::main(), true, Some(9), &[]),
        ("leased without a word", other(), true, None, &[]),
        ("a group 1", other(), true, None, &["a group 2", "a group 3"]),
        ("a joined group 1", AccountName::main(), true, None, &["joins it"]),
        ("a group that failed 1", AccountName::main(), false, None, &["a group that failed 2"]),
        ("handed back", AccountName::main(), false, Some(7), &[]),
        ("first", AccountName::main(), false, None, &[]),
    ];
    let mut store = migrated();
    for (words, account, interrupted, page, followers) in table {
        store.account = account;
        let begun = begin(&store, words).await;
        assert_eq!(begun.interrupted, interrupted, "{words}");
        let found = if let Stage::Searching { page, .. } = begun.progress.stage { Some(page) } else { None };
        assert_eq!(found, page, "{words}");
        let entries = store.entries().await;
        let entry = entries.iter().find(|entry| entry.seq == begun.seq).expect("it waits");
        let mut group = Vec::new();
        for seq in &entry.followers {
            group.push(name(&store.look_at(*seq).await));
        }
        assert_eq!(
            (group, entry.attempted),
            (followers.iter().map(|&name| name.to_owned()).collect(), words != "first"),
            "{words}"
        );
    }
}

#[tokio::test]
async fn a_retry_keeps_its_wait_and_no_clock_makes_it_longer() {
    let (minute, hour) = (Duration::from_secs(60), Duration::from_secs(3_600));
    let table = [
        ("retried", 3, minute, minute, START + 61_051),
        ("retried by a clock ahead", 1, Duration::ZERO, 24 * hour, START + 51),
        ("retried by a clock behind", 2, 72 * hour, minute, START + 51),
        ("a group that failed 1", 1, Duration::ZERO, 30 * minute / 60, START + 70),
    ];
    let store = migrated();
    for (words, failures, failing_for, wait, noted_at) in table {
        let begun = begin(&store, words).await;
        assert_eq!((begun.failures, begun.failing_for), (failures, failing_for), "{words}");
        let entries = store.entries().await;
        let entry = entries.iter().find(|entry| entry.seq == begun.seq).expect("it waits");
        assert_eq!(entry.retry, Some(RetryWait { wait, noted_at: Timestamp(noted_at) }), "{words}");
    }
    let retried = begin(&store, "retried").await.seq;
    store.settle(retried, dead_of(OutcomeCode::Expired, 9)).await;
    let history = store.store().dead_letter(retried.0).await.expect("read").expect("kept").history;
    assert_eq!(
        history.iter().map(|attempt| attempt.what.as_str()).collect::<Vec<_>>(),
        ["first", "second", "third", "for a test"]
    );
}

#[tokio::test]
async fn a_settled_event_is_a_duplicate_until_the_window_has_passed() {
    let mut store = migrated();
    let sent =
        ["settled 0", "settled 29", "teach 1", "forget", "dead", "dead and packed", "first", "retried", "replayed"];
    // The ids of version 5 are those of `messageId`, as today's.
    for _ in 0..2 {
        for name in sent {
            let name =
                if name == "dead and packed" { format!("{name} {}", "abc ".repeat(200)) } else { name.to_owned() };
            assert!(store.is_duplicate(&name).await, "{name}");
        }
        store.account = other();
        assert!(store.is_duplicate("discarded").await, "and of another account");
        store.use_account(&AccountName::main()).await;
        store.reopen().await;
    }
    store.compact(START + 2).await;
    assert!(!store.is_duplicate("settled 0").await, "its time is over");
    assert!(store.is_duplicate("settled 1").await);
    store.compact(START + 1_000_000_000).await;
    for (name, stays) in [("settled 29", false), ("dead", true), ("first", true), ("replayed", true)] {
        assert_eq!(store.is_duplicate(name).await, stays, "{name}");
    }
}

#[tokio::test]
async fn a_known_user_is_known_and_a_forgotten_one_is_not() {
    let found = Origin::Found;
    let table = [
        ("k1", Some(("created", Some(11), Origin::Created))),
        ("k1@x.io", Some(("created", Some(11), Origin::Created))),
        ("k2@x.io", Some(("found", None, found))),
        ("k3", None),
        ("k3@x.io", None),
        ("k4", Some(("new address", Some(44), Origin::Created))),
        ("old4@x.io", None),
        ("new4@x.io", Some(("new address", Some(44), Origin::Created))),
        ("k5", Some(("gives its address", Some(55), Origin::Created))),
        ("k5@x.io", Some(("takes an address", Some(56), found))),
        ("k6", None),
        ("k6@x.io", None),
        ("l1@x.io", Some(("of the leased", None, Origin::Created))),
    ];
    let store = migrated();
    for (user, expected) in table {
        let seq = store.append(&format!("of {user}"), &[user]).await;
        let memory = store.begin(seq).await.memory;
        let known = memory.by_user_id.or(memory.by_email);
        let known = known.as_ref().map(|known| (known.code.0.as_str(), known.id.map(|id| id.0), known.origin));
        assert_eq!(known, expected, "{user}");
        let lanes = store.entries().await.into_iter().find(|entry| entry.seq == seq).expect("it waits").lane_keys;
        assert_eq!(lanes.len(), 1 + usize::from(expected.is_some()), "{user}: its key, and the affiliate it leads to");
    }
}

#[tokio::test]
async fn an_affiliate_without_keys_is_found_again_by_its_code() {
    let store = migrated();
    let [learned, account] = [store.append("a", &["k6"]).await, store.append("b", &["k6"]).await];
    let known = refersion_destination::delivery::AffiliateRecord { id: None, ..super::engine::known("without keys") };
    let remember = Some(refersion_destination::store::Remember { known, user_keys: store.keys(&["k6"]) });
    let changes = refersion_destination::store::AffiliateChanges { remember, ..Default::default() };
    store.store().settle(&store.account, &super::engine::unit(&[learned]), done(), changes).await.expect("settled");
    let known = store.begin(account).await.memory.by_user_id.expect("known");
    assert_eq!(
        (known.code, known.id),
        (AffiliateCode("without keys".to_owned()), Some(AffiliateId(66))),
        "its id is kept"
    );
}

#[tokio::test]
async fn dead_letters_keep_their_ids_and_are_replayed_if_their_keys_were_kept() {
    let store = migrated();
    let letters =
        store.store().dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 99).await.expect("read").letters;
    let found: Vec<_> = letters.iter().map(|letter| (letter.id, letter.code.as_str(), letter.erased)).collect();
    let expected = [
        (6, "refused", false),
        (7, "unmappable", false),
        (8, "email_taken", true),
        (10, "superseded", false),
        (11, "expired", false),
        (13, "erased", true),
    ];
    assert_eq!(found, expected);
    let packed = store.store().dead_letter(11).await.expect("read").expect("kept");
    assert_eq!(packed.body.expect("a body"), format!("dead and packed {}", "abc ".repeat(200)));
    assert_eq!((packed.failures, packed.history.len(), packed.account), (1, 2, "main".to_owned()));
    let replayed = store.replay(&[6, 7, 8, 10, 11, 13, 47].map(Seq)).await;
    let expected = [
        (6, Replay::Replayed),
        (7, Replay::KeysMissing),
        (8, Replay::Erased),
        (10, Replay::Replayed),
        (11, Replay::Replayed),
        (13, Replay::Erased),
        (47, Replay::Missing),
    ];
    assert_eq!((replayed, store.counts()), (expected.to_vec(), (36, 3)));
    assert_eq!(store.store().discard(&[7]).await, Ok(vec![7]));
}

#[tokio::test]
async fn to_forget_a_user_reaches_migrated_rows() {
    let store = migrated();
    let forget = async |users: &[&str]| {
        store.store().forget(&store.account, &store.keys(users), Timestamp(LATE)).await.expect("forgotten")
    };
    assert_eq!(
        forget(&["d2"]).await,
        Forgotten { dead_letters: 1, ..Forgotten::default() },
        "whose keys were not kept"
    );
    assert_eq!(forget(&["l1@x.io"]).await, Forgotten { events: 2, links: 2, affiliates: 1, ..Forgotten::default() });
    assert_eq!(forget(&["u1b@x.io"]).await, Forgotten { events: 6, ..Forgotten::default() });
    let of_all = Some(Seq(i64::MAX));
    assert_eq!(store.append_if_known_up_to("a", &["l1"], of_all).await, Appended::UnknownUser);
    accepted(store.append_if_known_up_to("b", &["d1"], of_all).await);
}

#[tokio::test]
async fn sealed_keys_are_as_they_were() {
    let store = migrated();
    let mut kept = store.store().kept_api_keys().await.expect("read");
    kept.sort_by(|a, b| a.account.cmp(&b.account));
    let kept: Vec<_> = kept.iter().map(|key| (key.account.as_str(), key.blob.as_slice())).collect();
    assert_eq!(kept, [("key-0123456789abcdef", &b"\0sealed one"[..]), ("key-fedcba9876543210", b"sealed two")]);
}

#[tokio::test]
async fn all_of_it_can_be_carried_out_and_nothing_of_it_is_on_disk_then() {
    let file = version_5();
    let mut store = TestStore::on(&file);
    assert!(file.holds("also by e-mail"), "the test can see it");
    for account in [AccountName::main(), other()] {
        store.account = account;
        for entry in store.entries().await {
            store.settle(entry.seq, done()).await;
        }
    }
    store.compact(LATE).await;
    assert_eq!(store.counts(), (0, 6));
    for text in ["also by e-mail", "behind the leased", "a group 4", "a joined group 2"] {
        assert!(!file.holds(text), "{text}");
    }
}

/// A file that was made by other hands, from a dump for instance, cannot give its space back.
#[tokio::test]
async fn a_file_that_cannot_shrink_is_compacted_all_the_same() {
    let file = Sqlite::new();
    file.own_folder();
    let dump = VERSION_5.replace("PRAGMA auto_vacuum = INCREMENTAL;", "");
    file.connection().execute_batch(&dump).expect("made");
    let store = TestStore::on(&file);
    store.compact(LATE).await;
    assert_eq!(store.counts(), (33, 6));
}

/// Bodies that wait since then are read as those that come now.
#[tokio::test]
async fn a_replay_of_a_migrated_dead_letter_says_that_the_event_was_sent_again() {
    let file = version_5();
    // Its id is known no longer: its window had passed.
    let forgotten = "DELETE FROM seen WHERE seq = 6; UPDATE changes SET rows = x'0000'";
    file.connection().execute_batch(forgotten).expect("as after a week");
    let connection = file.connection();
    let again = "INSERT INTO events (seq, account, id, keys, received_at, body)
                 SELECT 50, account, id, keys, received_at, body FROM dead_letters WHERE seq = 6";
    connection.execute(again, []).expect("sent again");
    let store = TestStore::on(&file);
    assert_eq!(store.replay(&[Seq(6)]).await, [(6, Replay::SentAgain)]);
    let repeat = NewEvent { received_at: Timestamp(START), ..store.event("dead", &["d1"], 0) };
    assert_eq!(store.try_append(repeat).await, Appended::Duplicate);
}
