//! Promise 12, moments of deletions: a keyed hash of each key of a deleted user stays with the moment, so that an earlier event, delivered
//! later, can be recognised as earlier.

use super::engine::{TestStore, accepted, done, done_with, erase, every, every_of, forget, key, remember, unit};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, Seq, Timestamp};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{AffiliateChanges, Appended, KnownUsersOnly, NewEvent, Retention, StoreError};
use std::time::Duration;

/// Appends an event received at `received_at`, and settles it with these changes and a deletion at `at`.
async fn delete(store: &TestStore, name: &str, received_at: i64, at: i64, changes: AffiliateChanges) {
    let seq = accepted(store.try_append(store.event(name, &["of a delete"], received_at)).await);
    let changes = AffiliateChanges { deleted_at: Some(Timestamp(at)), ..changes };
    store.store().settle(&store.account, &unit(&[seq]), done(), changes).await.expect("settled");
}

/// When the users with these keys were deleted.
async fn moments<const N: usize>(store: &TestStore, users: [&str; N]) -> [Option<i64>; N] {
    let mut moments = [None; N];
    for (user, moment) in users.iter().zip(&mut moments) {
        let seq = accepted(store.try_append(store.event(&format!("{user} {}", store.counts().0), &[user], 0)).await);
        let memory = store.begin(seq).await.memory;
        *moment = memory.deleted_at().map(|at| at.0);
    }
    moments
}

/// A delete of this user, for which nobody else is known.
fn delete_of(store: &TestStore, user: &str, received_at: i64, at: i64) -> NewEvent {
    let only = KnownUsersOnly {
        none_pending_up_to: store.read_up_to(Seq(i64::MAX)),
        deleted_at: Some(Timestamp(at)),
        if_unknown: OutcomeCode::UnknownUser,
    };
    NewEvent { known_users_only: Some(only), ..store.event(&format!("delete {user}"), &[user], received_at) }
}

#[tokio::test]
async fn a_delete_keeps_its_moment_for_every_key_that_it_erased() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "u2", "u1@x.io"]))).await;
        store.die("b", &["u3", "u1@x.io"]).await;
        let erase = store.keys(&["u1@x.io", "old@x.io"]);
        delete(store, "c", 20, 15, AffiliateChanges { erase, ..forget("one") }).await;
        store.reopen().await;
        let users = ["u1", "u2", "u3", "u1@x.io", "old@x.io", "u4", "u4@x.io"];
        let at = Some(15);
        assert_eq!(moments(store, users).await, [at, at, at, at, at, None, None]);
    })
    .await;
}

#[tokio::test]
async fn a_deleted_affiliate_keeps_its_moment_for_its_keys_although_nothing_else_is_erased() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
        delete(store, "b", 20, 15, forget("one")).await;
        assert_eq!(moments(store, ["u1", "u1@x.io"]).await, [Some(15); 2]);
    })
    .await;
}

#[tokio::test]
async fn an_affiliate_that_is_forgotten_without_a_delete_leaves_no_moment() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
        store.teach("b", &["u1"], forget("one")).await;
        store.teach("c", &["u1"], erase(store.keys(&["u1"]))).await;
        assert_eq!(moments(store, ["u1", "u1@x.io"]).await, [None; 2]);
    })
    .await;
}

#[tokio::test]
async fn each_key_has_its_own_moment() {
    every(async |store| {
        delete(store, "a", 20, 15, erase(store.keys(&["u1"]))).await;
        delete(store, "b", 20, 16, erase(store.keys(&["u1@x.io"]))).await;
        let seq = store.append("c", &["u1", "u1@x.io"]).await;
        let memory = store.begin(seq).await.memory;
        assert_eq!((memory.user_id_deleted_at, memory.email_deleted_at), (Some(Timestamp(15)), Some(Timestamp(16))));
    })
    .await;
}

#[tokio::test]
async fn the_latest_moment_of_a_key_counts_in_any_order() {
    every(async |store| {
        for (received_at, at) in [(20, 15), (21, 17), (22, 16)] {
            delete(store, &received_at.to_string(), received_at, at, erase(store.keys(&["u1"]))).await;
        }
        assert_eq!(moments(store, ["u1"]).await, [Some(17)]);
    })
    .await;
}

#[tokio::test]
async fn a_key_of_another_account_has_no_moment() {
    every(async |store| {
        delete(store, "a", 20, 15, erase(store.keys(&["u1"]))).await;
        store.use_account(&AccountName::from("other".to_owned())).await;
        assert_eq!(moments(store, ["u1"]).await, [None]);
    })
    .await;
}

