//! The delivery worker of one account: reads the event log, schedules events per user, runs deliveries, dispatches their calls
//! and settles the outcomes.
//!
//! In: log entries. Out: calls to Refersion, and settlements. `run_loop` reads ahead, begins runnable units and reports their ends to the
//! scheduler; `run_delivery` is one attempt at one unit of events, `intents` reads what they ask for, and `plan_run` makes their calls;
//! `settlement` is the result of an attempt; `dispatcher` sends calls out, in batches and within the limits; `health` applies replies to
//! the health of the account; `learn` reads Refersion's list of affiliates behind the deliveries; `remember` adds the traits in earlier
//! events of a user who is no affiliate yet. Invariants: one run loop per account at most, and none while no event is pending and no list
//! is read: an idle account holds no task, timer or lease, and its scheduler is empty; a run loop and its deliveries belong to one lease of
//! the account, and no request is sent that the lease does not outlast; no transaction is held across a call; a call that may have had its
//! effect is saved before it is repeated. At shutdown, and when the lease is about to end, calls that were not sent are handed back at
//! once, and requests in flight finish. Deliberately absent: the ownership of accounts ([`crate::store::Ownership`]), the calls for an
//! event ([`crate::delivery`]), the decisions which event may run and when a call may go out ([`crate::scheduling`]), and reading
//! Refersion's answers ([`crate::refersion`]).

mod dispatcher;
mod health;
mod intents;
mod learn;
mod plan_run;
mod remember;
mod run_delivery;
mod run_loop;
mod settlement;

use crate::account_signals::AccountSignals;
use crate::clock::Clock;
use crate::delivery::{Learn, Policy};
use crate::domain::{AccountName, SealKey, Timestamp};
use crate::mapping::Rules;
use crate::refersion::Client;
use crate::scheduling::{AccountHealth, HealthLimits, LearnedLimits, SavedHealth};
use crate::store::{Lease, Store};
use crate::telemetry::Meter;
use arc_swap::ArcSwap;
use dispatcher::Dispatcher;
use futures_util::FutureExt;
use learn::{Learning, WeakWorker};
use parking_lot::{Mutex, MutexGuard};
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::runtime::Handle;
use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

/// The context of a worker.
pub struct WorkerContext {
    /// The account's name.
    pub account: AccountName,
    /// The client of Refersion's API.
    pub client: Client,
    /// The settings that may be replaced while the worker runs.
    pub delivery: ArcSwap<DeliverySettings>,
    /// The account's metrics.
    pub meter: Meter,
}

/// The operator's settings for an account's deliveries.
#[derive(Clone, Debug)]
pub struct DeliverySettings {
    /// The account's mapping rules.
    pub rules: Rules,
    /// The policy for affiliates that existed before, and the like.
    pub policy: Policy,
    /// The policy for requests, with the bounds of every wait.
    pub limits: HealthLimits,
    /// The time for which an event may keep failing, from its first failure on.
    pub max_age: Duration,
    /// Whether affiliates are learned from Refersion's list.
    pub learn: Learn,
    /// The keys that seal remembered traits: the first one seals, and all of them open.
    pub seal_keys: Vec<SealKey>,
}

/// The runtime of all run loops, with the shutdown of the service.
#[derive(Clone)]
pub struct Runtime {
    /// The runtime of all deliveries.
    pub handle: Handle,
    /// Every run loop, so that shutdown can wait for them.
    pub tracker: TaskTracker,
    /// Cancelled when the service shuts down: nothing new is begun.
    pub shutdown: CancellationToken,
    /// Cancelled by an [essential](Self::essential) task that panicked, which is a bug: the service must end.
    pub failed: CancellationToken,
}

impl Runtime {
    /// One whose run loops run on `handle`.
    pub fn new(handle: Handle) -> Self {
        let (shutdown, failed) = (CancellationToken::new(), CancellationToken::new());
        Self { handle, tracker: TaskTracker::new(), shutdown, failed }
    }

    /// The `task`, without which the service must not go on: if it panics, the service ends. Else events would be accepted and never
    /// delivered, for instance. Returns none then.
    pub fn essential<F: Future>(&self, task: F) -> impl Future<Output = Option<F::Output>> + use<F> {
        let failed = self.failed.clone();
        async move { AssertUnwindSafe(task).catch_unwind().await.inspect_err(|_| failed.cancel()).ok() }
    }
}

/// The worker of one account. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Worker(Arc<WorkerInner>);

/// The state that the run loop and its deliveries share.
struct WorkerInner {
    settings: WorkerContext,
    runtime: Runtime,
    store: Arc<dyn Store>,
    signals: AccountSignals,
    clock: Clock,
    health: Mutex<AccountHealth>,
    learning: Mutex<Learning>,
    /// Placeholder userIds no longer lead to affiliates.
    placeholders_unlinked: AtomicBool,
    /// The saved health of the account, and the number of the lease under which it was read; `None` before that.
    saved_health: Mutex<Option<(u64, SavedHealth)>>,
    /// The account is not configured any more: its events wait until it is.
    retired: AtomicBool,
    dispatcher: Mutex<Dispatcher>,
    /// `None` without a run loop.
    run: Mutex<Option<RunState>>,
    /// The run loop, if there is one, so that its end can be waited for.
    run_loop: TaskTracker,
    /// Wakes the run loop: an event was appended, a delivery made room, or the account's health changed.
    changed: Notify,
}

