//! Placeholder ids, which a client sends as `userId` where it knows none, name no user.

use super::{Case, delete, hold, identify, send_all, shown, words};
use crate::support::service::Service;
use serde_json::json;

#[tokio::test]
async fn users_with_one_placeholder_as_user_id_are_different_people_and_a_delete_of_it_is_nobodys() {
    const PLACEHOLDERS: [&str; 17] = [
        "undefined",
        "null",
        "(null)",
        "nil",
        "none",
        "NaN",
        "0",
        "-1",
        "anonymous",
        "guest",
        "unknown",
        "[object Object]",
        "00000000-0000-0000-0000-000000000000",
        "000",
        "--",
        " Undefined ",
        "NULL",
    ];
    let case = |id: &'static str| -> Case<'static> {
        let events = vec![
            identify(id, json!({"email": "ann@example.com"})),
            identify(id, json!({"email": "bob@example.com"})),
            delete(id, json!({})),
        ];
        (id, events, "created created rejected", &["ann@example.com PENDING -", "bob@example.com PENDING -"])
    };
    hold(&[], "email status unique_merchant_id", PLACEHOLDERS.into_iter().map(case).collect()).await;
}

#[tokio::test]
async fn the_list_is_a_setting() {
    let settings = [("MAPPING_IGNORED_USER_IDS", "nobody")];
    let events =
        |id: &str| ["ann@example.com", "bob@example.com"].map(|email| identify(id, json!({"email": email}))).to_vec();
    hold(
        &settings,
        "email",
        vec![
            ("on the list", events("Nobody"), "created created", &["ann@example.com", "bob@example.com"]),
            ("not on the list", events("guest"), "created updated", &["bob@example.com"]),
        ],
    )
    .await;
}

#[tokio::test]
async fn a_placeholder_that_was_a_user_before_owns_nobody_any_more() {
    let before = Service::start(&[("MAPPING_IGNORED_USER_IDS", "nobody")]).await;
    let events = vec![identify("undefined", json!({"email": "ann@example.com"}))];
    assert_eq!(words(&send_all(&before, events).await), "created");
    let (refersion, folder) = before.stop().await;
    let service = Service::resume(refersion, folder, &[]).await;
    let events = vec![
        identify("undefined", json!({"email": "bob@example.com"})),
        identify("u1", json!({"email": "ann@example.com", "city": "Oslo"})),
    ];
    assert_eq!(words(&send_all(&service, events).await), "created updated");
    assert_eq!(shown(&service, "email city"), ["ann@example.com Oslo", "bob@example.com -"]);
}
