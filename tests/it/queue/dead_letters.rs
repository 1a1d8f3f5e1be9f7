//! Promises 8 and 9: dead letters stay until they are replayed or discarded, and what is erased is gone.

use super::engine::{LATE, Store, dead, every, every_of, is_behind, names, remember, retry};
use refersion_destination::domain::Timestamp;
use refersion_destination::queue::{
    Attempt, Change, DeadLetter, Filter, Forgotten, Page, QueueError, Recorded, Replay, Settlement,
};

/// Records an event and lets it die; its id.
async fn die(store: &Store, name: &str, users: &[&str]) -> i64 {
    die_of(store, name, users, "refused", 9).await
}

async fn die_of(store: &Store, name: &str, users: &[&str], code: &'static str, at: i64) -> i64 {
    store.record(name, users).await;
    let claimed = store.claim_one(LATE).await;
    let settlement = Settlement::Dead { code, reason: "for a test".to_owned(), at: Timestamp(at) };
    store.settle(&claimed.ticket, settlement).await.expect("settled");
    claimed.ticket.seq
}

async fn page(store: &Store, filter: &Filter, after: i64, limit: usize) -> Page {
    store.queue().dead_letters(filter, after, limit).await.expect("a page")
}

async fn one(store: &Store, id: i64) -> DeadLetter {
    store.queue().dead_letter(id).await.expect("read").expect("a dead letter")
}

async fn replay(store: &Store, ids: &[i64]) -> Vec<Replay> {
    let replayed = store.queue().replay(ids).await.expect("replayed");
    replayed.into_iter().map(|(_, outcome)| outcome).collect()
}

async fn forget(store: &Store, users: &[&str]) -> Forgotten {
    store.queue().forget(&store.keys(users), Timestamp(7)).await.expect("forgotten")
}

/// The bodies of all dead letters, in order; an erased one is `-`.
async fn bodies(store: &Store) -> Vec<String> {
    let mut bodies = Vec::new();
    for letter in page(store, &Filter::default(), 0, 1_000).await.letters {
        let body = one(store, letter.id).await.body;
        assert_eq!(letter.erased, body.is_none());
        bodies.push(body.unwrap_or_else(|| "-".to_owned()));
    }
    bodies
}

#[tokio::test]
async fn pages_bring_every_dead_letter_once_in_order() {
    every(async |store| {
        for n in 0..7 {
            die(store, &format!("m{n}"), &["u1"]).await;
        }
        store.record("waits", &["u1"]).await;
        let (mut found, mut after) = (Vec::new(), Some(0));
        while let Some(from) = after {
            let Page { letters, next, last } = page(store, &Filter::default(), from, 3).await;
            assert!(letters.len() <= 3 && last == 8, "{last}");
            found.extend(letters.iter().map(|letter| letter.id));
            assert!(letters.iter().all(|letter| letter.body.is_none() && letter.history.is_empty()));
            after = next;
        }
        assert_eq!(found, [1, 2, 3, 4, 5, 6, 7]);
    })
    .await;
}

#[tokio::test]
async fn a_filter_that_fits_few_of_many_ends_all_the_same() {
    every(async |store| {
        let events = (0..2_500).map(|n| store.event(&n.to_string(), &[&format!("u{n}")], 0)).collect();
        store.try_record(events).await.expect("recorded");
        for claimed in store.batch(3_000, 0).await.events {
            let code = if claimed.body == b"2300" { "expired" } else { "refused" };
            let settlement = Settlement::Dead { code, reason: String::new(), at: Timestamp(9) };
            store.settle(&claimed.ticket, settlement).await.expect("settled");
        }
        let filter = Filter { reason: Some("expired".to_owned()), ..Filter::default() };
        let (mut found, mut after, mut pages) = (Vec::new(), Some(0), 0);
        while let Some(from) = after {
            let Page { letters, next, .. } = page(store, &filter, from, 100).await;
            found.extend(letters.into_iter().map(|letter| letter.id));
            (after, pages) = (next, pages + 1);
        }
        assert_eq!((found, pages), (vec![2_301], 7), "so many hold nobody up for long");
    })
    .await;
}

