//! One event: its source text → what is needed of it.
//!
//! [`understand`] reads an event of a body that was checked, [`parse`] any text. Invariants: each byte is looked at once, but
//! for what is read of the traits; a [`Malformed`] says what to do and repeats no value.
//! Deliberately absent: everything Segment sends that is not needed here. It may hold anything, or be missing.

use super::json::{Members, Object, Raw, Value};
use super::traits::Traits;
use crate::domain::UserId;

/// What an event is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Kind {
    /// The user exists and this is said of them.
    Identify,
    /// The user is to be deleted.
    Delete,
    /// Another type; its name where that is one short plain word, else `unknown`: it is shown to the customer.
    Unsupported(String),
}

/// One event, as far as it is needed.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// What it is.
    pub kind: Kind,
    /// Segment's id of the event, by which repeats are recognised.
    pub message_id: Option<String>,
    /// The merchant's own id of the user.
    pub user_id: Option<UserId>,
    /// What is said of the user.
    pub traits: Traits<'a>,
    /// `context.traits`: what earlier events said of the user.
    pub context_traits: Traits<'a>,
    /// The `email` beside `traits`, whatever it holds.
    pub email: Option<Raw<'a>>,
    /// Whether Engage made it (`context.personas`): a computed trait or an audience.
    pub engage: bool,
}

/// Why bytes are no event. The text is what the customer reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Malformed {
    /// Not UTF-8.
    #[error("Invalid JSON: the body is not UTF-8 text")]
    NotUtf8,
    /// Not JSON: what was expected or found, with line and column.
    #[error("Invalid JSON: {0}")]
    Syntax(String),
    /// An empty body, array or batch.
    #[error("No event: send an event, or an array with at least one event")]
    Empty,
    /// JSON, but neither an object nor an array of them.
    #[error("Invalid event: an event must be a JSON object")]
    NotAnObject,
    /// Neither `type` nor its older name `action`.
    #[error("Missing type: add `\"type\": \"identify\"` or `\"type\": \"delete\"` to the event")]
    MissingType,
    /// A `type` that is no text.
    #[error("Invalid type: `type` must be a text such as \"identify\" or \"delete\"")]
    InvalidType,
}

impl From<serde_json::Error> for Malformed {
    /// Syntax errors name no values, only what JSON allows; other errors of the parser would.
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() { Self::NotAnObject } else { Self::Syntax(error.to_string()) }
    }
}

/// Understands one event.
pub fn parse(text: &str) -> Result<Event<'_>, Malformed> {
    understand(Raw::check(text)?)
}

/// Understands one event of a body that was [checked](super::check).
pub fn understand(event: Raw<'_>) -> Result<Event<'_>, Malformed> {
    if !event.is_object() {
        return Err(Malformed::NotAnObject);
    }

    let [mut kind, mut action, mut message_id, mut user_id, mut email] = [None; 5];
    let (mut traits, mut context) = (None, Context::default());
    let mut members = event.members();
    while let Some(key) = members.key() {
        match &*key {
            "type" => kind = members.value(),
            "action" => action = members.value(),
            "messageId" => message_id = members.value(),
            "userId" => user_id = members.value(),
            "email" => email = members.value(),
            "traits" => traits = members.object(),
            "context" => context = Context::read(&mut members),
            _ => _ = members.value(),
        }
    }
    Ok(Event {
        kind: stated(kind).or(stated(action)).ok_or(Malformed::MissingType).and_then(named)?,
        message_id: message_id.and_then(identifier),
        user_id: user_id.and_then(identifier).and_then(|id| UserId::parse(&id)),
        traits: traits.map(Traits::from).unwrap_or_default(),
        context_traits: context.traits.map(Traits::from).unwrap_or_default(),
        email,
        engage: context.personas,
    })
}

/// What is needed of an event's `context`.
#[derive(Default)]
struct Context<'a> {
    traits: Option<Object<'a>>,
    personas: bool,
}

