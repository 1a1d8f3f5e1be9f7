//! Outcomes of events that another process delivers and a request here waits for.
//!
//! In: seqs that are waited for. Out: how each ended, as the log says it. While somebody waits, the log is asked for all of them
//! every [`POLL_EVERY`], by primary key; nothing is written for the waiters, and the owner does not know them. Invariant: a wait
//! ends when its caller drops it, and nothing is kept for a caller that has gone. Deliberately absent: remarks in words, which only
//! the owner knows.

use super::listen::ListenConnection;
use super::session::Session;
use crate::delivery::OutcomeCode;
use crate::domain::Seq;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// How often the log is asked while somebody waits.
const POLL_EVERY: Duration = Duration::from_millis(100);

const SETTLED: &str = "SELECT log.seq, log.outcome, dead_letters.reason
    FROM log LEFT JOIN dead_letters ON dead_letters.seq = log.seq
    WHERE log.seq = ANY ($1) AND log.outcome IS NOT NULL";

/// How an event ended, and the reason in words if it is a dead letter.
pub type SettledOutcome = (OutcomeCode, Option<String>);

/// The waiters of all requests.
#[derive(Debug, Default)]
pub struct Outcomes {
    waiting: Mutex<HashMap<Seq, oneshot::Sender<SettledOutcome>>>,
    /// There is a waiter.
    asked: Notify,
}

impl Outcomes {
    /// Returns once the event is settled.
    pub async fn settled(&self, seq: Seq) -> SettledOutcome {
        let (sender, outcome) = oneshot::channel();
        self.lock().insert(seq, sender);
        self.asked.notify_one();
        match outcome.await {
            Ok(outcome) => outcome,
            // The store is closed, or another request waits for the same event.
            Err(_) => std::future::pending().await,
        }
    }

    /// Asks the log as long as somebody waits. Never returns.
    pub async fn poll(self: Arc<Self>, connection: Arc<ListenConnection>) {
        loop {
            self.asked.notified().await;
            loop {
                tokio::time::sleep(POLL_EVERY).await;
                let seqs = self.waited_for();
                if seqs.is_empty() {
                    break;
                }
                // Err: it is asked again, and the caller waits for no longer than it wants.
                for (seq, outcome) in read(&connection, seqs).await.unwrap_or_default() {
                    if let Some(waiting) = self.lock().remove(&seq) {
                        let _ = waiting.send(outcome); // Err: the caller has gone
                    }
                }
            }
        }
    }

    fn waited_for(&self) -> Vec<i64> {
        let mut waiting = self.lock();
        waiting.retain(|_, sender| !sender.is_closed());
        waiting.keys().map(|seq| seq.0).collect()
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Seq, oneshot::Sender<SettledOutcome>>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

async fn read(
    connection: &ListenConnection,
    seqs: Vec<i64>,
) -> Result<Vec<(Seq, SettledOutcome)>, crate::store::StoreError> {
    let rows =
        connection.run(move |session: &Session| Box::pin(async move { Ok(session.query(SETTLED, &[&seqs]).await?) }));
    let outcome = |row: &tokio_postgres::Row| {
        let code = OutcomeCode::from_number(i64::from(row.get::<_, i16>(1)))?;
        Some((Seq(row.get(0)), (code, row.get(2))))
    };
    Ok(rows.await?.iter().filter_map(outcome).collect())
}
