//! Properties of a webhook body: of `split_envelope`, `Event::parse` and `map`.
//!
//! Any bytes: the events are exact slices of them, a second JSON reader accepts the same bodies, and every mapped event can be
//! sent. Generated bodies: spelling, the order of members and unknown members change nothing, and no message repeats a value.

use super::contract;
use super::json::{Json, MARK, event};
use super::source::Source;
use refersion_destination::delivery::Call;
use refersion_destination::domain::{AffiliateId, AffiliateStatus, Timestamp, UserId};
use refersion_destination::mapping::{Audience, CreateIf, Creation, CustomField, Effect, Intent, Mapped, Rules, map};
use refersion_destination::segment::{Envelope, Event, normalize_name, split_envelope};
use serde::de::IgnoredAny;
use std::fmt::Write;

const RECEIVED_AT: Timestamp = Timestamp(1_700_000_000_000);

/// Checks the properties on an input decoded from `data`.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let rules = rules(&mut source);
    if source.flag() {
        check_any(source.rest(), &rules);
    } else {
        check_generated(&mut source, &rules);
    }
}

/// Rules of an operator.
pub fn rules(source: &mut Source<'_>) -> Rules {
    if source.flag() {
        return Rules::default();
    }
    let effect = |source: &mut Source<'_>| Effect {
        offer: source.flag().then(|| "7".into()),
        status: source.pick(&[
            None,
            Some(AffiliateStatus::Active),
            Some(AffiliateStatus::Denied),
            Some(AffiliateStatus::Disabled),
        ]),
        custom_fields: if source.flag() { vec![("1".into(), "x".into())] } else { Vec::new() },
    };
    let custom = |key: &str, id: &str| CustomField { trait_name: key.into(), id: id.into() };
    Rules {
        status: source.pick(&[AffiliateStatus::Active, AffiliateStatus::Pending]),
        offer: source.flag().then(|| "12".into()),
        send_welcome: source.flag(),
        paypal_email: source.flag(),
        custom_fields: vec![custom("revenue", "2"), custom("address.city", "3"), custom("name", "4")],
        audiences: vec![Audience { trait_name: "vip".into(), on_true: effect(source), on_false: effect(source) }],
        create_if: source.flag().then(|| CreateIf { trait_name: "partner".into(), equals: "yes".into() }),
        ..Rules::default()
    }
}

/// Any bytes at all.
fn check_any(body: &[u8], rules: &Rules) {
    let json = std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let events = match split_envelope(body) {
        Ok(events) => events,
        Err(malformed) => {
            let message = malformed.to_string();
            assert!(!message.is_empty() && message.len() < 200, "{message}");
            assert!(!json || !message.starts_with("Invalid JSON"), "JSON was rejected");
            return;
        }
    };
    assert!(json, "invalid JSON was accepted");
    assert!(!events.sources().is_empty());
    are_slices(body, &events);
    in_other_envelopes(&events);
    for text in events.sources() {
        if let Ok(event) = Event::parse(text) {
            check_mapped(&map(&event, rules, RECEIVED_AT));
        }
    }
}

/// Every element is a slice of the body, after the previous one, and one JSON value without white space around it.
fn are_slices(body: &[u8], events: &Envelope<'_>) {
    let (mut from, until) = (body.as_ptr() as usize, body.as_ptr() as usize + body.len());
    for element in events.sources() {
        let start = element.as_ptr() as usize;
        assert!(from <= start && start + element.len() <= until, "not a slice of what was received");
        from = start + element.len();
        assert_eq!(element.trim_ascii(), element);
        assert!(serde_json::from_str::<IgnoredAny>(element).is_ok());
    }
}

