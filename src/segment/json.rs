//! JSON values that are read one level at a time: a [`RawJson`] is the source text of a value, decoded only on demand.
//!
//! In: the text of a body, or of one value in it. Out: strings, numbers, elements and members. It is a layer over
//! `serde_json::value::RawValue`, not over `serde_json::Value`, for four reasons: numbers keep their digits; nesting of any depth needs no
//! stack; every element keeps its own bytes, which are stored; half a surrogate pair, which `JavaScript` sends when it cuts an emoji,
//! affects only the string that holds it. If a name is repeated, the last value counts, in the place of the first, as in `JSON.parse`;
//! members keep their order. [`RawJson::members`] finds members by name without making a list, and skips an object that has none of the
//! names. The source text of a name is decoded only if it has a backslash. With a hand-written scanner of 300 lines, authenticating,
//! parsing and mapping an event of 1.2 KB took 101,691 instructions. Invariant: a `RawJson` is valid JSON without white space around it.
//! Deliberately absent: the meaning of names ([`super::Event`], [`super::Traits`]).

use super::text;
use indexmap::IndexMap;
use memchr::{memchr, memmem};
use serde::Deserialize;
use serde::de::{DeserializeSeed, Deserializer, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;
use std::borrow::Cow;
use std::fmt;

/// The source text of one JSON value. Prints as `RawJson(…)`: it may be personal data.
#[derive(Clone, Copy, Deserialize)]
#[serde(transparent)]
pub struct RawJson<'a>(#[serde(borrow)] &'a RawValue);

/// The members of a JSON object in document order.
#[derive(Clone, Default)]
pub struct JsonObject<'a>(Vec<(Cow<'a, str>, RawJson<'a>)>);

impl<'a> RawJson<'a> {
    /// Checks that `text` is one JSON value. White space around it is permitted.
    pub fn parse(text: &'a str) -> Result<Self, serde_json::Error> {
        serde_json::from_str(text)
    }

