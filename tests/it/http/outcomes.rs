//! Responses that state the outcome of an event, or `accepted` if the outcome is not known in time.

use super::{checked, send, send_raw};
use crate::support::process::Process;
use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, Answer, identify};
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::sandbox::{Fault, Operation, SandboxAffiliate, SandboxSettings};
use serde_json::json;
use std::time::Duration;

fn delivered(answer: &Answer) -> String {
    let action = answer.json()["action"].as_str().unwrap_or("?").to_owned();
    format!("{} {action}", answer.brief())
}

#[tokio::test]
async fn a_response_that_waits_states_the_outcome() {
    let service = Service::start(&[]).await;
    let delete = |id: &str, user: &str| json!({"type": "delete", "messageId": id, "userId": user});
    for (body, expected) in [
        (identify("1", "jo", &json!({})), "200 delivered created"),
        (identify("2", "jo", &json!({})), "200 delivered unchanged"),
        (identify("3", "jo", &json!({"phone": "555"})), "200 delivered updated"),
        (identify("3", "jo", &json!({"phone": "555"})), "200 duplicate ?"),
        (delete("4", "jo"), "200 delivered disabled"),
        (delete("5", "jo"), "200 delivered not_found"),
        (delete("6", "nobody"), "200 delivered not_found"),
        (json!({"type": "delete", "messageId": "7", "email": "no@example.com"}), "200 delivered not_found"),
    ] {
        assert_eq!(delivered(&send(&service, &body).await), expected, "{body}");
    }
}

#[tokio::test]
async fn an_invalid_email_costs_a_known_user_nothing_else() {
    let service = Service::start(&[]).await;
    let junk = |id: &str| identify(id, "jo", &json!({"email": "n/a", "phone": "555"}));
    let refused = send(&service, &junk("1")).await;
    assert_eq!(refused.brief(), "400 rejected");
    assert!(refused.message().starts_with("Invalid email address"), "{}", refused.text);
    assert_eq!(delivered(&send(&service, &identify("2", "jo", &json!({}))).await), "200 delivered created");
    let updated = send(&service, &junk("3")).await;
    assert_eq!(delivered(&updated), "200 delivered updated");
    assert_eq!(updated.json()["notes"], json!(["email: not an e-mail address, so it was left out"]));
}

#[tokio::test]
async fn the_log_says_why_a_request_was_refused() {
    let (refersion, folder) = (Refersion::start().await, tempfile::tempdir().expect("a folder"));
    let process = Process::start(&refersion.base_url, folder.path(), &[]);
    let nameless = json!({"type": "identify", "userId": "u1", "traits": {"email": "u1@example.com"}});
    for body in [&nameless, &json!([nameless]), &json!([])] {
        assert_eq!(process.send(body).await.expect("answered").brief(), "400 rejected");
    }
    process.terminate();
    let (_, logged) = process.ended().await;
    let lines: Vec<_> = logged.lines().filter(|line| line.contains("refused a request")).collect();
    for (line, why) in lines.iter().zip(["Missing name", "Missing name", "No event"]) {
        assert!(line.contains(&format!("what=\"{why}")), "{line}");
    }
    assert_eq!(lines.len(), 3, "{logged}");
}

#[tokio::test]
async fn the_notes_of_an_event_name_the_values_that_are_left_out() {
    let service = Service::start(&[]).await;
    let odd = json!({"paypalEmail": "x", "address": {"country": "Narnia", "state": "Old Narnia"}});
    let country = "country: not a country Refersion allows, so it was left out";
    let notes = |answer: &serde_json::Value| answer["notes"].as_array().cloned().unwrap_or_default();
    let answer = send(&service, &identify("1", "jo", &odd)).await;
    assert_eq!(delivered(&answer), "200 delivered created");
    assert!(notes(&answer.json()).contains(&json!(country)), "{}", answer.text);
    assert!(!answer.text.contains("Narnia"), "{}", answer.text);
    let answer = send(&service, &identify("2", "al", &json!({}))).await;
    assert!(answer.json().get("notes").is_none(), "{}", answer.text);

    let nameless =
        json!({"type": "identify", "userId": "x", "traits": {"email": "x@example.com", "country": "Narnia"}});
    let answer = send(&service, &json!([identify("3", "bo", &odd), identify("4", "cy", &json!({})), nameless])).await;
    let results = &answer.json()["results"];
    let said = [0, 1, 2].map(|place: usize| notes(&results[place]).contains(&json!(country)));
    assert_eq!(said, [true, false, true], "{results}");
    assert!(answer.json().get("notes").is_none(), "{}", answer.text);
}

