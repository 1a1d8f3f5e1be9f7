//! The store under test: an engine that can be reopened, and short methods for the operations of the tests.
//!
//! The body of an event is its name unless a test sets another one, so assertions compare lists of names.

use crate::support::postgres;
use async_trait::async_trait;
use refersion_destination::delivery::{AffiliateRecord, Origin, OutcomeCode, Progress, Stage};
use refersion_destination::domain::{
    AccountName, AffiliateCode, AffiliateId, Email, EventId, HashKey, SentAttributes, Seq, Timestamp, UserId, UserKey,
};
use refersion_destination::scheduling::{Entry, Unit};
use refersion_destination::store::{
    AffiliateChanges, Appended, Begun, FailedAttempt, KnownUsersOnly, NewEvent, Ownership, PostgresStore, PostgresUrl,
    ReadUpTo, Remember, Replay, Retention, Settlement, SqliteStore, Store, StoreError, StoreLimits,
};
use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;
use tokio::sync::Mutex;

/// A moment after every other one.
pub const LATE: i64 = 1_000_000_000;

/// No test lasts for so long that its account could be taken over.
const LEASE: Duration = Duration::from_secs(300);
/// More events than any test appends.
pub const UNLIMITED: u64 = u64::MAX / 2;

/// A kind of store, with a place of its own.
#[async_trait]
pub trait Engine: Send + Sync {
    /// Opens the store, or reopens it.
    async fn open(&self, max_backlog: u64) -> Arc<dyn Store>;

    /// The process that opened the store last owns the account from now on.
    async fn own(&self, account: &AccountName);

    /// No process that is opened later owns the account.
    async fn disown(&self, account: &AccountName);
}

/// A SQLite file in a folder of its own; its clones are views of the same file.
#[derive(Clone)]
pub struct Sqlite {
    folder: Arc<TempDir>,
    deduplication_memory: usize,
}

impl Sqlite {
    pub fn new() -> Self {
        let folder = Arc::new(TempDir::new().expect("a folder"));
        Self { folder, deduplication_memory: StoreLimits::default().deduplication_memory }
    }

    /// The same, where compaction moves all ids but the newest few thousand out of memory.
    pub fn with_ids_on_disk() -> Self {
        Self { deduplication_memory: 0, ..Self::new() }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("store/store.db")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The folder of the file, made if it is not there.
    pub fn own_folder(&self) -> PathBuf {
        let folder = self.folder.path().join("store");
        std::fs::create_dir_all(&folder).expect("a folder");
        folder
    }

    /// Everything the store has on disk, side files included.
    pub fn bytes_on_disk(&self) -> Vec<u8> {
        let files = std::fs::read_dir(self.own_folder()).expect("the folder");
        files.flat_map(|file| std::fs::read(file.expect("an entry").path()).expect("readable")).collect()
    }

    pub fn holds(&self, text: &str) -> bool {
        self.bytes_on_disk().windows(text.len()).any(|window| window == text.as_bytes())
    }

    /// A connection besides the store's own, as an operator's tool has one.
    pub fn connection(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).expect("the file opens")
    }