    /// The source text, without white space around it.
    pub fn source(self) -> &'a str {
        self.0.get()
    }

    /// Whether it is an object.
    pub fn is_object(self) -> bool {
        self.source().starts_with('{')
    }

    /// Whether it is an array.
    pub fn is_array(self) -> bool {
        self.source().starts_with('[')
    }

    /// Whether it is a string.
    pub fn is_string(self) -> bool {
        self.source().starts_with('"')
    }

    fn is_number(self) -> bool {
        self.source().starts_with(|c: char| c == '-' || c.is_ascii_digit())
    }

    /// Whether it is `null`, `[]`, `{}`, or a string that is blank or stands for an absent value.
    pub fn is_empty(self) -> bool {
        // Nearly every string begins with a letter or a digit, but not with that of `null`, `undefined` or `NaN`. Such a string is not
        // decoded here.
        if let [b'"', first, ..] = self.source().as_bytes()
            && first.is_ascii_alphanumeric()
            && !matches!(first, b'n' | b'u' | b'N')
        {
            return false;
        }
        if let Some(text) = self.as_string() {
            return text::clean_text(&text).is_empty();
        }
        let inside = self.source().strip_prefix(['[', '{']).and_then(|rest| rest.strip_suffix([']', '}']));
        inside.map_or(self.source() == "null", |inside| inside.trim_ascii().is_empty())
    }

    /// A string, decoded, with its white space and control characters; `None` for any other value.
    pub fn as_string(self) -> Option<Cow<'a, str>> {
        let inside = self.source().strip_prefix('"')?.strip_suffix('"')?;
        if !inside.contains('\\') {
            return Some(Cow::Borrowed(inside));
        }
        self.read::<DecodedString>(true).map(|text| Cow::Owned(text.0))
    }

    /// A number as text, integers exactly as written; `None` for any other value.
    pub fn as_number(self) -> Option<String> {
        self.is_number().then(|| text::plain_number(self.source()))
    }

    /// The elements of an array; `None` for any other value.
    pub fn as_array(self) -> Option<Vec<Self>> {
        self.read(self.is_array())
    }

    /// The members of an object; `None` for any other value.
    pub fn as_object(self) -> Option<JsonObject<'a>> {
        self.read(self.is_object())
    }

    /// The values of the members with these names, in the order of the names; `None` for any other value.
    pub fn members<const N: usize>(self, names: [&str; N]) -> Option<[Option<Self>; N]> {
        // Searching for the names costs less than reading every member. A backslash may hide a name.
        let source = self.source().as_bytes();
        let contains = |name: &&str| memmem::find(source, name.as_bytes()).is_some();
        if !self.is_object() {
            None
        } else if names.iter().any(contains) || memchr(b'\\', source).is_some() {
            Self::members_of(self.source(), names).ok()
        } else {
            Some([None; N])
        }
    }

    /// Like [`members`](Self::members), for a text that may be no JSON or no object.
    pub fn members_of<const N: usize>(text: &'a str, names: [&str; N]) -> Result<[Option<Self>; N], serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let members = NamedMembers(names).deserialize(&mut json)?;
        json.end()?;
        Ok(members)
    }

    /// The first `most` elements of an array, from a text that may be no JSON, or no array. The others are only checked.
    pub fn elements_of(text: &'a str, most: usize) -> Result<Vec<Self>, serde_json::Error> {
        let mut json = serde_json::Deserializer::from_str(text);
        let elements = json.deserialize_seq(FirstElements(most))?;
        json.end()?;
        Ok(elements)
    }

    /// A string or a number as [clean](super::clean_text) text, unless nothing is left of it.
    pub fn as_clean_text(self) -> Option<String> {
        match self.as_string() {
            Some(text) => Some(text::clean_text(&text)).filter(|text| !text.is_empty()),
            None => self.as_number(),
        }
    }

    /// A string, a number, `true` or `false` as [clean](super::clean_text) text, unless nothing is left of it.
    pub fn as_clean_scalar(self) -> Option<String> {
        match self.source() {
            boolean @ ("true" | "false") => Some(boolean.to_owned()),
            _ => self.as_clean_text(),
        }
    }

    /// The value as a `T`, if it `is_one`. It is valid JSON, so nothing else can fail.
    fn read<T: Deserialize<'a>>(self, is_one: bool) -> Option<T> {
        is_one.then(|| serde_json::from_str(self.source()).ok()).flatten()
    }
}

/// Reads the members of an object with these names, and skips the others.
struct NamedMembers<'n, const N: usize>([&'n str; N]);

impl<'de, const N: usize> DeserializeSeed<'de> for NamedMembers<'_, N> {
    type Value = [Option<RawJson<'de>>; N];

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de, const N: usize> Visitor<'de> for NamedMembers<'_, N> {
    type Value = [Option<RawJson<'de>>; N];

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut found = [None; N];
        while let Some(name) = object.next_key::<RawJson<'de>>()? {
            let name = name.as_string();
            match self.0.iter().position(|wanted| Some(*wanted) == name.as_deref()) {
                Some(index) => found[index] = Some(object.next_value()?),
                None => drop(object.next_value::<IgnoredAny>()?),
            }
        }
        Ok(found)
    }
}

/// Reads the first elements of an array, at most so many, and skips the others.
struct FirstElements(usize);

impl<'de> Visitor<'de> for FirstElements {
    type Value = Vec<RawJson<'de>>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut array: A) -> Result<Self::Value, A::Error> {
        let mut elements = Vec::new();
        while elements.len() < self.0 {
            let Some(element) = array.next_element()? else { return Ok(elements) };
            elements.push(element);
        }
        while array.next_element::<IgnoredAny>()?.is_some() {}
        Ok(elements)
    }
}

impl<'a> JsonObject<'a> {
    /// The names and values in document order.
    pub fn into_members(self) -> impl Iterator<Item = (Cow<'a, str>, RawJson<'a>)> {
        self.0.into_iter()
    }
}

impl<'de: 'a, 'a> Deserialize<'de> for JsonObject<'a> {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(AllMembers).map(Self)
    }
}

/// Reads every member of an object.
struct AllMembers;

/// The most members among which comparing finds a repeated name faster than hashing.
const FEW: usize = 16;

