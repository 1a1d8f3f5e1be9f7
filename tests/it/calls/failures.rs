//! A request for many that fails: each call is sent again, has its effect once, and order is kept.

use super::{AT_ONCE, FULL, assert_each_was_sent, cities, city, each_identify, knowing, send_all, since, sizes};
use crate::support::affiliate_updates::values;
use crate::support::process::Process;
use crate::support::service::{Refersion, Service};
use crate::support::{identify, within};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

/// A trait that decides about the status.
const VIP: &str = r#"[{ trait = "vip", on_true = { status = "ACTIVE" }, on_false = { status = "DENIED" } }]"#;

/// Sends an identify of the user `u0`.
async fn send(service: &Service, name: &str, traits: &Value) {
    send_all(service, vec![identify(name, "u0", traits)]).await;
}

/// Sends events to a process whose answers come at once.
async fn send_to(process: &Process, events: Vec<Value>) {
    assert_eq!(within(process.send(&events.into())).await.expect("answered").status, 202);
}

#[tokio::test]
async fn each_edit_is_sent_by_itself_after_a_failed_request_for_many() {
    for (fault, reads) in [
        (Fault::status(500), 0),
        (Fault::html(200), 0),
        (Fault::CloseConnection, 0),
        (Fault::LoseResponse, FULL),
        (Fault::TruncateResponse, FULL),
    ] {
        let (service, before) = knowing(Refersion::start().await, FULL, &[]).await;
        let sandbox = &service.refersion.sandbox;
        sandbox.script_for(Operation::Edit, [fault.clone()]);
        send_all(&service, each_identify(FULL, "moved", &city("Oslo"))).await;
        service.until_drained().await;
        let calls = since(before, sandbox);
        let mut sizes = sizes(&calls);
        assert_eq!(sizes.remove(0), FULL, "{fault:?}");
        assert_eq!(sizes, [1; FULL], "{fault:?}");
        assert_eq!(calls.len() - 1 - FULL, reads, "affiliates that were changed already are read back: {fault:?}");
        assert_each_was_sent(&["Oslo"], sandbox);
        assert_eq!(super::dead_letters(&service).await, 0, "{fault:?}");
    }
}

#[tokio::test]
async fn events_that_were_coalesced_in_a_failed_attempt_are_coalesced_again() {
    for fault in [Fault::Hang { effect: false }, Fault::Hang { effect: true }] {
        let (service, before) = knowing(Refersion::start().await, 1, &[("REFERSION_TIMEOUT", "1s")]).await;
        let sandbox = &service.refersion.sandbox;
        let event = |n: usize| identify(&format!("m{n}"), "u0", &city(&format!("City {n}")));
        sandbox.script_for(Operation::Edit, [fault]);
        send_all(&service, (0..3).map(event).collect()).await;
        service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
        send_all(&service, (3..6).map(event).collect()).await;
        service.until_drained().await;
        let edits: Vec<_> = since(before, sandbox)
            .into_iter()
            .filter_map(|call| call.body.pointer("/affiliates/0/city").cloned())
            .collect();
        assert_eq!(edits, ["City 2", "City 2", "City 5"]);
    }
}

/// The edit before has no answer and may have had its effect, so the last answered one does not say what Refersion has.
#[tokio::test]
async fn a_value_that_returns_while_an_edit_is_unanswered_is_sent() {
    let street = |lines: &str| json!({ "street": lines });
    for (first, unanswered, last) in [
        (city("Oslo"), city("Bern"), city("Oslo")),
        (street("1 Main St"), street("1 Main St\nApt 4"), street("1 Main St, rear")),
    ] {
        let (service, _) = knowing(Refersion::start().await, 1, &[("REFERSION_TIMEOUT", "1s")]).await;
        let sandbox = &service.refersion.sandbox;
        send(&service, "first", &first).await;
        service.until_drained().await;
        sandbox.script_for(Operation::Edit, [Fault::Hang { effect: true }]);
        send(&service, "unanswered", &unanswered).await;
        service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
        send(&service, "last", &last).await;
        service.until_drained().await;
        let affiliate = &sandbox.affiliates()[0];
        let expected = last.as_object().expect("traits").values().next().expect("one");
        let shown = [affiliate.field("city"), affiliate.field("address1")].concat();
        assert_eq!((shown.as_str(), affiliate.field("address2")), (expected.as_str().expect("a text"), ""));
    }
}

