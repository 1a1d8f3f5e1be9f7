//! One event of Segment: the members that this service needs, such as type, ids and traits.
//!
//! In: the JSON of an event. Out: its members ([`RawEvent`]), and from them an [`Event`]; or a [`Malformed`] that says what to correct and
//! repeats no value. To accept another type, such as `track`, add it to [`EventKind`]. The compiler then names the places that must handle
//! it: `ids` below, `http/parse.rs`, `mapping/mod.rs`, `dry_run.rs`. By hand: its name (`kind` below) and its label in the metrics
//! (`telemetry/event_type.rs`). Deliberately absent: all other members of Segment, which may hold anything or be missing.

use super::json::RawJson;
use super::text::stands_for_absent;
use super::timestamp::timestamp;
use super::traits::Traits;
use crate::domain::{AccountName, EventId, HashKey, SourceId, Timestamp, UserId, UserKey};

/// The type of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventKind {
    /// States traits of a user.
    Identify,
    /// Requests the deletion of a user.
    Delete,
    /// Another type: its name if that is one short plain word, else `unknown`. The customer sees the name.
    Unsupported(String),
}

/// One event.
#[derive(Clone, Debug)]
pub struct Event<'a> {
    /// The type.
    pub kind: EventKind,
    /// Segment's `messageId` of the event, by which repeats are recognised.
    pub message_id: Option<String>,
    /// The merchant's own id of the user.
    pub user_id: Option<UserId>,
    /// `traits`: traits that the event states.
    pub traits: Traits<'a>,
    /// `context.traits`: traits that earlier events stated.
    pub context_traits: Traits<'a>,
    /// The member `email` of the event itself, beside `traits`; of any type.
    pub email: Option<RawJson<'a>>,
    /// `context.externalIds`: ids of the user in other systems; of any type.
    pub external_ids: Option<RawJson<'a>>,
    /// The id of the project (the source at Segment) that it comes from; of any type.
    pub project: Option<RawJson<'a>>,
    /// Since when its facts are true; none if the event does not say it readably.
    pub timestamp: Option<Timestamp>,
    /// Whether Engage made it (`context.personas`): a computed trait or an audience.
    pub engage: bool,
    /// The trait of the audience or journey that Engage made it for; none for a computed trait.
    pub audience: Option<String>,
}

/// Why a body or an event cannot be read. The customer reads the text.
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
    /// There is neither `type` nor its older name `action`.
    #[error("Missing type: add `\"type\": \"identify\"` or `\"type\": \"delete\"` to the event")]
    MissingType,
    /// A `type` that is no text.
    #[error("Invalid type: `type` must be a text such as \"identify\" or \"delete\"")]
    InvalidType,
}

impl From<serde_json::Error> for Malformed {
    /// Keeps only syntax errors of the parser: they name no values, as its other errors would.
    fn from(error: serde_json::Error) -> Self {
        if error.is_data() { Self::NotAnObject } else { Self::Syntax(error.to_string()) }
    }
}

/// An event whose syntax is checked and whose members are found, but not read yet.
#[derive(Clone, Copy, Debug)]
pub struct RawEvent<'a> {
    source: &'a str,
    members: [Option<RawJson<'a>>; 9],
    /// The member `batch`. An object with an array there is no event but an envelope of many.
    batch: Option<RawJson<'a>>,
}

impl<'a> RawEvent<'a> {
    /// Finds the members in the text of an object.
    pub(super) fn find(text: &'a str) -> Result<Self, Malformed> {
        const NAMES: [&str; 10] =
            ["type", "action", "messageId", "userId", "traits", "context", "email", "projectId", "timestamp", "batch"];
        let [members @ .., batch] = RawJson::members_of(text, NAMES)?;
        Ok(Self { source: text.trim_matches([' ', '\t', '\n', '\r']), members, batch })
    }

    /// The text of the event, without white space around it.
    pub fn source(&self) -> &'a str {
        self.source
    }

    /// The first `most` elements of `batch`, if it is an array.
    pub(super) fn batch(&self, most: usize) -> Option<Vec<RawJson<'a>>> {
        RawJson::elements_of(self.batch?.source(), most).ok()
    }

    /// Reads the event.
    pub fn parse(&self) -> Result<Event<'a>, Malformed> {
        let [name, former_name, message_id, user_id, own_traits, context, email, project, at] = self.members;
        let context = context.and_then(|context| context.members(["traits", "externalIds", "personas"]));
        let [context_traits, external_ids, personas] = context.unwrap_or_default();
        let personas = personas.and_then(|personas| personas.members(["computation_class", "computation_key"]));
        let not_empty = |value: &RawJson<'_>| !value.is_empty();
        Ok(Event {
            kind: name
                .filter(not_empty)
                .or(former_name.filter(not_empty))
                .ok_or(Malformed::MissingType)
                .and_then(kind)?,
            message_id: message_id.and_then(own_message_id),
            user_id: user_id.and_then(identifier).and_then(|id| UserId::parse(&id)),
            traits: traits(own_traits),
            context_traits: traits(context_traits),
            email,
            external_ids,
            project,
            timestamp: at.and_then(timestamp),
            engage: personas.is_some(),
            audience: personas.and_then(audience),
        })
    }
}

