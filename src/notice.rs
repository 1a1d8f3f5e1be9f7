//! What the shells tell each other while they run: an event was recorded, an event ended, the key was refused, the service
//! is about to stop.
//!
//! Everything here may be lost at any moment without harm: the queue alone is the truth. Invariant: whoever waits for an
//! outcome is either told, or finds its sender gone, or gives up by itself; nothing is kept for those who went away.

use crate::delivery::{Outcome, PermanentFailure};
use crate::domain::EventId;
use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Notify, oneshot, watch};

/// How an event ended, for those who wait for it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ended {
    /// Well.
    Well(Outcome),
    /// As a dead letter.
    Dead(PermanentFailure),
    /// Not yet, because Refersion refused the API key; the event is kept.
    KeyRefused,
}

/// The notices of one account. Cheap to clone; all clones are one.
#[derive(Clone, Debug)]
pub struct Notice(Arc<Board>);

#[derive(Debug)]
struct Board {
    recorded: Notify,
    waiting: Mutex<HashMap<EventId, oneshot::Sender<Ended>>>,
    halted: AtomicBool,
    paused: AtomicBool,
    draining: watch::Sender<bool>,
}

/// A wait for one event's outcome; ends with it.
#[derive(Debug)]
pub struct Wait {
    notice: Notice,
    id: EventId,
    ended: oneshot::Receiver<Ended>,
}

impl Default for Notice {
    fn default() -> Self {
        let board = Board {
            recorded: Notify::new(),
            waiting: Mutex::default(),
            halted: AtomicBool::new(false),
            paused: AtomicBool::new(false),
            draining: watch::Sender::new(false),
        };
        Self(Arc::new(board))
    }
}

impl Notice {
    /// Events were recorded (or room was made): the worker should look.
    pub fn recorded(&self) {
        self.0.recorded.notify_one();
    }

    /// Waits for [`Notice::recorded`]; one that came before counts.
    pub async fn until_recorded(&self) {
        self.0.recorded.notified().await;
    }

    /// Begins to wait for the outcome of an event that is about to be recorded. Of several who wait for one event, the
    /// first is told; the others sent a duplicate.
    pub fn wait_for(&self, id: EventId) -> Option<Wait> {
        let (sender, ended) = oneshot::channel();
        let mut waiting = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner);
        if waiting.contains_key(&id) {
            return None;
        }
        waiting.insert(id, sender);
        Some(Wait { notice: self.clone(), id, ended })
    }

    /// Tells whoever waits for `id`.
    pub fn ended(&self, id: EventId, ended: Ended) {
        let sender = self.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&id);
        if let Some(sender) = sender {
            // Err: the one who waited has gone.
            let _ = sender.send(ended);
        }
    }

    /// Notes whether Refersion refuses the key.
    pub fn set_halted(&self, halted: bool) {
        self.0.halted.store(halted, Ordering::Relaxed);
    }

    /// Whether Refersion refuses the key.
    pub fn is_halted(&self) -> bool {
        self.0.halted.load(Ordering::Relaxed)
    }

    /// Notes whether deliveries pause: too many calls, or an outage.
    pub fn set_paused(&self, paused: bool) {
        self.0.paused.store(paused, Ordering::Relaxed);
    }

    /// Whether deliveries pause.
    pub fn is_paused(&self) -> bool {
        self.0.paused.load(Ordering::Relaxed)
    }

    /// The service is about to stop: nothing new is taken in, and nobody waits any longer.
    pub fn drain(&self) {
        self.0.draining.send_replace(true);
    }

    /// Whether the service is about to stop.
    pub fn is_draining(&self) -> bool {
        *self.0.draining.borrow()
    }

    /// Waits for [`Notice::drain`].
    pub async fn until_draining(&self) {
        // Err: the board is gone, and with it the service.
        let _ = self.0.draining.subscribe().wait_for(|draining| *draining).await;
    }
}

impl Wait {
    /// The outcome; none if the service is about to stop first.
    pub async fn outcome(mut self) -> Option<Ended> {
        let notice = self.notice.clone();
        tokio::select! {
            biased;
            ended = &mut self.ended => ended.ok(),
            () = notice.until_draining() => None,
        }
    }
}

impl Drop for Wait {
    fn drop(&mut self) {
        self.notice.0.waiting.lock().unwrap_or_else(PoisonError::into_inner).remove(&self.id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: EventId = EventId([1; 16]);

    #[tokio::test]
    async fn who_waits_is_told_once() {
        let notice = Notice::default();
        let wait = notice.wait_for(ID).expect("the first");
        assert!(notice.wait_for(ID).is_none(), "a duplicate does not take the first one's place");
        notice.ended(ID, Ended::KeyRefused);
        assert_eq!(wait.outcome().await, Some(Ended::KeyRefused));
        assert!(notice.0.waiting.lock().expect("sound").is_empty());
    }

    #[tokio::test]
    async fn nothing_is_kept_for_who_went_away() {
        let notice = Notice::default();
        drop(notice.wait_for(ID));
        assert!(notice.wait_for(ID).is_some());
    }

    #[tokio::test]
    async fn nobody_waits_for_a_service_that_stops() {
        let notice = Notice::default();
        let wait = notice.wait_for(ID).expect("the first");
        notice.drain();
        assert_eq!(wait.outcome().await, None);
    }
}
