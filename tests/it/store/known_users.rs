//! Events that matter for known users only: appended unless their user is certainly unknown.

use super::engine::{accepted, dead, dead_of, done, erase, every, remember};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, Seq, Timestamp};
use refersion_destination::store::{Appended, KnownUsersOnly, NewEvent};

#[tokio::test]
async fn an_event_of_an_unknown_user_is_not_appended_if_none_is_pending_and_can_be_sent_again() {
    every(async |store| {
        for up_to in [None, Some(Seq(0)), Some(Seq(9))] {
            assert_eq!(store.append_if_known_up_to("a", &["u1"], up_to).await, Appended::UnknownUser);
        }
        store.reopen().await;
        assert_eq!(store.append_if_known("a", &["u1"]).await, Appended::UnknownUser);
        assert_eq!(store.counts(), (0, 0));
        store.append("a", &["u1"]).await;
        assert!(store.is_duplicate("a").await, "only now it counts");
    })
    .await;
}

#[tokio::test]
async fn a_key_that_leads_to_an_affiliate_makes_its_user_known() {
    every(async |store| {
        store.teach("a", &["u1"], remember("code", store.keys(&["u1", "u1@x.io"]))).await;
        accepted(store.append_if_known_up_to("b", &["u1@x.io"], Some(Seq(i64::MAX))).await);
        let of_all = Some(Seq(i64::MAX));
        assert_eq!(store.append_if_known_up_to("c", &["u2"], of_all).await, Appended::UnknownUser);
        assert_eq!(store.append_if_known_up_to("d", &["u2", "u2@x.io"], of_all).await, Appended::UnknownUser);
        accepted(store.append_if_known_up_to("e", &["u2", "u1@x.io"], of_all).await);
    })
    .await;
}

/// Of somebody else's events, an engine may be certain or not.
#[tokio::test]
async fn an_earlier_event_of_the_user_counts_unless_the_owner_has_read_up_to_it_and_found_none() {
    every(async |store| {
        let theirs = store.append("a", &["u1", "u1@x.io"]).await;
        let last = store.append("b", &["u2"]).await;
        for (n, up_to) in [Some(last), Some(Seq(last.0 + 9))].into_iter().enumerate() {
            let answer = store.append_if_known_up_to(&format!("unknown {n}"), &["u3"], up_to).await;
            assert_eq!(answer, Appended::UnknownUser, "{up_to:?}");
        }
        for (n, up_to) in [None, Some(Seq(0)), Some(Seq(theirs.0 - 1))].into_iter().enumerate() {
            accepted(store.append_if_known_up_to(&format!("behind {n}"), &["u4", "u1@x.io"], up_to).await);
            store.reopen().await;
        }
    })
    .await;
}

#[tokio::test]
async fn each_of_thousands_of_pending_events_is_found() {
    every(async |store| {
        let events = (0..5_000).map(|n| store.event(&n.to_string(), &[&format!("u{n}")], 0)).collect();
        store.store().append(events).await.expect("appended");
        for n in [0, 1, 2_500, 4_999] {
            accepted(store.append_if_known(&format!("of u{n}"), &[&format!("u{n}")]).await);
        }
    })
    .await;
}

#[tokio::test]
async fn pending_events_of_another_account_do_not_count() {
    every(async |store| {
        store.append("a", &["u1"]).await;
        store.use_account(&AccountName::from("other".to_owned())).await;
        assert_eq!(store.append_if_known("b", &["u1"]).await, Appended::UnknownUser);
        let settled = store.append("c", &["u1"]).await;
        store.settle(settled, done()).await;
        assert_eq!(store.append_if_known("d", &["u1"]).await, Appended::UnknownUser);
    })
    .await;
}

#[tokio::test]
async fn an_earlier_event_of_the_same_call_counts() {
    every(async |store| {
        let known_users_only = Some(KnownUsersOnly {
            none_pending_up_to: store.read_up_to(Seq(0)),
            deleted_at: None,
            if_unknown: OutcomeCode::UnknownUser,
        });
        let only = |event| NewEvent { known_users_only, ..event };
        let events = vec![
            only(store.event("too early", &["u1"], 0)),
            store.event("first", &["u1"], 0),
            only(store.event("second", &["u1"], 0)),
        ];
        let appended = store.store().append(events).await.expect("appended");
        assert_eq!(appended[0], Appended::UnknownUser);
        assert!(accepted(appended[1]) < accepted(appended[2]));
    })
    .await;
}

/// Otherwise each further event without these values would become a dead letter, too.
#[tokio::test]
async fn a_dead_letter_without_a_required_value_makes_its_user_known_to_deletes_alone() {
    every(async |store| {
        let nameless = store.append("nameless", &["u1"]).await;
        store.settle(nameless, dead_of(OutcomeCode::Unmappable, 0)).await;
        assert_eq!(store.append_if_known("another", &["u1"]).await, Appended::UnknownUser);
        let known_users_only = Some(KnownUsersOnly {
            none_pending_up_to: None,
            deleted_at: Some(Timestamp(1)),
            if_unknown: OutcomeCode::NotFound,
        });
        let delete = NewEvent { known_users_only, ..store.event("a delete", &["u1"], 0) };
        accepted(store.try_append(delete).await);
        let poison = store.append("poison", &["u2"]).await;
        store.settle(poison, dead_of(OutcomeCode::Rejected, 0)).await;
        accepted(store.append_if_known("behind it", &["u2"]).await);
    })
    .await;
}

#[tokio::test]
async fn a_user_with_a_dead_letter_is_known_until_it_is_erased_or_discarded() {
    every(async |store| {
        for erased in [true, false] {
            let user = if erased { "u1" } else { "u2" };
            let poison = store.append(&format!("poison of {user}"), &[user]).await;
            store.settle(poison, dead()).await;
            let delete = accepted(store.append_if_known(&format!("a delete of {user}"), &[user]).await);
            store.settle(delete, done()).await;
            if erased {
                store.teach("erases", &["u3"], erase(store.keys(&[user]))).await;
            } else {
                store.store().discard(&[poison.0]).await.expect("discarded");
            }
            assert_eq!(store.append_if_known(&format!("another of {user}"), &[user]).await, Appended::UnknownUser);
        }
    })
    .await;
}
