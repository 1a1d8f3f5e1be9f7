//! What replicas add, by the number of their callers, and where the time of an append goes: processor time of the server and of its
//! clients, what is left idle, and events in a transaction.
//!
//! With few callers a replica waits for the server most of the time; with many it leaves little of this machine idle. The clients are the
//! engines and their callers, all in this process. Idle is what neither of the two uses of all cores, so on a machine that other programs
//! use it is too high.

use super::engine::{self, append, stores};
use crate::Bench;
use crate::postgres_server::{Durability, Server, schema_of};
use crate::process::Clock;
use crate::report::{Goal, Row, Series, print_line};
use refersion_destination::store::{Maintenance, PostgresStore};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

const PART: &str = "postgres_utilisation";

/// Callers of each replica.
const CALLERS: [usize; 4] = [1, 4, 16, 64];

/// The numbers of replicas and accounts, and the goal: the least ratio of the rate to that of one replica with as many callers.
const REPLICAS: [(&str, usize, usize, Option<f64>); 4] = [
    ("one replica", 1, 1, None),
    ("two replicas on an account", 2, 1, Some(0.7)),
    ("four replicas on an account", 4, 1, Some(0.7)),
    ("two replicas on an account each", 2, 2, Some(1.4)),
];

/// The number of loads; of each number of callers, one replica comes first.
const LOADS: usize = CALLERS.len() * REPLICAS.len();

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
    let loads = CALLERS.iter().flat_map(|callers| REPLICAS.map(|replicas| (callers, replicas)));
    for ((callers, (replicas, .., goal)), series) in loads.zip(rows) {
        for ((figure, unit), series) in FIGURES.iter().zip(series) {
            let compares = !series.baseline.is_empty() && goal.is_some();
            let row =
                Row::new(format!("append by {replicas}, callers of each: {callers}; {figure}"), unit, vec![series]);
            let row = if compares { row.ratio_to("one replica").goal(goal.map(Goal::AtLeast)) } else { row };
            bench.report.add(PART, row);
        }
    }
    true
}

async fn measure(bench: &Bench, server: &Server) -> [[Series; FIGURES.len()]; LOADS] {
    let mut rows: [[Series; FIGURES.len()]; LOADS] = Default::default();
    for round in 0..bench.rounds {
        let url = schema_of(&server.url(), &format!("utilisation_{round}"));
        let (replicas, transactions) = (stores(&url, 4).await, Arc::<AtomicU64>::default());
        for replica in &replicas {
            let transactions = Arc::clone(&transactions);
            replica.on_commit(Box::new(move |_| _ = transactions.fetch_add(1, Ordering::Relaxed)));
        }
        for (callers, rows) in CALLERS.iter().zip(rows.chunks_mut(REPLICAS.len())) {
            let mut by_one = None;
            for ((_, number, accounts, _), series) in REPLICAS.iter().zip(rows) {
                let before = Used::read(server, &transactions);
                let rate = append_to(&replicas[..*number], *accounts, number * callers, bench.round).await;
                let used = Used::read(server, &transactions).since(&before);
                for (series, figure) in series.iter_mut().zip(figures(rate, &used, bench.round)) {
                    series.ours.push(figure);
                }
                series[0].baseline.push(*by_one.get_or_insert(rate));
            }
        }
        engine::close(replicas).await;
    }
    rows
}

/// Appends by these replicas to so many accounts. Events a second.
async fn append_to(replicas: &[Arc<PostgresStore>], accounts: usize, callers: usize, time: Duration) -> f64 {
    let [first, second] = ["first", "second"].map(engine::account);
    append(replicas, &[&first, &second][..accounts], callers, 1, time).await
}

fn figures(rate: f64, used: &Used, time: Duration) -> [f64; FIGURES.len()] {
    let events = rate * time.as_secs_f64();
    let cores = std::thread::available_parallelism().map_or(1, usize::from) as f64;
    let idle = 1.0 - (used.server + used.clients) / (cores * time.as_secs_f64());
    [rate, used.server / events * 1e6, used.clients / events * 1e6, idle * 100.0, events / used.transactions]
}

/// What was used so far: seconds of processor time, and transactions.
struct Used {
    server: f64,
    clients: f64,
    transactions: f64,
}

impl Used {
    fn read(server: &Server, transactions: &AtomicU64) -> Self {
        // PostgreSQL's own vacuum is a process that ends.
        let server = server.processes().into_iter().map(|process| Clock::of(process).seconds_with_ended()).sum();
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
