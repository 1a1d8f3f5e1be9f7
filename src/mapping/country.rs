//! Country: any common way to name a country → the code Refersion allows for it.
//!
//! In goes a text, out comes one of the two-letter codes of Refersion's contract, or nothing: codes of two and three
//! letters, English names, common aliases and well-known native spellings count, without case, accents or punctuation.
//! Invariant: the table's codes are exactly the contract's. Deliberately absent: every country Refersion refuses, and
//! names that mean two countries (`Virgin Islands`).

use super::normalize::normalize;
use std::collections::HashMap;
use std::sync::LazyLock;

/// Code → its other names, separated by `|`: the three-letter code first, then English, then others.
const COUNTRIES: [(&str, &str); 90] = [
    (
        "US",
        "USA|United States|United States of America|The United States|The United States of America|America|U.S. of A.|\
         Estados Unidos|Estados Unidos de América|EE.UU.|EEUU|États-Unis|Vereinigte Staaten|Stati Uniti|アメリカ",
    ),
    ("AE", "ARE|United Arab Emirates|The United Arab Emirates|UAE|Emirates|الإمارات|الإمارات العربية المتحدة"),
    ("AR", "ARG|Argentina|Argentine Republic"),
    ("AS", "ASM|American Samoa"),
    ("AT", "AUT|Austria|Österreich|Oesterreich"),
    ("AU", "AUS|Australia|Commonwealth of Australia"),
    ("BA", "BIH|Bosnia and Herzegovina|Bosnia|Bosnia-Herzegovina|Bosna i Hercegovina"),
    ("BD", "BGD|Bangladesh|People's Republic of Bangladesh|বাংলাদেশ"),
    ("BE", "BEL|Belgium|België|Belgique|Belgien"),
    ("BG", "BGR|Bulgaria|България"),
    ("BR", "BRA|Brazil|Brasil"),
    ("CA", "CAN|Canada"),
    ("CH", "CHE|Switzerland|Schweiz|Die Schweiz|Suisse|La Suisse|Svizzera|Confoederatio Helvetica"),
    ("CL", "CHL|Chile"),
    ("CN", "CHN|China|People's Republic of China|PR China|PRC|Mainland China|中国|中國"),
    ("CO", "COL|Colombia"),
    ("CR", "CRI|Costa Rica"),
    ("CZ", "CZE|Czechia|Czech Republic|The Czech Republic|Česko|Česká republika"),
    ("DE", "DEU|Germany|Deutschland|Federal Republic of Germany|Bundesrepublik Deutschland|Allemagne|Alemania"),
    ("DK", "DNK|Denmark|Danmark"),
    ("DZ", "DZA|Algeria|Algérie|الجزائر"),
    ("EE", "EST|Estonia|Eesti"),
    ("ES", "ESP|Spain|España|Espagne|Spanien"),
    ("FI", "FIN|Finland|Suomi"),
    (
        "FM",
        "FSM|Micronesia|Federated States of Micronesia|The Federated States of Micronesia|\
         Micronesia, Federated States of|Micronesia (Federated States of)",
    ),
    ("FO", "FRO|Faroe Islands|The Faroe Islands|Faeroe Islands|Faroes|Føroyar|Færøerne"),
    ("FR", "FRA|France|French Republic|République française|Frankreich|Francia"),
    (
        "GB",
        "GBR|United Kingdom|The United Kingdom|UK|Great Britain|Britain|England|Scotland|Wales|Northern Ireland|\
         United Kingdom of Great Britain and Northern Ireland|\
         The United Kingdom of Great Britain and Northern Ireland|G.B.R.",
    ),
    ("GH", "GHA|Ghana"),
    ("GR", "GRC|Greece|EL|Hellas|Hellenic Republic|Ελλάδα|Ελλάς"),
    ("GU", "GUM|Guam"),
    ("HK", "HKG|Hong Kong|Hong Kong SAR|Hong Kong SAR China|Hong Kong, China|香港"),
    ("HN", "HND|Honduras"),
    ("HR", "HRV|Croatia|Hrvatska"),
    ("HU", "HUN|Hungary|Magyarország"),
    ("ID", "IDN|Indonesia|Republic of Indonesia"),
    ("IE", "IRL|Ireland|Republic of Ireland|The Republic of Ireland|Éire|Eire"),
    ("IL", "ISR|Israel|State of Israel|ישראל"),
    ("IM", "IMN|Isle of Man|The Isle of Man"),
    ("IN", "IND|India|Republic of India|Bharat|भारत"),
    ("IS", "ISL|Iceland|Ísland"),
    ("IT", "ITA|Italy|Italia|Italien|Italie"),
    ("JM", "JAM|Jamaica"),
    ("JP", "JPN|Japan|Nippon|Nihon|日本|日本国"),
    (
        "KR",
        "KOR|South Korea|Korea|Republic of Korea|The Republic of Korea|Korea, Republic of|Korea, South|대한민국|한국",
    ),
    ("KW", "KWT|Kuwait|State of Kuwait|الكويت"),
    ("LT", "LTU|Lithuania|Lietuva"),
    ("LU", "LUX|Luxembourg|Luxemburg|Lëtzebuerg|Grand Duchy of Luxembourg"),
    ("LV", "LVA|Latvia|Latvija"),
    ("MA", "MAR|Morocco|Maroc|Kingdom of Morocco|المغرب"),
    ("MH", "MHL|Marshall Islands|The Marshall Islands|Republic of the Marshall Islands"),
    (
        "MK",
        "MKD|North Macedonia|Republic of North Macedonia|Macedonia|FYROM|Северна Македонија|Македонија|\
         The former Yugoslav Republic of Macedonia|Macedonia, the former Yugoslav Republic of",
    ),
    (
        "MP",
        "MNP|Northern Mariana Islands|The Northern Mariana Islands|Commonwealth of the Northern Mariana Islands|CNMI|\
         Northern Marianas",
    ),
    ("MT", "MLT|Malta"),
    ("MX", "MEX|Mexico|México|Méjico|United Mexican States|Estados Unidos Mexicanos"),
    ("MY", "MYS|Malaysia"),
    ("NG", "NGA|Nigeria|Federal Republic of Nigeria"),
    ("NL", "NLD|Netherlands|The Netherlands|Nederland|Holland|Kingdom of the Netherlands|Pays-Bas|Niederlande"),
    ("NO", "NOR|Norway|Norge|Noreg|Kingdom of Norway"),
    ("NZ", "NZL|New Zealand|Aotearoa|Aotearoa New Zealand"),
    ("OM", "OMN|Oman|Sultanate of Oman|عمان"),
    ("PE", "PER|Peru|Perú"),
    ("PH", "PHL|Philippines|The Philippines|Republic of the Philippines|Pilipinas"),
    ("PK", "PAK|Pakistan|Islamic Republic of Pakistan|پاکستان"),
    ("PL", "POL|Poland|Polska|Republic of Poland"),
    ("PR", "PRI|Puerto Rico"),
    ("PT", "PRT|Portugal"),
    ("PW", "PLW|Palau|Republic of Palau|Belau"),
    ("QA", "QAT|Qatar|State of Qatar|قطر"),
    ("RO", "ROU|Romania|România|ROM"),
    ("RS", "SRB|Serbia|Republic of Serbia|Srbija|Србија"),
    ("RU", "RUS|Russia|Russian Federation|The Russian Federation|Россия|Rossiya|Российская Федерация"),
    ("SA", "SAU|Saudi Arabia|Kingdom of Saudi Arabia|KSA|السعودية|المملكة العربية السعودية"),
    ("SE", "SWE|Sweden|Sverige|Kingdom of Sweden"),
    ("SG", "SGP|Singapore|Republic of Singapore|新加坡"),
    ("SI", "SVN|Slovenia|Slovenija"),
    ("SK", "SVK|Slovakia|Slovak Republic|The Slovak Republic|Slovensko|Slovenská republika"),
    ("SV", "SLV|El Salvador"),
    ("TH", "THA|Thailand|Kingdom of Thailand|ประเทศไทย|ไทย"),
    ("TN", "TUN|Tunisia|Tunisie|تونس"),
    ("TR", "TUR|Turkey|Türkiye|Republic of Turkey|Republic of Türkiye|Tuerkiye"),
    ("TW", "TWN|Taiwan|Taiwan, Province of China|Republic of China|Taiwan R.O.C.|台灣|台湾|臺灣"),
    ("TZ", "TZA|Tanzania|United Republic of Tanzania|Tanzania, United Republic of"),
    ("UA", "UKR|Ukraine|The Ukraine|Україна|Ukraina"),
    ("UY", "URY|Uruguay"),
    (
        "VG",
        "VGB|British Virgin Islands|The British Virgin Islands|Virgin Islands, British|Virgin Islands (British)|BVI",
    ),
    (
        "VI",
        "VIR|US Virgin Islands|U.S. Virgin Islands|United States Virgin Islands|Virgin Islands, U.S.|USVI|\
         Virgin Islands of the United States|The U.S. Virgin Islands",
    ),
    ("VN", "VNM|Vietnam|Viet Nam|Việt Nam|Socialist Republic of Vietnam"),
    ("WS", "WSM|Samoa|Western Samoa|Independent State of Samoa"),
    ("ZA", "ZAF|South Africa|Republic of South Africa|Suid-Afrika|RSA"),
];