impl<'a> Context<'a> {
    fn read(members: &mut Members<'a>) -> Self {
        let mut context = Self::default();
        if !members.enter() {
            return context;
        }
        while let Some(key) = members.key() {
            match &*key {
                "traits" => context.traits = members.object(),
                "personas" => context.personas = members.value().is_some_and(Raw::is_object),
                _ => _ = members.value(),
            }
        }
        members.leave();
        context
    }
}

fn stated(value: Option<Raw<'_>>) -> Option<Raw<'_>> {
    value.filter(|value| !value.is_empty())
}

fn named(kind: Raw<'_>) -> Result<Kind, Malformed> {
    let name = kind.text_as_sent().ok_or(Malformed::InvalidType)?;
    let name = name.trim();
    if name.eq_ignore_ascii_case("identify") {
        Ok(Kind::Identify)
    } else if name.eq_ignore_ascii_case("delete") {
        Ok(Kind::Delete)
    } else {
        Ok(Kind::Unsupported(if is_plain_word(name) { name } else { "unknown" }.to_owned()))
    }
}

/// The longest type of Segment's is `identify`; nothing much longer is worth repeating.
const LONGEST_TYPE: usize = 20;

fn is_plain_word(name: &str) -> bool {
    name.len() <= LONGEST_TYPE && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A string or number as it stands, trimmed: identifiers are compared, not shown, so nothing inside them is cleaned.
fn identifier(value: Raw<'_>) -> Option<String> {
    match value.read() {
        Value::Text(text) => Some(text.trim().to_owned()).filter(|text| !text.is_empty()),
        Value::Number(text) => Some(text),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::super::{Events, split};
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_type_is_read_in_any_case_and_by_its_older_name() {
        for (event, kind) in [
            (r#"{"type":"identify"}"#, Kind::Identify),
            (r#"{"type":" Identify "}"#, Kind::Identify),
            (r#"{"type":"DELETE"}"#, Kind::Delete),
            (r#"{"action":"identify"}"#, Kind::Identify),
            (r#"{"type":null,"action":"identify"}"#, Kind::Identify),
            (r#"{"type":"delete","action":"identify"}"#, Kind::Delete),
            (r#"{"type":"track","type":"identify"}"#, Kind::Identify),
            (r#"{"type":"track"}"#, Kind::Unsupported("track".into())),
            (r#"{"type":"peter@example.com"}"#, Kind::Unsupported("unknown".into())),
            (r#"{"type":"a_type_longer_than_any"}"#, Kind::Unsupported("unknown".into())),
        ] {
            assert_eq!(parse(event).expect(event).kind, kind, "{event}");
        }
    }

    #[test]
    fn an_event_without_a_readable_type_is_malformed() {
        for (event, error) in [
            ("{}", Malformed::MissingType),
            (r#"{"type":""}"#, Malformed::MissingType),
            (r#"{"type":5}"#, Malformed::InvalidType),
            (r#"{"type":{"a":1},"action":"identify"}"#, Malformed::InvalidType),
            ("5", Malformed::NotAnObject),
            ("[{}]", Malformed::NotAnObject),
        ] {
            assert_eq!(parse(event).expect_err(event), error, "{event}");
        }
        let text = Malformed::MissingType.to_string();
        assert!(text.starts_with("Missing type: "), "{text}");
    }

    #[test]
    fn ids_are_texts_and_numbers_keep_their_digits() {
        for (value, id) in [
            (r#""5678""#, Some("5678")),
            (r#"" u 1 ""#, Some("u 1")),
            ("5678", Some("5678")),
            ("12345678901234567890123", Some("12345678901234567890123")),
            ("5678.0", Some("5678")),
            ("null", None),
            (r#""  ""#, None),
            ("true", None),
            ("{}", None),
        ] {
            let event = format!(r#"{{"type":"delete","userId":{value},"messageId":{value}}}"#);
            let event = parse(&event).expect(value);
            assert_eq!(event.user_id.as_ref().map(UserId::as_str), id, "{value}");
            assert_eq!(event.message_id.as_deref(), id, "{value}");
        }
    }

    #[test]
    fn what_is_not_needed_may_hold_anything() {
        for junk in ["{}", "[]", "null", "5", r#""x""#, r#"{"personas":[],"traits":5}"#] {
            let event = format!(
                r#"{{"type":"identify","context":{junk},"integrations":{junk},"traits":{{"a":1}},"version":{junk},
                    "timestamp":{junk},"timestamp":"2020-05-09 23:54:49.209808489 +0000 UTC m=+70366.298768264"}}"#
            );
            let event = parse(&event).expect(junk);
            assert_eq!((event.engage, event.traits.all("a").len()), (false, 1), "{junk}");
        }
        for traits in ["null", "[]", "5"] {
            let event = format!(r#"{{"type":"identify","traits":{traits}}}"#);
            assert!(parse(&event).expect(traits).traits.all("a").is_empty());
        }
    }

    #[test]
    fn engage_is_known_by_its_personas() {
        let event = r#"{"type":"identify","context":{"personas":{"x":1},"traits":{"Email":"a@b.co"}}}"#;
        let event = parse(event).expect("an event");
        assert!(event.engage);
        assert_eq!(event.context_traits.line("email").as_deref(), Some("a@b.co"));
    }

    #[test]
    fn of_what_is_repeated_the_last_counts() {
        let traits = r#""traits":{"email":"a@b.co"}"#;
        for (event, said, engage) in [
            (format!(r#""context":{{{traits},"personas":{{}}}},"traits":5,{traits}"#), [1, 1], true),
            (
                format!(r#""context":{{{traits},"traits":5,"personas":{{}},"personas":5}},{traits},"traits":5"#),
                [0, 0],
                false,
            ),
            (
                format!(r#""context":{{{traits},"personas":{{}}}},{traits},"context":{{"x":[{{}}]}},"traits":{{}}"#),
                [0, 0],
                false,
            ),
            (format!(r#""context":{{{traits},"personas":{{}}}},{traits},"context":[]"#), [1, 0], false),
        ] {
            let text = format!(r#"{{{event},"type":"identify"}}"#);
            let event = parse(&text).expect(&text);
            let found = [event.traits, event.context_traits].map(|traits| traits.all("email").len());
            assert_eq!((found, event.engage), (said, engage), "{text}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
        let event =
            format!(r#"{{"type":"identify","traits":{{"email":"a@b.co","x":{open}{close}}},"y":{open}{close}}}"#);
        assert_eq!(split(event.as_bytes()), Ok(Events::One(&event)));
        assert_eq!(parse(&event).expect("an event").traits.line("email").as_deref(), Some("a@b.co"));
        assert!(split(open.as_bytes()).is_err());
        assert!(split(format!("{open}{close}").as_bytes()).is_ok());
        assert!(split(r#"{"a":"#.repeat(200_000).as_bytes()).is_err());
    }

    #[test]
    fn printing_an_event_shows_nothing_personal() {
        let event = r#"{"type":"identify","userId":"peter","email":"a@b.co","traits":{"name":"Peter"}}"#;
        let shown = format!("{:?}", parse(event).expect("an event")).to_lowercase();
        assert!(!shown.contains("peter") && !shown.contains("a@b.co"), "{shown}");
    }

    proptest! {
        // A failure becomes a case of a table above, not a file beside the sources.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(events) = split(&bytes) {
                events.elements().iter().for_each(|text| drop(parse(text)));
            }
        }

        #[test]
        fn no_text_made_of_json_pieces_makes_it_panic(
            pieces in proptest::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "\"type\"", "\"identify\"", "\"batch\"", "\"traits\"", "\"context\"", "null",
                    "1e999", "-", "\"\\ud800\"", "\"\\u0000\"", " ", "true", "\"", "\\", "\"email\"", "0.5",
                ]),
                0..40,
            )
        ) {
            let text = pieces.concat();
            if let Ok(events) = split(text.as_bytes()) {
                events.elements().iter().for_each(|text| drop(parse(text)));
            }
            drop(parse(&text));
        }
    }
}
