//! The parts of an address, found at every place and under every name that events use.
//!
//! In: traits. Out: for each part its values, the preferred one first. A part is the field that it fills; a street, which may have several
//! lines, is [`Field::Address1`]. Places, in this order: the `address` object; a combined name (`address.city`, `address_city`); beside the
//! address (`city`); an address that is one text, which is a street. Without an `address`, the address of a shop is used. An address may
//! also be a list of one, or JSON in a text. Deliberately absent: the values that Refersion accepts ([`super::address`]), and splitting an
//! address that is one text.

use super::text;
use crate::domain::Field;
use crate::segment::{RawJson, Traits, clean_text};
use std::collections::BTreeSet;

/// Every name of each part, normalized; an earlier name of a part is preferred.
const NAMES: [(&str, Field); 15] = [
    ("street", Field::Address1),
    ("address1", Field::Address1),
    ("address2", Field::Address2),
    ("city", Field::City),
    ("state", Field::State),
    ("region", Field::State),
    ("province", Field::State),
    ("provincecode", Field::State),
    ("statecode", Field::State),
    ("postalcode", Field::Zip),
    ("zip", Field::Zip),
    ("zipcode", Field::Zip),
    ("postcode", Field::Zip),
    ("country", Field::Country),
    ("countrycode", Field::Country),
];

/// The preferred name of a street: its index, and the part.
const STREET: (usize, Field) = (0, Field::Address1);

/// A name that counts only inside an address. Beside one it is often a sales region (`EMEA`).
const ONLY_IN_AN_ADDRESS: &str = "region";

/// The names of an address in events of shops.
const ADDRESSES_OF_SHOPS: [&str; 3] = ["defaultaddress", "billingaddress", "shippingaddress"];

/// The members of a country or state that is an object.
const CODES_AND_NAMES: [&str; 3] = ["code", "iso2", "name"];

/// The place where a part was found; an earlier place is preferred.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum FoundIn {
    Object,
    DottedKey,
    OneKey,
    Beside,
    WholeAddress,
}

/// One value of a part.
pub(super) struct FoundPart {
    part: Field,
    found_in: FoundIn,
    /// The index of its name in [`NAMES`].
    name: usize,
    /// The text; not blank. A street may have several lines; other parts are clean.
    pub(super) text: String,
    /// Whether the event has it as a number.
    pub(super) is_number: bool,
}

/// All parts of one address.
#[derive(Default)]
pub(super) struct AddressParts {
    found: Vec<FoundPart>,
    /// Whether there is an address and no part of it could be read.
    pub(super) is_unreadable: bool,
    /// Parts with a value of another shape: an object, a list, `true` or `false`.
    unusable: BTreeSet<Field>,
}

impl AddressParts {
    /// The parts in `traits`.
    pub(super) fn of(traits: &Traits<'_>) -> Self {
        let mut parts = Self::default();
        for (name, value) in traits.iter() {
            let inner = name.strip_prefix("address");
            if let Some(part) = inner.and_then(|rest| rest.strip_prefix('.')).and_then(named) {
                parts.add(part, FoundIn::DottedKey, value);
            } else if let Some(part) = inner.and_then(named) {
                parts.add(part, FoundIn::OneKey, value);
            } else if let Some(part) = named(name).filter(|_| name != ONLY_IN_AN_ADDRESS) {
                parts.add(part, FoundIn::Beside, value);
            }
        }
        let whole = |wanted: &str| traits.iter().any(|(name, value)| name == wanted && !value.is_empty());
        if let Some(wanted) = ["address"].into_iter().chain(ADDRESSES_OF_SHOPS).find(|name| whole(name)) {
            let values = traits.iter().filter(|(name, value)| *name == wanted && !value.is_empty());
            values.for_each(|(_, value)| parts.add_whole(value));
        }
        parts.found.sort_by_key(|found| (found.part, found.found_in, found.name));
        parts
    }

    /// The values of `part`, the preferred one first.
    pub(super) fn all(&self, part: Field) -> impl Iterator<Item = &FoundPart> {
        self.found.iter().filter(move |found| found.part == part)
    }

    /// The parts whose values all have another shape than a text or a number.
    pub(super) fn unusable(&self) -> impl Iterator<Item = Field> {
        self.unusable.iter().copied().filter(|part| self.all(*part).next().is_none())
    }

    /// Takes the preferred text of `part`; empty if there is none.
    pub(super) fn take_first(&mut self, part: Field) -> String {
        let first = self.found.iter_mut().find(|found| found.part == part);
        first.map(|found| std::mem::take(&mut found.text)).unwrap_or_default()
    }

    /// Adds the parts of a whole address. A list in a list is ignored, so nesting costs no stack.
    fn add_whole(&mut self, value: RawJson<'_>) {
        if let Some(members) = value.as_object().map(Traits::from) {
            for (name, value) in members.iter() {
                if let Some(part) = named(name) {
                    self.add(part, FoundIn::Object, value);
                }
            }
        } else if let Some(text) = value.as_string() {
            if !text.trim_start().starts_with(['{', '[']) {
                self.add(STREET, FoundIn::WholeAddress, value);
            } else if let Ok(json) = RawJson::parse(&text) {
                self.add_whole(json);
            } else {
                self.is_unreadable = true;
            }
        } else {
            let mut elements = value.as_array().unwrap_or_default().into_iter().filter(|element| !element.is_empty());
            match (elements.next(), elements.next()) {
                (Some(only), None) if !only.is_array() => self.add_whole(only),
                _ => self.is_unreadable = true,
            }
        }
    }

