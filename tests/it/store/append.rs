//! Promises 1 and 2: an append is all or nothing, in commit order, within the limit of the backlog.

use super::engine::{LATE, accepted, dead, done, every, every_of};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, Seq, Timestamp};
use refersion_destination::scheduling::Entry;
use refersion_destination::store::{Appended, KnownUsersOnly, NewEvent, Retention, StoreError};
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

#[tokio::test]
async fn an_appended_event_is_complete_after_a_restart() {
    every(async |store| {
        let event = NewEvent { body: b"raw \0 bytes".to_vec(), ..store.event("a", &["u1", "u1@x.io"], 41) };
        let seq = accepted(store.try_append(event).await);
        store.reopen().await;
        let begun = store.begin(seq).await;
        assert_eq!((begun.seq, begun.id, begun.received_at), (seq, store.id("a"), Timestamp(41)));
        assert_eq!(begun.body.expect("readable"), b"raw \0 bytes");
        assert_eq!(begun.user_keys, store.keys(&["u1", "u1@x.io"]));
        assert_eq!((begun.failures, begun.interrupted, begun.failing_for.as_millis()), (0, false, 0));
    })
    .await;
}

#[tokio::test]
async fn bodies_of_every_size_are_read_back_to_the_byte() {
    every(async |store| {
        let bodies = [0, 1, 255, 256, 257, 8_191, 100_000].map(|length| vec![b'x'; length]);
        for (n, body) in bodies.iter().enumerate() {
            let event = NewEvent { body: body.clone(), ..store.event(&n.to_string(), &["u1"], 0) };
            let seq = accepted(store.try_append(event).await);
            assert_eq!(store.look_at(seq).await.body.as_ref(), Ok(body));
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_backlog_takes_none_of_the_events_and_says_how_many_wait() {
    every_of(3, async |store| {
        let a = store.append("a", &["u1"]).await;
        store.append("b", &["u2"]).await;
        let two = vec![store.event("c", &["u3"], 0), store.event("d", &["u4"], 0)];
        assert_eq!(store.store().append(two).await, Err(StoreError::BacklogFull(2)));
        assert_eq!(store.counts(), (2, 0));
        let c = store.try_append(store.event("c", &["u3"], 0)).await;
        assert!(matches!(c, Appended::Accepted { pending: 2, .. }), "{c:?}");
        assert_eq!(store.store().append(vec![store.event("e", &["u5"], 0)]).await, Err(StoreError::BacklogFull(3)));
        store.settle(a, done()).await;
        store.append("d", &["u4"]).await;
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_a_duplicate_even_where_the_backlog_is_full() {
    every_of(1, async |store| {
        store.append("a", &["u1"]).await;
        assert!(store.is_duplicate("a").await);
        let with_a_new_one = vec![store.event("a", &["u1"], 0), store.event("b", &["u2"], 0)];
        assert_eq!(store.store().append(with_a_new_one).await, Err(StoreError::BacklogFull(1)));
    })
    .await;
}

#[tokio::test]
async fn a_full_backlog_of_one_account_is_not_another_ones() {
    every_of(1, async |store| {
        store.append("a", &["u1"]).await;
        for name in ["b", "c"] {
            store.use_account(&AccountName::from("other".to_owned())).await;
            let appended = store.try_append(store.event(name, &["u1"], 0)).await;
            assert!(matches!(appended, Appended::Accepted { pending: 0, .. }), "{appended:?}");
            assert_eq!(store.store().append(vec![store.event("d", &["u2"], 0)]).await, Err(StoreError::BacklogFull(1)));
            store.settle(accepted(appended), done()).await;
            store.reopen().await;
            store.use_account(&AccountName::main()).await;
            assert_eq!(store.store().append(vec![store.event("d", &["u2"], 0)]).await, Err(StoreError::BacklogFull(1)));
        }
    })
    .await;
}

#[tokio::test]
async fn each_event_of_a_call_has_its_own_answer_and_a_repeat_within_it_is_a_duplicate() {
    every(async |store| {
        store.append("a", &["u1"]).await;
        let none = Some(KnownUsersOnly {
            none_pending_up_to: store.read_up_to(Seq(i64::MAX)),
            deleted_at: None,
            if_unknown: OutcomeCode::UnknownUser,
        });
        let events = vec![
            store.event("a", &["u1"], 0),
            store.event("b", &["u2"], 0),
            NewEvent { known_users_only: none, ..store.event("c", &["u3"], 0) },
            store.event("d", &["u2"], 0),
            store.event("b", &["u2"], 0),
        ];
        let answers = store.store().append(events).await.expect("appended");
        let [Appended::Duplicate, b, Appended::UnknownUser, d, Appended::Duplicate] = answers[..] else {
            panic!("{answers:?}")
        };
        assert!(
            matches!(b, Appended::Accepted { pending: 1, .. }) && matches!(d, Appended::Accepted { pending: 2, .. })
        );
        assert!(accepted(b) < accepted(d));
        assert_eq!(store.names().await, ["a", "b", "d"]);
        assert_eq!(store.store().append(Vec::new()).await, Ok(Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn no_seq_is_given_twice_though_the_store_is_empty_and_opened_anew() {
    every(async |store| {
        let mut last = Seq(0);
        for name in ["a", "b", "c", "d", "e", "f"] {
            let seq = store.append(name, &["u1"]).await;
            assert!(seq > last, "{name}");
            last = seq;
            store.settle(seq, if name < "d" { dead() } else { done() }).await;
            let dead: Vec<i64> = (1..=seq.0).collect();
            store.store().discard(&dead).await.expect("discarded");
            store.compact(LATE).await;
            store.reopen().await;
        }
    })
    .await;
}

/// Four tasks append, one reads on from where it was.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reader_that_reads_while_others_append_misses_none() {
    every(async |store| {
        let mut writers = tokio::task::JoinSet::new();
        for writer in 0..4 {
            let events: Vec<NewEvent> = (0..60).map(|n| store.event(&format!("{writer}.{n}"), &["u1"], 0)).collect();
            let log = Arc::clone(store.store());
            writers.spawn(async move {
                let mut given = Vec::new();
                for events in events.chunks(3) {
                    let appended = log.append(events.to_vec()).await.expect("appended");
                    given.extend(appended.into_iter().map(accepted));
                }
                given
            });
        }
        let (mut read, mut given): (Vec<Seq>, BTreeMap<Seq, usize>) = (Vec::new(), BTreeMap::new());
        while read.len() < 240 {
            let after = read.last().copied().unwrap_or_default();
            let entries = store.store().read(&store.account, after, 7).await.expect("read");
            read.extend(entries.iter().map(|entry: &Entry| entry.seq));
            if let Some(seqs) = writers.try_join_next() {
                let seqs = seqs.expect("no panic");
                assert!(seqs.is_sorted(), "a caller's events are in the order of its calls");
                given.extend(seqs.into_iter().map(|seq| (seq, 1)));
            }
            tokio::task::yield_now().await;
        }
        while let Some(seqs) = writers.join_next().await {
            given.extend(seqs.expect("no panic").into_iter().map(|seq| (seq, 1)));
        }
        assert!(read.is_sorted());
        assert_eq!(read.iter().collect::<BTreeSet<_>>(), given.keys().collect::<BTreeSet<_>>());
    })
    .await;
}

#[tokio::test]
async fn every_call_says_closed_after_close() {
    every(async |store| {
        let seq = store.append("a", &["u1"]).await;
        let unit = refersion_destination::scheduling::Unit::of(seq);
        store.store().close().await;
        store.store().close().await;
        store.store().closed().await;
        assert_eq!(store.store().append(vec![store.event("b", &["u2"], 0)]).await, Err(StoreError::Closed));
        assert_eq!(store.store().read(&store.account, Seq(0), 9).await, Err(StoreError::Closed));
        assert_eq!(
            store.store().begin(&store.account, std::slice::from_ref(&unit)).await.err(),
            Some(StoreError::Closed)
        );
        assert_eq!(store.try_settle(&unit, done()).await, Err(StoreError::Closed));
        assert_eq!(store.store().compact(Retention::default()).await, Err(StoreError::Closed));
        assert_eq!(store.store().probe().await, Err(StoreError::Closed));
        assert_eq!(store.store().replay(&[1]).await, Err(StoreError::Closed));
    })
    .await;
}
