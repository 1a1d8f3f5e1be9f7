//! The dispatcher: a queue of calls that wait for a permit, and the requests in flight.
//!
//! In: a call. Out: its reply, or none if the call cannot be sent now: the service shuts down, the lease on the account ends, the account
//! is paused or halted, or the call has expired. Invariants:
//! - No request begins without a permit of the account's health. The permits limit the requests in flight, like a semaphore.
//! - No request is sent that the lease does not outlast, and no call that has expired.
//! - A call that can share a request waits until all deliveries begun with it have made their first call. A call that must go alone does
//!   not wait.
//! - A bulk request that Refersion rejects because of one of its calls (a partial failure) is split into halves down to that call, so that
//!   no other call is rejected with it.
//!
//! Deliberately absent: the decision which calls share a request ([`crate::scheduling::Batcher`]), and the effect of a reply on an event.

use super::Worker;
use super::health::HeldPermit;
use crate::delivery::{Call, Reply, TransientFailure};
use crate::domain::{Seq, Timestamp};
use crate::failpoint;
use crate::refersion::SendGuard;
use crate::scheduling::{Batch, Batcher, Calls, NoPermit, QueuedCall};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::oneshot;

/// The dispatcher of one account.
#[derive(Default)]
pub(super) struct Dispatcher {
    batcher: Batcher<PendingCall>,
    /// The number of requests that have begun so far, those for pages of the list included.
    pub(super) begun: u64,
    /// Deliveries whose call is in flight.
    in_flight: usize,
    /// Deliveries that have made no call and have not ended yet.
    announced: usize,
    /// Deliveries whose settlement is being written.
    settling: usize,
    /// When the next permit is due, if a call waits for the rate.
    next_permit: Option<Timestamp>,
}

/// The most deliveries in settlement that make room for further ones.
const MAX_SETTLING: usize = 200;

/// A call that waits for a permit.
struct PendingCall {
    seq: Seq,
    /// The moment at which it expires.
    not_after: Option<Timestamp>,
    /// The reply and its time; `None` if the call cannot be sent now.
    reply: oneshot::Sender<Option<(Reply, Duration)>>,
}

/// The first call of a delivery, announced so that batches wait for it: dropped when it is made, or will not be.
pub(super) struct AnnouncedCall(Worker);

/// A delivery whose settlement is being written, counted as long as this lives.
pub(super) struct Settling(Worker);

/// A request in flight, counted as long as this lives.
struct RequestInFlight {
    worker: Worker,
    /// Whether other calls could have shared the request.
    shareable: bool,
    calls: usize,
    /// The parts of its batch that go out after it.
    later: Vec<Calls<PendingCall>>,
}

impl PendingCall {
    fn answer(self, reply: Option<(Reply, Duration)>) {
        // Err: the delivery has panicked.
        let _ = self.reply.send(reply);
    }

    fn is_expired(&self, now: Timestamp) -> bool {
        self.not_after.is_some_and(|at| now > at)
    }
}

impl Dispatcher {
    fn hand_back_all(&mut self) {
        self.batcher.clear().into_iter().for_each(|pending| pending.answer(None));
    }

    /// The number of deliveries that make room for further ones: their call is in flight, or their settlement is being written.
    pub(super) fn in_flight_or_settling(&self) -> usize {
        self.in_flight + self.settling.min(MAX_SETTLING)
    }
}

impl Worker {
    /// A delivery begins, and is about to make its first call.
    pub(super) fn announce_call(&self) -> AnnouncedCall {
        self.0.dispatcher.lock().announced += 1;
        AnnouncedCall(self.clone())
    }

    /// The settlement of a delivery is about to be written.
    pub(super) fn settling(&self) -> Settling {
        self.0.dispatcher.lock().settling += 1;
        self.0.changed.notify_one();
        Settling(self.clone())
    }

    /// Waits until `call` was sent and replied to: the reply, and how long the request took. `None` if it cannot be sent now. With `alone` it
    /// shares no request; with `not_after` it is not sent later, and goes before calls without. A request that ends without a reply has
    /// panicked, which is a bug; it counts as lost, so that it is retried with backoff, and alone.
    pub(super) async fn call(
        &self,
        call: Arc<Call>,
        seq: Seq,
        alone: bool,
        not_after: Option<Timestamp>,
        announced: Option<AnnouncedCall>,
    ) -> Option<(Reply, Duration)> {
        let (reply, replied) = oneshot::channel();
        let (urgent, waiter) = (not_after.is_some(), PendingCall { seq, not_after, reply });
        self.0.dispatcher.lock().batcher.push(QueuedCall { call, alone, urgent, waiter });
        announced.map_or_else(|| self.dispatch(), drop); // dropping it dispatches as well
        let lost = || TransientFailure::new("the request ended without a reply: a bug of this service");
        replied.await.unwrap_or_else(|_| Some((Reply::Lost(lost()), Duration::ZERO)))
    }