    fn add(&mut self, named: (usize, Field), found_in: FoundIn, value: RawJson<'_>) {
        if value.as_string().is_none() && value.as_number().is_none() && !value.is_empty() {
            self.unusable.insert(named.1);
        }
        if let Some(number) = value.as_number() {
            self.push(named, found_in, number, true);
        } else if named.1 == Field::Address1 {
            if let Some(text) = text::decoded(value).filter(|text| !clean_text(text).is_empty()) {
                self.push(named, found_in, text.into_owned(), false);
            }
        } else if let Some(text) = text::string(value) {
            self.push(named, found_in, text, false);
        } else if matches!(named.1, Field::State | Field::Country)
            && let Some(members) = value.as_object().map(Traits::from)
        {
            for text in CODES_AND_NAMES.into_iter().filter_map(|name| members.find(name, text::string)) {
                self.push(named, found_in, text, false);
            }
        }
    }

    fn push(&mut self, (name, part): (usize, Field), found_in: FoundIn, text: String, is_number: bool) {
        self.found.push(FoundPart { part, found_in, name, text, is_number });
    }
}

/// The part that is called `name`, and the index of that name.
fn named(name: &str) -> Option<(usize, Field)> {
    NAMES.iter().position(|(known, _)| *known == name).map(|index| (index, NAMES[index].1))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(traits: &str) -> AddressParts {
        AddressParts::of(&RawJson::parse(traits).expect("JSON").as_object().expect("an object").into())
    }

    #[test]
    fn an_address_has_many_shapes() {
        for (traits, city) in [
            (r#"{"address":{"city":"Bonn"}}"#, "Bonn"),
            (r#"{"address":[{"city":"Bonn"}]}"#, "Bonn"),
            (r#"{"address":[null,{"city":"Bonn"}]}"#, "Bonn"),
            (r#"{"address":"{\"city\":\"Bonn\"}"}"#, "Bonn"),
            (r#"{"address":" [{\"city\":\"Bonn\"}]"}"#, "Bonn"),
            (r#"{"address":["{\"city\":\"Bonn\"}"]}"#, "Bonn"),
            (r#"{"default_address":{"city":"Bonn"},"billing_address":{"city":"Rome"}}"#, "Bonn"),
            (r#"{"billing_address":{"city":"Bonn"},"shippingAddress":{"city":"Rome"}}"#, "Bonn"),
            (r#"{"default_address":null,"shipping_address":{"city":"Bonn"}}"#, "Bonn"),
            (r#"{"billing_address":{"city":"Rome"},"address":{"city":"Bonn"}}"#, "Bonn"),
            (r#"{"billing_address":{"city":"Rome"},"address":{"street":"6th St"}}"#, ""),
            (r#"{"billing_address":{"city":"Bonn"},"address":{}}"#, "Bonn"),
            (r#"{"address_city":"Bonn"}"#, "Bonn"),
            (r#"{"addressCity":"Bonn","city":"Rome"}"#, "Bonn"),
            (r#"{"address_city":"Rome","address.city":"Bonn"}"#, "Bonn"),
            (r#"{"address.city":"Rome","address":{"city":"Bonn"}}"#, "Bonn"),
            (r#"{"city":"Rome","address":{"city":"Bonn"}}"#, "Bonn"),
            (r#"{"city":"Bonn","address":{"city":"<nil>"}}"#, "Bonn"),
            (r#"{"city":"M&uuml;nchen"}"#, "München"),
            (r#"{"address":[{"city":"Bonn"},{"city":"Rome"}]}"#, ""),
        ] {
            assert_eq!(parts(traits).take_first(Field::City), city, "{traits}");
        }
    }

    #[test]
    fn a_value_that_is_no_address_is_unreadable() {
        for (traits, is_unreadable) in [
            (r#"{"address":5}"#, true),
            (r#"{"address":true}"#, true),
            (r#"{"address":"{street"}"#, true),
            (r#"{"address":[{"city":"Bonn"},{"city":"Rome"}]}"#, true),
            (r#"{"address":[[{"city":"Bonn"}]]}"#, true),
            (r#"{"address":{}}"#, false),
            (r#"{"address":"6th St"}"#, false),
            ("{}", false),
        ] {
            assert_eq!(parts(traits).is_unreadable, is_unreadable, "{traits}");
        }
    }

    #[test]
    fn the_place_of_several_values_counts_then_the_name() {
        let traits = r#"{"province":"h","address":{"province_code":"d","province":"c","region":"b","state":"a"},"region":"no",
            "state":"g","address_state":{"name":"f","code":"e"}}"#;
        let parts = parts(traits);
        let found: Vec<_> = parts.all(Field::State).map(|found| &*found.text).collect();
        assert_eq!(found, ["a", "b", "c", "d", "e", "f", "g", "h"]);
    }

    #[test]
    fn deep_nesting_costs_no_stack() {
        let nested = format!(r#"{{"address":{}{}}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(parts(&nested).is_unreadable);
        let text = format!(r#"{{"address":"{}{}"}}"#, "[".repeat(200_000), "]".repeat(200_000));
        assert!(parts(&text).is_unreadable);
    }
}
