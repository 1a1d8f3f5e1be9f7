//! Lookup: the data of a user or of an event, by keyed hashes alone, wherever in the log it is.

use super::engine::{
    Engine, LATE, Postgres, Sqlite, TestStore, accepted, dead_of, done, erase, every, known, remember, retry,
};
use crate::support::within;
use futures_util::future::join_all;
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{
    AccountName, AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Field, Seq, Timestamp,
};
use refersion_destination::store::{
    EventState, FoundAffiliate, FoundBy, LookupPage, LookupQuery, NewEvent, Remember, SentAttribute,
};

fn of(store: &TestStore, users: &[&str]) -> LookupQuery {
    let users = store.keys(users);
    LookupQuery { account: store.account.clone(), users, code: None, ids: Vec::new(), before: None, limit: 100 }
}

fn of_message(store: &TestStore, message_id: &str, users: &[&str]) -> LookupQuery {
    let query = of(store, users);
    LookupQuery { ids: LookupQuery::ids(store.store().hash_key(), &query.account, message_id, &query.users), ..query }
}

fn of_code(store: &TestStore, code: &str) -> LookupQuery {
    LookupQuery { code: Some(AffiliateCode(code.to_owned())), ..of(store, &[]) }
}

async fn look_up(store: &TestStore, query: &LookupQuery) -> LookupPage {
    store.store().lookup(query).await.expect("looked up")
}

fn seqs(found: &LookupPage) -> Vec<i64> {
    found.events.iter().map(|event| event.seq).collect()
}

/// The seqs of all events that are found, page by page.
async fn all(store: &TestStore, query: &LookupQuery) -> Vec<i64> {
    let (mut query, mut found) = (query.clone(), Vec::new());
    loop {
        let page = look_up(store, &query).await;
        found.extend(seqs(&page));
        match page.next {
            Some(next) => query.before = Some(next),
            None => return found,
        }
    }
}

#[tokio::test]
async fn a_user_is_found_with_their_affiliate_and_their_events_in_every_state_the_newest_first() {
    every(async |store| {
        let mut knows = known("a3y7");
        knows.sent.record(store.store().hash_key(), &Attribute::Field(Field::City), "Paris", Timestamp(5));
        knows.sent.record_status(store.store().hash_key(), AffiliateStatus::Active, Timestamp(6));
        let mut changes = remember("a3y7", store.keys(&["u1", "a@x.io"]));
        changes.remember = changes.remember.map(|remember| Remember { known: knows, ..remember });
        store.teach("settled", &["u1"], changes).await;
        store.append("another's", &["u2", "b@x.io"]).await;
        let dead = store.append("dead", &["a@x.io"]).await;
        store.settle(dead, dead_of(OutcomeCode::Expired, 9)).await;
        let waits = store.append("waits", &["u1", "a@x.io"]).await;
        store.settle(waits, retry(1_000)).await;
        let expected = |found_by: &[FoundBy]| FoundAffiliate {
            code: AffiliateCode("a3y7".to_owned()),
            id: Some(AffiliateId(7)),
            created_here: true,
            found_by: found_by.to_vec(),
            user_ids: 1,
            emails: 1,
            email_conflict: false,
            sent: [("city", 5), ("status", 6)]
                .map(|(name, at)| SentAttribute { attribute: name.to_owned(), at: Some(Timestamp(at)) })
                .to_vec(),
        };
        for _ in 0..2 {
            for (query, found_by) in [
                (of(store, &["u1"]), &[FoundBy::UserId][..]),
                (of(store, &["a@x.io"]), &[FoundBy::Email]),
                (of(store, &["u1", "a@x.io"]), &[FoundBy::UserId, FoundBy::Email]),
                (of_code(store, "a3y7"), &[FoundBy::Code]),
            ] {
                let found = look_up(store, &query).await;
                assert_eq!((&*found.affiliates, found.next), (&[expected(found_by)][..], None));
                let events: Vec<_> = found
                    .events
                    .iter()
                    .map(|event| (&*event.event, event.state, event.outcome.as_deref(), event.reason.as_deref()))
                    .collect();
                let names = ["waits", "dead", "settled"].map(|name| store.id(name).to_string());
                let expected = [
                    (&*names[0], EventState::Pending, None, None),
                    (&*names[1], EventState::DeadLetter, Some("expired"), Some("for a test")),
                    (&*names[2], EventState::Settled, Some("created"), None),
                ];
                assert_eq!(events, expected);
            }
            store.reopen().await;
        }
    })
    .await;
}

