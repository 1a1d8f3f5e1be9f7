//! Countries: any common name of a country → the code that Refersion accepts for it.
//!
//! In: a text. Out: one of the two-letter codes of Refersion's contract, or nothing. Codes of two and three letters, ISO's
//! short and formal names, common aliases and well-known native names count; case, accents, punctuation and the word "the"
//! make no difference. Invariant: the codes of `countries.tsv` are exactly those of the contract. Deliberately absent:
//! countries that Refersion rejects, and names that mean two countries (`Virgin Islands`).

use super::name_table;
use super::normalize::normalize;
use std::collections::HashMap;
use std::sync::LazyLock;

const TABLE: &str = include_str!("countries.tsv");

/// Normalised code or name → code.
static CODES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let mut codes = HashMap::new();
    for (code, alpha3, names) in name_table::rows(TABLE) {
        codes.extend(names.chain([code, alpha3]).map(|name| (normalize(&without_the(name)), code)));
    }
    codes
});

/// The code that Refersion accepts for the country called `name`.
pub(super) fn code(name: &str) -> Option<&'static str> {
    let found = CODES.get(&normalize(name)).or_else(|| CODES.get(&normalize(&without_the(name))));
    found.copied().or_else(|| with_its_code(name))
}

/// The country of a name that is followed by its own code in brackets, as shops write it: `United Kingdom (UK)`.
fn with_its_code(name: &str) -> Option<&'static str> {
    let (name, behind) = name.trim().strip_suffix(')')?.rsplit_once('(')?;
    let [named, behind] = [name, behind].map(|text| CODES.get(&normalize(&without_the(text))));
    named.filter(|code| behind == Some(code)).copied()
}

/// `name` without the word "the": ISO writes "Korea (the Republic of)"; senders leave "the" out or write it in front.
fn without_the(name: &str) -> String {
    let words = name.split(|c: char| c.is_whitespace() || matches!(c, '(' | ')' | ','));
    words.filter(|word| !word.eq_ignore_ascii_case("the")).collect::<Vec<_>>().join(" ")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The list of Refersion's contract, in its order.
    const ALLOWED: &str = "US AE AR AS AT AU BA BD BE BG BR CA CH CL CN CO CR CZ DE DK DZ EE ES FI FM FO FR GB GH GR GU \
        HK HN HR HU ID IE IL IM IN IS IT JM JP KR KW LT LU LV MA MH MK MP MT MX MY NG NL NO NZ OM PE PH PK PL PR PT PW QA \
        RO RS RU SA SE SG SI SK SV TH TN TR TW TZ UA UY VG VI VN WS ZA";

    #[test]
    fn the_table_holds_exactly_the_codes_refersion_allows() {
        let table: Vec<_> = name_table::rows(TABLE).map(|(code, ..)| code).collect();
        assert_eq!(table.len(), name_table::line_count(TABLE));
        assert_eq!(table, ALLOWED.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn every_name_means_one_country() {
        let mut seen = HashMap::new();
        for (code, alpha3, names) in name_table::rows(TABLE) {
            for name in names.chain([code, alpha3]) {
                let normalized = normalize(&without_the(name));
                assert!(!normalized.is_empty(), "{name}");
                let other = seen.insert(normalized, code);
                assert!(other.is_none(), "{name} is {code} and {other:?}");
            }
        }
    }

    #[test]
    fn each_country_has_a_three_letter_code() {
        for (code, alpha3, _) in name_table::rows(TABLE) {
            assert!(alpha3.len() == 3 && alpha3.bytes().all(|b| b.is_ascii_uppercase()), "{code}: {alpha3}");
        }
    }

    #[test]
    fn countries_are_named_in_many_ways() {
        for (name, expected) in [
            ("USA", "US"),
            ("us", "US"),
            ("U.S.", "US"),
            ("U.S.A.", "US"),
            ("United States", "US"),
            ("united states of america", "US"),
            ("America", "US"),
            ("UK", "GB"),
            ("U.K.", "GB"),
            ("gbr", "GB"),
            ("England", "GB"),
            ("Scotland", "GB"),
            ("Great Britain", "GB"),
            ("Holland", "NL"),
            ("The Netherlands", "NL"),
            ("Czechia", "CZ"),
            ("Czech Republic", "CZ"),
            ("South Korea", "KR"),
            ("Korea, Republic of", "KR"),
            ("UAE", "AE"),
            ("Deutschland", "DE"),
            ("España", "ES"),
            ("ESPANA", "ES"),
            ("Brasil", "BR"),
            ("Viet Nam", "VN"),
            ("Việt Nam", "VN"),
            ("日本", "JP"),
            ("Türkiye", "TR"),
            ("Bosnia & Herzegovina", "BA"),
            ("Hong Kong", "HK"),
            ("United States (US)", "US"),
            ("United Kingdom (UK)", "GB"),
            ("Germany (DEU)", "DE"),
        ] {
            assert_eq!(code(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn isos_names_count_with_and_without_the() {
        for (name, expected) in [
            ("United States of America (the)", "US"),
            ("The United States of America", "US"),
            ("the united states", "US"),
            ("United Kingdom of Great Britain and Northern Ireland (the)", "GB"),
            ("Korea (the Republic of)", "KR"),
            ("Korea (Republic of)", "KR"),
            ("The Republic of Korea", "KR"),
            ("Netherlands (the)", "NL"),
            ("Netherlands (Kingdom of the)", "NL"),
            ("The Kingdom of the Netherlands", "NL"),
            ("Russian Federation (the)", "RU"),
            ("Taiwan (Province of China)", "TW"),
            ("Tanzania, the United Republic of", "TZ"),
            ("Micronesia (Federated States of)", "FM"),
            ("Virgin Islands (U.S.)", "VI"),
            ("Virgin Islands (British)", "VG"),
            ("Viet Nam", "VN"),
            ("Swiss Confederation", "CH"),
            ("the Swiss Confederation", "CH"),
            ("Portuguese Republic", "PT"),
            ("Italian Republic", "IT"),
            ("Kingdom of Spain", "ES"),
            ("Federative Republic of Brazil", "BR"),
            ("People's Democratic Republic of Algeria", "DZ"),
            ("Republic of Türkiye", "TR"),
        ] {
            assert_eq!(code(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn countries_refersion_rejects_and_unclear_names_have_no_code() {
        for name in [
            "North Korea",
            "Virgin Islands",
            "Georgia",
            "Kenya",
            "KE",
            "Mars",
            "",
            "-",
            "the",
            "(the)",
            "ペ",
            "СА",
            "94103",
        ] {
            assert_eq!(code(name), None, "{name}");
        }
    }
}
