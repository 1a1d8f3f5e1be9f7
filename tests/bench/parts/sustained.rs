//! Sustained: single events of new users, one call each, from the first request to the last settlement; and the processor
//! time that all of it costs, beside what a request costs (a).

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::bare::Axum;
use crate::builds::Build;
use crate::load::closed;
use crate::refersion::Refersion;
use crate::report::{Goal, Row};
use crate::requests::Kind;
use crate::service::{Service, folder};
use std::time::{Duration, Instant};

const PART: &str = "sustained";

pub fn run(bench: &mut Bench) -> bool {
    let axum = Axum::start();
    let (mut rate, mut time) = (bench.series(), bench.series());
    for _ in 0..bench.rounds.min(3) {
        let ours: Vec<(f64, f64)> = bench.builds.iter().map(|build| measure(bench, build)).collect();
        let baseline = axum.singles(bench.round);
        for (build, ours) in ours.into_iter().enumerate() {
            rate[build].push(ours.0, baseline.events_per_second());
            time[build].push(ours.1, baseline.server_time());
        }
    }
    let row = Row::new("from request to settled, one call each", "events/s", rate).ratio_to("(a)");
    bench.report.add(PART, row.goal(Goal::AtLeast(0.2)));
    let row = Row::new("processor time, from request to settled", "µs an event", time).ratio_to("(a)'s a request");
    bench.report.add(PART, row.goal(Goal::AtMost(3.5)));
    true
}

/// Events settled a second, and µs of processor time for each.
fn measure(bench: &Bench, build: &Build) -> (f64, f64) {
    let (folder, refersion) = (folder(), Refersion::start(Duration::ZERO));
    let service = Service::start(build, &refersion.base_url, folder.path(), &[]);
    let (begun, before) = (Instant::now(), service.process.clock().seconds());
    closed(service.target(Kind::new(1)), CONNECTIONS, bench.round);
    service.until_drained();
    // Those of the warm-up count: they were delivered as well.
    let events = refersion.sandbox.affiliates().len() as f64;
    let time = service.process.clock().seconds() - before;
    (events / begun.elapsed().as_secs_f64(), time * 1e6 / events)
}
