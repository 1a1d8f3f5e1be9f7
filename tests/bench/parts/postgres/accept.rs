//! Accepting by HTTP with the store in PostgreSQL: the processor time of the service alone, beside that of (a).
//!
//! As in the part `accept`, deliveries are at rest, each event is new, and every measurement has an empty store.

use super::PART;
use crate::Bench;
use crate::bare::Axum;
use crate::load::closed;
use crate::parts::accept::CONNECTIONS;
use crate::postgres_server::{Server, schema_of};
use crate::refersion::Refersion;
use crate::report::{Goal, Row, Series};
use crate::requests::Kind;
use crate::service::Service;

pub fn run(bench: &mut Bench, server: &Server) {
    let (refusing, axum) = (Refersion::refusing(), Axum::start());
    let (mut rate, mut time) = (Series::default(), Series::default());
    for round in 0..bench.rounds {
        let url = schema_of(&server.url(), &format!("accept_{round}"));
        let service = Service::at_rest_on(&bench.builds[0], &refusing, &url);
        let ours = closed(service.target(Kind::new(1)), CONNECTIONS, bench.round);
        let bare = axum.singles(bench.round);
        rate.push(ours.events_per_second(), bare.events_per_second());
        time.push(ours.server_time(), bare.server_time());
    }
    let row = Row::new("accept by HTTP, single events", "events/s", vec![rate]);
    bench.report.add(PART, row.ratio_to("(a)"));
    let row = Row::new("the same: processor time of the service alone", "µs an event", vec![time]);
    bench.report.add(PART, row.ratio_to("(a)'s a request").goal(Goal::AtMost(1.7)));
}