#[tokio::test]
async fn the_notes_in_the_response_to_an_array_are_limited() {
    let service = Service::start(&[]).await;
    let odd = json!({"email": "x@example.com", "country": "Narnia"});
    let event = |n: usize| json!({"type": "identify", "messageId": n.to_string(), "traits": odd});
    let answer = send(&service, &(0..2_000).map(event).collect()).await.json();
    let notes = |result: &serde_json::Value| result["notes"].as_array().map_or(0, Vec::len);
    let results = answer["results"].as_array().expect("results");
    assert_eq!((results.len(), results.iter().map(notes).sum::<usize>()), (2_000, 1_000));
}

/// The first user was never known here: their delete is answered without an event.
#[tokio::test]
async fn an_identify_from_before_a_delete_brings_nobody_back_and_a_later_one_does() {
    let service = Service::start(&[]).await;
    let timed = |mut event: serde_json::Value, hour: u8| {
        event["timestamp"] = format!("2026-01-01T{hour}:00:00Z").into();
        event
    };
    let delete = |user: &str| json!({"type": "delete", "messageId": format!("delete {user}"), "userId": user});
    for (event, hour, expected) in [
        (delete("nobody"), 12, "200 delivered not_found"),
        (identify("1", "nobody", &json!({})), 11, "200 ignored ?"),
        (identify("2", "nobody", &json!({})), 13, "200 delivered created"),
        (identify("3", "jo", &json!({})), 10, "200 delivered created"),
        (delete("jo"), 12, "200 delivered disabled"),
        (identify("4", "jo", &json!({"phone": "555"})), 11, "200 ignored ?"),
    ] {
        assert_eq!(delivered(&send(&service, &timed(event.clone(), hour)).await), expected, "{hour}: {event}");
    }
}

#[tokio::test]
async fn two_deletes_with_one_message_id_are_one_event_only_if_they_are_of_one_user() {
    let service = Service::start(&[]).await;
    for user in ["ann", "bob", "cy"] {
        send(&service, &identify(user, user, &json!({}))).await;
    }
    let delete = |user: &str| json!({"type": "delete", "messageId": "delete-reg-1::job-2-x", "userId": user});
    for (body, expected) in [
        (delete("ann"), "200 delivered disabled"),
        (delete("bob"), "200 delivered disabled"),
        (delete("bob"), "200 duplicate ?"),
        (json!([delete("cy"), delete("ann"), delete("cy")]), "202 accepted ?"),
    ] {
        assert_eq!(delivered(&send(&service, &body).await), expected, "{body}");
    }
    let all_disabled = |affiliate: &SandboxAffiliate| affiliate.status == AffiliateStatus::Disabled;
    service.refersion.until(|sandbox| sandbox.affiliates().iter().filter(|a| all_disabled(a)).count() == 3).await;
}

#[tokio::test]
async fn a_delete_can_anonymize() {
    let service = Service::start(&[("DELIVERY_ON_DELETE", "anonymize")]).await;
    send(&service, &identify("1", "jo", &json!({}))).await;
    let deleted = send(&service, &json!({"type": "delete", "messageId": "2", "userId": "jo"})).await;
    assert_eq!(delivered(&deleted), "200 delivered anonymized");
}

#[tokio::test]
async fn an_ignored_event_has_a_reason() {
    let rules = r#"[{ trait = "vip", on_true = { status = "ACTIVE" } }]"#;
    let create_if = r#"{ trait = "is_affiliate", equals = "true" }"#;
    let engage = |traits| json!({"type": "identify", "userId": "jo", "traits": traits, "context": {"personas": {}}});
    for (settings, body, why) in [
        (&[][..], engage(json!({"shopper": true})), "no rule mentions a trait of this event"),
        (
            &[("MAPPING_AUDIENCES", rules)],
            engage(json!({"vip": true})),
            "the user is no affiliate yet, and this event cannot create one",
        ),
        (
            &[("MAPPING_CREATE_IF", create_if)],
            identify("1", "jo", &json!({})),
            "the user is no affiliate yet, and `is_affiliate` does not ask to create one",
        ),
    ] {
        let service = Service::start(settings).await;
        let answer = send(&service, &body).await;
        assert_eq!((answer.brief().as_str(), answer.message().as_str()), ("200 ignored", why));
        assert_eq!(service.refersion.sandbox.calls_total(), 0);
    }
}

