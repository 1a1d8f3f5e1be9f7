//! PostgreSQL: what the engine for several processes appends and settles, compared with bare statements on the same server.
//!
//! A server of its own is started for the part, which syncs as in production. *S* is one connection that inserts single rows, each in a
//! transaction of its own; *C* is a bare `COPY` in groups of 500. Each round has a schema of its own, and measures everything in turn.
//! A replica is a store of its own. Without PostgreSQL's programs the part is skipped.

mod bare;
mod engine;

use crate::Bench;
use crate::postgres_server::{Durability, Server, schema_of};
use crate::report::{Goal, Row, Series, print_line};
use engine::{append, settle, stores};
use std::time::Duration;

const PART: &str = "postgres";

/// So many events are pending where many are.
const MANY: u64 = 1_000_000;

/// One measured row: its name, the goal of its ratio, and what it is compared with.
struct Measured {
    what: &'static str,
    beside: &'static str,
    goal: f64,
    series: Series,
}

impl Measured {
    fn new(what: &'static str, beside: &'static str, goal: f64) -> Self {
        Self { what, beside, goal, series: Series::default() }
    }
}

pub fn run(bench: &mut Bench) -> bool {
    let Some(server) = Server::start(Durability::Full) else {
        print_line("  skipped: there are no programs of PostgreSQL here");
        return true;
    };
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build();
    let runtime = runtime.expect("a runtime");
    let mut rows = [
        Measured::new("append, one at a time", "S", 0.3),
        Measured::new("append, 16 callers", "S", 3.5),
        Measured::new("append, 64 callers", "S", 5.0),
        Measured::new("append, calls of 500", "C", 0.2),
        Measured::new("append to one account by two replicas, 64 callers", "by one", 0.7),
        Measured::new("append to one account by four replicas, 64 callers", "by one", 0.7),
        Measured::new("append to two accounts by two replicas, 64 callers", "one to one", 1.4),
        Measured::new("begin and settle in hundreds, one owner", "S", 4.0),
        Measured::new("begin and settle in hundreds, two owners", "one", 1.4),
    ];
    for round in 0..bench.rounds {
        let url = schema_of(&server.url(), &format!("round_{round}"));
        runtime.block_on(measure(bench.round, &url, &mut rows));
    }
    for Measured { what, beside, goal, series } in rows {
        bench.report.add(PART, Row::new(what, "events/s", vec![series]).ratio_to(beside).goal(Goal::AtLeast(goal)));
    }
    let url = schema_of(&server.url(), "many");
    let (append, settle) = runtime.block_on(with_many(bench.round, &url, bench.scaled(MANY)));
    for (what, series) in
        [("append, 64 callers, a million pending", append), ("begin and settle, a million pending", settle)]
    {
        bench.report.add(PART, Row::new(what, "events/s", vec![series]).ratio_to("empty").goal(Goal::AtLeast(0.8)));
    }
    true
}

async fn measure(time: Duration, url: &str, rows: &mut [Measured; 9]) {
    let (single, copied) = (bare::single_rows(url, time).await, bare::copy(url, time).await);
    let replicas = stores(url, 4).await;
    let (one, two) = (&replicas[..1], &replicas[..2]);
    let [first, second] = ["first", "second"].map(engine::account);
    for (row, (callers, per_call, beside)) in
        rows.iter_mut().zip([(1, 1, single), (16, 1, single), (64, 1, single), (1, 500, copied)])
    {
        row.series.push(append(one, &[&first], callers, per_call, time).await, beside);
    }
    let alone = append(one, &[&first], 64, 1, time).await;
    rows[4].series.push(append(two, &[&first], 64, 1, time).await, alone);
    rows[5].series.push(append(&replicas, &[&first], 64, 1, time).await, alone);
    rows[6].series.push(append(two, &[&first, &second], 64, 1, time).await, alone);
    let settled = settle(one, &[&first], time).await;
    rows[7].series.push(settled, single);
    rows[8].series.push(settle(two, &[&first, &second], time).await, settled);
    engine::close(replicas).await;
}

/// Appending and settling, first with nothing pending, then with many.
async fn with_many(time: Duration, url: &str, many: u64) -> (Series, Series) {
    let replicas = stores(url, 1).await;
    let (account, mut measured) = (engine::account("main"), Vec::new());
    for fill in [0, many] {
        engine::fill(&replicas[0], &account, fill).await;
        let appended = append(&replicas, &[&account], 64, 1, time).await;
        measured.push((appended, settle(&replicas, &[&account], time).await));
    }
    engine::close(replicas).await;
    let [(append_empty, settle_empty), (append, settle)] = measured[..] else { panic!("two of them") };
    let (mut appended, mut settled) = (Series::default(), Series::default());
    appended.push(append, append_empty);
    settled.push(settle, settle_empty);
    (appended, settled)
}
