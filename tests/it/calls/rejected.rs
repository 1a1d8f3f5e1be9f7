//! A request for many that Refersion rejects because of one affiliate: only that one becomes a dead letter.

use super::{FULL, assert_each_was_sent, cities, city, each_identify, knowing, operations, send_all, since, sizes};
use crate::support::service::{Refersion, Service};
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

/// Halving fifty down to one: of each pair one is rejected and the other passes.
const HALVINGS: usize = 1 + 2 * 6;

/// Fifty known users move to Oslo, and number 17 says `poison` as well.
async fn with_poisoned(poison: &Value, settings: &[(&str, &str)]) -> (Service, usize) {
    let refersion = Refersion::start().await;
    let theirs = [(Field::FirstName, "T"), (Field::Email, "theirs@example.com")];
    refersion.sandbox.add(AffiliateStatus::Active, &theirs.into_iter().collect()).expect("added");
    let (service, before) = knowing(refersion, FULL, settings).await;
    let mut events = each_identify(FULL, "moved", &city("Oslo"));
    for (key, value) in poison.as_object().expect("traits") {
        events[17]["traits"][key] = value.clone();
    }
    send_all(&service, events).await;
    service.until_drained().await;
    (service, before)
}

/// A value that Refersion rejects and that no affiliate can be without.
fn required() -> Value {
    json!({"name": "x".repeat(300)})
}

/// The rejected affiliate was found by splitting, was rejected so often by itself, and nothing was sent twice.
fn assert_halved(service: &Service, before: usize, rejected_alone: usize) {
    let sandbox = &service.refersion.sandbox;
    let calls = since(before, sandbox);
    assert!(calls.len() <= HALVINGS + 1, "{} calls: {:?}", calls.len(), sizes(&calls));
    let alone = calls.iter().filter(|call| sizes(std::slice::from_ref(call)) == [1] && call.status == Some(422));
    assert_eq!(alone.count(), rejected_alone);
    for affiliate in sandbox.affiliates() {
        let said = crate::support::affiliate_updates::values("city", affiliate.id.0, sandbox);
        assert!(said.iter().filter(|(_, effective)| *effective).count() <= 1, "{said:?}");
    }
}

#[tokio::test]
async fn a_rejected_affiliate_becomes_a_dead_letter_alone_and_the_others_of_the_request_are_changed() {
    let (service, before) = with_poisoned(&required(), &[]).await;
    let sandbox = &service.refersion.sandbox;
    assert_eq!(cities("Oslo", sandbox), FULL - 1);
    assert_eq!(sandbox.affiliate("u17@example.com").expect("kept").field("city"), "");
    assert_eq!(super::dead_letters(&service).await, 1);
    assert_halved(&service, before, 2); // the second time without the city
}

#[tokio::test]
async fn a_rejected_value_is_left_out_alone_and_the_others_of_the_request_are_changed() {
    let custom = ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#);
    for poison in
        [json!({"company": "x".repeat(300)}), json!({"plan": "x".repeat(300)}), json!({"email": "theirs@example.com"})]
    {
        let (service, before) = with_poisoned(&poison, &[custom]).await;
        let sandbox = &service.refersion.sandbox;
        assert_eq!(cities("Oslo", sandbox), FULL, "{poison}");
        let one = sandbox.affiliate("u17@example.com").expect("its e-mail is as it was");
        assert_eq!((one.field("company"), one.custom_fields.get("77")), ("", None), "{poison}");
        assert_eq!(super::dead_letters(&service).await, 0, "{poison}");
        assert_halved(&service, before, 1);
    }
}

#[tokio::test]
async fn a_rejected_request_for_many_is_split_in_halves_for_any_words_of_the_rejection() {
    let status = |status, body| Fault::Status { status, body, retry_after: None };
    for rejection in [
        status(204, json!({"error": "Invalid field X"})),
        status(400, json!({"error": "Missing required field X"})),
        status(404, json!({"error": ["Bad request, no body", "Offer does not exists on the database."]})),
        status(429, json!({"error": "Max number of elements on attribute (50) reached."})),
        Fault::unprocessable("Affiliate not found."),
        Fault::unprocessable("Your account plan does not support this feature (error 1)."),
    ] {
        let (service, before) = knowing(Refersion::start().await, FULL, &[]).await;
        let sandbox = &service.refersion.sandbox;
        sandbox.script_for(Operation::Edit, [rejection.clone()]);
        send_all(&service, each_identify(FULL, "moved", &city("Oslo"))).await;
        service.until_drained().await;
        assert_eq!(sizes(&since(before, sandbox)), [FULL, FULL / 2, FULL / 2], "{rejection:?}");
        assert_each_was_sent(&["Oslo"], sandbox);
        assert_eq!(super::dead_letters(&service).await, 0, "{rejection:?}");
    }
}

