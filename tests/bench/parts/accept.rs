//! Accept: how many requests a second are answered 202 with their events committed and synced, each event new.
//!
//! Deliveries are at rest meanwhile (Refersion refuses the key, so the account is halted): they would take processor time
//! from what is measured; `sustained` measures both at once. Every round begins with an empty store.
//! Beside it (a), sent the very same requests, and (b), the same bytes appended to a file with a sync for every 64 events.

use crate::Bench;
use crate::bare::{self, Axum};
use crate::event::{Kind, Proof};
use crate::load::{Target, closed};
use crate::refersion::Refersion;
use crate::report::{Figure, Reach, Row};
use crate::service::{Service, folder};
use std::net::SocketAddr;

const PART: &str = "accept";
/// How many connections send at once; half a dozen for the largest arrays.
pub const CONNECTIONS: usize = 64;

const CASES: [(&str, Proof, u64, usize); 5] = [
    ("single events, Basic", Proof::Basic, 1, CONNECTIONS),
    ("single events, signed", Proof::Signed, 1, CONNECTIONS),
    ("arrays of 100, Basic", Proof::Basic, 100, 16),
    ("arrays of 1,000, Basic", Proof::Basic, 1000, 6),
    ("arrays of 1,000, signed", Proof::Signed, 1000, 6),
];

#[derive(Default)]
struct Measured {
    ours: Vec<f64>,
    axum: Vec<f64>,
}

pub fn run(bench: &mut Bench) -> bool {
    let (refusing, axum) = (Refersion::refusing(), Axum::start());
    let mut measured: Vec<Measured> = CASES.iter().map(|_| Measured::default()).collect();
    let mut appended = Vec::new();
    for _ in 0..bench.rounds {
        for ((_, proof, events, connections), measured) in CASES.iter().zip(&mut measured) {
            let kind = Kind { proof: *proof, events: *events };
            let rate = |address: SocketAddr| {
                closed(Target { address, kind, status: 202 }, *connections, bench.round).events_per_second()
            };
            let folder = folder();
            let service = Service::at_rest(&refusing, folder.path());
            measured.ours.push(rate(service.server));
            measured.axum.push(rate(axum.address));
        }
        appended.push(bare::append(bench.round));
    }
    let single_of_axum = measured[0].axum.clone();
    for ((name, _, events, _), measured) in CASES.iter().zip(&measured) {
        let row = Row::new(*name, Figure::of(&measured.ours), "events/s");
        let row = row.against(Figure::ratio(&measured.ours, &single_of_axum), "(a), single events");
        let least = if *events == 1 { Some(0.65) } else { Some(1.5).filter(|_| *events == 1000) };
        let row = least.map(Reach::AtLeast).into_iter().fold(row, Row::reach);
        bench.report.add(PART, row);
        bench.report.add(PART, Row::new(format!("(a) bare axum, {name}"), Figure::of(&measured.axum), "events/s"));
    }
    let row = Row::new("(b) append and sync every 64", Figure::of(&appended), "events/s");
    bench.report.add(PART, row.against(Figure::ratio(&appended, &single_of_axum), "(a), single events"));
    true
}
