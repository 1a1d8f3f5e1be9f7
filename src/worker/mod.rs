//! The worker of one account: claim, think, call, remember, settle.
//!
//! In go events from the queue, out go calls to Refersion and settlements. `carry` is one delivery from its claim to its
//! settlement (`settle`); `line` is where deliveries wait for their turn to call, and where calls of several become one
//! request; `account` is what replies mean for all of them. Invariants: at most `concurrency` requests at once; no transaction
//! is held across a call; what was decided is written down before anything new is asked; nothing is claimed while there can be
//! nothing to claim. When told to drain it claims nothing more, lets every request that is under way
//! finish, and hands the rest back.
//! Deliberately absent: what to do for an event ([`crate::delivery`]) and what Refersion's answers mean
//! ([`crate::refersion`]).

mod account;
mod carry;
mod line;
mod settle;

use crate::clock::Clock;
use crate::delivery::{Admission, Backoff, FULL, Gate, Policy};
use crate::domain::{AccountName, Timestamp};
use crate::mapping::Rules;
use crate::notice::Notice;
use crate::queue::{Claimed, Queue};
use crate::refersion::Client;
use crate::telemetry::Meter;
use line::{Coming, Line};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::task::JoinSet;

/// What a worker works with.
pub struct Settings {
    /// The account's name.
    pub account: AccountName,
    /// The way to Refersion.
    pub client: Client,
    /// The account's mapping rules.
    pub rules: Rules,
    /// What the operator decided about deliveries.
    pub policy: Policy,
    /// The bounds of every wait.
    pub backoff: Backoff,
    /// How long an event may keep failing, counted from its first failure.
    pub max_age: Duration,
    /// How many requests at once; at least one.
    pub concurrency: usize,
    /// The longest a request may take, its turn under the ceiling of requests per second included.
    pub longest_call: Duration,
    /// How long a claim holds without a word; several times as long.
    pub lease: Duration,
    /// The account's counters.
    pub meter: Meter,
}

/// The worker of one account. Cheap to clone; all clones are one.
#[derive(Clone)]
pub struct Worker(Arc<Inner>);

/// What the worker and its deliveries share.
struct Inner {
    settings: Settings,
    queue: Arc<dyn Queue>,
    notice: Notice,
    gate: Mutex<Gate>,
    /// Whether one event goes first, and all others wait for Refersion to take a call of its.
    trying: AtomicBool,
    line: Line,
    /// There may be room for more deliveries.
    room: Notify,
    clock: Clock,
}

/// What has to come before there can be more to claim, unless a delivery ends or the time comes first.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Lack {
    /// Events: all that could be claimed are.
    Events,
    /// Room: as many are being carried out as may be, or the gate is shut.
    Room,
}

/// How many deliveries may think or wait for a turn at once: so many that the line does not run dry while the store is asked
/// for more, and else few, so that nobody waits in line for long.
struct Ahead(usize);

/// Beyond this the line runs dry for other reasons.
const MOST_AHEAD: usize = 8 * FULL;

impl Ahead {
    /// How many more events to claim while `busy` ones think or wait for a turn, where `limit` requests may be under way.
    /// Claimed by the dozen, for those that are claimed together can go together.
    fn room(&self, limit: usize, busy: usize) -> usize {
        let most = limit.max(self.0);
        if busy <= most / 2 { most - busy } else { 0 }
    }

    /// A claim brought more; whether the line had run dry meanwhile.
    fn claimed(&mut self, dry: bool) {
        self.0 = if dry { (2 * self.0).min(MOST_AHEAD) } else { (self.0 * 3 / 4).max(FULL) };
    }
}

/// How long to leave a failing store alone.
const STORE_PAUSE: Duration = Duration::from_secs(1);
/// When there is nothing to wait for, look all the same: a notice may have been lost.
const LOOK_AGAIN: Duration = Duration::from_secs(60);

impl Worker {
    /// A worker on `queue`.
    pub fn new(settings: Settings, queue: Arc<dyn Queue>, notice: Notice, clock: Clock) -> Self {
        let gate = Mutex::new(Gate::new(settings.backoff, settings.concurrency));
        let (trying, line, room) = (AtomicBool::default(), Line::default(), Notify::default());
        Self(Arc::new(Inner { settings, queue, notice, gate, trying, line, room, clock }))
    }