#[tokio::test]
async fn a_rejection_by_refersion_is_a_400_with_its_reason_and_the_event_is_a_dead_letter() {
    let service = Service::start(&[]).await;
    // Also without the optional fields.
    let refused = Fault::unprocessable("The first name User of jo@example.com is not allowed.");
    service.refersion.sandbox.script([refused.clone(), refused]);
    let answer = send(&service, &identify("1", "jo", &json!({}))).await;
    assert_eq!(answer.brief(), "400 rejected");
    let message = answer.message();
    assert!(message.contains("is not allowed") && message.contains("dead letter"), "{message}");
    assert!(!message.contains("User"), "{message}");
    assert_eq!(service.ready().await.json()["dead_letters"], 1);
}

#[tokio::test]
async fn a_rejected_key_is_a_401_and_the_event_is_delivered_once_the_key_works() {
    let service = Service::start(&[]).await;
    service.refersion.sandbox.revoke_api_key();
    for (id, user) in [("1", "jo"), ("2", "al")] {
        let answer = send(&service, &identify(id, user, &json!({}))).await;
        assert_eq!(answer.brief(), "401 unauthorized");
        assert!(answer.message().starts_with("Refersion rejected the API key"), "{}", answer.message());
        assert!(!answer.headers.contains_key("www-authenticate"), "the sender's credentials were right");
    }
    let ready = service.ready().await;
    assert_eq!((ready.status, &ready.json()["pending"]), (200, &json!(2)));
    assert_eq!(ready.json()["refersion"], "halted: Refersion rejects the API key");

    service.refersion.sandbox.restore_api_key();
    service.refersion.until(|sandbox| sandbox.affiliates().len() == 2).await;
    service.until_drained().await;
    assert_eq!(service.ready().await.json()["refersion"], "ok");
    assert_eq!(send(&service, &identify("3", "jo", &json!({}))).await.json()["action"], "unchanged");
}

#[tokio::test]
async fn the_response_is_sent_at_once_without_a_wait() {
    let service = Service::start(&[("SERVER_WAIT", "0s")]).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    assert_eq!(send(&service, &identify("1", "jo", &json!({}))).await.brief(), "202 accepted");
}

#[tokio::test]
async fn the_response_to_a_blocked_event_does_not_wait() {
    let service = Service::start(&[("SERVER_WAIT", "1h"), ("REFERSION_TIMEOUT", "1h")]).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    let stuck = identify("1", "jo", &json!({}));
    let ahead = tokio::spawn(
        service.http.post(service.url("/segment")).basic_auth(API_KEY, Some("")).body(stuck.to_string()).send(),
    );
    service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    assert_eq!(send(&service, &identify("2", "jo", &json!({}))).await.brief(), "202 accepted");
    assert_eq!(send(&service, &stuck).await.brief(), "200 duplicate", "while the first still waits");
    assert_eq!(
        send(&service, &identify("3", "al", &json!({}))).await.brief(),
        "200 delivered",
        "another user is not held up"
    );
    assert!(!ahead.is_finished());
}

#[tokio::test]
async fn the_response_to_an_event_that_cannot_begin_at_once_does_not_wait() {
    let settings = [("SERVER_WAIT", "1h"), ("REFERSION_TIMEOUT", "1h"), ("REFERSION_CONCURRENCY", "1")];
    let service = Service::start(&settings).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }]);
    let request = service.http.post(service.url("/segment")).basic_auth(API_KEY, Some(""));
    let ahead = tokio::spawn(request.body(identify("1", "jo", &json!({})).to_string()).send());
    service.refersion.until(|sandbox| sandbox.pending_faults() == 0).await;
    assert_eq!(send(&service, &identify("2", "al", &json!({}))).await.brief(), "202 accepted");
    assert!(!ahead.is_finished());
}

#[tokio::test]
async fn a_slow_refersion_delays_no_response_beyond_the_wait() {
    let refersion =
        Refersion::with(SandboxSettings { latency: Duration::from_secs(3600), ..SandboxSettings::default() }).await;
    let service = Service::on(refersion, &[("SERVER_WAIT", "20ms"), ("REFERSION_TIMEOUT", "1h")]).await;
    assert_eq!(send(&service, &identify("1", "jo", &json!({}))).await.brief(), "202 accepted");
}

