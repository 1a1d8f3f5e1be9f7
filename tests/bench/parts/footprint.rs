//! Footprint: memory at rest and at saturation, the size of the binary, and how soon it is ready. With a million events
//! waiting, `growth` measures the same.

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::event::{Kind, Proof};
use crate::load::{Target, closed};
use crate::refersion::Refersion;
use crate::report::{Figure, Reach, Row};
use crate::service::{BINARY, Service, folder};
use std::time::Duration;

const PART: &str = "footprint";

pub fn run(bench: &mut Bench) -> bool {
    let refersion = Refersion::start(Duration::ZERO);
    let (mut idle, mut starts, mut busy, mut arrays) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for _ in 0..bench.rounds {
        for (events, connections, peaks) in [(1, CONNECTIONS, &mut busy), (1000, 6, &mut arrays)] {
            let folder = folder();
            let service = Service::start(&refersion.base_url, folder.path(), &[]);
            starts.push(service.ready_in.as_secs_f64() * 1e3);
            idle.push(service.process.memory().0);
            let kind = Kind { proof: Proof::Basic, events };
            closed(Target { address: service.server, kind, status: 202 }, connections, bench.round);
            peaks.push(service.process.memory().1);
        }
    }
    let size = std::fs::metadata(BINARY).expect("the binary").len() as f64 / 1e6;
    for (what, figure, unit, most) in [
        ("start to ready, empty", Figure::of(&starts), "ms", Some(20.0)),
        ("memory at rest", Figure::of(&idle), "MB", Some(15.0)),
        ("peak memory, saturated with single events, delivered meanwhile", Figure::of(&busy), "MB", Some(40.0)),
        ("peak memory, saturated with arrays of 1,000, delivered meanwhile", Figure::of(&arrays), "MB", None),
        ("binary", Figure::of(&[size]), "MB", Some(12.0)),
    ] {
        let row = Row::new(what, figure, unit);
        bench.report.add(PART, most.map(Reach::AtMost).into_iter().fold(row, Row::reach));
    }
    true
}
