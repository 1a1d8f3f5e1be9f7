//! Promise 6: several events of one user that were begun together are one unit, until they are settled.

use super::engine::{
    TestStore, accepted, dead, done, done_with, every, hand_back, progress, remember, retry_with, together, unit,
};
use refersion_destination::domain::{Seq, Timestamp};
use refersion_destination::scheduling::Entry;
use refersion_destination::store::{AffiliateChanges, NewEvent, Settlement};

/// `a`, `b`, `c` and `d` of one user.
async fn four(store: &TestStore) -> [Seq; 4] {
    let mut seqs = Vec::new();
    for name in ["a", "b", "c", "d"] {
        seqs.push(store.append(name, &["u1"]).await);
    }
    seqs.try_into().expect("four")
}

/// The followers of each event that waits.
async fn groups(store: &TestStore) -> Vec<(Seq, Vec<Seq>)> {
    store.entries().await.into_iter().map(|Entry { seq, followers, .. }| (seq, followers)).collect()
}

fn alone(seqs: &[Seq]) -> Vec<(Seq, Vec<Seq>)> {
    seqs.iter().map(|seq| (*seq, Vec::new())).collect()
}

#[tokio::test]
async fn followers_are_brought_with_their_head_in_their_order_and_those_that_are_gone_are_not() {
    every(async |store| {
        let [a, b, c, d] = four(store).await;
        store.settle(c, done()).await;
        let begun = store.begin_units(&[unit(&[a, b, c, d])]).await.remove(0);
        let brought: Vec<_> = begun.followers.iter().map(|one| (one.seq, one.id, one.body.clone())).collect();
        assert_eq!(brought, [(b, store.id("b"), b"b".to_vec()), (d, store.id("d"), b"d".to_vec())]);
    })
    .await;
}

#[tokio::test]
async fn events_begun_together_are_one_unit_after_a_restart_without_those_appended_since() {
    every(async |store| {
        let [a, b, c, d] = four(store).await;
        store.begin_units(&[unit(&[a, b, c])]).await;
        store.save(&unit(&[a, b, c]), &together(3)).await;
        let fifth = store.append("e", &["u1"]).await;
        for _ in 0..2 {
            store.reopen().await;
            assert_eq!(groups(store).await, [(a, vec![b, c]), (b, vec![]), (c, vec![]), (d, vec![]), (fifth, vec![])]);
            let begun = store.look_at(a).await;
            assert_eq!((begun.interrupted, begun.progress), (true, together(3)));
        }
    })
    .await;
}

/// A unit with other followers was read before the marks changed: what may have had its effect together decides.
#[tokio::test]
async fn a_head_that_was_begun_with_others_is_brought_with_exactly_those() {
    every(async |store| {
        let [a, b, c, d] = four(store).await;
        store.save(&unit(&[a, b, c]), &together(3)).await;
        store.reopen().await;
        for asked_for in [unit(&[a]), unit(&[a, b, c, d]), unit(&[a, d])] {
            let begun = store.begin_units(std::slice::from_ref(&asked_for)).await.remove(0);
            let brought: Vec<Seq> = begun.followers.iter().map(|follower| follower.seq).collect();
            assert_eq!(brought, [b, c], "{asked_for:?}");
        }
    })
    .await;
}

/// The rest is brought another time.
#[tokio::test]
async fn followers_of_more_than_128_kib_are_not_brought_together() {
    every(async |store| {
        let mut seqs = vec![store.append("head", &["u1"]).await];
        for kib in [100, 28, 1] {
            let event = NewEvent { body: vec![b'x'; kib * 1024], ..store.event(&kib.to_string(), &["u1"], 0) };
            seqs.push(accepted(store.try_append(event).await));
        }
        let begun = store.begin_units(&[unit(&seqs)]).await.remove(0);
        let brought: Vec<Seq> = begun.followers.iter().map(|follower| follower.seq).collect();
        assert_eq!(brought, seqs[1..3]);
    })
    .await;
}

#[tokio::test]
async fn a_smaller_group_replaces_a_larger_one() {
    every(async |store| {
        let [a, b, c, d] = four(store).await;
        store.save(&unit(&[a, b, c, d]), &together(4)).await;
        store.save(&unit(&[a, b]), &together(2)).await;
        assert_eq!(groups(store).await, [(a, vec![b]), (b, vec![]), (c, vec![]), (d, vec![])]);
        store.save(&unit(&[a]), &progress(1)).await;
        assert_eq!(groups(store).await, alone(&[a, b, c, d]));
    })
    .await;
}

