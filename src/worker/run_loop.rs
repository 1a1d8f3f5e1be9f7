//! The run loop of one account: reads the log ahead, begins runnable units, and reports their ends to the scheduler.
//!
//! An event that was read ahead costs a few bytes: its number and the names of its lane (`scheduling/lanes.rs`), no body. In: wake-ups,
//! ended deliveries, due moments. Out: deliveries. Invariants: it reads ahead only until enough heads are runnable, and not while the
//! account is paused or halted; it ends when no event of the account is pending and no page of Refersion's list is left to read, and the
//! next append starts it again. It also ends when its lease on the account is about to end; the next one then begins with a new scheduler,
//! and reads the pending events from the first one again. In every second trial after a pause, events that have not failed go before the
//! others. Links of saved progress reach the scheduler before and after they are committed, those of a settlement after the entries of a read
//! that began before.

use super::learn::{Link, read_page};
use super::run_delivery::{AttemptEnd, run_delivery};
use super::{FOREVER, RunState, Worker};
use crate::account_signals::WaitResult;
use crate::delivery::TransientFailure;
use crate::domain::{EventId, Seq, Timestamp};
use crate::failpoint;
use crate::scheduling::{BreakerState, End, Entry, MAX_BATCH, Scheduler, Unit};
use crate::store::{Begun, Lease, StoreError};
use std::collections::HashMap;
use std::panic::resume_unwind;
use std::time::Duration;
use tokio::task::{JoinError, JoinSet};

/// The most deliveries without a request in flight or a settlement in progress. They fill several batches while others are in flight.
const WINDOW: usize = 4 * MAX_BATCH;
/// The number of units that are begun together; they cost one read of the store.
const BEGUN_TOGETHER: usize = MAX_BATCH;
/// The most events of a user that are coalesced with their head.
const MAX_FOLLOWERS: usize = 50;
/// The entries of one read.
const PAGE: usize = 512;
/// The wait after a failure of the store.
pub(super) const STORE_PAUSE: Duration = Duration::from_secs(1);

struct RunLoop {
    worker: Worker,
    lease: Lease,
    deliveries: JoinSet<AttemptEnd>,
    /// The probe of a rejected key, if one is in flight.
    probe: JoinSet<()>,
    /// The request for a page of Refersion's list, if one is in flight.
    list_page: JoinSet<Vec<Link>>,
    /// The last reading failed.
    cannot_read: bool,
}

/// Runs until no event of the account is pending, its lease is about to end, it is removed, or the service shuts down.
pub(super) async fn run(worker: Worker, lease: Lease) {
    worker.restore_health(&lease).await;
    worker.restore_learning(&lease).await;
    worker.unlink_placeholders().await;
    let mut run_loop = RunLoop {
        worker: worker.clone(),
        lease,
        deliveries: JoinSet::new(),
        probe: JoinSet::new(),
        list_page: JoinSet::new(),
        cannot_read: false,
    };
    while run_loop.drive().await {
        if worker.stop_if_idle() {
            return;
        }
    }
    worker.set_ending();
    worker.dispatch(); // hands back the calls that were not sent; later ones dispatch themselves
    while let Some(ended) = run_loop.deliveries.join_next().await {
        run_loop.on_delivery_end(ended);
    }
    worker.save_health().await;
    worker.unpublish_health(&run_loop.lease);
    // Its affiliates are stored under this lease, before the next run loop reads.
    while let Some(read) = run_loop.list_page.join_next().await {
        run_loop.on_page_end(read);
    }
    drop(run_loop); // and its lease with it
    worker.set_idle(&mut worker.0.run.lock());
    worker.wake(); // if there is a new lease already, or the account is configured again by now
}

impl RunLoop {
    /// Works until no event is pending or in flight, and returns true; or until the lease is about to end, the account is removed, or the
    /// service shuts down.
    async fn drive(&mut self) -> bool {
        let worker = self.worker.clone();
        while !worker.is_stopping() {
            let wait = self.advance().await;
            let wait = wait.min(self.advance_learning()); // before calls that wait for the rate, because a page is seldom due
            worker.dispatch();
            worker.save_health().await;
            if self.is_done() {
                return true;
            }
            let wait = wait.min(worker.until_next_permit()).min(FOREVER);
            tokio::select! {
                () = worker.0.changed.notified() => {}
                () = self.lease.changed() => {}
                Some(ended) = self.deliveries.join_next() => self.on_delivery_end(ended),
                Some(probed) = self.probe.join_next() => on_probe_end(probed),
                Some(read) = self.list_page.join_next() => self.on_page_end(read),
                () = tokio::time::sleep(wait) => {}
                () = worker.0.runtime.shutdown.cancelled() => {}
            }
            while let Some(ended) = self.deliveries.try_join_next() {
                self.on_delivery_end(ended);
            }
        }
        false
    }

