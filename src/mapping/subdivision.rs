//! State: names and codes of the states of the US, Canada and Australia → Refersion's two or three letters.
//!
//! In go a text and what is known of the country; out comes an upper-case code or nothing. In those three countries only
//! their own states count; elsewhere two or three letters are passed on as they are, since `edit` takes nothing longer.
//! Deliberately absent: the states of other countries, and guessing the country from the state.

use super::normalize::normalize;
use std::collections::HashMap;
use std::sync::LazyLock;

/// What the event says of the country.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum AddressCountry {
    /// Nothing.
    Absent,
    /// Something that is no country Refersion allows.
    NotAllowed,
    /// This code.
    Code(&'static str),
}

/// Code and names, separated by `|`.
type States = [(&'static str, &'static str)];

static US: [(&str, &str); 59] = [
    ("AL", "Alabama"),
    ("AK", "Alaska"),
    ("AZ", "Arizona"),
    ("AR", "Arkansas"),
    ("CA", "California|Calif"),
    ("CO", "Colorado"),
    ("CT", "Connecticut"),
    ("DE", "Delaware"),
    ("FL", "Florida"),
    ("GA", "Georgia"),
    ("HI", "Hawaii"),
    ("ID", "Idaho"),
    ("IL", "Illinois"),
    ("IN", "Indiana"),
    ("IA", "Iowa"),
    ("KS", "Kansas"),
    ("KY", "Kentucky"),
    ("LA", "Louisiana"),
    ("ME", "Maine"),
    ("MD", "Maryland"),
    ("MA", "Massachusetts"),
    ("MI", "Michigan"),
    ("MN", "Minnesota"),
    ("MS", "Mississippi"),
    ("MO", "Missouri"),
    ("MT", "Montana"),
    ("NE", "Nebraska"),
    ("NV", "Nevada"),
    ("NH", "New Hampshire"),
    ("NJ", "New Jersey"),
    ("NM", "New Mexico"),
    ("NY", "New York|New York State"),
    ("NC", "North Carolina"),
    ("ND", "North Dakota"),
    ("OH", "Ohio"),
    ("OK", "Oklahoma"),
    ("OR", "Oregon"),
    ("PA", "Pennsylvania"),
    ("RI", "Rhode Island"),
    ("SC", "South Carolina"),
    ("SD", "South Dakota"),
    ("TN", "Tennessee"),
    ("TX", "Texas"),
    ("UT", "Utah"),
    ("VT", "Vermont"),
    ("VA", "Virginia"),
    ("WA", "Washington|Washington State"),
    ("WV", "West Virginia"),
    ("WI", "Wisconsin"),
    ("WY", "Wyoming"),
    ("DC", "District of Columbia|Washington DC"),
    ("AS", "American Samoa"),
    ("GU", "Guam"),
    ("MP", "Northern Mariana Islands"),
    ("PR", "Puerto Rico"),
    ("VI", "US Virgin Islands|Virgin Islands|United States Virgin Islands"),
    // Where the post office delivers to the armed forces abroad.
    ("AA", "Armed Forces Americas"),
    ("AE", "Armed Forces Europe"),
    ("AP", "Armed Forces Pacific"),
];

static CA: [(&str, &str); 13] = [
    ("AB", "Alberta"),
    ("BC", "British Columbia|Colombie-Britannique"),
    ("MB", "Manitoba"),
    ("NB", "New Brunswick|Nouveau-Brunswick"),
    ("NL", "Newfoundland and Labrador|Newfoundland|Labrador|Terre-Neuve-et-Labrador"),
    ("NS", "Nova Scotia|Nouvelle-Écosse"),
    ("NT", "Northwest Territories|The Northwest Territories|Territoires du Nord-Ouest"),
    ("NU", "Nunavut"),
    ("ON", "Ontario"),
    ("PE", "Prince Edward Island|Île-du-Prince-Édouard"),
    ("QC", "Quebec|PQ"),
    ("SK", "Saskatchewan"),
    ("YT", "Yukon|Yukon Territory"),
];

static AU: [(&str, &str); 8] = [
    ("ACT", "Australian Capital Territory"),
    ("NSW", "New South Wales"),
    ("NT", "Northern Territory|The Northern Territory"),
    ("QLD", "Queensland"),
    ("SA", "South Australia"),
    ("TAS", "Tasmania"),
    ("VIC", "Victoria"),
    ("WA", "Western Australia"),
];

/// The code of the state that `name` names in `country`.
pub(super) fn code(name: &str, country: AddressCountry) -> Option<String> {
    match country {
        AddressCountry::Code(code @ ("US" | "CA" | "AU")) => COUNTRIES.iter().find(|it| it.code == code)?.within(name),
        AddressCountry::Code(_) | AddressCountry::NotAllowed => short(name),
        // Names of one country are none of another's; codes are (`WA`, `NT`), so those are not looked up.
        AddressCountry::Absent => {
            short(name).or_else(|| COUNTRIES.iter().find_map(|country| country.named(&normalize(name))))
        }
    }
}

/// A country whose states are known.
struct Known {
    code: &'static str,
    states: &'static States,
    /// Normalised name → code.
    names: HashMap<String, &'static str>,
}

static COUNTRIES: LazyLock<[Known; 3]> =
    LazyLock::new(|| [Known::new("US", &US), Known::new("CA", &CA), Known::new("AU", &AU)]);

impl Known {
    fn new(code: &'static str, states: &'static States) -> Self {
        let names = states.iter().flat_map(|(code, names)| names.split('|').map(|name| (normalize(name), *code)));
        Self { code, states, names: names.collect() }
    }

    /// By name, by code, or by the code of ISO 3166-2, which leads with the country: `US-CA`.
    fn within(&self, name: &str) -> Option<String> {
        let name = match name.split_at_checked(2) {
            Some((head, rest)) if head.eq_ignore_ascii_case(self.code) && rest.starts_with('-') => rest,
            _ => name,
        };
        let normalized = normalize(name);
        let coded = self.states.iter().find(|(code, _)| code.eq_ignore_ascii_case(&normalized));
        coded.map(|(code, _)| (*code).to_owned()).or_else(|| self.named(&normalized))
    }

    fn named(&self, normalized: &str) -> Option<String> {
        self.names.get(normalized).map(|code| (*code).to_owned())
    }
}

/// Two or three letters, which `edit` takes; in upper case.
fn short(name: &str) -> Option<String> {
    let letters: String = name.chars().filter(|c| !matches!(c, '.' | ' ')).collect();
    let fits = (2..=3).contains(&letters.len()) && letters.bytes().all(|b| b.is_ascii_alphabetic());
    fits.then(|| letters.to_ascii_uppercase())
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
    fn without_a_country_names_are_looked_up_and_codes_pass() {
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
        for states in [&US[..], &CA, &AU] {
            let codes: HashSet<_> = states.iter().map(|(code, _)| code).collect();
            assert_eq!(codes.len(), states.len());
        }
        let names: Vec<_> =
            [&US[..], &CA, &AU].concat().iter().flat_map(|(_, names)| names.split('|')).map(normalize).collect();
        assert_eq!(names.iter().collect::<HashSet<_>>().len(), names.len());
    }
}
