//! Outdated rows, which PostgreSQL cannot remove while an old transaction lasts: no statement goes through them again and again.
//!
//! PostgreSQL counts what each index returned, outdated rows included, and shows it once a session has ended.

use super::engine::{Postgres, TestStore, accepted, dead, done, unit};
use crate::support::postgres::{Durability, Server};
use crate::support::{poll_until, within};
use futures_util::future::join_all;
use refersion_destination::domain::Seq;
use refersion_destination::scheduling::Unit;
use std::collections::BTreeMap;
use tokio_postgres::{Client, NoTls};

/// So many events are settled during the old transaction, and so many when their rows are outdated.
const BEFORE: usize = 3_000;
const AFTER: usize = 60;

async fn connect(url: &str) -> Client {
    let (client, connection) = within(tokio_postgres::connect(url, NoTls)).await.expect("connected");
    tokio::spawn(connection);
    client
}

/// How many entries each index has returned, once the sessions of the store have ended.
async fn returned(client: &Client) -> BTreeMap<String, i64> {
    let sql = "SELECT count(*) FROM pg_stat_activity WHERE application_name = 'refersion-destination'";
    let sessions = || async { client.query_one(sql, &[]).await.expect("counted").get::<_, i64>(0) };
    within(poll_until(sessions, |sessions| *sessions == 0)).await;
    let sql = "SELECT indexrelname::text, idx_tup_read FROM pg_stat_user_indexes";
    client.query(sql, &[]).await.expect("read").iter().map(|row| (row.get(0), row.get(1))).collect()
}

/// Appends so many events and settles them, in hundreds; the first one becomes a dead letter.
async fn carry_out(store: &TestStore, name: &str, events: usize) {
    let new = (0..events).map(|n| store.event(&format!("{name} {n}"), &[&format!("u{n}")], 1)).collect();
    let appended = within(store.store().append(new)).await.expect("appended");
    let seqs: Vec<Seq> = appended.into_iter().map(accepted).collect();
    for some in seqs.chunks(100) {
        let units: Vec<Unit> = some.chunks(2).map(unit).collect();
        assert_eq!(store.begin_units(&units).await.len(), units.len());
        store.store().release(some);
        let settled = some.iter().map(|seq| store.settle(*seq, if *seq == seqs[0] { dead() } else { done() }));
        within(join_all(settled)).await;
    }
}

/// PostgreSQL believes that a table without a live row has hardly any, so to read it whole seems to be cheap.
#[tokio::test]
async fn settling_does_not_go_through_the_outdated_rows_that_an_old_transaction_keeps() {
    let Some(server) = Server::start(Durability::None) else { return };
    let mut store = TestStore::start(Box::new(Postgres::at(server.url())), 1_000_000).await;
    let (old, client) = (connect(&server.url()).await, connect(&server.url()).await);
    old.batch_execute("BEGIN ISOLATION LEVEL REPEATABLE READ; SELECT count(*) FROM log").await.expect("begun");
    carry_out(&store, "before", BEFORE).await;
    store.store().close().await;
    for table in ["log", "bodies", "attempts", "links", "affiliates"] {
        client.batch_execute(&format!("VACUUM {table}")).await.expect("vacuumed");
    }
    let before = returned(&client).await;
    store.reopen().await;
    assert_eq!(store.entries().await.len(), 0);
    carry_out(&store, "after", AFTER).await;
    store.store().close().await;
    let after = returned(&client).await;
    let most = i64::try_from(BEFORE).expect("few");
    for (index, returned) in after {
        let returned = returned - before.get(&index).copied().unwrap_or_default();
        // The pending events are counted, looked for and read once when the account is taken over.
        let most = if index == "log_waiting" { 5 * most } else { most };
        assert!(returned < most, "{index} returned {returned} entries for {AFTER} events");
    }
    drop(old);
}
