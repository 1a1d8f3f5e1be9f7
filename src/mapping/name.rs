//! Names: `firstName`, `lastName` and `name` → Refersion's first and last name.
//!
//! In: traits. Out: the two fields in a profile, by Segment's own rules. The first name is `firstName` if it is a string, else the part of
//! `name` before its first blank. The last name is `lastName`, else the rest of `name`. A `name` that is not a string does not count.
//! `given_name` and `family_name`, the claims of OpenID, stand for `firstName` and `lastName`, and `fullName` for `name`. `undefined` and
//! the like are no part of a name: programs join two absent halves to `undefined undefined`. Deliberately absent: the placeholder for a
//! missing first or last name ([`super::identify`]), and the order of names in other languages.

use super::text;
use crate::domain::{Field, Profile};
use crate::segment::{Traits, stands_for_absent};

/// Sets the first and last name of `profile`.
pub(super) fn read(traits: &Traits<'_>, profile: &mut Profile) {
    let string = |path| traits.find(path, text::string);
    let whole = |path| traits.find(path, |value| text::string(value).and_then(without_absent_words));
    let (first, rest) = whole("name").or_else(|| whole("fullname")).unwrap_or_default();
    let first_name = string("firstname").or_else(|| string("givenname"));
    let text = |path| traits.find(path, text::text);
    let last_name = text("lastname").or_else(|| text("familyname"));
    profile.set(Field::FirstName, first_name.unwrap_or(first));
    profile.set(Field::LastName, last_name.unwrap_or(rest));
}

/// The first word of `name` and the others, without words that stand for an absent value; `None` if no other word is there.
fn without_absent_words(name: String) -> Option<(String, String)> {
    let name = name.replace("[object Object]", "undefined"); // so that each of them is one word
    let (first, rest) = name.split_once(' ').unwrap_or((&name, ""));
    let first = if stands_for_absent(first) { "" } else { first };
    let rest: Vec<_> = rest.split(' ').filter(|word| !stands_for_absent(word)).collect();
    let rest = rest.join(" ");
    (!first.is_empty() || !rest.is_empty()).then(|| (first.to_owned(), rest))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::RawJson;

    #[test]
    fn names_are_found_as_segment_finds_them() {
        for (traits, first, last) in [
            (r#"{"name":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"name":"  Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"name":"Peter \t van  Gibbons "}"#, Some("Peter"), Some("van Gibbons")),
            (r#"{"NAME":"Achilles"}"#, Some("Achilles"), None),
            (r#"{"firstName":"Peter","lastName":"Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"First_Name":"Peter","LAST NAME":"Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"name":"Peter Gibbons","firstName":"Pete"}"#, Some("Pete"), Some("Gibbons")),
            (r#"{"name":"Peter Gibbons","lastName":"G."}"#, Some("Peter"), Some("G.")),
            (r#"{"lastName":"Gibbons"}"#, None, Some("Gibbons")),
            (r#"{"firstName":"","last_name":null,"name":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"firstName":5,"name":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"name":5}"#, None, None),
            (r#"{"name":{"first":"Peter"}}"#, None, None),
            (r#"{"name":" "}"#, None, None),
            (r#"{"lastName":7}"#, None, Some("7")),
            (r#"{"given_name":"Peter","family_name":"Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"fullName":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"full_name":"Pete G","name":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"given_name":"Pete","firstName":"Peter","lastName":"G"}"#, Some("Peter"), Some("G")),
            (r#"{"name":"Mary Ann Lee","given_name":"Mary Ann","family_name":"Lee"}"#, Some("Mary Ann"), Some("Lee")),
            (r#"{"firstName":"Miles","lastName":"O&#39;Brien"}"#, Some("Miles"), Some("O'Brien")),
            (r#"{"firstName":"<nil>","lastName":"<nil>","name":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"firstName":"undefined","lastName":"null","name":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"name":"undefined undefined","fullName":"Peter Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"name":"(null) <nil>"}"#, None, None),
            (r#"{"name":"Peter null"}"#, Some("Peter"), None),
            (r#"{"name":"undefined Gibbons"}"#, None, Some("Gibbons")),
            (r#"{"name":"[object Object] [object Object]"}"#, None, None),
            (r#"{"name":"Peter [object Object] Gibbons"}"#, Some("Peter"), Some("Gibbons")),
            (r#"{"firstName":"Jennifer","lastName":"Null"}"#, Some("Jennifer"), Some("Null")),
        ] {
            let mut profile = Profile::default();
            read(&RawJson::parse(traits).expect("JSON").as_object().expect("an object").into(), &mut profile);
            assert_eq!((profile.get(Field::FirstName), profile.get(Field::LastName)), (first, last), "{traits}");
        }
    }
}
