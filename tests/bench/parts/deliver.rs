//! Deliver: events a second from recorded to settled, against a Refersion that answers at once, after 20 ms, after 100 ms.
//!
//! The events wait in the store before the service starts; time runs from its start to the last settlement. New users cost a
//! call each (`new`); of known users one field has changed, and their edits go out together. Beside it a bare reqwest loop
//! makes as many calls of `new`, with the same concurrency, from this process.

use crate::Bench;
use crate::bare;
use crate::event::fresh;
use crate::refersion::Refersion;
use crate::report::{Figure, Reach, Row};
use crate::service::{Service, fill, folder};
use std::path::Path;
use std::time::{Duration, Instant};

const PART: &str = "deliver";

struct Case {
    latency: u64,
    concurrency: usize,
    events: u64,
    /// Of the ratio to the bare loop.
    reach: Option<f64>,
}

const CASES: [Case; 3] = [
    Case { latency: 0, concurrency: 16, events: 10_000, reach: Some(0.6) },
    Case { latency: 20, concurrency: 16, events: 3_000, reach: None },
    Case { latency: 100, concurrency: 64, events: 15_000, reach: None },
];

pub fn run(bench: &mut Bench) -> bool {
    for case in CASES {
        let events = bench.scaled(case.events);
        let refusing = Refersion::refusing();
        let (mut new, mut known, mut bare, mut cpu) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
        for _ in 0..bench.rounds.min(3) {
            let refersion = Refersion::start(Duration::from_millis(case.latency));
            let (folder, users) = (folder(), fresh(events));
            fill(&refusing, folder.path(), users, events, 0);
            let (rate, spent) = drain(&refersion, folder.path(), case.concurrency, events);
            new.push(rate);
            cpu.push(spent);
            bare.push(bare::calls(&refersion, events, case.concurrency));
            fill(&refusing, folder.path(), users, events, 1);
            known.push(drain(&refersion, folder.path(), case.concurrency, events).0);
        }
        let of = |name: &str| format!("{name}, Refersion at {} ms, {} at once", case.latency, case.concurrency);
        let row = Row::new(of("new users"), Figure::of(&new), "events/s");
        let row = row.against(Figure::ratio(&new, &bare), "bare reqwest");
        bench.report.add(PART, case.reach.map(Reach::AtLeast).into_iter().fold(row, Row::reach));
        if case.latency == 100 {
            let ceiling = case.concurrency as f64 / 0.1;
            let row = Row::new(of("new users"), Figure::of(&new), "events/s");
            let row = row.against(Figure::ratio(&new, &vec![ceiling; new.len()]), "the ceiling of 640/s");
            bench.report.add(PART, row.reach(Reach::AtLeast(0.95)));
        }
        let row = Row::new(of("known users, one change each"), Figure::of(&known), "events/s");
        bench.report.add(PART, row.against(Figure::ratio(&known, &bare), "bare reqwest"));
        bench.report.add(PART, Row::new(of("bare reqwest"), Figure::of(&bare), "calls/s"));
        bench.report.add(PART, Row::new(of("processor time, new users"), Figure::of(&cpu), "µs an event"));
    }
    true
}

/// Starts the service on what waits, and waits until nothing does: events per second, and µs of processor time for each.
fn drain(refersion: &Refersion, folder: &Path, concurrency: usize, events: u64) -> (f64, f64) {
    let begun = Instant::now();
    let concurrency = concurrency.to_string();
    let service = Service::start(&refersion.base_url, folder, &[("REFERSION_CONCURRENCY", &concurrency)]);
    service.until_drained();
    let (rate, cpu) = (events as f64 / begun.elapsed().as_secs_f64(), service.process.cpu());
    service.process.stop();
    (rate, cpu * 1e6 / events as f64)
}
