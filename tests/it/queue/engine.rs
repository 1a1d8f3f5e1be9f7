//! A store under test: an engine that can be opened again and again, and short words for what is done with it.
//!
//! The body of an event is its name unless a test says otherwise, so claims read as lists of names.

use refersion_destination::delivery::{Known, Origin, Progress, Stage};
use refersion_destination::domain::{
    AccountName, AffiliateCode, AffiliateId, Email, EventId, Fingerprint, HashKey, Timestamp, UserId, UserKey,
};
use refersion_destination::queue::{
    Attempt, Batch, Change, Claimed, Depth, NewEvent, Queue, QueueError, Recorded, Remember, Settlement, SqliteQueue,
    Ticket,
};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use tempfile::TempDir;

/// How long a claim of these tests holds, in milliseconds.
pub const LEASE: i64 = 1_000;
/// A moment after every other one.
pub const LATE: i64 = 1_000_000_000;

/// One kind of store, with a place of its own.
pub trait Engine {
    /// Opens the store; what it holds is still there.
    fn open(&self, max_backlog: u64) -> Arc<dyn Queue>;
}

/// A SQLite file in a folder of its own; its clones are views of the same file.
#[derive(Clone)]
pub struct Sqlite {
    folder: Arc<TempDir>,
}

impl Sqlite {
    pub fn new() -> Self {
        Self { folder: Arc::new(TempDir::new().expect("a folder")) }
    }

    pub fn path(&self) -> PathBuf {
        self.folder.path().join("store/queue.db")
    }

    pub fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// Everything the store has on disk, side files included.
    pub fn bytes_on_disk(&self) -> Vec<u8> {
        let folder = self.path().parent().map(Path::to_owned).expect("a parent");
        let files = std::fs::read_dir(folder).expect("the folder");
        files.flat_map(|file| std::fs::read(file.expect("an entry").path()).expect("readable")).collect()
    }

    /// A connection behind the queue's back, as an operator's tool has one.
    pub fn behind_its_back(&self) -> rusqlite::Connection {
        rusqlite::Connection::open(self.path()).expect("the file opens")
    }
}

impl Engine for Sqlite {
    fn open(&self, max_backlog: u64) -> Arc<dyn Queue> {
        Arc::new(SqliteQueue::open(&self.path(), max_backlog).expect("the store opens"))
    }
}

/// Runs a claim on a fresh store of every engine.
pub async fn every(claim: impl AsyncFn(&mut Store)) {
    claim(&mut Store::new(Box::new(Sqlite::new()), u64::MAX / 2)).await;
}

/// The same, where no more than `max_backlog` events may wait.
pub async fn every_of(max_backlog: u64, claim: impl AsyncFn(&mut Store)) {
    claim(&mut Store::new(Box::new(Sqlite::new()), max_backlog)).await;
}

/// An open store.
pub struct Store {
    engine: Box<dyn Engine>,
    max_backlog: u64,
    queue: Arc<dyn Queue>,
    pub account: AccountName,
}

impl Store {
    pub fn new(engine: Box<dyn Engine>, max_backlog: u64) -> Self {
        let queue = engine.open(max_backlog);
        Self { engine, max_backlog, queue, account: AccountName::main() }
    }

    /// A store in a SQLite file, and the file as seen from outside.
    pub fn sqlite() -> (Self, Sqlite) {
        let outside = Sqlite::new();
        (Self::new(Box::new(outside.clone()), u64::MAX / 2), outside)
    }

    pub fn queue(&self) -> &Arc<dyn Queue> {
        &self.queue
    }

    pub fn hash(&self) -> HashKey {
        self.queue.hash_key().clone()
    }

    /// Ends and starts again.
    pub async fn reopen(&mut self) {
        self.queue.close().await;
        self.queue = self.engine.open(self.max_backlog);
    }

    pub fn id(&self, name: &str) -> EventId {
        self.queue.hash_key().event_by_message_id(&self.account, name)
    }

    /// Keys by their spelling: with an `@` it is an e-mail address.
    pub fn keys(&self, users: &[&str]) -> Vec<UserKey> {
        users.iter().map(|user| key(self.queue.hash_key(), &self.account, user)).collect()
    }

    /// An event received at moment `at`.
    pub fn event(&self, name: &str, users: &[&str], at: i64) -> NewEvent {
        NewEvent {
            account: self.account.clone(),
            id: self.id(name),
            keys: self.keys(users),
            only_if_known: false,
            body: name.as_bytes().to_vec(),
            received_at: Timestamp(at),
        }
    }

