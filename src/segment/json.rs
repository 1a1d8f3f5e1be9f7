//! JSON one level at a time: a [`Raw`] is the source text of a value, and reading it looks no deeper than asked.
//!
//! Why not `serde_json::Value`: numbers keep their digits, keys their order, deep nesting costs no stack, and a broken
//! value that nobody asks for (half of an emoji, say) harms nothing. Invariant: the text of a `Raw` is valid JSON.
//! Where a key comes twice, the last value counts and the first place, as in `JSON.parse`.

use super::text;
use serde::de::{Deserialize, Deserializer, MapAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::collections::HashMap;
use std::fmt;

/// The source text of one JSON value. Prints as `Raw(…)`: it may be personal data.
#[derive(Clone, Copy)]
pub struct Raw<'a>(&'a RawValue);

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
        serde_json::from_str(text).map(Self)
    }

    /// Checks `text`, which may have blanks around it, and reads it in the same pass if it is an object; else what it is.
    pub fn object_in(text: &'a str) -> Result<Result<Object<'a>, Self>, serde_json::Error> {
        if text.trim_ascii_start().starts_with('{') {
            serde_json::from_str(text).map(Ok)
        } else {
            Self::check(text).map(Err)
        }
    }

    /// The text, without blanks around it.
    pub fn text(self) -> &'a str {
        self.0.get()
    }

    /// Reads one level.
    pub fn read(self) -> Value<'a> {
        let text = self.text();
        match text.as_bytes().first() {
            Some(b'{') => Value::Object(serde_json::from_str(text).unwrap_or_default()),
            Some(b'[') => {
                let elements: Vec<&RawValue> = serde_json::from_str(text).unwrap_or_default();
                Value::Array(elements.into_iter().map(Raw).collect())
            }
            Some(b'"') => Value::Text(serde_json::from_str(text).map(|Lossy(text)| text).unwrap_or_default()),
            Some(b't') => Value::Bool(true),
            Some(b'f') => Value::Bool(false),
            Some(b'-' | b'0'..=b'9') => Value::Number(text::number(text)),
            _ => Value::Null,
        }
    }

    /// Whether it says nothing: `null`, a blank string, `[]` or `{}`.
    pub fn is_empty(self) -> bool {
        let text = self.text();
        if text.starts_with(['[', '{']) {
            return text[1..text.len() - 1].trim_ascii().is_empty();
        }
        match self.read() {
            Value::Null => true,
            Value::Text(text) => text::clean(&text).is_empty(),
            _ => false,
        }
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.text().starts_with('{')
    }

    /// Whether it is a string.
    pub fn is_text(self) -> bool {
        self.text().starts_with('"')
    }

    /// A string as it was sent, if it is one.
    pub fn text_as_sent(self) -> Option<Cow<'a, str>> {
        match self.read() {
            Value::Text(text) => Some(text),
            _ => None,
        }
    }

    /// A string or a number as a clean line, unless it is blank.
    pub fn line(self) -> Option<String> {
        match self.read() {
            Value::Text(text) => Some(text::clean(&text)).filter(|line| !line.is_empty()),
            Value::Number(text) => Some(text),
            _ => None,
        }
    }

    /// A string, a number, `true` or `false` as a clean line, unless it is blank.
    pub fn scalar(self) -> Option<String> {
        match self.read() {
            Value::Bool(value) => Some(value.to_string()),
            _ => self.line(),
        }
    }

    /// The object, if it is one.
    pub fn object(self) -> Option<Object<'a>> {
        match self.read() {
            Value::Object(object) => Some(object),
            _ => None,
        }
    }
}

impl<'a> Object<'a> {
    /// The value of exactly `key`.
    pub fn get(&self, key: &str) -> Option<Raw<'a>> {
        self.0.iter().find(|(name, _)| name == key).map(|(_, value)| *value)
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

impl<'de: 'a, 'a> Deserialize<'de> for Object<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Members;
        impl<'de> Visitor<'de> for Members {
            type Value = Object<'de>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("an object")
            }

            fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<Object<'de>, A::Error> {
                let mut members: Vec<(Cow<'de, str>, Raw<'de>)> = Vec::new();
                while let Some(Lossy(key)) = map.next_key()? {
                    members.push((key, Raw(map.next_value()?)));
                }
                Ok(Object(unrepeated(members)))
            }
        }
        deserializer.deserialize_map(Members)
    }
}

/// Few enough members to be compared each with each.
const FEW: usize = 32;

/// Of a repeated key, the last value in the first place.
fn unrepeated<'a>(members: Vec<(Cow<'a, str>, Raw<'a>)>) -> Vec<(Cow<'a, str>, Raw<'a>)> {
    let few = members.len() <= FEW;
    let mut kept: Vec<(Cow<'a, str>, Raw<'a>)> = Vec::with_capacity(members.len());
    let mut places: HashMap<Cow<'a, str>, usize> = HashMap::new();
    for (key, value) in members {
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
