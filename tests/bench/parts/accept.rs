//! Accept: how many events a second are answered 202 after they were committed and synced, each event new, and the
//! processor time the service spends on each.
//!
//! Deliveries are at rest meanwhile (Refersion rejects the key, so the account is halted): they would take processor time
//! from what is measured; `sustained` measures both at once. Every measurement begins with an empty store. Beside each, in
//! the same round, (a) with single events; and once a round (b), the same bytes appended to a file with a sync for every 64.

use crate::Bench;
use crate::bare::{self, Axum};
use crate::load::{Measured, closed};
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series};
use crate::requests::{Credentials, Kind};
use crate::service::{Service, folder};

const PART: &str = "accept";
/// How many connections send at once; half a dozen for the largest arrays.
pub const CONNECTIONS: usize = 64;

struct Case {
    name: &'static str,
    credentials: Credentials,
    events: u64,
    connections: usize,
    /// Of the processor time of an event ÷ that of (a) for a request.
    most: Option<f64>,
}

const CASES: [Case; 5] = [
    Case::new("single events, Basic", Credentials::Basic, 1, CONNECTIONS, Some(1.6)),
    Case::new("single events, signed", Credentials::Signed, 1, CONNECTIONS, None),
    Case::new("arrays of 100, Basic", Credentials::Basic, 100, 16, None),
    Case::new("arrays of 1,000, Basic", Credentials::Basic, 1000, 6, Some(0.75)),
    Case::new("arrays of 1,000, signed", Credentials::Signed, 1000, 6, None),
];

impl Case {
    const fn new(
        name: &'static str,
        credentials: Credentials,
        events: u64,
        connections: usize,
        most: Option<f64>,
    ) -> Self {
        Self { name, credentials, events, connections, most }
    }
}

/// What is measured of a case, a series for each build.
struct Measurements {
    rate: Vec<Series>,
    time: Vec<Series>,
    rise: Vec<Series>,
}

pub fn run(bench: &mut Bench) -> bool {
    let (refusing, axum) = (Refersion::refusing(), Axum::start());
    let mut cases: Vec<Measurements> = CASES.iter().map(|_| Measurements::new(bench)).collect();
    let (mut appended, mut generator) = (Series::default(), Series::default());
    for _ in 0..bench.rounds {
        for (case, series) in CASES.iter().zip(&mut cases) {
            let ours: Vec<Measured> =
                (0..bench.builds.len()).map(|build| measure(bench, &refusing, case, build)).collect();
            let baseline = axum.singles(bench.round);
            series.add(&ours, &baseline);
            generator.push(baseline.generator_time(), baseline.server_time());
        }
        appended.push(bare::append(bench.round), cases[0].rate[0].baseline[cases[0].rate[0].baseline.len() - 1]);
    }
    for (case, series) in CASES.iter().zip(cases) {
        series.report(bench, case);
    }
    let row = Row::new("(b) append and sync every 64", "events/s", vec![appended]);
    bench.report.add(PART, row.ratio_to("(a), single events"));
    let row = Row::new("the load generator's own processor time, of (a)'s load", "µs a request", vec![generator]);
    bench.report.add(PART, row.ratio_to("(a)"));
    true
}

/// One round of a case: arrays run twice as long, for whether their cost rises.
fn measure(bench: &Bench, refusing: &Refersion, case: &Case, build: usize) -> Measured {
    let folder = folder();
    let service = Service::at_rest(&bench.builds[build], refusing, folder.path());
    let kind = Kind { credentials: case.credentials, ..Kind::new(case.events) };
    let length = if case.events == 1 { bench.round } else { bench.round * 2 };
    closed(service.target(kind), case.connections, length)
}

impl Measurements {
    fn new(bench: &Bench) -> Self {
        Self { rate: bench.series(), time: bench.series(), rise: bench.series() }
    }

    fn add(&mut self, ours: &[Measured], baseline: &Measured) {
        for (build, ours) in ours.iter().enumerate() {
            self.rate[build].push(ours.events_per_second(), baseline.events_per_second());
            self.time[build].push(ours.server_time(), baseline.server_time());
            self.rise[build].ours.push(ours.rise());
        }
    }

    fn report(self, bench: &mut Bench, case: &Case) {
        let row = Row::new(case.name, "events/s", self.rate).ratio_to("(a), single events");
        bench.report.add(PART, row);
        let row = Row::new(format!("processor time, {}", case.name), "µs an event", self.time);
        bench.report.add(PART, row.ratio_to("(a)'s a request").goal(case.most.map(Goal::AtMost)));
        if case.events == 1000 {
            let what = format!("processor time, {}, last third ÷ first third of a run", case.name);
            bench.report.add(PART, Row::new(what, "", self.rise).goal(Goal::AtMost(1.1)));
        }
    }
}
