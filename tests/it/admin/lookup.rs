//! `POST /api/v1/lookup`: the results of a user's events, without an identifier of the user in the answer or the logs.

use super::{change, dead_letter, get, post, problem, service};
use crate::support::identify;
use serde_json::{Value, json};

#[tokio::test]
async fn a_user_is_found_by_everything_an_operator_may_know() {
    let service = service(&[]).await;
    service.send(&identify("m0", "u1", &json!({"city": "Markertown"}))).await;
    dead_letter(&service, "m1", "u2").await;
    let look_up = async |asked: Value| change(&service, "/api/v1/lookup", &asked).await;
    let first = look_up(json!({"email": "U1@Example.com"})).await;
    let affiliate = &first["affiliates"][0];
    assert_eq!((&first["known"], affiliate["created_here"].as_bool()), (&true.into(), Some(true)));
    assert_eq!((affiliate["user_ids"].as_u64(), affiliate["emails"].as_u64()), (Some(1), Some(1)));
    let sent: Vec<&str> =
        affiliate["sent"].as_array().into_iter().flatten().filter_map(|sent| sent["attribute"].as_str()).collect();
    assert_eq!(sent, ["city", "email", "first_name", "last_name", "status", "unique_merchant_id"]);
    assert_eq!((&first["events"][0]["state"], &first["events"][0]["outcome"]), (&"settled".into(), &"created".into()));
    for asked in [
        json!({"user_id": "u1"}),
        json!({"code": affiliate["code"]}),
        json!({"message_id": "m0"}),
        // As they are pasted.
        json!({"email": "\u{200b}u1@example.com"}),
        json!({"message_id": " m0\n"}),
    ] {
        let found = look_up(asked.clone()).await;
        assert_eq!(
            (&found["events"], &found["affiliates"][0]["code"]),
            (&first["events"], &affiliate["code"]),
            "{asked}"
        );
        assert!(!found.to_string().to_lowercase().contains("marker"), "{found}");
        assert!(!found.to_string().contains("example.com"), "{found}");
    }
    let by_message = look_up(json!({"message_id": "m0"})).await;
    assert_eq!(by_message["event"], first["events"][0]["event"], "the name of the event in the logs");
    let dead = look_up(json!({"user_id": "u2"})).await;
    assert_eq!((&dead["affiliates"], &dead["events"][0]["outcome"]), (&json!([]), &"refused".into()));
    assert!(dead["events"][0]["reason"].as_str().is_some_and(|reason| reason.contains("char limit")), "{dead}");
}

#[tokio::test]
async fn a_user_without_events_is_unknown_and_an_event_still_has_its_id() {
    let service = service(&[]).await;
    let found = change(&service, "/api/v1/lookup", &json!({"message_id": "m0"})).await;
    assert_eq!((&found["known"], &found["events"], &found["next"]), (&false.into(), &json!([]), &Value::Null));
    assert_eq!(found["account"], "main");
    service.send(&identify("m0", "u1", &json!({}))).await;
    let came = change(&service, "/api/v1/lookup", &json!({"message_id": "m0"})).await;
    assert_eq!((&came["known"], &came["event"]), (&true.into(), &found["event"]));
}

#[tokio::test]
async fn a_page_says_where_the_next_one_begins() {
    let service = service(&[]).await;
    for n in 0..3 {
        service.send(&identify(&format!("m{n}"), "u1", &json!({"city": format!("City {n}")}))).await;
    }
    let mut seqs = Vec::new();
    let mut asked = json!({"user_id": "u1", "limit": 1});
    loop {
        let page = change(&service, "/api/v1/lookup", &asked).await;
        seqs.push(page["events"][0]["seq"].as_i64().expect("one event a page"));
        asked["before"] = page["next"].clone();
        if asked["before"].is_null() {
            break;
        }
    }
    assert_eq!(seqs, [3, 2, 1]);
}

#[tokio::test]
async fn a_request_that_names_nothing_or_nobody_is_a_problem() {
    let service = service(&[]).await;
    for (asked, expected) in [
        (json!({}), "400 invalid-request"),
        (json!({"user_id": " ", "code": ""}), "400 invalid-request"),
        (json!({"email": "nobody"}), "400 invalid-request"),
        (json!({"user_id": "u1", "limit": 0}), "400 invalid-request"),
        (json!({"userId": "u1"}), "400 invalid-request"),
        (json!({"user_id": "u1", "account": "nope"}), "404 not-found"),
    ] {
        assert_eq!(problem(&post(&service, "/api/v1/lookup", &asked).await), expected, "{asked}");
    }
    assert_eq!(problem(&get(&service, "/api/v1/lookup?email=a@x.io").await), "405 method-not-allowed");
}
