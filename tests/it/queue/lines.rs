//! Promise 3: one user, one line; and who is one user.

use super::engine::{LATE, LEASE, Store, every, hand_back, is_behind, names, remember, retry};
use refersion_destination::queue::Claimed;

/// Two lines become one while both heads are claimable: `a` of u1, `b` of u2, `c` of both.
async fn merged(store: &Store) {
    store.record_at("a", &["u1"], 1).await;
    store.record_at("b", &["u2@x.io"], 2).await;
    assert!(is_behind(store.record_at("c", &["u1", "u2@x.io"], 3).await));
}

/// The same, while `b` is being carried out already and `b2` waits behind it.
async fn merged_while_the_second_is_leased(store: &Store) -> Claimed {
    store.record_at("a", &["u1"], 1).await;
    store.record_at("b", &["u2@x.io"], 2).await;
    store.record_at("b2", &["u2@x.io"], 3).await;
    let mut heads = store.claim(10).await;
    assert_eq!(names(&heads), ["a", "b"]);
    store.settle(&heads[0].ticket, hand_back()).await.expect("handed back");
    assert!(is_behind(store.record_at("c", &["u1", "u2@x.io"], 13).await));
    heads.remove(1)
}

/// Carries out everything, one claim after the other, and says in which order and with which neighbours.
async fn drain(store: &Store, now: i64) -> Vec<Vec<String>> {
    let mut rounds = Vec::new();
    loop {
        let events = store.claim(now).await;
        if events.is_empty() {
            return rounds;
        }
        rounds.push(names(&events));
        for claimed in events {
            store.done(&claimed).await;
        }
    }
}

#[tokio::test]
async fn events_of_one_user_come_one_at_a_time_in_the_order_received() {
    for keys in [["u1"], ["u1@x.io"]] {
        every(async |store| {
            assert!(!is_behind(store.record("a", &keys).await));
            assert!(is_behind(store.record("b", &keys).await));
            assert!(is_behind(store.record("c", &keys).await));
            let a = store.claim_one(0).await;
            assert_eq!(store.claim_names(0).await, [""; 0], "while one is carried out, the others wait");
            store.done(&a).await;
            assert_eq!(drain(store, 0).await, [["b"], ["c"]]);
        })
        .await;
    }
}

#[tokio::test]
async fn events_share_a_line_by_user_id_or_by_address() {
    every(async |store| {
        store.record("a", &["u1", "u1@x.io"]).await;
        assert!(is_behind(store.record("by id", &["u1", "new@x.io"]).await));
        assert!(is_behind(store.record("by address", &["u2", "U1@X.IO"]).await));
        assert!(!is_behind(store.record("neither", &["u3", "u3@x.io"]).await));
        assert_eq!(drain(store, 0).await, [vec!["a", "neither"], vec!["by id"], vec!["by address"]]);
    })
    .await;
}

#[tokio::test]
async fn a_user_id_spelled_like_an_address_is_another_key() {
    every(async |store| {
        use refersion_destination::domain::{UserId, UserKey};
        store.record("a", &["u1@x.io"]).await;
        let user_id = store.hash().user_id(&store.account, &UserId::parse("u1@x.io").expect("valid"));
        assert!(matches!(user_id, UserKey::UserId(_)));
        let mut event = store.event("b", &[], 0);
        event.keys = vec![user_id];
        assert!(!is_behind(store.try_record(vec![event]).await.expect("recorded")[0]));
    })
    .await;
}

#[tokio::test]
async fn events_share_a_line_when_their_keys_lead_to_one_affiliate() {
    every(async |store| {
        store.teach("first", &["u1"], remember("code", store.keys(&["u1", "u1@x.io"]))).await;
        assert!(!is_behind(store.record("a", &["u1"]).await));
        assert!(is_behind(store.record("b", &["u1@x.io"]).await));
        assert!(is_behind(store.record("c", &["u1@x.io", "u9"]).await));
        assert_eq!(drain(store, 0).await, [["a"], ["b"], ["c"]]);
    })
    .await;
}

#[tokio::test]
async fn a_third_event_makes_one_line_of_two() {
    every(async |store| {
        merged(store).await;
        assert_eq!(drain(store, 9).await, [["a"], ["b"], ["c"]]);
    })
    .await;
}

