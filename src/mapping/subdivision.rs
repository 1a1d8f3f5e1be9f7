//! States, provinces and territories: a name or code → the two or three letters that Refersion accepts as `state`.
//!
//! In: a text, and the country of the address. Out: an upper-case code, or nothing. In the US, Canada and Australia (`subdivisions.tsv`)
//! only their own subdivisions count; elsewhere two or three letters are passed on as they are, since `edit` accepts nothing longer.
//! Deliberately absent: the subdivisions of other countries, and guessing the country.

use super::name_table;
use super::normalize::normalize;
use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("subdivisions.tsv");

/// The country of an address, as far as the event states it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressCountry {
    /// The event states no country.
    Absent,
    /// The event states a country that Refersion does not accept.
    NotAllowed,
    /// This code.
    Code(&'static str),
}

/// The code of the subdivision of `country` called `name`.
pub(super) fn code(name: &str, country: AddressCountry) -> Option<String> {
    match country {
        AddressCountry::Code(code) if let Some(country) = COUNTRIES.iter().find(|known| known.code == code) => {
            country.within(name)
        }
        AddressCountry::Code(_) | AddressCountry::NotAllowed => letters(name),
        // A name belongs to one country. Two countries share some codes (`WA`, `NT`), so a code is passed on without a look-up.
        AddressCountry::Absent => letters(name).or_else(|| {
            let name = normalize(name);
            COUNTRIES.iter().find_map(|country| country.by_name(&name))
        }),
    }
}

/// A country whose subdivisions are in the table.
struct Country {
    code: &'static str,
    /// The codes of its subdivisions.
    codes: Vec<&'static str>,
    /// Normalised name → code.
    names: HashMap<String, &'static str>,
}

static COUNTRIES: LazyLock<[Country; 3]> = LazyLock::new(|| ["US", "CA", "AU"].map(Country::read));

impl Country {
    fn read(country: &'static str) -> Self {
        let (mut codes, mut by_name) = (Vec::new(), HashMap::new());
        for (_, code, names) in name_table::rows(TABLE).filter(|(of, ..)| *of == country) {
            codes.push(code);
            by_name.extend(names.map(|name| (normalize(name), code)));
        }
        Self { code: country, codes, names: by_name }
    }

    /// Finds a subdivision by name, by code, or by the code of ISO 3166-2, which begins with the country: `US-CA`.
    fn within(&self, name: &str) -> Option<String> {
        let name = match name.split_at_checked(2) {
            Some((country, rest)) if country.eq_ignore_ascii_case(self.code) && rest.starts_with('-') => rest,
            _ => name,
        };
        let normalized = normalize(name);
        let code = self.codes.iter().find(|code| code.eq_ignore_ascii_case(&normalized));
        code.map(|code| (*code).to_owned()).or_else(|| self.by_name(&normalized))
    }

    fn by_name(&self, normalized: &str) -> Option<String> {
        self.names.get(normalized).map(|code| (*code).to_owned())
    }
}

/// `name` in upper case if it is two or three letters, which `edit` accepts.
fn letters(name: &str) -> Option<String> {
    let code: String = name.chars().filter(|c| !matches!(c, '.' | ' ')).collect();
    let fits = (2..=3).contains(&code.len()) && code.bytes().all(|b| b.is_ascii_alphabetic());
    fits.then(|| code.to_ascii_uppercase())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    #[test]
    fn states_of_three_countries_are_known_by_name_and_code() {
        for (name, country, expected) in [
            ("California", "US", Some("CA")),
            ("ca", "US", Some("CA")),
            ("NEW YORK", "US", Some("NY")),
            ("D.C.", "US", Some("DC")),
            ("Washington, D.C.", "US", Some("DC")),
            ("Puerto Rico", "US", Some("PR")),
            ("us-ca", "US", Some("CA")),
            ("Ontario", "US", None),
            ("ZZ", "US", None),
            ("NSW", "US", None),
            ("Québec", "CA", Some("QC")),
            ("british columbia", "CA", Some("BC")),
            ("CA-ON", "CA", Some("ON")),
            ("CA", "CA", None),
            ("New South Wales", "AU", Some("NSW")),
            ("vic", "AU", Some("VIC")),
            ("Northern Territory", "AU", Some("NT")),
        ] {
            assert_eq!(code(name, AddressCountry::Code(country)).as_deref(), expected, "{name} in {country}");
        }
    }

    #[test]
    fn elsewhere_only_two_or_three_letters_pass() {
        for (name, expected) in [
            ("sp", Some("SP")),
            ("CDMX", None),
            ("lnd", Some("LND")),
            ("Bayern", None),
            ("Texas", None),
            ("B.C.", Some("BC")),
            ("75", None),
            ("X", None),
            ("", None),
            ("éé", None),
        ] {
            assert_eq!(code(name, AddressCountry::Code("BR")).as_deref(), expected, "{name}");
            assert_eq!(code(name, AddressCountry::NotAllowed).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn names_are_looked_up_and_codes_pass_without_a_country() {
        for (name, expected) in [
            ("California", Some("CA")),
            ("Ontario", Some("ON")),
            ("Western Australia", Some("WA")),
            ("wa", Some("WA")),
            ("xyz", Some("XYZ")),
            ("Bayern", None),
        ] {
            assert_eq!(code(name, AddressCountry::Absent).as_deref(), expected, "{name}");
        }
    }

    #[test]
    fn every_code_and_name_is_there_once() {
        let rows: Vec<_> = name_table::rows(TABLE).collect();
        assert_eq!(rows.len(), name_table::line_count(TABLE));
        let codes: HashSet<_> = rows.iter().map(|(country, code, _)| (country, code)).collect();
        assert_eq!(codes.len(), rows.len());
        assert_eq!(COUNTRIES.iter().map(|country| country.codes.len()).sum::<usize>(), rows.len());
        let names: Vec<_> = rows.into_iter().flat_map(|(_, _, names)| names).map(normalize).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
