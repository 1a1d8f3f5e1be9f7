//! Traits: the attributes of a user in an event, found by name in any spelling.
//!
//! In: the members of an object. Out: values, texts or lines at a path such as `address.city`. Two names are the same if their letters,
//! digits and dots are the same, without case: `postal_code` is `postalCode`. Segment's own accessor library compares in this way (it keeps
//! ASCII letters only; here letters of every script count). If several names match, the first with a usable value wins; empty and null
//! values are skipped. A dotted path looks into an object first (`address` → `city`), then for a name with that dot in it (`address.city`).
//! Deliberately absent: the list of traits and their meaning.

use super::json::{JsonObject, RawJson};
use std::borrow::Cow;
use std::cell::OnceCell;
use std::fmt;

/// The traits of one event, in document order. `Debug` prints only their number: they are personal data.
#[derive(Clone, Default)]
pub struct Traits<'a>(Vec<Trait<'a>>);

#[derive(Clone)]
struct Trait<'a> {
    /// The name as written.
    name: Cow<'a, str>,
    /// The [normalized](normalize_name) name.
    normalized: Cow<'a, str>,
    value: RawJson<'a>,
    /// The members of the value, if it is an object; read once, when a path first leads into it.
    members: OnceCell<Option<Traits<'a>>>,
}

impl<'a> Traits<'a> {
    /// The first result of `pick` among the values whose name matches `path`: objects before dotted names, otherwise in
    /// document order.
    pub fn find<T>(&self, path: &str, mut pick: impl FnMut(RawJson<'a>) -> Option<T>) -> Option<T> {
        self.search(&normalized(Cow::Borrowed(path)), &mut pick)
    }

    /// Every value whose name matches `path`, in the order of [`find`](Self::find).
    #[cfg(test)]
    pub(super) fn all(&self, path: &str) -> Vec<RawJson<'a>> {
        let mut found = Vec::new();
        self.find(path, |value| -> Option<()> {
            found.push(value);
            None
        });
        found
    }

    /// The first string or number at `path` that is not blank, as [clean](super::clean_text) text.
    pub fn text(&self, path: &str) -> Option<String> {
        self.find(path, RawJson::as_clean_text)
    }

    /// The [normalized](normalize_name) names and the values, in document order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, RawJson<'a>)> {
        self.0.iter().map(|own| (&*own.normalized, own.value))
    }

    /// Whether none has a value.
    pub fn is_empty(&self) -> bool {
        self.0.iter().all(|own| own.value.is_empty())
    }

    /// The first string or number in a list at `path`, as [clean](super::clean_text) text; a string or number instead of a list
    /// counts as well.
    pub fn first_text(&self, path: &str) -> Option<String> {
        self.find(path, |value| match value.as_array() {
            Some(elements) => elements.into_iter().find_map(RawJson::as_clean_text),
            None => value.as_clean_text(),
        })
    }

    /// The first value at `path` that is not empty: not `null`, a blank string, `[]` or `{}`.
    pub fn non_empty(&self, path: &str) -> Option<RawJson<'a>> {
        self.find(path, |value| Some(value).filter(|value| !value.is_empty()))
    }

    /// The value whose name is exactly `path`, in its casing and with its punctuation; empty or not.
    pub fn exactly(&self, path: &str) -> Option<RawJson<'a>> {
        let nested = path.split_once('.').and_then(|(name, rest)| {
            let parents = self.0.iter().filter(|parent| parent.name == name);
            parents.filter_map(Trait::members).find_map(|members| members.exactly(rest))
        });
        nested.or_else(|| self.0.iter().find(|own| own.name == path).map(|own| own.value))
    }

    /// `path` is normalized. Recurses once for each dot of `path`, however deeply the event is nested.
    fn search<T>(&self, path: &str, pick: &mut impl FnMut(RawJson<'a>) -> Option<T>) -> Option<T> {
        let nested = path.split_once('.').and_then(|(name, rest)| {
            let parents = self.0.iter().filter(|parent| parent.normalized == name);
            parents.filter_map(Trait::members).find_map(|members| members.search(rest, pick))
        });
        let matches = |own: &&Trait<'a>| !path.is_empty() && own.normalized == path;
        nested.or_else(|| self.0.iter().filter(matches).find_map(|own| pick(own.value)))
    }
}

impl<'a> Trait<'a> {
    fn members(&self) -> Option<&Traits<'a>> {
        self.members.get_or_init(|| self.value.as_object().map(Traits::from)).as_ref()
    }
}

