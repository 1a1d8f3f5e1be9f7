//! The main path through the engine: append, read, begin, settle, replay, forget, restart.

use super::{SqliteStore, StoreLimits};
use crate::delivery::{AffiliateRecord, Memory, Origin, OutcomeCode, Progress, Stage};
use crate::domain::{
    AccountName, AffiliateCode, AffiliateKey, EventId, LaneKey, SentAttributes, Seq, Timestamp, UserKey,
};
use crate::scheduling::Unit;
use crate::store::{
    AffiliateChanges, Appended, Begun, DeadLetters, EventLog, FailedAttempt, Forgotten, KnownUsersOnly, Maintenance,
    NewEvent, ReadUpTo, Remember, Replay, ReplayResult, Settlement, StoreError,
};
use std::time::Duration;

fn id(n: u32) -> EventId {
    let bytes = n.wrapping_mul(2_654_435_761).to_be_bytes();
    EventId(std::array::from_fn(|i| bytes[i % 4]))
}

fn user(n: u8) -> UserKey {
    UserKey::UserId([n; 16])
}

fn event(n: u32, user: UserKey) -> NewEvent {
    NewEvent {
        account: AccountName::main(),
        id: id(n),
        former_id: None,
        user_keys: vec![user],
        known_users_only: None,
        source: None,
        body: format!("body {n}").into_bytes(),
        received_at: Timestamp(i64::from(n)),
    }
}

fn open(folder: &tempfile::TempDir) -> SqliteStore {
    SqliteStore::open(&folder.path().join("store.db"), StoreLimits::default()).expect("opened")
}

fn remember(code: &str, keys: Vec<UserKey>) -> AffiliateChanges {
    let sent = SentAttributes::default();
    let known = AffiliateRecord { code: AffiliateCode(code.to_owned()), id: None, origin: Origin::Created, sent };
    AffiliateChanges { remember: Some(Remember { known, user_keys: keys }), ..AffiliateChanges::default() }
}

fn done(followers: Vec<(Seq, OutcomeCode)>) -> Settlement {
    Settlement::Done { outcome: OutcomeCode::Created, followers }
}

fn none() -> AffiliateChanges {
    AffiliateChanges::default()
}

async fn begin(store: &SqliteStore, units: &[Unit]) -> Vec<Begun> {
    store.begin(&AccountName::main(), units).await.expect("begun").into_iter().flatten().collect()
}

#[tokio::test]
async fn an_event_is_appended_read_begun_and_settled_once() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, main) = (open(&folder), AccountName::main());
    let appended = store.append(vec![event(1, user(1)), event(2, user(2)), event(1, user(1))]).await.expect("appended");
    let accepted = |seq, waiting| Appended::Accepted { seq: Seq(seq), pending: waiting };
    assert_eq!(appended, [accepted(1, 0), accepted(2, 1), Appended::Duplicate]);
    assert_eq!(store.read(&main, Seq(0), 9).await.expect("read").len(), 2);
    let begun = begin(&store, &[Unit::of(Seq(1)), Unit::of(Seq(9))]).await;
    assert_eq!((begun.len(), begun[0].body.as_deref(), &begun[0].memory), (1, Ok(&b"body 1"[..]), &Memory::default()));
    let changes = remember("one", vec![user(1), user(2)]);
    assert_eq!(store.settle(&main, &Unit::of(Seq(1)), done(Vec::new()), changes).await, Ok(()));
    assert_eq!(store.settle(&main, &Unit::of(Seq(1)), done(Vec::new()), none()).await, Err(StoreError::NotPending));
    let entries = store.read(&main, Seq(0), 9).await.expect("read");
    let affiliate = LaneKey::Affiliate(AffiliateKey(store.hash_key().affiliate("main", "one")));
    assert_eq!((entries[0].seq, &entries[0].lane_keys[..]), (Seq(2), &[LaneKey::User(user(2)), affiliate][..]));
    assert_eq!(store.append(vec![event(1, user(1))]).await, Ok(vec![Appended::Duplicate]));
    assert_eq!((store.status().pending, store.pending()["main"]), (1, 1));
}

