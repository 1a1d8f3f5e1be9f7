//! Growth: the cost of a backlog, compared with none, in accepting, draining, starting, memory and size of the file.
//!
//! Accepting is measured with deliveries at rest, alternately with a service whose store is empty; draining, with a Refersion
//! that answers at once, alternately with one that has few pending events. One store of each build grows from level to level; draining
//! begins with a copy of it, in which no affiliate is known. How small the file becomes once all is delivered is measured on a store of
//! its own, small enough to wait for.

use super::on_store::{LITTLE, Measurements, accept, accept_empty, drain, drain_little};
use crate::Bench;
use crate::builds::Build;
use crate::event::{fresh, length};
use crate::graph::{self, Axis, Line, draw};
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series, print_line};
use crate::requests::Kind;
use crate::service::{Service, copy, fill, folder, store_bytes};
use std::path::Path;
use std::time::{Duration, Instant};
use tempfile::TempDir;

const PART: &str = "growth";

/// Pending events; the most that starting may take, in ms; the most memory at rest, in MB.
const LEVELS: [(u64, Option<f64>, Option<f64>); 3] =
    [(100_000, None, None), (1_000_000, Some(400.0), Some(64.0)), (5_000_000, Some(2000.0), None)];

pub fn run(bench: &mut Bench) -> bool {
    let refusing = Refersion::refusing();
    let levels = if bench.long { &LEVELS[..] } else { &LEVELS[..2] };
    let stores: Vec<TempDir> = bench.builds.iter().map(|_| folder()).collect();
    let mut drawn = Vec::new();
    for (level, start, memory) in levels {
        let level = if bench.quick { level / 20 } else { *level };
        for (build, store) in bench.builds.iter().zip(&stores) {
            grow(build, &refusing, store.path(), level);
        }
        at_rest(bench, &refusing, &stores, level, [*start, *memory]);
        let mut all = Measurements::new(bench);
        for _ in 0..bench.rounds.min(3) {
            for (number, (build, store)) in bench.builds.iter().zip(&stores).enumerate() {
                measure(bench, &mut all, number, build, &refusing, store.path());
            }
        }
        drawn.push((level, all.rates()));
        all.report(bench, PART, &format!("{level} waiting"));
    }
    bench.graphs.push(("backlog.svg", graph(&drawn)));
    after_draining(bench, &refusing);
    true
}

/// Fills a store until at least `level` events are pending.
fn grow(build: &Build, refusing: &Refersion, store: &Path, level: u64) {
    let service = Service::at_rest(build, refusing, store);
    let more = level.saturating_sub(service.pending());
    service.process.stop();
    let users = fresh(more);
    fill(build, refusing, store, users..users + more, 0);
}

/// A round of one build: accepting and draining.
fn measure(bench: &Bench, all: &mut Measurements, number: usize, build: &Build, refusing: &Refersion, store: &Path) {
    let kind = Kind::new(1);
    let full = accept(bench, build, refusing, store, kind);
    all.add_accepted(number, &full, &accept_empty(bench, build, refusing, kind));
    let copied = folder();
    copy(store, copied.path());
    let full = drain(bench, build, &Refersion::start(Duration::ZERO), copied.path());
    all.add_drained(number, full, drain_little(bench, build, refusing));
}

/// Start-up, memory and bytes at a level.
fn at_rest(bench: &mut Bench, refusing: &Refersion, stores: &[TempDir], level: u64, most: [Option<f64>; 2]) {
    let [mut starts, mut memory, mut bytes] = [(); 3].map(|()| bench.series());
    for _ in 0..bench.rounds {
        for (number, (build, store)) in bench.builds.iter().zip(stores).enumerate() {
            let service = Service::at_rest(build, refusing, store.path());
            starts[number].ours.push(service.ready_in.as_secs_f64() * 1e3);
            memory[number].ours.push(service.process.memory().0);
            let waiting = service.pending() as f64;
            service.process.stop();
            bytes[number].ours.push(store_bytes(store.path()) as f64 / waiting - length() as f64);
        }
    }
    let [start, room] = most.map(|most| most.filter(|_| !bench.quick).map(Goal::AtMost));
    bench.report.add(PART, Row::new(format!("start to ready with {level} waiting"), "ms", starts).goal(start));
    bench.report.add(PART, Row::new(format!("memory at rest with {level} waiting"), "MB", memory).goal(room));
    let row = Row::new(format!("disk beyond the body, {level} waiting"), "bytes an event", bytes);
    bench.report.add(PART, row.goal(Goal::AtMost(300.0)));
}

