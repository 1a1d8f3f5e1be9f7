//! The tables of the PostgreSQL engine do not grow with the number of events that went through them, whatever else vacuums them.

use super::engine::{Postgres, TestStore, accepted, done};
use crate::support::postgres::{Durability, Server};
use crate::support::{poll_until, within};
use futures_util::future::join_all;
use refersion_destination::domain::Timestamp;
use refersion_destination::store::Retention;
use std::time::Duration;
use tokio_postgres::{Client, NoTls};

/// Each leaves two outdated rows of the log, and more than 5,000 of these are vacuumed.
const EVENTS: usize = 2_600;
/// In the first rounds the tables grow to what one round needs.
const FIRST_ROUNDS: usize = 3;
const ROUNDS: usize = 5;
const TABLES: &str = "'log', 'bodies', 'ids'";

async fn connect(url: &str) -> Client {
    let (client, connection) = within(tokio_postgres::connect(url, NoTls)).await.expect("connected");
    tokio::spawn(connection);
    client
}

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("read").get(0)
}

/// Each round, as many events go through the log, and their deduplication window passes.
#[tokio::test]
async fn the_tables_do_not_grow_with_the_number_of_events() {
    // Of its own: a transaction of another test could keep outdated rows from being removed.
    let Some(server) = Server::start(Durability::None) else { return };
    let store = TestStore::start(Box::new(Postgres::at(server.url())), 1_000_000).await;
    let client = connect(&server.url()).await;
    let size =
        format!("SELECT sum(pg_total_relation_size(name::regclass))::bigint FROM unnest(ARRAY[{TABLES}]) AS name");
    let mut sizes = Vec::new();
    for round in 1..=ROUNDS {
        let events = (0..EVENTS).map(|n| store.event(&format!("{round} {n}"), &[&format!("u{}", n % 50)], 1));
        let appended = within(store.store().append(events.collect())).await.expect("appended");
        let settled = appended.into_iter().map(|one| store.settle(accepted(one), done()));
        within(join_all(settled)).await;
        // PostgreSQL counts with a delay.
        let gone = EVENTS * round;
        let left = format!(
            "SELECT count(*) FROM pg_stat_user_tables WHERE relname IN ({TABLES}) AND (n_tup_del < {gone} OR n_dead_tup >= 5000)"
        );
        let compacted = || async {
            let all = Retention::new(Timestamp(1_000_000), Duration::ZERO, Duration::ZERO);
            store.store().compact(all).await.expect("compacted");
            number(&client, &left).await
        };
        within(poll_until(compacted, |left| *left == 0)).await;
        sizes.push(number(&client, &size).await);
    }
    eprintln!("{EVENTS} events a round, bytes after each: {sizes:?}");
    // Without a vacuum each round adds as much as the first; it comes when some of a round's rows are outdated, or all.
    assert!(sizes[ROUNDS - 1] <= sizes[FIRST_ROUNDS - 1] * 5 / 4, "they grow: {sizes:?}");
}

/// PostgreSQL's own vacuum takes minutes where the table has become large, because it pauses.
#[tokio::test]
async fn a_table_that_another_vacuum_has_locked_is_vacuumed_as_soon_as_it_is_unlocked() {
    let Some(server) = Server::start(Durability::None) else { return };
    let store = TestStore::start(Box::new(Postgres::at(server.url())), 1_000_000).await;
    let client = connect(&server.url()).await;
    let mut other_vacuum = connect(&server.url()).await;
    let rows = "ALTER TABLE bodies SET (autovacuum_enabled = false);
                INSERT INTO bodies SELECT -n, '' FROM generate_series(1, 6000) AS n; DELETE FROM bodies WHERE seq < 0";
    within(client.batch_execute(rows)).await.expect("deleted");
    let compacted = async |sql: &str| {
        let all = Retention::new(Timestamp(1_000_000), Duration::ZERO, Duration::ZERO);
        store.store().compact(all).await.expect("compacted");
        number(&client, sql).await
    };
    let counted = "SELECT n_dead_tup FROM pg_stat_user_tables WHERE relname = 'bodies'";
    within(poll_until(|| number(&client, counted), |dead| *dead >= 6_000)).await;
    let locked = other_vacuum.transaction().await.expect("begun");
    locked.batch_execute("LOCK TABLE bodies IN SHARE UPDATE EXCLUSIVE MODE").await.expect("locked as a vacuum does");
    assert!(within(compacted(counted)).await >= 6_000, "it waits for no lock");
    locked.rollback().await.expect("unlocked");
    within(poll_until(|| compacted(counted), |dead| *dead < 6_000)).await;
}
