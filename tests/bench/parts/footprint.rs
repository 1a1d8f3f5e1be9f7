//! Footprint: memory at rest and at saturation, the size of the binary, and how soon it is ready. With a million events
//! waiting, `growth` measures the same.

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::load::closed;
use crate::refersion::Refersion;
use crate::report::{Goal, Row};
use crate::requests::Kind;
use crate::service::{Service, folder};
use std::time::Duration;

const PART: &str = "footprint";

pub fn run(bench: &mut Bench) -> bool {
    let refersion = Refersion::start(Duration::ZERO);
    let [mut idle, mut starts, mut busy, mut arrays, mut size] = [(); 5].map(|()| bench.series());
    for (number, build) in bench.builds.iter().enumerate() {
        size[number].ours.push(std::fs::metadata(&build.program).expect("the binary").len() as f64 / 1e6);
    }
    for _ in 0..bench.rounds {
        for (number, build) in bench.builds.iter().enumerate() {
            for (events, connections, peaks) in [(1, CONNECTIONS, &mut busy), (1000, 6, &mut arrays)] {
                let folder = folder();
                let service = Service::start(build, &refersion.base_url, folder.path(), &[]);
                starts[number].ours.push(service.ready_in.as_secs_f64() * 1e3);
                idle[number].ours.push(service.process.memory().0);
                closed(service.target(Kind::new(events)), connections, bench.round);
                peaks[number].ours.push(service.process.memory().1);
            }
        }
    }
    for (what, unit, series, most) in [
        ("start to ready, empty", "ms", starts, Some(20.0)),
        ("memory at rest, empty", "MB", idle, Some(15.0)),
        ("peak memory, saturated with single events, delivered meanwhile", "MB", busy, Some(40.0)),
        ("peak memory, saturated with arrays of 1,000, delivered meanwhile", "MB", arrays, None),
        ("binary", "MB", size, Some(12.0)),
    ] {
        bench.report.add(PART, Row::new(what, unit, series).goal(most.map(Goal::AtMost)));
    }
    true
}
