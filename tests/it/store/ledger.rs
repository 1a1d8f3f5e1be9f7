//! The ledger: the result of an event that was not appended, and the time for which each result is known.

use super::engine::{LATE, TestStore, accepted, dead, done, every};
use crate::support::within;
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, SourceId, Timestamp};
use refersion_destination::store::{
    AnsweredEvent, Appended, DeadLetterFilter, EventFilter, EventRecord, EventState, KnownUsersOnly, LedgerStatus,
    LookupQuery, NewEvent, PageStart, Retention,
};

/// An event that was refused at moment `at`.
fn refused(store: &TestStore, name: &str, users: &[&str], at: i64) -> AnsweredEvent {
    AnsweredEvent {
        account: store.account.clone(),
        id: store.id(name),
        user_keys: store.keys(users),
        source: SourceId::parse("kqhTW1TtBqa2xnrtx9uPMb"),
        received_at: Timestamp(at),
        outcome: OutcomeCode::MissingEmail,
    }
}

async fn write(store: &TestStore, events: impl IntoIterator<Item = AnsweredEvent>) {
    store.store().recorded().record_all(events);
    store.store().write_recorded().await.expect("written");
}

/// What the ledger has, the newest first, page by page.
async fn events(store: &TestStore, filter: &EventFilter, limit: usize) -> Vec<EventRecord> {
    let (mut before, mut found) = (i64::MAX, Vec::new());
    loop {
        let page = store.store().events(filter, before, limit).await.expect("read");
        assert!(page.events.len() <= limit);
        found.extend(page.events);
        match page.next {
            Some(next) => before = next,
            None => return found,
        }
    }
}

/// The outcomes of all events, the newest first.
async fn outcomes(store: &TestStore) -> Vec<String> {
    let all = events(store, &EventFilter::default(), 100).await;
    all.into_iter().map(|event| event.outcome.unwrap_or_else(|| "pending".to_owned())).collect()
}

async fn found(store: &TestStore, message_id: Option<&str>, users: &[&str]) -> Vec<i64> {
    let (users, hash) = (store.keys(users), store.store().hash_key());
    let ids = message_id.map(|id| LookupQuery::ids(hash, &store.account, id, &users)).unwrap_or_default();
    let query = LookupQuery { account: store.account.clone(), users, code: None, ids, before: None, limit: 100 };
    store.store().lookup(&query).await.expect("looked up").events.iter().map(|event| event.seq).collect()
}

async fn compact(store: &TestStore, ids: i64, events: i64) {
    let before = Retention { ids: Timestamp(ids), events: Timestamp(events), ..Retention::default() };
    store.store().compact(before).await.expect("compacted");
}

#[tokio::test]
async fn a_refused_event_is_known_is_never_pending_and_is_no_repeat_when_it_is_sent_again() {
    every(async |store| {
        let pending = store.append("pending", &["u1"]).await;
        write(store, [refused(store, "refused", &["u2", "a@x.io"], 7)]).await;
        for _ in 0..2 {
            let all = events(store, &EventFilter::default(), 100).await;
            let [event, _] = &all[..] else { panic!("{all:?}") };
            assert_eq!((event.state, event.status), (EventState::Answered, LedgerStatus::Refused));
            assert_eq!((&*event.account, &event.event), ("main", &store.id("refused").to_string()));
            assert_eq!((event.outcome.as_deref(), event.received_at), (Some("missing_email"), Timestamp(7)));
            assert_eq!(event.source.as_deref(), Some("kqhTW1TtBqa2xnrtx9uPMb"));
            assert!(event.user_id_hash.is_some() && event.email_hash.is_some(), "{event:?}");
            for (message_id, users) in [(Some("refused"), &[][..]), (None, &["u2"]), (None, &["a@x.io"])] {
                assert_eq!(found(store, message_id, users).await, [event.seq], "{message_id:?} {users:?}");
            }
            assert_eq!((store.names().await, store.counts()), (vec!["pending".to_owned()], (1, 0)));
            store.reopen().await;
        }
        let again = store.append("refused", &["u2"]).await;
        assert!(again > pending, "no seq is given twice");
        assert_eq!(store.names().await, ["pending", "refused"]);
        assert_eq!(store.try_append(store.event("refused", &["u2"], 9)).await, Appended::Duplicate, "now it is one");
        store.reopen().await;
        assert!(store.is_duplicate("refused").await);
        assert_eq!(
            found(store, Some("refused"), &[]).await.len(),
            3,
            "refused, appended, and a repeat that is written"
        );
    })
    .await;
}