#[tokio::test]
async fn a_delete_of_an_unknown_user_keeps_its_moment_and_nothing_else() {
    every(async |store| {
        for (received_at, at) in [(20, 15), (30, 25)] {
            assert_eq!(store.try_append(delete_of(store, "u1", received_at, at)).await, Appended::UnknownUser);
        }
        store.reopen().await;
        assert_eq!(store.counts(), (0, 0));
        assert_eq!(moments(store, ["u1", "u2"]).await, [Some(25), None]);
    })
    .await;
}

#[tokio::test]
async fn a_delete_of_a_known_user_has_no_effect_before_it_is_carried_out() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1"]))).await;
        accepted(store.try_append(delete_of(store, "u1", 20, 15)).await);
        assert_eq!(moments(store, ["u1"]).await, [None]);
    })
    .await;
}

#[tokio::test]
async fn a_call_that_is_refused_keeps_no_moment() {
    every_of(1, async |store| {
        let others = ["a", "b"].map(|name| store.event(name, &["u2"], 0));
        let events = [delete_of(store, "u1", 20, 15)].into_iter().chain(others).collect();
        assert_eq!(store.store().append(events).await, Err(StoreError::ExceedsBacklog(1)));
        assert_eq!(moments(store, ["u1"]).await, [None]);
    })
    .await;
}

#[tokio::test]
async fn an_erasure_by_the_operator_keeps_its_moment() {
    every(async |store| {
        store.append("a", &["u1", "u1@x.io"]).await;
        for users in [["u1"], ["u9"]] {
            store.store().forget(&store.account, &store.keys(&users), Timestamp(7)).await.expect("forgotten");
        }
        assert_eq!(moments(store, ["u1", "u1@x.io", "u9", "u2"]).await, [Some(7), Some(7), Some(7), None]);
    })
    .await;
}

#[tokio::test]
async fn a_moment_is_removed_once_the_receipt_of_its_event_has_passed() {
    every(async |store| {
        delete(store, "a", 20, 3, erase(store.keys(&["u1", "u2"]))).await;
        delete(store, "b", 30, 2, erase(store.keys(&["u2"]))).await;
        for (before, expected) in [(20, [Some(3); 2]), (21, [None, Some(3)]), (30, [None, Some(3)]), (31, [None; 2])] {
            let before = Retention { deletions: Timestamp(before), ..Retention::default() };
            store.store().compact(before).await.expect("compacted");
            assert_eq!(moments(store, ["u1", "u2"]).await, expected, "{before:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_last_receipt_of_events_that_were_settled_together_counts() {
    every(async |store| {
        let mut seqs = Vec::new();
        for (name, received_at) in [("identify", 20), ("another", 21), ("delete", 30)] {
            seqs.push(accepted(store.try_append(store.event(name, &["u1"], received_at)).await));
        }
        let changes = AffiliateChanges { deleted_at: Some(Timestamp(15)), ..erase(store.keys(&["u1"])) };
        let settlement = done_with(&seqs[1..]);
        store.store().settle(&store.account, &unit(&seqs), settlement, changes).await.expect("settled");
        for (before, expected) in [(30, Some(15)), (31, None)] {
            let before = Retention { deletions: Timestamp(before), ..Retention::default() };
            store.store().compact(before).await.expect("compacted");
            assert_eq!(moments(store, ["u1"]).await, [expected]);
        }
    })
    .await;
}

#[tokio::test]
async fn all_of_many_moments_that_have_passed_are_removed() {
    every(async |store| {
        let users: Vec<String> = (0..1_200).map(|n| format!("u{n}")).collect();
        let deletes = users.iter().map(|user| delete_of(store, user, 20, 15)).collect();
        store.store().append(deletes).await.expect("answered");
        assert_eq!(moments(store, ["u0", "u1199"]).await, [Some(15); 2]);
        let before = Retention { deletions: Timestamp(21), ..Retention::default() };
        store.store().compact(before).await.expect("compacted");
        let key = |user: &str| key(store.store().hash_key(), &store.account, user);
        let event = |user: &String| NewEvent { user_keys: vec![key(user)], ..store.event(user, &[], 0) };
        let appended = store.store().append(users.iter().map(event).collect()).await.expect("appended");
        let units: Vec<Unit> = appended.into_iter().map(|one| Unit::of(accepted(one))).collect();
        let begun = store.begin_units(&units).await;
        assert_eq!(begun.len(), users.len());
        for (user, begun) in users.iter().zip(begun) {
            assert_eq!(begun.memory.deleted_at(), None, "{user}");
        }
    })
    .await;
}

#[test]
fn moments_are_kept_for_the_window_and_for_seven_days_at_least() {
    let day = Duration::from_secs(86_400);
    for (window, kept) in [(day, 7 * day), (7 * day, 7 * day), (9 * day, 9 * day)] {
        let now = Timestamp(1_700_000_000_000);
        let before = Retention::new(now, window, day);
        assert_eq!((before.ids, before.events), (now.before(window), now.before(window)));
        assert_eq!((before.deletions, before.now), (now.before(kept), now));
    }
}