#[tokio::test]
async fn a_retry_keeps_its_group_and_so_does_a_pause_while_several_were_asked_for_together() {
    let hand_back_together = Settlement::HandBack { progress: together(3) };
    for (settlement, stays) in [(retry_with(5, together(3)), true), (hand_back_together, true), (hand_back(), false)] {
        every(async |store| {
            let [a, b, c, d] = four(store).await;
            store.save(&unit(&[a, b, c]), &together(3)).await;
            store.try_settle(&unit(&[a, b, c]), settlement.clone()).await.expect("settled");
            store.reopen().await;
            let expected = if stays { vec![b, c] } else { vec![] };
            assert_eq!(groups(store).await[0], (a, expected), "{settlement:?}");
            assert!(!store.look_at(a).await.interrupted);
            assert_eq!(store.counts(), (4, 0));
            assert_eq!(groups(store).await[3], (d, vec![]));
        })
        .await;
    }
}

#[tokio::test]
async fn events_of_a_group_leave_together_and_each_is_a_duplicate() {
    every(async |store| {
        let [a, b, c, d] = four(store).await;
        store.save(&unit(&[a, b, c]), &together(3)).await;
        let changes = remember("code", store.keys(&["u1"]));
        let settled = store.store().settle(&store.account, &unit(&[a, b, c]), done_with(&[b, c]), changes).await;
        assert_eq!((settled, store.counts()), (Ok(()), (1, 0)));
        store.reopen().await;
        assert_eq!(groups(store).await, alone(&[d]));
        for name in ["a", "b", "c"] {
            assert!(store.is_duplicate(name).await, "{name}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_follower_that_the_settlement_does_not_name_stays_pending_by_itself() {
    every(async |store| {
        for settlement in [done_with(&[]), dead()] {
            let name = format!("{settlement:?}");
            let (a, b) =
                (store.append(&format!("a {name}"), &["u1"]).await, store.append(&format!("b {name}"), &["u1"]).await);
            store.save(&unit(&[a, b]), &together(2)).await;
            store.try_settle(&unit(&[a, b]), settlement).await.expect("settled");
            store.reopen().await;
            assert_eq!(groups(store).await, alone(&[b]), "{name}");
            store.settle(b, done()).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_follower_that_is_gone_is_passed_over() {
    every(async |store| {
        let [a, b, c, d] = four(store).await;
        store.begin_units(&[unit(&[a])]).await;
        let forgotten =
            store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
        assert_eq!((forgotten.in_flight, forgotten.events), (1, 3));
        let fifth = store.append("e", &["u1"]).await;
        let unit = unit(&[a, b, c, d]);
        store.try_settle(&unit, done_with(&[b, c, d, Seq(99_999)])).await.expect("settled");
        assert_eq!((store.counts(), groups(store).await), ((1, 3), alone(&[fifth])), "nobody is counted twice");
    })
    .await;
}

#[tokio::test]
async fn all_of_a_unit_that_was_begun_is_in_flight_until_it_is_released() {
    every(async |store| {
        let [a, b, c, d] = four(store).await;
        store.begin_units(&[unit(&[a, b])]).await;
        let forget =
            async || store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
        let forgotten = forget().await;
        assert_eq!((forgotten.in_flight, forgotten.events), (2, 2));
        store.store().release(&[a, b, c, d]);
        let forgotten = forget().await;
        assert_eq!((forgotten.in_flight, forgotten.events), (0, 2));
    })
    .await;
}

#[tokio::test]
async fn a_settlement_ends_the_flight_of_all_of_its_unit() {
    for settlement in [retry_with(5, together(2)), hand_back(), dead()] {
        every(async |store| {
            let [a, b, ..] = four(store).await;
            store.begin_units(&[unit(&[a, b])]).await;
            store.save(&unit(&[a, b]), &together(2)).await;
            let changes = AffiliateChanges::default();
            store.store().settle(&store.account, &unit(&[a, b]), settlement.clone(), changes).await.expect("settled");
            let forgotten =
                store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
            assert_eq!(forgotten.in_flight, 0, "{settlement:?}");
        })
        .await;
    }
}
