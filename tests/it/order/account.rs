//! Pauses and halts of a whole account: 429, an outage, and a key that Refersion rejects.

use super::{AT_ONCE, accepted, cities};
use crate::support::service::{Refersion, Service};
use crate::support::{Answer, OPS_TOKEN, http, identify, poll_until, within};
use refersion_destination::sandbox::{Fault, Operation, Sandbox, SandboxSettings};
use serde_json::{Value, json};
use std::time::Duration;

/// Waits until the account is seen to pause.
async fn paused(service: &Service) {
    let is_paused =
        |ready: &Answer| ready.json()["refersion"].as_str().is_some_and(|state| state.starts_with("paused"));
    within(poll_until(|| service.ready(), is_paused)).await;
}

#[tokio::test]
async fn too_many_calls_pause_the_account_and_then_one_event_is_tried_first() {
    let service = Service::start(&[AT_ONCE, ("REFERSION_TIMEOUT", "500ms")]).await;
    service.refersion.sandbox.script([Fault::too_many_calls(Some(1)), Fault::Hang { effect: false }]);
    accepted(&service, &identify("m0", "u0", &json!({"city": "Rome"}))).await;
    paused(&service).await;
    for user in 1..6 {
        accepted(&service, &identify(&format!("m{user}"), &format!("u{user}"), &json!({"city": "Oslo"}))).await;
    }
    service.until_drained().await;
    let at: Vec<i64> = cities(&service.refersion).into_iter().map(|(_, at)| at).collect();
    assert_eq!(at.len(), 8, "six events, one paused, one hung");
    assert!(at[1] - at[0] >= 1000, "the wait of Retry-After: {at:?}");
    assert!(at[2] - at[1] >= 400, "no call follows before the first one has succeeded: {at:?}");
    assert_eq!(service.refersion.sandbox.affiliates().len(), 6);
}

