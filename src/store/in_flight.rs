//! The events in flight of a store: begun, and neither released nor settled.
//!
//! An event is in flight from its begin until its settlement has committed. SQLite marks it before its row is read; PostgreSQL after that,
//! on the connection where no erasure runs meanwhile. An erasure takes only events that are not in flight. A worker that begins one of them
//! waits until the erasure has committed or failed. Invariant: an event that is being erased is not in flight. Deliberately absent: any
//! trace on disk. No event is in flight after a restart.

use crate::domain::Seq;
use parking_lot::{Condvar, Mutex};
use std::collections::HashSet;
use std::sync::Arc;

/// The events in flight of one store.
#[derive(Debug, Default)]
pub struct InFlightEvents {
    sets: Mutex<Sets>,
    erased: Condvar,
}

#[derive(Debug, Default)]
struct Sets {
    in_flight: HashSet<Seq>,
    erasing: HashSet<Seq>,
}

impl InFlightEvents {
    /// Marks these events as in flight until the guard is dropped or they are released. Waits while one of them is being erased.
    pub fn begin(self: &Arc<Self>, seqs: Vec<Seq>) -> ReleaseOnDrop {
        let being_erased =
            |sets: &mut Sets| !sets.erasing.is_empty() && seqs.iter().any(|seq| sets.erasing.contains(seq));
        let mut sets = self.sets.lock();
        self.erased.wait_while(&mut sets, being_erased);
        sets.in_flight.extend(&seqs);
        drop(sets);
        ReleaseOnDrop { events: Arc::clone(self), seqs }
    }

    /// Marks these events as no longer in flight.
    pub fn release(&self, seqs: &[Seq]) {
        let mut sets = self.sets.lock();
        for seq in seqs {
            sets.in_flight.remove(seq);
        }
    }

    /// Whether this event is in flight.
    pub fn contains(&self, seq: Seq) -> bool {
        self.sets.lock().in_flight.contains(&seq)
    }

    /// Takes the events of this list that are not in flight. They are being erased until the guard is dropped.
    pub fn erase(self: &Arc<Self>, seqs: &[Seq]) -> EraseGuard {
        let mut sets = self.sets.lock();
        let free: Vec<Seq> = seqs.iter().copied().filter(|seq| !sets.in_flight.contains(seq)).collect();
        sets.erasing.extend(&free);
        drop(sets);
        EraseGuard { events: Arc::clone(self), seqs: free }
    }
}

/// Releases its events when it is dropped, except the kept ones.
#[derive(Debug)]
pub struct ReleaseOnDrop {
    events: Arc<InFlightEvents>,
    seqs: Vec<Seq>,
}

impl ReleaseOnDrop {
    /// Keeps these events in flight, and releases the others now.
    pub fn keep(&mut self, seqs: impl Iterator<Item = Seq>) {
        let kept: HashSet<Seq> = seqs.collect();
        self.seqs.retain(|seq| !kept.contains(seq));
    }
}

impl Drop for ReleaseOnDrop {
    fn drop(&mut self) {
        self.events.release(&self.seqs);
    }
}

/// Events that are being erased, until this is dropped.
#[derive(Debug)]
pub struct EraseGuard {
    events: Arc<InFlightEvents>,
    /// Their seqs.
    pub seqs: Vec<Seq>,
}

impl Drop for EraseGuard {
    fn drop(&mut self) {
        let mut sets = self.events.sets.lock();
        for seq in &self.seqs {
            sets.erasing.remove(seq);
        }
        drop(sets);
        self.events.erased.notify_all();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_in_flight_is_not_erased() {
        let events = Arc::new(InFlightEvents::default());
        events.begin(vec![Seq(1), Seq(2), Seq(4)]).keep([Seq(1), Seq(2)].into_iter());
        assert_eq!(events.erase(&[Seq(1), Seq(3), Seq(4)]).seqs, [Seq(3), Seq(4)]);
        events.release(&[Seq(1)]);
        events.release(&[Seq(2)]);
        assert_eq!(events.erase(&[Seq(1), Seq(2)]).seqs, [Seq(1), Seq(2)]);
    }

    #[test]
    fn an_event_that_is_being_erased_begins_only_afterwards() {
        let events = Arc::new(InFlightEvents::default());
        let erasing = events.erase(&[Seq(1)]);
        let (began, begun) = std::sync::mpsc::channel();
        let another = Arc::clone(&events);
        let thread = std::thread::spawn(move || {
            another.begin(vec![Seq(2)]).keep([Seq(2)].into_iter());
            began.send("2").expect("the receiver is there");
            another.begin(vec![Seq(1)]).keep([Seq(1)].into_iter());
            began.send("1").expect("the receiver is there");
        });
        assert_eq!(begun.recv(), Ok("2"), "others are not held back");
        assert!(events.sets.lock().in_flight.contains(&Seq(2)) && !events.sets.lock().in_flight.contains(&Seq(1)));
        drop(erasing);
        assert_eq!(begun.recv(), Ok("1"));
        thread.join().expect("no panic");
    }
}
