//! The lane of one user: its events, and the events that it delays.

use super::{AT_ONCE, accepted, names};
use crate::support::identify;
use crate::support::service::Service;
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

#[tokio::test]
async fn a_stuck_event_delays_its_user_alone() {
    let service = Service::start(&[AT_ONCE, ("REFERSION_TIMEOUT", "10s")]).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    accepted(&service, &identify("s1", "stuck", &json!({"city": "Rome"}))).await;
    service.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    accepted(&service, &identify("s2", "stuck", &json!({"city": "Oslo"}))).await;
    for user in 0..30 {
        accepted(&service, &identify(&format!("m{user}"), &format!("u{user}"), &Value::Null)).await;
    }
    service.refersion.until(|sandbox| sandbox.affiliates().len() >= 30).await;
    assert!(service.refersion.sandbox.affiliate("stuck@example.com").is_none(), "overtaken by all others");
    service.until_drained().await;
    assert_eq!(names(&service.refersion), ["Rome", "Oslo"]);
}

/// Their events have one order also where the second `userId` may not change what the first one owns.
#[tokio::test]
async fn two_user_ids_with_one_email_are_one_user() {
    for (on_other_user, cities) in
        [("update", &["Rome", "Rome", "Oslo", "Bern"][..]), ("ignore", &["Rome", "Rome", "Bern"])]
    {
        let settings = [AT_ONCE, ("REFERSION_TIMEOUT", "500ms"), ("DELIVERY_ON_OTHER_USER", on_other_user)];
        let service = Service::start(&settings).await;
        service.refersion.sandbox.script([Fault::Hang { effect: false }]);
        for (user, city) in [("u1", "Rome"), ("u2", "Oslo"), ("u1", "Bern")] {
            accepted(&service, &identify(city, user, &json!({"email": "shared@example.com", "city": city}))).await;
        }
        service.until_drained().await;
        assert_eq!(names(&service.refersion), cities, "{on_other_user}");
        assert_eq!(service.refersion.sandbox.affiliates().len(), 1, "{on_other_user}");
        assert_eq!(service.ready().await.json()["dead_letters"], 0, "{on_other_user}");
    }
}

#[tokio::test]
async fn a_duplicate_of_a_pending_event_has_no_effect() {
    let service = Service::start(&[AT_ONCE, ("REFERSION_TIMEOUT", "500ms")]).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    let event = identify("m1", "u1", &Value::Null);
    accepted(&service, &event).await;
    service.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    assert_eq!(service.send(&event).await.brief(), "200 duplicate");
    service.until_drained().await;
    assert_eq!(service.send(&event).await.brief(), "200 duplicate");
    assert_eq!(service.refersion.operations(), ["new", "new"]);
}

#[tokio::test]
async fn a_delete_between_two_identifies_stands() {
    let service = Service::start(&[AT_ONCE, ("REFERSION_TIMEOUT", "500ms")]).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    accepted(&service, &identify("m1", "u1", &json!({"city": "Rome"}))).await;
    accepted(&service, &json!({"type": "delete", "messageId": "m2", "userId": "u1"})).await;
    accepted(&service, &identify("m3", "u1", &json!({"city": "Oslo"}))).await;
    service.until_drained().await;
    assert_eq!(service.refersion.operations(), ["new", "new", "status_change", "new", "search"]);
    let affiliates = service.refersion.sandbox.affiliates();
    assert_eq!(affiliates.len(), 1);
    assert_eq!((affiliates[0].status, affiliates[0].field("city")), (AffiliateStatus::Disabled, "Rome"));
}

#[tokio::test]
async fn an_anonymizing_delete_leaves_nothing_personal() {
    let service = Service::start(&[("DELIVERY_ON_DELETE", "anonymize")]).await;
    let traits = json!({"name": "Ann Marker", "email": "marker@example.com", "phone": "555-marker", "company": "Marker",
        "address": {"street": "Marker St 1\nMarker Hall", "city": "Marker", "postalCode": "MARKER"}});
    service.send(&identify("m1", "marker", &traits)).await;
    let deleted = service.send(&json!({"type": "delete", "messageId": "m2", "userId": "marker"})).await;
    assert_eq!(deleted.json()["action"], "anonymized");
    assert_eq!(service.refersion.operations(), ["new", "edit", "status_change"]);
    let affiliates = service.refersion.sandbox.affiliates();
    assert_eq!(affiliates[0].status, AffiliateStatus::Disabled);
    let kept = serde_json::to_string(&affiliates[0].fields).expect("serialises").to_lowercase();
    assert!(!kept.replace(r#""unique_merchant_id":"marker""#, "").contains("marker"), "{kept}");
}

/// A delete goes by its `userId`. Its e-mail leads to another user here, whose own delete must still find the affiliate.
#[tokio::test]
async fn a_delete_with_the_email_of_another_user_leaves_that_user_known() {
    let service = Service::start(&[]).await;
    for user in ["u1", "u2"] {
        assert_eq!(service.send(&identify(user, user, &Value::Null)).await.json()["action"], "created");
    }
    let status = |email: &str| service.refersion.sandbox.affiliate(email).expect("kept").status;
    let with_email = json!({"type": "delete", "messageId": "m3", "userId": "u1", "email": "u2@example.com"});
    assert_eq!(service.send(&with_email).await.json()["action"], "disabled");
    assert_eq!(
        (status("u1@example.com"), status("u2@example.com")),
        (AffiliateStatus::Disabled, AffiliateStatus::Pending)
    );
    let by_user_id = json!({"type": "delete", "messageId": "m4", "userId": "u2"});
    assert_eq!(service.send(&by_user_id).await.json()["action"], "disabled");
    assert_eq!(status("u2@example.com"), AffiliateStatus::Disabled);
}
