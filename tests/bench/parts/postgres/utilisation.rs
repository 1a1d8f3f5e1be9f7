//! Where the time of an append goes: processor time of the server and of its clients, what is left idle, and events in a transaction.
//!
//! The clients are the engines and their callers, all in this process. Idle is what neither of the two uses of all cores, so on a machine
//! that other programs use it is too high.

use super::PART;
use super::engine::{self, append, connect, stores};
use crate::Bench;
use crate::postgres_server::{Server, schema_of};
use crate::process::Clock;
use crate::report::{Row, Series};
use std::time::Duration;

/// PostgreSQL shows the transactions of a session at most so late.
const SHOWN_AFTER: Duration = Duration::from_millis(1_500);

/// The name, the replicas, whether they share an account, and the callers.
const LOADS: [(&str, usize, bool, usize); 5] = [
    ("one replica, 16 callers", 1, true, 16),
    ("one replica, 64 callers", 1, true, 64),
    ("two replicas on an account, 64 callers in all", 2, true, 64),
    ("four replicas on an account, 64 callers in all", 4, true, 64),
    ("two replicas on two accounts, 64 callers in all", 2, false, 64),
];

const FIGURES: [(&str, &str); 4] = [
    ("processor time of the server", "µs an event"),
    ("processor time of its clients", "µs an event"),
    ("idle", "% of all cores"),
    ("in a transaction", "events"),
];

pub async fn run(bench: &mut Bench, server: &Server) {
    let mut rows: [[Series; FIGURES.len()]; LOADS.len()] = Default::default();
    for round in 0..bench.rounds {
        let url = schema_of(&server.url(), &format!("utilisation_{round}"));
        let replicas = stores(&url, 4).await;
        let [first, second] = ["first", "second"].map(engine::account);
        for ((_, number, shared, callers), series) in LOADS.iter().zip(&mut rows) {
            let accounts = if *shared { vec![&first] } else { vec![&first, &second] };
            let before = Used::read(server).await;
            let rate = append(&replicas[..*number], &accounts, *callers, 1, bench.round).await;
            let used = Used::read(server).await.since(&before);
            let events = rate * bench.round.as_secs_f64();
            let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
            let idle = 1.0 - (used.server + used.clients) / (cores * bench.round.as_secs_f64());
            let figures =
                [used.server / events * 1e6, used.clients / events * 1e6, idle * 100.0, events / used.transactions];
            for (series, figure) in series.iter_mut().zip(figures) {
                series.ours.push(figure);
            }
        }
        engine::close(replicas).await;
    }
    for ((load, ..), series) in LOADS.iter().zip(rows) {
        for ((figure, unit), series) in FIGURES.iter().zip(series) {
            bench.report.add(PART, Row::new(format!("append by {load}: {figure}"), unit, vec![series]));
        }
    }
}

/// What was used so far: seconds of processor time, and transactions.
struct Used {
    server: f64,
    clients: f64,
    transactions: f64,
}

impl Used {
    async fn read(server: &Server) -> Self {
        let clients = Clock::of(std::process::id()).seconds();
        let server_time = server.processes().into_iter().map(|process| Clock::of(process).seconds()).sum();
        tokio::time::sleep(SHOWN_AFTER).await;
        let sql = "SELECT xact_commit FROM pg_stat_database WHERE datname = current_database()";
        let transactions: i64 = connect(&server.url()).await.query_one(sql, &[]).await.expect("read").get(0);
        Self { server: server_time, clients, transactions: transactions as f64 }
    }

    fn since(&self, before: &Self) -> Self {
        Self {
            server: self.server - before.server,
            clients: self.clients - before.clients,
            transactions: self.transactions - before.transactions,
        }
    }
}
