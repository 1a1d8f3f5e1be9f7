//! JSON one level at a time: a [`Raw`] is the source text of a value, and reading it looks no deeper than asked.
//!
//! Why not `serde_json::Value`: numbers keep their digits, keys their order, deep nesting costs no stack, and a broken
//! value that nobody asks for (half of an emoji, say) harms nothing. `serde_json` checks a text, once; what is known to be
//! JSON is then walked by its quotes and brackets alone. Invariant: the text of a `Raw` is valid JSON without blanks around.
//! Where a key comes twice, the last value counts and the first place, as in `JSON.parse`.

use super::parts::{self, Parts};
use super::text;
use serde::de::{Deserialize, Deserializer, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The source text of one JSON value. Prints as `Raw(…)`: it may be personal data.
#[derive(Clone, Copy)]
pub struct Raw<'a>(&'a str);

/// A JSON value, read one level deep.
pub enum Value<'a> {
    /// `null`.
    Null,
    /// `true` or `false`.
    Bool(bool),
    /// A number, as text: integers exactly as written.
    Number(String),
    /// A string as it was sent: blanks and control characters included.
    Text(Cow<'a, str>),
    /// An array.
    Array(Vec<Raw<'a>>),
    /// An object.
    Object(Object<'a>),
}

/// The members of a JSON object in document order.
#[derive(Clone, Default)]
pub struct Object<'a>(Vec<(Cow<'a, str>, Raw<'a>)>);

impl<'a> Raw<'a> {
    /// Checks that `text` is one JSON value, blanks around it allowed.
    pub fn check(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str::<&RawValue>(text).map(|raw| Self(raw.get()))
    }

    /// The text, without blanks around it.
    pub fn text(self) -> &'a str {
        self.0
    }

    /// Reads one level.
    pub fn read(self) -> Value<'a> {
        match self.0.as_bytes().first() {
            Some(b'{') => Value::Object(self.object().unwrap_or_default()),
            Some(b'[') => Value::Array(self.parts().map(Raw).collect()),
            Some(b'"') => Value::Text(self.decoded()),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'-' | b'0'..=b'9') => Value::Number(text::number(self.0)),
            _ => Value::Null,
        }
    }

    /// The members of an object in document order, repeated ones too; none of what is no object.
    pub(super) fn members(self) -> Members<'a> {
        Members(if self.is_object() { self.parts() } else { Parts::default() })
    }

    /// The elements of an array; the keys and values of an object in turn.
    fn parts(self) -> Parts<'a> {
        Parts::of(self.0)
    }

    /// A string as it was sent.
    fn decoded(self) -> Cow<'a, str> {
        let inside = &self.0[1..self.0.len() - 1];
        if parts::plain(inside.as_bytes()) == inside.len() {
            return Cow::Borrowed(inside);
        }
        serde_json::from_str(self.0).map(|Lossy(text)| text).unwrap_or_default()
    }

    /// Whether it says nothing: `null`, a blank string, `[]` or `{}`.
    pub fn is_empty(self) -> bool {
        match self.0.as_bytes().first() {
            Some(b'[' | b'{') => self.parts().next().is_none(),
            Some(b'"') => text::is_blank(&self.decoded()),
            Some(b'n') => true,
            _ => false,
        }
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.text().starts_with('{')
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.text().starts_with('[')
    }

    /// Whether it is a string.
    pub fn is_text(self) -> bool {
        self.text().starts_with('"')
    }

    /// A string as it was sent, if it is one.
    pub fn text_as_sent(self) -> Option<Cow<'a, str>> {
        self.is_text().then(|| self.decoded())
    }

    /// A string or a number as a clean line, unless it is blank.
    pub fn line(self) -> Option<String> {
        match self.0.as_bytes().first() {
            Some(b'"') => Some(text::clean(&self.decoded())).filter(|line| !line.is_empty()),
            Some(b'-' | b'0'..=b'9') => Some(text::number(self.0)),
            _ => None,
        }
    }

    /// A string, a number, `true` or `false` as a clean line, unless it is blank.
    pub fn scalar(self) -> Option<String> {
        match self.0 {
            "true" | "false" => Some(self.0.to_owned()),
            _ => self.line(),
        }
    }

    /// The object, if it is one.
    pub fn object(self) -> Option<Object<'a>> {
        self.is_object().then(|| self.members().collect())
    }
}

impl<'a> Object<'a> {
    /// The value of exactly `key`.
    pub fn get(&self, key: &str) -> Option<Raw<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
    }
}

/// A walk through the members of an object: a key, then its value: as it stands, as an object, or [entered](Self::enter).
pub(super) struct Members<'a>(Parts<'a>);

impl<'a> Members<'a> {
    pub(super) fn key(&mut self) -> Option<Cow<'a, str>> {
        self.0.next().map(|key| Raw(key).decoded())
    }

    pub(super) fn value(&mut self) -> Option<Raw<'a>> {
        self.0.next().map(Raw)
    }

    /// The value, if it is an object.
    pub(super) fn object(&mut self) -> Option<Object<'a>> {
        self.enter().then(|| {
            let object = self.by_ref().collect();
            self.leave();
            object
        })
    }

    /// Whether the value is an object; if so, its members come next, until it is [left](Self::leave).
    pub(super) fn enter(&mut self) -> bool {
        self.0.enter()
    }

    pub(super) fn leave(&mut self) {
        self.0.leave();
    }
}

