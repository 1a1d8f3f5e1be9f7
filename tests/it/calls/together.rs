//! Calls for several users share a request, and each affiliate has an outcome of its own.

use super::{FULL, assert_each_was_sent, cities, city, each_identify, knowing, operations, send_all, since, sizes};
use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, identify};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use refersion_destination::domain::{AffiliateStatus, ApiKey};
use refersion_destination::sandbox::{Fault, Operation, Sandbox, SandboxSettings};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// More than two full calls.
const MANY: usize = 120;

#[tokio::test]
async fn edits_of_many_users_take_a_handful_of_calls() {
    let (service, before) = knowing(Refersion::start().await, MANY, &[]).await;
    send_all(&service, each_identify(MANY, "moved", &city("Oslo"))).await;
    service.until_drained().await;
    let sandbox = &service.refersion.sandbox;
    let calls = since(before, sandbox);
    assert!(operations(&calls).iter().all(|operation| *operation == "edit"));
    let sizes = sizes(&calls);
    assert!(sizes.len() <= 6 && sizes.iter().all(|size| *size <= FULL) && sizes.contains(&FULL), "{sizes:?}");
    assert_eq!(cities("Oslo", sandbox), MANY);
    assert_each_was_sent(&["Oslo"], sandbox);
}

#[tokio::test]
async fn deletes_of_many_users_take_a_handful_of_calls_of_at_most_fifty_ids() {
    let (service, before) = knowing(Refersion::start().await, MANY, &[]).await;
    let delete = |user| json!({"type": "delete", "messageId": format!("d{user}"), "userId": format!("u{user}")});
    send_all(&service, (0..MANY).map(delete).collect()).await;
    service.until_drained().await;
    let sandbox = &service.refersion.sandbox;
    let calls = since(before, sandbox);
    assert!(operations(&calls).iter().all(|operation| *operation == "status_change"));
    let sizes = sizes(&calls);
    assert!(sizes.len() <= 6 && sizes.iter().all(|size| *size <= FULL) && sizes.contains(&FULL), "{sizes:?}");
    assert!(sandbox.affiliates().iter().all(|one| one.status == AffiliateStatus::Disabled));
    assert_eq!(super::dead_letters(&service).await, 0);
}

/// An edit made at Refersion itself, by the merchant.
async fn edit_as_merchant(service: &Service, email: &str, company: &str) {
    let id = service.refersion.sandbox.affiliate(email).expect("known").id;
    service.refersion.merchant_calls(Operation::Edit, &json!({"affiliates": [{"id": id, "company": company}]})).await;
}

#[tokio::test]
async fn each_affiliate_of_one_request_has_an_outcome_of_its_own() {
    const USERS: usize = 10;
    let offers = SandboxSettings { offers: vec![1], ..SandboxSettings::default() };
    let audiences = ("MAPPING_AUDIENCES", r#"[{ trait = "vip", on_true = { offer = "99" } }]"#);
    let (service, _) = knowing(Refersion::with(offers).await, USERS, &[audiences]).await;
    edit_as_merchant(&service, "u3@example.com", "Initech").await;
    let before = service.refersion.sandbox.calls().len();
    let mut events = each_identify(USERS, "works", &json!({"company": "Initech"}));
    events[4]["traits"]["vip"] = json!(true);
    send_all(&service, events).await;
    service.until_drained().await;
    let sandbox = &service.refersion.sandbox;
    let calls = since(before, sandbox);
    assert_eq!(sizes(&calls), [USERS]);
    assert_eq!(operations(&calls), ["edit", "get", "get"], "only affiliates that were not changed are read back");
    let of = |user: usize| sandbox.affiliate(&format!("u{user}@example.com")).expect("known");
    let read: BTreeSet<_> = calls[1..].iter().map(|call| call.body["id"].as_u64().expect("an id")).collect();
    assert_eq!(read, BTreeSet::from([of(3).id.0, of(4).id.0]));
    let working = sandbox.affiliates().iter().filter(|one| one.field("company") == "Initech").count();
    assert_eq!(working, USERS - 1);
    assert_eq!(of(4).field("company"), "", "that offer is none");
    assert_eq!(super::dead_letters(&service).await, 1);
}

#[tokio::test]
async fn a_request_that_hangs_delays_its_own_events_and_no_others() {
    let (service, before) = knowing(Refersion::start().await, 3 * FULL, &[("REFERSION_TIMEOUT", "1h")]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script_for(Operation::Edit, [Fault::Hang { effect: false }]);
    send_all(&service, each_identify(3 * FULL, "moved", &city("Oslo"))).await;
    let hanging = |sandbox: &Sandbox| {
        since(before, sandbox)
            .iter()
            .filter(|call| call.fault == Some("hang"))
            .flat_map(|call| sizes(std::slice::from_ref(call)))
            .sum::<usize>()
    };
    service.refersion.until(|sandbox| hanging(sandbox) > 0).await;
    service.refersion.until(|sandbox| cities("Oslo", sandbox) == 3 * FULL - hanging(sandbox)).await;
    assert!(hanging(sandbox) <= FULL);
}

#[tokio::test]
async fn an_edit_that_hangs_does_not_delay_the_edits_of_other_users() {
    let (service, _) = knowing(Refersion::start().await, FULL, &[("REFERSION_TIMEOUT", "1h")]).await;
    service.refersion.sandbox.script_for(Operation::Edit, [Fault::Hang { effect: false }]);
    send_all(&service, vec![identify("hangs", "u0", &city("Rome"))]).await;
    service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    for (round, name) in ["Oslo", "Bern", "Kiel"].into_iter().enumerate() {
        let others = each_identify(FULL, &format!("round{round}"), &city(name)).split_off(1);
        send_all(&service, others).await;
        service.refersion.until(|sandbox| cities(name, sandbox) == FULL - 1).await;
    }
}

/// How many requests are in flight, and how many were at most.
#[derive(Default)]
struct Meter {
    now: AtomicUsize,
    most: AtomicUsize,
}

/// A simulated Refersion that counts the requests in flight.
async fn metered(meter: Arc<Meter>) -> Refersion {
    let api_key = Some(ApiKey::parse(API_KEY).expect("a key"));
    let sandbox =
        Sandbox::new(SandboxSettings { api_key, latency: Duration::from_millis(20), ..SandboxSettings::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
    let router = sandbox.router().layer(from_fn(move |request: Request, next: Next| {
        let meter = Arc::clone(&meter);
        async move {
            let now = meter.now.fetch_add(1, Ordering::SeqCst) + 1;
            meter.most.fetch_max(now, Ordering::SeqCst);
            let answer = next.run(request).await;
            meter.now.fetch_sub(1, Ordering::SeqCst);
            answer
        }
    }));
    tokio::spawn(axum::serve(listener, router).into_future());
    Refersion { sandbox, base_url }
}

#[tokio::test]
async fn the_requests_in_flight_never_exceed_the_concurrency() {
    let meter = Arc::new(Meter::default());
    let refersion = metered(Arc::clone(&meter)).await;
    let (service, _) = knowing(refersion, MANY, &[("REFERSION_CONCURRENCY", "3")]).await;
    let moved = |name: &str| each_identify(MANY, name, &city(name));
    for events in [moved("Oslo"), each_identify(2 * MANY, "more", &Value::Null).split_off(MANY), moved("Bern")] {
        send_all(&service, events).await;
    }
    service.until_drained().await;
    assert_eq!(service.refersion.sandbox.affiliates().len(), 2 * MANY);
    assert_eq!(meter.most.load(Ordering::SeqCst), 3);
}
