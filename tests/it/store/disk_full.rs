//! A PostgreSQL server whose disk is full: a small row still fits into a page that exists, and appends do not fit.
//!
//! The errors are raised by a trigger.

use super::engine::{Postgres, TestStore, UNLIMITED};
use super::several_processes::connect;
use refersion_destination::store::StoreError;

const FILL: &str = "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
    BEGIN RAISE disk_full USING MESSAGE = 'could not extend file: No space left on device'; END $$;
    CREATE TRIGGER full_disk BEFORE INSERT ON log FOR EACH STATEMENT EXECUTE FUNCTION refuse()";

fn is_full<T>(result: &Result<T, StoreError>) -> bool {
    matches!(result, Err(StoreError::Transient(why)) if why.contains("No space left on device"))
}

#[tokio::test]
async fn the_store_cannot_be_written_from_the_first_append_that_does_not_fit_until_a_probe_as_large_fits() {
    let Some(schema) = Postgres::new() else { return };
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let client = connect(&schema).await;
    store.append("a", &["u1"]).await;
    client.batch_execute(FILL).await.expect("full");
    let refused = store.store().append(vec![store.event("b", &["u1"], 0)]).await;
    assert!(is_full(&refused), "{refused:?}");
    for _ in 0..2 {
        let why = store.store().status().write_error.unwrap_or_default();
        assert!(why.contains("No space left on device"), "{why}");
        let probed = store.store().probe().await;
        assert!(is_full(&probed), "{probed:?}");
    }
    client.batch_execute("DROP TRIGGER full_disk ON log").await.expect("room");
    assert_eq!(store.store().probe().await, Ok(()));
    assert_eq!(store.store().status().write_error, None);
    store.append("b", &["u1"]).await;
    assert_eq!(store.names().await, ["a", "b"], "a probe leaves nothing behind");
}
