//! Remembered traits of users who are no affiliates yet: kept and erased with settlements, found by both keys, bounded.

use super::engine::{Sqlite, TestStore, accepted, done, erase, every, key, retry};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::delivery::SealedTraits;
use refersion_destination::domain::{AccountName, AffiliateKey, LaneKey, Seq, Timestamp, UserKey};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{
    AffiliateChanges, Appended, Forgotten, FoundBy, FoundTraits, KeptTraits, KnownUsersOnly, LookupQuery, NewEvent,
    Retention, StoreError, TraitsChange, TraitsLimits, TraitsSize,
};

fn one(store: &TestStore, user: &str) -> UserKey {
    key(store.store().hash_key(), &store.account, user)
}

/// What is to be remembered of a user: these bytes until that moment.
fn kept(store: &TestStore, user: &str, email: Option<&str>, bytes: &str, until: i64) -> KeptTraits {
    KeptTraits {
        user: one(store, user),
        email: email.map(|email| one(store, email)),
        names: vec!["email".to_owned(), "#9".to_owned()],
        sealed: bytes.as_bytes().to_vec(),
        expires_at: Timestamp(until),
        replaces: false,
    }
}

fn keep(kept: KeptTraits) -> AffiliateChanges {
    AffiliateChanges { traits: Some(TraitsChange::Keep(kept)), ..AffiliateChanges::default() }
}

/// The bytes that an event of these keys is begun with.
async fn remembered(store: &TestStore, name: &str, users: &[&str]) -> Option<String> {
    let seq = store.append(name, users).await;
    let traits = store.begin(seq).await.memory.traits;
    store.settle(seq, done()).await;
    traits.map(|SealedTraits { sealed, .. }| String::from_utf8(sealed).expect("text"))
}

