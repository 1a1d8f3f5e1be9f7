//! Address: street, city, state, postal code and country → Refersion's fields.
//!
//! In: traits. Out: the fields in a profile, and notes. Each part is looked for in the `address` object, then beside it among
//! the traits. A value that Refersion would reject is left out with a note, since Refersion rejects an edit as a whole for one
//! bad field. Deliberately absent: splitting an address that is one text.

use super::country;
use super::subdivision::{self, AddressCountry};
use super::{Note, note};
use crate::domain::{Field, Profile};
use crate::segment::Traits;

/// Sets the address fields of `profile`.
pub(super) fn read(traits: &Traits<'_>, profile: &mut Profile, notes: &mut Vec<Note>) {
    if traits.non_empty("address").is_some_and(|address| !address.is_object()) {
        notes.push(note("address", "not an object with `street`, `city` and so on, so it was left out"));
    }
    street(traits, profile);
    profile.set(Field::City, part(traits, &["address.city", "city"]).unwrap_or_default());
    profile.set(Field::Zip, part(traits, &ZIP).unwrap_or_default());
    let country = country(traits, profile, notes);
    if let Some(name) = part(traits, &["address.state", "state"]) {
        match subdivision::code(&name, country) {
            Some(code) => profile.set(Field::State, code),
            None => notes.push(note("state", "Refersion takes codes of two or three letters, so this was left out")),
        }
    }
}

/// Where a postal code is looked for, in this order.
const ZIP: [&str; 4] = ["address.postalCode", "address.zip", "postalCode", "zip"];

/// The value at the first of `paths` that has one.
fn part(traits: &Traits<'_>, paths: &[&str]) -> Option<String> {
    paths.iter().find_map(|path| traits.text(path))
}

/// The first line of the street is `address1`, all others are `address2`.
fn street(traits: &Traits<'_>, profile: &mut Profile) {
    let mut lines = traits.text_lines("address.street");
    if lines.is_empty() {
        lines = traits.text_lines("street");
    }
    let mut lines = lines.into_iter();
    profile.set(Field::Address1, lines.next().unwrap_or_default());
    profile.set(Field::Address2, lines.as_slice().join(", "));
}

fn country(traits: &Traits<'_>, profile: &mut Profile, notes: &mut Vec<Note>) -> AddressCountry {
    let Some(name) = part(traits, &["address.country", "country"]) else { return AddressCountry::Absent };
    if let Some(code) = country::code(&name) {
        profile.set(Field::Country, code);
        AddressCountry::Code(code)
    } else {
        notes.push(note("country", "not a country Refersion allows, so it was left out"));
        AddressCountry::NotAllowed
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment::RawJson;

    fn mapped(traits: &str) -> (Vec<String>, Vec<String>) {
        let (mut profile, mut notes) = (Profile::default(), Vec::new());
        read(&RawJson::parse(traits).expect("JSON").as_object().expect("an object").into(), &mut profile, &mut notes);
        let said = profile.iter().map(|(attribute, value)| format!("{attribute}={value}")).collect();
        (said, notes.into_iter().map(|note| note.about).collect())
    }

    #[test]
    fn parts_are_found_in_the_address_then_beside_it() {
        for (traits, said) in [
            (
                r#"{"address":{"street":"6th St","city":"San Francisco","state":"CA","postalCode":"94103","country":"USA"}}"#,
                "address1=6th St|city=San Francisco|state=CA|zip=94103|country=US",
            ),
            (r#"{"Address":{"Postal_Code":94103}}"#, "zip=94103"),
            (r#"{"address":{"zip":94103},"postalCode":"1"}"#, "zip=94103"),
            (r#"{"address":{"city":""},"city":"Paris"}"#, "city=Paris"),
            (r#"{"address.city":"Paris"}"#, "city=Paris"),
            (
                r#"{"street":"6th St","zip":"94103","state":"Ontario","country":"Canada"}"#,
                "address1=6th St|state=ON|zip=94103|country=CA",
            ),
            (r#"{"address":null,"city":null}"#, ""),
            (r#"{"address":[]}"#, ""),
        ] {
            let said: Vec<_> = said.split('|').filter(|part| !part.is_empty()).map(str::to_owned).collect();
            assert_eq!(mapped(traits), (said, vec![]), "{traits}");
        }
    }

    #[test]
    fn a_street_of_several_lines_fills_two() {
        for (street, said) in [
            (r"6th St\r\nSuite 4", "address1=6th St|address2=Suite 4"),
            (r"\n6th St\n\n Suite 4 \rRear", "address1=6th St|address2=Suite 4, Rear"),
        ] {
            let traits = format!(r#"{{"address":{{"street":"{street}"}}}}"#);
            assert_eq!(mapped(&traits).0.join("|"), said);
        }
    }

    #[test]
    fn what_refersion_would_refuse_is_left_out_with_a_note() {
        for (traits, said, notes) in [
            (r#"{"address":{"country":"Kenya","state":"Texas"}}"#, "", "country|state"),
            (r#"{"address":{"country":"Germany","state":"Bayern"}}"#, "country=DE", "state"),
            (r#"{"address":{"country":"US","state":"Bayern"}}"#, "country=US", "state"),
            (r#"{"address":"6th St, Paris","city":"Paris"}"#, "city=Paris", "address"),
        ] {
            let (found, noted) = mapped(traits);
            assert_eq!((found.join("|"), noted.join("|")), (said.to_owned(), notes.to_owned()), "{traits}");
        }
    }
}