/// The file once all is delivered and its space was given back.
fn after_draining(bench: &mut Bench, refusing: &Refersion) {
    if bench.quick {
        print_line("  the file after draining is not waited for in a quick run");
        return;
    }
    let events = bench.scaled(LITTLE);
    let (mut file, mut remembered): (Vec<Series>, Vec<Series>) = (bench.series(), bench.series());
    for (number, build) in bench.builds.iter().enumerate() {
        let (full, left) = drained_file(build, refusing, events);
        file[number].push(left / 1e6, full / 1e6);
        remembered[number].ours.push(left / events as f64);
    }
    let row = Row::new(format!("file after {events} were delivered"), "MB", file).ratio_to("the file before");
    bench.report.add(PART, row);
    bench.report.add(PART, Row::new("remembered of each user and event delivered", "bytes", remembered));
}

/// The bytes of a store before and after its events were delivered.
fn drained_file(build: &Build, refusing: &Refersion, events: u64) -> (f64, f64) {
    let (folder, users) = (folder(), fresh(events));
    fill(build, refusing, folder.path(), users..users + events, 0);
    let full = store_bytes(folder.path()) as f64;
    let refersion = Refersion::start(Duration::ZERO);
    let service = Service::start(build, &refersion.base_url, folder.path(), &[]);
    service.until_drained();
    let deadline = Instant::now() + Duration::from_secs(45);
    let mut least = store_bytes(folder.path());
    // The space is given back in portions, every ten seconds.
    while Instant::now() < deadline {
        std::thread::sleep(Duration::from_secs(1));
        least = least.min(store_bytes(folder.path()));
    }
    service.process.stop();
    (full, store_bytes(folder.path()).min(least) as f64)
}

/// Of each level: accepted and drained a second, on the full store and on an empty one.
fn graph(levels: &[(u64, [[f64; 2]; 2])]) -> String {
    let empty = levels.first().map(|(level, rates)| (*level as f64 / 10.0, rates.map(|rate| rate[1])));
    let full = levels.iter().map(|(level, rates)| (*level as f64, rates.map(|rate| rate[0])));
    let drawn: Vec<(f64, [f64; 2])> = empty.into_iter().chain(full).collect();
    let line = |name: &str, colour: usize| {
        let points = drawn.iter().map(|(level, rates)| (*level, rates[colour])).collect();
        Line { name: name.to_owned(), colour, dashed: false, points }
    };
    let lines = [line("accepted, synced", 0), line("delivered, settled", 1)];
    let name = |number, level| if number == 0 { "none".to_owned() } else { graph::count(level) };
    let marks = drawn.iter().enumerate().map(|(number, (level, _))| (*level, name(number, *level))).collect();
    let x = Axis { title: "events waiting", marks, logarithmic: true };
    let most = drawn.iter().flat_map(|(_, rates)| rates).fold(0.0, |most: f64, rate| most.max(*rate));
    let step = if most > 10_000.0 { 5_000.0 } else { 2_000.0 };
    let steps = (most / step).ceil() as u32;
    let marks = (0..=steps).map(|n| (f64::from(n) * step, graph::count(f64::from(n) * step))).collect();
    draw("Throughput against backlog", &x, &Axis { title: "events per second", marks, logarithmic: false }, &lines)
}
