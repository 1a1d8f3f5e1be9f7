//! The rights that the operators' guide names suffice for a service whose role does not own the tables.

use super::engine::{Engine as _, LATE, Postgres, TestStore, erase, remember};
use crate::support::postgres::{connect, role_sql, url_of_role};
use refersion_destination::domain::Timestamp;
use refersion_destination::store::{LookupQuery, Retention};

#[tokio::test(flavor = "multi_thread")]
async fn the_rights_that_the_guide_names_suffice() {
    let Some(owner) = Postgres::new() else { return };
    let role = format!("uses_{}", std::process::id());
    let Some(url) = url_of_role(owner.url(), &role) else { return };
    owner.open(1_000).await.close().await;
    let client = connect(owner.url()).await;
    client.batch_execute(&role_sql(&role)).await.expect("granted");

    let store = TestStore::start(Box::new(Postgres::at(url)), 1_000).await;
    store.teach("known", &["u1"], remember("one", store.keys(&["u1", "a@x.io"]))).await;
    store.die("dead", &["u1"]).await;
    store.append("waits", &["u2"]).await;
    store.teach("deleted", &["u1"], erase(store.keys(&["u1"]))).await;
    let forgotten = store.store().forget(&store.account, &store.keys(&["u2"]), Timestamp(7)).await.expect("forgotten");
    assert_eq!(forgotten.events, 1);
    let users = store.keys(&["u1"]);
    let query =
        LookupQuery { account: store.account.clone(), users, code: None, ids: Vec::new(), before: None, limit: 9 };
    assert!(store.store().lookup(&query).await.is_ok());
    for _ in 0..2 {
        store.store().compact(Retention { events: Timestamp(LATE), ..Retention::default() }).await.expect("compacted");
    }
    assert_eq!(store.store().probe().await, Ok(()));
    assert!(store.store().measure().await.is_ok());
    store.store().close().await;
    client.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.expect("dropped");
}
