//! The line in which deliveries wait for their turn to call Refersion, and the requests under way.
//!
//! In goes a call, out comes its reply, or nothing if there is no going on now: the service drains, the account is paused or
//! halted, or the lease is running out. Invariants: no more requests are under way than the gate permits; what could take
//! others along goes when all that were claimed together have had the chance to go along, and what cannot goes before; what
//! Refersion refuses of several is asked again in halves, down to the one it is about, so that nobody is refused for a
//! neighbour's sake.
//! Deliberately absent: which calls go together ([`crate::delivery::Turns`]), and what replies mean for an event.

use super::Worker;
use crate::delivery::{Call, Reply, Turn, Turns};
use crate::domain::Timestamp;
use crate::failpoint;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
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
    /// Deliveries that only wait for the store to take their end.
    settling: usize,
}

/// So many deliveries may wait for the store; more of them keep others from being claimed.
const MOST_SETTLING: usize = 200;

/// Who waits for a reply.
struct Asking {
    seq: i64,
    /// When their lease ends.
    until: Timestamp,
    /// The reply, or that there is no going on now.
    answer: oneshot::Sender<Option<Reply>>,
}

/// One delivery on its way to the line; dropped when it gets there, or has no need to.
pub(super) struct Coming(Worker);

/// A delivery that only waits for the store; no more when dropped.
pub(super) struct Settling(Worker);

/// A request under way, counted as long as it lives.
struct UnderWay {
    worker: Worker,
    joint: bool,
    riders: usize,
}

impl Asking {
    fn tell(self, reply: Option<Reply>) {
        // Err: the delivery has ended, by a panic.
        let _ = self.answer.send(reply);
    }
}

impl Line {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many deliveries need no room among those that think or wait for a turn: their call is under way, or they are being
    /// settled.
    pub(super) fn elsewhere(&self) -> usize {
        let state = self.state();
        state.riding + state.settling.min(MOST_SETTLING)
    }

    /// Whether nobody waits for a turn, nor is about to.
    pub(super) fn is_dry(&self) -> bool {
        let state = self.state();
        state.coming == 0 && state.turns.is_empty()
    }
}

impl Worker {
    /// Somebody comes to the line.
    pub(super) fn coming(&self) -> Coming {
        self.0.line.state().coming += 1;
        Coming(self.clone())
    }

    /// Somebody waits for nothing but the store.
    pub(super) fn settling(&self) -> Settling {
        self.0.line.state().settling += 1;
        self.0.room.notify_one();
        Settling(self.clone())
    }

    /// Waits for the turn of `call` and for its reply; none if there is no going on now. `until` is when the lease of `seq`
    /// ends. A request that ends without a word has panicked, which is a bug; it counts as a failure, so that whoever it was
    /// about is waited with and then asked for alone.
    pub(super) async fn ask(
        &self,
        call: Arc<Call>,
        seq: i64,
        alone: bool,
        until: Timestamp,
        coming: Option<Coming>,
    ) -> Option<Reply> {
        let (answer, reply) = oneshot::channel();
        self.0.line.state().turns.wait(call, alone, Asking { seq, until, answer });
        coming.map_or_else(|| self.pump(), drop); // who is coming no more pumps as well
        let what = || "the call ended without a word: a bug of this service".to_owned();
        reply.await.unwrap_or_else(|_| Some(Reply::Lost { what: what(), retry_after: None }))
    }

    /// Sends what may go now.
    pub(super) fn pump(&self) {
        while let Some(turn) = self.turn() {
            let riders = turn.calls.len();
            let under_way = UnderWay { worker: self.clone(), joint: turn.is_joint(), riders };
            tokio::spawn(request(under_way, turn.calls));
            self.0.room.notify_one(); // those who ride made room for others
        }
    }

    fn turn(&self) -> Option<Turn<Asking>> {
        let permits = if self.0.notice.is_draining() { 0 } else { self.gate().permits(self.now()) };
        let mut line = self.0.line.state();
        if permits == 0 {
            line.turns.clear().into_iter().for_each(|asking| asking.tell(None));
        }
        if line.requests >= permits {
            return None;
        }
        let more = line.coming > 0;
        let turn = line.turns.take(more)?;
        line.requests += 1;
        line.riding += turn.calls.len();
        Some(turn)
    }

    /// Whether a call may begin for somebody whose lease ends at `until`: it has to be over before.
    fn may_begin(&self, until: Timestamp) -> bool {
        let now = self.now();
        let shut = self.0.notice.is_draining() || self.gate().is_shut(now);
        !shut && now.after(self.0.settings.longest_call) <= until
    }
}