#[tokio::test]
async fn remembered_traits_are_read_with_events_of_the_user_id_alone_and_survive_a_restart() {
    every(async |store| {
        store.teach("a", &["u1"], keep(kept(store, "u1", Some("u1@x.io"), "one", 50))).await;
        store.reopen().await;
        let seq = store.append("b", &["u1", "other@x.io"]).await;
        let expected = SealedTraits { sealed: b"one".to_vec(), expires_at: Timestamp(50) };
        assert_eq!(store.begin(seq).await.memory.traits, Some(expected));
        assert_eq!(remembered(store, "c", &["u1@x.io"]).await, None);
        assert_eq!(remembered(store, "d", &["u2"]).await, None);
        store.teach("e", &["u1"], keep(KeptTraits { replaces: true, ..kept(store, "u1", None, "two", 60) })).await;
        assert_eq!(remembered(store, "f", &["u1"]).await.as_deref(), Some("two"));
        let used =
            AffiliateChanges { traits: Some(TraitsChange::Erase(one(store, "u1"))), ..AffiliateChanges::default() };
        store.teach("g", &["u1"], used).await;
        assert_eq!(remembered(store, "h", &["u1"]).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_settlement_that_is_refused_keeps_nothing_and_progress_may_keep_it() {
    every(async |store| {
        let seq = store.append("a", &["u1"]).await;
        store.settle(seq, done()).await;
        let changes = keep(kept(store, "u1", None, "late", 50));
        let refused = store.store().settle(&store.account, &Unit::of(seq), done(), changes.clone()).await;
        assert_eq!(refused, Err(StoreError::NotPending));
        assert_eq!(remembered(store, "b", &["u1"]).await, None);
        let retried = Unit::of(store.append("c", &["u1"]).await);
        store.store().settle(&store.account, &retried, retry(0), changes).await.expect("settled");
        assert_eq!(remembered(store, "d", &["u1"]).await.as_deref(), Some("late"));
    })
    .await;
}

/// An event that was begun before a user was erased does not bring back what it was begun with.
#[tokio::test]
async fn pieces_that_were_erased_meanwhile_are_not_stored_again() {
    every(async |store| {
        store.teach("a", &["u1"], keep(kept(store, "u1", None, "one", 50))).await;
        let begun = store.begin(store.append("b", &["u1"]).await).await;
        store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(1)).await.expect("forgotten");
        let both = KeptTraits { replaces: true, ..kept(store, "u1", None, "one and two", 50) };
        let unit = Unit::of(begun.seq);
        store.store().settle(&store.account, &unit, done(), keep(both)).await.expect("settled");
        assert_eq!(remembered(store, "c", &["u1"]).await, None);
        store.teach("d", &["u1"], keep(kept(store, "u1", None, "three", 50))).await;
        assert_eq!(remembered(store, "e", &["u1"]).await.as_deref(), Some("three"), "that is new");
    })
    .await;
}

#[tokio::test]
async fn a_deletion_and_an_operators_erasure_find_it_by_either_key() {
    every(async |store| {
        for (n, by) in ["u1", "u1@x.io"].into_iter().enumerate() {
            store.teach(&format!("a{n}"), &["u1"], keep(kept(store, "u1", Some("u1@x.io"), "one", 50))).await;
            store.teach(&format!("b{n}"), &[by], erase(store.keys(&[by]))).await;
            assert_eq!(remembered(store, &format!("c{n}"), &["u1"]).await, None, "{by}");
        }
        for (n, by) in ["u1", "u1@x.io"].into_iter().enumerate() {
            store.teach(&format!("d{n}"), &["u1"], keep(kept(store, "u1", Some("u1@x.io"), "one", 50))).await;
            let users = store.keys(&[by]);
            let expected = Forgotten { remembered: 1, ..Forgotten::default() };
            let found = store.store().forget_preview(&store.account, &users).await;
            assert_eq!(found, Ok(expected), "{by}");
            assert_eq!(store.store().forget(&store.account, &users, Timestamp(1)).await, Ok(expected), "{by}");
            assert_eq!(remembered(store, &format!("e{n}"), &["u1"]).await, None, "{by}");
        }
        store.teach("f", &["u2"], keep(kept(store, "u2", None, "two", 50))).await;
        store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(1)).await.expect("forgotten");
        assert_eq!(remembered(store, "g", &["u2"]).await.as_deref(), Some("two"), "another user's stays");
    })
    .await;
}

/// A deletion by one key is a deletion of the user: an event from before, by the other key, brings nobody back.
#[tokio::test]
async fn a_deletion_is_remembered_of_the_key_beside_it() {
    every(async |store| {
        store.teach("a", &["u1"], keep(kept(store, "u1", Some("u1@x.io"), "one", 50))).await;
        let deleted = AffiliateChanges { deleted_at: Some(Timestamp(7)), ..erase(store.keys(&["u1@x.io"])) };
        store.teach("b", &["u1@x.io"], deleted).await;
        let begun = store.look_at(store.append("c", &["u1"]).await).await;
        assert_eq!(begun.memory.user_id_deleted_at, Some(Timestamp(7)));
    })
    .await;
}

#[tokio::test]
async fn a_user_with_remembered_traits_is_known_to_a_delete_and_to_no_other_event() {
    every(async |store| {
        store.teach("a", &["u1"], keep(kept(store, "u1", Some("u1@x.io"), "one", 50))).await;
        let up_to = Some(Seq(i64::MAX));
        assert_eq!(store.append_if_known_up_to("b", &["u1"], up_to).await, Appended::UnknownUser);
        let delete = |name: &str, user: &str| {
            let only = KnownUsersOnly {
                none_pending_up_to: up_to.and_then(|seq| store.read_up_to(seq)),
                deleted_at: Some(Timestamp(5)),
                if_unknown: OutcomeCode::NotFound,
            };
            NewEvent { known_users_only: Some(only), ..store.event(name, &[user], 6) }
        };
        assert_eq!(store.try_append(delete("c", "u2")).await, Appended::UnknownUser);
        accepted(store.try_append(delete("d", "u1")).await);
        accepted(store.try_append(delete("e", "u1@x.io")).await);
    })
    .await;
}

/// A later event may have one of the keys alone; both are of one user.
#[tokio::test]
async fn events_of_both_keys_share_a_lane() {
    every(async |store| {
        let user = one(store, "u1");
        let lane = LaneKey::Affiliate(AffiliateKey(*user.bytes()));
        let shared = async |store: &TestStore| {
            let entries = store.entries().await;
            entries.iter().map(|entry| entry.lane_keys.contains(&lane)).collect::<Vec<_>>()
        };
        store.append("a", &["u1"]).await;
        store.append("b", &["u1@x.io"]).await;
        store.append("c", &["u2"]).await;
        assert_eq!(shared(store).await, [false; 3]);
        store.teach("d", &["u9"], keep(kept(store, "u1", None, "one", 50))).await;
        assert_eq!(shared(store).await, [false; 3], "no address is remembered");
        store.teach("e", &["u9"], keep(kept(store, "u1", Some("u1@x.io"), "one", 50))).await;
        assert_eq!(shared(store).await, [true, true, false]);
    })
    .await;
}

#[tokio::test]
async fn a_lookup_by_either_key_shows_names_and_when_it_ends() {
    every(async |store| {
        store.teach("a", &["u1"], keep(kept(store, "u1", Some("u1@x.io"), "one", 50))).await;
        for (users, found_by) in [
            (&["u1"][..], vec![FoundBy::UserId]),
            (&["u1@x.io"], vec![FoundBy::Email]),
            (&["u1", "u1@x.io"], vec![FoundBy::UserId, FoundBy::Email]),
        ] {
            let query = LookupQuery {
                account: store.account.clone(),
                users: store.keys(users),
                code: None,
                ids: Vec::new(),
                before: None,
                limit: 9,
            };
            let attributes = vec!["email".to_owned(), "#9".to_owned()];
            let expected = FoundTraits { found_by, attributes, expires_at: Timestamp(50) };
            assert_eq!(store.store().lookup(&query).await.expect("looked up").remembered, [expected], "{users:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn compaction_removes_expired_pieces_and_the_oldest_above_the_limits() {
    every(async |store| {
        let compact = async |store: &TestStore, now: i64, max_traits: TraitsLimits| {
            let before = Retention { now: Timestamp(now), max_traits, ..Retention::default() };
            store.store().compact(before).await.expect("compacted");
        };
        let size = async |store: &TestStore| {
            let measured = store.store().measure().await.expect("measured");
            let size = measured.remembered.get(store.account.as_str()).copied().unwrap_or_default();
            (size, measured.remembered_dropped)
        };
        for (n, until) in [50, 40, 60, 70].into_iter().enumerate() {
            let user = format!("u{n}");
            store.teach(&format!("a{n}"), &[&user], keep(kept(store, &user, None, "12345", until))).await;
        }
        assert_eq!(size(store).await, (TraitsSize { users: 4, bytes: 20 }, 0));
        compact(store, 40, TraitsLimits::default()).await;
        assert_eq!(size(store).await.0.users, 4, "until 40 it counts");
        compact(store, 41, TraitsLimits { users: 3, bytes: 15 }).await;
        assert_eq!(size(store).await, (TraitsSize { users: 3, bytes: 15 }, 0), "it was not dropped, but has expired");
        compact(store, 0, TraitsLimits { users: 3, bytes: 14 }).await;
        assert_eq!(size(store).await, (TraitsSize { users: 2, bytes: 10 }, 1));
        assert_eq!(remembered(store, "b", &["u0"]).await, None, "the oldest");
        compact(store, 0, TraitsLimits { users: 1, bytes: 99 }).await;
        assert_eq!(remembered(store, "c", &["u3"]).await.as_deref(), Some("12345"), "the newest");
        assert_eq!(size(store).await, (TraitsSize { users: 1, bytes: 5 }, 2));
    })
    .await;
}

#[tokio::test]
async fn accounts_have_limits_of_their_own() {
    every(async |store| {
        let accounts = [AccountName::main(), AccountName::from("other".to_owned())];
        for account in &accounts {
            store.use_account(account).await;
            for n in 0..2 {
                let user = format!("u{n}");
                store.teach(&user, &[&user], keep(kept(store, &user, None, "x", n))).await;
            }
        }
        let max_traits = TraitsLimits { users: 2, bytes: 99 };
        store.store().compact(Retention { max_traits, ..Retention::default() }).await.expect("compacted");
        for account in &accounts {
            store.use_account(account).await;
            assert_eq!(remembered(store, "again", &["u0"]).await.as_deref(), Some("x"), "{account}");
        }
    })
    .await;
}

#[tokio::test]
async fn erased_bytes_are_nowhere_in_the_files_after_compaction() {
    let marker = "sealed bytes that can be found in a file";
    let (store, outside): (TestStore, Sqlite) = TestStore::sqlite();
    for (user, change) in
        [("u1", TraitsChange::Erase(one(&store, "u1"))), ("u2", TraitsChange::Erase(one(&store, "u2")))]
    {
        store.teach(user, &[user], keep(kept(&store, user, None, marker, 50))).await;
        assert!(outside.holds(marker), "the test can see it");
        let used = AffiliateChanges { traits: Some(change), ..AffiliateChanges::default() };
        store.teach(&format!("used {user}"), &[user], used).await;
    }
    store.compact(0).await;
    assert!(!outside.holds(marker));
}