    /// Sends the calls that may be sent now.
    pub(super) fn dispatch(&self) {
        while let Some((Batch { calls, later, shareable }, permit)) = self.next_batch() {
            let in_flight = RequestInFlight { worker: self.clone(), shareable, calls: calls.len(), later };
            tokio::spawn(send(in_flight, permit, calls));
            self.0.changed.notify_one(); // calls in flight make room for further deliveries
        }
    }

    /// The time until a call that waits for the rate may be sent.
    pub(super) fn until_next_permit(&self) -> Duration {
        let next = self.0.dispatcher.lock().next_permit;
        next.map_or(Duration::MAX, |at| at.since(self.now()))
    }

    fn next_batch(&self) -> Option<(Batch<PendingCall>, HeldPermit)> {
        let mut dispatcher = self.0.dispatcher.lock();
        let awaited = dispatcher.next_permit.take();
        let calls_are_announced = dispatcher.announced > 0;
        if self.is_stopping() {
            dispatcher.hand_back_all();
        }
        // Without a lease that lasts, the calls wait until it is renewed, which wakes the run loop.
        if !dispatcher.batcher.has_batch(calls_are_announced) || !self.may_send() {
            return None;
        }
        match self.try_acquire() {
            Ok(permit) => {
                let batch = dispatcher.batcher.next_batch(calls_are_announced)?;
                dispatcher.begun += 1;
                dispatcher.in_flight += batch.calls.len();
                return Some((batch, permit));
            }
            Err(NoPermit::Busy) => {}
            Err(NoPermit::NotBefore(at)) => {
                dispatcher.next_permit = Some(at);
                if awaited != Some(at) {
                    self.0.changed.notify_one(); // the run loop is to wake at another moment
                }
            }
            Err(NoPermit::Open(_) | NoPermit::Halted(_) | NoPermit::ProbeDue) => dispatcher.hand_back_all(),
        }
        None
    }

    /// One request for all of these calls: the reply to the first, and those to the others. None: there are none, or the lease ran out
    /// before it was sent.
    async fn request(&self, part: &[(Arc<Call>, PendingCall)]) -> Option<(Reply, Vec<Reply>)> {
        let ((call, PendingCall { seq, .. }), others) = part.split_first()?;
        let others: Vec<&Call> = others.iter().map(|(call, _)| &**call).collect();
        let (account, meter) = (&self.0.settings.account, &self.0.settings.meter);
        failpoint::reach("worker::calling");
        let began = Instant::now();
        let worker = self.clone();
        let guard = SendGuard::new(move || worker.may_send());
        let (reply, replies) = self.0.settings.client.call(call, &others, &guard).await?;
        let took = began.elapsed();
        failpoint::reach("worker::answered");
        let (operation, affiliates, name) = (call.operation(), part.len(), reply.name());
        tracing::debug!(%account, %seq, operation, affiliates, reply = name, ?took, "called Refersion");
        meter.request_ended(call, &reply, affiliates, took);
        Some((reply, replies))
    }
}

/// Sends a request for the calls that have not expired, and hands out the replies or splits the batch.
async fn send(mut in_flight: RequestInFlight, permit: HeldPermit, mut calls: Calls<PendingCall>) {
    let worker = in_flight.worker.clone();
    let sent_at = worker.now();
    calls.extract_if(.., |(_, pending)| pending.is_expired(sent_at)).for_each(|(_, pending)| pending.answer(None));
    let Some((reply, replies)) = worker.request(&calls).await else {
        permit.cancel();
        return calls.into_iter().for_each(|(_, pending)| pending.answer(None));
    };
    let took = worker.now().since(sent_at);
    if let Some((call, first)) = calls.first() {
        permit.on_reply(call, &reply, first.seq);
    }
    if calls.len() > 1 && matches!(reply, Reply::Rejected(_) | Reply::NotFound) {
        let second = calls.split_off(calls.len() / 2);
        return in_flight.later.extend([second, calls]);
    }
    for ((_, pending), reply) in calls.into_iter().zip(std::iter::once(reply).chain(replies)) {
        pending.answer(Some((reply, took)));
    }
}

impl Drop for AnnouncedCall {
    fn drop(&mut self) {
        self.0.0.dispatcher.lock().announced -= 1;
        self.0.dispatch();
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.0.dispatcher.lock().settling -= 1;
    }
}

impl Drop for RequestInFlight {
    fn drop(&mut self) {
        let mut dispatcher = self.worker.0.dispatcher.lock();
        dispatcher.in_flight -= self.calls;
        dispatcher.batcher.on_ended(self.shareable, std::mem::take(&mut self.later));
        drop(dispatcher);
        self.worker.dispatch();
        self.worker.0.changed.notify_one();
    }
}