impl<'a> Event<'a> {
    /// Reads an event from its text.
    pub fn parse(text: &'a str) -> Result<Self, Malformed> {
        RawEvent::find(text)?.parse()
    }

    /// The `messageId` in a text that may be no valid event.
    pub fn message_id_of(text: &str) -> Option<String> {
        let [message_id] = RawJson::members_of(text, ["messageId"]).ok()?;
        message_id.and_then(own_message_id)
    }

    /// The id by which repeats of this event, whose text is `text`, are recognised in `account` (the idempotency key). It is made of the
    /// `messageId`, for a delete also of its `user`; without a `messageId`, of the bytes of the event. The second value is the former id of
    /// a delete: releases before 0.3.0 left out the user.
    pub fn ids(
        &self,
        text: &str,
        hash: &HashKey,
        account: &AccountName,
        user: &[UserKey],
    ) -> (EventId, Option<EventId>) {
        let Some(message_id) = &self.message_id else { return (hash.event_by_body(account, text.as_bytes()), None) };
        let id = hash.event_by_message_id(account, message_id);
        match self.kind {
            EventKind::Delete => (hash.delete_by_message_id(account, message_id, user), Some(id)),
            EventKind::Identify | EventKind::Unsupported(_) => (id, None),
        }
    }

    /// The source at Segment that it comes from, if it says one.
    pub fn source(&self) -> Option<SourceId> {
        self.project.and_then(RawJson::as_string).and_then(|id| SourceId::parse(&id))
    }

    /// The traits of the user: `traits`, or if there are none `context.traits`, as RudderStack's sources send them.
    pub fn user_traits(&self) -> &Traits<'a> {
        if self.traits.is_empty() { &self.context_traits } else { &self.traits }
    }
}

