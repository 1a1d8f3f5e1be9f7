//! The store's data for operators: pending events of an account, the result of an event, and the known accounts.

use super::engine::{TestStore, dead_of, done_with, every, retry, unit};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, Seq, Timestamp, UserKey};
use refersion_destination::store::{BacklogFilter, BacklogPage, EventRecord, EventState, PendingEvent};

fn of_main() -> BacklogFilter {
    BacklogFilter { account: AccountName::main(), user: None, received_before: None }
}

async fn page(store: &TestStore, filter: &BacklogFilter, after: i64, limit: usize) -> BacklogPage {
    store.store().backlog(filter, after, limit).await.expect("a page")
}

/// The seqs of all events that fit, page by page; and the number of pages.
async fn all(store: &TestStore, filter: &BacklogFilter, limit: usize) -> (Vec<i64>, usize) {
    let (mut seqs, mut after, mut pages) = (Vec::new(), Some(0), 0);
    while let Some(from) = after {
        let BacklogPage { events, next } = page(store, filter, from, limit).await;
        assert!(events.len() <= limit);
        seqs.extend(events.iter().map(|event| event.seq));
        (after, pages) = (next, pages + 1);
    }
    (seqs, pages)
}

async fn record(store: &TestStore, seq: i64) -> Option<EventRecord> {
    store.store().event_record(seq).await.expect("read")
}

#[tokio::test]
async fn a_pending_event_is_shown_with_the_hashes_of_its_user_and_its_failures() {
    every(async |store| {
        let a = store.append("a", &["u1", "a@x.io"]).await;
        store.settle(a, retry(1_000)).await;
        let event = store.try_append(store.event("b", &["b@x.io"], 7)).await;
        let b = super::engine::accepted(event);
        let hash = |user: &str| Some(hex::encode(store.keys(&[user])[0].bytes()));
        let shown = |name: &str, seq: Seq| PendingEvent {
            seq: seq.0,
            event: store.id(name).to_string(),
            user_id_hash: None,
            email_hash: None,
            received_at: Timestamp(0),
            failures: 0,
        };
        let first = PendingEvent { user_id_hash: hash("u1"), email_hash: hash("a@x.io"), failures: 1, ..shown("a", a) };
        let second = PendingEvent { email_hash: hash("b@x.io"), received_at: Timestamp(7), ..shown("b", b) };
        for _ in 0..2 {
            let expected = BacklogPage { events: vec![first.clone(), second.clone()], next: None };
            assert_eq!(page(store, &of_main(), 0, 9).await, expected);
            store.reopen().await;
        }
    })
    .await;
}

