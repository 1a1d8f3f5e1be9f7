//! The wait of a request in this process for the outcome of an event that another process delivers.
//!
//! In: awaited events. Out: the outcome of each from the log, or a new health of its account, which may be paused or halted. While requests
//! wait, one query every [`POLL_EVERY`] reads all awaited rows by their primary keys; nothing is written for the waiters, and the owner
//! does not know them. Invariants: a wait ends when its caller drops it, and leaves nothing behind; an outcome is that of the awaited event:
//! a row with its seq and another id is another event's, since a promoted standby may draw a seq again. Deliberately absent: remarks in
//! words, which only the owner knows, and the meaning of a health.

use super::listen::ListenConnection;
use super::session::Session;
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, EventId, Seq};
use crate::store::rows::event_id;
use crate::store::{DoneElsewhere, StoreError};
use futures_util::future::try_join;
use parking_lot::Mutex;
use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{Notify, oneshot};
use tokio_postgres::Row;

/// How often the tables are queried while a request waits.
const POLL_EVERY: Duration = Duration::from_millis(100);

const SETTLED: &str = "SELECT log.seq, log.id, log.outcome,
        (SELECT reason FROM dead_letters WHERE dead_letters.seq = log.seq)
    FROM log WHERE log.seq = ANY ($1) AND log.outcome IS NOT NULL";
const HEALTH: &str = "SELECT name, health FROM accounts WHERE name = ANY ($1) AND health IS NOT NULL";

/// An event by its seq and its id.
type Awaited = (Seq, EventId);

/// The waiters of all requests.
#[derive(Debug, Default)]
pub struct OutcomeWaiters {
    waiting: Mutex<HashMap<Awaited, WaitingRequest>>,
    /// Notified when there is a waiter.
    added: Notify,
}

#[derive(Debug)]
struct WaitingRequest {
    account: AccountName,
    /// The health of the account that the waiting request knows.
    health: Option<String>,
    done: oneshot::Sender<DoneElsewhere>,
}

/// The rows of awaited events.
struct PolledOutcomes {
    outcomes: HashMap<Awaited, DoneElsewhere>,
    health: HashMap<AccountName, String>,
}

impl OutcomeWaiters {
    /// Returns when the event is settled, or when a health of its account is saved that differs from `health`.
    pub async fn done(&self, account: &AccountName, event: Awaited, health: Option<&str>) -> DoneElsewhere {
        let (sender, done) = oneshot::channel();
        let waiting = WaitingRequest { account: account.clone(), health: health.map(str::to_owned), done: sender };
        self.waiting.lock().insert(event, waiting);
        self.added.notify_one();
        match done.await {
            Ok(done) => done,
            // Err: the store is closed, or another request waits for the same event.
            Err(_) => std::future::pending().await,
        }
    }

    /// Queries the tables while a request waits. Never returns.
    pub async fn poll(self: Arc<Self>, connection: Arc<ListenConnection>) {
        loop {
            self.added.notified().await;
            loop {
                tokio::time::sleep(POLL_EVERY).await;
                let (seqs, accounts) = self.waited_for();
                if seqs.is_empty() {
                    break;
                }
                // Err: the next query may succeed, and the caller has its own timeout.
                if let Ok(found) = read(&connection, seqs, accounts).await {
                    self.notify_waiters(&found);
                }
            }
        }
    }

    fn notify_waiters(&self, found: &PolledOutcomes) {
        let mut waiting = self.waiting.lock();
        let done = |event: &Awaited, waiting: &WaitingRequest| {
            let health = found.health.get(&waiting.account).filter(|health| Some(*health) != waiting.health.as_ref());
            found.outcomes.get(event).cloned().or_else(|| health.cloned().map(DoneElsewhere::Health))
        };
        let ended: Vec<_> = waiting.iter().filter_map(|(event, one)| Some((*event, done(event, one)?))).collect();
        for (event, done) in ended {
            if let Some(waiting) = waiting.remove(&event) {
                let _ = waiting.done.send(done); // Err: the caller no longer waits
            }
        }
    }

    /// The awaited events, and the names of their accounts.
    fn waited_for(&self) -> (Vec<i64>, Vec<String>) {
        let mut waiting = self.waiting.lock();
        waiting.retain(|_, one| !one.done.is_closed());
        let accounts: BTreeSet<&AccountName> = waiting.values().map(|one| &one.account).collect();
        (waiting.keys().map(|(seq, _)| seq.0).collect(), accounts.iter().map(ToString::to_string).collect())
    }
}

async fn read(
    connection: &ListenConnection,
    seqs: Vec<i64>,
    accounts: Vec<String>,
) -> Result<PolledOutcomes, StoreError> {
    let rows = connection.run(move |session: &Session| {
        Box::pin(async move {
            session.prepare(&[SETTLED, HEALTH]).await?;
            let (seqs, accounts) = ([&seqs as _], [&accounts as _]);
            try_join(session.query(SETTLED, &seqs), session.query(HEALTH, &accounts)).await
        })
    });
    let (outcomes, health) = rows.await?;
    let outcome = |row: &Row| {
        let id = event_id(row, 1, "log.id").ok()?;
        let code = OutcomeCode::from_number(i64::from(row.get::<_, i16>(2)))?;
        Some(((Seq(row.get(0)), id), DoneElsewhere::Settled(code, row.get(3))))
    };
    let of_account = |row: &Row| (AccountName::from(row.get::<_, String>(0)), row.get(1));
    Ok(PolledOutcomes {
        outcomes: outcomes.iter().filter_map(outcome).collect(),
        health: health.iter().map(of_account).collect(),
    })
}
