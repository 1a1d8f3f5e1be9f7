//! A store that is moved to another one, of the same engine or another, holds the same, to the last seq; and nothing is moved where
//! that cannot be promised.

use super::engine::{
    Engine, Postgres, Sqlite, TestStore, UNLIMITED, accepted, done, hand_back, progress, remember, retry_with,
    together, unit,
};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, SealedApiKey, SentAttributes, Seq, SourceId, Timestamp};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::transfer::{
    ColumnValue, Identity, Table, TableCounts, TransferSource, TransferTarget, transfer,
};
use refersion_destination::store::{
    AffiliateChanges, AnsweredEvent, DeadLetterFilter, EventFilter, KeptTraits, NewEvent, PageStart, PostgresSource,
    PostgresTarget, PostgresUrl, Retention, SqliteSource, SqliteTarget, StoreError, TraitsChange,
};

/// The location of a store.
#[derive(Clone)]
enum Location {
    File(Sqlite),
    Schema(Postgres),
}

impl Location {
    fn file() -> Self {
        Self::File(Sqlite::new())
    }

    /// An empty location for each engine that is available.
    fn every() -> Vec<Self> {
        [Self::file()].into_iter().chain(Postgres::new().map(Self::Schema)).collect()
    }

    async fn open(&self) -> TestStore {
        let engine: Box<dyn Engine> = match self {
            Self::File(file) => Box::new(file.clone()),
            Self::Schema(schema) => Box::new(schema.clone()),
        };
        TestStore::start(engine, UNLIMITED).await
    }

    async fn source(&self) -> Result<Box<dyn TransferSource>, String> {
        Ok(match self {
            Self::File(file) => Box::new(SqliteSource::open(&file.path()).map_err(text)?),
            Self::Schema(schema) => Box::new(PostgresSource::open(&url(schema)).await.map_err(text)?.map_err(text)?),
        })
    }

    async fn target(&self) -> Result<Box<dyn TransferTarget>, String> {
        Ok(match self {
            Self::File(file) => Box::new(SqliteTarget::open(&file.path()).map_err(text)?.map_err(text)?),
            Self::Schema(schema) => Box::new(PostgresTarget::open(&url(schema)).await.map_err(text)?.map_err(text)?),
        })
    }
}

fn url(schema: &Postgres) -> PostgresUrl {
    PostgresUrl::parse(schema.url()).expect("a URL")
}

fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

async fn transfer_all(from: &Location, to: &Location) -> Result<TableCounts, String> {
    transfer(&mut *from.source().await?, to.target().await?, |_, _| ()).await.map_err(text)
}

fn another() -> AccountName {
    AccountName::from("another".to_owned())
}

