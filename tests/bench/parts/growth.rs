//! Growth: what a backlog does to everything else: accepting and draining beside it, starting on it, its memory, its file.
//!
//! Accepting is measured with deliveries at rest, in turns with a service whose store is empty; draining, with a Refersion
//! that answers at once, in turns with one that has little waiting. One store grows from level to level. How small the file
//! becomes once all is delivered is seen on a store of its own, small enough to wait for.

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::event::{Kind, Proof, fresh, length};
use crate::graph::{self, Axis, Line, draw};
use crate::load::{Target, closed};
use crate::refersion::Refersion;
use crate::report::{Figure, Reach, Row, say};
use crate::service::{Service, fill, folder, store_bytes};
use std::path::Path;
use std::time::{Duration, Instant};

const PART: &str = "growth";
/// Enough for a drain to be measured, too little to matter.
const LITTLE: u64 = 20_000;

pub fn run(bench: &mut Bench) -> bool {
    let refusing = Refersion::refusing();
    let mut levels: Vec<u64> = if bench.quick { vec![10_000, 50_000] } else { vec![100_000, 1_000_000] };
    if bench.long {
        levels.push(5_000_000);
    }
    let big = folder();
    let (mut waiting, mut drawn) = (0, Vec::new());
    for level in levels {
        let more = level.saturating_sub(waiting);
        fill(&refusing, big.path(), fresh(more), more, 0);
        waiting = disk(bench, &refusing, big.path(), level);
        let accepted = accept(bench, &refusing, big.path(), level);
        let drained = drain(bench, &refusing, big.path(), level);
        if drawn.is_empty() {
            drawn.push((level as f64 / 10.0, accepted.1, drained.1));
        }
        drawn.push((level as f64, accepted.0, drained.0));
        waiting = waiting.max(level);
        let service = Service::at_rest(&refusing, big.path());
        waiting = waiting.max(service.waiting());
        service.process.stop();
    }
    bench.graphs.push(("backlog.svg", graph(&drawn)));
    after_draining(bench, &refusing);
    true
}

/// Start-up, memory and bytes at a level; how many wait.
fn disk(bench: &mut Bench, refusing: &Refersion, folder: &Path, level: u64) -> u64 {
    let (mut starts, mut memory) = (Vec::new(), Vec::new());
    let mut waiting = 0;
    for _ in 0..bench.rounds {
        let service = Service::at_rest(refusing, folder);
        starts.push(service.ready_in.as_secs_f64() * 1e3);
        memory.push(service.process.memory().0);
        waiting = service.waiting();
        service.process.stop();
    }
    let bytes = (store_bytes(folder) as f64 / waiting as f64) - length() as f64;
    let (start, room) = (
        Row::new(format!("start to ready with {level} waiting"), Figure::of(&starts), "ms"),
        Row::new(format!("memory with {level} waiting"), Figure::of(&memory), "MB"),
    );
    let of_a_million = level == 1_000_000;
    bench.report.add(PART, if of_a_million { start.reach(Reach::AtMost(250.0)) } else { start });
    bench.report.add(PART, if of_a_million { room.reach(Reach::AtMost(64.0)) } else { room });
    let row = Row::new(format!("on disk beyond each body, {level} waiting"), Figure::of(&[bytes]), "bytes");
    bench.report.add(PART, row.reach(Reach::AtMost(200.0)));
    waiting
}

/// Accepting beside the backlog, and beside none: the medians.
fn accept(bench: &mut Bench, refusing: &Refersion, big: &Path, level: u64) -> (f64, f64) {
    let kind = Kind { proof: Proof::Basic, events: 1 };
    let (mut ours, mut empty) = (Vec::new(), Vec::new());
    let full = Service::at_rest(refusing, big);
    for _ in 0..bench.rounds {
        let folder = folder();
        let service = Service::at_rest(refusing, folder.path());
        for (service, rates) in [(&full, &mut ours), (&service, &mut empty)] {
            let target = Target { address: service.server, kind, status: 202 };
            rates.push(closed(target, CONNECTIONS, bench.round).events_per_second());
        }
    }
    full.process.stop();
    tell(bench, format!("accept with {level} waiting"), &ours, &empty)
}

