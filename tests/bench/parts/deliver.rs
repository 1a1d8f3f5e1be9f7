//! Deliver: events a second from recorded to settled, against a Refersion that answers at once, after 20 ms, after 100 ms.
//!
//! The events wait in the store before the service starts; time runs from its start to the last settlement. New users cost a
//! call each (`new`); of known users one field has changed, and their edits go out together. Beside it a bare reqwest loop
//! makes as many calls of `new`, with the same concurrency, from this process; processor time stands beside (a)'s.

use crate::Bench;
use crate::bare::{self, Axum};
use crate::builds::Build;
use crate::event::fresh;
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series};
use crate::service::{Service, fill, folder};
use std::path::Path;
use std::time::{Duration, Instant};

const PART: &str = "deliver";

struct Case {
    latency: u64,
    concurrency: usize,
    events: u64,
    /// Of the rate of new users ÷ that of the bare loop.
    least: Option<f64>,
}

const CASES: [Case; 3] = [
    Case { latency: 0, concurrency: 16, events: 10_000, least: Some(0.5) },
    Case { latency: 20, concurrency: 16, events: 3_000, least: None },
    Case { latency: 100, concurrency: 64, events: 15_000, least: None },
];

/// What a drain took.
#[derive(Clone, Copy)]
struct Drained {
    /// Events a second.
    rate: f64,
    /// Processor time of the service, µs an event.
    time: f64,
}

/// A series for each build.
struct Measurements {
    new: Vec<Series>,
    known: Vec<Series>,
    ceiling: Vec<Series>,
    time: Vec<Series>,
}

pub fn run(bench: &mut Bench) -> bool {
    let (axum, refusing) = (Axum::start(), Refersion::refusing());
    for case in CASES {
        let series = || bench.series();
        let mut all = Measurements { new: series(), known: series(), ceiling: series(), time: series() };
        for _ in 0..bench.rounds.min(3) {
            let drained: Vec<[Drained; 2]> =
                bench.builds.iter().map(|build| measure(bench, build, &refusing, &case)).collect();
            let refersion = Refersion::start(Duration::from_millis(case.latency));
            let bare = bare::calls(&refersion, bench.scaled(case.events), case.concurrency);
            all.add(&case, &drained, bare, axum.singles(bench.round / 2).server_time());
        }
        all.report(bench, &case);
    }
    true
}

/// New users, then one change to each of them.
fn measure(bench: &Bench, build: &Build, refusing: &Refersion, case: &Case) -> [Drained; 2] {
    let events = bench.scaled(case.events);
    let refersion = Refersion::start(Duration::from_millis(case.latency));
    let (folder, users) = (folder(), fresh(events));
    [0, 1].map(|revision| {
        fill(build, refusing, folder.path(), users..users + events, revision);
        drain(build, &refersion, folder.path(), case.concurrency, events)
    })
}

/// Starts the service on what waits, and waits until nothing does.
fn drain(build: &Build, refersion: &Refersion, folder: &Path, concurrency: usize, events: u64) -> Drained {
    let begun = Instant::now();
    let concurrency = concurrency.to_string();
    let service = Service::start(build, &refersion.base_url, folder, &[("REFERSION_CONCURRENCY", &concurrency)]);
    service.until_drained();
    let (rate, time) = (events as f64 / begun.elapsed().as_secs_f64(), service.process.clock().seconds());
    service.process.stop();
    Drained { rate, time: time * 1e6 / events as f64 }
}

impl Measurements {
    /// Adds a round: what was drained of each build, the rate of the bare loop, (a)'s processor time for a request.
    fn add(&mut self, case: &Case, drained: &[[Drained; 2]], bare: f64, axum: f64) {
        for (build, [new, known]) in drained.iter().enumerate() {
            self.new[build].push(new.rate, bare);
            self.known[build].push(known.rate, bare);
            self.ceiling[build].push(new.rate, case.concurrency as f64 * 1e3 / case.latency as f64);
            self.time[build].push(new.time, axum);
        }
    }

    fn report(self, bench: &mut Bench, case: &Case) {
        let of = |name: &str| format!("{name}, Refersion at {} ms, {} at once", case.latency, case.concurrency);
        let row = Row::new(of("new users"), "events/s", self.new).ratio_to("bare reqwest");
        bench.report.add(PART, row.goal(case.least.map(Goal::AtLeast)));
        if case.latency == 100 {
            let row = Row::new(of("new users"), "events/s", self.ceiling).ratio_to("the ceiling");
            bench.report.add(PART, row.goal(Goal::AtLeast(0.95)));
        }
        let row = Row::new(of("known users, one change each"), "events/s", self.known).ratio_to("bare reqwest");
        bench.report.add(PART, row);
        let row = Row::new(of("processor time, new users"), "µs an event", self.time).ratio_to("(a)'s a request");
        bench.report.add(PART, row);
    }
}
