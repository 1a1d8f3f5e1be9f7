//! The merchant's decisions at Refersion stand: an affiliate they denied or disabled is never activated by an event.

use super::{delete, deliver, hold, identify, status_of};
use refersion_destination::domain::AffiliateStatus;
use serde_json::{Value, json};

const AUDIENCES: (&str, &str) = (
    "MAPPING_AUDIENCES",
    r#"[{ trait = "vip", on_true = { status = "ACTIVE" }, on_false = { status = "DISABLED" } }]"#,
);

fn vip(vip: Option<bool>) -> Value {
    let mut traits = json!({"email": "ann@example.com"});
    if let Some(vip) = vip {
        traits["vip"] = json!(vip);
    }
    identify("u1", traits)
}

fn merchant_sets(status: &str) -> Value {
    json!({"merchant_sets": status})
}

#[tokio::test]
async fn denied_and_disabled_stay_unless_an_audience_rule_of_this_service_set_it() {
    hold(
        &[AUDIENCES],
        "status",
        vec![
            ("denied", vec![vip(None), merchant_sets("DENIED"), vip(Some(true))], "created ignored", &["DENIED"]),
            ("disabled", vec![vip(None), merchant_sets("DISABLED"), vip(Some(true))], "created ignored", &["DISABLED"]),
            (
                "denied, and then left",
                vec![vip(None), merchant_sets("DENIED"), vip(Some(false))],
                "created ignored",
                &["DENIED"],
            ),
            ("nothing decided", vec![vip(None), vip(Some(true))], "created updated", &["ACTIVE"]),
            (
                "an activation",
                vec![vip(None), merchant_sets("ACTIVE"), vip(Some(false))],
                "created updated",
                &["DISABLED"],
            ),
            (
                "disabled by the rule itself",
                vec![vip(None), vip(Some(false)), vip(Some(true))],
                "created updated updated",
                &["ACTIVE"],
            ),
            (
                "disabled by the merchant after an activation by the rule",
                vec![vip(Some(true)), merchant_sets("DISABLED"), vip(Some(false)), vip(Some(true))],
                "created ignored unchanged",
                &["DISABLED"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_rest_of_the_event_is_delivered_and_the_answer_says_that_the_status_stays() {
    let event = identify("u1", json!({"email": "ann@example.com", "city": "Rome", "vip": true}));
    let (service, answers) = deliver(&[AUDIENCES], vec![vip(None), merchant_sets("DENIED"), event]).await;
    let message = answers[1].message();
    assert!(message.contains("DENIED"), "{message}");
    assert_eq!(status_of(&service, "ann@example.com"), AffiliateStatus::Denied);
}

#[tokio::test]
async fn no_event_activates_the_affiliate_after_a_delete() {
    hold(
        &[AUDIENCES],
        "status",
        vec![(
            "a later identify",
            vec![vip(None), delete("u1", json!({})), vip(Some(true))],
            "created disabled ignored",
            &["DISABLED"],
        )],
    )
    .await;
}
