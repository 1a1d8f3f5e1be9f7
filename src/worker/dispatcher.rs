//! The dispatcher: calls that wait for a permit, and the requests in flight.
//!
//! In goes a call, out comes its reply, or nothing if it cannot be sent now: the service shuts down, or the account is paused or
//! halted. Invariants: no request begins without a permit of the account's health; a call that can share a request waits until
//! the deliveries begun together have decided, and one that cannot goes before; what Refersion refuses of several is bisected,
//! down to the one it is about, so that nobody is refused for another's sake. Deliberately absent: which calls share a request
//! ([`crate::scheduling::Batcher`]), and what replies mean for an event.

use super::{FOREVER, Worker, lock};
use crate::delivery::{Call, Reply};
use crate::domain::{Seq, Timestamp};
use crate::failpoint;
use crate::scheduling::{Batch, Batcher, Denied, Permit};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::{Notify, oneshot};

/// The dispatcher of one account.
#[derive(Default)]
pub(super) struct Dispatcher {
    state: Mutex<State>,
    /// A request has ended.
    ended: Notify,
}

#[derive(Default)]
struct State {
    batcher: Batcher<PendingCall>,
    /// Deliveries whose call is in flight.
    in_flight: usize,
    /// Deliveries that have begun, and neither called nor ended yet.
    deciding: usize,
    /// Deliveries that only wait for the store to take their settlement.
    settling: usize,
    /// When the next permit is due, if a call waits for the rate.
    next_permit: Option<Timestamp>,
}

/// So many deliveries may wait for the store; more of them keep others from being begun.
const MAX_SETTLING: usize = 200;

/// A call that waits for a permit.
struct PendingCall {
    seq: Seq,
    /// The reply and how long it took, or that the call cannot be sent now.
    reply: oneshot::Sender<Option<(Reply, Duration)>>,
}

/// A call with whoever waits for its reply.
type Pending = (Arc<Call>, PendingCall);

/// A delivery that has neither called nor ended yet; dropped when it does.
pub(super) struct Deciding(Worker);

/// A delivery that only waits for the store, counted as long as this lives.
pub(super) struct Settling(Worker);

/// A batch in flight, counted as long as this lives.
struct InFlight {
    worker: Worker,
    /// Of the request that was sent last; taken when it was replied to.
    permit: Option<Permit>,
    /// Whether it might have taken other calls along.
    shareable: bool,
    calls: usize,
}

impl PendingCall {
    fn answer(self, reply: Option<(Reply, Duration)>) {
        // Err: the delivery has panicked.
        let _ = self.reply.send(reply);
    }
}

impl State {
    fn hand_back_all(&mut self) {
        self.batcher.clear().into_iter().for_each(|pending| pending.answer(None));
    }
}

impl Dispatcher {
    /// How many deliveries are beyond deciding: their call is in flight, or they are being settled.
    pub(super) fn beyond_deciding(&self) -> usize {
        let state = lock(&self.state);
        state.in_flight + state.settling.min(MAX_SETTLING)
    }
}

impl Worker {
    /// A delivery begins to decide.
    pub(super) fn deciding(&self) -> Deciding {
        lock(&self.0.dispatcher.state).deciding += 1;
        Deciding(self.clone())
    }

    /// A delivery waits for nothing but the store.
    pub(super) fn settling(&self) -> Settling {
        lock(&self.0.dispatcher.state).settling += 1;
        self.0.changed.notify_one();
        Settling(self.clone())
    }

    /// Waits until `call` was sent and replied to: the reply, and how long the request took. None if it cannot be sent now. A
    /// request that ends without a reply has panicked, which is a bug; it counts as lost, so that it is retried with backoff, and
    /// alone.
    pub(super) async fn call(
        &self,
        call: Arc<Call>,
        seq: Seq,
        alone: bool,
        deciding: Option<Deciding>,
    ) -> Option<(Reply, Duration)> {
        let (reply, replied) = oneshot::channel();
        lock(&self.0.dispatcher.state).batcher.push(call, alone, PendingCall { seq, reply });
        deciding.map_or_else(|| self.dispatch(), drop); // dropping it dispatches as well
        let what = || "the request ended without a reply: a bug of this service".to_owned();
        replied.await.unwrap_or_else(|_| Some((Reply::Lost { what: what(), retry_after: None }, Duration::ZERO)))
    }

    /// Sends what may be sent now.
    pub(super) fn dispatch(&self) {
        while let Some((batch, permit)) = self.next_batch() {
            let (shareable, calls) = (batch.is_shareable(), batch.calls.len());
            let in_flight = InFlight { worker: self.clone(), permit: Some(permit), shareable, calls };
            tokio::spawn(send(in_flight, batch.calls));
            self.0.changed.notify_one(); // calls in flight make room for further deliveries
        }
    }

