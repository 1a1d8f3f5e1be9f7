//! Accepting by HTTP with one, two and three processes of the service on one database.
//!
//! As in [`super::accept`], deliveries are at rest and each event is new. The load generator spreads its connections evenly, as a load
//! balancer would. All of it shares the machine, so that more processes gain only where one of them would wait.

use super::PART;
use crate::Bench;
use crate::load::{Target, closed_on};
use crate::parts::accept::CONNECTIONS;
use crate::postgres_server::{Server, schema_of};
use crate::refersion::Refersion;
use crate::report::{Row, Series};
use crate::requests::Kind;
use crate::service::Service;

const NAMES: [&str; 3] = ["one process", "two processes", "three processes"];

pub fn run(bench: &mut Bench, server: &Server) {
    let refusing = Refersion::refusing();
    let mut rates: [Series; NAMES.len()] = Default::default();
    for round in 0..bench.rounds {
        let mut by_one = None;
        for (others, series) in rates.iter_mut().enumerate() {
            let url = schema_of(&server.url(), &format!("replicas_{round}_{others}"));
            let rate = accepted(bench, &refusing, &url, others);
            series.push(rate, *by_one.get_or_insert(rate));
        }
    }
    for (name, series) in NAMES.iter().zip(rates) {
        let row = Row::new(format!("accept by HTTP, single events, {name}"), "events/s", vec![series]);
        bench.report.add(PART, row.ratio_to("by one process"));
    }
}

/// How many events a second one process and so many others accept.
fn accepted(bench: &Bench, refusing: &Refersion, url: &str, others: usize) -> f64 {
    let mut services = vec![Service::at_rest_on(&bench.builds[0], refusing, url)];
    services.extend((0..others).map(|_| Service::beside_one_at_rest(&bench.builds[0], refusing, url)));
    let targets: Vec<Target> = services.iter().map(|service| service.target(Kind::new(1))).collect();
    closed_on(&targets, CONNECTIONS, bench.round).events_per_second()
}
