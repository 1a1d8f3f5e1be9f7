//! Latency: how long a request takes at a constant rate of arrival, from when it was to begin to its whole answer, and the
//! service's processor time for it.
//!
//! As in `accept`, deliveries are at rest; at 2,000/s it is measured once more with a Refersion that answers at once, which
//! the same two cores have to serve as well. Beside it (a) at the same rates.

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::bare::Axum;
use crate::graph::{Axis, Line, draw};
use crate::load::{Measured, closed, open};
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series};
use crate::requests::Kind;
use crate::service::{Service, folder};
use std::time::Duration;

const PART: &str = "latency";
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// More than are needed unless the server stalls.
const SPARE: usize = 128;

/// Requests a second, and the most that each percentile may be, in milliseconds.
const RATES: [(u32, [Option<f64>; 3]); 5] = [
    (1_000, [Some(0.4), Some(1.0), Some(3.0)]),
    (2_000, [None; 3]),
    (5_000, [None; 3]),
    (10_000, [None, Some(2.0), None]),
    (20_000, [None; 3]),
];

/// What is measured at one rate, a series for each build.
struct Latencies {
    percentiles: [Vec<Series>; 3],
    time: Vec<Series>,
}

pub fn run(bench: &mut Bench) -> bool {
    let (refusing, axum) = (Refersion::refusing(), Axum::start());
    let mut drawn = Vec::new();
    for (rate, most) in RATES {
        let mut latencies = Latencies::new(bench);
        for _ in 0..bench.rounds {
            let ours: Vec<Measured> = (0..bench.builds.len())
                .map(|build| at_rest(bench, &refusing, build, |service| constant(bench, service, rate.into())))
                .collect();
            let baseline = open(axum.target(Kind::new(1)), SPARE, rate.into(), bench.round);
            ours.iter().enumerate().for_each(|(build, ours)| latencies.add(build, ours, Some(&baseline)));
        }
        drawn.push((f64::from(rate), latencies.percentiles.each_ref().map(|series| series[0].medians())));
        latencies.report(bench, &format!("at {rate}/s"), most, true);
    }
    under_other_loads(bench, &refusing);
    bench.graphs.push(("latency.svg", graph(&drawn)));
    true
}

/// With deliveries meanwhile; and at half the most that is accepted.
fn under_other_loads(bench: &mut Bench, refusing: &Refersion) {
    let (mut delivering, mut half) = (Latencies::new(bench), Latencies::new(bench));
    for _ in 0..bench.rounds {
        for (number, build) in bench.builds.iter().enumerate() {
            let (folder, refersion) = (folder(), Refersion::start(Duration::ZERO));
            let service = Service::start(build, &refersion.base_url, folder.path(), &[]);
            delivering.add(number, &constant(bench, &service, 2e3), None);
            let measured = at_rest(bench, refusing, number, |service| {
                let most = closed(service.target(Kind::new(1)), CONNECTIONS, bench.round).events_per_second();
                constant(bench, service, most / 2.0)
            });
            half.add(number, &measured, None);
        }
    }
    delivering.report(bench, "at 2000/s, delivered meanwhile", [None; 3], false);
    half.report(bench, "at half the most that is accepted", [None, Some(3.0), None], false);
}

/// Measures a service on an empty store with its deliveries at rest.
fn at_rest(bench: &Bench, refusing: &Refersion, build: usize, measure: impl Fn(&Service) -> Measured) -> Measured {
    let folder = folder();
    measure(&Service::at_rest(&bench.builds[build], refusing, folder.path()))
}

fn constant(bench: &Bench, service: &Service, rate: f64) -> Measured {
    open(service.target(Kind::new(1)), SPARE, rate, bench.round)
}

impl Latencies {
    fn new(bench: &Bench) -> Self {
        Self { percentiles: SHARES.map(|_| bench.series()), time: bench.series() }
    }

    fn add(&mut self, build: usize, ours: &Measured, baseline: Option<&Measured>) {
        let add = |series: &mut Series, of: &dyn Fn(&Measured) -> f64| {
            series.ours.push(of(ours));
            series.baseline.extend(baseline.map(of));
        };
        for (series, (_, share)) in self.percentiles.iter_mut().zip(SHARES) {
            add(&mut series[build], &|measured| measured.percentile(share));
        }
        add(&mut self.time[build], &Measured::server_time);
    }

    fn report(self, bench: &mut Bench, what: &str, most: [Option<f64>; 3], baseline: bool) {
        for ((series, (name, _)), most) in self.percentiles.into_iter().zip(SHARES).zip(most) {
            let row = Row::new(format!("{name} {what}"), "ms", series).goal(most.map(Goal::AtMost));
            bench.report.add(PART, if baseline { row.with_baseline("(a)") } else { row });
        }
        let row = Row::new(format!("processor time {what}"), "µs an event", self.time);
        bench.report.add(PART, if baseline { row.ratio_to("(a)'s a request") } else { row });
    }
}

/// Of each rate, the percentiles of this tree's build and of (a).
fn graph(drawn: &[(f64, [[f64; 2]; 3])]) -> String {
    let line = |name: &str, who: usize, place: usize| {
        let points = drawn.iter().map(|(rate, percentiles)| (*rate, percentiles[place][who])).collect();
        Line { name: format!("{} {name}", SHARES[place].0), colour: who, dashed: place == 0, points }
    };
    let lines: Vec<Line> =
        (0..2).flat_map(|place| [line("durable, this service", 0, place), line("bare axum (a)", 1, place)]).collect();
    let rate = |(rate, _): (u32, _)| (f64::from(rate), format!("{}k", rate / 1000));
    let x = Axis { title: "requests per second, constant arrival", marks: RATES.map(rate).into(), logarithmic: true };
    let all = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (least, most) = (all().fold(1.0, f64::min), all().fold(1.0, f64::max));
    let powers = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let marks = powers.map(|power| (10_f64.powi(power), 10_f64.powi(power).to_string())).collect();
    let y = Axis { title: "latency, ms", marks, logarithmic: true };
    draw("Latency against load", &x, &y, &lines)
}
