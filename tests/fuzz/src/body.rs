//! The body of the webhook: `split`, `parse` and `map`.
//!
//! Any bytes: what is cut out of them are exact slices, what is JSON is what another reader takes for JSON, and whatever is
//! mapped can be sent. Bodies that are made: spelling, the order of members and what is not needed change nothing, and no
//! text that may be shown repeats a value.

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

/// Checks what is made of `data`.
pub fn check(data: &[u8]) {
    let mut source = Source::new(data);
    let rules = rules(&mut source);
    if source.flag() {
        any(source.rest(), &rules);
    } else {
        made(&mut source, &rules);
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
    let custom = |key: &str, id: &str| CustomField { key: key.into(), id: id.into() };
    Rules {
        status: source.pick(&[AffiliateStatus::Active, AffiliateStatus::Pending]),
        offer: source.flag().then(|| "12".into()),
        send_welcome: source.flag(),
        custom_fields: vec![custom("revenue", "2"), custom("address.city", "3"), custom("name", "4")],
        audiences: vec![Audience { key: "vip".into(), on_true: effect(source), on_false: effect(source) }],
        create_if: source.flag().then(|| CreateIf { key: "partner".into(), equals: "yes".into() }),
        ..Rules::default()
    }
}

/// Any bytes at all.
fn any(body: &[u8], rules: &Rules) {
    let json = std::str::from_utf8(body).is_ok_and(|text| serde_json::from_str::<IgnoredAny>(text).is_ok());
    let events = match split_envelope(body) {
        Ok(events) => events,
        Err(malformed) => {
            let told = malformed.to_string();
            assert!(!told.is_empty() && told.len() < 200, "{told}");
            assert!(!json || !told.starts_with("Invalid JSON"), "JSON, and not taken for it");
            return;
        }
    };
    assert!(json, "no JSON, and taken for it");
    assert!(!events.sources().is_empty());
    slices(body, &events);
    packed_again(&events);
    for text in events.sources() {
        if let Ok(event) = Event::parse(text) {
            sound(&map(&event, rules, RECEIVED_AT));
        }
    }
}

/// Every element is a slice of the body, behind the one before it, and one JSON value without blanks around it.
fn slices(body: &[u8], events: &Envelope<'_>) {
    let (mut from, until) = (body.as_ptr() as usize, body.as_ptr() as usize + body.len());
    for element in events.sources() {
        let start = element.as_ptr() as usize;
        assert!(from <= start && start + element.len() <= until, "not a slice of what was received");
        from = start + element.len();
        assert_eq!(element.trim_ascii(), element);
        assert!(serde_json::from_str::<IgnoredAny>(element).is_ok());
    }
}

/// However they are packed, the events are the same.
fn packed_again(events: &Envelope<'_>) {
    let joined = events.sources().join(" ,\n");
    let (array, batch) = (format!(" [{joined}]"), format!(r#"{{"sentAt":0,"batch":[{joined}],"x":[1]}}"#));
    for body in [array, batch] {
        assert_eq!(split_envelope(body.as_bytes()).expect("events").sources(), events.sources());
    }
}

/// A body that is made of events.
fn made(source: &mut Source<'_>, rules: &Rules) {
    let events: Vec<Json> = (0..=source.below(3)).map(|_| event(source)).collect();
    let texts: Vec<String> = events.iter().map(|event| event.respelled(source)).collect();
    let list = format!("[{}]", texts.join(" , "));
    let found = split_envelope(list.as_bytes()).expect("an array");
    assert_eq!(found.sources(), texts);
    any(list.as_bytes(), rules);
    for (event, text) in events.iter().zip(&texts) {
        let expected = outcome(text, rules);
        let same = |what: &str, other: &Json| assert_eq!(outcome(&other.plain(), rules), expected, "{what}");
        let alone = split_envelope(text.as_bytes()).expect("an event");
        assert!(matches!(alone, Envelope::Single(event) if event.source() == text), "{text}");
        same("another spelling", event);
        same("the members the other way round", &reversed(event));
        same("what nobody knows", &with_unknown(event, source));
        same("traits without those that are null", &without_nulls(event));
        if all_different(event) {
            same("the traits the other way round", &event.with("traits", |traits| traits.reverse()));
        }
    }
}

/// All that is made of an event; fails if it is not fit for use, or if it tells what it should not.
fn outcome(text: &str, rules: &Rules) -> (String, Option<Mapped>) {
    let event = match Event::parse(text) {
        Ok(event) => event,
        Err(malformed) => return (malformed.to_string(), None),
    };
    let mapped = map(&event, rules, RECEIVED_AT);
    sound(&mapped);
    let mut told = format!("{event:?} {mapped:?}");
    mapped.notes.iter().for_each(|note| write!(told, " {note}").expect("written"));
    match &mapped.intent {
        Ok(Intent::Nothing(reason)) => write!(told, " {reason}").expect("written"),
        Ok(Intent::Identify(identify)) => match &identify.creation {
            Creation::Skipped(reason) => write!(told, " {reason}").expect("written"),
            Creation::Invalid(refusal) => write!(told, " {refusal}").expect("written"),
            Creation::Allowed(_) => {}
        },
        Ok(Intent::Delete { .. }) => {}
        Err(refusal) => write!(told, " {refusal}").expect("written"),
    }
    assert!(!told.to_lowercase().contains(MARK), "told: {told}");
    let identity = format!("{:?} {:?} {:?}", event.kind, event.message_id, event.user_id.as_ref().map(UserId::as_str));
    (identity, Some(mapped))
}

/// What is wanted can be sent, and says whom it is about.
fn sound(mapped: &Mapped) {
    let mut source = Source::new(&[]);
    match &mapped.intent {
        Ok(Intent::Identify(identify)) => {
            if let Creation::Allowed(new) = &identify.creation {
                assert!(identify.user.email.is_some());
                contract::check(&Call::New(new.clone()), &mut source);
            }
            if !identify.profile.is_empty() {
                let edit = Call::Edit { id: AffiliateId(7), changes: identify.profile.clone() };
                contract::check(&edit, &mut source);
            }
            if let Some(status) = identify.status {
                contract::check(&Call::SetStatus { id: AffiliateId(7), status }, &mut source);
            }
        }
        Ok(Intent::Delete { user, .. }) => {
            assert!(user.email.is_some() || user.user_id.is_some(), "a delete of nobody")
        }
        Ok(Intent::Nothing(_)) | Err(_) => {}
    }
}

fn reversed(event: &Json) -> Json {
    Json::Members(event.members().iter().rev().cloned().collect())
}

fn with_unknown(event: &Json, source: &mut Source<'_>) -> Json {
    let junk = super::json::anything(source, 2);
    let mut members =
        event.with("traits", |traits| traits.insert(0, ("zq9 unknown".into(), junk.clone()))).members().to_vec();
    members.insert(source.below(members.len() + 1), ("zq9".into(), junk));
    Json::Members(members)
}

/// A trait that is null says nothing, unless it takes back what was said under the very same key.
fn without_nulls(event: &Json) -> Json {
    event.with("traits", |traits| {
        let said_otherwise: Vec<String> =
            traits.iter().filter(|(_, value)| !is_null(value)).map(|(key, _)| key.clone()).collect();
        traits.retain(|(key, value)| !is_null(value) || said_otherwise.contains(key));
    })
}

fn is_null(value: &Json) -> bool {
    matches!(value, Json::Word(word) if word == "null")
}

/// Whether no trait is said twice, in whatever spelling.
fn all_different(event: &Json) -> bool {
    let traits =
        event.members().iter().find(|(key, _)| key == "traits").map_or(&[][..], |(_, traits)| traits.members());
    let mut names: Vec<String> = traits.iter().map(|(key, _)| normalize_name(key)).collect();
    names.sort();
    names.windows(2).all(|two| two[0] != two[1])
}