/// The event that waits longest would be the trial, and is gone by then.
#[tokio::test]
async fn a_pause_ends_although_the_event_to_try_first_was_erased_meanwhile() {
    let service = Service::start(&[AT_ONCE, ("DELIVERY_RETRY_MIN", "1s"), ("DELIVERY_RETRY_MAX", "1s")]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script([Fault::status(503), Fault::too_many_calls(Some(2))]);
    accepted(&service, &identify("m0", "u0", &Value::Null)).await; // it fails, so that the other one is tried before it
    service.refersion.until(|sandbox| sandbox.pending_faults() == 1).await;
    accepted(&service, &identify("m1", "u1", &Value::Null)).await;
    paused(&service).await;
    let erase = || {
        let url = format!("http://{}/api/v1/forget", service.addresses.ops);
        let request = http().post(url).bearer_auth(OPS_TOKEN).header("Content-Type", "application/json");
        Answer::to(request.body(json!({"user_id": "u1"}).to_string()))
    };
    within(poll_until(erase, |erased| erased.json()["in_flight"] == 0)).await;
    service.until_drained().await;
    assert_eq!(sandbox.affiliates().len(), 1);
}

#[tokio::test]
async fn the_first_delivery_that_succeeds_ends_the_pause_for_all_users_at_once() {
    let custom = ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#);
    let service = Service::start(&[AT_ONCE, custom, ("REFERSION_TIMEOUT", "1h")]).await;
    // The second call of the first event hangs: the other event must not wait for it.
    service.refersion.sandbox.script([Fault::too_many_calls(Some(1))]);
    service.refersion.sandbox.script_for(Operation::Edit, [Fault::Hang { effect: false }]);
    accepted(&service, &identify("m0", "u0", &json!({"plan": "gold"}))).await;
    paused(&service).await;
    accepted(&service, &identify("m1", "u1", &Value::Null)).await;
    service.refersion.until(|sandbox| sandbox.affiliates().len() == 2).await;
    let hung = &service.refersion.sandbox.affiliate("u0@example.com").expect("created");
    assert!(hung.custom_fields.is_empty(), "its edit still hangs");
}

#[tokio::test]
async fn an_outage_costs_one_call_in_each_pause() {
    let service = Service::start(&[AT_ONCE, ("DELIVERY_RETRY_MIN", "100ms"), ("DELIVERY_RETRY_MAX", "150ms")]).await;
    service.refersion.sandbox.script(std::iter::repeat_n(Fault::status(503), 10));
    let of = |user: u32| identify(&format!("m{user}"), &format!("u{user}"), &Value::Null);
    service.send(&Value::Array((0..20).map(of).collect())).await;
    service.until_drained().await;
    assert_eq!(service.refersion.sandbox.affiliates().len(), 20);
    let at: Vec<i64> = service.refersion.sandbox.calls().iter().map(|call| call.at.0).collect();
    // Three different events show the outage; one more may have been in flight. From there to the last failure: one by one.
    let windows: Vec<i64> = at[4..11].windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert!(windows.iter().all(|window| *window >= 99), "{windows:?}");
}

/// Else each of the edits would be a trial before it.
#[tokio::test]
async fn an_outage_of_edits_delays_an_event_that_needs_none_by_few_pauses() {
    const USERS: usize = 30;
    let service = Service::start(&[AT_ONCE, ("DELIVERY_RETRY_MIN", "50ms"), ("DELIVERY_RETRY_MAX", "60ms")]).await;
    let sandbox = &service.refersion.sandbox;
    let of = |user: usize, traits: Value| identify(&format!("{user}-{traits}"), &format!("u{user}"), &traits);
    let all = |traits: &Value| Value::Array((0..USERS).map(|user| of(user, traits.clone())).collect());
    service.send(&all(&json!({}))).await;
    service.until_drained().await;
    sandbox.script_for(Operation::Edit, std::iter::repeat_n(Fault::status(500), 10_000));
    service.send(&all(&json!({"city": "Oslo"}))).await;
    service.refersion.until(|sandbox| sandbox.calls().len() >= 3 * USERS).await; // each by itself, one in each pause
    let edits = |sandbox: &Sandbox| sandbox.calls().iter().filter(|call| call.operation == Operation::Edit).count();
    let before = edits(sandbox);
    accepted(&service, &of(USERS, json!({}))).await;
    service.refersion.until(|sandbox| sandbox.affiliates().len() > USERS).await;
    let calls = sandbox.calls();
    let created = calls.iter().rposition(|call| call.operation == Operation::New).expect("created");
    let between = calls[..created].iter().filter(|call| call.operation == Operation::Edit).count() - before;
    assert!(between <= 5, "{between} edits were tried before");
}

#[tokio::test]
async fn a_rejected_key_halts_the_account_which_goes_on_by_itself_once_it_works() {
    let service = Service::start(&[]).await;
    service.refersion.sandbox.revoke_api_key();
    let answer = service.send(&identify("m1", "u1", &Value::Null)).await;
    assert_eq!(answer.brief(), "401 unauthorized");
    assert!(answer.message().starts_with("Refersion rejected the API key"), "{}", answer.message());
    let later = service.send(&identify("m2", "u2", &Value::Null)).await;
    assert_eq!(later.brief(), "401 unauthorized");
    let ready = service.ready().await;
    assert_eq!((ready.status, &ready.json()["pending"]), (200, &json!(2)));
    assert_eq!(ready.json()["refersion"], "halted: Refersion rejects the API key");

    service.refersion.until(|sandbox| sandbox.calls_total() >= 4).await;
    let mut probed = service.refersion.operations();
    assert_eq!(probed.remove(0), "new");
    assert!(probed.iter().all(|operation| *operation == "list"), "{probed:?}");

    service.refersion.sandbox.restore_api_key();
    service.until_drained().await;
    assert_eq!(service.refersion.sandbox.affiliates().len(), 2, "kept, and delivered by themselves");
    assert_eq!(service.ready().await.json()["refersion"], "ok");
    assert_eq!(service.send(&identify("m3", "u3", &Value::Null)).await.brief(), "200 delivered");
}

/// Of the rejected calls in flight only one counts: if each lengthened the wait, the first probe would come after half an hour on average.
#[tokio::test]
async fn a_key_that_many_calls_find_rejected_is_probed_soon() {
    let latency = SandboxSettings { latency: Duration::from_millis(200), ..SandboxSettings::default() };
    let refersion = Refersion::with(latency).await;
    let service =
        Service::on(refersion, &[AT_ONCE, ("DELIVERY_RETRY_MIN", "100ms"), ("DELIVERY_RETRY_MAX", "1h")]).await;
    let of = |user: u32| identify(&format!("m{user}"), &format!("u{user}"), &Value::Null);
    service.send(&Value::Array((0..16).map(of).collect())).await;
    service.until_drained().await; // sixteen successes raise the concurrency limit to sixteen
    service.refersion.sandbox.revoke_api_key();
    service.send(&Value::Array((16..32).map(of).collect())).await;
    service.refersion.until(|sandbox| sandbox.calls_total() >= 33).await;
    assert_eq!(service.refersion.operations()[32], "list");
}

/// An answer that is not one of Refersion's API says nothing about the key.
#[tokio::test]
async fn a_probe_waits_for_the_retry_after_and_only_a_valid_answer_of_refersion_ends_the_halt() {
    let service = Service::start(&[AT_ONCE]).await;
    let unauthorized = Fault::status(401);
    service.refersion.sandbox.script([unauthorized, Fault::html(200), Fault::too_many_calls(Some(1))]);
    accepted(&service, &identify("m1", "u1", &Value::Null)).await;
    within(service.refersion.sandbox.until(|sandbox| sandbox.affiliates().len() == 1)).await;
    assert_eq!(service.refersion.operations(), ["new", "list", "list", "list", "new"]);
    let calls = service.refersion.sandbox.calls();
    assert!(calls[3].at.0 - calls[2].at.0 >= 1000, "{calls:?}");
}
