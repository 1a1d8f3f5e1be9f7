//! The run loop of one account: reads the log ahead, begins runnable units, and tells the scheduler how they ended.
//!
//! In go wake-ups, endings and moments, out go deliveries. Invariants: it reads ahead only until enough heads are runnable, and
//! not while the account is paused or halted; it ends when nothing of the account waits, and whoever appends meanwhile starts
//! it anew. Links that a settlement committed reach the scheduler after the entries of a read that began before.

use super::run_delivery::{Ended, run_delivery};
use super::{FOREVER, RunState, Worker, lock};
use crate::account_signals::EventOutcome;
use crate::domain::{EventId, Seq, Timestamp};
use crate::failpoint;
use crate::scheduling::{End, Entry, HealthState, MAX_BATCH, Scheduler, Unit};
use crate::store::{Begun, StoreError};
use std::collections::HashMap;
use std::time::Duration;
use tokio::task::{Id, JoinError, JoinSet};

/// At most this many deliveries have no request in flight and are not being settled: enough to fill several batches while others are
/// in flight.
const WINDOW: usize = 4 * MAX_BATCH;
/// At most this many events of a user are carried out as one with their head.
const MAX_FOLLOWERS: usize = 50;
/// This many entries are read at once.
const PAGE: usize = 512;
/// How long to leave a failing store alone.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);

struct RunLoop {
    worker: Worker,
    deliveries: JoinSet<Ended>,
    /// The unit of each delivery.
    units: HashMap<Id, Unit>,
    /// There are no unread entries, as far as this loop was told of appends.
    read_to_end: bool,
    /// The last reading failed.
    cannot_read: bool,
}

/// Tells the service, when dropped before the run loop has ended, that it panicked.
struct PanicGuard(Option<Worker>);

/// Runs until nothing of the account waits, or the service shuts down.
pub(super) async fn run(worker: Worker) {
    let mut guard = PanicGuard(Some(worker.clone()));
    worker.restore_health().await;
    let mut run_loop = RunLoop {
        worker: worker.clone(),
        deliveries: JoinSet::new(),
        units: HashMap::new(),
        read_to_end: false,
        cannot_read: false,
    };
    while !worker.is_shutting_down() {
        run_loop.drive().await;
        if worker.become_idle() {
            guard.0 = None;
            return;
        }
    }
    worker.dispatch(); // hands back the calls that were not sent; later ones dispatch themselves
    while let Some(ended) = run_loop.next_ended().await {
        run_loop.report_to_scheduler(ended);
    }
    worker.save_health().await;
    guard.0 = None;
}

impl RunLoop {
    /// Works until nothing waits and nothing is in flight, or the service shuts down.
    async fn drive(&mut self) {
        let worker = self.worker.clone();
        while !worker.is_shutting_down() {
            let wait = self.advance().await;
            worker.dispatch();
            worker.save_health().await;
            if self.is_done() {
                return;
            }
            let wait = wait.min(worker.until_next_permit()).min(FOREVER);
            tokio::select! {
                () = worker.0.changed.notified() => {}
                Some(ended) = self.next_ended() => self.report_to_scheduler(ended),
                () = tokio::time::sleep(wait) => {}
                () = worker.0.runtime.shutdown.cancelled() => {}
            }
            while let Some(ended) = self.deliveries.try_join_next_with_id() {
                let ended = self.unit_of(ended);
                self.report_to_scheduler(ended);
            }
        }
    }

    /// Begins as many units as are allowed; returns how long to wait before looking again, if nothing happens before.
    async fn advance(&mut self) -> Duration {
        self.note_appended();
        let now = self.worker.now();
        let pending = self.deliveries.len().saturating_sub(self.worker.0.dispatcher.beyond_deciding());
        let state = self.worker.health().snapshot().state;
        let room = match state {
            HealthState::Closed => WINDOW.saturating_sub(pending),
            HealthState::Open { until } if now < until => return until.since(now),
            HealthState::Open { .. } | HealthState::HalfOpen => usize::from(self.deliveries.is_empty()),
            HealthState::Halted { probe_at } if now < probe_at => return probe_at.since(now),
            HealthState::Halted { .. } => return self.worker.probe().await,
        };
        if room == 0 {
            return FOREVER;
        }
        let begun = self.begin(room, now).await;
        self.report(begun.as_ref().err());
        match begun {
            Ok(next_due) => next_due.map_or(FOREVER, |due| due.since(now)),
            // One that is closed, too: a reading that panicked says the same, and a store that is closed ends the service.
            Err(_) => STORE_PAUSE,
        }
    }

    /// Says once that the event log cannot be read, and once that it can be again.
    fn report(&mut self, error: Option<&StoreError>) {
        let account = &self.worker.0.settings.account;
        match error {
            Some(error) if !std::mem::replace(&mut self.cannot_read, true) => {
                tracing::error!(%account, %error, "cannot read events from the store; trying again and again");
            }
            None if std::mem::take(&mut self.cannot_read) => {
                tracing::info!(%account, "events can be read from the store again");
            }
            _ => {}
        }
    }

    /// Begins up to `room` units. Returns when the next retry is due.
    async fn begin(&mut self, room: usize, now: Timestamp) -> Result<Option<Timestamp>, StoreError> {
        self.read_ahead(room, now).await?;
        let units: Vec<Unit> = {
            let mut scheduler = self.worker.0.signals.scheduler();
            let Some(scheduler) = &mut *scheduler else { return Ok(None) };
            std::iter::from_fn(|| scheduler.next(now, MAX_FOLLOWERS)).take(room).collect()
        };
        if !units.is_empty() {
            match self.worker.0.store.begin(&self.worker.0.settings.account, &units).await {
                Ok(begun) => self.spawn(units, begun),
                Err(error) => {
                    for unit in units {
                        self.worker.end(unit.head, End::Interrupted { due: None });
                    }
                    return Err(error);
                }
            }
        }
        Ok(self.worker.0.signals.scheduler().as_ref().and_then(|scheduler| scheduler.next_due(now)))
    }

