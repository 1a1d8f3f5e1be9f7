//! Latency: how long a request takes at a constant rate of arrival, from when it was to begin to its whole answer.
//!
//! As in `accept`, deliveries are at rest; at 2,000/s it is told once more with a Refersion that answers at once, which the
//! same two cores have to serve as well. Beside it (a) at the same rates.

use super::accept::CONNECTIONS;
use crate::Bench;
use crate::bare::Axum;
use crate::event::{Kind, Proof};
use crate::graph::{Axis, Line, draw};
use crate::load::{Measured, Target, closed, open};
use crate::refersion::Refersion;
use crate::report::{Figure, Reach, Row};
use crate::service::{Service, folder};
use std::net::SocketAddr;
use std::time::Duration;

const PART: &str = "latency";
const RATES: [u32; 5] = [1_000, 2_000, 5_000, 10_000, 20_000];
const SHARES: [(&str, f64); 3] = [("p50", 0.5), ("p99", 0.99), ("p99.9", 0.999)];
/// More than are needed unless the server stalls.
const SPARE: usize = 128;

/// The three percentiles of every round.
#[derive(Default)]
struct Percentiles([Vec<f64>; 3]);

impl Percentiles {
    fn add(&mut self, measured: &Measured) {
        for (list, (_, share)) in self.0.iter_mut().zip(SHARES) {
            list.push(measured.percentile(share));
        }
    }

    fn tell(&self, bench: &mut Bench, what: &str, beside: Option<&Self>, reach: [Option<f64>; 3]) {
        for (place, (name, _)) in SHARES.iter().enumerate() {
            let figure = Figure::of(&self.0[place]);
            let mut text = format!("{name} {what}");
            if let Some(beside) = beside {
                text = format!("{text} (beside it (a): {} ms)", Figure::of(&beside.0[place]));
            }
            let row = Row::new(text, figure, "ms");
            bench.report.add(PART, reach[place].map(Reach::AtMost).into_iter().fold(row, Row::reach));
        }
    }
}

pub fn run(bench: &mut Bench) -> bool {
    let kind = Kind { proof: Proof::Basic, events: 1 };
    let target = |address: SocketAddr| Target { address, kind, status: 202 };
    let (refusing, axum) = (Refersion::refusing(), Axum::start());
    let on_empty = |work: &mut dyn FnMut(SocketAddr)| {
        let folder = folder();
        work(Service::at_rest(&refusing, folder.path()).server);
    };
    let mut drawn = Vec::new();
    for rate in RATES {
        let (mut ours, mut bare) = (Percentiles::default(), Percentiles::default());
        for _ in 0..bench.rounds {
            on_empty(&mut |address| ours.add(&open(target(address), SPARE, rate.into(), bench.round)));
            bare.add(&open(target(axum.address), SPARE, rate.into(), bench.round));
        }
        let reach = if rate == 2_000 { [Some(0.4), Some(1.0), None] } else { [None; 3] };
        ours.tell(bench, &format!("at {rate}/s"), Some(&bare), reach);
        drawn.push((f64::from(rate), ours, bare));
    }
    let (mut delivering, mut half) = (Percentiles::default(), Percentiles::default());
    for _ in 0..bench.rounds {
        let (folder, refersion) = (folder(), Refersion::start(Duration::ZERO));
        let service = Service::start(&refersion.base_url, folder.path(), &[]);
        delivering.add(&open(target(service.server), SPARE, 2e3, bench.round));
        on_empty(&mut |address| {
            let most = closed(target(address), CONNECTIONS, bench.round).events_per_second();
            half.add(&open(target(address), SPARE, most / 2.0, bench.round));
        });
    }
    delivering.tell(bench, "at 2000/s, delivered meanwhile", None, [None; 3]);
    half.tell(bench, "at half the most that is taken", None, [None, Some(2.0), None]);
    bench.graphs.push(("latency.svg", graph(&drawn)));
    true
}

fn graph(drawn: &[(f64, Percentiles, Percentiles)]) -> String {
    let line = |name: &str, colour, place: usize, of: fn(&(f64, Percentiles, Percentiles)) -> &Percentiles| {
        let points = drawn.iter().map(|one| (one.0, Figure::of(&of(one).0[place]).median)).collect();
        Line { name: format!("{} {name}", SHARES[place].0), colour, dashed: place == 0, points }
    };
    let lines: Vec<Line> = (0..2)
        .flat_map(|place| {
            [line("durable, this service", 0, place, |one| &one.1), line("bare axum (a)", 1, place, |one| &one.2)]
        })
        .collect();
    let rate = |rate: u32| (f64::from(rate), format!("{}k", rate / 1000));
    let x = Axis { title: "requests per second, constant arrival", marks: RATES.map(rate).into(), logarithmic: true };
    let all = || lines.iter().flat_map(|line| &line.points).map(|point| point.1);
    let (least, most) = (all().fold(1.0, f64::min), all().fold(1.0, f64::max));
    let powers = least.log10().floor() as i32..=most.log10().ceil() as i32;
    let marks = powers.map(|power| (10_f64.powi(power), 10_f64.powi(power).to_string())).collect();
    let y = Axis { title: "latency, ms", marks, logarithmic: true };
    draw("Latency against load", &x, &y, &lines)
}