#[tokio::test]
async fn a_transient_failure_is_retried_within_the_wait() {
    let service = Service::start(&[("SERVER_WAIT", "20s")]).await;
    service.refersion.sandbox.script_for(Operation::New, [Fault::status(503), Fault::html(503)]);
    assert_eq!(send(&service, &identify("1", "jo", &json!({}))).await.json()["action"], "created");
}

/// The second event waits a hundred seconds for the rate limit when the call of the first finds the key refused.
#[tokio::test]
async fn a_waiting_response_is_sent_at_once_when_the_api_key_is_rejected() {
    let refersion =
        Refersion::with(SandboxSettings { latency: Duration::from_millis(400), ..SandboxSettings::default() }).await;
    let settings = [("SERVER_WAIT", "1h"), ("REFERSION_MAX_REQUESTS_PER_SECOND", "0.01")];
    let service = Service::on(refersion, &settings).await;
    service.refersion.sandbox.revoke_api_key();
    let events = [("1", "jo"), ("2", "al")].map(|(id, user)| identify(id, user, &json!({})));
    let (first, second) = tokio::join!(send(&service, &events[0]), send(&service, &events[1]));
    assert_eq!([first.brief(), second.brief()], ["401 unauthorized"; 2]);
}

#[tokio::test]
async fn a_full_backlog_is_a_429_and_an_array_is_refused_whole() {
    let settings = [("SERVER_WAIT", "0s"), ("DELIVERY_MAX_BACKLOG", "2"), ("REFERSION_TIMEOUT", "1h")];
    let service = Service::start(&settings).await;
    service.refersion.sandbox.script([Fault::Hang { effect: false }, Fault::Hang { effect: false }]);
    let event = |id: &str| identify(id, &format!("user{id}"), &json!({}));
    assert_eq!(send(&service, &event("1")).await.brief(), "202 accepted");
    let full = send(&service, &json!([event("2"), event("3")])).await;
    assert_eq!(full.brief(), "429 backlog_full");
    assert!(full.json().get("results").is_none(), "nothing of it was stored");
    assert_eq!(service.ready().await.json()["pending"], 1);
    assert_eq!(send(&service, &event("2")).await.brief(), "202 accepted");
    assert_eq!(send(&service, &event("3")).await.brief(), "429 backlog_full");
    assert_eq!(
        send_raw(&service, "{").await.brief(),
        "400 rejected",
        "a body that is not stored needs no space in the backlog"
    );
}

#[tokio::test]
async fn a_response_that_waits_while_the_service_stops_is_accepted() {
    let service = Service::start(&[("SERVER_WAIT", "1h"), ("REFERSION_TIMEOUT", "200ms")]).await;
    service.refersion.sandbox.script(std::iter::repeat_n(Fault::Hang { effect: false }, 100));
    let request = service.http.post(service.url("/segment")).basic_auth(API_KEY, Some(""));
    let waiting = tokio::spawn(Answer::to(request.body(identify("1", "jo", &json!({})).to_string())));
    service.refersion.until(|sandbox| sandbox.pending_faults() < 100).await;
    service.stop().await;
    assert_eq!(checked(waiting.await.expect("answered")).brief(), "202 accepted");
}

#[tokio::test]
async fn an_e_mail_that_another_affiliate_has_is_noted_with_every_event_that_states_it() {
    let service = Service::start(&[]).await;
    for (id, user) in [("1", "jo"), ("2", "al")] {
        assert_eq!(send(&service, &identify(id, user, &json!({}))).await.brief(), "200 delivered");
    }
    let says = |id: &str, more: serde_json::Value| {
        let mut event = identify(id, "jo", &more);
        event["traits"]["email"] = json!("al@example.com");
        event
    };
    let kept = "its e-mail was not changed, because the new one belongs to another affiliate";
    for (event, action, is_said) in [
        (says("3", json!({})), "unchanged", true),
        (says("4", json!({})), "unchanged", true),
        (says("5", json!({"phone": "555"})), "updated", true),
        (identify("6", "jo", &json!({"phone": "555"})), "unchanged", false),
    ] {
        let answer = send(&service, &event).await;
        assert_eq!(delivered(&answer), format!("200 delivered {action}"), "{event}");
        assert_eq!(answer.message().contains(kept), is_said, "{event}: {}", answer.message());
    }
}