static CODES: LazyLock<HashMap<String, &'static str>> = LazyLock::new(|| {
    let names = |(code, names): &(&'static str, &'static str)| {
        let code = *code;
        names.split('|').chain([code]).map(move |name| (normalize(name), code)).collect::<Vec<_>>()
    };
    COUNTRIES.iter().flat_map(names).collect()
});

/// The code Refersion allows for the country that `name` names.
pub(super) fn code(name: &str) -> Option<&'static str> {
    CODES.get(&normalize(name)).copied()
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
        let table: Vec<_> = COUNTRIES.iter().map(|(code, _)| *code).collect();
        assert_eq!(table, ALLOWED.split_whitespace().collect::<Vec<_>>());
    }

    #[test]
    fn every_name_means_one_country() {
        let mut seen = HashMap::new();
        for (code, names) in COUNTRIES {
            for name in names.split('|').chain([code]) {
                assert!(!normalize(name).is_empty(), "{name}");
                let other = seen.insert(normalize(name), code);
                assert!(other.is_none_or(|other| other == code), "{name} is {code} and {other:?}");
            }
        }
    }

    #[test]
    fn each_country_has_its_three_letter_code_first() {
        for (code, names) in COUNTRIES {
            let alpha3 = names.split('|').next().expect("a name");
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
        ] {
            assert_eq!(code(name), Some(expected), "{name}");
        }
    }

    #[test]
    fn countries_refersion_refuses_and_unclear_names_have_no_code() {
        for name in ["North Korea", "Virgin Islands", "Georgia", "Kenya", "KE", "Mars", "", "-", "94103"] {
            assert_eq!(code(name), None, "{name}");
        }
    }
}