#[tokio::test]
async fn a_merged_line_is_one_for_all_keys_of_its_members() {
    every(async |store| {
        store.record("a", &["u1", "a@x.io"]).await;
        store.record("a2", &["u1", "a2@x.io"]).await;
        store.record("b", &["u2", "b@x.io"]).await;
        store.record("b2", &["u2", "b2@x.io"]).await;
        store.record("both", &["u1", "b@x.io"]).await;
        assert!(is_behind(store.record("last", &["u4", "b2@x.io"]).await));
        assert!(is_behind(store.record("very last", &["u4"]).await));
        let expected = [["a"], ["a2"], ["b"], ["b2"], ["both"], ["last"], ["very last"]];
        assert_eq!(drain(store, 0).await, expected);
        for user in ["u1", "u2", "a2@x.io", "b2@x.io"] {
            assert!(!is_behind(store.record(&format!("new {user}"), &[user]).await), "all lines are empty: {user}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_order_in_a_merged_line_is_that_of_arrival() {
    every(async |store| {
        for (name, user) in [("1", "u1"), ("2", "u2"), ("3", "u1"), ("4", "u3"), ("5", "u2"), ("6", "u3")] {
            let address = format!("{user}@x.io");
            store.record(name, &[user, &address]).await;
        }
        store.record("7", &["u3", "u1@x.io"]).await;
        store.record("8", &["u2", "u3@x.io"]).await;
        assert_eq!(drain(store, 0).await, [["1"], ["2"], ["3"], ["4"], ["5"], ["6"], ["7"], ["8"]]);
    })
    .await;
}

#[tokio::test]
async fn a_merged_line_stays_one_after_a_restart() {
    every(async |store| {
        merged(store).await;
        store.reopen().await;
        assert_eq!(drain(store, 9).await, [["a"], ["b"], ["c"]]);
    })
    .await;
}

#[tokio::test]
async fn an_event_carried_out_while_its_line_merged_may_be_finished() {
    every(async |store| {
        let b = merged_while_the_second_is_leased(store).await;
        let a = store.claim_one(14).await;
        assert_eq!(a.body, b"a");
        store.done(&b).await;
        assert_eq!(store.claim_names(14).await, [""; 0]);
        store.done(&a).await;
        assert_eq!(drain(store, 14).await, [["b2"], ["c"]]);
    })
    .await;
}

#[tokio::test]
async fn an_event_handed_back_after_its_line_merged_waits_its_turn() {
    for settlement in [retry(13), hand_back()] {
        every(async |store| {
            let b = merged_while_the_second_is_leased(store).await;
            store.settle(&b.ticket, settlement.clone()).await.expect("settled");
            assert_eq!(drain(store, LATE).await, [["a"], ["b"], ["b2"], ["c"]]);
        })
        .await;
    }
}

#[tokio::test]
async fn an_event_whose_lease_expired_after_its_line_merged_waits_its_turn() {
    every(async |store| {
        let b = merged_while_the_second_is_leased(store).await;
        let later = 13 + 2 * LEASE;
        assert_eq!(store.claim_names(later).await, ["a"]);
        assert_eq!(store.batch(9, later).await.next.map(|next| next.0), Some(later + LEASE));
        let a = store.claim_one(later + LEASE).await;
        assert_eq!(a.body, b"a");
        assert!(a.interrupted);
        store.done(&a).await;
        let again = store.claim_one(later + LEASE).await;
        assert_eq!((again.ticket.seq, again.interrupted), (b.ticket.seq, true));
    })
    .await;
}

#[tokio::test]
async fn a_restart_leaves_only_the_earliest_of_a_merged_line_claimable() {
    every(async |store| {
        merged_while_the_second_is_leased(store).await;
        store.reopen().await;
        assert_eq!(drain(store, LATE).await, [["a"], ["b"], ["b2"], ["c"]]);
    })
    .await;
}

#[tokio::test]
async fn both_heads_leased_when_their_lines_merge_are_finished_in_any_order() {
    for first in [0, 1] {
        every(async |store| {
            store.record_at("a", &["u1"], 1).await;
            store.record_at("b", &["u2@x.io"], 2).await;
            let heads = store.claim(2).await;
            store.record_at("c", &["u1", "u2@x.io"], 3).await;
            store.done(&heads[first]).await;
            assert_eq!(store.claim_names(3).await, [""; 0]);
            store.done(&heads[1 - first]).await;
            assert_eq!(drain(store, 3).await, [["c"]]);
        })
        .await;
    }
}

#[tokio::test]
async fn a_moment_to_wait_for_outlasts_a_merge() {
    every(async |store| {
        store.record_at("a", &["u1"], 1).await;
        let a = store.claim_one(1).await;
        store.record_at("b", &["u2@x.io"], 2).await;
        let b = store.claim_one(2).await;
        store.settle(&b.ticket, retry(500)).await.expect("settled");
        store.record_at("c", &["u1", "u2@x.io"], 3).await;
        store.done(&a).await;
        assert_eq!(store.claim_names(499).await, [""; 0]);
        assert_eq!(store.claim_names(500).await, ["b"]);
    })
    .await;
}

#[tokio::test]
async fn a_stuck_event_holds_up_its_own_user_and_nobody_else() {
    every(async |store| {
        store.record("stuck", &["u1"]).await;
        let stuck = store.claim_one(0).await;
        store.settle(&stuck.ticket, retry(LATE)).await.expect("settled");
        store.record("behind", &["u1"]).await;
        store.record("other", &["u2"]).await;
        assert_eq!(drain(store, LATE - 1).await, [["other"]]);
        assert_eq!(drain(store, LATE).await, [["stuck"], ["behind"]]);
    })
    .await;
}

#[tokio::test]
async fn a_dead_event_lets_the_next_one_pass() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        store.record("b", &["u1"]).await;
        let a = store.claim_one(0).await;
        store.settle(&a.ticket, super::engine::dead()).await.expect("settled");
        assert_eq!(drain(store, 0).await, [["b"]]);
    })
    .await;
}