#[tokio::test]
async fn filters_choose_by_account_reason_and_moment() {
    every(async |store| {
        die_of(store, "a", &["u1"], "refused", 10).await;
        die_of(store, "b", &["u1"], "expired", 20).await;
        die_of(store, "c", &["u1"], "refused", 30).await;
        for (account, reason, since, expected) in [
            (None, None, None, &[1, 2, 3][..]),
            (None, Some("refused"), None, &[1, 3]),
            (None, None, Some(20), &[2, 3]),
            (Some("main"), Some("refused"), Some(11), &[3]),
            (Some("other"), None, None, &[]),
        ] {
            let text = |text: Option<&str>| text.map(str::to_owned);
            let filter = Filter { account: text(account), reason: text(reason), since: since.map(Timestamp) };
            let found = page(store, &filter, 0, 9).await.letters;
            assert_eq!(found.iter().map(|letter| letter.id).collect::<Vec<_>>(), expected, "{filter:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_dead_letter_tells_its_last_twenty_attempts() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        for n in 0..25 {
            let Settlement::Retry { at, progress, failing_since, .. } = retry(n) else { panic!("a retry") };
            let attempt = Attempt { at: Timestamp(n), what: format!("attempt {n}") };
            let failures = 1 + u32::try_from(n).expect("small");
            let again = Settlement::Retry { at, progress, failures, failing_since, attempt };
            store.settle(&store.claim_one(LATE).await.ticket, again).await.expect("settled");
        }
        let claimed = store.claim_one(LATE).await;
        store.settle(&claimed.ticket, dead()).await.expect("settled");
        store.reopen().await;
        let letter = one(store, claimed.ticket.seq).await;
        assert_eq!((letter.failures, &*letter.code, &*letter.reason), (25, "refused", "for a test"));
        assert_eq!(
            (letter.body.as_deref(), letter.died_at, letter.received_at),
            (Some("a"), Timestamp(9), Timestamp(0))
        );
        let told: Vec<_> = letter.history.iter().map(|attempt| (attempt.at.0, attempt.what.as_str())).collect();
        assert_eq!((told.len(), told[0], told[18]), (20, (6, "attempt 6"), (24, "attempt 24")));
        assert_eq!(told[19], (9, "for a test"));
    })
    .await;
}

#[tokio::test]
async fn a_replay_waits_behind_what_waits_for_its_user_and_is_no_dead_letter() {
    every(async |store| {
        let first = die(store, "first", &["u1"]).await;
        let second = die(store, "second", &["u1", "u1@x.io"]).await;
        store.record("waits", &["u1@x.io"]).await;
        store.record("another", &["u2"]).await;
        assert_eq!(replay(store, &[second, first]).await, [Replay::Waits, Replay::Waits]);
        assert_eq!(store.depth().await, (4, 0));
        assert!(is_behind(store.record("last", &["u1"]).await));
        store.reopen().await;
        let mut order = Vec::new();
        while let [claimed, ..] = &store.claim(LATE).await[..] {
            order.extend(names(std::slice::from_ref(claimed)));
            assert_eq!((claimed.failures, claimed.failing_since), (0, None), "it begins anew");
            store.done(claimed).await;
            store.reopen().await;
        }
        order.retain(|name| name != "another");
        assert_eq!(order, ["waits", "first", "second", "last"]);
    })
    .await;
}

#[tokio::test]
async fn a_replay_is_no_duplicate_but_makes_its_repeats_duplicates() {
    every(async |store| {
        let id = die(store, "a", &["u1"]).await;
        assert_eq!(store.record("a", &["u1"]).await, Recorded::Duplicate);
        assert_eq!(replay(store, &[id]).await, [Replay::Waits]);
        store.tidy(LATE).await;
        assert_eq!(store.record("a", &["u1"]).await, Recorded::Duplicate, "never forgotten while it waits");
        let again = store.claim_one(LATE).await;
        assert_eq!((&again.body[..], again.keys.clone()), (&b"a"[..], store.keys(&["u1"])));
        store.settle(&again.ticket, dead()).await.expect("settled");
        let told = one(store, again.ticket.seq).await.history;
        assert_eq!(told.len(), 2, "what it went through before is remembered");
    })
    .await;
}

#[tokio::test]
async fn what_cannot_be_replayed_is_told_and_stays() {
    every(async |store| {
        let erased = die(store, "erased", &["u1"]).await;
        forget(store, &["u1"]).await;
        let again = die(store, "again", &["u2"]).await;
        store.tidy(LATE).await;
        assert!(!is_behind(store.record("again", &["u2"]).await), "its id was forgotten, and it came once more");
        let expected = [Replay::Erased, Replay::SentAgain, Replay::Missing];
        assert_eq!(replay(store, &[erased, again, 99]).await, expected);
        assert_eq!(store.depth().await, (1, 2));
    })
    .await;
}

#[tokio::test]
async fn a_replay_finds_a_full_backlog_full() {
    every_of(2, async |store| {
        let (a, b) = (die(store, "a", &["u1"]).await, die(store, "b", &["u2"]).await);
        store.record("c", &["u3"]).await;
        assert_eq!(store.queue().replay(&[a, b]).await, Err(QueueError::Full(1)));
        assert_eq!(store.depth().await, (1, 2));
        assert_eq!(replay(store, &[a]).await, [Replay::Waits]);
    })
    .await;
}

#[tokio::test]
async fn what_is_discarded_is_gone_and_its_id_is_not_given_again() {
    every(async |store| {
        die(store, "a", &["u1"]).await;
        let last = die(store, "b", &["u1"]).await;
        assert_eq!(store.queue().discard(&[last, 99]).await, Ok(vec![last]));
        assert_eq!(store.depth().await, (0, 1));
        assert_eq!(replay(store, &[last]).await, [Replay::Missing]);
        store.reopen().await;
        assert_eq!(store.depth().await, (0, 1));
        assert_eq!(die(store, "c", &["u1"]).await, last + 1);
    })
    .await;
}

#[tokio::test]
async fn nobody_is_known_by_a_dead_letter_that_was_discarded() {
    every(async |store| {
        let id = die(store, "a", &["u1"]).await;
        assert_ne!(store.record_if_known("b", &["u1"]).await, Recorded::UnknownUser);
        store.done(&store.claim_one(LATE).await).await;
        store.queue().discard(&[id]).await.expect("discarded");
        assert_eq!(store.record_if_known("c", &["u1"]).await, Recorded::UnknownUser);
    })
    .await;
}

#[tokio::test]
async fn a_delete_reaches_dead_letters_through_the_keys_of_others() {
    every(async |store| {
        die(store, "u", &["u1"]).await;
        die(store, "u+e", &["u1", "e@x.io"]).await;
        die(store, "another", &["u2", "f@x.io"]).await;
        let erase = store.keys(&["e@x.io"]);
        store.teach("delete", &["e@x.io"], Change { erase, ..Change::default() }).await;
        assert_eq!(bodies(store).await, ["-", "-", "another"]);
    })
    .await;
}

#[tokio::test]
async fn to_forget_a_user_erases_what_waits_what_died_and_what_is_remembered() {
    every(async |store| {
        store.teach("known", &["u1"], remember("one", store.keys(&["u1", "old@x.io"]))).await;
        die(store, "dead", &["u1"]).await;
        store.record("waits", &["u1", "new@x.io"]).await;
        store.record("behind", &["new@x.io"]).await;
        store.record("another", &["u2"]).await;
        let forgotten = forget(store, &["old@x.io"]).await;
        let expected = Forgotten { events: 2, under_way: 0, dead_letters: 1, links: 2, affiliates: 1 };
        assert_eq!(forgotten, expected);
        assert_eq!((store.depth().await, bodies(store).await), ((1, 3), vec!["-".to_owned(); 3]));
        store.reopen().await;
        assert_eq!((store.depth().await, bodies(store).await), ((1, 3), vec!["-".to_owned(); 3]));
        let letter = &page(store, &Filter::default(), 0, 9).await.letters[1];
        assert_eq!((&*letter.code, letter.died_at), ("erased", Timestamp(7)));
        for user in ["u1", "old@x.io", "new@x.io"] {
            assert_eq!(store.record_if_known(user, &[user]).await, Recorded::UnknownUser, "{user}");
        }
        assert_eq!(forget(store, &["u1"]).await, Forgotten::default());
        assert_eq!(store.claim_names(LATE).await, ["another"]);
    })
    .await;
}

#[tokio::test]
async fn what_is_being_carried_out_is_told_and_left_alone() {
    every(async |store| {
        store.record("leased", &["u1"]).await;
        store.record("behind", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        let forgotten = forget(store, &["u1"]).await;
        assert_eq!((forgotten.events, forgotten.under_way), (1, 1));
        store.settle(&claimed.ticket, retry(5)).await.expect("the lease still holds");
        assert!(is_behind(store.record("later", &["u1"]).await));
        assert_eq!(store.claim_names(LATE).await, ["leased"]);
    })
    .await;
}

#[tokio::test]
async fn what_waits_behind_an_erased_event_of_its_line_is_next() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        store.record("b", &["u1"]).await;
        forget(store, &["u1"]).await;
        store.done(&claimed).await;
        assert!(!is_behind(store.record("c", &["u1"]).await), "the line is empty");
        assert_eq!(store.claim_names(LATE).await, ["c"]);
    })
    .await;
}

#[tokio::test]
async fn nothing_of_who_was_forgotten_is_left_in_the_file() {
    const MARKER: &str = "peter.gibbons@initech.example";
    let (store, outside) = Store::sqlite();
    die(&store, &format!("{MARKER} dead"), &["u1"]).await;
    store.record(&format!("{MARKER} waits"), &["u1"]).await;
    forget(&store, &["u1"]).await;
    store.tidy(0).await;
    let bytes = outside.bytes_on_disk();
    assert!(!bytes.windows(MARKER.len()).any(|window| window == MARKER.as_bytes()));
}
