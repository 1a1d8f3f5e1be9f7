//! Address: street, city, state, postal code and country → Refersion's fields.
//!
//! In: traits. Out: the fields in a profile, the fields whose old value no longer holds, and notes. If an event has several values for one
//! part ([`super::address_parts`]), the first that Refersion accepts counts. A value that Refersion would reject is left out with a note,
//! since Refersion rejects a whole edit for one bad field. Deliberately absent: the tables of places ([`super::country`],
//! [`super::subdivision`]).

use super::address_parts::AddressParts;
use super::country;
use super::subdivision::{self, AddressCountry};
use super::{Note, note};
use crate::domain::{Field, Profile};
use crate::segment::{Traits, split_lines};

/// Sets the address fields of `profile`. Returns the fields to clear: the second line, if the new street has one line; the state, if the
/// new country comes without a state that Refersion accepts.
pub(super) fn read(traits: &Traits<'_>, profile: &mut Profile, notes: &mut Vec<Note>) -> Vec<Field> {
    let mut parts = AddressParts::of(traits);
    if parts.is_unreadable {
        notes.push(note("address", "neither an object with `street`, `city` and so on nor a text, so it was left out"));
    }
    for part in parts.unusable() {
        notes.push(note(part.as_str(), "neither a text nor a number, so it was left out"));
    }
    street(&mut parts, profile);
    profile.set(Field::City, parts.take_first(Field::City));
    let country = country(&parts, profile, notes);
    profile.set(Field::Zip, zip(&mut parts, country));
    let mut states = parts.all(Field::State).map(|found| subdivision::code(&found.text, country)).peekable();
    if states.peek().is_some() {
        match states.flatten().next() {
            Some(code) => profile.set(Field::State, code),
            None => notes.push(note("state", "Refersion takes codes of two or three letters, so this was left out")),
        }
    }
    [(Field::Address1, Field::Address2), (Field::Country, Field::State)]
        .into_iter()
        .filter(|(stated, implied)| profile.get(*stated).is_some() && profile.get(*implied).is_none())
        .map(|(_, implied)| implied)
        .collect()
}

/// Sets `address1` to the first line of the street, and `address2` to the other lines or to the second line that the event states
/// separately.
fn street(parts: &mut AddressParts, profile: &mut Profile) {
    let mut lines = split_lines(&parts.take_first(Field::Address1)).into_iter();
    profile.set(Field::Address1, lines.next().unwrap_or_default());
    profile.set(Field::Address2, parts.take_first(Field::Address2));
    profile.set(Field::Address2, lines.as_slice().join(", "));
}

/// The postal code. One of the US that was sent as a number has lost its leading zeros, which are added again.
fn zip(parts: &mut AddressParts, country: AddressCountry) -> String {
    let is_number = parts.all(Field::Zip).next().is_some_and(|zip| zip.is_number);
    let zip = parts.take_first(Field::Zip);
    let is_short = matches!(zip.len(), 3 | 4) && zip.bytes().all(|digit| digit.is_ascii_digit());
    let lacks_zeros = is_number && is_short && country == AddressCountry::Code("US");
    if lacks_zeros { format!("{zip:0>5}") } else { zip }
}