    /// How long until a call that waits for the rate may be sent.
    pub(super) fn until_next_permit(&self) -> Duration {
        let next = lock(&self.0.dispatcher.state).next_permit;
        next.map_or(Duration::MAX, |at| at.since(self.now()))
    }

    /// Waits for a permit for one more request; none if nothing can be sent now.
    async fn permit(&self) -> Option<Permit> {
        loop {
            let ended = self.0.dispatcher.ended.notified();
            if self.is_shutting_down() {
                return None;
            }
            let wait = match self.try_acquire() {
                Ok(permit) => return Some(permit),
                Err(Denied::Busy) => FOREVER,
                Err(Denied::NotBefore(at)) => at.since(self.now()),
                Err(Denied::Open(_) | Denied::Halted(_) | Denied::ProbeDue) => return None,
            };
            tokio::select! {
                () = ended => {}
                () = tokio::time::sleep(wait) => {}
                () = self.0.runtime.shutdown.cancelled() => return None,
            }
        }
    }

    fn next_batch(&self) -> Option<(Batch<PendingCall>, Permit)> {
        let mut state = lock(&self.0.dispatcher.state);
        let awaited = state.next_permit.take();
        let more = state.deciding > 0;
        if self.is_shutting_down() {
            state.hand_back_all();
        }
        if !state.batcher.is_ready(more) {
            return None;
        }
        match self.try_acquire() {
            Ok(permit) => {
                let batch = state.batcher.next_batch(more)?;
                state.in_flight += batch.calls.len();
                return Some((batch, permit));
            }
            Err(Denied::Busy) => {}
            Err(Denied::NotBefore(at)) => {
                state.next_permit = Some(at);
                if awaited != Some(at) {
                    self.0.changed.notify_one(); // the run loop is to wake at another moment
                }
            }
            Err(Denied::Open(_) | Denied::Halted(_) | Denied::ProbeDue) => state.hand_back_all(),
        }
        None
    }

    /// One request for all of these calls: the reply to the first, and those to the others.
    async fn request(&self, part: &[Pending]) -> Option<(Reply, Vec<Reply>)> {
        let ((call, PendingCall { seq, .. }), others) = part.split_first()?;
        let others: Vec<&Call> = others.iter().map(|(call, _)| &**call).collect();
        let (account, meter) = (&self.0.settings.account, &self.0.settings.meter);
        meter.request_started(self.health().snapshot().concurrency_limit);
        failpoint::step("worker::calling");
        let (reply, replies) = self.0.settings.client.call(call, &others).await;
        failpoint::step("worker::answered");
        let (operation, affiliates, name) = (call.operation(), part.len(), reply.name());
        tracing::debug!(%account, %seq, operation, affiliates, reply = name, "called Refersion");
        meter.request_ended(call, &reply, affiliates);
        Some((reply, replies))
    }

    fn try_acquire(&self) -> Result<Permit, Denied> {
        let acquired = self.health().try_acquire(self.now());
        let (permit, transition) = acquired?;
        self.tell(transition, None);
        Ok(permit)
    }
}

/// Sends one request, or several after bisecting, and hands out the replies.
async fn send(mut in_flight: InFlight, calls: Vec<Pending>) {
    let worker = in_flight.worker.clone();
    let mut parts = vec![calls];
    while let Some(mut part) = parts.pop() {
        if in_flight.permit.is_none() {
            in_flight.permit = worker.permit().await;
        }
        if in_flight.permit.is_none() {
            for (_, pending) in part {
                pending.answer(None);
            }
            continue;
        }
        let sent_at = worker.now();
        let Some((reply, replies)) = worker.request(&part).await else { continue };
        let took = worker.now().since(sent_at);
        if let (Some(permit), Some((_, first))) = (in_flight.permit.take(), part.first()) {
            worker.on_reply(permit, &reply, first.seq);
        }
        if part.len() > 1 && matches!(reply, Reply::Rejected(_) | Reply::NotFound) {
            let later = part.split_off(part.len() / 2);
            parts.extend([later, part]);
            continue;
        }
        for ((_, pending), reply) in part.into_iter().zip(std::iter::once(reply).chain(replies)) {
            pending.answer(Some((reply, took)));
        }
    }
}

impl Drop for Deciding {
    fn drop(&mut self) {
        lock(&self.0.0.dispatcher.state).deciding -= 1;
        self.0.dispatch();
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        lock(&self.0.0.dispatcher.state).settling -= 1;
    }
}

impl Drop for InFlight {
    fn drop(&mut self) {
        if let Some(permit) = self.permit.take() {
            self.worker.health().abandon(permit, self.worker.now());
        }
        let mut state = lock(&self.worker.0.dispatcher.state);
        state.in_flight -= self.calls;
        state.batcher.on_ended(self.shareable);
        drop(state);
        self.worker.0.dispatcher.ended.notify_waiters();
        self.worker.dispatch();
        self.worker.0.changed.notify_one();
    }
}