    pub fn try_open(&self, max_backlog: u64) -> Result<SqliteStore, String> {
        let limits = StoreLimits { max_backlog, deduplication_memory: self.deduplication_memory };
        SqliteStore::open(&self.path(), limits).map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Engine for Sqlite {
    async fn open(&self, max_backlog: u64) -> Arc<dyn Store> {
        Arc::new(self.try_open(max_backlog).expect("the store opens"))
    }

    /// Its only process owns every account.
    async fn own(&self, _: &AccountName) {}

    async fn disown(&self, _: &AccountName) {}
}

/// A schema of its own in a PostgreSQL database.
#[derive(Clone)]
pub struct Postgres {
    url: String,
    last: Arc<Mutex<Option<Arc<PostgresStore>>>>,
    owned: Arc<Mutex<BTreeSet<AccountName>>>,
}

impl Postgres {
    /// `None`: there is no server, and none can be started.
    pub fn new() -> Option<Self> {
        postgres::new_schema().map(Self::at)
    }

    /// The database of this URL.
    pub fn at(url: String) -> Self {
        Self { url, last: Arc::default(), owned: Arc::default() }
    }

    /// Its URL.
    pub fn url(&self) -> &str {
        &self.url
    }

    pub async fn try_open(&self, max_backlog: u64) -> Result<PostgresStore, String> {
        let url = PostgresUrl::parse(&self.url).expect("a URL");
        let limits = StoreLimits { max_backlog, ..StoreLimits::default() };
        PostgresStore::open(&url, limits, LEASE).await.map_err(|error| error.to_string())
    }
}

#[async_trait]
impl Engine for Postgres {
    async fn open(&self, max_backlog: u64) -> Arc<dyn Store> {
        let store = Arc::new(self.try_open(max_backlog).await.expect("the store opens"));
        *self.last.lock().await = Some(Arc::clone(&store));
        store
    }

    async fn own(&self, account: &AccountName) {
        let (last, mut owned) = (self.last.lock().await, self.owned.lock().await);
        let store = last.as_ref().expect("it is open");
        owned.insert(account.clone());
        while store.lease(account).is_none() {
            store.renew(&owned).await.expect("renewed");
        }
    }

    async fn disown(&self, account: &AccountName) {
        self.owned.lock().await.remove(account);
    }
}

/// Runs a test on a fresh store of every engine.
pub async fn every(claim: impl AsyncFn(&mut TestStore)) {
    every_of(UNLIMITED, claim).await;
}

/// The same, where at most `max_backlog` events of an account may be pending.
pub async fn every_of(max_backlog: u64, claim: impl AsyncFn(&mut TestStore)) {
    let files = [Sqlite::new(), Sqlite::with_ids_on_disk()].map(|file| Box::new(file) as Box<dyn Engine>);
    let schema = Postgres::new().map(|schema| Box::new(schema) as Box<dyn Engine>);
    for engine in files.into_iter().chain(schema) {
        claim(&mut TestStore::start(engine, max_backlog).await).await;
    }
}

/// An open store, which owns every account that a test uses.
pub struct TestStore {
    engine: Box<dyn Engine>,
    max_backlog: u64,
    store: Arc<dyn Store>,
    pub account: AccountName,
    owned: BTreeSet<AccountName>,
}

impl TestStore {
    /// Opens a store of this kind.
    pub async fn start(engine: Box<dyn Engine>, max_backlog: u64) -> Self {
        let store = engine.open(max_backlog).await;
        let mut opened = Self::of(engine, max_backlog, store);
        opened.use_account(&AccountName::main()).await;
        opened
    }

    fn of(engine: Box<dyn Engine>, max_backlog: u64, store: Arc<dyn Store>) -> Self {
        Self { engine, max_backlog, store, account: AccountName::main(), owned: BTreeSet::new() }
    }

    /// The store in this file, where at most `max_backlog` events of an account may be pending.
    pub fn on_limited(file: &Sqlite, max_backlog: u64) -> Self {
        let store = file.try_open(max_backlog).expect("the store opens");
        Self::of(Box::new(file.clone()), max_backlog, Arc::new(store))
    }

    /// A store in a SQLite file, and the file as seen from outside.
    pub fn sqlite() -> (Self, Sqlite) {
        let outside = Sqlite::new();
        (Self::on(&outside), outside)
    }

    /// The store in this file.
    pub fn on(file: &Sqlite) -> Self {
        Self::on_limited(file, UNLIMITED)
    }

    /// Events and settlements are of this account from now on.
    pub async fn use_account(&mut self, account: &AccountName) {
        self.account = account.clone();
        self.owned.insert(account.clone());
        self.engine.own(account).await;
    }

    /// Nobody delivers for the account from now on. Events and settlements are of `main`.
    pub async fn leave_account(&mut self, account: &AccountName) {
        self.account = AccountName::main();
        self.owned.remove(account);
        self.engine.disown(account).await;
        self.reopen().await;
    }

    pub fn store(&self) -> &Arc<dyn Store> {
        &self.store
    }

    /// Ends and starts again.
    pub async fn reopen(&mut self) {
        self.store.close().await;
        self.store = self.engine.open(self.max_backlog).await;
        for account in &self.owned {
            self.engine.own(account).await;
        }
    }

    pub fn id(&self, name: &str) -> EventId {
        self.store.hash_key().event_by_message_id(&self.account, name)
    }

    /// Keys by their spelling: with an `@` it is an e-mail address.
    pub fn keys(&self, users: &[&str]) -> Vec<UserKey> {
        users.iter().map(|user| key(self.store.hash_key(), &self.account, user)).collect()
    }

    /// An event received at moment `at`.
    pub fn event(&self, name: &str, users: &[&str], at: i64) -> NewEvent {
        NewEvent {
            account: self.account.clone(),
            id: self.id(name),
            former_id: None,
            user_keys: self.keys(users),
            known_users_only: None,
            source: None,
            body: name.as_bytes().to_vec(),
            received_at: Timestamp(at),
        }
    }

    /// Appends one event; returns the result.
    pub async fn try_append(&self, event: NewEvent) -> Appended {
        let appended = self.store.append(vec![event]).await.expect("appended");
        assert_eq!(appended.len(), 1);
        appended[0]
    }

    /// Appends one event, received at moment 0.
    pub async fn append(&self, name: &str, users: &[&str]) -> Seq {
        accepted(self.try_append(self.event(name, users, 0)).await)
    }

    /// Whether one event sent again is a duplicate; if it is none, it is appended.
    pub async fn is_duplicate(&self, name: &str) -> bool {
        self.try_append(self.event(name, &["of a repeat"], 0)).await == Appended::Duplicate
    }

    /// Appends an event for known users alone, where the account's worker cannot tell which are pending.
    pub async fn append_if_known(&self, name: &str, users: &[&str]) -> Appended {
        self.append_if_known_up_to(name, users, None).await
    }

    /// The same, where the owner has read the log up to `up_to` and found nothing of the user.
    pub async fn append_if_known_up_to(&self, name: &str, users: &[&str], up_to: Option<Seq>) -> Appended {
        let none_pending_up_to = up_to.and_then(|seq| self.read_up_to(seq));
        let known_users_only =
            Some(KnownUsersOnly { none_pending_up_to, deleted_at: None, if_unknown: OutcomeCode::UnknownUser });
        self.try_append(NewEvent { known_users_only, ..self.event(name, users, 0) }).await
    }

    /// The pending entries of the account.
    pub async fn entries(&self) -> Vec<Entry> {
        self.store.read(&self.account, Seq(0), 1_000_000).await.expect("read")
    }

    /// The names of the account's pending events, in log order.
    pub async fn names(&self) -> Vec<String> {
        let units: Vec<Unit> = self.entries().await.into_iter().map(|entry| Unit::of(entry.seq)).collect();
        let begun = self.begin_units(&units).await;
        let names = begun.iter().map(name).collect();
        self.store.release(&units.iter().map(|unit| unit.head).collect::<Vec<_>>());
        names
    }

    pub async fn begin_units(&self, units: &[Unit]) -> Vec<Begun> {
        self.store.begin(&self.account, units).await.expect("begun").into_iter().flatten().collect()
    }

    /// Begins one pending event.
    pub async fn begin(&self, seq: Seq) -> Begun {
        self.begin_units(&[Unit::of(seq)]).await.pop().expect("it is pending")
    }

    /// Begins a pending event and releases it again.
    pub async fn look_at(&self, seq: Seq) -> Begun {
        let begun = self.begin(seq).await;
        self.store.release(&[seq]);
        begun
    }

    pub async fn save(&self, unit: &Unit, progress: &Progress) {
        let changes = AffiliateChanges::default();
        self.store.save_progress(&self.account, unit, progress, changes).await.expect("saved");
    }

    pub async fn try_settle(&self, unit: &Unit, settlement: Settlement) -> Result<(), StoreError> {
        self.store.settle(&self.account, unit, settlement, AffiliateChanges::default()).await
    }

    /// Ends an attempt at one event, which was not begun in a group.
    pub async fn settle(&self, seq: Seq, settlement: Settlement) {
        self.try_settle(&Unit::of(seq), settlement).await.expect("settled");
    }

    /// Appends an event and settles it with these affiliate changes.
    pub async fn teach(&self, name: &str, users: &[&str], changes: AffiliateChanges) {
        let unit = Unit::of(self.append(name, users).await);
        self.store.settle(&self.account, &unit, done(), changes).await.expect("settled");
    }

    /// Appends an event and settles it as a dead letter.
    pub async fn die(&self, name: &str, users: &[&str]) -> Seq {
        let seq = self.append(name, users).await;
        self.settle(seq, dead()).await;
        seq
    }

    /// The numbers of pending events and of dead letters.
    pub fn counts(&self) -> (u64, u64) {
        let status = self.store.status();
        (status.pending, status.dead)
    }

    /// The owner of the account has read the log up to here. `None`: another process owns it.
    pub fn read_up_to(&self, seq: Seq) -> Option<ReadUpTo> {
        self.store.lease(&self.account).map(|lease| ReadUpTo { lease: lease.number(), seq })
    }

    /// Replays dead letters; the result for each.
    pub async fn replay(&self, seqs: &[Seq]) -> Vec<(i64, Replay)> {
        let ids: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
        let replayed = self.store.replay(&ids).await.expect("replayed");
        replayed.into_iter().map(|result| (result.id, result.outcome)).collect()
    }

    pub async fn compact(&self, before: i64) {
        let before = Retention { events: Timestamp(before), ..Retention::default() };
        self.store.compact(before).await.expect("compacted");
    }
}

pub fn key(hash: &HashKey, account: &AccountName, user: &str) -> UserKey {
    if user.contains('@') {
        hash.email(account, &Email::parse(user).expect("an address"))
    } else {
        hash.user_id(account, &UserId::parse(user).expect("a userId"))
    }
}

/// The body of an event, as text.
pub fn name(begun: &Begun) -> String {
    let body = begun.body.as_ref().map_or_else(|part| format!("damaged: {part}").into_bytes(), Clone::clone);
    String::from_utf8_lossy(&body).into_owned()
}

/// The seq of an event that was accepted.
pub fn accepted(appended: Appended) -> Seq {
    match appended {
        Appended::Accepted { seq, .. } => seq,
        other => panic!("expected an event to be accepted, it was {other:?}"),
    }
}

/// The events `seqs` as a unit, the first of them its head.
pub fn unit(seqs: &[Seq]) -> Unit {
    Unit { head: seqs[0], followers: seqs[1..].to_vec() }
}

pub fn known(code: &str) -> AffiliateRecord {
    let id = Some(AffiliateId(7));
    AffiliateRecord {
        code: AffiliateCode(code.to_owned()),
        id,
        origin: Origin::Created,
        sent: SentAttributes::default(),
    }
}

/// The affiliate `code` is to be remembered under `keys`.
pub fn remember(code: &str, keys: Vec<UserKey>) -> AffiliateChanges {
    AffiliateChanges { remember: Some(Remember { known: known(code), user_keys: keys }), ..AffiliateChanges::default() }
}

/// The user with these keys is to be erased.
pub fn erase(keys: Vec<UserKey>) -> AffiliateChanges {
    AffiliateChanges { erase: keys, ..AffiliateChanges::default() }
}

/// The affiliate `code` is to be forgotten.
pub fn forget(code: &str) -> AffiliateChanges {
    AffiliateChanges { forget: vec![AffiliateCode(code.to_owned())], ..AffiliateChanges::default() }
}

pub fn progress(page: u32) -> Progress {
    Progress { stage: Stage::Searching { page, seen: 0 }, ..Progress::default() }
}

/// So many events were asked for together.
pub fn together(events: usize) -> Progress {
    Progress { coalesced: Some(events), ..Progress::default() }
}

pub fn done() -> Settlement {
    done_with(&[])
}

/// Carried out with these followers.
pub fn done_with(followers: &[Seq]) -> Settlement {
    let followers = followers.iter().map(|seq| (*seq, OutcomeCode::Updated)).collect();
    Settlement::Done { outcome: OutcomeCode::Created, followers }
}

pub fn retry(wait: u64) -> Settlement {
    retry_with(wait, progress(2))
}

/// The first failure, at moment 8, after 5 ms; again in `wait` ms.
pub fn retry_with(wait: u64, progress: Progress) -> Settlement {
    Settlement::Retry {
        wait: Duration::from_millis(wait),
        progress: Some(progress),
        failures: 1,
        failing_for: Duration::from_millis(5),
        attempt: FailedAttempt { at: Timestamp(8), what: "Refersion answered 500 to new".to_owned() },
    }
}

pub fn hand_back() -> Settlement {
    Settlement::HandBack { progress: Progress::default() }
}

pub fn dead() -> Settlement {
    dead_of(OutcomeCode::Rejected, 9)
}

pub fn dead_of(outcome: OutcomeCode, at: i64) -> Settlement {
    Settlement::Dead { outcome, reason: "for a test".to_owned(), at: Timestamp(at) }
}