/// The state of the run loop.
struct RunState {
    /// The lease under which it and its deliveries run.
    lease: Lease,
    /// Entries of the log may be unread.
    unread: bool,
    /// It only waits for its deliveries, also if the account is configured again meanwhile: nothing would wake a call that waits.
    is_ending: bool,
}

impl Worker {
    /// A worker of `store`'s events, idle until [`Worker::wake`].
    pub fn new(
        settings: WorkerContext,
        runtime: Runtime,
        store: Arc<dyn Store>,
        signals: AccountSignals,
        clock: Clock,
    ) -> Self {
        let health = AccountHealth::new(settings.delivery.load().limits, LearnedLimits::default());
        signals.publish(health.snapshot());
        let worker = Self(Arc::new(WorkerInner {
            settings,
            runtime,
            store,
            signals,
            clock,
            health: Mutex::new(health),
            learning: Mutex::default(),
            placeholders_unlinked: AtomicBool::new(false),
            saved_health: Mutex::new(None),
            retired: AtomicBool::new(false),
            dispatcher: Mutex::default(),
            run: Mutex::new(None),
            run_loop: TaskTracker::new(),
            changed: Notify::new(),
        }));
        worker.0.signals.offer_learning(Arc::new(WeakWorker(Arc::downgrade(&worker.0))));
        worker
    }

    /// The signals that it publishes.
    pub fn signals(&self) -> &AccountSignals {
        &self.0.signals
    }

    /// The account's metrics.
    pub fn meter(&self) -> &Meter {
        &self.0.settings.meter
    }

    /// Unlinks placeholder userIds from affiliates: different users had them in common before they counted as placeholders.
    async fn unlink_placeholders(&self) {
        if self.0.placeholders_unlinked.swap(true, Ordering::Relaxed) {
            return;
        }
        let (account, hash) = (&self.0.settings.account, self.0.store.hash_key());
        let ids = self.delivery().rules.placeholder_spellings();
        let keys = ids.iter().map(|id| hash.user_id(account, id)).collect();
        if let Err(error) = self.0.store.unlink(keys).await {
            tracing::warn!(%account, %error, "cannot unlink placeholder userIds; it is tried again later");
            self.0.placeholders_unlinked.store(false, Ordering::Relaxed);
        }
    }

    /// Events of the account may be pending: starts the run loop, or makes it read the log again. Does nothing if another process owns the
    /// account; after that has changed, the caller must wake the worker again.
    pub fn wake(&self) {
        let mut run = self.0.run.lock();
        if let Some(run) = &mut *run {
            run.unread = true;
            self.0.changed.notify_one();
        } else if !self.is_leaving()
            && let Some(lease) = self.0.store.lease(&self.0.settings.account)
        {
            *run = Some(RunState { lease: lease.clone(), unread: true, is_ending: false });
            let Runtime { handle, tracker, .. } = &self.0.runtime;
            let run = self.0.runtime.essential(run_loop::run(self.clone(), lease));
            drop(tracker.spawn_on(self.0.run_loop.track_future(run), handle));
        }
    }

    /// Returns once no run loop runs. It ends soon after the shutdown of [`Runtime`] began; then none begins any more.
    pub async fn ended(&self) {
        self.0.run_loop.close();
        self.0.run_loop.wait().await;
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn health(&self) -> MutexGuard<'_, AccountHealth> {
        self.0.health.lock()
    }

    /// The account was removed from the configuration: no further delivery of it begins, calls that were not sent are handed back, and
    /// requests in flight finish.
    pub fn retire(&self) {
        if !self.0.retired.swap(true, Ordering::Relaxed) {
            self.0.changed.notify_one();
        }
    }

    /// The account is configured with these settings. A running worker uses them from now on, and a retired one delivers again once it is
    /// woken.
    pub fn apply_settings(&self, settings: DeliverySettings) {
        self.change_health(|health, _| health.set_limits(settings.limits));
        self.0.settings.delivery.store(Arc::new(settings));
        self.0.placeholders_unlinked.store(false, Ordering::Relaxed); // there may be new ones
        self.0.retired.store(false, Ordering::Relaxed);
        self.0.changed.notify_one();
    }

    /// The operator's present settings for deliveries.
    fn delivery(&self) -> Arc<DeliverySettings> {
        self.0.settings.delivery.load_full()
    }

    /// Whether no delivery begins any more: the service shuts down, or the account was removed.
    fn is_leaving(&self) -> bool {
        self.0.runtime.shutdown.is_cancelled() || self.0.retired.load(Ordering::Relaxed)
    }

    /// Whether no new delivery begins: the worker is leaving, or its run loop or its lease is about to end.
    fn is_stopping(&self) -> bool {
        self.is_leaving() || self.0.run.lock().as_ref().is_none_or(|run| run.is_ending || run.lease.is_ending())
    }

    /// Whether the lease lasts long enough for a request that is sent now.
    fn may_send(&self) -> bool {
        self.0.run.lock().as_ref().is_some_and(|run| run.lease.may_send())
    }
}

/// The wait where an event ends it, not a timer.
const FOREVER: Duration = Duration::from_secs(24 * 60 * 60);