    /// Works until told to drain; returns when the last delivery has been settled.
    pub async fn run(self) {
        let (mut carrying, mut ahead) = (JoinSet::new(), Ahead(FULL));
        while !self.0.notice.is_draining() {
            let (lack, pause) = self.fill(&mut carrying, &mut ahead).await;
            tokio::select! {
                () = self.0.notice.until_recorded(), if lack == Lack::Events => {}
                () = self.0.room.notified(), if lack == Lack::Room => {}
                Some(ended) = carrying.join_next() => report(ended),
                () = tokio::time::sleep(pause) => {}
                () = self.0.notice.until_draining() => {}
            }
            while let Some(ended) = carrying.try_join_next() {
                report(ended);
            }
        }
        self.pump(); // who waits for a turn is told that there will be none
        while let Some(ended) = carrying.join_next().await {
            report(ended);
        }
    }

    /// Starts as many deliveries as may be; says what is lacking for more, and how long to wait before looking again.
    async fn fill(&self, carrying: &mut JoinSet<()>, ahead: &mut Ahead) -> (Lack, Duration) {
        let now = self.now();
        let busy = carrying.len().saturating_sub(self.0.line.elsewhere());
        let admission = self.gate().admits(now);
        let free = match admission {
            Admission::UpTo(limit) => ahead.room(limit, busy),
            Admission::One => {
                self.0.trying.store(true, Ordering::Relaxed);
                usize::from(carrying.is_empty())
            }
            Admission::None(until) => return (Lack::Room, until.since(now)),
            Admission::Probe => return (Lack::Room, self.probe().await),
        };
        if free == 0 {
            return (Lack::Room, LOOK_AGAIN);
        }
        match self.0.queue.claim(&self.0.settings.account, free, now, self.0.settings.lease).await {
            Ok(batch) => {
                // Fewer than asked for: the others are not claimable before one of these has ended, something is recorded, or
                // their time comes. (Or they are large: then those claimed are enough to go on with.)
                let lack = if batch.events.len() < free { Lack::Events } else { Lack::Room };
                let until = now.after(self.0.settings.lease);
                ahead.claimed(lack == Lack::Room && busy > 0 && self.0.line.is_dry());
                // All of them, before the first gets in line: so they can go together.
                let coming: Vec<_> = batch.events.iter().map(|_| self.coming()).collect();
                for (claimed, coming) in batch.events.into_iter().zip(coming) {
                    carrying.spawn(self.clone().carry(claimed, until, coming));
                }
                (lack, batch.next.map_or(LOOK_AGAIN, |next| next.since(now)).min(LOOK_AGAIN))
            }
            Err(error) => {
                tracing::error!(%error, account = %self.0.settings.account, "cannot claim events");
                (Lack::Events, STORE_PAUSE)
            }
        }
    }

    async fn carry(self, claimed: Claimed, until: Timestamp, coming: Coming) {
        carry::carry(&self, claimed, until, coming).await;
    }

    fn now(&self) -> Timestamp {
        self.0.clock.now()
    }

    fn gate(&self) -> MutexGuard<'_, Gate> {
        self.0.gate.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A delivery that panicked is a bug; its event stays leased and is taken up as interrupted when the lease expires.
fn report(ended: Result<(), tokio::task::JoinError>) {
    if let Err(error) = ended {
        tracing::error!(%error, "a delivery panicked; its event will be tried again");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_is_claimed_ahead_while_the_line_runs_dry_and_less_again_afterwards() {
        let mut ahead = Ahead(FULL);
        assert_eq!((ahead.room(16, 0), ahead.room(16, 25), ahead.room(16, 26)), (50, 25, 0));
        assert_eq!((ahead.room(64, 32), ahead.room(64, 33)), (32, 0), "no fewer than may be under way");
        for (dry, most) in [(true, 100), (true, 200), (true, 400), (true, 400), (false, 300), (false, 225)] {
            ahead.claimed(dry);
            assert_eq!(ahead.room(16, 0), most);
        }
        (0..9).for_each(|_| ahead.claimed(false));
        assert_eq!(ahead.room(16, 0), FULL);
    }
}