    pub async fn try_record(&self, events: Vec<NewEvent>) -> Result<Vec<Recorded>, QueueError> {
        self.queue.record(events).await
    }

    /// Records one event at moment 0.
    pub async fn record(&self, name: &str, users: &[&str]) -> Recorded {
        self.record_at(name, users, 0).await
    }

    pub async fn record_at(&self, name: &str, users: &[&str], at: i64) -> Recorded {
        let recorded = self.try_record(vec![self.event(name, users, at)]).await.expect("recorded");
        assert_eq!(recorded.len(), 1);
        recorded[0]
    }

    pub async fn record_if_known(&self, name: &str, users: &[&str]) -> Recorded {
        let event = NewEvent { only_if_known: true, ..self.event(name, users, 0) };
        self.try_record(vec![event]).await.expect("recorded")[0]
    }

    pub async fn batch(&self, limit: usize, now: i64) -> Batch {
        let lease = Duration::from_millis(LEASE.unsigned_abs());
        self.queue.claim(&self.account, limit, Timestamp(now), lease).await.expect("claimed")
    }

    /// Claims everything claimable at `now`.
    pub async fn claim(&self, now: i64) -> Vec<Claimed> {
        self.batch(1_000, now).await.events
    }

    /// Claims the one event that is claimable at `now`.
    pub async fn claim_one(&self, now: i64) -> Claimed {
        let mut events = self.claim(now).await;
        assert_eq!(events.len(), 1, "{:?}", names(&events));
        events.remove(0)
    }

    /// The names of what is claimable at `now`; it is leased from then on.
    pub async fn claim_names(&self, now: i64) -> Vec<String> {
        names(&self.claim(now).await)
    }

    pub async fn settle(&self, ticket: &Ticket, settlement: Settlement) -> Result<(), QueueError> {
        self.queue.settle(ticket, settlement, Change::default()).await
    }

    pub async fn done(&self, claimed: &Claimed) {
        self.settle(&claimed.ticket, Settlement::Done).await.expect("settled");
    }

    /// Carries an event out that teaches `change`.
    pub async fn teach(&self, name: &str, users: &[&str], change: Change) {
        self.record(name, users).await;
        let claimed = self.claim_one(LATE).await;
        self.queue.settle(&claimed.ticket, Settlement::Done, change).await.expect("settled");
    }

    pub async fn depth(&self) -> (u64, u64) {
        let Depth { waiting, dead } = self.queue.depth().await.expect("writable");
        (waiting, dead)
    }

    pub async fn tidy(&self, before: i64) {
        self.queue.tidy(Timestamp(before)).await.expect("tidied");
    }
}

pub fn key(hash: &HashKey, account: &AccountName, user: &str) -> UserKey {
    if user.contains('@') {
        hash.email(account, &Email::parse(user).expect("an address"))
    } else {
        hash.user_id(account, &UserId::parse(user).expect("a userId"))
    }
}

pub fn names(events: &[Claimed]) -> Vec<String> {
    events.iter().map(|claimed| String::from_utf8_lossy(&claimed.body).into_owned()).collect()
}

/// An event was recorded; says whether another of its user is ahead of it.
pub fn is_behind(recorded: Recorded) -> bool {
    match recorded {
        Recorded::Accepted { behind, .. } => behind,
        other => panic!("expected an event to be accepted, it was {other:?}"),
    }
}

pub fn known(code: &str) -> Known {
    let id = Some(AffiliateId(7));
    Known { code: AffiliateCode(code.to_owned()), id, origin: Origin::Created, sent: Fingerprint::default() }
}

/// The affiliate `code` is to be remembered under `keys`.
pub fn remember(code: &str, keys: Vec<UserKey>) -> Change {
    Change { remember: Some(Remember { known: known(code), keys }), ..Change::default() }
}

pub fn progress(page: u32) -> Progress {
    Progress { stage: Stage::Searching { page, seen: 0 }, ..Progress::default() }
}

pub fn retry(at: i64) -> Settlement {
    let attempt = Attempt { at: Timestamp(8), what: "Refersion answered 500 to new".to_owned() };
    Settlement::Retry { at: Timestamp(at), progress: progress(2), failures: 1, failing_since: Timestamp(0), attempt }
}

pub fn hand_back() -> Settlement {
    Settlement::HandBack { progress: Progress::default() }
}

pub fn dead() -> Settlement {
    Settlement::Dead { code: "refused", reason: "for a test".to_owned(), at: Timestamp(9) }
}
