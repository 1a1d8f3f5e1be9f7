//! Promise 8: dead letters stay until they are replayed or discarded.

use super::engine::{LATE, TestStore, dead, dead_of, done, every, every_of, name, remember, retry};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{LaneKey, Seq, SourceId, Timestamp};
use refersion_destination::store::{
    AffiliateChanges, Appended, DeadLetter, DeadLetterFilter, DeadLetterPage, FailedAttempt, NewEvent, PageStart,
    Replay, Settlement, StoreError,
};

async fn page(store: &TestStore, filter: &DeadLetterFilter, after: i64, limit: usize) -> DeadLetterPage {
    store.store().dead_letters(filter, PageStart::After(after), limit).await.expect("a page")
}

async fn one(store: &TestStore, seq: Seq) -> DeadLetter {
    store.store().dead_letter(seq.0).await.expect("read").expect("a dead letter")
}

async fn replay(store: &TestStore, seqs: &[Seq]) -> Vec<Replay> {
    store.replay(seqs).await.into_iter().map(|(_, outcome)| outcome).collect()
}

#[tokio::test]
async fn pages_bring_every_dead_letter_once_in_order() {
    every(async |store| {
        let mut expected = Vec::new();
        for n in 0..7 {
            expected.push(store.die(&format!("m{n}"), &["u1"]).await.0);
        }
        let waits = store.append("waits", &["u1"]).await;
        let (mut found, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let DeadLetterPage { letters, next, last } = page(store, &DeadLetterFilter::default(), from, 3).await;
            assert!(letters.len() <= 3);
            assert!(last >= waits.0, "no event so far has an id above this one: {last}");
            found.extend(letters.iter().map(|letter| letter.id));
            assert!(letters.iter().all(|letter| letter.body.is_none() && letter.history.is_empty()));
            after = next;
        }
        assert_eq!(found, expected);
    })
    .await;
}

#[tokio::test]
async fn dead_letters_are_listed_newest_first_page_by_page_with_a_filter() {
    every(async |store| {
        let mut expected = Vec::new();
        for n in 0..7 {
            let code = if n % 3 == 0 { OutcomeCode::Expired } else { OutcomeCode::Rejected };
            let seq = store.append(&format!("m{n}"), &["u1"]).await;
            store.settle(seq, dead_of(code, n)).await;
            expected.push((seq.0, code));
        }
        expected.reverse();
        for (reason, limit) in [(None, 3), (None, 7), (Some(OutcomeCode::Expired), 2), (Some(OutcomeCode::Corrupt), 2)]
        {
            let filter =
                DeadLetterFilter { reason: reason.map(|code| code.as_str().to_owned()), ..DeadLetterFilter::default() };
            let (mut found, mut before) = (Vec::new(), Some(i64::MAX));
            while let Some(id) = before {
                let page = store.store().dead_letters(&filter, PageStart::Before(id), limit).await.expect("a page");
                assert!(page.letters.len() <= limit);
                assert!(page.letters.iter().all(|letter| letter.body.is_none() && letter.history.is_empty()));
                found.extend(page.letters.iter().map(|letter| letter.id));
                before = page.next;
            }
            let fits = expected.iter().filter(|(_, code)| reason.is_none_or(|reason| reason == *code));
            assert_eq!(found, fits.map(|(seq, _)| *seq).collect::<Vec<_>>(), "{reason:?}");
        }
        let since = DeadLetterFilter { since: Some(Timestamp(5)), ..DeadLetterFilter::default() };
        let late = store.store().dead_letters(&since, PageStart::Before(i64::MAX), 10).await.expect("a page");
        assert_eq!(late.letters.len(), 2);
        let of_nobody = DeadLetterFilter { account: Some("nobody".to_owned()), ..DeadLetterFilter::default() };
        let none = store.store().dead_letters(&of_nobody, PageStart::Before(i64::MAX), 10).await.expect("a page");
        assert_eq!((none.letters.len(), none.next), (0, None));
    })
    .await;
}

