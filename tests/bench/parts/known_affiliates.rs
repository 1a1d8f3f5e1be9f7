//! Known affiliates: the cost of a store with a million known affiliates, compared with an empty one, in accepting, draining, starting and
//! memory.
//!
//! Every other accepted event is of a known user. The drained events are of new users, so that both sides make the same calls.
//! Each round begins with a copy of the store.

use super::on_store::{LITTLE, Measurements, accept, accept_empty, drain, drain_little};
use crate::Bench;
use crate::builds::Build;
use crate::event::fresh;
use crate::refersion::Refersion;
use crate::report::{Row, Series};
use crate::requests::{Kind, Users};
use crate::service::{Service, copy, fill, folder};
use std::time::Duration;
use tempfile::TempDir;

const PART: &str = "known_affiliates";

/// A build's store after its deliveries, and the Refersion that took them.
struct Delivered {
    folder: TempDir,
    refersion: Refersion,
    first: u64,
}

pub fn run(bench: &mut Bench) -> bool {
    let refusing = Refersion::refusing();
    let count = if bench.quick { 20_000 } else { 1_000_000 };
    let delivered: Vec<Delivered> = bench.builds.iter().map(|build| deliver(build, count)).collect();
    let mut all = Measurements::new(bench);
    for _ in 0..bench.rounds.min(3) {
        for (number, (build, delivered)) in bench.builds.iter().zip(&delivered).enumerate() {
            let kind = Kind { users: Users::HalfKnown { first: delivered.first, count }, ..Kind::new(1) };
            let full = accept(bench, build, &refusing, delivered.copy().path(), kind);
            all.add_accepted(number, &full, &accept_empty(bench, build, &refusing, kind));
            let (store, users) = (delivered.copy(), fresh(bench.scaled(LITTLE)));
            fill(build, &refusing, store.path(), users..users + bench.scaled(LITTLE), 0);
            let full = drain(bench, build, &delivered.refersion, store.path());
            all.add_drained(number, full, drain_little(bench, build, &refusing));
        }
    }
    all.report(bench, PART, &format!("{count} affiliates"));
    at_rest(bench, &delivered, count);
    true
}

/// Has `build` create an affiliate for each of so many users.
fn deliver(build: &Build, count: u64) -> Delivered {
    let (folder, refersion, first) = (folder(), Refersion::start(Duration::ZERO), fresh(count));
    let service = Service::start(build, &refersion.base_url, folder.path(), &[]);
    service.post_users(first, count, 0);
    service.until_drained();
    service.process.stop();
    Delivered { folder, refersion, first }
}

impl Delivered {
    fn copy(&self) -> TempDir {
        let store = folder();
        copy(self.folder.path(), store.path());
        store
    }
}

/// Start-up and memory.
fn at_rest(bench: &mut Bench, delivered: &[Delivered], count: u64) {
    let (mut starts, mut memory): (Vec<Series>, Vec<Series>) = (bench.series(), bench.series());
    for _ in 0..bench.rounds {
        for (number, (build, delivered)) in bench.builds.iter().zip(delivered).enumerate() {
            let service = Service::start(build, &delivered.refersion.base_url, delivered.folder.path(), &[]);
            starts[number].ours.push(service.ready_in.as_secs_f64() * 1e3);
            memory[number].ours.push(service.process.memory().0);
            service.process.stop();
        }
    }
    bench.report.add(PART, Row::new(format!("start to ready with {count} affiliates"), "ms", starts));
    bench.report.add(PART, Row::new(format!("memory at rest with {count} affiliates"), "MB", memory));
}
