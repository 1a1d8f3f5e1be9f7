//! Bytes → events: [`check`] a body, tell whether it holds [`several`]; [`split`] is both, for who needs but the texts.
//!
//! A body is one event, an array of events, or `{"batch": [events]}` as Segment's SDKs send it. It is checked for JSON syntax,
//! once, and for nothing else, so that one bad element spoils only itself; each element has its bytes exactly as received,
//! which is what is signed and recorded. Deliberately absent: what an event says ([`super::understand`]).

use super::event::Malformed;
use super::json::{Raw, Value};

/// The source texts of the events of a body, in order; never empty.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Events<'a> {
    /// One event by itself.
    One(&'a str),
    /// A JSON array of events.
    Array(Vec<&'a str>),
    /// The events of `{"batch": […]}`.
    Batch(Vec<&'a str>),
}

impl<'a> Events<'a> {
    /// The source texts, however they were packed.
    pub fn elements(&self) -> &[&'a str] {
        match self {
            Self::One(text) => std::slice::from_ref(text),
            Self::Array(texts) | Self::Batch(texts) => texts,
        }
    }
}

/// Cuts a body into the source texts of its events.
pub fn split(body: &[u8]) -> Result<Events<'_>, Malformed> {
    let body = check(body)?;
    Ok(match several(body)? {
        None => Events::One(body.text()),
        Some(events) if body.is_object() => Events::Batch(texts(events)),
        Some(events) => Events::Array(texts(events)),
    })
}

fn texts(events: Vec<Raw<'_>>) -> Vec<&str> {
    events.into_iter().map(Raw::text).collect()
}

/// Checks that a body is JSON.
pub fn check(body: &[u8]) -> Result<Raw<'_>, Malformed> {
    let body = std::str::from_utf8(body).map_err(|_| Malformed::NotUtf8)?;
    if body.trim_ascii().is_empty() {
        return Err(Malformed::Empty);
    }
    Ok(Raw::check(body)?)
}

/// The events of a body that holds several; `None` if it is one event by itself.
pub fn several(body: Raw<'_>) -> Result<Option<Vec<Raw<'_>>>, Malformed> {
    let list = if body.is_object() { batch(body) } else { Some(body) };
    match list.map(Raw::read) {
        None => Ok(None),
        Some(Value::Array(events)) if events.is_empty() => Err(Malformed::Empty),
        Some(Value::Array(events)) => Ok(Some(events)),
        Some(_) => Err(Malformed::NotAnObject),
    }
}

/// The list in `batch`. Hardly a body has one: to look for the word, or for a backslash that may hide it, is cheaper than to
/// walk them all.
fn batch(body: Raw<'_>) -> Option<Raw<'_>> {
    if !body.text().contains(r#""batch""#) && !body.text().contains('\\') {
        return None;
    }
    body.object()?.get("batch").filter(|batch| batch.is_array())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_body_is_cut_into_the_exact_texts_of_its_events() {
        let split = |body: &'static str| split(body.as_bytes());
        assert_eq!(split(" {\"a\" : 1.0}\n"), Ok(Events::One("{\"a\" : 1.0}")));
        assert_eq!(split("\t[ {\"b\":2,\"a\":1} ,5,null ]"), Ok(Events::Array(vec!["{\"b\":2,\"a\":1}", "5", "null"])));
        assert_eq!(split(r#"{"sentAt":"","batch":[{ },[]]}"#), Ok(Events::Batch(vec!["{ }", "[]"])));
        assert_eq!(split(r#"{"batch":5}"#), Ok(Events::One(r#"{"batch":5}"#)));
        assert_eq!(split(r#"{"batch":[1],"batch":5}"#), Ok(Events::One(r#"{"batch":[1],"batch":5}"#)));
        assert_eq!(split(r#"{"traits":{"batch":[1]}}"#), Ok(Events::One(r#"{"traits":{"batch":[1]}}"#)));
        assert_eq!(split(r#"{"b\u0061tch":[1]}"#), Ok(Events::Batch(vec!["1"])));
        assert_eq!(split("[1,2]").expect("splits").elements(), ["1", "2"]);
        assert_eq!(split("{}").expect("splits").elements(), ["{}"]);
    }

    #[test]
    fn what_holds_no_event_is_malformed() {
        for (body, message) in [
            (&b""[..], "No event: send an event, or an array with at least one event"),
            (b" \n", "No event: send an event, or an array with at least one event"),
            (b"[]", "No event: send an event, or an array with at least one event"),
            (b"{\"batch\":[ ]}", "No event: send an event, or an array with at least one event"),
            (b"5", "Invalid event: an event must be a JSON object"),
            (b"null", "Invalid event: an event must be a JSON object"),
            (b"\"x\"", "Invalid event: an event must be a JSON object"),
            (b"\xff{}", "Invalid JSON: the body is not UTF-8 text"),
            (b"{\n \"a\": u123\n}", "Invalid JSON: expected value at line 2 column 7"),
            (b"{\"a\":1", "Invalid JSON: EOF while parsing an object at line 1 column 6"),
            (
                b"{\"a\nb\":1}",
                "Invalid JSON: control character (\\u0000-\\u001F) found while parsing a string at line 1 column 3",
            ),
            (b"{} {}", "Invalid JSON: trailing characters at line 1 column 4"),
            (b"[{},]", "Invalid JSON: expected value at line 1 column 5"),
        ] {
            assert_eq!(split(body).expect_err(message).to_string(), message);
        }
    }
}
