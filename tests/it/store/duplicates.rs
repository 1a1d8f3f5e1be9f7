//! Promise 3: an event appended once is a duplicate from then on, until the window has passed, and while it is pending or can
//! be replayed.

use super::engine::{LATE, accepted, dead, done, every};
use refersion_destination::domain::{AccountName, Seq};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::Replay;

#[tokio::test]
async fn a_repeat_is_a_duplicate_while_its_event_is_pending_or_in_flight_and_after_it_is_settled() {
    every(async |store| {
        let (ends, dies) = (store.append("done", &["u1"]).await, store.append("dead", &["u2"]).await);
        for step in 0..4 {
            for name in ["done", "dead"] {
                assert!(store.is_duplicate(name).await, "{name}, step {step}");
            }
            match step {
                0 | 3 => store.reopen().await,
                1 => drop(store.begin_units(&[Unit::of(ends), Unit::of(dies)]).await),
                _ => {
                    store.settle(ends, done()).await;
                    store.settle(dies, dead()).await;
                }
            }
        }
        assert_eq!(store.counts(), (0, 1));
    })
    .await;
}

#[tokio::test]
async fn an_id_is_forgotten_once_the_window_has_passed_and_not_before() {
    every(async |store| {
        for (name, at) in [("a", 10), ("b", 20)] {
            let seq = accepted(store.try_append(store.event(name, &[name], at)).await);
            store.settle(seq, done()).await;
        }
        store.compact(10).await;
        assert!(store.is_duplicate("a").await);
        store.compact(11).await;
        assert!(!store.is_duplicate("a").await);
        assert!(store.is_duplicate("b").await);
        store.reopen().await;
        assert!(store.is_duplicate("b").await);
    })
    .await;
}

#[tokio::test]
async fn an_id_is_never_forgotten_while_its_event_is_pending() {
    every(async |store| {
        // The second was received before the first: two requests overtook one another on their way to the store.
        for (name, at) in [("first", 50), ("second", 40)] {
            store.try_append(store.event(name, &[name], at)).await;
        }
        store.compact(LATE).await;
        assert!(store.is_duplicate("first").await && store.is_duplicate("second").await);
        store.reopen().await;
        store.compact(LATE).await;
        assert!(store.is_duplicate("first").await && store.is_duplicate("second").await);
        assert_eq!(store.names().await, ["first", "second"]);
    })
    .await;
}

#[tokio::test]
async fn an_id_is_never_forgotten_while_its_dead_letter_is_kept() {
    every(async |store| {
        let letter = store.die("a", &["u1"]).await;
        store.compact(LATE).await;
        store.reopen().await;
        store.compact(LATE).await;
        assert!(store.is_duplicate("a").await);
        store.store().discard(&[letter.0]).await.expect("discarded");
        store.compact(LATE).await;
        assert!(!store.is_duplicate("a").await);
    })
    .await;
}

#[tokio::test]
async fn a_pending_event_keeps_no_other_id_from_being_forgotten() {
    every(async |store| {
        store.append("stuck", &["u1"]).await;
        let settled = accepted(store.try_append(store.event("settled", &["u2"], 5)).await);
        store.settle(settled, done()).await;
        store.compact(6).await;
        assert!(!store.is_duplicate("settled").await);
    })
    .await;
}

/// How many compactions may be needed before all that is to be forgotten is.
const TIMES: usize = 5;

#[tokio::test]
async fn settled_events_among_many_are_forgotten_and_the_others_stay() {
    every(async |store| {
        let events = (0..12_000).map(|n| store.event(&format!("e{n}"), &["u1"], 0)).collect();
        let appended = store.store().append(events).await.expect("appended");
        let seqs: Vec<Seq> = appended.into_iter().map(accepted).collect();
        for seq in &seqs[..20] {
            store.settle(*seq, done()).await;
        }
        for _ in 0..TIMES {
            store.compact(LATE).await;
        }
        store.reopen().await;
        for n in (0..40).chain(11_960..12_000) {
            assert_eq!(store.is_duplicate(&format!("e{n}")).await, n >= 20, "e{n}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_id_in_another_account_is_another_event() {
    every(async |store| {
        store.append("a", &["u1"]).await;
        store.use_account(&AccountName::from("other".to_owned())).await;
        store.append("a", &["u1"]).await;
        assert_eq!(store.names().await, ["a"]);
    })
    .await;
}

#[tokio::test]
async fn a_replay_is_no_duplicate_but_makes_its_repeats_duplicates() {
    every(async |store| {
        let letter = store.die("a", &["u1"]).await;
        assert_eq!(store.replay(&[letter]).await, [(letter.0, Replay::Replayed)]);
        store.compact(LATE).await;
        assert!(store.is_duplicate("a").await, "never forgotten while it waits");
        let again = store.entries().await[0].seq;
        store.settle(again, done()).await;
        assert!(store.is_duplicate("a").await, "its id points to its newest row");
        store.reopen().await;
        assert!(store.is_duplicate("a").await);
    })
    .await;
}
