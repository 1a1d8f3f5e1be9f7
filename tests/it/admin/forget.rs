//! `POST /api/v1/forget`: what would be erased, and what was.

use super::{change, dead_letter, post, problem, read, service};
use serde_json::json;

#[tokio::test]
async fn a_dry_run_has_the_counts_of_the_erasure_and_changes_nothing() {
    let service = service(&[]).await;
    service.send(&crate::support::identify("m0", "u1", &json!({}))).await;
    dead_letter(&service, "m1", "u2").await;
    for (user, dead_letters, affiliates) in [("u1", 0, 1), ("u2", 1, 0)] {
        let dry = json!({"user_id": user, "dry_run": true});
        let counted = change(&service, "/api/v1/forget", &dry).await;
        assert_eq!((&counted["dead_letters"], &counted["affiliates"]), (&dead_letters.into(), &affiliates.into()));
        assert_eq!(change(&service, "/api/v1/forget", &dry).await, counted, "nothing has changed");
        assert_eq!(change(&service, "/api/v1/forget", &json!({"user_id": user})).await, counted);
        let nothing = json!({
            "account": "main",
            "events": 0, "in_flight": 0, "dead_letters": 0, "links": 0, "affiliates": 0, "remembered": 0,
        });
        assert_eq!(change(&service, "/api/v1/forget", &dry).await, nothing);
    }
    assert_eq!(read(&service, "/api/v1/dead-letters/2").await["erased"], true);
}

#[tokio::test]
async fn both_names_of_a_user_and_the_account_may_be_given() {
    let service = service(&[]).await;
    service.send(&crate::support::identify("m0", "u1", &json!({}))).await;
    let whom = json!({"user_id": "u1", "email": "\u{feff}U1@example.com\u{200b}", "account": "main"});
    assert_eq!(change(&service, "/api/v1/forget", &whom).await["affiliates"], 1);
    let other = post(&service, "/api/v1/forget", &json!({"user_id": "u1", "account": "brand-b"})).await;
    assert_eq!(problem(&other), "404 not-found");
}