#[tokio::test]
async fn filters_choose_by_account_user_and_moment_and_settled_events_are_not_shown() {
    every(async |store| {
        let mut seqs = Vec::new();
        for (name, users, at) in [("a", &["u1"][..], 10), ("b", &["u2", "a@x.io"], 20), ("c", &["u1", "a@x.io"], 30)] {
            seqs.push(super::engine::accepted(store.try_append(store.event(name, users, at)).await).0);
        }
        let settled = store.append("settled", &["u1"]).await;
        store.settle(settled, done_with(&[])).await;
        store.die("dead", &["u1"]).await;
        let other = refersion_destination::store::NewEvent {
            account: AccountName::from("other".to_owned()),
            ..store.event("other's", &["u1"], 0)
        };
        let other_seq = super::engine::accepted(store.try_append(other).await).0;
        let hash = |user: &str| store.keys(&[user]).first().map(|key: &UserKey| *key.bytes());
        for (user, before, expected) in [
            (None, None, &[0, 1, 2][..]),
            (hash("u1"), None, &[0, 2]),
            (hash("a@x.io"), None, &[1, 2]),
            (hash("nobody"), None, &[]),
            (None, Some(20), &[0]),
            (hash("u1"), Some(30), &[0]),
        ] {
            let filter = BacklogFilter { user, received_before: before.map(Timestamp), ..of_main() };
            let expected: Vec<i64> = expected.iter().map(|n| seqs[*n]).collect();
            for limit in [1, 9] {
                assert_eq!(all(store, &filter, limit).await.0, expected, "{filter:?}");
            }
        }
        let of = |name: &str| BacklogFilter { account: AccountName::from(name.to_owned()), ..of_main() };
        assert_eq!(all(store, &of("other"), 9).await.0, [other_seq]);
        assert_eq!(all(store, &of("nobody's"), 9).await, (vec![], 1));
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_fits_few_of_many_pending_events_ends_all_the_same() {
    every(async |store| {
        let mut events: Vec<_> = (0..2_500).map(|n| store.event(&n.to_string(), &[&format!("u{n}")], 0)).collect();
        events[2_300].user_keys = store.keys(&["searched"]);
        let appended = store.store().append(events).await.expect("appended");
        let expected = super::engine::accepted(appended[2_300]).0;
        let user = Some(*store.keys(&["searched"])[0].bytes());
        let found = all(store, &BacklogFilter { user, ..of_main() }, 100).await;
        assert_eq!(found, (vec![expected], 3), "so many take no long transaction");
    })
    .await;
}

#[tokio::test]
async fn the_outcome_of_an_event_is_known_until_it_has_left_the_window() {
    every(async |store| {
        let seqs = [
            store.append("pending", &["u1"]).await,
            store.append("done", &["u2"]).await,
            store.append("with it", &["u2"]).await,
            store.append("dead", &["u3"]).await,
        ];
        store.try_settle(&unit(&seqs[1..3]), done_with(&seqs[2..3])).await.expect("settled");
        store.settle(seqs[3], dead_of(OutcomeCode::Expired, 9)).await;
        let states = async || {
            let mut states = Vec::new();
            for seq in seqs {
                let found = record(store, seq.0).await;
                states.push(found.map(|record| (record.state, record.outcome.unwrap_or_default(), record.reason)));
            }
            states
        };
        let dead = (EventState::DeadLetter, "expired".to_owned(), Some("for a test".to_owned()));
        let pending = (EventState::Pending, String::new(), None);
        let settled = |outcome: &str| Some((EventState::Settled, outcome.to_owned(), None));
        let expected = [Some(pending), settled("created"), settled("updated"), Some(dead)];
        assert_eq!(states().await, expected);
        let whole = record(store, seqs[0].0).await.expect("known");
        assert_eq!((&*whole.account, whole.event, whole.seq), ("main", store.id("pending").to_string(), seqs[0].0));
        store.compact(super::engine::LATE).await;
        assert_eq!(states().await, [expected[0].clone(), None, None, expected[3].clone()]);
        assert_eq!(record(store, 1_000_000).await, None);
    })
    .await;
}

#[tokio::test]
async fn a_replay_says_where_the_event_is_pending_now() {
    every(async |store| {
        let (a, b) = (store.die("a", &["u1"]).await, store.die("b", &["u2"]).await);
        let results = store.store().replay(&[b.0, a.0, 1_000_000]).await.expect("replayed");
        let seqs: Vec<(i64, Option<i64>)> = results.iter().map(|result| (result.id, result.seq)).collect();
        let pending: Vec<i64> = store.entries().await.iter().map(|entry| entry.seq.0).collect();
        assert_eq!(seqs, [(a.0, Some(pending[0])), (b.0, Some(pending[1])), (1_000_000, None)]);
        let again = record(store, pending[0]).await.expect("known");
        assert_eq!((again.state, again.event), (EventState::Pending, store.id("a").to_string()));
        assert_eq!(record(store, a.0).await.map(|earlier| earlier.state), Some(EventState::Settled));
    })
    .await;
}

#[tokio::test]
async fn an_account_is_known_once_it_had_an_event_and_its_oldest_pending_one_tells_its_age() {
    every(async |store| {
        let (main, other) = (AccountName::main(), AccountName::from("other".to_owned()));
        let knows = async |account: &AccountName| store.store().knows_account(account).await.expect("read");
        let oldest = async || store.store().oldest_pending(&[other.clone(), main.clone()]).await.expect("read");
        assert_eq!((knows(&other).await, oldest().await), (false, vec![None, None]));
        let first = super::engine::accepted(store.try_append(store.event("a", &["u1"], 5)).await);
        store.try_append(store.event("b", &["u1"], 7)).await;
        assert_eq!((knows(&main).await, knows(&other).await), (true, false));
        assert_eq!(oldest().await, [None, Some(Timestamp(5))]);
        store.settle(first, done_with(&[])).await;
        assert_eq!(oldest().await, [None, Some(Timestamp(7))]);
    })
    .await;
}
