//! Normalisation of place names: two spellings of one name become the same text.
//!
//! In: a name. Out: its letters and digits in lower case, without accents and ligatures (Unicode's NFKD, by `icu_normalizer`),
//! `&` as `and`. The result is for comparison; it is never sent. Deliberately absent: transliteration between scripts.
//! `deunicode` 1.6 does that: "ペ" becomes `pe`, the code of Peru, and "СА" in Cyrillic letters `SA`, that of Saudi Arabia.

use icu_normalizer::DecomposingNormalizerBorrowed;

/// Separates letters from their accents.
const NFKD: DecomposingNormalizerBorrowed<'static> = DecomposingNormalizerBorrowed::new_nfkd();

/// `name` without case, accents, blanks and punctuation.
pub(super) fn normalize(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    if name.is_ascii() {
        name.chars().for_each(|c| push(c.to_ascii_lowercase(), &mut normalized));
    } else {
        NFKD.normalize(name).chars().flat_map(char::to_lowercase).for_each(|c| push(c, &mut normalized));
    }
    normalized
}

/// Appends a letter or digit. The Latin letters listed here are those that Unicode does not decompose.
fn push(c: char, normalized: &mut String) {
    match c {
        '&' => normalized.push_str("and"),
        'æ' => normalized.push_str("ae"),
        'œ' => normalized.push_str("oe"),
        'ß' => normalized.push_str("ss"),
        'đ' | 'ð' => normalized.push('d'),
        'ı' => normalized.push('i'),
        'ł' => normalized.push('l'),
        'ø' => normalized.push('o'),
        _ if c.is_alphanumeric() => normalized.push(c),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::normalize;

    #[test]
    fn spellings_of_one_name_normalize_to_one_form() {
        for (name, normalized) in [
            ("U.S.A.", "usa"),
            (" united   STATES", "unitedstates"),
            ("España", "espana"),
            ("Österreich", "osterreich"),
            ("Québec", "quebec"),
            ("Que\u{301}bec", "quebec"),
            ("Türkiye", "turkiye"),
            ("İstanbul", "istanbul"),
            ("Færøerne", "faeroerne"),
            ("Bosnia & Herzegovina", "bosniaandherzegovina"),
            ("Stra\u{df}e", "strasse"),
            ("Łódź", "lodz"),
            ("ＵＳＡ", "usa"),
            ("日本", "日本"),
            ("- .", ""),
        ] {
            assert_eq!(normalize(name), normalized, "{name}");
        }
    }
}