/// Draining the backlog, and a small one: the medians.
fn drain(bench: &mut Bench, refusing: &Refersion, big: &Path, level: u64) -> (f64, f64) {
    let (mut ours, mut little) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds.min(3) {
        let folder = folder();
        let events = bench.scaled(LITTLE);
        fill(refusing, folder.path(), fresh(events), events, 0);
        ours.push(drain_rate(big, bench.round));
        little.push(drain_rate(folder.path(), bench.round));
    }
    tell(bench, format!("drain with {level} waiting"), &ours, &little)
}

/// Events settled per second in the first moments after the start.
fn drain_rate(folder: &Path, length: Duration) -> f64 {
    let refersion = Refersion::start(Duration::ZERO);
    let service = Service::start(&refersion.base_url, folder, &[]);
    std::thread::sleep(length / 10);
    let (begun, before) = (Instant::now(), service.waiting());
    let mut after = before;
    while begun.elapsed() < length && after > 0 {
        std::thread::sleep(Duration::from_millis(20));
        after = service.waiting();
    }
    let rate = (before - after) as f64 / begun.elapsed().as_secs_f64();
    service.process.stop();
    rate
}

fn tell(bench: &mut Bench, what: String, ours: &[f64], empty: &[f64]) -> (f64, f64) {
    let row = Row::new(what, Figure::of(ours), "events/s").against(Figure::ratio(ours, empty), "none waiting");
    bench.report.add(PART, row.reach(Reach::AtLeast(0.9)));
    (Figure::of(ours).median, Figure::of(empty).median)
}

/// The file once all is delivered and its space was given back.
fn after_draining(bench: &mut Bench, refusing: &Refersion) {
    let (folder, events) = (folder(), bench.scaled(LITTLE));
    fill(refusing, folder.path(), fresh(events), events, 0);
    let full = store_bytes(folder.path()) as f64;
    let refersion = Refersion::start(Duration::ZERO);
    let service = Service::start(&refersion.base_url, folder.path(), &[]);
    service.until_drained();
    let deadline = Instant::now() + Duration::from_secs(45);
    let mut least = store_bytes(folder.path());
    // The space is given back in portions, every ten seconds.
    while Instant::now() < deadline && !bench.quick {
        std::thread::sleep(Duration::from_secs(1));
        least = least.min(store_bytes(folder.path()));
    }
    if bench.quick {
        say("  the file after draining is not waited for in a quick run");
        return;
    }
    service.process.stop();
    let left = store_bytes(folder.path()).min(least) as f64;
    let row = Row::new(format!("file after {events} were delivered"), Figure::of(&[left / 1e6]), "MB");
    bench.report.add(PART, row.against(Figure::of(&[left / full]), "the file before"));
    let each = Figure::of(&[left / events as f64]);
    bench.report.add(PART, Row::new("remembered of each user and event delivered", each, "bytes"));
}

fn graph(drawn: &[(f64, f64, f64)]) -> String {
    let line = |name: &str, colour, of: fn(&(f64, f64, f64)) -> f64| {
        let points = drawn.iter().map(|one| (one.0, of(one))).collect();
        Line { name: name.to_owned(), colour, dashed: false, points }
    };
    let lines = [line("accepted, synced", 0, |one| one.1), line("delivered, settled", 1, |one| one.2)];
    let mark = |(number, level): (usize, &(f64, f64, f64))| {
        let name = if number == 0 { "none".to_owned() } else { graph::count(level.0) };
        (level.0, name)
    };
    let x = Axis { title: "events waiting", marks: drawn.iter().enumerate().map(mark).collect(), logarithmic: true };
    let most = drawn.iter().map(|one| one.1.max(one.2)).fold(0.0, f64::max);
    let step = if most > 10_000.0 { 5_000.0 } else { 2_000.0 };
    let steps = (most / step).ceil() as u32;
    let marks = (0..=steps).map(|n| (f64::from(n) * step, graph::count(f64::from(n) * step))).collect();
    draw("Throughput against backlog", &x, &Axis { title: "events per second", marks, logarithmic: false }, &lines)
}