#[tokio::test]
async fn progress_and_its_group_outlive_a_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let (mut store, main) = (open(&folder), AccountName::main());
    store.append((1..=3).map(|n| event(n, user(1))).collect()).await.expect("appended");
    let unit = Unit { head: Seq(1), followers: vec![Seq(2), Seq(3)] };
    let progress = Progress { stage: Stage::CheckEdit, coalesced: Some(3), ..Progress::default() };
    store.save_progress(&main, &unit, &progress, none()).await.expect("saved");
    drop(store);
    store = open(&folder);
    let entries = store.read(&main, Seq(0), 9).await.expect("read");
    assert_eq!((entries[0].attempted, &entries[0].followers), (true, &unit.followers));
    assert!(!entries[1].attempted);
    let begun = begin(&store, std::slice::from_ref(&unit)).await;
    assert_eq!((begun[0].interrupted, &begun[0].progress, begun[0].followers.len()), (true, &progress, 2));
    let attempt = FailedAttempt { at: Timestamp(5), what: "503".to_owned() };
    let (wait, failing_for) = (Duration::from_secs(7), Duration::from_secs(2));
    let retry = Settlement::Retry { wait, progress: progress.clone(), failures: 1, failing_for, attempt };
    store.settle(&main, &unit, retry, none()).await.expect("settled");
    let entries = store.read(&main, Seq(0), 1).await.expect("read");
    assert_eq!((entries[0].retry.map(|retry| retry.wait), &entries[0].followers), (Some(wait), &unit.followers));
    let begun = begin(&store, std::slice::from_ref(&unit)).await;
    assert_eq!((begun[0].interrupted, begun[0].failures, begun[0].failing_for), (false, 1, failing_for));
    let followers =
        vec![(Seq(2), OutcomeCode::Updated), (Seq(3), OutcomeCode::Updated), (Seq(9), OutcomeCode::Updated)];
    store.settle(&main, &unit, done(followers), none()).await.expect("settled");
    assert_eq!(store.read(&main, Seq(0), 9).await, Ok(Vec::new()));
}

#[tokio::test]
async fn a_dead_letter_is_replayed_behind_what_waits_and_its_user_is_forgotten() {
    let folder = tempfile::tempdir().expect("a folder");
    let (store, main) = (open(&folder), AccountName::main());
    store.append(vec![event(1, user(1)), event(2, user(1))]).await.expect("appended");
    let dead = Settlement::Dead { outcome: OutcomeCode::Rejected, reason: "no".to_owned(), at: Timestamp(9) };
    store.settle(&main, &Unit::of(Seq(1)), dead, remember("one", vec![user(1), user(2)])).await.expect("settled");
    assert_eq!(store.dead_letter(1).await.expect("read").and_then(|letter| letter.body).as_deref(), Some("body 1"));
    let replayed = ReplayResult { id: 1, outcome: Replay::Replayed, seq: Some(3) };
    let missing = ReplayResult { id: 7, outcome: Replay::Missing, seq: None };
    assert_eq!(store.replay(&[1, 7]).await, Ok(vec![replayed, missing]));
    let waiting: Vec<Seq> = store.read(&main, Seq(0), 9).await.expect("read").iter().map(|entry| entry.seq).collect();
    assert_eq!(waiting, [Seq(2), Seq(3)]);
    store.begin(&main, &[Unit::of(Seq(3))]).await.expect("begun");
    let forgotten = store.forget(&main, &[user(2)], Timestamp(9)).await;
    assert_eq!(
        forgotten,
        Ok(Forgotten { events: 1, in_flight: 1, dead_letters: 0, links: 2, affiliates: 1, remembered: 0 })
    );
    assert_eq!((store.status().pending, store.status().dead), (1, 1));
}

#[tokio::test]
async fn an_event_for_known_users_is_appended_unless_nobody_can_be_known() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder);
    let ask = async |n, up_to: Option<Seq>| {
        let none_pending_up_to = up_to.map(|seq| ReadUpTo { lease: 0, seq });
        let known_users_only =
            Some(KnownUsersOnly { none_pending_up_to, deleted_at: None, if_unknown: OutcomeCode::UnknownUser });
        store.append(vec![NewEvent { known_users_only, ..event(n, user(9)) }]).await.expect("an answer")[0]
    };
    assert_eq!(ask(1, None).await, Appended::UnknownUser, "nothing waits at all");
    store.append(vec![event(2, user(1)), event(3, user(9))]).await.expect("appended");
    assert_eq!(ask(1, Some(Seq(2))).await, Appended::UnknownUser, "the owner has read all that waits");
    assert_eq!(
        ask(1, Some(Seq(1))).await,
        Appended::Accepted { seq: Seq(3), pending: 2 },
        "it has not read the second"
    );
    drop(store);
    let store = open(&folder);
    let known_users_only =
        Some(KnownUsersOnly { none_pending_up_to: None, deleted_at: None, if_unknown: OutcomeCode::UnknownUser });
    let other = NewEvent { known_users_only, ..event(4, user(8)) };
    let accepted = Appended::Accepted { seq: Seq(4), pending: 3 };
    assert_eq!(store.append(vec![other]).await, Ok(vec![accepted]), "nobody has read what waited at opening");
}

#[tokio::test]
async fn jobs_handed_in_before_closing_are_done_and_the_file_is_free() {
    let folder = tempfile::tempdir().expect("a folder");
    let store = open(&folder);
    let (appended, ()) = tokio::join!(store.append(vec![event(1, user(1))]), store.close());
    assert_eq!(appended.expect("appended").len(), 1);
    store.closed().await;
    assert_eq!(store.append(vec![event(2, user(1))]).await, Err(StoreError::Closed));
    assert_eq!(store.read(&AccountName::main(), Seq(0), 9).await, Err(StoreError::Closed));
    assert_eq!(open(&folder).status().pending, 1);
}
