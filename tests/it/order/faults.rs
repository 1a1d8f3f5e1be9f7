//! Every fault, in random order, over many users: each user's events still arrive once and in order.

use super::AT_ONCE;
use crate::support::affiliate_updates::values;
use crate::support::identify;
use crate::support::service::Service;
use rand::seq::SliceRandom;
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

const USERS: usize = 12;
const EVENTS: usize = 5;

#[tokio::test]
async fn faults_of_every_kind_reorder_nothing_and_double_nothing() {
    let service = Service::start(&[AT_ONCE, ("REFERSION_TIMEOUT", "300ms")]).await;
    let every = [
        Fault::status(500),
        Fault::html(502),
        Fault::html(503),
        Fault::too_many_calls(None),
        Fault::too_many_calls(Some(0)),
        Fault::CloseConnection,
        Fault::LoseResponse,
        Fault::TruncateResponse,
        Fault::SlowResponse,
        Fault::Hang { effect: false },
        Fault::Hang { effect: true },
        Fault::html(200),
        Fault::Pass,
    ];
    let mut faults: Vec<Fault> = (0..4).flat_map(|_| every.clone()).collect();
    faults.shuffle(&mut rand::rng());
    service.refersion.sandbox.script(faults.clone());
    for number in 0..EVENTS {
        let events: Vec<Value> = (0..USERS)
            .map(|user| identify(&format!("{user}-{number}"), &format!("u{user}"), &json!({"city": city(number)})))
            .collect();
        assert_eq!(service.send(&events.into()).await.status, 202);
    }
    service.until_drained().await;

    let sandbox = &service.refersion.sandbox;
    let affiliates = sandbox.affiliates();
    assert_eq!(affiliates.len(), USERS, "{faults:?}");
    for affiliate in affiliates {
        let said = values("city", affiliate.id.0, sandbox);
        assert!(said.is_sorted_by_key(|(city, _)| city), "{said:?}: {faults:?}");
        let effective: Vec<_> = said.iter().filter(|(_, effective)| *effective).collect();
        assert!(effective.is_sorted_by(|before, after| before.0 < after.0), "twice: {said:?}: {faults:?}");
        assert_eq!(affiliate.field("city"), city(EVENTS - 1), "the last one wins: {said:?}: {faults:?}");
    }
    assert_eq!(service.ready().await.json()["dead_letters"], 0);
}

fn city(number: usize) -> String {
    format!("City {number}")
}

/// What the store refuses for good is a bug or damage. It costs a pause of that event, and nobody else anything.
#[tokio::test]
async fn calls_are_not_repeated_without_a_pause_while_the_store_refuses_their_progress() {
    let settings = [("SERVER_WAIT", "30s"), ("DELIVERY_RETRY_MIN", "1ms"), ("DELIVERY_RETRY_MAX", "1h")];
    let service = Service::start(&settings).await;
    let city = |n: usize| identify(&format!("city{n}"), "u1", &json!({"city": format!("City {n}")}));
    assert_eq!(service.send(&city(0)).await.brief(), "200 delivered");
    let store = rusqlite::Connection::open(service.folder.path().join("store.db")).expect("the file opens");
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON attempts BEGIN SELECT raise(FAIL, 'refused'); END";
    store.execute_batch(refuse).expect("made");
    let theirs = [(Field::FirstName, "T"), (Field::Email, "theirs@example.com")];
    service.refersion.sandbox.add(AffiliateStatus::Active, &theirs.into_iter().collect()).expect("added");
    let delete = json!([{"type": "delete", "messageId": "d1", "userId": "t1", "email": "theirs@example.com"}]);
    assert_eq!(service.send(&delete).await.status, 202);
    service.refersion.until(|sandbox| sandbox.calls().iter().any(|call| call.operation == Operation::Search)).await;
    for n in 1..=5 {
        assert_eq!(service.send(&city(n)).await.brief(), "200 delivered");
    }
    let operations = service.refersion.operations();
    assert_eq!(operations.iter().filter(|operation| **operation == "search").count(), 1, "{operations:?}");

    store.execute_batch("DROP TRIGGER refuse").expect("dropped");
    drop(store);
    let (refersion, folder) = service.stop().await;
    let service = Service::resume(refersion, folder, &settings).await;
    service.until_drained().await;
    let theirs = service.refersion.sandbox.affiliate("theirs@example.com").expect("kept");
    assert_eq!(theirs.status, AffiliateStatus::Disabled);
}
