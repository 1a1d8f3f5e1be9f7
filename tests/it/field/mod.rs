//! Events as customers send them, through the service and a simulated Refersion: one file for each theme, each test a table of events and
//! of the affiliates they lead to.
//!
//! The tables are written from the promises (`tests/README.md`), not from the code: they know neither plans nor calls.

mod cleared_fields;
mod deletes;
mod engage;
mod merchant_decisions;
mod newer_wins;
mod owners;
mod placeholder_ids;
mod rejected_values;

use crate::support::Answer;
use crate::support::service::Service;
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::sandbox::SandboxAffiliate;
use serde_json::{Value, json};

/// An answer waits until its event has ended.
const WAIT: (&str, &str) = ("SERVER_WAIT", "20s");

/// A claim; the events, which are identifies unless they have a `type`; how each ends, in one word; and the affiliates afterwards, the
/// oldest first.
type Case<'a> = (&'a str, Vec<Value>, &'a str, &'a [&'a str]);

/// Plays each case on a service of its own with `settings`. An affiliate is written as its values of `fields`, `-` where it has none.
async fn hold(settings: &[(&str, &str)], fields: &str, cases: Vec<Case<'_>>) {
    for (claim, events, ends, affiliates) in cases {
        let (service, answers) = deliver(settings, events).await;
        let reported: Vec<_> = answers.iter().map(Answer::message).collect();
        assert_eq!(words(&answers), ends, "{claim}: {reported:?}");
        assert_eq!(shown(&service, fields), affiliates, "{claim}: {reported:?}");
    }
}

/// Starts a service and sends it `events` one after the other, each with an id of its own unless it brings one. `merchant_sets` is no
/// event: the merchant gives every affiliate that status at Refersion.
async fn deliver(settings: &[(&str, &str)], events: Vec<Value>) -> (Service, Vec<Answer>) {
    let service = Service::start(&[&[WAIT], settings].concat()).await;
    let answers = send_all(&service, events).await;
    (service, answers)
}

/// Sends further events, and waits until all are settled.
async fn send_all(service: &Service, events: Vec<Value>) -> Vec<Answer> {
    let mut answers = Vec::new();
    for mut event in events {
        if let Some(status) = event.get("merchant_sets") {
            service.refersion.merchant_sets(status).await;
            continue;
        }
        let number = service.refersion.sandbox.calls_total();
        let defaults = [("type", json!("identify")), ("messageId", json!(format!("m{number}-{}", answers.len())))];
        for (key, value) in defaults.into_iter().filter(|(key, _)| event.get(key).is_none()).collect::<Vec<_>>() {
            event[key] = value;
        }
        answers.push(service.send(&event).await);
    }
    service.until_drained().await;
    answers
}

/// How each event ended: its action, else its status.
fn words(answers: &[Answer]) -> String {
    let word = |answer: &Answer| {
        let body = answer.json();
        body["action"].as_str().or(body["status"].as_str()).unwrap_or("?").to_owned()
    };
    answers.iter().map(word).collect::<Vec<_>>().join(" ")
}

fn shown(service: &Service, fields: &str) -> Vec<String> {
    service.refersion.sandbox.affiliates().iter().map(|affiliate| values(affiliate, fields)).collect()
}

fn values(affiliate: &SandboxAffiliate, fields: &str) -> String {
    let value = |field: &str| match field {
        "status" => affiliate.status.to_string(),
        custom if custom.bytes().all(|byte| byte.is_ascii_digit()) => {
            affiliate.custom_fields.get(custom).cloned().unwrap_or_default()
        }
        field => affiliate.field(field).to_owned(),
    };
    let or_dash = |value: String| if value.is_empty() { "-".to_owned() } else { value };
    fields.split(' ').map(|field| or_dash(value(field))).collect::<Vec<_>>().join(" ")
}

/// An identify of `user`; `traits` may override the name.
fn identify(user: &str, traits: Value) -> Value {
    with_user(user, json!({"traits": named(traits)}))
}

/// The same with a `timestamp`.
fn identify_at(timestamp: &str, user: &str, traits: Value) -> Value {
    with_user(user, json!({"timestamp": timestamp, "traits": named(traits)}))
}

/// An identify that Segment Engage has made.
fn engage(user: &str, traits: Value) -> Value {
    let personas = json!({"computation_class": "audience", "computation_key": "vip"});
    with_user(user, json!({"context": {"personas": personas}, "traits": traits}))
}

/// A delete; `more` may have an e-mail and a `timestamp`.
fn delete(user: &str, mut more: Value) -> Value {
    more["type"] = json!("delete");
    with_user(user, more)
}

fn with_user(user: &str, mut event: Value) -> Value {
    if !user.is_empty() {
        event["userId"] = json!(user);
    }
    event
}

fn named(mut traits: Value) -> Value {
    if traits.get("name").is_none() {
        traits["name"] = json!("Ann Lee");
    }
    traits
}

/// How many calls were made so far.
fn calls(service: &Service) -> u64 {
    service.refersion.sandbox.calls_total()
}

fn status_of(service: &Service, email: &str) -> AffiliateStatus {
    service.refersion.sandbox.affiliate(email).expect("an affiliate").status
}