/// Makes one request, or several in halves, and hands out the replies.
async fn request(under_way: UnderWay, calls: Vec<(Arc<Call>, Asking)>) {
    let worker = &under_way.worker;
    let mut parts = vec![calls];
    while let Some(mut part) = parts.pop() {
        for (_, asking) in part.extract_if(.., |(_, asking)| !worker.may_begin(asking.until)) {
            asking.tell(None);
        }
        let calls: Vec<&Call> = part.iter().map(|(call, _)| &**call).collect();
        let Some((call, others)) = calls.split_first() else { continue };
        let (round, permits) = {
            let gate = worker.gate();
            (gate.begin(), gate.permits(worker.now()))
        };
        worker.0.settings.meter.request_begins(permits);
        failpoint::step("worker::calling");
        let (reply, replies) = worker.0.settings.client.call(call, others).await;
        failpoint::step("worker::answered");
        let seq = part.first().map_or(0, |(_, asking)| asking.seq);
        tracing::debug!(
            account = %worker.0.settings.account,
            seq,
            operation = call.operation(),
            affiliates = calls.len(),
            reply = reply.name(),
            "called Refersion"
        );
        worker.0.settings.meter.request_ends(call.operation(), reply.name(), calls.len());
        worker.heard(&reply, seq, round);
        if part.len() > 1 && matches!(reply, Reply::Refused(_) | Reply::NotFound) {
            let later = part.split_off(part.len() / 2);
            parts.extend([later, part]);
            continue;
        }
        for ((_, asking), reply) in part.into_iter().zip(std::iter::once(reply).chain(replies)) {
            asking.tell(Some(reply));
        }
    }
}

impl Drop for Coming {
    fn drop(&mut self) {
        self.0.0.line.state().coming -= 1;
        self.0.pump();
    }
}

impl Drop for Settling {
    fn drop(&mut self) {
        self.0.0.line.state().settling -= 1;
    }
}

impl Drop for UnderWay {
    fn drop(&mut self) {
        let mut line = self.worker.0.line.state();
        line.requests -= 1;
        line.riding -= self.riders;
        line.turns.ended(self.joint);
        drop(line);
        self.worker.pump();
        self.worker.0.room.notify_one();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::clock::Clock;
    use crate::delivery::{Backoff, Policy};
    use crate::domain::{AccountName, AffiliateId, ApiKey, Status};
    use crate::notice::Notice;
    use crate::queue::SqliteQueue;
    use crate::refersion::Route;
    use crate::telemetry::Metrics;
    use crate::worker::Settings;
    use std::sync::Arc;
    use std::time::Duration;

    fn worker(folder: &tempfile::TempDir) -> Worker {
        let (account, hour) = (AccountName::main(), Duration::from_secs(3600));
        let nowhere = url::Url::parse("http://127.0.0.1:9/v2").expect("a URL");
        let key = ApiKey::parse("pub_test.sec_test").expect("a key");
        let client = Route::new(&nowhere, hour).and_then(|route| route.client(&key, None));
        let settings = Settings {
            meter: Metrics::default().of(&account),
            account,
            client: client.expect("a client"),
            rules: crate::mapping::Rules::default(),
            policy: Policy::default(),
            backoff: Backoff { min: hour, max: hour },
            max_age: hour,
            concurrency: 1,
            longest_call: hour,
            lease: hour,
        };
        let queue = SqliteQueue::open(&folder.path().join("store.db"), 1).expect("a store");
        Worker::new(settings, Arc::new(queue), Notice::default(), Clock::start())
    }

    #[tokio::test]
    async fn a_request_that_panics_fails_and_one_that_may_not_begin_says_so() {
        let folder = tempfile::TempDir::new().expect("a folder");
        let worker = worker(&folder);
        let ask = |coming| {
            let (worker, call) = (worker.clone(), Call::SetStatus { id: AffiliateId(7), status: Status::Disabled });
            tokio::spawn(async move { worker.ask(Arc::new(call), 1, false, Timestamp(i64::MAX), coming).await })
        };
        // While somebody comes who might go along, it does not begin: the test takes the turn, and drops it as a panic would.
        let comes = worker.coming();
        let asked = ask(None);
        while worker.0.line.state().turns.take(false).is_none() {
            tokio::task::yield_now().await;
        }
        assert!(matches!(asked.await.expect("no panic"), Some(Reply::Lost { .. })));
        worker.0.notice.drain();
        assert_eq!(ask(Some(comes)).await.expect("no panic"), None);
    }
}
