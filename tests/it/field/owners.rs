//! No event takes over another user's affiliate, although anybody with a browser's write key can identify any e-mail.

use super::{Case, calls, delete, deliver, engage, hold, identify, send_all, shown, words};
use serde_json::{Value, json};

const ANN: &str = "ann@example.com";

fn ann(user: &str, city: &str) -> Value {
    identify(user, json!({"email": ANN, "city": city}))
}

#[tokio::test]
async fn an_identify_with_another_user_id_or_with_none_changes_nothing_and_links_nothing() {
    let mut cases: Vec<Case> = Vec::new();
    for (claim, stranger) in [("another userId", "u2"), ("no userId", "")] {
        cases.push((
            claim,
            vec![ann("u1", "Rome"), ann(stranger, "Oslo"), ann("u1", "Bern")],
            "created ignored updated",
            &["ann@example.com PENDING Bern u1"],
        ));
    }
    cases.push((
        "a delete of the other userId reaches nobody",
        vec![ann("u1", "Rome"), ann("u2", "Oslo"), delete("u2", json!({}))],
        "created ignored not_found",
        &["ann@example.com PENDING Rome u1"],
    ));
    cases.push((
        "a later identify of the other userId with an e-mail of its own creates an affiliate of its own",
        vec![ann("u1", "Rome"), ann("u2", "Oslo"), identify("u2", json!({"email": "bob@example.com", "city": "Oslo"}))],
        "created ignored created",
        &["ann@example.com PENDING Rome u1", "bob@example.com PENDING Oslo u2"],
    ));
    cases.push((
        "a user may not change to the e-mail of somebody else",
        vec![
            ann("u1", "Rome"),
            identify("u2", json!({"email": "bob@example.com"})),
            ann("u2", "Oslo"),
            delete("u2", json!({})),
        ],
        "created created updated disabled",
        &["ann@example.com PENDING Rome u1", "bob@example.com DISABLED Oslo u2"],
    ));
    hold(&[], "email status city unique_merchant_id", cases).await;
}

#[tokio::test]
async fn the_reason_tells_the_customer_a_remedy_and_names_nobody() {
    let (service, answers) = deliver(&[], vec![ann("u1", "Rome"), ann("u2", "Oslo")]).await;
    let (message, code) = (answers[1].message(), &service.refersion.sandbox.affiliates()[0].code);
    assert!(message.contains(&code.0) && message.contains("userId"), "{message}");
    assert!(!message.replace(&code.0, "").contains("u1"), "the code is drawn, and may have it: {message}");
    assert_eq!(calls(&service), 1, "nothing was asked, either");
}

#[tokio::test]
async fn an_affiliate_without_an_owner_gets_the_next_user_id_as_its_owner() {
    hold(
        &[],
        "email city",
        vec![
            (
                "created without a userId",
                vec![ann("", "Rome"), ann("u1", "Oslo"), ann("u2", "Bern"), ann("", "Bonn"), ann("u1", "Kyiv")],
                "created updated ignored ignored updated",
                &["ann@example.com Kyiv"],
            ),
            (
                "without a userId it may still be changed by its e-mail",
                vec![ann("", "Rome"), ann("", "Oslo")],
                "created updated",
                &["ann@example.com Oslo"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn another_user_id_updates_the_affiliate_and_leads_to_it_with_on_other_user_update() {
    hold(
        &[("DELIVERY_ON_OTHER_USER", "update")],
        "email status city",
        vec![
            (
                "an identify",
                vec![ann("u1", "Rome"), ann("u2", "Oslo"), ann("", "Bern")],
                "created updated updated",
                &["ann@example.com PENDING Bern"],
            ),
            (
                "a delete",
                vec![ann("u1", "Rome"), ann("u2", "Oslo"), delete("u2", json!({}))],
                "created updated disabled",
                &["ann@example.com DISABLED Oslo"],
            ),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_engage_event_without_a_user_id_applies_the_configured_effects_by_email_and_nothing_else() {
    let audiences = r#"[{ trait = "vip", on_true = { status = "ACTIVE", custom_fields = { "77" = "yes" } } }]"#;
    let event = engage("", json!({"email": ANN, "vip": true, "name": "Eve Hacker", "city": "Oslo"}));
    hold(
        &[("MAPPING_AUDIENCES", audiences)],
        "first_name city status 77",
        vec![("by e-mail", vec![ann("u1", "Rome"), event], "created updated", &["Ann Rome ACTIVE yes"])],
    )
    .await;
}

#[tokio::test]
async fn paypal_email_is_sent_only_if_the_operator_says_so() {
    let event = || vec![identify("u1", json!({"email": ANN, "paypalEmail": "pay@example.com"}))];
    hold(&[], "paypal_email", vec![("by default", event(), "created", &["-"])]).await;
    let settings = [("MAPPING_PAYPAL_EMAIL", "true")];
    hold(&settings, "paypal_email", vec![("if it is on", event(), "created", &["pay@example.com"])]).await;
}

#[tokio::test]
async fn a_project_that_is_not_trusted_may_create_and_nothing_else() {
    let of = |project: &str, mut event: Value| {
        event["projectId"] = json!(project);
        event
    };
    let created = || of("server", ann("u1", "Rome"));
    hold(
        &[("SEGMENT_TRUSTED_PROJECTS", "server")],
        "email status city",
        vec![
            (
                "a trusted project",
                vec![created(), of("server", ann("u1", "Oslo"))],
                "created updated",
                &["ann@example.com PENDING Oslo"],
            ),
            ("it creates", vec![of("web", ann("u1", "Rome"))], "created", &["ann@example.com PENDING Rome"]),
            (
                "it edits nothing",
                vec![created(), of("web", ann("u1", "Oslo"))],
                "created ignored",
                &["ann@example.com PENDING Rome"],
            ),
            (
                "without a projectId",
                vec![created(), ann("u1", "Oslo")],
                "created ignored",
                &["ann@example.com PENDING Rome"],
            ),
            (
                "it deletes nobody",
                vec![created(), of("web", delete("u1", json!({})))],
                "created ignored",
                &["ann@example.com PENDING Rome"],
            ),
        ],
    )
    .await;
}

/// What the store remembers decides, also after a restart and for an affiliate that was found by a search.
#[tokio::test]
async fn an_owner_stays_the_owner_after_a_restart() {
    let (service, answers) = deliver(&[], vec![ann("u1", "Rome")]).await;
    assert_eq!(words(&answers), "created");
    let (refersion, folder) = service.stop().await;
    let service = crate::support::service::Service::resume(refersion, folder, &[super::WAIT]).await;
    assert_eq!(words(&send_all(&service, vec![ann("u2", "Oslo")]).await), "ignored");
    assert_eq!(shown(&service, "city"), ["Rome"]);
}
