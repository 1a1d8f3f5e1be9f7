//! PostgreSQL: appending and settling by the engine for several processes, compared with bare statements on the same server.
//!
//! A server of its own is started for the part, in the folder for temporary files (`TMPDIR`), and syncs as in production. *S* is one
//! connection that inserts single rows, each in a transaction of its own; *C* is a bare `COPY` in groups of 500. Each round measures
//! everything in turn. A replica is a store of its own. Without PostgreSQL's programs the part is skipped.

mod accept;
mod bare;
mod engine;
mod pinned;
mod replicas;
pub mod space;
pub mod utilisation;

use crate::Bench;
use crate::postgres_server::{Durability, Server, schema_of};
use crate::report::{Goal, Row, Series, print_line};
use engine::{append, fill, settle, stores};
use std::time::Duration;

const PART: &str = "postgres";

/// So many events are pending where many are.
const MANY: u64 = 1_000_000;

/// One measured row: its name, what it is compared with, and the least ratio to that.
struct Measured {
    what: String,
    beside: &'static str,
    goal: f64,
    series: Series,
}

impl Measured {
    fn new(what: impl Into<String>, beside: &'static str, goal: f64) -> Self {
        Self { what: what.into(), beside, goal, series: Series::default() }
    }
}

fn report(bench: &mut Bench, rows: impl IntoIterator<Item = Measured>) {
    for Measured { what, beside, goal, series } in rows {
        let row = Row::new(what, "events/s", vec![series]).ratio_to(beside);
        bench.report.add(PART, row.goal(Goal::AtLeast(goal)));
    }
}

pub fn run(bench: &mut Bench) -> bool {
    let Some(server) = Server::start(Durability::Full) else {
        print_line("  skipped: there are no programs of PostgreSQL here");
        return true;
    };
    let runtime = crate::refersion::runtime();
    let mut rows = [
        Measured::new("append, one at a time", "S", 0.3),
        Measured::new("append, 16 callers", "S", 3.5),
        Measured::new("append, 64 callers", "S", 5.0),
        Measured::new("append, calls of 500", "C", 0.2),
        Measured::new("append to one account by two replicas, 64 callers in all", "by one", 0.7),
        Measured::new("append to one account by four replicas, 64 callers in all", "by one", 0.7),
        Measured::new("append to two accounts by two replicas, 64 callers in all", "one to one", 1.4),
        Measured::new("begin and settle in hundreds, one owner", "S", 4.0),
        Measured::new("begin and settle in hundreds, two owners", "one", 1.4),
    ];
    for round in 0..bench.rounds {
        let url = schema_of(&server.url(), &format!("round_{round}"));
        runtime.block_on(measure(bench.round, &url, &mut rows));
    }
    report(bench, rows);
    accept::run(bench, &server);
    replicas::run(bench, &server);
    let rows = runtime.block_on(with_many(bench, &server));
    report(bench, rows);
    let rows = runtime.block_on(pinned::run(bench, &server));
    report(bench, rows);
    true
}

async fn measure(time: Duration, url: &str, rows: &mut [Measured; 9]) {
    let (single_rows, copied) = (bare::single_rows(url, time).await, bare::copy(url, time).await);
    let replicas = stores(url, 4).await;
    let (one, two) = (&replicas[..1], &replicas[..2]);
    let [first, second] = ["first", "second"].map(engine::account);
    for (row, (callers, per_call, beside)) in
        rows.iter_mut().zip([(1, 1, single_rows), (16, 1, single_rows), (64, 1, single_rows), (1, 500, copied)])
    {
        row.series.push(append(one, &[&first], callers, per_call, time).await, beside);
    }
    let alone = append(one, &[&first], 64, 1, time).await;
    let (single, both) = ([&first], [&first, &second]);
    for (row, (replicas, accounts, callers)) in
        rows[4..].iter_mut().zip([(two, &single[..], 64), (&replicas[..], &single[..], 64), (two, &both[..], 64)])
    {
        row.series.push(append(replicas, accounts, callers, 1, time).await, alone);
    }
    let settled = settle(one, &single, time).await;
    rows[7].series.push(settled, single_rows);
    rows[8].series.push(settle(two, &both, time).await, settled);
    engine::close(replicas).await;
}

/// Appending and settling with nothing pending and with many, in turn.
async fn with_many(bench: &Bench, server: &Server) -> [Measured; 2] {
    let account = engine::account("main");
    let [empty, full] = ["empty", "many"].map(|name| schema_of(&server.url(), name));
    let (empty, full) = (stores(&empty, 1).await, stores(&full, 1).await);
    fill(&full[0], &account, bench.scaled(MANY)).await;
    let mut appended = Measured::new("append, 64 callers, a million pending", "none", 0.8);
    let mut settled = Measured::new("begin and settle in hundreds, a million pending", "none", 0.8);
    for _ in 0..bench.rounds {
        let beside = append(&empty, &[&account], 64, 1, bench.round).await;
        appended.series.push(append(&full, &[&account], 64, 1, bench.round).await, beside);
        let beside = settle(&empty, &[&account], bench.round).await;
        settled.series.push(settle(&full, &[&account], bench.round).await, beside);
    }
    engine::close(empty.into_iter().chain(full).collect()).await;
    [appended, settled]
}
