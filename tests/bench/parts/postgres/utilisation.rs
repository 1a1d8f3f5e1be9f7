//! Where the time of an append goes: processor time of the server and of its clients, what is left idle, and events in a transaction.
//!
//! The clients are the engines and their callers, all in this process. Idle is what neither of the two uses of all cores, so on a machine
//! that other programs use it is too high.

use super::engine::{self, append, stores};
use crate::Bench;
use crate::postgres_server::{Durability, Server, schema_of};
use crate::process::Clock;
use crate::report::{Row, Series, print_line};
use refersion_destination::store::Maintenance;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

const PART: &str = "postgres_utilisation";

/// The name, and the numbers of replicas, accounts and callers.
const LOADS: [(&str, usize, usize, usize); 5] = [
    ("one replica, 16 callers", 1, 1, 16),
    ("one replica, 64 callers", 1, 1, 64),
    ("two replicas on an account, 64 callers in all", 2, 1, 64),
    ("four replicas on an account, 64 callers in all", 4, 1, 64),
    ("two replicas on two accounts, 64 callers in all", 2, 2, 64),
];

const FIGURES: [(&str, &str); 5] = [
    ("rate", "events/s"),
    ("processor time of the server", "µs an event"),
    ("processor time of its clients", "µs an event"),
    ("idle", "% of all cores"),
    ("in a transaction", "events"),
];

pub fn run(bench: &mut Bench) -> bool {
    let Some(server) = Server::start(Durability::Full) else {
        print_line("  skipped: there are no programs of PostgreSQL here");
        return true;
    };
    let rows = crate::refersion::runtime().block_on(measure(bench, &server));
    for ((load, ..), series) in LOADS.iter().zip(rows) {
        for ((figure, unit), series) in FIGURES.iter().zip(series) {
            bench.report.add(PART, Row::new(format!("append by {load}: {figure}"), unit, vec![series]));
        }
    }
    true
}

async fn measure(bench: &Bench, server: &Server) -> [[Series; FIGURES.len()]; LOADS.len()] {
    let mut rows: [[Series; FIGURES.len()]; LOADS.len()] = Default::default();
    for round in 0..bench.rounds {
        let url = schema_of(&server.url(), &format!("utilisation_{round}"));
        let (replicas, transactions) = (stores(&url, 4).await, Arc::<AtomicU64>::default());
        for replica in &replicas {
            let transactions = Arc::clone(&transactions);
            replica.on_commit(Box::new(move |_| _ = transactions.fetch_add(1, Ordering::Relaxed)));
        }
        let [first, second] = ["first", "second"].map(engine::account);
        let both = [&first, &second];
        for ((_, number, accounts, callers), series) in LOADS.iter().zip(&mut rows) {
            let before = Used::read(server, &transactions);
            let rate = append(&replicas[..*number], &both[..*accounts], *callers, 1, bench.round).await;
            let used = Used::read(server, &transactions).since(&before);
            let events = rate * bench.round.as_secs_f64();
            let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
            let idle = 1.0 - (used.server + used.clients) / (cores * bench.round.as_secs_f64());
            let figures = [
                rate,
                used.server / events * 1e6,
                used.clients / events * 1e6,
                idle * 100.0,
                events / used.transactions,
            ];
            for (series, figure) in series.iter_mut().zip(figures) {
                series.ours.push(figure);
            }
        }
        engine::close(replicas).await;
    }
    rows
}

/// What was used so far: seconds of processor time, and transactions.
struct Used {
    server: f64,
    clients: f64,
    transactions: f64,
}

impl Used {
    fn read(server: &Server, transactions: &AtomicU64) -> Self {
        let server = server.processes().into_iter().map(|process| Clock::of(process).seconds()).sum();
        let transactions = transactions.load(Ordering::Relaxed) as f64;
        Self { server, clients: Clock::of(std::process::id()).seconds(), transactions }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            server: self.server - before.server,
            clients: self.clients - before.clients,
            transactions: self.transactions - before.transactions,
        }
    }
}
