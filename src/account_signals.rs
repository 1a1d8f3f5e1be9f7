//! Signals between the HTTP server and the delivery worker of one account: outcomes of events for which a request waits, the
//! scheduler of the pending events, and the account's health.
//!
//! In: outcomes, schedules and health snapshots of the worker. Out: the same, for the HTTP server. Signals may be lost at any moment
//! without harm: only the store is durable. Invariant: a wait ends with an outcome, with the end of the worker, or with its own deadline; a
//! wait that was dropped leaves nothing behind. Deliberately absent: shutdown, which is a cancellation token of the whole service, and
//! waking the worker, which [`crate::worker`] does.

mod learning;

pub use learning::{AffiliateLearning, AffiliateListStatus, LearningError};

use crate::delivery::{PermanentFailure, Success};
use crate::domain::{EventId, Seq, Timestamp, UserKey};
use crate::scheduling::{BreakerState, HealthSnapshot, Scheduler};
use parking_lot::{Mutex, MutexGuard};
use std::collections::HashMap;
use std::sync::Arc;
use tokio::sync::oneshot;

/// The result of an awaited event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum WaitResult {
    /// The event was delivered, or there was nothing to do.
    Done(Success),
    /// The event failed permanently: it is a dead letter.
    DeadLetter(PermanentFailure),
    /// The event is pending, because Refersion rejected the API key.
    AccountHalted,
    /// The event is pending for an unknown time: an earlier event of its user blocks it, or the account is paused.
    Deferred,
}

/// The signals of one account. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct AccountSignals(Arc<SignalsInner>);

#[derive(Debug, Default)]
struct SignalsInner {
    waiters: Mutex<HashMap<EventId, oneshot::Sender<WaitResult>>>,
    /// Empty while no event is pending.
    scheduler: Mutex<Scheduler>,
    health: Mutex<HealthSnapshot>,
    /// Absent before there is a worker.
    learning: Mutex<Option<Arc<dyn AffiliateLearning>>>,
}

/// A wait for one event's outcome; dropping it ends the wait.
#[derive(Debug)]
pub struct Waiter {
    signals: AccountSignals,
    id: EventId,
    outcome: oneshot::Receiver<WaitResult>,
}

impl AccountSignals {
    /// Begins to wait for the outcome of an event that is about to be appended. `None`: a request waits for this event already, so the new
    /// request is a repeat.
    pub fn wait_for(&self, id: EventId) -> Option<Waiter> {
        let (sender, outcome) = oneshot::channel();
        let mut waiters = self.0.waiters.lock();
        if waiters.contains_key(&id) {
            return None;
        }
        waiters.insert(id, sender);
        Some(Waiter { signals: self.clone(), id, outcome })
    }

    /// Sends the outcome of `id` to the request that waits for it, if there is one.
    pub fn send(&self, id: EventId, outcome: WaitResult) {
        let waiter = self.0.waiters.lock().remove(&id);
        if let Some(waiter) = waiter {
            // Err: the waiter is gone.
            let _ = waiter.send(outcome);
        }
    }

    /// Sends an outcome to every request that waits.
    pub fn send_to_all(&self, outcome: &WaitResult) {
        let waiters = std::mem::take(&mut *self.0.waiters.lock());
        for waiter in waiters.into_values() {
            // Err: the waiter is gone.
            let _ = waiter.send(outcome.clone());
        }
    }

    /// The account's health, as last published.
    pub fn health(&self) -> HealthSnapshot {
        *self.0.health.lock()
    }

    /// The health state of the account at `now`. A pause that is over counts as over, even if no request was made since.
    pub fn state(&self, now: Timestamp) -> BreakerState {
        self.health().state.at(now)
    }

    /// Publishes the account's health.
    pub fn publish(&self, health: HealthSnapshot) {
        *self.0.health.lock() = health;
    }

    /// The worker's interface to reading Refersion's list of affiliates; none before there is a worker.
    pub fn learning(&self) -> Option<Arc<dyn AffiliateLearning>> {
        self.0.learning.lock().clone()
    }

    /// Sets what [`learning`](Self::learning) returns.
    pub fn offer_learning(&self, learning: Arc<dyn AffiliateLearning>) {
        *self.0.learning.lock() = Some(learning);
    }

    /// The scheduler of the account: it has the pending events that the worker has read.
    pub fn scheduler(&self) -> MutexGuard<'_, Scheduler> {
        self.0.scheduler.lock()
    }

    /// The seq up to which the worker has read the log, if no pending event up to there is of the user with these keys.
    pub fn none_pending_up_to(&self, user_keys: &[UserKey]) -> Option<Seq> {
        let scheduler = self.scheduler();
        (!scheduler.has_pending(user_keys)).then(|| scheduler.position())
    }
}

impl Waiter {
    /// The awaited event.
    pub fn event(&self) -> EventId {
        self.id
    }

    /// Waits for the outcome; none if the worker ends without one.
    pub async fn outcome(mut self) -> Option<WaitResult> {
        (&mut self.outcome).await.ok()
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.outcome.close();
        let mut waiters = self.signals.0.waiters.lock();
        // When this wait has its outcome or has ended, another request may wait for the same event.
        if waiters.get(&self.id).is_some_and(oneshot::Sender::is_closed) {
            waiters.remove(&self.id);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EventId = EventId([1; 16]);

    #[tokio::test]
    async fn the_first_waiter_gets_the_outcome_once() {
        let signals = AccountSignals::default();
        let waiter = signals.wait_for(ID).expect("the first");
        assert!(signals.wait_for(ID).is_none(), "a repeat does not take the place of the first");
        signals.send(ID, WaitResult::AccountHalted);
        assert_eq!(waiter.outcome().await, Some(WaitResult::AccountHalted));
        assert!(signals.0.waiters.lock().is_empty());
    }

    #[tokio::test]
    async fn nothing_is_kept_for_a_waiter_that_is_gone() {
        let signals = AccountSignals::default();
        drop(signals.wait_for(ID));
        assert!(signals.wait_for(ID).is_some());
    }

    #[tokio::test]
    async fn a_waiter_that_has_its_outcome_does_not_end_the_wait_of_the_next_one() {
        let signals = AccountSignals::default();
        let first = signals.wait_for(ID).expect("the first");
        signals.send(ID, WaitResult::AccountHalted);
        let next = signals.wait_for(ID).expect("the next");
        drop(first);
        signals.send_to_all(&WaitResult::Deferred);
        assert_eq!(next.outcome().await, Some(WaitResult::Deferred));
    }
}