impl<'de> Visitor<'de> for AllMembers {
    type Value = Vec<(Cow<'de, str>, RawJson<'de>)>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut object: A) -> Result<Self::Value, A::Error> {
        let mut next = || -> Result<Option<(Cow<'de, str>, RawJson<'de>)>, A::Error> {
            let entry = object.next_entry::<RawJson<'de>, RawJson<'de>>()?;
            Ok(entry.map(|(name, value)| (name.as_string().unwrap_or_default(), value)))
        };
        let mut few = Vec::with_capacity(FEW);
        while few.len() < FEW {
            let Some((name, value)) = next()? else { return Ok(few) };
            match few.iter_mut().find(|(own, _)| *own == name) {
                Some((_, own)) => *own = value,
                None => few.push((name, value)),
            }
        }
        let mut many: IndexMap<_, _> = few.into_iter().collect();
        while let Some((name, value)) = next()? {
            many.insert(name, value);
        }
        Ok(many.into_iter().collect())
    }
}

impl fmt::Debug for RawJson<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("RawJson(…)")
    }
}

/// A JSON string, decoded; half a surrogate pair becomes U+FFFD instead of an error.
struct DecodedString(String);

impl<'de> Deserialize<'de> for DecodedString {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_bytes(DecodedStringVisitor)
    }
}

/// Accepts bytes, not a `str`: `serde_json` passes on half a surrogate pair only as bytes.
struct DecodedStringVisitor;

impl Visitor<'_> for DecodedStringVisitor {
    type Value = DecodedString;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a string")
    }

    fn visit_bytes<E>(self, bytes: &[u8]) -> Result<DecodedString, E> {
        Ok(DecodedString(String::from_utf8_lossy(bytes).into_owned()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn raw(text: &str) -> RawJson<'_> {
        RawJson::parse(text).expect("JSON")
    }

    #[test]
    fn the_last_value_of_a_repeated_name_counts() {
        let json = raw(r#"{"a": 1, "b": 2, "\u0061": 3}"#);
        let values = json.members(["b", "a", "c"]).expect("an object").map(|value| value.map(RawJson::source));
        assert_eq!(values, [Some("2"), Some("3"), None]);
        let object = json.as_object().expect("an object");
        assert_eq!(object.into_members().map(|(name, _)| name).collect::<Vec<_>>(), ["a", "b"]);
    }

    #[test]
    fn a_repeated_name_is_found_among_many_too() {
        const MANY: usize = 96;
        let twice = |from: usize| (0..MANY).map(move |n| format!(r#""{n}": {}"#, from + n));
        let text = format!("{{{}}}", twice(0).chain(twice(1000)).collect::<Vec<_>>().join(","));
        let object = raw(&text).as_object().expect("an object");
        let found: Vec<_> =
            object.into_members().map(|(name, value)| format!(r#""{name}": {}"#, value.source())).collect();
        assert_eq!(found, twice(1000).collect::<Vec<_>>());
    }

    #[test]
    fn half_a_surrogate_pair_harms_neither_name_nor_value() {
        let json = raw(r#"{"\ud83d": 1, "name": "Jack \ud83d", "bio": "\udc00"}"#);
        let texts =
            json.members(["name", "bio"]).expect("an object").map(|value| value.and_then(RawJson::as_clean_text));
        assert_eq!(texts, [Some("Jack".to_owned()), None]);
    }

    #[test]
    fn null_blank_strings_and_values_without_elements_are_empty() {
        for text in ["null", r#""""#, r#"" \t\u0000""#, "[ ]", "{\n}"] {
            assert!(raw(text).is_empty(), "{text}");
        }
        for text in ["0", "false", r#""x""#, "[null]", r#"{"a":null}"#] {
            assert!(!raw(text).is_empty(), "{text}");
        }
    }

    #[test]
    fn clean_texts_are_strings_and_numbers_and_clean_scalars_are_booleans_too() {
        for (text, clean, scalar) in [
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
            assert_eq!(raw(text).as_clean_text().as_deref(), clean, "{text}");
            assert_eq!(raw(text).as_clean_scalar().as_deref(), scalar, "{text}");
        }
    }
}