fn country(parts: &AddressParts, profile: &mut Profile, notes: &mut Vec<Note>) -> AddressCountry {
    // A text without letters is the dialling code of a phone.
    let named = |text: &str| text.contains(char::is_alphabetic);
    let mut names = parts.all(Field::Country).map(|found| &*found.text).filter(|text| named(text)).peekable();
    if names.peek().is_none() {
        return AddressCountry::Absent;
    }
    if let Some(code) = names.find_map(country::code) {
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
    fn a_part_of_another_shape_is_noted_unless_another_value_of_it_is_read() {
        for (traits, noted) in [
            (
                r#"{"address":{"street":["6th St"],"city":{"name":"Bonn"},"zip":true}}"#,
                &["address1", "city", "zip"][..],
            ),
            (r#"{"city":["Bonn"],"country":[1]}"#, &["city", "country"]),
            (r#"{"address":{"city":{"name":"Bonn"}},"city":"Bonn"}"#, &[]),
            (r#"{"address":{"country":{"code":"US"},"state":{"name":"California"}}}"#, &[]),
            (r#"{"address":{"country":{"id":7}},"address2":false}"#, &["address2", "country"]),
            (r#"{"city":"","zip":null,"state":" "}"#, &[]),
        ] {
            assert_eq!(mapped(traits).1, noted, "{traits}");
        }
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
            (r#"{"address":"6th St 5","city":"Paris"}"#, "address1=6th St 5|city=Paris"),
            (r#"{"address":"6th St 5\nSuite 4","address2":"Rear"}"#, "address1=6th St 5|address2=Suite 4"),
            (r#"{"address":"Bonn, 6th St","street":"6th St"}"#, "address1=6th St"),
            (
                r#"{"default_address":{"address1":"6th St","address2":"Suite 4","city":"Toronto","province":"Ontario","zip":"M5V 1A1",
                    "country":"Canada","province_code":"ON","country_code":"CA","country_name":"Canada"}}"#,
                "address1=6th St|address2=Suite 4|city=Toronto|state=ON|zip=M5V 1A1|country=CA",
            ),
            (r#"{"address":{"province":"Bayern","provinceCode":"BY","countryCode":"DE"}}"#, "state=BY|country=DE"),
            (
                r#"{"address":{"region":"CA","country":{"iso2":"us"},"zipCode":"94103"}}"#,
                "state=CA|zip=94103|country=US",
            ),
            (r#"{"address":{"country":{"name":"Germany"}}}"#, "country=DE"),
            (r#"{"address":{"country":"Somewhere","country_code":"DE"}}"#, "country=DE"),
            (r#"{"country_code":"+1","state":"California"}"#, "state=CA"),
            (r#"{"address_street":"6th St","address_zip":"1"}"#, "address1=6th St|zip=1"),
            (r#"{"region":"EU"}"#, ""),
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
    fn a_postal_code_of_the_us_that_came_as_a_number_gets_its_zeros_back() {
        for (address, zip) in [
            (r#"{"zip":2110,"country":"USA"}"#, "02110"),
            (r#"{"zip":501,"country":"US"}"#, "00501"),
            (r#"{"zip":2110.0,"country":"US"}"#, "02110"),
            (r#"{"zip":94103,"country":"US"}"#, "94103"),
            (r#"{"zip":"2110","country":"US"}"#, "2110"),
            (r#"{"zip":21,"country":"US"}"#, "21"),
            (r#"{"zip":1.5,"country":"US"}"#, "1.5"),
            (r#"{"zip":2110,"country":"AU"}"#, "2110"),
            (r#"{"zip":2110}"#, "2110"),
        ] {
            let (said, _) = mapped(&format!(r#"{{"address":{address}}}"#));
            assert!(said.contains(&format!("zip={zip}")), "{address}: {said:?}");
        }
    }

    #[test]
    fn a_new_street_or_country_clears_values_that_no_longer_hold() {
        for (address, cleared) in [
            (r#"{"street":"6th St"}"#, vec![Field::Address2]),
            (r#"{"street":"6th St\nSuite 4"}"#, vec![]),
            (r#"{"address1":"6th St","address2":"Suite 4"}"#, vec![]),
            (r#"{"address1":"6th St","address2":""}"#, vec![Field::Address2]),
            (r#"{"address2":"Suite 4"}"#, vec![]),
            (r#"{"country":"DE"}"#, vec![Field::State]),
            (r#"{"country":"DE","state":"Bayern"}"#, vec![Field::State]),
            (r#"{"country":"US","state":"CA"}"#, vec![]),
            (r#"{"country":"Kenya"}"#, vec![]),
            (r#"{"city":"Bonn"}"#, vec![]),
            (r#"{"street":"6th St","country":"DE"}"#, vec![Field::Address2, Field::State]),
        ] {
            let traits = format!(r#"{{"address":{address}}}"#);
            let traits = RawJson::parse(&traits).expect("JSON").as_object().expect("an object").into();
            assert_eq!(read(&traits, &mut Profile::default(), &mut Vec::new()), cleared, "{address}");
        }
    }

    #[test]
    fn a_value_that_refersion_would_reject_is_left_out_with_a_note() {
        for (traits, said, notes) in [
            (r#"{"address":{"country":"Kenya","state":"Texas"}}"#, "", "country|state"),
            (r#"{"address":{"country":"Germany","state":"Bayern"}}"#, "country=DE", "state"),
            (r#"{"address":{"country":"US","state":"Bayern"}}"#, "country=US", "state"),
            (r#"{"address":5,"city":"Paris"}"#, "city=Paris", "address"),
            (r#"{"address":{"country":{"name":"Kenya","code":"KE"}}}"#, "", "country"),
        ] {
            let (found, noted) = mapped(traits);
            assert_eq!((found.join("|"), noted.join("|")), (said.to_owned(), notes.to_owned()), "{traits}");
        }
    }
}