#[tokio::test]
async fn an_event_that_append_does_not_append_is_recorded_with_its_reason() {
    every(async |store| {
        let only = |if_unknown| KnownUsersOnly { none_pending_up_to: None, deleted_at: None, if_unknown };
        let unknown = NewEvent {
            known_users_only: Some(only(OutcomeCode::MissingName)),
            source: SourceId::parse("web"),
            ..store.event("unknown", &["u9"], 3)
        };
        let batch = vec![store.event("a", &["u1"], 1), store.event("a", &["u1"], 2), unknown];
        let appended = store.store().append(batch).await.expect("appended");
        assert_eq!(appended[1..], [Appended::Duplicate, Appended::UnknownUser]);
        assert_eq!(outcomes(store).await, ["pending"], "nothing waits for them");
        store.store().write_recorded().await.expect("written");
        assert_eq!(outcomes(store).await, ["missing_name", "duplicate", "pending"]);
        let last = &events(store, &EventFilter::default(), 1).await[0];
        assert_eq!((last.source.as_deref(), last.received_at), (Some("web"), Timestamp(3)));
        assert_eq!(store.try_append(store.event("unknown", &["u9"], 4)).await, accepted_after(store, 1).await);
    })
    .await;
}

/// The result of an append after which the newest event is this one, with so many pending before.
async fn accepted_after(store: &TestStore, pending: u64) -> Appended {
    let seq = store.entries().await.last().expect("pending").seq;
    Appended::Accepted { seq, pending }
}

#[tokio::test]
async fn an_id_is_forgotten_before_its_event_is_unless_that_is_pending_or_a_dead_letter() {
    every(async |store| {
        for (name, at) in [("early", 1), ("waits", 2), ("dead", 3), ("late", 8), ("after", 4)] {
            let seq = accepted(store.try_append(store.event(name, &[name], at)).await);
            if name != "waits" {
                store.settle(seq, if name == "dead" { dead() } else { done() }).await;
            }
        }
        compact(store, 5, 0).await;
        for _ in 0..2 {
            assert_eq!(found(store, Some("early"), &[]).await, [1], "the ledger has it");
            // Ids are forgotten in the order of the log, up to the first one that counts still.
            for name in ["waits", "dead", "late", "after"] {
                assert!(store.is_duplicate(name).await, "{name}");
            }
            store.reopen().await;
        }
        let again = accepted(store.try_append(store.event("early", &["early"], 9)).await);
        assert_eq!(found(store, Some("early"), &[]).await, [again.0, 1]);
        assert!(store.is_duplicate("early").await);
        let waiting = store.entries().await[0].seq;
        store.settle(waiting, done()).await;
        store.reopen().await;
        assert!(store.is_duplicate("dead").await);
        let page =
            store.store().dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 1).await.expect("a page");
        store.store().discard(&[page.letters[0].id]).await.expect("discarded");
        assert!(!store.is_duplicate("dead").await, "nothing keeps it any more");
        compact(store, 5, 5).await;
        assert!(!store.is_duplicate("waits").await, "it has ended");
    })
    .await;
}

#[tokio::test]
async fn an_entry_is_removed_once_the_window_of_the_ledger_has_passed() {
    every(async |store| {
        let portion = (0..700).map(|n| refused(store, &format!("early {n}"), &["u1"], 4));
        write(store, portion).await;
        write(store, [refused(store, "late", &["u1"], 6)]).await;
        assert_eq!(events(store, &EventFilter::default(), 100).await.len(), 701);
        compact(store, LATE, 5).await;
        let left = events(store, &EventFilter::default(), 100).await;
        assert_eq!(left.iter().map(|event| event.received_at.0).collect::<Vec<_>>(), [6]);
        store.reopen().await;
        assert!(store.append("next", &["u1"]).await.0 > left[0].seq, "no seq is given twice");
    })
    .await;
}