/// Fills a store with everything that it can hold: events that wait, were begun in a group, failed, were handed back, died, were settled,
/// or belong to a forgotten user; affiliates, with and without a conflict; remembered traits of a user; a moment of a deletion; a key;
/// health.
async fn fill(store: &mut TestStore) {
    store.teach("known", &["u1"], remember("one", store.keys(&["u1", "u1@x.io"]))).await;
    let mut conflict = remember("two", store.keys(&["u2"]));
    if let Some(remember) = &mut conflict.remember {
        let mut sent = SentAttributes::default();
        sent.record_taken_email(store.store().hash_key(), "taken@x.io");
        (remember.known.sent, remember.known.id) = (sent, None);
    }
    store.teach("in conflict", &["u2"], conflict).await;
    let traits = TraitsChange::Keep(KeptTraits {
        user: store.keys(&["u8"])[0],
        email: Some(store.keys(&["u8@x.io"])[0]),
        names: vec!["email".to_owned()],
        sealed: b"\0sealed traits".to_vec(),
        expires_at: Timestamp(9),
        replaces: false,
    });
    let traits = AffiliateChanges { traits: Some(traits), ..AffiliateChanges::default() };
    store.teach("in pieces", &["u8"], traits).await;
    store.append("of a user in pieces", &["u8@x.io"]).await;
    let letter = store.die("dead", &["u3", "u3@x.io"]).await;
    store.store().replay(&[letter.0]).await.expect("replayed");
    store.die("dead for good", &["u3"]).await;
    let group: Vec<Seq> = vec![store.append("a", &["u1"]).await, store.append("b", &["u1", "u4"]).await];
    store.begin_units(&[unit(&group)]).await;
    store.save(&unit(&group), &together(2)).await;
    for (name, settlement) in [("failed", retry_with(5, progress(2))), ("handed back", hand_back())] {
        let seq = store.append(name, &[name]).await;
        store.settle(seq, settlement).await;
    }
    let gone = store.append("gone", &["u5"]).await;
    store.settle(gone, done()).await;
    store.append("of a forgotten user", &["u6"]).await;
    store.store().forget(&store.account, &store.keys(&["u6"]), Timestamp(7)).await.expect("forgotten");
    let of_another = NewEvent { account: another(), ..store.event("of another", &["u7"], 3) };
    store.try_append(of_another).await;
    let key = SealedApiKey { account: another(), blob: b"\0sealed".to_vec() };
    store.store().keep_api_keys(vec![key]).await.expect("kept");
    store.use_account(&another()).await;
    store.store().save_health(&another(), r#"{"paused":1}"#.to_owned()).await.expect("saved");
    store.use_account(&AccountName::main()).await;
}

/// Everything that can be seen of a store.
async fn contents(store: &mut TestStore) -> Vec<String> {
    let mut seen = vec![format!("{:?} {:?}", store.store().status(), store.store().pending())];
    for account in [another(), AccountName::main()] {
        store.use_account(&account).await;
        let (all, account) = (store.store(), &account);
        let entries = all.read(account, Seq(0), 1_000).await.expect("read");
        let units: Vec<Unit> =
            entries.iter().map(|entry| Unit { head: entry.seq, followers: entry.followers.clone() }).collect();
        let begun = all.begin(account, &units).await.expect("begun");
        all.release(&units.iter().flat_map(Unit::seqs).collect::<Vec<_>>());
        seen.extend(entries.iter().map(|entry| format!("{entry:?}")));
        seen.extend(begun.iter().map(|begun| format!("{begun:?}")));
        seen.push(format!("{:?}", all.health(account).await));
        seen.push(format!("{:?}", all.email_conflicts(Some(account), 0, 100).await));
    }
    let all = store.store();
    let letters =
        all.dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 100).await.expect("a page").letters;
    for letter in &letters {
        seen.push(format!("{:?}", all.dead_letter(letter.id).await));
    }
    seen.push(format!("{:?}", all.kept_api_keys().await));
    seen.push(format!("{:?}", all.measure().await.map(|measured| measured.remembered)));
    seen
}

#[tokio::test]
async fn a_store_that_was_moved_holds_the_same_and_goes_on_with_the_next_seq() {
    for from in Location::every() {
        for to in Location::every() {
            let mut store = from.open().await;
            if store.counts() == (0, 0) {
                fill(&mut store).await;
            }
            let before = contents(&mut store).await;
            store.store().close().await;
            drop(store);
            let counts = transfer_all(&from, &to).await.expect("moved");
            assert_eq!((counts["dead_letters"], counts["affiliates"], counts["pending of another"]), (2, 2, 1));
            let mut moved = to.open().await;
            assert_eq!(contents(&mut moved).await, before);
            for name in ["known", "gone", "dead", "a", "of a forgotten user"] {
                assert!(moved.is_duplicate(name).await, "{name}");
            }
            let last = moved
                .store()
                .dead_letters(&DeadLetterFilter::default(), PageStart::After(0), 1)
                .await
                .expect("a page")
                .last;
            let new = accepted(moved.try_append(moved.event("new", &["u6"], 9)).await);
            assert!(new.0 > last, "{} after {last}", new.0);
            let memory = moved.begin(new).await.memory;
            assert_eq!(memory.user_id_deleted_at, Some(Timestamp(7)), "the moment of the erasure is known");
            let mut old = from.open().await;
            assert_eq!(contents(&mut old).await, before, "the old one is as it was");
            old.store().close().await;
        }
    }
}