/// The form of a name in which two spellings are equal.
pub fn normalize_name(name: &str) -> String {
    normalized(Cow::Borrowed(name)).into_owned()
}

/// [`normalize_name`] without a copy of a name that is normalized already.
fn normalized(name: Cow<'_, str>) -> Cow<'_, str> {
    if name.bytes().all(|b| matches!(b, b'a'..=b'z' | b'0'..=b'9' | b'.')) {
        return name;
    }
    if name.bytes().all(|b| b.is_ascii_alphanumeric() || b == b'.') {
        return Cow::Owned(name.to_ascii_lowercase());
    }
    Cow::Owned(name.chars().filter(|c| c.is_alphanumeric() || *c == '.').flat_map(char::to_lowercase).collect())
}

impl<'a> From<JsonObject<'a>> for Traits<'a> {
    fn from(object: JsonObject<'a>) -> Self {
        let own = |(name, value): (Cow<'a, str>, _)| Trait {
            normalized: normalized(name.clone()),
            name,
            value,
            members: OnceCell::new(),
        };
        Self(object.into_members().map(own).collect())
    }
}

impl fmt::Debug for Traits<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Traits({})", self.0.len())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn traits(text: &str) -> Traits<'_> {
        RawJson::parse(text).expect("JSON").as_object().expect("an object").into()
    }

    #[test]
    fn names_match_in_any_casing() {
        for name in ["firstName", "first_name", "FirstName", "First Name", "FIRST-NAME", "$firstname"] {
            let text = format!(r#"{{"{name}": "Peter"}}"#);
            assert_eq!(traits(&text).text("firstName").as_deref(), Some("Peter"), "{name}");
        }
        assert_eq!(traits(r#"{"Größe": "XL"}"#).text("größe").as_deref(), Some("XL"));
        assert_eq!(traits(r#"{"名前": "x"}"#).text("年齢"), None);
        assert_eq!(traits(r#"{"$": "x"}"#).text("_"), None);
    }

    #[test]
    fn the_first_usable_value_wins() {
        let traits = traits(r#"{"City": null, "CITY": " ", "c_ity": [], "city": "Rome", "cit_y": "Paris"}"#);
        assert_eq!(traits.text("city").as_deref(), Some("Rome"));
        assert_eq!(traits.non_empty("city").map(RawJson::source), Some(r#""Rome""#));
    }

    #[test]
    fn a_path_looks_into_objects_then_for_a_dotted_name() {
        let both = traits(r#"{"address.city": "Rome", "Address": {"CITY": "Paris"}}"#);
        assert_eq!(both.text("address.city").as_deref(), Some("Paris"));
        let empty = traits(r#"{"address.city": "Rome", "Address": {"CITY": ""}}"#);
        assert_eq!(empty.text("address.city").as_deref(), Some("Rome"));
        let text = traits(r#"{"address": "6th St"}"#);
        assert_eq!(text.text("address.city"), None);
        let deep = traits(r#"{"a": {"b": {"c": 1}, "b.c": 2}, "a.b": {"c": 3}}"#);
        assert_eq!(deep.all("a.b.c").into_iter().map(RawJson::source).collect::<Vec<_>>(), ["1", "2"]);
    }

    #[test]
    fn an_exact_name_has_its_casing_and_punctuation() {
        let traits = traits(r#"{"tier_11": 1, "tier_1_1": null, "A": {"b.c": 2}, "a": {"b.c": 3}, "a.b.d": 4}"#);
        for (path, value) in [
            ("tier_11", Some("1")),
            ("tier_1_1", Some("null")),
            ("Tier_11", None),
            ("a.b.c", Some("3")),
            ("a.b.d", Some("4")),
            ("a.B.d", None),
            ("", None),
        ] {
            assert_eq!(traits.exactly(path).map(RawJson::source), value, "{path}");
        }
    }

    #[test]
    fn numbers_are_texts() {
        assert_eq!(traits(r#"{"zip": 94103}"#).text("zip").as_deref(), Some("94103"));
    }

    #[test]
    fn the_first_of_a_list_is_its_first_usable_text() {
        for (text, first) in [
            (r#"{"phones": [null, "", {"n": 1}, 15550100, "2"]}"#, Some("15550100")),
            (r#"{"phones": "555"}"#, Some("555")),
            (r#"{"phones": []}"#, None),
            (r#"{"phones": {"home": "1"}}"#, None),
            ("{}", None),
        ] {
            assert_eq!(traits(text).first_text("phones").as_deref(), first, "{text}");
        }
    }
}