#[tokio::test]
async fn entries_are_removed_when_their_window_has_passed_however_many_newer_ones_follow() {
    every(async |store| {
        write(store, [refused(store, "first", &["u1"], 4)]).await;
        // More than one compaction examines.
        for _ in 0..17 {
            write(store, (0..5_000).map(|n| refused(store, &format!("stays {n}"), &["u1"], 99))).await;
        }
        write(store, [refused(store, "last", &["u1"], 4), refused(store, "later", &["u1"], 6)]).await;
        for (case, events, now, compactions, first, last, later) in [
            ("none is old enough", 3, 200, 1, 1, 1, 1),
            ("the first one is", 5, 200, 1, 0, 1, 1),
            (
                "a clock was ahead when the many were received: what is behind them is reached later",
                5,
                200,
                12,
                0,
                0,
                1,
            ),
            ("a clock is wrong: the many were received in the future", 7, 10, 2, 0, 0, 0),
        ] {
            let before = Retention { events: Timestamp(events), now: Timestamp(now), ..Retention::default() };
            for _ in 0..compactions {
                store.store().compact(before).await.expect("compacted");
            }
            for (name, left) in [("first", first), ("last", last), ("later", later), ("stays 0", 17)] {
                assert_eq!(found(store, Some(name), &[]).await.len(), left, "{name}: {case}");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_user_who_is_forgotten_is_found_by_no_entry_not_even_by_one_that_is_written_later() {
    every(async |store| {
        let user = &["u1", "a@x.io"];
        write(store, [refused(store, "written", user, 1), refused(store, "of another", &["u2"], 1)]).await;
        store.store().recorded().record(refused(store, "not yet", user, 2));
        let keys = store.keys(&["u1"]);
        store.store().forget(&store.account, &keys, Timestamp(9)).await.expect("forgotten");
        write(store, [refused(store, "later", user, 10)]).await;
        let all = events(store, &EventFilter::default(), 100).await;
        let known: Vec<bool> = all.iter().map(|event| event.user_id_hash.is_some()).collect();
        assert_eq!(known, [true, false, true, false]);
        assert_eq!(found(store, None, &["u1"]).await, [all[0].seq], "an event from after it");
        assert_eq!(found(store, Some("not yet"), &[]).await, [all[1].seq], "its event is known all the same");
    })
    .await;
}

#[tokio::test]
async fn events_are_found_by_account_status_outcome_and_time_page_by_page() {
    every(async |store| {
        store.append("pending", &["u1"]).await;
        store.die("dead", &["u2"]).await;
        let delivered = store.append("delivered", &["u3"]).await;
        store.settle(delivered, done()).await;
        let at = |n: i64, outcome| AnsweredEvent { outcome, ..refused(store, &n.to_string(), &["u1"], n) };
        write(store, (0..9).map(|n| at(n, if n % 2 == 0 { OutcomeCode::Malformed } else { OutcomeCode::Unsupported })))
            .await;
        let other = AccountName::from("other".to_owned());
        write(store, [AnsweredEvent { account: other, ..refused(store, "x", &[], 20) }]).await;
        let all = EventFilter::default();
        let main = EventFilter { account: Some("main".to_owned()), ..all.clone() };
        let status = |status| EventFilter { status: Some(status), ..main.clone() };
        let outcome = |outcome| EventFilter { outcome: Some(outcome), ..all.clone() };
        let since = |at| EventFilter { since: Some(Timestamp(at)), ..all.clone() };
        for (filter, expected) in [
            (all.clone(), 13),
            (main.clone(), 12),
            (EventFilter { account: Some("nobody".to_owned()), ..all.clone() }, 0),
            (status(LedgerStatus::Pending), 1),
            (status(LedgerStatus::DeadLetter), 1),
            (status(LedgerStatus::Delivered), 1),
            (status(LedgerStatus::Refused), 5),
            (status(LedgerStatus::Unsupported), 4),
            (status(LedgerStatus::Duplicate), 0),
            (outcome(OutcomeCode::MissingEmail), 1),
            (outcome(OutcomeCode::Malformed), 5),
            (since(7), 3),
            (since(21), 0),
            (EventFilter { outcome: Some(OutcomeCode::Malformed), ..since(7) }, 1),
        ] {
            for limit in [1, 4, 100] {
                let found = events(store, &filter, limit).await;
                assert_eq!(found.len(), expected, "{filter:?}");
                assert!(found.windows(2).all(|pair| pair[0].seq > pair[1].seq), "the newest first");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_refused_event_is_found_by_its_message_id_among_thousands() {
    every(async |store| {
        for part in 0..5 {
            let n = |n: usize| 1_000 * part + n;
            write(store, (0..1_000).map(|i| refused(store, &format!("m{}", n(i)), &[&format!("u{}", n(i))], 1))).await;
        }
        let searched = found(store, Some("m1234"), &[]).await;
        assert_eq!(searched.len(), 1);
        // In PostgreSQL a filter is made once everything before it has committed for certain.
        for _ in 0..2 {
            compact(store, 0, 0).await;
        }
        assert_eq!(found(store, Some("m1234"), &[]).await, searched);
        assert_eq!(found(store, None, &["u1234"]).await, searched);
        assert_eq!(found(store, Some("never"), &[]).await, [0; 0]);
    })
    .await;
}

#[tokio::test]
async fn an_accept_does_not_wait_for_a_full_buffer_and_lost_entries_are_counted() {
    every(async |store| {
        let buffer = store.store().recorded();
        while buffer.dropped() == 0 {
            buffer.record(refused(store, "flood", &["u1"], 1));
        }
        let seq = within(store.append("accepted", &["u2"])).await;
        assert_eq!(store.names().await, ["accepted"]);
        let first = &events(store, &EventFilter::default(), 100).await[..];
        assert_eq!(
            first.iter().map(|event| event.seq).collect::<Vec<_>>(),
            [seq.0],
            "nothing of the buffer was written"
        );
        assert_eq!(store.store().measure().await.expect("measured").ledger_dropped, 1);
    })
    .await;
}

#[tokio::test]
async fn entries_that_are_not_written_yet_are_written_when_the_store_is_closed() {
    every(async |store| {
        store.store().recorded().record(refused(store, "refused", &["u1"], 1));
        assert_eq!(outcomes(store).await, [""; 0]);
        store.reopen().await;
        assert_eq!(outcomes(store).await, ["missing_email"]);
    })
    .await;
}