#[tokio::test]
async fn a_replay_page_by_page_does_not_include_events_that_failed_again() {
    every(async |store| {
        store.die("a", &["u1"]).await;
        let last = page(store, &DeadLetterFilter::default(), 0, 1).await.last;
        store.reopen().await;
        let again = store.die("b", &["u1"]).await;
        assert!(again.0 > last, "{} is no letter of before", again.0);
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_fits_few_of_many_ends_all_the_same() {
    every(async |store| {
        let events = (0..2_500).map(|n| store.event(&n.to_string(), &[&format!("u{n}")], 0)).collect();
        let appended = store.store().append(events).await.expect("appended");
        let seqs: Vec<Seq> = appended.into_iter().map(super::engine::accepted).collect();
        let settled = seqs.iter().enumerate().map(|(n, seq)| {
            let code = if n == 2_300 { OutcomeCode::Expired } else { OutcomeCode::Rejected };
            let unit = refersion_destination::scheduling::Unit::of(*seq);
            let (store, account) = (std::sync::Arc::clone(store.store()), store.account.clone());
            async move { store.settle(&account, &unit, dead_of(code, 9), AffiliateChanges::default()).await }
        });
        let settled: tokio::task::JoinSet<_> = settled.collect();
        assert!(settled.join_all().await.iter().all(Result::is_ok));
        let filter = DeadLetterFilter { reason: Some("expired".to_owned()), ..DeadLetterFilter::default() };
        let (mut found, mut after, mut pages) = (Vec::new(), Some(0), 0);
        while let Some(from) = after {
            let DeadLetterPage { letters, next, .. } = page(store, &filter, from, 100).await;
            found.extend(letters.into_iter().map(|letter| letter.id));
            (after, pages) = (next, pages + 1);
        }
        assert_eq!((found, pages), (vec![seqs[2_300].0], 7), "so many take no long transaction");
    })
    .await;
}

#[tokio::test]
async fn filters_choose_by_account_reason_and_moment() {
    every(async |store| {
        let mut ids = Vec::new();
        let table =
            [("a", OutcomeCode::Rejected, 10), ("b", OutcomeCode::Expired, 20), ("c", OutcomeCode::Rejected, 30)];
        for (name, code, at) in table {
            let seq = store.append(name, &["u1"]).await;
            store.settle(seq, dead_of(code, at)).await;
            ids.push(seq.0);
        }
        for (account, reason, since, expected) in [
            (None, None, None, &[0, 1, 2][..]),
            (None, Some("refused"), None, &[0, 2]),
            (None, None, Some(20), &[1, 2]),
            (Some("main"), Some("refused"), Some(11), &[2]),
            (Some("other"), None, None, &[]),
        ] {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let filter = DeadLetterFilter { account: text(account), reason: text(reason), since: since.map(Timestamp) };
            let found: Vec<i64> = page(store, &filter, 0, 9).await.letters.iter().map(|letter| letter.id).collect();
            let expected: Vec<i64> = expected.iter().map(|n| ids[*n]).collect();
            assert_eq!(found, expected, "{filter:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_has_its_reason_its_body_and_its_last_twenty_attempts() {
    every(async |store| {
        let seq = store.append("a", &["u1"]).await;
        for n in 0..25 {
            let Settlement::Retry { wait, progress, failing_for, .. } = retry(0) else { panic!("a retry") };
            let attempt = FailedAttempt { at: Timestamp(n), what: format!("attempt {n}") };
            let failures = 1 + u32::try_from(n).expect("small");
            store.settle(seq, Settlement::Retry { wait, progress, failures, failing_for, attempt }).await;
        }
        store.settle(seq, dead()).await;
        store.reopen().await;
        let letter = one(store, seq).await;
        assert_eq!((letter.id, &*letter.account, letter.event.clone()), (seq.0, "main", store.id("a").to_string()));
        assert_eq!((letter.failures, &*letter.code, &*letter.reason), (25, "refused", "for a test"));
        assert_eq!(
            (letter.body.as_deref(), letter.died_at, letter.received_at),
            (Some("a"), Timestamp(9), Timestamp(0))
        );
        let reported: Vec<_> = letter.history.iter().map(|attempt| (attempt.at.0, attempt.what.as_str())).collect();
        assert_eq!((reported.len(), reported[0], reported[18]), (20, (6, "attempt 6"), (24, "attempt 24")));
        assert_eq!(reported[19], (9, "for a test"));
    })
    .await;
}

#[tokio::test]
async fn a_replay_is_appended_after_all_pending_events_and_begins_anew_except_for_its_history() {
    every(async |store| {
        let first = store.die("first", &["u1"]).await;
        let second = store.die("second", &["u1", "u1@x.io"]).await;
        store.append("waits", &["u1@x.io"]).await;
        assert_eq!(replay(store, &[second, first]).await, [Replay::Replayed, Replay::Replayed]);
        assert_eq!(store.counts(), (3, 0));
        store.append("last", &["u1"]).await;
        for _ in 0..2 {
            assert_eq!(store.names().await, ["waits", "first", "second", "last"], "in the order of their ids");
            let again = store.entries().await.remove(1);
            assert_eq!(again.lane_keys, store.keys(&["u1"]).into_iter().map(LaneKey::User).collect::<Vec<_>>());
            assert_eq!((again.attempted, again.retry), (false, None));
            let begun = store.look_at(again.seq).await;
            assert_eq!((name(&begun).as_str(), begun.failures, begun.interrupted), ("first", 0, false));
            store.reopen().await;
        }
        let again = store.entries().await[1].seq;
        store.settle(again, dead()).await;
        assert_eq!(one(store, again).await.history.len(), 2, "what it went through before is remembered");
    })
    .await;
}

#[tokio::test]
async fn a_replayed_event_keeps_its_source() {
    every(async |store| {
        let event = NewEvent { source: SourceId::parse("web"), ..store.event("m", &["u1"], 1) };
        let appended = store.store().append(vec![event]).await.expect("appended");
        let [Appended::Accepted { seq, .. }] = appended[..] else { panic!("{appended:?}") };
        store.settle(seq, dead()).await;
        let replayed = store.store().replay(&[seq.0]).await.expect("replayed")[0].seq.expect("it is pending");
        let record = store.store().event_record(replayed).await.expect("read").expect("an event");
        assert_eq!((replayed > seq.0, record.source.as_deref()), (true, Some("web")));
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_that_cannot_be_replayed_is_reported_and_stays() {
    every(async |store| {
        let erased = store.die("erased", &["u1"]).await;
        store.store().forget(&store.account, &store.keys(&["u1"]), Timestamp(7)).await.expect("forgotten");
        let (again, other) = (store.die("again", &["u2"]).await, store.die("other", &["u3"]).await);
        assert_eq!(replay(store, &[again]).await, [Replay::Replayed]);
        let dies_again = store.entries().await[0].seq;
        store.settle(dies_again, dead()).await;
        assert_eq!(
            replay(store, &[erased, again, Seq(i64::MAX)]).await,
            [Replay::Erased, Replay::Missing, Replay::Missing]
        );
        assert_eq!(
            replay(store, &[dies_again, other, dies_again]).await,
            [Replay::Replayed, Replay::Replayed],
            "each once"
        );
        assert_eq!(store.counts(), (2, 1));
    })
    .await;
}

#[tokio::test]
async fn a_replay_finds_a_full_backlog_full() {
    every_of(2, async |store| {
        let (a, b) = (store.die("a", &["u1"]).await, store.die("b", &["u2"]).await);
        store.append("c", &["u3"]).await;
        assert_eq!(store.store().replay(&[a.0, b.0]).await, Err(StoreError::BacklogFull(1)));
        assert_eq!(store.counts(), (1, 2));
        assert_eq!(replay(store, &[a]).await, [Replay::Replayed]);
    })
    .await;
}

#[tokio::test]
async fn a_discarded_dead_letter_is_gone_and_its_id_is_not_assigned_again() {
    every(async |store| {
        store.die("a", &["u1"]).await;
        let last = store.die("b", &["u1"]).await;
        assert_eq!(store.store().discard(&[last.0, i64::MAX]).await, Ok(vec![last.0]));
        assert_eq!((store.counts(), replay(store, &[last]).await), ((0, 1), vec![Replay::Missing]));
        store.compact(LATE).await;
        store.reopen().await;
        assert_eq!(store.counts(), (0, 1));
        assert!(store.die("c", &["u1"]).await > last);
    })
    .await;
}

#[tokio::test]
async fn no_user_is_known_by_a_discarded_dead_letter() {
    every(async |store| {
        let letter = store.die("a", &["u1"]).await;
        let known = super::engine::accepted(store.append_if_known("b", &["u1"]).await);
        store.settle(known, done()).await;
        store.store().discard(&[letter.0]).await.expect("discarded");
        assert_eq!(store.append_if_known("c", &["u1"]).await, Appended::UnknownUser);
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_keeps_the_affiliate_changes_of_its_event() {
    every(async |store| {
        store.teach("a", &["u1"], remember("one", store.keys(&["u1"]))).await;
        let letter = store.die("b", &["u1"]).await;
        assert_eq!(replay(store, &[letter]).await, [Replay::Replayed]);
        let again = store.entries().await[0].seq;
        assert_eq!(store.begin(again).await.memory.by_user_id, Some(super::engine::known("one")));
    })
    .await;
}
