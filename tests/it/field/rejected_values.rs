//! One value that Refersion rejects does not cost the others, and not many calls.

use super::{calls, deliver, hold, identify, send_all, shown, words};
use serde_json::{Value, json};

const CUSTOM: (&str, &str) = ("MAPPING_CUSTOM_FIELDS", r#"{ plan = "77" }"#);

fn two_users() -> Vec<Value> {
    vec![identify("u1", json!({"email": "ann@example.com"})), identify("u2", json!({"email": "bob@example.com"}))]
}

#[tokio::test]
async fn a_new_email_that_is_taken_stays_as_it_is_and_everything_else_is_applied() {
    let change = || identify("u2", json!({"email": "ann@example.com", "city": "Oslo"}));
    let (service, answers) = deliver(&[], [two_users(), vec![change()]].concat()).await;
    assert_eq!(words(&answers), "created created updated");
    let message = answers[2].message();
    assert!(
        message.contains("e-mail was not changed") && message.contains("belongs to another affiliate"),
        "{message}"
    );
    assert_eq!(shown(&service, "email city"), ["ann@example.com -", "bob@example.com Oslo"]);
    let before = calls(&service);
    assert_eq!(words(&send_all(&service, vec![change()]).await), "unchanged");
    assert_eq!(calls(&service), before, "the same pair is not asked for again");
}

#[tokio::test]
async fn an_optional_value_that_refersion_rejects_is_left_out_with_at_most_two_more_calls() {
    let long = "x".repeat(300);
    let known = || identify("u1", json!({"email": "ann@example.com"}));
    let identify_with = |more: Value| {
        let mut traits = json!({"email": "ann@example.com", "city": "Rome"});
        for (key, value) in more.as_object().expect("an object") {
            traits[key] = value.clone();
        }
        identify("u1", traits)
    };
    for (claim, more, left_out) in [
        ("a company too long", json!({"company": long}), "company"),
        ("a custom field too long", json!({"plan": long}), "custom field 77"),
    ] {
        for (events, ends, most) in [
            (vec![identify_with(more.clone())], "created", 3),
            (vec![known(), identify_with(more.clone())], "created updated", 4 + 1),
        ] {
            let (service, answers) = deliver(&[CUSTOM], events).await;
            assert_eq!(words(&answers), ends, "{claim}");
            let message = answers.last().expect("an answer").message();
            assert!(message.contains(&format!("rejects the value of {left_out}")), "{claim}: {message}");
            assert!(!message.contains("xxx"), "{claim}: {message}");
            assert_eq!(shown(&service, "email city company 77"), ["ann@example.com Rome - -"], "{claim}");
            assert!(calls(&service) <= most, "{claim}: {:?}", service.refersion.operations());
            let before = calls(&service);
            assert_eq!(words(&send_all(&service, vec![identify_with(more.clone())]).await), "unchanged", "{claim}");
            assert_eq!(calls(&service), before, "{claim}: the value is not tried with every event");
        }
    }
}

#[tokio::test]
async fn an_affiliate_is_never_lost_however_many_values_are_rejected() {
    let long = "x".repeat(300);
    let many = json!({"email": "ann@example.com", "company": long, "city": long, "phone": long, "plan": long});
    hold(
        &[CUSTOM],
        "email company city phone 77",
        vec![("all of them", vec![identify("u1", many)], "created", &["ann@example.com - - - -"])],
    )
    .await;
}

#[tokio::test]
async fn a_required_value_that_refersion_rejects_makes_a_dead_letter() {
    let long = identify("u1", json!({"email": "ann@example.com", "name": format!("{} Lee", "x".repeat(300))}));
    let (service, answers) = deliver(&[], vec![long]).await;
    assert_eq!(words(&answers), "rejected");
    assert_eq!(service.ready().await.json()["dead_letters"], 1);
}

#[tokio::test]
async fn a_value_that_a_dead_letter_left_out_on_a_guess_is_sent_with_the_next_event() {
    let event = |name: &str| identify("u1", json!({"email": "ann@example.com", "firstName": name, "city": "Oslo"}));
    let known = identify("u1", json!({"email": "ann@example.com"}));
    let (service, answers) = deliver(&[], vec![known, event(&"x".repeat(300)), event("Ann")]).await;
    assert_eq!(words(&answers), "created rejected updated");
    assert_eq!(shown(&service, "email city"), ["ann@example.com Oslo"]);
}
