//! Name: `firstName` and `lastName`, or `name` alone → first and last name, as far as the event really says them.
//!
//! Segment's own rules: a first name is `firstName` if that is a string, else what stands before the first blank of
//! `name`; a last name is `lastName`, else the rest of `name`. A `name` that is no string is none.
//! Deliberately absent: the placeholder for a missing half, which only a creation needs, and any idea of which half of a
//! name comes first in which language.

use crate::domain::{Field, Profile};
use crate::segment::Traits;

/// Says the first and last name of `traits` in `profile`.
pub(super) fn read(traits: &Traits<'_>, profile: &mut Profile) {
    let name = traits.string("name").unwrap_or_default();
    let (first, rest) = name.split_once(' ').unwrap_or((&name, ""));
    profile.set(Field::FirstName, traits.string("firstName").unwrap_or_else(|| first.to_owned()));
    profile.set(Field::LastName, traits.line("lastName").unwrap_or_else(|| rest.to_owned()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::Raw;

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
            read(&Raw::check(traits).expect("JSON").object().expect("an object").into(), &mut profile);
            assert_eq!((profile.get(Field::FirstName), profile.get(Field::LastName)), (first, last), "{traits}");
        }
    }
}