/// The events are the same in every envelope.
fn in_other_envelopes(events: &Envelope<'_>) {
    let joined = events.sources().join(" ,\n");
    let (array, batch) = (format!(" [{joined}]"), format!(r#"{{"sentAt":0,"batch":[{joined}],"x":[1]}}"#));
    for body in [array, batch] {
        assert_eq!(split_envelope(body.as_bytes()).expect("events").sources(), events.sources());
    }
}

/// A body generated from events.
fn check_generated(source: &mut Source<'_>, rules: &Rules) {
    let events: Vec<Json> = (0..=source.below(3)).map(|_| event(source)).collect();
    let texts: Vec<String> = events.iter().map(|event| event.respelled(source)).collect();
    let list = format!("[{}]", texts.join(" , "));
    let found = split_envelope(list.as_bytes()).expect("an array");
    assert_eq!(found.sources(), texts);
    check_any(list.as_bytes(), rules);
    for (event, text) in events.iter().zip(&texts) {
        let expected = outcome(text, rules);
        let same = |what: &str, other: &Json| assert_eq!(outcome(&other.plain(), rules), expected, "{what}");
        let alone = split_envelope(text.as_bytes()).expect("an event");
        assert!(matches!(alone, Envelope::Single(event) if event.source() == text), "{text}");
        same("another spelling", event);
        same("the members the other way round", &reversed(event));
        same("unknown members", &with_unknown(event, source));
        same("traits without those that are null", &without_nulls(event));
        if all_different(event) {
            same("the traits the other way round", &event.with("traits", |traits| traits.reverse()));
        }
    }
}

/// The result of parsing and mapping an event; fails if it cannot be sent, or if a message repeats a value.
fn outcome(text: &str, rules: &Rules) -> (String, Option<Mapped>) {
    let event = match Event::parse(text) {
        Ok(event) => event,
        Err(malformed) => return (malformed.to_string(), None),
    };
    let mapped = map(&event, rules, RECEIVED_AT);
    check_mapped(&mapped);
    let mut messages = format!("{event:?} {mapped:?}");
    mapped.notes.iter().for_each(|note| write!(messages, " {note}").expect("written"));
    match &mapped.intent {
        Ok(Intent::Nothing(reason)) => write!(messages, " {reason}").expect("written"),
        Ok(Intent::Identify(identify)) => match &identify.creation {
            Creation::Skipped(reason) => write!(messages, " {reason}").expect("written"),
            Creation::Invalid(error) => write!(messages, " {error}").expect("written"),
            Creation::Allowed(_) => {}
        },
        Ok(Intent::Delete { .. }) => {}
        Err(error) => write!(messages, " {error}").expect("written"),
    }
    assert!(!messages.to_lowercase().contains(MARK), "a message repeats a value: {messages}");
    let identity = format!("{:?} {:?} {:?}", event.kind, event.message_id, event.user_id.as_ref().map(UserId::as_str));
    (identity, Some(mapped))
}

/// The intent can be sent, and names its user.
fn check_mapped(mapped: &Mapped) {
    let mut source = Source::new(&[]);
    match &mapped.intent {
        Ok(Intent::Identify(identify)) => {
            if let Creation::Allowed(new) = &identify.creation {
                assert!(identify.user.email.is_some());
                contract::check(&Call::New(new.clone()), &mut source);
            }
            if !identify.facts.is_empty() {
                let edit = Call::Edit { id: AffiliateId(7), changes: identify.facts.profile() };
                contract::check(&edit, &mut source);
            }
            if let Some(fact) = identify.status {
                contract::check(&Call::SetStatus { id: AffiliateId(7), status: fact.status }, &mut source);
            }
        }
        Ok(Intent::Delete { user, .. }) => {
            assert!(user.email.is_some() || user.user_id.is_some(), "a delete without a user");
        }
        Ok(Intent::Nothing(_)) | Err(_) => {}
    }
}

fn reversed(event: &Json) -> Json {
    Json::Members(event.members().iter().rev().cloned().collect())
}

fn with_unknown(event: &Json, source: &mut Source<'_>) -> Json {
    let junk = super::json::anything(source, 2);
    // Where the traits have no value, those of the context stand for them.
    let insert = |traits: &mut Vec<(String, Json)>| {
        let is_last = |n: usize, key: &str| traits[n + 1..].iter().all(|(other, _)| other != key);
        if traits.iter().enumerate().any(|(n, (key, value))| has_value(value) && is_last(n, key)) {
            traits.insert(0, ("zq9 unknown".into(), junk.clone()));
        }
    };
    let mut members = event.with("traits", insert).members().to_vec();
    members.insert(source.below(members.len() + 1), ("zq9".into(), junk));
    Json::Members(members)
}

/// Whether a value certainly says something.
fn has_value(value: &Json) -> bool {
    match value {
        Json::Word(_) => !is_null(value),
        Json::Text(text) => text.contains("Zq9 "),
        Json::List(_) | Json::Members(_) => false,
    }
}

/// The names of rules of which there are other spellings among the traits: a null trait with exactly this name has no effect, and hides
/// those.
const EXACT_NAMES: [&str; 2] = ["vip", "name"];

/// The event without traits that are null, except those that overwrite a value of the same key, or hide one of another spelling.
fn without_nulls(event: &Json) -> Json {
    event.with("traits", |traits| {
        let with_a_value: Vec<String> =
            traits.iter().filter(|(_, value)| !is_null(value)).map(|(key, _)| key.clone()).collect();
        traits.retain(|(key, value)| !is_null(value) || with_a_value.contains(key) || EXACT_NAMES.contains(&&**key));
    })
}

fn is_null(value: &Json) -> bool {
    matches!(value, Json::Word(word) if word == "null")
}

/// Whether no trait occurs twice, in any spelling.
fn all_different(event: &Json) -> bool {
    let traits =
        event.members().iter().find(|(key, _)| key == "traits").map_or(&[][..], |(_, traits)| traits.members());
    let mut names: Vec<String> = traits.iter().map(|(key, _)| normalize_name(key)).collect();
    names.sort();
    names.windows(2).all(|two| two[0] != two[1])
}