#[tokio::test]
async fn a_value_that_returns_after_an_unanswered_edit_was_given_up_is_sent() {
    let settings = [("DELIVERY_MAX_AGE", "1ms"), ("DELIVERY_RETRY_MIN", "10ms")];
    let (service, _) = knowing(Refersion::start().await, 1, &settings).await;
    let sandbox = &service.refersion.sandbox;
    send(&service, "first", &city("Oslo")).await;
    service.until_drained().await;
    sandbox.script_for(Operation::Edit, [Fault::LoseResponse, Fault::status(500)]);
    send(&service, "given-up", &city("Bern")).await;
    service.until_drained().await;
    assert_eq!((sandbox.affiliates()[0].field("city"), super::dead_letters(&service).await), ("Bern", json!(1)));
    send(&service, "last", &city("Oslo")).await;
    service.until_drained().await;
    assert_eq!(sandbox.affiliates()[0].field("city"), "Oslo");
}

/// The affiliate is found by its e-mail, so no value was recorded as sent.
#[tokio::test]
async fn a_value_that_is_cleared_while_a_new_is_unanswered_is_cleared() {
    let service = Service::on(Refersion::start().await, &[AT_ONCE, ("REFERSION_TIMEOUT", "1s")]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script_for(Operation::New, [Fault::Hang { effect: true }]);
    send(&service, "unanswered", &json!({ "country": "AU", "state": "NSW" })).await;
    service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    send(&service, "last", &json!({ "country": "DE" })).await;
    service.until_drained().await;
    let affiliate = &sandbox.affiliates()[0];
    assert_eq!((affiliate.field("country"), affiliate.field("state")), ("DE", ""));
}

#[tokio::test]
async fn a_status_that_returns_while_its_change_is_unanswered_is_set() {
    for (is_vip, status, effect, fails_again) in [
        (true, "ACTIVE", true, false),
        (true, "ACTIVE", true, true),
        (true, "ACTIVE", false, false),
        (false, "DENIED", true, false),
    ] {
        let settings = [("REFERSION_TIMEOUT", "1s"), ("MAPPING_AUDIENCES", VIP)];
        let (service, _) = knowing(Refersion::start().await, 1, &settings).await;
        let sandbox = &service.refersion.sandbox;
        let vip = |is_vip: bool| json!({ "vip": is_vip });
        send(&service, "first", &vip(is_vip)).await;
        service.until_drained().await;
        sandbox.script_for(Operation::StatusChange, [Fault::Hang { effect }]);
        send(&service, "unanswered", &vip(!is_vip)).await;
        service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
        if fails_again {
            sandbox.script_for(Operation::StatusChange, [Fault::status(500)]);
        }
        send(&service, "last", &vip(is_vip)).await;
        service.until_drained().await;
        let found = sandbox.affiliates()[0].status.as_str();
        assert_eq!(found, status, "effect: {effect}, fails again: {fails_again}");
    }
}

#[tokio::test]
async fn a_status_that_returns_after_its_unanswered_change_was_given_up_is_set() {
    let settings = [("MAPPING_AUDIENCES", VIP), ("DELIVERY_MAX_AGE", "1ms"), ("DELIVERY_RETRY_MIN", "10ms")];
    let (service, _) = knowing(Refersion::start().await, 1, &settings).await;
    let sandbox = &service.refersion.sandbox;
    let vip = |is_vip: bool| json!({ "vip": is_vip });
    send(&service, "first", &vip(false)).await;
    service.until_drained().await;
    sandbox.script_for(Operation::Get, [Fault::Pass, Fault::status(500)]);
    sandbox.script_for(Operation::StatusChange, [Fault::LoseResponse]);
    send(&service, "given-up", &vip(true)).await;
    service.until_drained().await;
    let status = || sandbox.affiliates()[0].status.as_str();
    assert_eq!((status(), super::dead_letters(&service).await), ("ACTIVE", json!(1)));
    send(&service, "last", &vip(false)).await;
    service.until_drained().await;
    assert_eq!(status(), "DENIED");
}

#[tokio::test]
async fn a_value_that_returns_while_an_edit_is_interrupted_is_sent() {
    let refersion = Refersion::start().await;
    let (sandbox, folder) = (&refersion.sandbox, tempfile::tempdir().expect("a folder"));
    let start = || Process::start(&refersion.base_url, folder.path(), &[AT_ONCE]);
    let process = start();
    let event = |name: &str, to: &str| vec![identify(name, "u0", &city(to))];
    send_to(&process, event("first", "Oslo")).await;
    within(process.drained()).await;
    sandbox.script_for(Operation::Edit, [Fault::Hang { effect: true }]);
    send_to(&process, event("interrupted", "Bern")).await;
    refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    send_to(&process, event("last", "Oslo")).await;
    process.kill();
    let process = start();
    within(process.drained()).await;
    process.kill();
    assert_eq!(sandbox.affiliates()[0].field("city"), "Oslo");
}

/// Had it had its effect, an older value would follow a newer one.
#[tokio::test]
async fn coalesced_events_that_may_have_had_their_effect_are_not_bisected_for_a_few_rejections() {
    let waits = [("DELIVERY_RETRY_MIN", "1ms"), ("DELIVERY_RETRY_MAX", "5ms")];
    let (service, _) = knowing(Refersion::start().await, 1, &waits).await;
    let sandbox = &service.refersion.sandbox;
    let failures = std::iter::repeat_n(Fault::status(500), 6);
    let rejections = [Fault::unprocessable("Chaos"), Fault::status(204)].into_iter().cycle().take(6);
    sandbox.script_for(Operation::Edit, [Fault::LoseResponse].into_iter().chain(failures).chain(rejections));
    let event = |n: usize| identify(&format!("m{n}"), "u0", &city(&format!("City {n}")));
    send_all(&service, (0..4).map(event).collect()).await;
    service.until_drained().await;
    let id = sandbox.affiliates()[0].id.0;
    let sent = values("city", id, sandbox);
    assert!(sent.len() > 12 && sent.iter().all(|(city, _)| city == "City 3"), "{sent:?}");
    assert_eq!(super::dead_letters(&service).await, 0);
}

/// As above, by a process that was killed meanwhile; then neither a pause nor a rejected key makes it known that there was no effect.
#[tokio::test]
async fn coalesced_events_that_were_interrupted_and_handed_back_are_not_bisected_for_one_rejection() {
    for pause in [Fault::too_many_calls(Some(0)), Fault::status(401)] {
        let refersion = Refersion::start().await;
        let (sandbox, folder) = (&refersion.sandbox, tempfile::tempdir().expect("a folder"));
        let waits = [AT_ONCE, ("DELIVERY_RETRY_MIN", "1ms"), ("DELIVERY_RETRY_MAX", "5ms")];
        let start = || Process::start(&refersion.base_url, folder.path(), &waits);
        let process = start();
        send_to(&process, each_identify(1, "made", &Value::Null)).await;
        within(process.drained()).await;
        sandbox.script_for(Operation::Edit, [Fault::Hang { effect: true }, pause, Fault::unprocessable("Chaos")]);
        let events = (0..4).map(|n| identify(&format!("m{n}"), "u0", &city(&format!("City {n}"))));
        send_to(&process, events.collect()).await;
        refersion.until(|sandbox| sandbox.pending_faults() == 2).await;
        process.kill();
        let process = start();
        within(process.drained()).await;
        process.kill();
        let sent = values("city", sandbox.affiliates()[0].id.0, sandbox);
        assert!(sent.len() == 4 && sent.iter().all(|(city, _)| city == "City 3"), "{sent:?}");
    }
}

#[tokio::test]
async fn later_events_are_delivered_after_the_retry_of_a_failed_request_for_many() {
    let (service, _) = knowing(Refersion::start().await, FULL, &[("REFERSION_TIMEOUT", "500ms")]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script_for(Operation::Edit, [Fault::Hang { effect: true }, Fault::status(500), Fault::LoseResponse]);
    send_all(&service, each_identify(FULL, "first", &city("Oslo"))).await;
    service.refersion.until(|sandbox| cities("Oslo", sandbox) > 0).await;
    for name in ["Bern", "Kiel"] {
        send_all(&service, each_identify(FULL, name, &city(name))).await;
    }
    service.until_drained().await;
    assert_each_was_sent(&["Oslo", "Kiel"], sandbox);
    assert_eq!(super::dead_letters(&service).await, 0);
}

#[tokio::test]
async fn a_429_to_a_request_for_many_pauses_the_account_and_counts_as_a_failure_of_no_event() {
    let (service, before) = knowing(Refersion::start().await, 2 * FULL, &[]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script_for(Operation::Edit, [Fault::too_many_calls(Some(1))]);
    send_all(&service, each_identify(2 * FULL, "moved", &city("Oslo"))).await;
    service.until_drained().await;
    let calls = since(before, sandbox);
    let paused = calls.iter().position(|call| call.status == Some(429)).expect("one");
    let next = calls[paused + 1..].iter().find(|call| call.at.0 - calls[paused].at.0 >= 1000).expect("after the wait");
    assert_eq!(sizes(std::slice::from_ref(next)), [1], "one event goes first");
    // If it counted as a failure of each event, each would be sent by itself.
    assert!(sizes(&calls).len() <= 12, "{:?}", sizes(&calls));
    assert_each_was_sent(&["Oslo"], sandbox);
}

#[tokio::test]
async fn each_edit_is_sent_again_and_has_its_effect_once_after_a_kill_while_a_request_for_many_hangs() {
    for effect in [false, true] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let start = || Process::start(&refersion.base_url, folder.path(), &[AT_ONCE]);
        let process = start();
        send_to(&process, each_identify(FULL, "made", &Value::Null)).await;
        within(process.drained()).await;
        let before = refersion.sandbox.calls().len();
        refersion.sandbox.script_for(Operation::Edit, [Fault::Hang { effect }]);
        send_to(&process, each_identify(FULL, "first", &city("Oslo"))).await;
        refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
        send_to(&process, each_identify(FULL, "second", &city("Bern"))).await;
        process.kill();
        let process = start();
        within(process.drained()).await;
        process.kill();
        let sandbox = &refersion.sandbox;
        let sent: &[&str] = if effect { &["Oslo", "Bern"] } else { &["Bern"] };
        assert_each_was_sent(sent, sandbox);
        let calls = since(before, sandbox);
        assert!(sizes(&calls)[1..].iter().all(|size| *size <= FULL) && sizes(&calls).len() <= 6, "{:?}", sizes(&calls));
    }
}

/// The events are handed back, and delivered after the next start.
#[tokio::test]
async fn a_stop_while_many_events_are_pending_loses_and_doubles_none() {
    let settings = [("REFERSION_TIMEOUT", "500ms"), ("REFERSION_CONCURRENCY", "1")];
    let (service, _) = knowing(Refersion::start().await, 3 * FULL, &settings).await;
    service.refersion.sandbox.script_for(Operation::Edit, [Fault::Hang { effect: true }]);
    send_all(&service, each_identify(3 * FULL, "moved", &city("Oslo"))).await;
    service.refersion.until(|sandbox| cities("Oslo", sandbox) > 0).await;
    let (refersion, folder) = service.stop().await;
    let sent: usize = cities("Oslo", &refersion.sandbox);
    assert!(sent <= FULL, "only the request in flight had its effect: {sent}");
    let service = crate::support::service::Service::resume(refersion, folder, &[AT_ONCE]).await;
    service.until_drained().await;
    assert_each_was_sent(&["Oslo"], &service.refersion.sandbox);
}