#[tokio::test]
async fn nothing_is_found_of_a_user_without_data() {
    every(async |store| {
        store.teach("a", &["u1"], remember("code", store.keys(&["u1"]))).await;
        let other = LookupQuery { account: AccountName::from("other".to_owned()), ..of(store, &[]) };
        let keys = |user: &str| super::engine::key(store.store().hash_key(), &other.account, user);
        for query in [
            of(store, &["nobody", "nobody@x.io"]),
            of_code(store, "other"),
            of_message(store, "never", &["u1"]),
            LookupQuery { users: vec![keys("u1")], ..other.clone() },
        ] {
            let found = look_up(store, &query).await;
            assert_eq!((found.events, found.next, found.deleted_at), (vec![], None, None), "{query:?}");
            assert!(found.affiliates.is_empty() || !query.ids.is_empty(), "{query:?}");
        }
    })
    .await;
}

#[tokio::test]
async fn an_event_is_found_by_its_message_id_and_a_delete_with_its_user() {
    every(async |store| {
        store.teach("first", &["u1"], remember("code", store.keys(&["u1"]))).await;
        let event = store.append("m", &["u1", "a@x.io"]).await;
        let id = store.store().hash_key().delete_by_message_id(&store.account, "d", &store.keys(&["u2"]));
        let delete = accepted(store.try_append(NewEvent { id, ..store.event("delete", &["u2"], 0) }).await);
        let found = look_up(store, &of_message(store, "m", &[])).await;
        assert_eq!((seqs(&found), &found.affiliates[0].found_by[..]), (vec![event.0], &[FoundBy::MessageId][..]));
        assert_eq!(seqs(&look_up(store, &of_message(store, "d", &[])).await), Vec::<i64>::new());
        for users in [&["u2"][..], &["u2", "other@x.io"]] {
            assert_eq!(seqs(&look_up(store, &of_message(store, "d", users)).await), [delete.0]);
        }
        let letter = store.die("replayed", &["u3"]).await;
        let again = store.store().replay(&[letter.0]).await.expect("replayed")[0].seq.expect("replayed");
        let entries = seqs(&look_up(store, &of_message(store, "replayed", &[])).await);
        assert_eq!(entries, [again, letter.0], "the newest first");
        store.compact(LATE).await;
        assert_eq!(seqs(&look_up(store, &of_message(store, "m", &[])).await), [event.0], "it is pending");
    })
    .await;
}

#[tokio::test]
async fn the_deletion_of_a_user_is_found_as_long_as_it_is_kept() {
    every(async |store| {
        store.teach("a", &["u1"], remember("code", store.keys(&["u1", "a@x.io"]))).await;
        let mut changes = erase(store.keys(&["u1"]));
        changes.forget = vec![AffiliateCode("code".to_owned())];
        changes.deleted_at = Some(Timestamp(7));
        store.teach("delete", &["u1"], changes).await;
        for user in ["u1", "a@x.io"] {
            let found = look_up(store, &of(store, &[user])).await;
            assert_eq!((found.deleted_at, found.affiliates), (Some(Timestamp(7)), vec![]), "{user}");
        }
    })
    .await;
}

/// Appends so many events, each of a user of its own, but for some of `u`; the seqs of those.
async fn fill(store: &TestStore, events: usize, of_u: &[usize]) -> Vec<i64> {
    let mut all: Vec<_> = (0..events).map(|n| store.event(&format!("e{n}"), &[&format!("u{n}")], 1)).collect();
    for n in of_u {
        all[*n].user_keys = store.keys(&["u", "u@x.io"]);
    }
    let appended = store.store().append(all).await.expect("appended");
    of_u.iter().map(|n| accepted(appended[*n]).0).collect()
}

/// Compacts until `blocks` blocks of the log have filters: with PostgreSQL, everything has to have committed before.
async fn until_filtered(store: &TestStore, outside: &Outside, blocks: i64) {
    within(async {
        while outside.filters(store).await != blocks {
            store.compact(0).await;
        }
    })
    .await;
}

/// An engine as seen from outside.
enum Outside {
    Sqlite(Sqlite),
    Postgres(Box<tokio_postgres::Client>),
}

impl Outside {
    /// How many filters there are.
    async fn filters(&self, _: &TestStore) -> i64 {
        let sql = "SELECT count(filter) FROM key_blocks";
        match self {
            Self::Sqlite(file) => file.connection().query_row(sql, [], |row| row.get(0)).expect("counted"),
            Self::Postgres(client) => client.query_one(sql, &[]).await.expect("counted").get(0),
        }
    }
}