fn traits(value: Option<RawJson<'_>>) -> Traits<'_> {
    value.and_then(RawJson::as_object).map(Traits::from).unwrap_or_default()
}

/// The trait, if the class is that of an audience or a journey. Segment documents the classes `audience`, `computed_trait` and
/// `journey_step`, and sends further classes of these kinds.
fn audience([class, key]: [Option<RawJson<'_>>; 2]) -> Option<String> {
    let class = class.and_then(RawJson::as_string);
    let is_trait = class.is_some_and(|class| class.to_ascii_lowercase().contains("trait"));
    if is_trait { None } else { key.and_then(RawJson::as_clean_text) }
}

fn kind(value: RawJson<'_>) -> Result<EventKind, Malformed> {
    let name = value.as_string().ok_or(Malformed::InvalidType)?;
    let name = name.trim();
    if name.eq_ignore_ascii_case("identify") {
        Ok(EventKind::Identify)
    } else if name.eq_ignore_ascii_case("delete") {
        Ok(EventKind::Delete)
    } else {
        Ok(EventKind::Unsupported(if is_plain_word(name) { name } else { "unknown" }.to_owned()))
    }
}

/// The longest name of a type that is shown, in bytes; Segment's longest is `identify`.
const MAX_SHOWN_TYPE: usize = 20;

fn is_plain_word(name: &str) -> bool {
    name.len() <= MAX_SHOWN_TYPE && name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'_')
}

/// A string or a number, trimmed: identifiers are compared, not shown, so nothing inside them is cleaned.
fn identifier(value: RawJson<'_>) -> Option<String> {
    let text = value.as_string().map(|text| text.trim().to_owned()).or_else(|| value.as_number());
    text.filter(|text| !matches!(&**text, "" | "<nil>"))
}

/// The `messageId`, unless it stands for an absent value: all events with it would be repeats of the first.
fn own_message_id(value: RawJson<'_>) -> Option<String> {
    identifier(value).filter(|id| !stands_for_absent(id))
}

#[cfg(test)]
mod tests {
    use super::super::split_envelope;
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn the_type_is_read_in_any_case_and_by_its_older_name() {
        for (event, kind) in [
            (r#"{"type":"identify"}"#, EventKind::Identify),
            (r#"{"type":" Identify "}"#, EventKind::Identify),
            (r#"{"type":"DELETE"}"#, EventKind::Delete),
            (r#"{"action":"identify"}"#, EventKind::Identify),
            (r#"{"type":null,"action":"identify"}"#, EventKind::Identify),
            (r#"{"type":"delete","action":"identify"}"#, EventKind::Delete),
            (r#"{"type":"track","type":"identify"}"#, EventKind::Identify),
            (r#"{"type":"track"}"#, EventKind::Unsupported("track".into())),
            (r#"{"type":"peter@example.com"}"#, EventKind::Unsupported("unknown".into())),
            (r#"{"type":"a_type_longer_than_any"}"#, EventKind::Unsupported("unknown".into())),
        ] {
            assert_eq!(Event::parse(event).expect(event).kind, kind, "{event}");
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
            assert_eq!(Event::parse(event).expect_err(event), error, "{event}");
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
            (r#""<nil>""#, None),
            ("true", None),
            ("{}", None),
        ] {
            let event = format!(r#"{{"type":"delete","userId":{value},"messageId":{value}}}"#);
            let event = Event::parse(&event).expect(value);
            assert_eq!(event.user_id.as_ref().map(UserId::as_str), id, "{value}");
            assert_eq!(event.message_id.as_deref(), id, "{value}");
        }
    }

    #[test]
    fn a_message_id_that_stands_for_none_is_none() {
        for id in ["undefined", "null", "[object Object]", " NaN "] {
            let event = format!(r#"{{"type":"delete","userId":"u1","messageId":"{id}"}}"#);
            assert_eq!(Event::parse(&event).expect(id).message_id, None, "{id}");
            assert_eq!(Event::message_id_of(&event), None, "{id}");
        }
    }

    #[test]
    fn members_that_are_not_needed_may_hold_anything() {
        for junk in ["{}", "[]", "null", "5", r#""x""#, r#"{"personas":[],"traits":5}"#] {
            let event = format!(
                r#"{{"type":"identify","context":{junk},"integrations":{junk},"traits":{{"a":1}},"version":{junk},
                    "timestamp":{junk},"timestamp":"2020-05-09 23:54:49.209808489 +0000 UTC m=+70366.298768264"}}"#
            );
            let event = Event::parse(&event).expect(junk);
            assert_eq!((event.engage, event.traits.all("a").len()), (false, 1), "{junk}");
        }
        for traits in ["null", "[]", "5"] {
            let event = format!(r#"{{"type":"identify","traits":{traits}}}"#);
            assert!(Event::parse(&event).expect(traits).traits.all("a").is_empty());
        }
    }

    #[test]
    fn an_event_with_personas_in_its_context_is_of_engage() {
        let event = r#"{"type":"identify","context":{"personas":{"x":1},"traits":{"Email":"a@b.co"}}}"#;
        let event = Event::parse(event).expect("an event");
        assert!(event.engage);
        assert_eq!(event.context_traits.text("email").as_deref(), Some("a@b.co"));
    }

    #[test]
    fn the_audience_of_an_engage_event_is_its_computation_unless_that_is_a_trait() {
        for (personas, audience) in [
            (r#"{"computation_class":"audience","computation_key":"vip"}"#, Some("vip")),
            (r#"{"computation_class":"journey_step","computation_key":"step_1"}"#, Some("step_1")),
            (r#"{"computation_key":"vip"}"#, Some("vip")),
            (r#"{"computation_class":"computed_trait","computation_key":"revenue"}"#, None),
            (r#"{"computation_class":"audience"}"#, None),
            ("{}", None),
        ] {
            let event = format!(r#"{{"type":"identify","context":{{"personas":{personas}}}}}"#);
            assert_eq!(Event::parse(&event).expect("an event").audience.as_deref(), audience, "{personas}");
        }
    }

    #[test]
    fn the_last_of_a_repeated_member_counts() {
        let traits = r#""traits":{"email":"a@b.co"}"#;
        for (event, expected, engage) in [
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
            let event = Event::parse(&text).expect(&text);
            let found = [event.traits, event.context_traits].map(|traits| traits.all("email").len());
            assert_eq!((found, event.engage), (expected, engage), "{text}");
        }
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let (open, close) = ("[".repeat(200_000), "]".repeat(200_000));
        let event =
            format!(r#"{{"type":"identify","traits":{{"email":"a@b.co","x":{open}{close}}},"y":{open}{close}}}"#);
        assert_eq!(split_envelope(event.as_bytes()).expect("an event").sources(), [&event]);
        assert_eq!(Event::parse(&event).expect("an event").traits.text("email").as_deref(), Some("a@b.co"));
        assert!(split_envelope(open.as_bytes()).is_err());
        assert!(split_envelope(format!("{open}{close}").as_bytes()).is_ok());
        assert!(split_envelope(r#"{"a":"#.repeat(200_000).as_bytes()).is_err());
    }

    #[test]
    fn printing_an_event_shows_nothing_personal() {
        let event = r#"{"type":"identify","userId":"peter","email":"a@b.co","traits":{"name":"Peter"}}"#;
        let shown = format!("{:?}", Event::parse(event).expect("an event")).to_lowercase();
        assert!(!shown.contains("peter") && !shown.contains("a@b.co"), "{shown}");
    }

    proptest! {
        // A failure becomes a case of a table above, not a file beside the sources.
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn no_bytes_make_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(events) = split_envelope(&bytes) {
                events.sources().into_iter().for_each(|event| drop(Event::parse(event)));
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
            if let Ok(events) = split_envelope(text.as_bytes()) {
                events.sources().into_iter().for_each(|event| drop(Event::parse(event)));
            }
            drop(Event::parse(&text));
        }
    }
}
