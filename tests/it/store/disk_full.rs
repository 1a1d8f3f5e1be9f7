//! A PostgreSQL server whose disk is full: what fits into pages that exist still fits, and large appends do not fit.
//!
//! The errors are raised by triggers, for rows: a statement that inserts no row needs no room.

use super::engine::{Postgres, TestStore, UNLIMITED};
use super::several_processes::connect;
use crate::support::postgres::{Durability, Server};
use crate::support::{poll_until, within};
use refersion_destination::store::StoreError;
use tokio_postgres::Client;

/// Refuses each row for this reason.
fn refuse_for(reason: &str) -> String {
    format!(
        "CREATE OR REPLACE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
            BEGIN RAISE {reason} USING MESSAGE = 'no row ' || NEW::text; END $$"
    )
}

async fn run(client: &Client, sql: &str) {
    client.batch_execute(sql).await.expect("run");
}

/// From now on no row fits into this table.
async fn fill(client: &Client, table: &str) {
    run(client, &refuse_for("disk_full")).await;
    let trigger = format!("full_disk BEFORE INSERT ON {table} FOR EACH ROW EXECUTE FUNCTION refuse()");
    run(client, &format!("CREATE TRIGGER {trigger}")).await;
}

fn is_full<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Transient(why)) if why.contains("53100"))
}

fn is_shown(store: &TestStore) -> bool {
    store.store().status().write_error.is_some_and(|why| why.contains("53100"))
}

async fn append_fails(store: &TestStore) {
    let refused = store.store().append(vec![store.event("b", &["u1"], 0)]).await;
    assert!(matches!(refused, Err(StoreError::Transient(_))), "{refused:?}");
}

#[tokio::test]
async fn the_store_cannot_be_written_from_the_first_append_that_does_not_fit_until_a_probe_as_large_fits() {
    let Some(schema) = Postgres::new() else { return };
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let client = connect(&schema).await;
    store.append("a", &["u1"]).await;
    fill(&client, "log").await;
    append_fails(&store).await;
    for _ in 0..2 {
        assert!(is_shown(&store));
        let probed = store.store().probe().await;
        assert!(is_full(&probed), "{probed:?}");
        assert!(store.is_duplicate("a").await && is_shown(&store), "a repeat needs no room");
    }
    run(&client, "DROP TRIGGER full_disk ON log").await;
    assert_eq!(store.store().probe().await, Ok(()));
    assert_eq!(store.store().status().write_error, None);
    store.append("b", &["u1"]).await;
    assert_eq!(store.names().await, ["a", "b"], "a probe leaves nothing behind");
}

#[tokio::test]
async fn another_session_does_not_show_that_the_disk_has_room() {
    let Some(server) = Server::start(Durability::None) else { return };
    let schema = Postgres::at(server.url());
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let client = connect(&schema).await;
    fill(&client, "log").await;
    append_fails(&store).await;
    let sessions = "FROM pg_stat_activity WHERE application_name = 'refersion-destination'";
    run(&client, &format!("SELECT pg_terminate_backend(pid) {sessions}")).await;
    let probed = within(poll_until(|| store.store().probe(), |probed| probed.is_ok() || is_full(probed))).await;
    assert!(is_full(&probed) && is_shown(&store), "{probed:?}");
    run(&client, "DROP TRIGGER full_disk ON log").await;
    assert_eq!(store.store().probe().await, Ok(()));
    // The other connection was broken, too, and has another session by now.
    let error = async || store.store().status().write_error;
    assert_eq!(within(poll_until(error, Option::is_none)).await, None);
}

/// Equal keys would make the probes of several processes wait for each other.
#[tokio::test]
async fn no_two_probes_insert_the_same_keys() {
    let Some(schema) = Postgres::new() else { return };
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let client = connect(&schema).await;
    for table in ["log", "bodies", "ids"] {
        fill(&client, table).await;
        append_fails(&store).await;
        let (one, another) = (store.store().probe().await, store.store().probe().await);
        assert!(is_full(&one) && is_full(&another) && one != another, "{one:?} and {another:?}");
        run(&client, &format!("DROP TRIGGER full_disk ON {table}")).await;
        assert_eq!(store.store().probe().await, Ok(()));
    }
}

#[tokio::test]
async fn a_probe_takes_no_room_after_a_failure_that_is_no_full_disk() {
    let Some(schema) = Postgres::new() else { return };
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let client = connect(&schema).await;
    fill(&client, "log").await;
    run(&client, &refuse_for("lock_not_available")).await;
    append_fails(&store).await;
    run(&client, &refuse_for("disk_full")).await;
    assert!(store.store().status().write_error.is_some());
    assert_eq!(store.store().probe().await, Ok(()));
    assert_eq!(store.store().status().write_error, None);
}