/// A test on each engine, with a look at its tables.
async fn every_seen(claim: impl AsyncFn(&mut TestStore, &Outside)) {
    let (mut store, file) = TestStore::sqlite();
    claim(&mut store, &Outside::Sqlite(file)).await;
    let Some(schema) = Postgres::new() else { return };
    let client = super::several_processes::connect(&schema).await;
    let mut store = TestStore::start(Box::new(schema) as Box<dyn Engine>, super::engine::UNLIMITED).await;
    claim(&mut store, &Outside::Postgres(Box::new(client))).await;
}

#[tokio::test]
async fn events_are_found_in_every_block_of_the_log_and_after_the_last_one() {
    every_seen(async |store, outside| {
        let mut expected = fill(store, 6_500, &[3, 1_999, 2_000, 3_999, 4_100, 6_400]).await;
        expected.reverse();
        let user = of(store, &["u@x.io"]);
        assert_eq!(all(store, &user).await, expected, "before there are blocks");
        until_filtered(store, outside, 3).await;
        for limit in [1, 2, 100] {
            assert_eq!(all(store, &LookupQuery { limit, ..user.clone() }).await, expected, "{limit} a page");
        }
        store.reopen().await;
        assert_eq!(all(store, &user).await, expected);
        assert_eq!(all(store, &of(store, &["u5000"])).await.len(), 1);
        assert_eq!(all(store, &of(store, &["nobody"])).await, Vec::<i64>::new());
    })
    .await;
}

#[tokio::test]
async fn a_forgotten_user_is_in_no_filter_and_the_others_of_their_block_are_found() {
    every_seen(async |store, outside| {
        fill(store, 4_500, &[10]).await;
        until_filtered(store, outside, 2).await;
        let forgotten = store.store().forget(&store.account, &store.keys(&["u"]), Timestamp(2)).await;
        assert_eq!(forgotten.expect("forgotten").events, 1);
        assert_eq!(outside.filters(store).await, 1);
        let others = [of(store, &["u11"]), of(store, &["u3000"])];
        for _ in 0..2 {
            assert_eq!(all(store, &of(store, &["u@x.io"])).await, Vec::<i64>::new());
            for other in &others {
                assert_eq!(all(store, other).await.len(), 1);
            }
            until_filtered(store, outside, 2).await;
        }
    })
    .await;
}

#[tokio::test]
async fn a_block_goes_with_its_last_row() {
    every_seen(async |store, outside| {
        let kept = Seq(fill(store, 4_500, &[2_100]).await[0]);
        until_filtered(store, outside, 2).await;
        let entries = store.entries().await;
        let others = entries.iter().filter(|entry| entry.seq != kept);
        join_all(others.map(|entry| store.settle(entry.seq, done()))).await;
        store.compact(LATE).await;
        store.compact(LATE).await;
        assert_eq!(outside.filters(store).await, 1);
        assert_eq!(all(store, &of(store, &["u"])).await, [kept.0]);
        store.settle(kept, done()).await;
        store.compact(LATE).await;
        assert_eq!(outside.filters(store).await, 0);
        let again = store.append("again", &["u"]).await;
        assert_eq!(all(store, &of(store, &["u"])).await, [again.0]);
    })
    .await;
}

/// Another account's transaction has drawn a seq and not committed when the seqs above it fill a block.
#[tokio::test]
async fn an_event_that_commits_after_higher_seqs_is_not_missed() {
    let Some(schema) = Postgres::new() else { return };
    let mut late = super::several_processes::connect(&schema).await;
    let client = super::several_processes::connect(&schema).await;
    let mut store = TestStore::start(Box::new(schema), super::engine::UNLIMITED).await;
    store.use_account(&AccountName::from("late".to_owned())).await;
    store.append("first", &["u"]).await;
    store.use_account(&AccountName::main()).await;
    let open = late.transaction().await.expect("begun");
    open.execute("SELECT 1 FROM accounts WHERE name = 'late' FOR NO KEY UPDATE", &[]).await.expect("locked");
    let sql = "INSERT INTO log (seq, account, id, keys, received_at)
               SELECT nextval('log_seq'), account, sha256('late'), keys, 1 FROM log JOIN accounts USING (account) WHERE name = 'late'
               RETURNING seq";
    let seq: i64 = open.query_one(sql, &[]).await.expect("appended").get(0);
    fill(&store, 5_000, &[]).await;
    for _ in 0..4 {
        store.compact(0).await;
    }
    let outside = Outside::Postgres(Box::new(client));
    assert_eq!(outside.filters(&store).await, 0, "the block may not be made yet");
    open.commit().await.expect("committed");
    until_filtered(&store, &outside, 2).await;
    store.use_account(&AccountName::from("late".to_owned())).await;
    assert_eq!(all(&store, &of(&store, &["u"])).await.first(), Some(&seq));
}
