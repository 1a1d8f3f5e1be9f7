//! Arrays and batches: one response for all events, a result for each.

use super::{each, send, send_raw, send_to};
use crate::support::identify;
use crate::support::service::Service;
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};

fn no_email(id: &str) -> Value {
    json!({"type": "identify", "messageId": id, "userId": "nobody", "traits": {"name": "Peter"}})
}

fn track(id: &str) -> Value {
    json!({"type": "track", "messageId": id, "userId": "jo"})
}

#[tokio::test]
async fn valid_events_of_an_array_are_stored_and_each_event_has_its_result() {
    let service = Service::start(&[]).await;
    let events = json!([identify("1", "jo", &json!({})), no_email("2"), track("3"), 5, identify("1", "jo", &json!({})),
        {"type": "delete", "userId": "nobody"}, {"messageId": "6", "userId": "jo"}]);
    for (path, body) in [("/segment", events.clone()), ("/v1/batch", json!({"batch": events, "sentAt": null}))] {
        let answer = send_to(&service, path, &body).await;
        let first = if path == "/segment" { "accepted" } else { "duplicate" };
        assert_eq!(
            each(&answer),
            format!("{first} rejected unsupported rejected duplicate delivered rejected"),
            "{path}"
        );
        let json = answer.json();
        let ids: Vec<_> =
            json["results"].as_array().expect("results").iter().map(|result| &result["messageId"]).collect();
        let expected = [json!("1"), json!("2"), json!("3"), json!(null), json!("1"), json!(null), json!("6")];
        assert_eq!(ids, expected.each_ref());
        for result in json["results"].as_array().expect("results") {
            assert!(result["message"].as_str().is_some_and(|text| !text.is_empty()), "{result}");
        }
        assert_eq!(json["results"][5]["action"], "not_found");
        assert!(json.get("action").is_none(), "an array as a whole has no action");
    }
    service.refersion.until(|sandbox| sandbox.affiliates().len() == 1).await;
}

#[tokio::test]
async fn one_response_combines_all_results() {
    let service = Service::start(&[]).await;
    let unknown_user = json!({"type": "delete", "userId": "nobody"});
    let new = |id: &str| identify(id, &format!("user{id}"), &json!({}));
    for (events, expected, message) in [
        (json!([new("1"), new("2")]), "202 accepted", "2 events: 2 accepted"),
        (json!([no_email("3"), new("4")]), "202 accepted", "2 events: 1 rejected, 1 accepted"),
        (json!([unknown_user, new("5")]), "202 accepted", "2 events: 1 delivered, 1 accepted"),
        (json!([unknown_user]), "200 delivered", "1 event: 1 delivered"),
        (json!([new("1"), new("1")]), "200 duplicate", "2 events: 2 duplicate"),
        (
            json!([track("6"), no_email("7"), new("1")]),
            "200 duplicate",
            "3 events: 1 unsupported, 1 rejected, 1 duplicate",
        ),
        (json!([no_email("8"), 5]), "400 rejected", "2 events: 2 rejected. The first: Missing email address"),
        (
            json!([track("9"), no_email("10")]),
            "400 rejected",
            "2 events: 1 unsupported, 1 rejected. The first: Missing email",
        ),
        (json!([[]]), "400 rejected", "1 event: 1 rejected. The first: Invalid event: "),
        (
            json!([track("11"), track("12")]),
            "501 unsupported",
            "2 events: 2 unsupported. The first: unsupported event type track",
        ),
    ] {
        let answer = send(&service, &events).await;
        assert_eq!(answer.brief(), expected, "{events}");
        let found = answer.message();
        assert!(if answer.status < 300 { found == message } else { found.starts_with(message) }, "{found}");
    }
}

/// An SDK takes 501 for a failure of the server: older ones send the batch again for minutes, and later events wait.
#[tokio::test]
async fn a_batch_of_an_sdk_with_nothing_for_this_destination_is_done() {
    let service = Service::start(&[]).await;
    for (events, expected, message) in [
        (json!([track("1"), track("2")]), "200 unsupported", "2 events: 2 unsupported"),
        (json!([track("3"), no_email("4")]), "400 rejected", "2 events: 1 unsupported, 1 rejected. The first: Missing"),
        (json!([track("5"), identify("6", "jo", &json!({}))]), "202 accepted", "2 events: 1 unsupported, 1 accepted"),
    ] {
        let answer = send_to(&service, "/v1/batch", &json!({"batch": events, "writeKey": "k"})).await;
        assert_eq!(answer.brief(), expected, "{events}");
        assert!(answer.message().starts_with(message), "{}", answer.message());
    }
}