    /// Begins as many units as are allowed; returns how long to wait before looking again, if nothing happens before.
    async fn advance(&mut self) -> Duration {
        let now = self.worker.now();
        let undecided = self.deliveries.len().saturating_sub(self.worker.0.dispatcher.lock().in_flight_or_settling());
        let state = self.worker.health().snapshot().state;
        if !matches!(state, BreakerState::Halted { .. }) {
            self.probe.abort_all(); // its key is no longer used
        }
        let room = match state {
            BreakerState::Closed => WINDOW.checked_sub(undecided).filter(|room| *room >= BEGUN_TOGETHER).unwrap_or(0),
            BreakerState::Open { until } if now < until => return until.since(now),
            BreakerState::Open { .. } | BreakerState::HalfOpen => usize::from(self.deliveries.is_empty()),
            BreakerState::Halted { probe_at } if now < probe_at => return probe_at.since(now),
            BreakerState::Halted { .. } => {
                self.start_probe();
                return FOREVER;
            }
        };
        if room == 0 {
            return FOREVER;
        }
        let begun = self.begin(room, state, now).await;
        self.report(begun.as_ref().err());
        // Also if the store is closed: a read that panicked looks the same, and a closed store ends the service.
        begun.unwrap_or(STORE_PAUSE)
    }

    /// Probes the rejected key beside the loop, so that deliveries that end meanwhile are still reported to the scheduler.
    fn start_probe(&mut self) {
        if self.probe.is_empty() {
            let worker = self.worker.clone();
            self.probe.spawn(async move { worker.probe().await });
        }
    }

    /// Asks for a page of Refersion's list, if it is time for one; returns how long to wait before looking again.
    fn advance_learning(&mut self) -> Duration {
        if !self.list_page.is_empty() {
            return FOREVER;
        }
        match self.worker.next_page(!self.deliveries.is_empty()) {
            Ok((permit, progress)) => {
                self.list_page.spawn(read_page(self.worker.clone(), permit, progress));
                FOREVER
            }
            Err(wait) => wait,
        }
    }

    /// A page was read, or could not be. A panic, which is a bug, harms no delivery.
    fn on_page_end(&self, read: Result<Vec<Link>, JoinError>) {
        match read {
            Ok(links) => self.worker.link(&links),
            Err(error) => {
                tracing::error!(account = %self.worker.0.settings.account, %error, "reading Refersion's list failed, which is a bug");
                self.worker.on_page_failed(TransientFailure::new("a page could not be read"));
            }
        }
    }

    /// Logs once that the event log cannot be read, and once that it can be again.
    fn report(&mut self, error: Option<&StoreError>) {
        let account = &self.worker.0.settings.account;
        match error {
            // The lease was lost, and soon reports this itself.
            Some(StoreError::NotOwner) => {}
            Some(error) if !std::mem::replace(&mut self.cannot_read, true) => {
                tracing::error!(%account, %error, "cannot read events from the store; it is tried again every second");
            }
            None if std::mem::take(&mut self.cannot_read) => {
                tracing::info!(%account, "events can be read from the store again");
            }
            _ => {}
        }
    }

    /// Begins up to `room` units. Returns how long to wait until the next retry is due.
    async fn begin(&mut self, room: usize, state: BreakerState, now: Timestamp) -> Result<Duration, StoreError> {
        // A trial is chosen among more events: those that fail every time, for instance all edits, must not hold up the others.
        let is_trial = state != BreakerState::Closed;
        self.read_ahead(if is_trial { WINDOW } else { room }, now).await?;
        let mut units: Vec<Unit> = {
            let mut scheduler = self.worker.0.signals.scheduler();
            let next = if is_trial { Scheduler::next_trial } else { Scheduler::next };
            std::iter::from_fn(|| next(&mut scheduler, now, MAX_FOLLOWERS)).take(room).collect()
        };
        if !units.is_empty() {
            let begun = self.worker.0.store.begin(&self.worker.0.settings.account, &units).await;
            let not_begun = units.split_off(begun.as_ref().map_or(0, Vec::len));
            for unit in &not_begun {
                self.worker.end(unit.head, End::Interrupted { due: None });
            }
            let begun = begun?;
            let is_one_gone = begun.iter().any(Option::is_none);
            self.spawn(units, begun);
            if is_one_gone {
                return Ok(Duration::ZERO); // another one may begin in its place
            }
            if !not_begun.is_empty() {
                return Ok(FOREVER); // until one of the large bodies that were begun is gone
            }
        }
        let next_due = self.worker.0.signals.scheduler().next_due(now);
        Ok(next_due.map_or(FOREVER, |due| due.since(now)))
    }

