//! The reads of a worker from the store: an account without pending events costs nothing, and a single event one read.

use crate::support::service::Refersion;
use crate::support::{API_KEY, identify, within};
use arc_swap::ArcSwap;
use async_trait::async_trait;
use refersion_destination::account_signals::AccountSignals;
use refersion_destination::clock::Clock;
use refersion_destination::delivery::{Learn, Policy, Progress, RecalledAffiliate};
use refersion_destination::domain::{
    AccountName, AffiliateCode, ApiKey, EventId, HashKey, SealedApiKey, Seq, Timestamp, User, UserId, UserKey,
};
use refersion_destination::mapping::Rules;
use refersion_destination::refersion::ConnectionPool;
use refersion_destination::sandbox::{Fault, Operation};
use refersion_destination::scheduling::{Backoff, Entry, HealthLimits, Unit};
use refersion_destination::store::{
    AffiliateChanges, AffiliateIndex, AnsweredEvent, ApiKeyVault, Appended, BacklogFilter, BacklogPage, Begun,
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, EmailConflict, EventFilter, EventLog, EventPage,
    EventRecord, Forgotten, Inspection, Lease, Ledger, LedgerBuffer, LookupPage, LookupQuery, Maintenance, Measured,
    MovedDeadLetter, NewEvent, OnCommit, Ownership, PageStart, Remember, ReplayResult, Retention, Settlement,
    SqliteStore, StoreError, StoreLimits, StoreStatus,
};
use refersion_destination::telemetry::Metrics;
use refersion_destination::worker::{DeliverySettings, Runtime, Worker, WorkerContext};
use serde_json::json;
use std::collections::BTreeMap;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Semaphore;
use tokio_util::task::TaskTracker;

/// The permits for saving progress.
pub const SAVES: usize = 1_000;

/// A store that counts how often the log was read and events were begun.
pub struct Counting {
    pub store: SqliteStore,
    reads: AtomicUsize,
    pub begins: AtomicUsize,
    /// So many settlements are committed, and their answers are lost.
    answers_to_lose: AtomicUsize,
    /// The next settlement comes after this compaction.
    pub compacts: Mutex<Option<Retention>>,
    /// Saving progress takes a permit.
    pub saves: Semaphore,
    /// How often progress was to be saved.
    pub saving: AtomicUsize,
    /// How often progress was saved.
    pub saved: AtomicUsize,
    /// How many health states are being saved.
    pub health_saves: AtomicUsize,
    /// How often a run loop has begun with new settings.
    pub unlinks: AtomicUsize,
    /// The lease of this process on every account.
    pub lease: Mutex<Option<Lease>>,
}

