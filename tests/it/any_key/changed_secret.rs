//! A merchant changes its secret: the account stays the same and continues with the new secret.

use super::{ANN, ANN_2, Partner};
use crate::support::{identify, within};
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

/// A halt that is not probed while the test runs.
const LONG: [(&str, &str); 2] = [("DELIVERY_RETRY_MIN", "1h"), ("DELIVERY_RETRY_MAX", "1h")];

fn event(n: u32) -> Value {
    identify(&format!("m{n}"), &format!("u{n}"), &Value::Null)
}

#[tokio::test]
async fn events_pending_under_an_old_secret_are_delivered_with_the_new_one() {
    let partner = Partner::start(&LONG).await;
    let ann = partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &event(1)).await.brief(), "200 delivered");
    let kept = partner.kept();

    partner.refersions.accept(ANN_2);
    let halted = partner.send(ANN, &event(2)).await;
    assert_eq!(halted.brief(), "401 unauthorized");
    assert!(halted.message().starts_with("Refersion rejected the API key: correct it"), "{}", halted.message());
    assert_eq!(partner.send(ANN, &json!([event(3), event(4)])).await.brief(), "202 accepted");
    let ready = partner.ready().await;
    assert_eq!((&ready["pending"], &ready["refersion"]), (&json!(3), &json!("ok")), "no trouble of the service's");
    assert_eq!(ready["merchants"], json!({"at_work": 1, "halted": 1, "paused": 0}));
    let name = &kept[0].0;
    assert_eq!(ready["accounts"][name]["refersion"], "halted: Refersion rejects the API key");

    assert_eq!(partner.send(ANN_2, &event(5)).await.brief(), "200 delivered");
    within(ann.until(|ann| ann.affiliates().len() == 5)).await;
    partner.service.until_drained().await;
    let now = partner.kept();
    assert!(now.len() == 1 && now[0].0 == *name && now[0].1 != kept[0].1, "in the place of the first");
    assert_eq!(partner.ready().await["merchants"], json!({"at_work": 1, "halted": 0, "paused": 0}));
}

/// A pause that began before the halt ends with it.
#[tokio::test]
async fn a_429_then_a_401_then_a_new_secret_leave_the_account_healthy() {
    let partner = Partner::start(&[("DELIVERY_RETRY_MIN", "1ms"), ("DELIVERY_RETRY_MAX", "1h")]).await;
    let ann = partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &event(1)).await.brief(), "200 delivered");
    let invalid = json!({"error": "Invalid API credentials (error 2)."});
    let refused = Fault::Status { status: 401, body: invalid, retry_after: None };
    ann.script([Fault::too_many_calls(Some(1)), refused]);
    partner.send(ANN, &event(2)).await;
    let name = partner.kept()[0].0.clone();
    let stands = async || partner.ready().await["accounts"][&name]["refersion"].clone();
    within(async { while stands().await != "halted: Refersion rejects the API key" {} }).await;
    partner.refersions.accept(ANN_2);
    assert_eq!(partner.send(ANN_2, &event(3)).await.brief(), "200 delivered");
    partner.service.until_drained().await;
    let ready = partner.ready().await;
    assert_eq!(
        (&ready["refersion"], &ready["merchants"]),
        (&json!("ok"), &json!({"at_work": 1, "halted": 0, "paused": 0}))
    );
    assert_eq!(ann.affiliates().len(), 3);
}

#[tokio::test]
async fn users_and_repeats_are_known_across_a_change_of_the_secret_and_a_restart() {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &event(1)).await.brief(), "200 delivered");
    partner.refersions.accept(ANN_2);
    assert_eq!(partner.send(ANN_2, &event(1)).await.brief(), "200 duplicate");
    let partner = partner.again(&[]).await;
    let asked = partner.refersions.verifications(ANN_2);
    let delete = json!({"type": "delete", "messageId": "m2", "userId": "u1"});
    assert_eq!(partner.send(ANN_2, &delete).await.json()["action"], "disabled", "the link is remembered");
    assert_eq!(partner.refersions.verifications(ANN_2), asked, "and so is the key");
    assert_eq!(ann.affiliates()[0].status, AffiliateStatus::Disabled);
    assert_eq!(partner.send(ANN, &event(3)).await.brief(), "401 unauthorized", "the old secret belongs to no account");
}

/// Both secrets were accepted within a moment: in either order, the account has a secret that works.
#[tokio::test]
async fn a_late_request_with_the_old_secret_does_not_restore_it() {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &event(0)).await.brief(), "200 delivered");
    partner.refersions.accept(ANN_2);
    assert_eq!(partner.send(ANN_2, &event(1)).await.brief(), "200 delivered");
    for n in 2..6 {
        let (old, new) = (event(100 + n), event(n));
        let (old, new) = tokio::join!(partner.send(ANN, &old), partner.send(ANN_2, &new));
        assert_eq!((&*old.brief(), &*new.brief()), ("401 unauthorized", "200 delivered"));
    }
    assert_eq!(ann.affiliates().len(), 6);
    assert!(partner.verifications(ANN) <= 2, "at first, and when it was old");
}