    /// Reads ahead (prefetch): until `wanted` heads are runnable, or to the end of the log.
    async fn read_ahead(&mut self, wanted: usize, now: Timestamp) -> Result<(), StoreError> {
        let worker = self.worker.clone();
        loop {
            let after = {
                let scheduler = worker.0.signals.scheduler();
                if scheduler.runnable(now, wanted) >= wanted {
                    return Ok(());
                }
                scheduler.position()
            };
            if !worker.replace_unread(false) {
                return Ok(());
            }
            failpoint::reach("worker::reading");
            let read = worker.0.store.read(&worker.0.settings.account, after, PAGE).await;
            if !read.as_ref().is_ok_and(|entries| entries.len() < PAGE) {
                worker.replace_unread(true);
            }
            worker.feed(read?, now);
        }
    }

    /// Starts a delivery for each unit that was begun. A unit that is no longer pending leaves the scheduler.
    fn spawn(&mut self, units: Vec<Unit>, begun: Vec<Option<Begun>>) {
        // Announced before the first of them runs: batches wait for the calls of all of them.
        let announce = |begun: Option<Begun>| begun.map(|begun| (begun, self.worker.announce_call()));
        let begun: Vec<_> = begun.into_iter().map(announce).collect();
        for (unit, begun) in units.into_iter().zip(begun) {
            match begun {
                Some((begun, announced)) => {
                    self.deliveries.spawn(run_delivery(self.worker.clone(), begun, announced));
                }
                None => self.worker.end(unit.head, End::Settled { followers: Vec::new() }),
            }
        }
    }

    fn on_delivery_end(&self, ended: Result<AttemptEnd, JoinError>) {
        match ended {
            Ok(ended) => self.worker.end_with_links(ended),
            Err(error) => resume_unwind(error.into_panic()), // panics of a delivery itself are caught in its task
        }
    }

    fn is_done(&self) -> bool {
        let is_empty = self.worker.0.signals.scheduler().is_empty();
        is_empty
            && !self.worker.has_unread()
            && self.deliveries.is_empty()
            && self.list_page.is_empty()
            && !self.worker.is_learning()
    }
}

fn on_probe_end(probed: Result<(), JoinError>) {
    if let Some(panic) = probed.err().and_then(|error| error.try_into_panic().ok()) {
        resume_unwind(panic);
    }
}

impl Worker {
    /// Feeds the scheduler; a request that waits for a blocked event is answered.
    fn feed(&self, entries: Vec<Entry>, now: Timestamp) {
        let ids: HashMap<Seq, EventId> = entries.iter().map(|entry| (entry.seq, entry.id)).collect();
        let blocked = self.0.signals.scheduler().feed(entries, now);
        for id in blocked.iter().filter_map(|seq| ids.get(seq)) {
            self.0.signals.send(*id, WaitResult::Deferred);
        }
    }

    pub(super) fn link(&self, links: &[Link]) {
        if links.is_empty() {
            return;
        }
        let mut scheduler = self.0.signals.scheduler();
        for (keys, affiliate) in links {
            scheduler.link(keys, *affiliate);
        }
    }

    fn end_with_links(&self, ended: AttemptEnd) {
        self.link(&ended.links);
        self.0.signals.scheduler().end(ended.head, ended.end, self.now());
    }

    fn end(&self, head: Seq, end: End) {
        self.end_with_links(AttemptEnd { head, end, links: Vec::new() });
    }

    /// Whether entries of the log may be unread.
    fn has_unread(&self) -> bool {
        self.0.run.lock().as_ref().is_some_and(|run| run.unread)
    }

    /// Sets whether entries of the log may be unread. Returns whether they might be before.
    fn replace_unread(&self, unread: bool) -> bool {
        self.0.run.lock().as_mut().is_some_and(|run| std::mem::replace(&mut run.unread, unread))
    }

    /// From now on, the run loop only waits for its deliveries.
    fn set_ending(&self) {
        if let Some(run) = &mut *self.0.run.lock() {
            run.is_ending = true;
        }
    }

    /// Ends the run loop, unless events were appended meanwhile.
    fn stop_if_idle(&self) -> bool {
        let mut run = self.0.run.lock();
        let idle = !self.is_leaving() && run.as_ref().is_some_and(|run| !run.unread && !run.lease.is_ending());
        if idle {
            self.set_idle(&mut run);
        }
        idle
    }

    fn set_idle(&self, run: &mut Option<RunState>) {
        *self.0.signals.scheduler() = Scheduler::default();
        *run = None;
    }
}
