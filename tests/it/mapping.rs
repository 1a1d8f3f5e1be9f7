//! Mapping, from the bytes of an event to its intent: the cases of `tests/data/events`, random events, and published events.
//!
//! A case holds a claim, the rules if they are not the defaults, an event, and the whole result, so that a value that is sent
//! without reason fails it.

use crate::support::say_skipped;
use proptest::prelude::*;
use refersion_destination::domain::{AffiliateStatus, Attribute, Field, Profile, Timestamp, User};
use refersion_destination::mapping::{
    Audience, CreateIf, Creation, CustomField, Effect, Identify, Intent, Mapped, Rules, map,
};
use refersion_destination::segment::{Event, EventKind, split_envelope};
use serde::Deserialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

const RECEIVED_AT: Timestamp = Timestamp(1_700_000_000_000);

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Case {
    claim: String,
    #[serde(default)]
    rules: CaseRules,
    event: Box<RawValue>,
    expected: Value,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseRules {
    status: Option<AffiliateStatus>,
    offer: Option<String>,
    send_welcome: bool,
    missing_name: Option<String>,
    trusted_projects: Vec<String>,
    ignored_user_ids: Option<Vec<String>>,
    paypal_email: bool,
    custom_fields: BTreeMap<String, String>,
    audiences: Vec<CaseAudience>,
    create_if: Option<CaseCreateIf>,
}

#[derive(Deserialize)]
struct CaseAudience {
    r#trait: String,
    r#true: CaseEffect,
    r#false: CaseEffect,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
struct CaseEffect {
    offer: Option<String>,
    status: Option<AffiliateStatus>,
    custom_fields: BTreeMap<String, String>,
}

#[derive(Deserialize)]
struct CaseCreateIf {
    r#trait: String,
    equals: String,
}

impl From<CaseRules> for Rules {
    fn from(case: CaseRules) -> Self {
        let audience = |audience: CaseAudience| Audience {
            trait_name: audience.r#trait,
            on_true: audience.r#true.into(),
            on_false: audience.r#false.into(),
        };
        let default = Self::default();
        Self {
            status: case.status.unwrap_or(default.status),
            offer: case.offer,
            send_welcome: case.send_welcome,
            trusted_projects: case.trusted_projects,
            ignored_user_ids: case.ignored_user_ids.unwrap_or(default.ignored_user_ids),
            paypal_email: case.paypal_email,
            missing_name: case.missing_name.unwrap_or(default.missing_name),
            custom_fields: case
                .custom_fields
                .into_iter()
                .map(|(trait_name, id)| CustomField { trait_name, id })
                .collect(),
            audiences: case.audiences.into_iter().map(audience).collect(),
            remember_traits: None,
            create_if: case.create_if.map(|rule| CreateIf { trait_name: rule.r#trait, equals: rule.equals }),
        }
    }
}

impl From<CaseEffect> for Effect {
    fn from(case: CaseEffect) -> Self {
        Self { offer: case.offer, status: case.status, custom_fields: case.custom_fields.into_iter().collect() }
    }
}

/// The result of mapping, in the format of the cases.
fn to_json(mapped: &Mapped) -> Value {
    let mut json = match &mapped.intent {
        Ok(Intent::Identify(identify)) => identify_to_json(identify),
        Ok(Intent::Delete { user, .. }) => object([("deletes", user_to_json(user))]),
        Ok(Intent::Nothing(reason)) => object([("nothing", json!(reason.to_string()))]),
        Err(error) => object([("error", json!(error.to_string()))]),
    };
    if !mapped.notes.is_empty() {
        json.insert("notes".into(), mapped.notes.iter().map(ToString::to_string).collect());
    }
    Value::Object(json)
}

fn identify_to_json(identify: &Identify) -> Map<String, Value> {
    let (stated, cleared): (Vec<_>, Vec<_>) = identify.facts.iter().partition(|fact| !fact.value.is_empty());
    let stated: Profile = stated.into_iter().map(|fact| (fact.attribute.clone(), fact.value.clone())).collect();
    let mut json = object([("user", user_to_json(&identify.user)), ("profile", json!(values(&stated)))]);
    if !cleared.is_empty() {
        json.insert("clears".into(), cleared.iter().map(|fact| fact.attribute.to_string()).collect());
    }
    if let Some(status) = identify.status {
        json.insert("status".into(), json!(status.status));
    }
    if identify.may_only_create {
        json.insert("may_only_create".into(), json!(true));
    }
    let (key, value) = match &identify.creation {
        Creation::Allowed(new) => {
            let mut fields = values(&new.profile);
            fields.insert("status".into(), new.status.to_string());
            fields.insert("send_welcome".into(), if new.send_welcome { "TRUE" } else { "FALSE" }.into());
            ("creates", json!(fields))
        }
        Creation::Skipped(reason) => ("skips", json!(reason.to_string())),
        Creation::Invalid(error) => ("invalid", json!(error.to_string())),
    };
    json.insert(key.into(), value);
    json
}

fn user_to_json(user: &User) -> Value {
    let user_id = user.user_id.as_ref().map(|id| ("userId", json!(id.as_str())));
    let email = user.email.as_ref().map(|email| ("email", json!(email.as_str())));
    Value::Object(object(user_id.into_iter().chain(email)))
}

fn values(profile: &Profile) -> BTreeMap<String, String> {
    profile.iter().map(|(attribute, value)| (attribute.to_string(), value.to_owned())).collect()
}

fn object(entries: impl IntoIterator<Item = (&'static str, Value)>) -> Map<String, Value> {
    entries.into_iter().map(|(key, value)| (key.to_owned(), value)).collect()
}

fn files(folder: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    let mut files: Vec<_> = entries.map(|entry| entry.expect("a readable folder").path()).collect();
    files.sort();
    files
}

#[test]
fn every_case_maps_as_it_claims() {
    let files = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/events"));
    assert!(files.len() > 30, "the cases are missing");
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a readable case");
        let case: Case = serde_json::from_str(&text).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let event = Event::parse(case.event.get()).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        let found = to_json(&map(&event, &case.rules.into(), RECEIVED_AT));
        assert_eq!(found, case.expected, "{}\nclaim: {}\nfound: {found:#}", file.display(), case.claim);
    }
}

#[test]
fn the_facts_of_an_event_are_as_old_as_its_timestamp_and_never_newer_than_its_receipt() {
    for (timestamp, at) in [
        (r#""2023-11-14T22:13:19Z""#, RECEIVED_AT.0 - 1000),
        (r#""2099-01-01T00:00:00Z""#, RECEIVED_AT.0),
        (r#""soon""#, RECEIVED_AT.0),
    ] {
        for kind in ["identify", "delete"] {
            let event = format!(r#"{{"type":"{kind}","userId":"u1","timestamp":{timestamp}}}"#);
            let mapped = map(&Event::parse(&event).expect("an event"), &Rules::default(), RECEIVED_AT);
            let Ok(Intent::Identify(Identify { time, .. }) | Intent::Delete { time, .. }) = mapped.intent else {
                panic!("{event}")
            };
            assert_eq!((time.at().0, time.received_at()), (at, RECEIVED_AT), "{event}");
        }
    }
}

/// Part of every text in the event of a property test: no note, reason or error may repeat it.
const MARK: &str = "Zq9";

fn text() -> impl Strategy<Value = Value> {
    let text = prop::sample::select(vec![
        "Zq9 a",
        "Zq9@x.io",
        "Zq9\u{0}@x.io",
        "Zq9\r\n\tb",
        "Zq9&amp;&#10;&#27;b",
        "<nil>",
        "[\"Zq9 \\u0000b\"]",
        "USA",
        "uk",
        "Ontario",
        "ca",
        "true",
        "FALSE",
        "",
        " ",
        "é",
        "-",
    ]);
    prop_oneof![text.prop_map(Value::from), any::<String>().prop_map(|text| Value::from(format!("{MARK}{text}")))]
}

fn anything() -> impl Strategy<Value = Value> {
    let scalar = prop_oneof![
        4 => text(),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(Value::from),
        2 => any::<bool>().prop_map(Value::from),
        1 => Just(Value::Null),
    ];
    scalar.prop_recursive(3, 20, 6, |inner| {
        prop_oneof![
            prop::collection::vec(inner.clone(), 0..4).prop_map(Value::from),
            prop::collection::btree_map(key(), inner, 0..8).prop_map(|map| json!(map)),
        ]
    })
}

fn key() -> impl Strategy<Value = &'static str> {
    prop::sample::select(vec![
        "email",
        "Email",
        "name",
        "firstName",
        "last_name",
        "address",
        "street",
        "city",
        "state",
        "zip",
        "postalCode",
        "country",
        "phone",
        "phones",
        "company",
        "paypal_email",
        "address.city",
        "given_name",
        "fullName",
        "address1",
        "address2",
        "address_city",
        "default_address",
        "province",
        "country_code",
        "vip",
        "revenue",
        "",
        "é",
    ])
}

/// Anything in any place, but often enough an e-mail and a name, so that much is created too.
fn traits() -> impl Strategy<Value = Value> {
    let members = prop::collection::btree_map(key(), anything(), 0..12);
    let usual = (members, any::<bool>()).prop_map(|(mut members, usual)| {
        if usual {
            members.insert("email", json!("Zq9@x.io"));
            members.insert("name", json!("Zq9"));
        }
        json!(members)
    });
    prop_oneof![9 => usual, 1 => anything()]
}

fn rules() -> Rules {
    let effect = |status| Effect {
        offer: Some("7".into()),
        status: Some(status),
        custom_fields: vec![("1".into(), "x".into())],
    };
    Rules {
        custom_fields: vec![CustomField { trait_name: "revenue".into(), id: "2".into() }],
        audiences: vec![Audience {
            trait_name: "vip".into(),
            on_true: effect(AffiliateStatus::Active),
            on_false: effect(AffiliateStatus::Disabled),
        }],
        ..Rules::default()
    }
}

fn check(mapped: &Mapped) {
    let json = to_json(mapped);
    for message in ["notes", "nothing", "error", "skips", "invalid"] {
        assert!(!json[message].to_string().contains(MARK), "{message} repeats a value");
    }
    let Ok(Intent::Identify(identify)) = &mapped.intent else { return };
    let stated = identify.facts.profile();
    let mut profiles = vec![&stated];
    if let Creation::Allowed(new) = &identify.creation {
        for field in [Field::FirstName, Field::LastName, Field::Email] {
            assert!(new.profile.get(field).is_some(), "{field:?} is missing");
        }
        assert!(new.profile.iter().all(|(attribute, _)| matches!(attribute, Attribute::Field(_))));
        assert!(matches!(new.status, AffiliateStatus::Active | AffiliateStatus::Pending));
        assert!(!matches!(
            identify.status.map(|fact| fact.status),
            Some(AffiliateStatus::Denied | AffiliateStatus::Disabled)
        ));
        profiles.push(&new.profile);
    }
    for profile in profiles {
        for (attribute, value) in profile.iter() {
            assert!(value.trim() == value && !value.contains(char::is_control), "{attribute} is not clean");
        }
        let letters = |text: &str| text.bytes().all(|b| b.is_ascii_uppercase());
        assert!(profile.get(Field::Country).is_none_or(|code| code.len() == 2 && letters(code)));
        assert!(
            profile
                .get(Field::State)
                .is_none_or(|code| code.is_empty() || (2..=3).contains(&code.len()) && letters(code))
        );
    }
    assert_eq!(stated.get(Field::UniqueMerchantId), None);
}

proptest! {
    // A failure becomes a case in `tests/data/events`, not a file beside the sources.
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn mapping_is_total_and_its_messages_repeat_no_values(
        traits in traits(), context in traits(), email in anything(), user_id in anything(), engage: bool, delete: bool
    ) {
        let kind = if delete { "delete" } else { "identify" };
        let mut context = json!({"traits": context});
        if engage {
            context["personas"] = json!({});
        }
        let event = json!({"type": kind, "userId": user_id, "traits": traits, "context": context, "email": email}).to_string();
        let event = Event::parse(&event).expect("an event");
        check(&map(&event, &rules(), RECEIVED_AT));
        check(&map(&event, &Rules::default(), RECEIVED_AT));
    }
}

/// Published events lie beside the project, where there are any.
fn vectors(folder: &str) -> Vec<PathBuf> {
    let vectors = files(&Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/vectors").join(folder));
    if vectors.is_empty() {
        say_skipped("published events are not here");
    }
    vectors
}

/// Whether an event has an e-mail address and a name in the usual places; read without the project's own code.
fn has_email_and_name(event: &Value) -> bool {
    let traits = &event["traits"];
    let text = |key: &str| traits[key].as_str().is_some_and(|text| !text.is_empty());
    text("email") && (text("name") || text("firstName") || text("first_name"))
}

#[test]
fn published_events_map() {
    for file in vectors("segment-docs") {
        let body = std::fs::read(&file).expect("a readable vector");
        let events = split_envelope(&body).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        for raw in events.sources() {
            let plain: Value = serde_json::from_str(raw).expect("JSON");
            let kind = plain.get("type").or(plain.get("action")).and_then(Value::as_str);
            let event = match Event::parse(raw) {
                Ok(event) => event,
                Err(error) => {
                    assert!(kind.is_none(), "{}: {error}", file.display());
                    continue;
                }
            };
            let mapped = map(&event, &Rules::default(), RECEIVED_AT);
            match kind {
                Some("delete") => assert!(matches!(mapped.intent, Ok(Intent::Delete { .. })), "{}", file.display()),
                Some("identify") if has_email_and_name(&plain) => {
                    let Ok(Intent::Identify(identify)) = mapped.intent else { panic!("{}", file.display()) };
                    assert!(matches!(identify.creation, Creation::Allowed(_)), "{}", file.display());
                }
                Some("identify") => assert_eq!(event.kind, EventKind::Identify),
                _ => assert!(matches!(event.kind, EventKind::Unsupported(_)), "{}", file.display()),
            }
        }
    }
}

#[test]
fn published_blocks_that_are_no_json_are_malformed() {
    for file in vectors("malformed") {
        let body = std::fs::read(&file).expect("a readable vector");
        let error = split_envelope(&body).expect_err(&file.display().to_string());
        assert!(error.to_string().starts_with("Invalid JSON: "), "{error}");
    }
}

#[test]
fn recorded_bodies_are_split_and_parsed() {
    for file in vectors("webhook-recorded") {
        let text = std::fs::read_to_string(&file).expect("a readable vector");
        for line in text.lines().filter(|line| !line.trim().is_empty()) {
            let recorded: Value = serde_json::from_str(line).expect("JSON");
            let body = recorded["body"].as_str().expect("a body");
            let events = split_envelope(body.as_bytes()).expect("events");
            let packed = match &events.sources()[..] {
                [one] if !body.starts_with('[') => (*one).to_owned(),
                many => format!("[{}]", many.join(",")),
            };
            assert_eq!(packed, body);
            for raw in events.sources() {
                let mapped = map(&Event::parse(raw).expect("an event"), &Rules::default(), RECEIVED_AT);
                assert!(matches!(
                    mapped.intent,
                    Ok(Intent::Delete { .. } | Intent::Identify(Identify { creation: Creation::Allowed(_), .. }))
                ));
            }
        }
    }
}