impl<'a> Iterator for Members<'a> {
    type Item = (Cow<'a, str>, Raw<'a>);

    fn next(&mut self) -> Option<Self::Item> {
        Some((self.key()?, self.value()?))
    }
}

impl<'a> FromIterator<(Cow<'a, str>, Raw<'a>)> for Object<'a> {
    fn from_iter<I: IntoIterator<Item = (Cow<'a, str>, Raw<'a>)>>(members: I) -> Self {
        Self(unrepeated(members.into_iter()))
    }
}

impl<'a> IntoIterator for Object<'a> {
    type Item = (Cow<'a, str>, Raw<'a>);
    type IntoIter = std::vec::IntoIter<Self::Item>;

    fn into_iter(self) -> Self::IntoIter {
        self.0.into_iter()
    }
}

impl fmt::Debug for Raw<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Raw(…)")
    }
}

/// Few enough members to be compared each with each.
const FEW: usize = 32;

/// Of a repeated key, the last value in the first place.
fn unrepeated<'a>(members: impl Iterator<Item = (Cow<'a, str>, Raw<'a>)>) -> Vec<(Cow<'a, str>, Raw<'a>)> {
    let mut kept: Vec<(Cow<'a, str>, Raw<'a>)> = Vec::with_capacity(8);
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
    for (key, value) in members {
        if kept.len() == FEW && places.is_empty() {
            places.extend(kept.iter().enumerate().map(|(place, (key, _))| (key.clone(), place)));
        }
        let few = places.is_empty();
        let place = if few { kept.iter().position(|(name, _)| *name == key) } else { places.get(&key).copied() };
        if let Some(place) = place {
            kept[place].1 = value;
            continue;
        }
        if !few {
            places.insert(key.clone(), kept.len());
        }
        kept.push((key, value));
    }
    kept
}

/// A JSON string in which half a surrogate pair is replaced by U+FFFD: `JavaScript` sends such strings when it cuts one.
struct Lossy<'a>(Cow<'a, str>);

impl<'de: 'a, 'a> Deserialize<'de> for Lossy<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Text;
        impl<'de> Visitor<'de> for Text {
            type Value = Lossy<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a string")
            }

            fn visit_borrowed_bytes<E>(self, bytes: &'de [u8]) -> Result<Lossy<'de>, E> {
                Ok(Lossy(String::from_utf8_lossy(bytes)))
            }

            fn visit_bytes<E>(self, bytes: &[u8]) -> Result<Lossy<'de>, E> {
                Ok(Lossy(Cow::Owned(String::from_utf8_lossy(bytes).into_owned())))
            }
        }
        deserializer.deserialize_bytes(Text)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> Raw<'_> {
        Raw::check(text).expect("JSON")
    }

    #[test]
    fn of_a_repeated_key_the_last_value_counts() {
        let object = raw(r#"{"a": 1, "b": 2, "\u0061": 3}"#).object().expect("an object");
        assert_eq!(object.get("a").map(Raw::text), Some("3"));
        assert_eq!(object.into_iter().map(|(key, _)| key).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_repeated_key_is_found_among_many_too() {
        let twice = |from: usize| (0..3 * FEW).map(move |n| format!(r#""{n}": {}"#, from + n));
        let text = format!("{{{}}}", twice(0).chain(twice(1000)).collect::<Vec<_>>().join(","));
        let object = raw(&text).object().expect("an object");
        let found: Vec<_> = object.into_iter().map(|(key, value)| format!(r#""{key}": {}"#, value.text())).collect();
        assert_eq!(found, twice(1000).collect::<Vec<_>>());
    }

    #[test]
    fn half_a_surrogate_pair_harms_neither_key_nor_value() {
        let object = raw(r#"{"\ud83d": 1, "name": "Jack \ud83d", "bio": "\udc00"}"#).object().expect("an object");
        assert_eq!(object.get("name").and_then(Raw::line).as_deref(), Some("Jack"));
        assert_eq!(object.get("bio").and_then(Raw::line), None);
    }

    #[test]
    fn what_says_nothing_is_empty() {
        for text in ["null", r#""""#, r#"" \t\u0000""#, "[ ]", "{\n}"] {
            assert!(raw(text).is_empty(), "{text}");
        }
        for text in ["0", "false", r#""x""#, "[null]", r#"{"a":null}"#] {
            assert!(!raw(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn lines_are_strings_and_numbers_and_scalars_are_booleans_too() {
        for (text, line, scalar) in [
            (r#"" Pe\u00e9\nter ""#, Some("Peé ter"), Some("Peé ter")),
            ("94103", Some("94103"), Some("94103")),
            ("450.0", Some("450"), Some("450")),
            ("true", None, Some("true")),
            ("false", None, Some("false")),
            ("null", None, None),
            (r#""  ""#, None, None),
            ("[1]", None, None),
            ("{}", None, None),
        ] {
            assert_eq!(raw(text).line().as_deref(), line, "{text}");
            assert_eq!(raw(text).scalar().as_deref(), scalar, "{text}");
        }
    }
}