    /// Reads the log until `wanted` heads are runnable, or to its end.
    async fn read_ahead(&mut self, wanted: usize, now: Timestamp) -> Result<(), StoreError> {
        let worker = self.worker.clone();
        loop {
            self.note_appended();
            let after = {
                let mut scheduler = worker.0.signals.scheduler();
                let scheduler = scheduler.get_or_insert_default();
                if self.read_to_end || scheduler.runnable(now, wanted) >= wanted {
                    return Ok(());
                }
                scheduler.position()
            };
            failpoint::step("worker::reading");
            let entries = worker.0.store.read(&worker.0.settings.account, after, PAGE).await?;
            self.read_to_end = entries.len() < PAGE;
            worker.feed(entries, now);
        }
    }

    /// Starts a delivery for each unit that was begun; what does not wait any more leaves the scheduler.
    fn spawn(&mut self, units: Vec<Unit>, begun: Vec<Begun>) {
        // Before the first of them runs: the batcher waits until all of them have decided.
        let deciding: Vec<_> = begun.iter().map(|_| self.worker.deciding()).collect();
        let mut begun = begun.into_iter().zip(deciding).peekable();
        for unit in units {
            let Some((begun, deciding)) = begun.next_if(|(begun, _)| begun.seq == unit.head) else {
                self.worker.end(unit.head, End::Gone);
                continue;
            };
            // As the store began it: it brings the followers that were marked with the head, whoever was asked for.
            let followers = begun.followers.iter().map(|follower| follower.seq).collect();
            let task = self.deliveries.spawn(run_delivery(self.worker.clone(), begun, deciding));
            self.units.insert(task.id(), Unit { head: unit.head, followers });
        }
    }

    fn note_appended(&mut self) {
        if self.worker.take_appended() {
            self.read_to_end = false;
        }
    }

    async fn next_ended(&mut self) -> Option<(Unit, Result<Ended, JoinError>)> {
        let ended = self.deliveries.join_next_with_id().await?;
        Some(self.unit_of(ended))
    }

    fn unit_of(&mut self, ended: Result<(Id, Ended), JoinError>) -> (Unit, Result<Ended, JoinError>) {
        let id = ended.as_ref().map_or_else(JoinError::id, |(id, _)| *id);
        (self.units.remove(&id).unwrap_or_default(), ended.map(|(_, ended)| ended))
    }

    fn report_to_scheduler(&self, (unit, ended): (Unit, Result<Ended, JoinError>)) {
        match ended {
            Ok(ended) => self.worker.end_with_links(unit.head, ended),
            Err(error) => self.worker.end_after_panic(&unit, &error),
        }
    }

    fn is_done(&self) -> bool {
        let empty = self.worker.0.signals.scheduler().as_ref().is_none_or(Scheduler::is_empty);
        empty && self.read_to_end && self.deliveries.is_empty()
    }
}

impl Worker {
    /// Feeds the scheduler; whoever waits for an event that is blocked is told so.
    fn feed(&self, entries: Vec<Entry>, now: Timestamp) {
        let ids: HashMap<Seq, EventId> = entries.iter().map(|entry| (entry.seq, entry.id)).collect();
        let blocked = self.0.signals.scheduler().get_or_insert_default().feed(entries, now);
        for id in blocked.iter().filter_map(|seq| ids.get(seq)) {
            self.0.signals.tell(*id, EventOutcome::Deferred);
        }
    }

    fn end_with_links(&self, head: Seq, ended: Ended) {
        if let Some(scheduler) = &mut *self.0.signals.scheduler() {
            for (keys, affiliate) in &ended.links {
                scheduler.link(keys, *affiliate);
            }
            scheduler.end(head, ended.end, self.now());
        }
    }

    fn end_after_panic(&self, unit: &Unit, error: &JoinError) {
        let account = &self.0.settings.account;
        tracing::error!(%account, seq = %unit.head, %error, "a delivery panicked: a bug; its event will be tried again");
        self.0.store.release(&unit.seqs().collect::<Vec<_>>());
        let due = self.now().after(self.0.settings.limits.backoff.wait(1, 1.0, None));
        self.end(unit.head, End::Interrupted { due: Some(due) });
    }

    fn end(&self, head: Seq, end: End) {
        if let Some(scheduler) = &mut *self.0.signals.scheduler() {
            scheduler.end(head, end, self.now());
        }
    }

    /// Whether events were appended since this was last asked.
    fn take_appended(&self) -> bool {
        std::mem::replace(&mut *lock(&self.0.run), RunState::Running { appended: false })
            == RunState::Running { appended: true }
    }

    /// Ends the run loop, unless events were appended meanwhile.
    fn become_idle(&self) -> bool {
        let mut run = lock(&self.0.run);
        let idle = *run == RunState::Running { appended: false } && !self.is_shutting_down();
        if idle {
            *self.0.signals.scheduler() = None;
            *run = RunState::Idle;
        }
        idle
    }
}

impl Drop for PanicGuard {
    fn drop(&mut self) {
        if let Some(worker) = &self.0 {
            worker.0.runtime.failed.cancel();
        }
    }
}
