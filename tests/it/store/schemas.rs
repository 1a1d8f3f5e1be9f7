//! The tables may be in any schema of `search_path`, whatever its name.

use super::engine::{Engine as _, Postgres, TestStore, UNLIMITED, accepted};
use crate::support::postgres::{connect, new_schema};
use crate::support::{poll_until, within};
use refersion_destination::store::{Hint, Retention};
use tokio_postgres::Client;

/// The rows of an earlier release's tables: those of version 2.
const VERSION_2: &str = "DROP TABLE remembered_traits; ALTER TABLE log DROP COLUMN source, DROP COLUMN answered;
    ALTER TABLE key_blocks DROP COLUMN with_ids; UPDATE meta SET value = int8send(2) WHERE name = 'version'";

async fn number(client: &Client, sql: &str) -> i64 {
    client.query_one(sql, &[]).await.expect("read").get(0)
}

#[tokio::test]
async fn the_schema_of_the_tables_may_have_capital_letters_and_stand_behind_another_one() {
    let Some(empty) = new_schema() else { return };
    let client = connect(&empty).await;
    let (server, name) = empty.rsplit_once("%3D").expect("the name of the schema stands last");
    let quoted = format!("\"{name} Of.Tables\"");
    client.batch_execute(&format!("CREATE SCHEMA {quoted}")).await.expect("made");
    let escaped = quoted.replace(' ', "%5C%20"); // a blank within an option
    let (alone, behind) = (format!("{server}%3D{escaped}"), format!("{server}%3D{name},{escaped}"));

    let first = Postgres::at(alone);
    first.open(UNLIMITED).await.close().await;
    connect(first.url()).await.batch_execute(VERSION_2).await.expect("made older");
    let owner = TestStore::start(Box::new(Postgres::at(behind)), UNLIMITED).await;
    let made = format!("SELECT count(*) FROM pg_class WHERE relnamespace = '{name}'::regnamespace");
    assert_eq!(number(&client, &made).await, 0, "it was migrated where it is");

    let other = first.open(UNLIMITED).await;
    accepted(other.append(vec![owner.event("a", &["u1"], 0)]).await.expect("appended")[0]);
    assert_eq!(within(owner.store().changed()).await, Hint::Appended(vec![owner.account.clone()]));
    assert_eq!(owner.names().await, ["a"]);
    assert!(owner.store().measure().await.expect("measured").size > 0);

    let rows = format!(
        "INSERT INTO {quoted}.bodies SELECT -n, '' FROM generate_series(1, 6000) AS n;
         DELETE FROM {quoted}.bodies WHERE seq < 0"
    );
    client.batch_execute(&rows).await.expect("deleted");
    let vacuums = format!("SELECT vacuum_count FROM pg_stat_user_tables WHERE relid = '{quoted}.bodies'::regclass");
    let vacuumed = async || {
        owner.store().compact(Retention::default()).await.expect("compacted");
        number(&client, &vacuums).await
    };
    within(poll_until(vacuumed, |vacuums| *vacuums > 0)).await;
}
