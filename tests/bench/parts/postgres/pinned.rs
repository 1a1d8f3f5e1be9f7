//! An old transaction, as a long `pg_dump` has one: while it lasts, PostgreSQL removes no row that it could still see.
//!
//! Two databases of one server are loaded alternately. The old transaction is in one of them, and PostgreSQL keeps rows only for
//! transactions of the same database. A round appends for a while and settles everything. Both databases are compacted meanwhile, as
//! the service does it. The rounds in the last third of the time are compared.

use super::Measured;
use super::engine::{account, append, close, connect, own, settle_all, stores};
use crate::Bench;
use crate::postgres_server::Server;
use refersion_destination::domain::AccountName;
use refersion_destination::store::{Maintenance, PostgresStore, Retention};
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::task::JoinHandle;
use tokio_postgres::Client;

/// A database that is loaded.
struct Loaded {
    stores: Vec<Arc<PostgresStore>>,
    account: AccountName,
    compaction: JoinHandle<()>,
}

/// The throughput of a round, in events a second.
#[derive(Clone, Copy)]
struct Throughput {
    appended: f64,
    settled: f64,
}

pub async fn run(bench: &Bench, server: &Server) -> [Measured; 2] {
    let (free, pinned) = (Loaded::new(server, "free").await, Loaded::new(server, "pinned").await);
    let transaction = old_transaction(server).await;
    let (began, mut rounds) = (Instant::now(), Vec::new());
    while began.elapsed() < bench.pinned {
        // The first of two finds another state of the server than the second.
        let (pinned, free) = if rounds.len() % 2 == 0 {
            let free = free.measure(bench.round).await;
            (pinned.measure(bench.round).await, free)
        } else {
            (pinned.measure(bench.round).await, free.measure(bench.round).await)
        };
        rounds.push((pinned, free));
    }
    let seconds = bench.pinned.as_secs();
    let mut appended =
        Measured::new(format!("append, 64 callers, after an old transaction of {seconds} s"), "none", 0.8);
    let mut settled =
        Measured::new(format!("begin and settle in hundreds, after an old transaction of {seconds} s"), "none", 0.8);
    for (pinned, free) in &rounds[rounds.len() * 2 / 3..] {
        appended.series.push(pinned.appended, free.appended);
        settled.series.push(pinned.settled, free.settled);
    }
    drop(transaction);
    free.close().await;
    pinned.close().await;
    [appended, settled]
}

impl Loaded {
    async fn new(server: &Server, database: &str) -> Self {
        connect(&server.url()).await.batch_execute(&format!("CREATE DATABASE {database}")).await.expect("made");
        let stores = stores(&url_of(server, database), 1).await;
        let store = Arc::clone(&stores[0]);
        let compaction = tokio::spawn(async move {
            let none = Retention::default();
            loop {
                store.compact(none).await.expect("compacted");
                tokio::time::sleep(store.compaction_interval()).await;
            }
        });
        Self { stores, account: account("main"), compaction }
    }

    async fn measure(&self, time: Duration) -> Throughput {
        let appended = append(&self.stores, &[&self.account], 64, 1, time).await;
        own(&self.stores[0], &self.account).await;
        Throughput { appended, settled: settle_all(&self.stores[0], &self.account).await }
    }

    async fn close(self) {
        self.compaction.abort();
        close(self.stores).await;
    }
}

/// Begins a transaction that sees the database as it is now, until the client is dropped.
async fn old_transaction(server: &Server) -> Client {
    let client = connect(&url_of(server, "pinned")).await;
    client.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM log").await.expect("begun");
    client
}

fn url_of(server: &Server, database: &str) -> String {
    let url = server.url();
    let (of_server, _) = url.rsplit_once('/').expect("the database is the last part");
    format!("{of_server}/{database}")
}