#[tokio::test]
async fn a_rejected_status_change_of_many_is_split_in_halves() {
    let (service, before) = knowing(Refersion::start().await, FULL, &[]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script_for(Operation::StatusChange, [Fault::unprocessable("no"), Fault::Pass, Fault::unprocessable("no")]);
    let delete = |user| json!({"type": "delete", "messageId": format!("d{user}"), "userId": format!("u{user}")});
    send_all(&service, (0..FULL).map(delete).collect()).await;
    service.until_drained().await;
    assert_eq!(sizes(&since(before, sandbox)), [50, 25, 25, 12, 13]);
    assert!(sandbox.affiliates().iter().all(|one| one.status == AffiliateStatus::Disabled));
}

#[tokio::test]
async fn a_pause_while_a_rejected_request_is_split_hands_back_the_calls_that_were_not_sent() {
    let (service, before) = knowing(Refersion::start().await, FULL, &[]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script_for(Operation::Edit, [Fault::unprocessable("no"), Fault::too_many_calls(Some(1))]);
    send_all(&service, each_identify(FULL, "moved", &city("Oslo"))).await;
    service.until_drained().await;
    let calls = since(before, sandbox);
    assert_eq!(sizes(&calls)[..3], [FULL, FULL / 2, 1], "one event goes first");
    assert!(calls[2].at.0 - calls[1].at.0 >= 1000, "the wait of Retry-After");
    assert_each_was_sent(&["Oslo"], sandbox);
    assert_eq!(super::dead_letters(&service).await, 0);
}

/// The worst case: the request is split down to each affiliate.
#[tokio::test]
async fn each_affiliate_is_a_dead_letter_within_a_bounded_number_of_calls_if_every_one_is_rejected() {
    let (service, before) = knowing(Refersion::start().await, FULL, &[]).await;
    send_all(&service, each_identify(FULL, "moved", &required())).await;
    service.until_drained().await;
    assert_eq!(super::dead_letters(&service).await, FULL);
    assert_eq!(since(before, &service.refersion.sandbox).len(), 2 * FULL - 1);
}

/// A value that may be left out costs as many calls, and one more for each affiliate with other values.
#[tokio::test]
async fn each_affiliate_is_delivered_without_its_rejected_value_within_a_bounded_number_of_calls() {
    let company = "x".repeat(300);
    for (traits, most) in
        [(json!({"company": company}), 2 * FULL - 1), (json!({"company": company, "city": "Oslo"}), 3 * FULL - 1)]
    {
        let has_city = traits["city"].is_string();
        let (service, before) = knowing(Refersion::start().await, FULL, &[]).await;
        send_all(&service, each_identify(FULL, "moved", &traits)).await;
        service.until_drained().await;
        let sandbox = &service.refersion.sandbox;
        assert_eq!(super::dead_letters(&service).await, 0);
        assert!(sandbox.affiliates().iter().all(|one| one.field("company").is_empty()));
        assert_eq!(cities("Oslo", sandbox), if has_city { FULL } else { 0 });
        let calls = since(before, sandbox);
        assert!(calls.len() <= most, "{has_city}: {} calls: {:?}", calls.len(), sizes(&calls));
    }
}

/// Ten events of `u0`, which only say a city, but one says `poison` as well; and how many calls there were before.
async fn with_poisoned_event(poisoned: usize, poison: &Value) -> (Service, usize) {
    let (service, before) = knowing(Refersion::start().await, 1, &[]).await;
    let mut line: Vec<_> =
        (0..10).map(|n| crate::support::identify(&format!("m{n}"), "u0", &city(&format!("City {n}")))).collect();
    for event in &mut line {
        event["traits"].as_object_mut().expect("traits").remove("name"); // a later name would take the place of a refused one
    }
    for (key, value) in poison.as_object().expect("traits") {
        line[poisoned]["traits"][key] = value.clone();
    }
    send_all(&service, line).await;
    service.until_drained().await;
    (service, before)
}

/// The newest value of the other events counts.
#[tokio::test]
async fn a_rejected_event_among_coalesced_ones_becomes_a_dead_letter_alone() {
    for poisoned in [0, 4, 9] {
        let (service, before) = with_poisoned_event(poisoned, &required()).await;
        let sandbox = &service.refersion.sandbox;
        let last = if poisoned == 9 { "City 8" } else { "City 9" };
        assert_eq!(cities(last, sandbox), 1, "{poisoned}");
        assert_eq!(super::dead_letters(&service).await, 1, "{poisoned}");
        let calls = since(before, sandbox);
        assert!(calls.len() <= HALVINGS + 1, "{poisoned}: {:?}", operations(&calls));
    }
}

#[tokio::test]
async fn a_rejected_value_among_coalesced_events_is_left_out_alone() {
    for poisoned in [0, 4, 9] {
        let (service, before) = with_poisoned_event(poisoned, &json!({"company": "x".repeat(300)})).await;
        let sandbox = &service.refersion.sandbox;
        assert_eq!(cities("City 9", sandbox), 1, "{poisoned}");
        assert_eq!(sandbox.affiliate("u0@example.com").expect("kept").field("company"), "", "{poisoned}");
        assert_eq!(super::dead_letters(&service).await, 0, "{poisoned}");
        let calls = since(before, sandbox);
        assert!(calls.len() <= HALVINGS + 1, "{poisoned}: {:?}", operations(&calls));
    }
}

/// An event whose value was rejected, and that then fails, is not tried again together with the next: what it leaves out is its own.
#[tokio::test]
async fn a_value_left_out_of_one_event_is_not_left_out_of_the_next_although_a_call_fails_between() {
    let service = Service::start(&[super::AT_ONCE]).await;
    let rejected = || Fault::unprocessable("Rome is not a allowed value for field city");
    service.refersion.sandbox.script_for(Operation::New, [rejected(), rejected(), Fault::status(500)]);
    let event = |name, city| crate::support::identify(name, "u0", &json!({"city": city, "company": name}));
    send_all(&service, vec![event("m0", "Rome"), event("m1", "Oslo")]).await;
    service.until_drained().await;
    let sandbox = &service.refersion.sandbox;
    assert_eq!(super::dead_letters(&service).await, 0);
    let one = sandbox.affiliate("u0@example.com").expect("created");
    assert_eq!((one.field("city"), one.field("company")), ("Oslo", "m1"), "{:?}", service.refersion.operations());
    let cities = crate::support::affiliate_updates::values("city", one.id.0, sandbox);
    assert!(cities.iter().all(|(city, effective)| city != "Rome" || !effective), "{cities:?}");
}
