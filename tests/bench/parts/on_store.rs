//! The cost of a filled store: accepting and draining on it ÷ on an empty one. Used by `growth` and `known_affiliates`.
//!
//! Accepting is measured twice in each round: from the first request after a start, when nothing of the store is in memory
//! (*just after a restart*), and then on the same process. Draining always begins with a start, and as many events are drained from a
//! filled store as from an empty one: each affiliate that becomes known makes the next settlement a little slower.

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::builds::Build;
use crate::event::fresh;
use crate::load::{Measured, closed, closed_cold};
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series};
use crate::requests::Kind;
use crate::service::{Service, fill, folder};
use std::path::Path;
use std::time::{Duration, Instant};

/// Enough events for a drain to be measured, too few to matter.
pub const LITTLE: u64 = 20_000;

/// What accepting took: just after a restart, and later.
pub struct Accepted {
    restarted: Measured,
    later: Measured,
}

/// Starts `build` on the store in `folder` and accepts events of `kind`, deliveries at rest.
pub fn accept(bench: &Bench, build: &Build, refusing: &Refersion, folder: &Path, kind: Kind) -> Accepted {
    let service = Service::at_rest(build, refusing, folder);
    let restarted = closed_cold(service.target(kind), CONNECTIONS, bench.round);
    let later = closed(service.target(kind), CONNECTIONS, bench.round);
    service.process.stop();
    Accepted { restarted, later }
}

/// The same on an empty store.
pub fn accept_empty(bench: &Bench, build: &Build, refusing: &Refersion, kind: Kind) -> Accepted {
    let folder = folder();
    accept(bench, build, refusing, folder.path(), kind)
}

/// What draining took.
#[derive(Clone, Copy)]
pub struct Drained {
    /// Events a second.
    rate: f64,
    /// Processor time of the service, µs an event.
    time: f64,
}

/// Starts `build` on the store in `folder`, which has pending events, and drains [`LITTLE`] of them: for a round at most, or until no event
/// is pending.
pub fn drain(bench: &Bench, build: &Build, refersion: &Refersion, folder: &Path) -> Drained {
    let service = Service::start(build, &refersion.base_url, folder, &[]);
    std::thread::sleep(bench.round / 10);
    let clock = service.process.clock();
    let (begun, spent, before) = (Instant::now(), clock.seconds(), service.pending());
    let mut after = before;
    while begun.elapsed() < bench.round && after > 0 && before - after < bench.scaled(LITTLE) {
        std::thread::sleep(Duration::from_millis(20));
        after = service.pending();
    }
    let (events, spent) = ((before - after) as f64, clock.seconds() - spent);
    let rate = events / begun.elapsed().as_secs_f64();
    service.process.stop();
    Drained { rate, time: spent * 1e6 / events }
}

/// Drains a store with few pending events.
pub fn drain_little(bench: &Bench, build: &Build, refusing: &Refersion) -> Drained {
    let (folder, refersion, events) = (folder(), Refersion::start(Duration::ZERO), bench.scaled(LITTLE));
    let users = fresh(events);
    fill(build, refusing, folder.path(), users..users + events, 0);
    drain(bench, build, &refersion, folder.path())
}

/// What was measured on full stores, and beside it on empty ones: a series for each build.
pub struct Measurements {
    accept: [Vec<Series>; 4],
    drain: [Vec<Series>; 2],
}

impl Measurements {
    pub fn new(bench: &Bench) -> Self {
        Self { accept: [(); 4].map(|()| bench.series()), drain: [(); 2].map(|()| bench.series()) }
    }

    pub fn add_accepted(&mut self, build: usize, full: &Accepted, empty: &Accepted) {
        let of = |accepted: &Accepted| {
            let Accepted { restarted, later } = accepted;
            [restarted.events_per_second(), later.events_per_second(), restarted.server_time(), later.server_time()]
        };
        for (series, (full, empty)) in self.accept.iter_mut().zip(of(full).into_iter().zip(of(empty))) {
            series[build].push(full, empty);
        }
    }

    pub fn add_drained(&mut self, build: usize, full: Drained, empty: Drained) {
        self.drain[0][build].push(full.rate, empty.rate);
        self.drain[1][build].push(full.time, empty.time);
    }

    /// This tree's build: accepted and drained a second on the full store, then on the empty one.
    pub fn rates(&self) -> [[f64; 2]; 2] {
        [&self.accept[1][0], &self.drain[0][0]].map(Series::medians)
    }

    /// Adds the rows; `with` says what the store holds.
    pub fn report(self, bench: &mut Bench, part: &'static str, with: &str) {
        let [rate_restarted, rate, time_restarted, time] = self.accept;
        let [drain, drain_time] = self.drain;
        let rates = [
            (format!("accept with {with}"), rate),
            (format!("accept with {with}, just after a restart"), rate_restarted),
            (format!("drain with {with}, just after a restart"), drain),
        ];
        for (what, series) in rates {
            let row = Row::new(what, "events/s", series).ratio_to("empty");
            bench.report.add(part, row.goal(Goal::AtLeast(0.95)));
        }
        let times = [
            (format!("processor time, accept with {with}"), time),
            (format!("processor time, accept with {with}, just after a restart"), time_restarted),
            (format!("processor time, drain with {with}"), drain_time),
        ];
        for (what, series) in times {
            bench.report.add(part, Row::new(what, "µs an event", series).ratio_to("empty"));
        }
    }
}
