//! The line in which deliveries wait for their turn to call Refersion, and the requests under way.
//!
//! In goes a call, out comes its reply, or nothing if there is no going on now: the service drains, the account is paused or
//! halted, or the lease is running out. Invariants: no more requests are under way than the gate permits; nobody goes
//! before all that were claimed together had the chance to go along; what Refersion refuses of several is asked again in
//! halves, down to the one it is about, so that nobody is refused for a neighbour's sake.
//! Deliberately absent: which calls go together ([`crate::delivery::Turns`]), and what replies mean for an event.

use super::Worker;
use crate::delivery::{Call, Reply, Turn, Turns};
use crate::domain::Timestamp;
use std::sync::{Mutex, MutexGuard, PoisonError};
use tokio::sync::oneshot;

/// The line of one account.
#[derive(Default)]
pub(super) struct Line(Mutex<State>);

#[derive(Default)]
struct State {
    turns: Turns<Asking>,
    /// Requests under way.
    requests: usize,
    /// Deliveries whose call is among them.
    riding: usize,
    /// Deliveries that were claimed and did not get in line yet.
    coming: usize,
}

/// Who waits for a reply.
struct Asking {
    seq: i64,
    /// When their lease ends.
    until: Timestamp,
    answer: oneshot::Sender<Reply>,
}

/// One delivery on its way to the line; dropped when it gets there, or has no need to.
pub(super) struct Coming(Worker);

/// A request under way, counted as long as it lives.
struct UnderWay {
    worker: Worker,
    joint: bool,
    riders: usize,
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many deliveries need no room among those that think or wait: their call is under way.
    pub(super) fn riding(&self) -> usize {
        self.state().riding
    }
}

impl Worker {
    /// Somebody comes to the line.
    pub(super) fn coming(&self) -> Coming {
        self.line.state().coming += 1;
        Coming(self.clone())
    }

    /// Waits for the turn of `call` and for its reply. `until` is when the lease of `seq` ends.
    pub(super) async fn ask(
        &self,
        call: Call,
        seq: i64,
        alone: bool,
        until: Timestamp,
        coming: Option<Coming>,
    ) -> Option<Reply> {
        let (answer, reply) = oneshot::channel();
        self.line.state().turns.wait(call, alone, Asking { seq, until, answer });
        drop(coming);
        self.pump();
        reply.await.ok()
    }

    /// Sends what may go now.
    pub(super) fn pump(&self) {
        while let Some(turn) = self.turn() {
            let riders = turn.calls.len();
            let under_way = UnderWay { worker: self.clone(), joint: turn.is_joint(), riders };
            tokio::spawn(request(under_way, turn.calls));
        }
    }

    fn turn(&self) -> Option<Turn<Asking>> {
        let permits = if self.notice.is_draining() { 0 } else { self.gate().permits(self.now()) };
        let mut line = self.line.state();
        if permits == 0 {
            line.turns.clear();
        }
        if line.coming > 0 || line.requests >= permits {
            return None;
        }
        let turn = line.turns.take()?;
        line.requests += 1;
        line.riding += turn.calls.len();
        Some(turn)
    }

    /// Whether a call may begin for somebody whose lease ends at `until`: it has to be over before.
    fn may_begin(&self, until: Timestamp) -> bool {
        let now = self.now();
        let shut = self.notice.is_draining() || self.gate().is_shut(now);
        !shut && now.after(self.settings.longest_call) <= until
    }
}

/// Makes one request, or several in halves, and hands out the replies.
async fn request(under_way: UnderWay, calls: Vec<(Call, Asking)>) {
    let worker = &under_way.worker;
    let mut parts = vec![calls];
    while let Some(mut part) = parts.pop() {
        // Dropped, they know that there is no going on.
        part.retain(|(_, asking)| worker.may_begin(asking.until));
        let calls: Vec<Call> = part.iter().map(|(call, _)| call.clone()).collect();
        let Some((call, others)) = calls.split_first() else { continue };
        let round = worker.gate().begin();
        worker.settings.meter.request_begins(worker.gate().permits(worker.now()));
        let (reply, replies) = worker.settings.client.call(call, others).await;
        let seq = part.first().map_or(0, |(_, asking)| asking.seq);
        tracing::debug!(
            account = %worker.settings.account,
            seq,
            operation = call.operation(),
            affiliates = calls.len(),
            reply = reply.name(),
            "called Refersion"
        );
        worker.settings.meter.request_ends(call.operation(), reply.name(), calls.len());
        worker.heard(&reply, seq, round);
        if part.len() > 1 && matches!(reply, Reply::Refused(_) | Reply::NotFound) {
            let later = part.split_off(part.len() / 2);
            parts.extend([later, part]);
            continue;
        }
        for ((_, asking), reply) in part.into_iter().zip(std::iter::once(reply).chain(replies)) {
            // Err: the delivery has ended, by a panic.
            let _ = asking.answer.send(reply);
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.line.state().coming -= 1;
        self.0.pump();
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut line = self.worker.line.state();
        line.requests -= 1;
        line.riding -= self.riders;
        line.turns.ended(self.joint);
        drop(line);
        self.worker.pump();
        self.worker.notice.recorded();
    }
}
