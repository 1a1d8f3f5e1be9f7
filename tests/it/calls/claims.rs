//! What a worker asks of the queue: an account for which nothing waits costs the store nothing.

use crate::support::service::Refersion;
use crate::support::{API_KEY, identify, within};
use async_trait::async_trait;
use refersion_destination::clock::Clock;
use refersion_destination::delivery::{Backoff, Policy, Progress};
use refersion_destination::domain::{
    AccountName, ApiKey, EventId, HashKey, SealedKey, Timestamp, User, UserId, UserKey,
};
use refersion_destination::mapping::Rules;
use refersion_destination::notice::Notice;
use refersion_destination::queue::{
    Batch, Change, DeadLetter, Depth, Filter, Forgotten, NewEvent, Page, Queue, QueueError, Recorded, Replay,
    Settlement, SqliteQueue, Ticket,
};
use refersion_destination::refersion::Route;
use refersion_destination::telemetry::Metrics;
use refersion_destination::worker::{Settings, Worker};
use serde_json::json;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// The store, which tells how often somebody claimed.
struct Counting {
    store: SqliteQueue,
    claims: watch::Sender<usize>,
}

#[async_trait]
impl Queue for Counting {
    fn hash_key(&self) -> &HashKey {
        self.store.hash_key()
    }

    async fn record(&self, events: Vec<NewEvent>) -> Result<Vec<Recorded>, QueueError> {
        self.store.record(events).await
    }

    async fn claim(
        &self,
        account: &AccountName,
        limit: usize,
        now: Timestamp,
        lease: Duration,
    ) -> Result<Batch, QueueError> {
        let batch = self.store.claim(account, limit, now, lease).await;
        self.claims.send_modify(|claims| *claims += 1);
        batch
    }

    async fn checkpoint(&self, t: &Ticket, p: &Progress, c: Change, until: Timestamp) -> Result<(), QueueError> {
        self.store.checkpoint(t, p, c, until).await
    }

    async fn settle(&self, ticket: &Ticket, end: Settlement, change: Change) -> Result<(), QueueError> {
        self.store.settle(ticket, end, change).await
    }

    async fn mend(&self, now: Timestamp) -> Result<(), QueueError> {
        self.store.mend(now).await
    }

    async fn depth(&self) -> Result<Depth, QueueError> {
        self.store.depth().await
    }

    async fn dead_letters(&self, filter: &Filter, after: i64, limit: usize) -> Result<Page, QueueError> {
        self.store.dead_letters(filter, after, limit).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, QueueError> {
        self.store.dead_letter(id).await
    }

    async fn replay(&self, ids: &[i64]) -> Result<Vec<(i64, Replay)>, QueueError> {
        self.store.replay(ids).await
    }

    async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, QueueError> {
        self.store.discard(ids).await
    }

    async fn forget(&self, users: &[UserKey], now: Timestamp) -> Result<Forgotten, QueueError> {
        self.store.forget(users, now).await
    }

    async fn keep_keys(&self, keys: Vec<SealedKey>) -> Result<(), QueueError> {
        self.store.keep_keys(keys).await
    }

    async fn kept_keys(&self) -> Result<Vec<SealedKey>, QueueError> {
        self.store.kept_keys().await
    }

    async fn tidy(&self, forget_before: Timestamp) -> Result<(), QueueError> {
        self.store.tidy(forget_before).await
    }

    async fn close(&self) {
        self.store.close().await;
    }
}

fn settings(refersion: &Refersion) -> Settings {
    let (account, minute) = (AccountName::main(), Duration::from_secs(60));
    let key = ApiKey::parse(API_KEY).expect("a key");
    let client = Route::new(&refersion.base_url.parse().expect("a URL"), minute).and_then(|to| to.client(&key, None));
    Settings {
        meter: Metrics::default().of(&account),
        account,
        client: client.expect("a client"),
        rules: Rules::default(),
        policy: Policy::default(),
        backoff: Backoff { min: minute, max: minute },
        max_age: minute,
        concurrency: 4,
        longest_call: minute,
        lease: 4 * minute,
    }
}

fn event(hash: &HashKey, received_at: Timestamp) -> NewEvent {
    let account = AccountName::main();
    let user = User { user_id: UserId::parse("u1"), email: None };
    NewEvent {
        id: EventId([1; 16]),
        keys: user.keys(hash, &account),
        account,
        only_if_known: false,
        body: identify("1", "u1", &json!({})).to_string().into_bytes(),
        received_at,
    }
}

/// One when the worker begins, one that brings the event, and one after it, for what might have come behind it.
#[tokio::test]
async fn an_event_by_itself_costs_two_claims() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let store = SqliteQueue::open(&folder.path().join("store.db"), 10).expect("a store");
    let (claims, mut claimed) = watch::channel(0);
    let (queue, notice, clock) = (Arc::new(Counting { store, claims }), Notice::default(), Clock::start());
    let worker = Worker::new(settings(&refersion), Arc::clone(&queue) as Arc<dyn Queue>, notice.clone(), clock);
    let working = tokio::spawn(worker.run());
    within(claimed.wait_for(|claims| *claims == 1)).await.expect("open");
    queue.record(vec![event(queue.hash_key(), clock.now())]).await.expect("recorded");
    notice.recorded();
    within(claimed.wait_for(|claims| *claims >= 3)).await.expect("open");
    notice.drain();
    within(working).await.expect("no panic");
    assert_eq!((queue.depth().await.expect("open").waiting, *claimed.borrow()), (0, 3));
    assert_eq!(refersion.operations(), ["new"]);
}