#[tokio::test]
async fn the_ledger_moves_and_an_id_that_was_forgotten_stays_forgotten() {
    for from in Location::every() {
        for to in Location::every() {
            let store = from.open().await;
            if store.counts() == (0, 0) {
                for (name, at) in [("early", 1), ("waits", 2), ("late", 9)] {
                    let seq = accepted(store.try_append(store.event(name, &[name], at)).await);
                    if name != "waits" {
                        store.settle(seq, done()).await;
                    }
                }
                store.store().recorded().record(AnsweredEvent {
                    account: store.account.clone(),
                    id: store.id("refused"),
                    user_keys: store.keys(&["u1"]),
                    source: SourceId::parse("web"),
                    received_at: Timestamp(9),
                    outcome: OutcomeCode::TooLarge,
                });
                store.store().write_recorded().await.expect("written");
                let before = Retention { ids: Timestamp(5), ..Retention::default() };
                store.store().compact(before).await.expect("compacted");
            }
            let ledger = async |store: &TestStore| {
                let page = store.store().events(&EventFilter::default(), i64::MAX, 100).await.expect("read");
                page.events.into_iter().map(|event| (event.seq, event.outcome, event.source)).collect::<Vec<_>>()
            };
            let before = ledger(&store).await;
            assert_eq!((before.len(), before[0].2.as_deref()), (4, Some("web")));
            store.store().close().await;
            drop(store);
            transfer_all(&from, &to).await.expect("moved");
            let moved = to.open().await;
            assert_eq!(ledger(&moved).await, before);
            for (name, repeat) in [("waits", true), ("late", true), ("early", false), ("refused", false)] {
                assert_eq!(moved.is_duplicate(name).await, repeat, "{name}");
            }
            moved.store().close().await;
        }
    }
}

#[tokio::test]
async fn a_file_in_use_and_a_target_that_holds_something_are_refused() {
    for to in Location::every() {
        let (from, other) = (Location::file(), to.open().await);
        let store = from.open().await;
        store.append("a", &["u1"]).await;
        other.append("b", &["u1"]).await;
        other.store().close().await;
        drop(other);
        let refused = transfer_all(&from, &to).await.expect_err("the source is in use");
        assert!(refused.contains("is in use by another process of this service"), "{refused}");
        let refused = transfer_all(&to, &from).await.expect_err("the target is in use");
        assert!(refused.contains("is in use by another process of this service"), "{refused}");
        store.store().close().await;
        drop(store);
        let refused = transfer_all(&from, &to).await.expect_err("not empty");
        let held = "the target is not empty (1 accounts, 1 bodies, 1 log, 1 pending of main)";
        assert!(refused.ends_with(held), "{refused}");
        assert_eq!(to.open().await.names().await, ["b"]);
    }
}

#[tokio::test]
async fn a_database_in_use_is_refused_as_a_source_and_as_a_target() {
    let Some(schema) = Postgres::new() else { return };
    let (file, database) = (Location::file(), Location::Schema(schema.clone()));
    for location in [&file, &database] {
        location.open().await.store().close().await;
    }
    let (client, connection) = tokio_postgres::connect(schema.url(), tokio_postgres::NoTls).await.expect("connected");
    tokio::spawn(connection);
    for (begin, end, by) in [
        // As a process of this service is alive: by its heartbeat.
        (
            "INSERT INTO replicas VALUES (gen_random_uuid(), now() + interval '1 hour')",
            "DELETE FROM replicas",
            "a running process",
        ),
        (
            "INSERT INTO replicas SELECT gen_random_uuid(), now() + interval '1 hour' FROM generate_series(1, 2)",
            "DELETE FROM replicas",
            "2 running processes",
        ),
        // As one appends that is not: by its lock.
        ("BEGIN; LOCK accounts IN ROW SHARE MODE", "ROLLBACK", "a running process"),
    ] {
        client.batch_execute(begin).await.expect("begun");
        for (from, to) in [(&file, &database), (&database, &file)] {
            let refused = transfer_all(from, to).await.expect_err("in use");
            assert!(refused.ends_with(&format!("the database is in use by {by} of this service")), "{refused}");
        }
        client.batch_execute(end).await.expect("ended");
    }
}

