//! Engage events state computed traits and audiences of a user: they change no e-mail, and leaving an audience creates no affiliate.

use super::{engage, hold, identify};
use serde_json::json;

const AUDIENCES: (&str, &str) = (
    "MAPPING_AUDIENCES",
    r#"[{ trait = "vip", on_true = { custom_fields = { "77" = "yes" } }, on_false = { custom_fields = { "77" = "no" } } }]"#,
);

#[tokio::test]
async fn an_engage_event_changes_no_email_and_goes_to_the_affiliate_of_its_user_id() {
    let (ann, bob) =
        (identify("u1", json!({"email": "ann@example.com"})), identify("u2", json!({"email": "bob@example.com"})));
    hold(
        &[AUDIENCES],
        "email 77",
        vec![
            (
                "an e-mail that nobody has",
                vec![ann.clone(), engage("u1", json!({"email": "new@example.com", "vip": true}))],
                "created updated",
                &["ann@example.com yes"],
            ),
            (
                "an e-mail that belongs to another affiliate",
                vec![ann.clone(), bob, engage("u1", json!({"email": "bob@example.com", "vip": true}))],
                "created created updated",
                &["ann@example.com yes", "bob@example.com -"],
            ),
            (
                "the e-mail says whom it is about where the userId leads nowhere",
                vec![
                    identify("", json!({"email": "ann@example.com"})),
                    engage("u9", json!({"email": "ann@example.com", "vip": true})),
                ],
                "created updated",
                &["ann@example.com yes"],
            ),
            (
                "an identify of the same kind does change it",
                vec![ann, identify("u1", json!({"email": "new@example.com", "vip": true}))],
                "created updated",
                &["new@example.com yes"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn leaving_an_audience_creates_nobody_however_enriched_and_entering_one_may() {
    let enriched =
        |entered: bool| json!({"email": "ann@example.com", "name": "Ann Lee", "city": "Rome", "vip": entered});
    hold(
        &[AUDIENCES],
        "email 77",
        vec![
            ("left", vec![engage("u1", enriched(false))], "ignored", &[]),
            (
                "left, as Segment's other destinations send it",
                vec![identify("u1", enriched(false))],
                "created",
                &["ann@example.com no"],
            ),
            ("entered", vec![engage("u1", enriched(true))], "created", &["ann@example.com yes"]),
            (
                "entered without a name",
                vec![engage("u1", json!({"email": "ann@example.com", "vip": true}))],
                "ignored",
                &[],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn the_exact_name_of_a_trait_wins_over_a_loosely_equal_one() {
    let audience = |name: &str, value: &str| {
        format!(r#"{{ trait = "{name}", on_true = {{ custom_fields = {{ "77" = "{value}" }} }} }}"#)
    };
    let audiences = format!("[{}, {}]", audience("tier_1_1", "small"), audience("tier_11", "large"));
    let event = |name: &str| vec![identify("u1", json!({"email": "ann@example.com", name: true}))];
    hold(
        &[("MAPPING_AUDIENCES", &audiences)],
        "77",
        vec![
            ("tier_1_1", event("tier_1_1"), "created", &["small"]),
            ("tier_11", event("tier_11"), "created", &["large"]),
        ],
    )
    .await;
}