#[async_trait]
impl EventLog for Counting {
    fn hash_key(&self) -> &HashKey {
        self.store.hash_key()
    }

    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.store.append(events).await
    }

    async fn read(&self, account: &AccountName, after: Seq, limit: usize) -> Result<Vec<Entry>, StoreError> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        self.store.read(account, after, limit).await
    }

    async fn begin(&self, account: &AccountName, units: &[Unit]) -> Result<Vec<Option<Begun>>, StoreError> {
        self.begins.fetch_add(1, Ordering::Relaxed);
        self.store.begin(account, units).await
    }

    async fn recall(
        &self,
        account: &AccountName,
        code: &AffiliateCode,
        keys: &[UserKey],
    ) -> Result<Option<RecalledAffiliate>, StoreError> {
        self.store.recall(account, code, keys).await
    }

    fn release(&self, seqs: &[Seq]) {
        self.store.release(seqs);
    }

    async fn save_progress(
        &self,
        account: &AccountName,
        unit: &Unit,
        progress: &Progress,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError> {
        self.saving.fetch_add(1, Ordering::Relaxed);
        self.saves.acquire().await.expect("open").forget();
        self.store.save_progress(account, unit, progress, changes).await?;
        self.saved.fetch_add(1, Ordering::Relaxed);
        Ok(())
    }

    async fn settle(
        &self,
        account: &AccountName,
        unit: &Unit,
        settlement: Settlement,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError> {
        let compacts = self.compacts.lock().expect("not poisoned").take();
        if let Some(before) = compacts {
            self.store.compact(before).await?;
        }
        self.store.settle(account, unit, settlement, changes).await?;
        let left = |lost: usize| lost.checked_sub(1);
        match self.answers_to_lose.fetch_update(Ordering::Relaxed, Ordering::Relaxed, left) {
            Ok(_) => Err(StoreError::Transient("the connection broke".to_owned())),
            Err(_) => Ok(()),
        }
    }
}

#[async_trait]
impl DeadLetters for Counting {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        start: PageStart,
        limit: usize,
    ) -> Result<DeadLetterPage, StoreError> {
        self.store.dead_letters(filter, start, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.store.dead_letter(id).await
    }

    async fn replay(&self, ids: &[i64]) -> Result<Vec<ReplayResult>, StoreError> {
        self.store.replay(ids).await
    }

    async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        self.store.discard(ids).await
    }

    async fn set_aside(&self, account: &AccountName, now: Timestamp, limit: usize) -> Result<Option<u64>, StoreError> {
        self.store.set_aside(account, now, limit).await
    }

    async fn move_dead_letters(&self, moved: Vec<MovedDeadLetter>) -> Result<Vec<ReplayResult>, StoreError> {
        self.store.move_dead_letters(moved).await
    }

    async fn forget(&self, account: &AccountName, users: &[UserKey], now: Timestamp) -> Result<Forgotten, StoreError> {
        self.store.forget(account, users, now).await
    }

    async fn forget_preview(&self, account: &AccountName, users: &[UserKey]) -> Result<Forgotten, StoreError> {
        self.store.forget_preview(account, users).await
    }
}

#[async_trait]
impl AffiliateIndex for Counting {
    async fn list_progress(&self, account: &AccountName) -> Result<Option<String>, StoreError> {
        self.store.list_progress(account).await
    }

    async fn remember_listed(
        &self,
        account: &AccountName,
        affiliates: Vec<Remember>,
        progress: String,
    ) -> Result<Vec<Remember>, StoreError> {
        self.store.remember_listed(account, affiliates, progress).await
    }
}

#[async_trait]
impl Ledger for Counting {
    fn recorded(&self) -> &LedgerBuffer {
        self.store.recorded()
    }

    async fn write(&self, events: Arc<Vec<AnsweredEvent>>) -> Result<(), StoreError> {
        self.store.write(events).await
    }
}

#[async_trait]
impl ApiKeyVault for Counting {
    async fn keep_api_keys(&self, keys: Vec<SealedApiKey>) -> Result<(), StoreError> {
        self.store.keep_api_keys(keys).await
    }

    async fn kept_api_keys(&self) -> Result<Vec<SealedApiKey>, StoreError> {
        self.store.kept_api_keys().await
    }

    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError> {
        self.store.remove_api_key(account).await
    }
}

#[async_trait]
impl Inspection for Counting {
    async fn knows_account(&self, account: &AccountName) -> Result<bool, StoreError> {
        self.store.knows_account(account).await
    }

    async fn oldest_pending(&self, accounts: &[AccountName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        self.store.oldest_pending(accounts).await
    }

    async fn backlog(&self, filter: &BacklogFilter, after: i64, limit: usize) -> Result<BacklogPage, StoreError> {
        self.store.backlog(filter, after, limit).await
    }

    async fn event_record(&self, seq: i64) -> Result<Option<EventRecord>, StoreError> {
        self.store.event_record(seq).await
    }

    async fn events(&self, filter: &EventFilter, before: i64, limit: usize) -> Result<EventPage, StoreError> {
        self.store.events(filter, before, limit).await
    }

    async fn lookup(&self, query: &LookupQuery) -> Result<LookupPage, StoreError> {
        self.store.lookup(query).await
    }
}

impl Ownership for Counting {
    fn lease(&self, _: &AccountName) -> Option<Lease> {
        self.lease.lock().expect("not poisoned").clone()
    }
}

#[async_trait]
impl Maintenance for Counting {
    fn status(&self) -> StoreStatus {
        self.store.status()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.store.probe().await
    }