#[tokio::test]
async fn a_damaged_row_is_named_and_the_target_stays_empty() {
    for to in Location::every() {
        let file = Sqlite::new();
        let store = TestStore::on(&file);
        store.append("a", &["u1"]).await;
        store.store().close().await;
        file.connection().execute("UPDATE bodies SET body = 7", []).expect("damaged");
        let damaged = transfer_all(&Location::File(file), &to).await.expect_err("damaged");
        assert_eq!(damaged, "a part of the store is damaged: bodies.body of the row 1");
        assert_eq!(to.open().await.counts(), (0, 0));
    }
}

/// A source whose counts say something else than its rows.
struct Miscounted(Box<dyn TransferSource>);

#[async_trait::async_trait]
impl TransferSource for Miscounted {
    async fn identity(&mut self) -> Result<Identity, StoreError> {
        self.0.identity().await
    }

    async fn counts(&mut self) -> Result<TableCounts, StoreError> {
        let mut counts = self.0.counts().await?;
        counts.insert("links".to_owned(), 3);
        Ok(counts)
    }

    async fn read(
        &mut self,
        table: &'static Table,
        after: Option<&[ColumnValue]>,
    ) -> Result<Vec<Vec<ColumnValue>>, StoreError> {
        self.0.read(table, after).await
    }
}

#[tokio::test]
async fn counts_that_differ_are_reported_and_nothing_is_moved() {
    for to in Location::every() {
        let from = Location::file();
        let store = from.open().await;
        store.teach("known", &["u1"], remember("one", store.keys(&["u1"]))).await;
        store.store().close().await;
        drop(store);
        let mut source = Miscounted(from.source().await.expect("opens"));
        let moved = transfer(&mut source, to.target().await.expect("empty"), |_, _| ()).await;
        assert_eq!(moved, Err(StoreError::Fatal("the counts differ: links: 1 of 3".to_owned())));
        assert_eq!(to.open().await.counts(), (0, 0));
    }
}

/// More rows than are moved at once, with keys in an order of their own.
#[tokio::test]
async fn every_portion_is_moved() {
    let mut from = Location::file();
    let store = from.open().await;
    let events: Vec<_> = (0..11_000).map(|n| store.event(&n.to_string(), &[&format!("u{n}")], 0)).collect();
    store.store().append(events).await.expect("appended");
    for entry in store.entries().await.iter().take(450) {
        let (account, unit, changes) = (store.account.clone(), Unit::of(entry.seq), AffiliateChanges::default());
        store.store().settle(&account, &unit, super::engine::dead(), changes).await.expect("settled");
    }
    let before = (store.counts(), store.entries().await);
    store.store().close().await;
    drop(store);
    // From the file to the database, if there is one, and back to a file.
    for to in Location::every().into_iter().rev() {
        let mut seen = Vec::new();
        let progress = |moved, all| seen.push((moved, all));
        let (mut source, target) = (from.source().await.expect("opens"), to.target().await.expect("empty"));
        transfer(&mut *source, target, progress).await.expect("moved");
        let all = 1 + 11_000 + 10_550 + 450 + 450;
        assert_eq!((seen.first(), seen.last()), (Some(&(0, all)), Some(&(all, all))), "the progress ends at its end");
        assert!(seen.is_sorted());
        let moved = to.open().await;
        assert_eq!((moved.counts(), moved.entries().await), before);
        moved.store().close().await;
        from = to;
    }
}
