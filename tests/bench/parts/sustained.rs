//! Sustained: single events of new users, one call each, from the first request to the last settlement; and the processor
//! time that all of it costs, beside what (a) costs to parse.

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::bare::Axum;
use crate::event::{Kind, Proof};
use crate::load::{Target, WARM_UP, closed};
use crate::refersion::Refersion;
use crate::report::{Figure, Reach, Row};
use crate::service::{Service, folder};
use std::time::{Duration, Instant};

const PART: &str = "sustained";

pub fn run(bench: &mut Bench) -> bool {
    let axum = Axum::start();
    let (mut ours, mut bare, mut our_cpu, mut bare_cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    let kind = Kind { proof: Proof::Basic, events: 1 };
    let target = |address| Target { address, kind, status: 202 };
    for _ in 0..bench.rounds.min(3) {
        let (folder, refersion) = (folder(), Refersion::start(Duration::ZERO));
        let service = Service::start(&refersion.base_url, folder.path(), &[]);
        let (begun, before) = (Instant::now(), service.process.cpu());
        closed(target(service.server), CONNECTIONS, bench.round);
        service.until_drained();
        // The warm-up's events count: they were delivered as well.
        let events = refersion.sandbox.affiliates().len() as f64;
        ours.push(events / begun.elapsed().as_secs_f64());
        our_cpu.push((service.process.cpu() - before) * 1e6 / events);

        let before = axum.process.cpu();
        let measured = closed(target(axum.address), CONNECTIONS, bench.round);
        bare.push(measured.events_per_second());
        // As if the warm-up had been as fast.
        let requests = measured.events_per_second() * (bench.round + WARM_UP).as_secs_f64();
        bare_cpu.push((axum.process.cpu() - before) * 1e6 / requests);
    }
    let row = Row::new("from request to settled, one call each", Figure::of(&ours), "events/s");
    let row = row.against(Figure::ratio(&ours, &bare), "(a)").reach(Reach::AtLeast(0.2));
    bench.report.add(PART, row);
    bench.report.add(PART, Row::new("(a) bare axum", Figure::of(&bare), "requests/s"));
    let row = Row::new("processor time", Figure::of(&our_cpu), "µs an event");
    let row = row.against(Figure::ratio(&our_cpu, &bare_cpu), "(a)'s a request").reach(Reach::AtMost(5.0));
    bench.report.add(PART, row);
    bench.report.add(PART, Row::new("(a) processor time", Figure::of(&bare_cpu), "µs a request"));
    true
}
