//! Name: `firstName`, `lastName` and `name` → Refersion's first and last name.
//!
//! In: traits. Out: the two fields in a profile, by Segment's own rules. The first name is `firstName` if it is a string, else
//! the part of `name` before its first blank. The last name is `lastName`, else the rest of `name`. A `name` that is not a
//! string does not count. Deliberately absent: the placeholder for a missing half ([`super::identify`]), and the order of
//! names in other languages.

use crate::domain::{Field, Profile};
use crate::segment::Traits;

/// Sets the first and last name of `profile`.
pub(super) fn read(traits: &Traits<'_>, profile: &mut Profile) {
    let name = traits.string("name").unwrap_or_default();
    let (first, rest) = name.split_once(' ').unwrap_or((&name, ""));
    profile.set(Field::FirstName, traits.string("firstName").unwrap_or_else(|| first.to_owned()));
    profile.set(Field::LastName, traits.text("lastName").unwrap_or_else(|| rest.to_owned()));
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
        ] {
            let mut profile = Profile::default();
            read(&RawJson::parse(traits).expect("JSON").as_object().expect("an object").into(), &mut profile);
            assert_eq!((profile.get(Field::FirstName), profile.get(Field::LastName)), (first, last), "{traits}");
        }
    }
}
