//! Dead letters through the API: listed, shown, revealed, replayed and discarded.

use super::{change, dead_letter, get, post, problem, read, request, service};
use crate::support::service::Service;
use crate::support::{Answer, poll_until, within};
use reqwest::Method;
use serde_json::{Value, json};

/// The ids of the dead letters that are listed with these parameters.
async fn ids(service: &Service, query: &str) -> Vec<i64> {
    let page = read(service, &format!("/api/v1/dead-letters?{query}")).await;
    page["letters"].as_array().expect("letters").iter().filter_map(|letter| letter["id"].as_i64()).collect()
}

#[tokio::test]
async fn a_page_is_limited_filtered_and_holds_no_personal_data() {
    let service = service(&[]).await;
    for n in 1..=3 {
        dead_letter(&service, &format!("m{n}"), &format!("markeruser{n}")).await;
    }
    let page = get(&service, "/api/v1/dead-letters?after=1&limit=1").await;
    assert!(!page.text.to_lowercase().contains("marker"), "{}", page.text);
    let page = page.json();
    assert_eq!((&page["letters"][0]["id"], &page["next"], &page["last"]), (&2.into(), &2.into(), &3.into()), "{page}");
    assert_eq!(page["letters"][0]["code"], "refused");
    let now = read(&service, "/api/v1/status").await["now"].as_i64().expect("a time");
    for (query, expected) in [
        ("", &[1, 2, 3][..]),
        ("reason=refused&account=main", &[1, 2, 3]),
        ("reason=expired", &[]),
        ("since=0", &[1, 2, 3]),
        (&format!("since={}", now + 3_600_000), &[]),
        ("after=3", &[]),
    ] {
        assert_eq!(ids(&service, query).await, expected, "{query}");
    }
}

#[tokio::test]
async fn a_dead_letter_shows_the_calls_of_today_and_not_its_event() {
    let service = service(&[]).await;
    let id = dead_letter(&service, "m1", "markeruser1").await;
    let shown = get(&service, &format!("/api/v1/dead-letters/{id}")).await;
    assert!(!shown.text.to_lowercase().contains("marker"), "{}", shown.text);
    let shown = shown.json();
    assert_eq!((&shown["id"], &shown["code"], &shown["account"]), (&id.into(), &"refused".into(), &"main".into()));
    assert_eq!(shown["history"].as_array().map(Vec::len), Some(1), "{shown}");
    assert_eq!(shown["today"][0], "identify", "{shown}");
    assert_eq!(shown.get("body"), None, "{shown}");
}

#[tokio::test]
async fn an_event_is_revealed_with_the_token_only_and_an_erased_one_is_null() {
    let service = service(&[]).await;
    let id = dead_letter(&service, "m1", "markeruser1").await;
    let path = format!("/api/v1/dead-letters/{id}/reveal");
    let without = service.http.post(super::url(&service, &path));
    assert_eq!(problem(&Answer::to(without).await), "401 token-missing");
    let revealed = Answer::to_data(request(&service, &Method::POST, &path)).await.json();
    assert!(revealed["body"].as_str().is_some_and(|body| body.contains("markeruser1@example.com")), "{revealed}");
    change(&service, "/api/v1/forget", &json!({"user_id": "markeruser1"})).await;
    assert_eq!(post(&service, &path, &Value::Null).await.json(), json!({"id": id, "body": null}));
    let shown = read(&service, &format!("/api/v1/dead-letters/{id}")).await;
    assert_eq!((&shown["erased"], shown.get("today")), (&true.into(), None), "{shown}");
}

#[tokio::test]
async fn a_replay_returns_the_seq_of_the_pending_event_and_the_event_there_has_its_result() {
    let service = service(&[]).await;
    let id = dead_letter(&service, "m1", "u1").await;
    let results = change(&service, "/api/v1/dead-letters/replay", &json!({"ids": [id, 900]})).await;
    let seq = results[0]["seq"].as_i64().expect("a seq");
    let missing = json!({"id": 900, "outcome": "missing"});
    assert_eq!(results, json!([{"id": id, "outcome": "replayed", "seq": seq}, missing]));
    let path = format!("/api/v1/events/{seq}");
    let event = within(poll_until(|| read(&service, &path), |event| event["state"] != "pending")).await;
    assert_eq!((&event["state"], &event["outcome"]), (&"settled".into(), &"created".into()), "{event}");
    assert!(ids(&service, "").await.is_empty());
}

#[tokio::test]
async fn an_event_that_fails_again_is_a_dead_letter_at_its_new_place() {
    let service = service(&[]).await;
    let id = dead_letter(&service, "m1", "u1").await;
    let refused = || refersion_destination::sandbox::Fault::unprocessable("no");
    service.refersion.sandbox.script_for(refersion_destination::sandbox::Operation::New, [refused(), refused()]);
    let results = change(&service, "/api/v1/dead-letters/replay", &json!({"ids": [id]})).await;
    let seq = results[0]["seq"].as_i64().expect("a seq");
    let path = format!("/api/v1/events/{seq}");
    let event = within(poll_until(|| read(&service, &path), |event| event["state"] != "pending")).await;
    assert_eq!((&event["state"], &event["outcome"]), (&"dead_letter".into(), &"refused".into()), "{event}");
    assert!(event["reason"].as_str().is_some_and(|reason| reason.contains("Refersion rejected new")), "{event}");
    assert_eq!(ids(&service, "").await, [seq]);
}

#[tokio::test]
async fn discarded_dead_letters_are_gone_and_missing_ones_are_reported() {
    let service = service(&[]).await;
    let ids_of = [dead_letter(&service, "m1", "u1").await, dead_letter(&service, "m2", "u2").await];
    let discarded =
        change(&service, "/api/v1/dead-letters/discard", &json!({"ids": [900, ids_of[0], ids_of[0]]})).await;
    let expected = json!([{"id": ids_of[0], "outcome": "discarded"}, {"id": 900, "outcome": "missing"}]);
    assert_eq!((discarded, ids(&service, "").await), (expected, vec![ids_of[1]]));
}

#[tokio::test]
async fn a_replay_that_does_not_fit_into_the_backlog_is_refused_as_a_whole() {
    let service = service(&[("DELIVERY_MAX_BACKLOG", "1")]).await;
    let selected = [dead_letter(&service, "m1", "u1").await, dead_letter(&service, "m2", "u2").await];
    let refused = post(&service, "/api/v1/dead-letters/replay", &json!({"ids": selected})).await;
    assert_eq!(problem(&refused), "409 backlog-full");
    assert_eq!(ids(&service, "").await, selected);
}
