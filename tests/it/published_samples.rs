//! The two published samples of Refersion's page in Segment's catalog, to the letter, end to end.

use crate::support::service::Service;
use serde_json::{Value, json};

const IDENTIFY: &str = include_str!("../data/published/identify.json");
const DELETE: &str = include_str!("../data/published/delete.json");

#[tokio::test]
async fn the_published_identify_creates_the_affiliate_and_the_published_delete_disables_it() {
    let service = Service::start(&[]).await;

    let created = service.send_raw(IDENTIFY).await;
    let peter = service.refersion.sandbox.affiliate("peter@example.com").expect("created");
    assert_eq!(created.brief(), "200 delivered");
    assert_eq!(created.json()["action"], "created");
    assert_eq!(created.message(), format!("affiliate {} created", peter.code));
    let fields = json!({"first_name": "Peter", "last_name": "Gibbons", "email": "peter@example.com", "address1": "6th St",
        "city": "San Francisco", "state": "CA", "zip": "94103", "country": "US", "send_welcome": "FALSE"});
    assert_eq!(serde_json::to_value(&peter.fields).expect("serialises"), fields);
    assert_eq!(peter.status.as_str(), "PENDING");

    assert_eq!(service.send_raw(IDENTIFY).await.brief(), "200 duplicate");
    assert_eq!(service.send(&again(IDENTIFY)).await.json()["action"], "unchanged");
    assert_eq!(service.refersion.operations(), ["new"], "what is known already costs no call");

    let deleted = service.send_raw(DELETE).await;
    assert_eq!(deleted.brief(), "200 delivered");
    assert_eq!(deleted.json()["action"], "disabled");
    assert_eq!(service.refersion.sandbox.affiliate("peter@example.com").expect("kept").status.as_str(), "DISABLED");
}

/// The same event, sent anew by its user.
fn again(event: &str) -> Value {
    let mut event: Value = serde_json::from_str(event).expect("JSON");
    event["messageId"] = "another".into();
    event
}