    async fn measure(&self) -> Result<Measured, StoreError> {
        self.store.measure().await
    }

    fn on_commit(&self, on_commit: OnCommit) {
        self.store.on_commit(on_commit);
    }

    fn pending(&self) -> BTreeMap<String, u64> {
        self.store.pending()
    }

    async fn health(&self, account: &AccountName) -> Result<Option<String>, StoreError> {
        self.store.health(account).await
    }

    async fn save_health(&self, account: &AccountName, health: String) -> Result<(), StoreError> {
        self.health_saves.fetch_add(1, Ordering::Relaxed);
        let saved = self.store.save_health(account, health).await;
        self.health_saves.fetch_sub(1, Ordering::Relaxed);
        saved
    }

    async fn unlink(&self, keys: Vec<UserKey>) -> Result<(), StoreError> {
        self.unlinks.fetch_add(1, Ordering::Relaxed);
        self.store.unlink(keys).await
    }

    async fn email_conflicts(
        &self,
        account: Option<&AccountName>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<EmailConflict>, StoreError> {
        self.store.email_conflicts(account, after, limit).await
    }

    fn compaction_interval(&self) -> Duration {
        self.store.compaction_interval()
    }

    async fn compact(&self, before: Retention) -> Result<(), StoreError> {
        self.store.compact(before).await
    }

    async fn closed(&self) {
        self.store.closed().await;
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

pub fn settings(refersion: &Refersion) -> WorkerContext {
    let (account, minute) = (AccountName::main(), Duration::from_secs(60));
    let key = ApiKey::parse(API_KEY).expect("a key");
    let client =
        ConnectionPool::new(&refersion.base_url.parse().expect("a URL"), minute).and_then(|to| to.client(&key));
    let backoff = Backoff { min: minute, max: minute };
    WorkerContext {
        meter: Metrics::default().of(&account),
        account,
        client: client.expect("a client"),
        delivery: ArcSwap::from_pointee(DeliverySettings {
            rules: Rules::default(),
            policy: Policy::default(),
            limits: HealthLimits { backoff, concurrency: 4, requests_per_second: None },
            max_age: minute,
            learn: Learn::Off,
            seal_keys: Vec::new(),
        }),
    }
}

pub fn event(hash: &HashKey, received_at: Timestamp) -> NewEvent {
    let account = AccountName::main();
    let user = User { user_id: UserId::parse("u1"), email: None };
    NewEvent {
        id: EventId([1; 16]),
        former_id: None,
        user_keys: user.keys(hash, &account),
        account,
        known_users_only: None,
        source: None,
        body: identify("1", "u1", &json!({})).to_string().into_bytes(),
        received_at,
    }
}

#[tokio::test]
async fn an_idle_account_holds_no_task_and_an_event_by_itself_costs_one_read() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = counting_store(&folder);
    let runtime = Runtime::new(Handle::current());
    let (tracker, clock, signals) = (runtime.tracker.clone(), Clock::start(), AccountSignals::default());
    let worker = Worker::new(settings(&refersion), runtime, Arc::clone(&store) as _, signals.clone(), clock);
    assert_eq!((tracker.len(), store.reads.load(Ordering::Relaxed)), (0, 0), "idle from the beginning");
    store.append(vec![event(store.hash_key(), clock.now())]).await.expect("appended");
    worker.wake();
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!(refersion.operations(), ["new"]);
    assert_eq!(store.status().pending, 0);
    let scheduler = signals.scheduler();
    assert_eq!(
        (scheduler.is_empty(), scheduler.position()),
        (true, Seq::default()),
        "idle again, with a new scheduler"
    );
    drop(scheduler);
    assert_eq!((store.reads.load(Ordering::Relaxed), store.begins.load(Ordering::Relaxed)), (1, 1));
}

/// A worker on a store of its own, and the runtime in which it can be awaited.
pub fn worker(settings: WorkerContext, store: &Arc<Counting>) -> (Worker, TaskTracker) {
    let (worker, tracker, _) = worker_with_signals(settings, store);
    (worker, tracker)
}

/// The same, and the worker's signals.
pub fn worker_with_signals(settings: WorkerContext, store: &Arc<Counting>) -> (Worker, TaskTracker, AccountSignals) {
    let (runtime, signals) = (Runtime::new(Handle::current()), AccountSignals::default());
    let tracker = runtime.tracker.clone();
    let worker = Worker::new(settings, runtime, Arc::clone(store) as _, signals.clone(), Clock::start());
    (worker, tracker, signals)
}

pub fn counting_store(folder: &tempfile::TempDir) -> Arc<Counting> {
    let store = SqliteStore::open(&folder.path().join("store.db"), StoreLimits::default()).expect("a store");
    let [reads, begins, answers_to_lose, saving, saved, health_saves, unlinks] = [const { AtomicUsize::new(0) }; 7];
    let (compacts, lease) = (Mutex::default(), Mutex::new(Some(Lease::unlimited())));
    let saves = Semaphore::new(SAVES);
    Arc::new(Counting {
        store,
        reads,
        begins,
        answers_to_lose,
        compacts,
        saves,
        saving,
        saved,
        health_saves,
        unlinks,
        lease,
    })
}

/// Makes this the wait after every failure.
fn set_wait(settings: &WorkerContext, wait: Duration) {
    settings.delivery.rcu(|delivery| {
        let limits = HealthLimits { backoff: Backoff { min: wait, max: wait }, ..delivery.limits };
        DeliverySettings { limits, ..DeliverySettings::clone(delivery) }
    });
}

/// A connection that breaks while PostgreSQL commits: the event is not pending any more when the settlement is repeated.
#[tokio::test]
async fn a_settlement_whose_answer_is_lost_ends_the_event_at_once() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = counting_store(&folder);
    let settings = settings(&refersion);
    set_wait(&settings, Duration::from_secs(3_600));
    let (worker, tracker) = worker(settings, &store);
    store.answers_to_lose.store(1, Ordering::Relaxed);
    store.append(vec![event(store.hash_key(), Timestamp(0))]).await.expect("appended");
    worker.wake();
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!((refersion.operations(), store.status().pending), (vec!["new"], 0));
    assert_eq!(store.begins.load(Ordering::Relaxed), 1, "it is not begun again");
}

#[tokio::test]
async fn a_new_key_ends_a_halt_at_once_while_the_probe_of_the_old_one_is_not_answered() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = counting_store(&folder);
    let settings = settings(&refersion);
    set_wait(&settings, Duration::from_millis(1));
    let (worker, tracker) = worker(settings, &store);
    refersion.sandbox.script_for(Operation::New, [Fault::status(401)]);
    refersion.sandbox.script_for(Operation::List, [Fault::Hang { effect: false }]);
    store.append(vec![event(store.hash_key(), Timestamp(0))]).await.expect("appended");
    worker.wake();
    refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    worker.replace_api_key(&ApiKey::parse(API_KEY).expect("a key")).expect("replaced");
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!(store.status().pending, 0);
}

#[tokio::test]
async fn a_limited_number_of_large_bodies_is_begun_at_once_and_all_are_delivered() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = counting_store(&folder);
    let large = |n: u8| {
        let user = User { user_id: UserId::parse(&format!("u{n}")), email: None };
        let one = event(store.hash_key(), Timestamp(0));
        let body = identify(&n.to_string(), &format!("u{n}"), &json!({"junk": "x".repeat(1024 * 1024)}));
        let keys = user.keys(store.hash_key(), &one.account);
        NewEvent { id: EventId([n; 16]), user_keys: keys, body: body.to_string().into_bytes(), ..one }
    };
    store.append((1..=20).map(large).collect()).await.expect("appended");
    let (worker, tracker) = worker(settings(&refersion), &store);
    worker.wake();
    tracker.close();
    within(tracker.wait()).await;
    assert_eq!((store.status().pending, refersion.sandbox.affiliates().len()), (0, 20));
    assert!(store.begins.load(Ordering::Relaxed) >= 3, "8 MiB at once");
}
