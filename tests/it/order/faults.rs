//! Every fault there is, in an order of chance, over many users: each user's events still arrive once and in order.

use super::AT_ONCE;
use crate::support::identify;
use crate::support::service::Service;
use rand::seq::SliceRandom;
use refersion_destination::sandbox::{AffiliateView, Fault};
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
        Fault::Cut,
        Fault::LoseAnswer,
        Fault::TearAnswer,
        Fault::Trickle,
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
        assert_eq!(affiliate.field("city"), city(EVENTS - 1), "the last one wins: {faults:?}");
        let calls = sandbox.calls();
        let said: Vec<_> = calls.iter().filter_map(|call| said(&call.body, &affiliate)).collect();
        assert!(said.is_sorted(), "{said:?}: {faults:?}");
        let changes = calls.iter().filter(|call| said_and_done(&call.body, &call.answer, &affiliate)).count();
        assert_eq!(changes, EVENTS, "one creation and four edits took effect: {faults:?}");
    }
    assert_eq!(service.ready().await.json()["dead_letters"], 0);
}

fn city(number: usize) -> String {
    format!("City {number}")
}

/// The city that a call said of this affiliate.
fn said<'a>(body: &'a Value, affiliate: &AffiliateView) -> Option<&'a str> {
    let edit = body.pointer("/affiliates/0").filter(|edit| edit["id"] == affiliate.id.0);
    let new = Some(body).filter(|new| new["email"] == affiliate.email());
    edit.or(new)?["city"].as_str()
}

fn said_and_done(body: &Value, answer: &Value, affiliate: &AffiliateView) -> bool {
    let changed = answer["ids_changed"].as_array().is_some_and(|ids| !ids.is_empty());
    said(body, affiliate).is_some() && (changed || answer["link"].is_string())
}
