//! Pending events of one user cost no more calls than their combined change.

use super::{cities, city, each_identify, knowing, operations, send_all, since};
use crate::support::service::{Refersion, Service};
use crate::support::{Answer, http, identify};
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

const PLANS: (&str, &str) = ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#);

/// Ten identifies of `u0`, each with another city and another plan.
fn ten() -> Vec<Value> {
    (0..10)
        .map(|n| identify(&format!("m{n}"), "u0", &json!({"city": format!("City {n}"), "plan": n.to_string()})))
        .collect()
}

fn delete(message_id: &str, user: &str) -> Value {
    json!({"type": "delete", "messageId": message_id, "userId": user})
}

async fn assert_last_of_ten_counts(service: &Service) {
    let affiliates = service.refersion.sandbox.affiliates();
    let [one] = &affiliates[..] else { panic!("{affiliates:?}") };
    assert_eq!((one.field("city"), &*one.custom_fields["77"]), ("City 9", "9"));
    assert_eq!(service.ready().await.json()["dead_letters"], 0);
}

#[tokio::test]
async fn ten_identifies_in_one_array_cost_one_new_and_one_edit() {
    let service = Service::start(&[super::AT_ONCE, PLANS]).await;
    send_all(&service, ten()).await;
    service.until_drained().await;
    assert_eq!(service.refersion.operations(), ["new", "edit"]);
    assert_last_of_ten_counts(&service).await;
}

#[tokio::test]
async fn ten_identifies_one_by_one_cost_no_more_once_the_first_call_has_ended() {
    let service = Service::start(&[super::AT_ONCE, PLANS, ("REFERSION_TIMEOUT", "1s")]).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    for event in ten() {
        assert_eq!(service.send(&event).await.brief(), "202 accepted");
        service.refersion.until(|sandbox| sandbox.calls_total() > 0).await;
    }
    service.until_drained().await;
    assert_eq!(service.refersion.operations(), ["new", "new", "edit"], "the first one hung");
    assert_last_of_ten_counts(&service).await;
}

#[tokio::test]
async fn ten_identifies_of_a_known_user_cost_one_edit() {
    let (service, before) = knowing(Refersion::start().await, 1, &[PLANS]).await;
    send_all(&service, ten()).await;
    service.until_drained().await;
    assert_eq!(operations(&since(before, &service.refersion.sandbox)), ["edit"]);
    assert_last_of_ten_counts(&service).await;
}

#[tokio::test]
async fn a_delete_cancels_the_edits_before_it() {
    let (service, before) = knowing(Refersion::start().await, 1, &[PLANS]).await;
    send_all(&service, ten().into_iter().chain([delete("d", "u0")]).collect()).await;
    service.until_drained().await;
    let sandbox = &service.refersion.sandbox;
    assert_eq!(operations(&since(before, sandbox)), ["status_change"]);
    let deleted = sandbox.affiliate("u0@example.com").expect("kept");
    assert_eq!((deleted.status, deleted.field("city")), (AffiliateStatus::Disabled, ""));
    assert_eq!(super::dead_letters(&service).await, 0);
}

#[tokio::test]
async fn a_new_user_who_is_deleted_at_once_is_created_and_disabled() {
    let service = Service::start(&[super::AT_ONCE, PLANS]).await;
    send_all(&service, ten().into_iter().chain([delete("d", "u0")]).collect()).await;
    service.until_drained().await;
    assert_eq!(service.refersion.operations(), ["new", "status_change"]);
    let deleted = service.refersion.sandbox.affiliate("u0@example.com").expect("created");
    assert_eq!((deleted.status, deleted.field("city")), (AffiliateStatus::Disabled, "City 0"));
}

#[tokio::test]
async fn an_edit_that_a_delete_cancels_is_not_made_and_counts_as_ignored() {
    let (service, _) = knowing(Refersion::start().await, 2, &[("SERVER_WAIT", "1h")]).await;
    // The first is answered 429; what comes for another user during the pause is carried out after it, and nobody waits for it.
    service.refersion.sandbox.script_for(Operation::Edit, [Fault::too_many_calls(Some(1))]);
    let (first, head) = (identify("m0", "u0", &city("Rome")), identify("m1", "u1", &city("Rome")));
    let during_the_pause = async {
        service.refersion.until(|sandbox| sandbox.calls().iter().any(|call| call.status == Some(429))).await;
        assert_eq!(service.send(&head).await.brief(), "202 accepted");
        assert_eq!(service.send(&delete("d", "u1")).await.brief(), "202 accepted");
    };
    let (first, ()) = tokio::join!(service.send(&first), during_the_pause);
    assert_eq!(first.brief(), "202 accepted", "nobody waits for a pause");
    service.until_drained().await;
    assert_eq!(
        service.refersion.sandbox.affiliate("u1@example.com").map(|one| one.field("city").to_owned()),
        Some(String::new())
    );
    let metrics = Answer::to(http().get(format!("http://{}/metrics", service.addresses.ops))).await.text;
    let ignored = r#"events_ignored_total{account="main",reason="cancelled"} 1"#;
    assert!(metrics.contains(ignored), "{metrics}");
}

/// The edit would have linked the `userId` to the affiliate: what is kept under it is the deleted user's.
#[tokio::test]
async fn a_delete_that_cancels_edits_erases_as_much_as_if_they_had_been_made() {
    let service = Service::start(&[super::AT_ONCE]).await;
    let send = async |event: Value| {
        service.send(&event).await;
        service.until_drained().await;
    };
    let rejected = || Fault::unprocessable("Value exceed the char limit");
    service.refersion.sandbox.script_for(Operation::New, [rejected(), rejected()]);
    send(identify("dies", "u1", &json!({"email": "other@example.com"}))).await;
    assert_eq!(super::dead_letters(&service).await, 1);
    send(json!({"type": "identify", "messageId": "m0", "traits": {"email": "u1@example.com", "name": "P G"}})).await;
    let by_email = json!({"type": "delete", "messageId": "d", "email": "u1@example.com"});
    send_all(&service, vec![identify("m1", "u1", &city("Rome")), by_email]).await;
    service.until_drained().await;
    assert_eq!(cities("Rome", &service.refersion.sandbox), 0, "cancelled");
    let letters =
        Answer::to(service.http.get(format!("http://{}/api/v1/dead-letters", service.addresses.ops))).await.json();
    assert_eq!(letters.pointer("/letters/0/erased"), Some(&json!(true)), "{letters}");
}

#[tokio::test]
async fn a_value_that_was_sent_before_costs_no_call() {
    const USERS: usize = 60;
    let audiences = (
        "MAPPING_AUDIENCES",
        r#"[{ trait = "vip", on_true = { status = "ACTIVE", custom_fields = { "78" = "yes" } } }]"#,
    );
    let (service, _) = knowing(Refersion::start().await, USERS, &[PLANS, audiences]).await;
    let sync = |name| each_identify(USERS, name, &json!({"city": "Rome", "plan": "gold", "vip": true}));
    send_all(&service, sync("first")).await;
    service.until_drained().await;
    let sandbox = &service.refersion.sandbox;
    assert!(
        sandbox
            .affiliates()
            .iter()
            .all(|one| one.custom_fields["77"] == "gold" && one.status == AffiliateStatus::Active)
    );
    let before = sandbox.calls_total();
    for name in ["second", "third"] {
        send_all(&service, sync(name)).await;
        service.until_drained().await;
    }
    assert_eq!(sandbox.calls_total(), before);
    assert_eq!(super::dead_letters(&service).await, 0);
}
