//! The envelope of a request body: one event, an array of events, or `{"batch": [events]}` as Segment's SDKs send it.
//!
//! In: the bytes of a body. Out: its events, each with its bytes exactly as received, because these are signed and stored. The whole body
//! is checked once, for JSON syntax only, so a bad element affects no other. The same pass finds the members of a single event
//! ([`RawEvent`]). Deliberately absent: the content of an event ([`super::Event`]).

use super::event::{Malformed, RawEvent};
use super::json::RawJson;

/// The events of a body, in order; never empty.
#[derive(Clone, Debug)]
pub enum Envelope<'a> {
    /// One event by itself.
    Single(RawEvent<'a>),
    /// A JSON array of events.
    Array(Vec<RawJson<'a>>),
    /// The events of `{"batch": […]}`.
    Batch(Vec<RawJson<'a>>),
}

impl<'a> Envelope<'a> {
    /// The source texts of the events.
    pub fn sources(&self) -> Vec<&'a str> {
        match self {
            Self::Single(event) => vec![event.source()],
            Self::Array(events) | Self::Batch(events) => events.iter().map(|event| event.source()).collect(),
        }
    }
}

/// Checks that a body is JSON, and splits it into its events. A byte order mark in front is skipped.
pub fn split_envelope(body: &[u8]) -> Result<Envelope<'_>, Malformed> {
    split_first(usize::MAX, body)
}

/// As [`split_envelope`], but without the events behind the first `most`: a body of 4.5 MiB can have two million.
pub fn split_first(most: usize, body: &[u8]) -> Result<Envelope<'_>, Malformed> {
    let text = std::str::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
    let text = text.strip_prefix('\u{feff}').unwrap_or(text);
    let events = match text.trim_ascii_start().bytes().next() {
        None => return Err(Malformed::Empty),
        Some(b'[') => Envelope::Array(RawJson::elements_of(text, most)?),
        Some(b'{') => {
            let event = RawEvent::find(text)?;
            event.batch(most).map_or(Envelope::Single(event), Envelope::Batch)
        }
        Some(_) => return Err(RawJson::parse(text).map_or_else(|_| no_json(), |_| Malformed::NotAnObject)),
    };
    match events {
        Envelope::Array(events) | Envelope::Batch(events) if events.is_empty() => Err(Malformed::Empty),
        events => Ok(events),
    }
}

/// It is a form, for instance; or a line of a file. The parser's own words would be about `true` where it begins with `t`.
fn no_json() -> Malformed {
    Malformed::Syntax("it begins with neither `{` nor `[`: send an event as a JSON object, or an array".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_split_into_the_exact_texts_of_its_events() {
        for (body, envelope, events) in [
            (" {\"a\" : 1.0}\n", "single", &["{\"a\" : 1.0}"][..]),
            ("\t[ {\"b\":2,\"a\":1} ,5,null ]", "array", &["{\"b\":2,\"a\":1}", "5", "null"]),
            (r#"{"sentAt":"","batch":[{ },[]]}"#, "batch", &["{ }", "[]"]),
            (r#"{"batch":5}"#, "single", &[r#"{"batch":5}"#]),
            (r#"{"batch":[1],"batch":5}"#, "single", &[r#"{"batch":[1],"batch":5}"#]),
            (r#"{"traits":{"batch":[1]}}"#, "single", &[r#"{"traits":{"batch":[1]}}"#]),
            (r#"{"b\u0061tch":[1]}"#, "batch", &["1"]),
            ("[1,2]", "array", &["1", "2"]),
            ("\u{feff}{}", "single", &["{}"]),
            ("\u{feff} [1]", "array", &["1"]),
            ("{}", "single", &["{}"]),
        ] {
            let split = split_envelope(body.as_bytes()).expect(body);
            let found = match &split {
                Envelope::Single(_) => "single",
                Envelope::Array(_) => "array",
                Envelope::Batch(_) => "batch",
            };
            assert_eq!((found, &split.sources()[..]), (envelope, events), "{body}");
        }
    }

    #[test]
    fn events_behind_the_first_ones_are_checked_and_left_out() {
        for (body, events) in [
            ("[1,2,3]", &["1", "2"][..]),
            ("[1, 2]", &["1", "2"]),
            ("[1]", &["1"]),
            (r#"{"batch":[1,{},[3]]}"#, &["1", "{}"]),
        ] {
            assert_eq!(split_first(2, body.as_bytes()).expect(body).sources(), events, "{body}");
        }
        for body in ["[1,2,3", "[1,2,3,]", "[1,2,]", "[1,2,3] 4", "[1,2,\"\n\"]", r#"{"batch":[1,2,x]}"#] {
            assert!(split_first(2, body.as_bytes()).is_err(), "{body}");
        }
    }

    #[test]
    fn a_body_without_an_event_is_malformed() {
        for (body, message) in [
            (&b""[..], "No event: send an event, or an array with at least one event"),
            (b"\xef\xbb\xbf", "No event: send an event, or an array with at least one event"),
            (b" \n", "No event: send an event, or an array with at least one event"),
            (b"[]", "No event: send an event, or an array with at least one event"),
            (b"{\"batch\":[ ]}", "No event: send an event, or an array with at least one event"),
            (b"5", "Invalid event: an event must be a JSON object"),
            (b"null", "Invalid event: an event must be a JSON object"),
            (b"\"x\"", "Invalid event: an event must be a JSON object"),
            (b"\xff{}", "Invalid JSON: the body is not UTF-8 text"),
            (
                b" type=identify&userId=1",
                "Invalid JSON: it begins with neither `{` nor `[`: send an event as a JSON object, or an array",
            ),
            (b"{'type':'identify'}", "Invalid JSON: key must be a string at line 1 column 2"),
            (b"{\n \"a\": u123\n}", "Invalid JSON: expected value at line 2 column 7"),
            (b"{\"a\":1", "Invalid JSON: EOF while parsing an object at line 1 column 6"),
            (
                b"{\"a\nb\":1}",
                "Invalid JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3",
            ),
            (b"{} {}", "Invalid JSON: trailing characters at line 1 column 4"),
            (b"[{},]", "Invalid JSON: trailing comma at line 1 column 5"),
        ] {
            assert_eq!(split_envelope(body).expect_err(message).to_string(), message);
        }
    }
}