#[tokio::test]
async fn the_last_event_of_a_user_in_an_array_wins() {
    let service = Service::start(&[]).await;
    let says = |id: &str, city: &str| identify(id, "jo", &json!({"address": {"city": city}}));
    let events = json!([says("1", "Rome"), identify("2", "al", &json!({})), says("3", "Oslo"), says("4", "Bern")]);
    assert_eq!(send(&service, &events).await.brief(), "202 accepted");
    service.until_drained().await;
    let calls = service.refersion.sandbox.calls();
    let city = |body: &Value| body["city"].as_str().or(body["affiliates"][0]["city"].as_str()).map(str::to_owned);
    let cities: Vec<_> = calls.iter().filter_map(|call| city(&call.body)).collect();
    assert_eq!(cities, ["Bern"], "three events, one call");
}

#[tokio::test]
async fn a_membership_after_the_identify_that_creates_its_user_is_accepted() {
    let audiences = r#"[{ trait = "vip", on_true = { status = "ACTIVE" } }]"#;
    let service = Service::start(&[("MAPPING_AUDIENCES", audiences)]).await;
    let vip =
        |id: &str, user: &str| json!({"type": "identify", "messageId": id, "userId": user, "traits": {"vip": true}});
    let events = json!([vip("1", "jo"), identify("2", "jo", &json!({})), vip("3", "jo"), vip("4", "al")]);
    let answer = send(&service, &events).await;
    assert_eq!(each(&answer), "ignored accepted accepted ignored");
    service.until_drained().await;
    let jo = service.refersion.sandbox.affiliate("jo@example.com").expect("created");
    assert_eq!(jo.status.as_str(), "ACTIVE");
    assert_eq!(send(&service, &vip("5", "jo")).await.json()["action"], "unchanged");
}

#[tokio::test]
async fn an_array_does_not_wait_for_refersion() {
    let service = Service::start(&[("SERVER_WAIT", "1h"), ("REFERSION_TIMEOUT", "1h")]).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    assert_eq!(send(&service, &json!([identify("1", "jo", &json!({}))])).await.brief(), "202 accepted");
}

#[tokio::test]
async fn each_of_many_small_events_has_a_result() {
    let service = Service::start(&[]).await;
    let answer = send_raw(&service, format!("[{}0]", "0,".repeat(49_999))).await;
    assert_eq!(answer.brief(), "400 rejected");
    assert_eq!(answer.json()["results"].as_array().expect("results").len(), 50_000);
    let answer = send_raw(&service, format!("[{}0]", "0,".repeat(50_000))).await;
    assert_eq!(
        (answer.brief().as_str(), answer.message().as_str()),
        ("413 too_large", "too many events: at most 50000 in an array")
    );
}

/// Sent again, it would never fit in.
#[tokio::test]
async fn more_events_in_one_request_than_may_be_pending_at_all_are_a_413_that_says_so() {
    let service = Service::start(&[("DELIVERY_MAX_BACKLOG", "2"), ("SERVER_WAIT", "0s")]).await;
    let events = |ids: &[&str]| ids.iter().map(|id| identify(id, id, &json!({}))).collect::<Value>();
    let answer = send(&service, &events(&["1", "2", "3"])).await;
    assert_eq!(answer.brief(), "413 too_large");
    assert_eq!(
        answer.message(),
        "too many events: at most 2 of an account may be pending here (DELIVERY_MAX_BACKLOG), so send fewer in a request"
    );
    assert_eq!(service.refersion.sandbox.calls_total(), 0, "none of them was stored");
    assert_eq!(send(&service, &events(&["1", "2"])).await.brief(), "202 accepted");
    service.until_drained().await;
    assert_eq!(send(&service, &events(&["1", "2", "3"])).await.brief(), "202 accepted", "two of them are repeats");
}

#[tokio::test]
async fn every_result_has_the_name_by_which_the_ledger_knows_the_event() {
    let service = Service::start(&[]).await;
    let events = json!([identify("1", "jo", &json!({})), no_email("2"), track("3"), 5]);
    let answer = send(&service, &events).await.json();
    let names: Vec<&str> =
        answer["results"].as_array().expect("results").iter().filter_map(|result| result["event"].as_str()).collect();
    assert_eq!(names.len(), 4, "{answer}");
    service.until_drained().await;
    let ledger = || async {
        let url = format!("http://{}/api/v1/events", service.addresses.ops);
        crate::support::Answer::to(service.http.get(url)).await.json()
    };
    let ledger = crate::support::within(crate::support::poll_until(ledger, |page: &Value| {
        page["events"].as_array().is_some_and(|events| events.len() == 4)
    }));
    let mut known: Vec<String> = ledger.await["events"]
        .as_array()
        .expect("events")
        .iter()
        .map(|event| event["event"].as_str().expect("a name").to_owned())
        .collect();
    let mut names: Vec<String> = names.into_iter().map(str::to_owned).collect();
    known.sort();
    names.sort();
    assert_eq!(names, known);
    let alone = send(&service, &track("4")).await;
    assert!(alone.json()["event"].is_string(), "{}", alone.text);
    let unstored = send(&service, &json!([])).await;
    assert!(unstored.json().get("event").is_none(), "{}", unstored.text);
}
