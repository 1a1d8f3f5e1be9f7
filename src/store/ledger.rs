//! The ledger: the record of the result of every authentic event. Appended events are in it by their rows of the log. This module adds the
//! events that were answered without being appended: refused, ignored or unsupported ones (`http/webhook.rs`), repeats, and events of
//! unknown users ([`AnsweredEvent::not_appended`]).
//!
//! In: events, as they are answered. Out: rows to write beside other work, in portions. Invariants: recording waits for nothing and does no
//! I/O; the buffer is bounded, and events that do not fit are counted; an event that was not appended is in no index of ids, so it is no
//! repeat when it is sent again. Deliberately absent: the time of writing, which assembly decides; the rows, which an engine writes.

use super::{Appended, NewEvent};
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, EventId, SourceId, Timestamp, UserKey};
use parking_lot::Mutex;
use std::collections::VecDeque;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::Notify;

/// The most events in the buffer: those of a second at 10,000 events a second, in about 2 MB.
const MAX_EVENTS: usize = 10_000;

/// The events that are written in one transaction.
const PORTION: usize = 500;

/// An event that was answered without being appended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AnsweredEvent {
    /// The account of the event.
    pub account: AccountName,
    /// Its identity.
    pub id: EventId,
    /// The user keys, as far as the event has them in readable form.
    pub user_keys: Vec<UserKey>,
    /// The source at Segment, if the event names one.
    pub source: Option<SourceId>,
    /// When it was received.
    pub received_at: Timestamp,
    /// The outcome.
    pub outcome: OutcomeCode,
}

impl AnsweredEvent {
    /// The events of this list that [`EventLog::append`](super::EventLog::append) did not append, according to `results`.
    pub(super) fn not_appended(events: &[NewEvent], results: &[Appended]) -> Vec<Self> {
        events.iter().zip(results).filter_map(|(event, result)| Self::of(event, *result)).collect()
    }

    fn of(event: &NewEvent, result: Appended) -> Option<Self> {
        let outcome = match result {
            Appended::Accepted { .. } => return None,
            Appended::Duplicate => OutcomeCode::Duplicate,
            Appended::UnknownUser => event.known_users_only?.if_unknown,
        };
        Some(Self {
            account: event.account.clone(),
            id: event.id,
            user_keys: event.user_keys.clone(),
            source: event.source.clone(),
            received_at: event.received_at,
            outcome,
        })
    }
}

/// The buffer of events that were answered and are not written yet.
#[derive(Debug, Default)]
pub struct LedgerBuffer {
    events: Mutex<VecDeque<AnsweredEvent>>,
    recorded: Notify,
    dropped: AtomicU64,
}

impl LedgerBuffer {
    /// Records an event, or counts it as dropped if the buffer is full.
    pub fn record(&self, event: AnsweredEvent) {
        self.record_all([event]);
    }

    /// Records these events as far as they fit; the others count as dropped.
    pub fn record_all(&self, answered: impl IntoIterator<Item = AnsweredEvent>) {
        let mut answered = answered.into_iter().peekable();
        if answered.peek().is_none() {
            return;
        }
        let mut events = self.events.lock();
        let room = MAX_EVENTS.saturating_sub(events.len());
        events.extend(answered.by_ref().take(room));
        drop(events);
        self.dropped.fetch_add(answered.count() as u64, Ordering::Relaxed);
        self.recorded.notify_one();
    }

    /// Returns when an event was recorded since the last return.
    pub async fn recorded(&self) {
        self.recorded.notified().await;
    }

    /// The number of events that were dropped because the buffer was full.
    pub fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Takes the oldest events, to be written in one transaction; empty if there is none.
    pub(super) fn take(&self) -> Vec<AnsweredEvent> {
        let mut events = self.events.lock();
        let portion = events.len().min(PORTION);
        events.drain(..portion).collect()
    }

    /// Puts back events that could not be written. The oldest are dropped if they no longer fit.
    pub(super) fn give_back(&self, taken: Vec<AnsweredEvent>) {
        let mut events = self.events.lock();
        let surplus = (events.len() + taken.len()).saturating_sub(MAX_EVENTS);
        self.dropped.fetch_add(surplus as u64, Ordering::Relaxed);
        taken.into_iter().skip(surplus).rev().for_each(|event| events.push_front(event));
        drop(events);
        self.recorded.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use futures_util::FutureExt as _;

    fn event(n: usize) -> AnsweredEvent {
        let n = i64::try_from(n).expect("small");
        AnsweredEvent {
            account: AccountName::main(),
            id: EventId([0; 16]),
            user_keys: Vec::new(),
            source: None,
            received_at: Timestamp(n),
            outcome: OutcomeCode::MissingEmail,
        }
    }

    fn taken(buffer: &LedgerBuffer) -> Vec<i64> {
        buffer.take().iter().map(|event| event.received_at.0).collect()
    }

    #[test]
    fn entries_beyond_the_bound_are_counted_and_the_others_are_taken_in_order() {
        let buffer = LedgerBuffer::default();
        (0..MAX_EVENTS + 3).for_each(|n| buffer.record(event(n)));
        assert_eq!(buffer.dropped(), 3);
        let mut all = Vec::new();
        for portion in std::iter::repeat_with(|| taken(&buffer)).take_while(|taken| !taken.is_empty()) {
            assert!(portion.len() <= PORTION);
            all.extend(portion);
        }
        let recorded: Vec<i64> = (0..i64::try_from(MAX_EVENTS).expect("small")).collect();
        assert_eq!(all, recorded);
    }

    #[test]
    fn entries_that_could_not_be_written_are_first_again_as_far_as_they_fit_in() {
        let buffer = LedgerBuffer::default();
        (0..PORTION + 2).for_each(|n| buffer.record(event(n)));
        let first = buffer.take();
        buffer.give_back(first);
        assert_eq!((taken(&buffer)[0], buffer.dropped()), (0, 0));
        (0..MAX_EVENTS).for_each(|n| buffer.record(event(n)));
        assert_eq!(buffer.dropped(), 2);
        buffer.give_back(vec![event(7), event(8)]);
        assert_eq!(buffer.dropped(), 4);
    }

    #[test]
    fn a_wait_ends_when_an_event_was_recorded() {
        let buffer = LedgerBuffer::default();
        assert_eq!(buffer.recorded().now_or_never(), None);
        buffer.record(event(1));
        buffer.record(event(2));
        assert_eq!(buffer.recorded().now_or_never(), Some(()));
        assert_eq!(buffer.recorded().now_or_never(), None);
    }
}
