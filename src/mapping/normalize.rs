//! Normalisation of place names: two spellings of one name become the same text.
//!
//! In goes a name, out come its letters and digits in lower case, Latin letters without their accents, `&` as `and`.
//! Deliberately absent: Unicode normalisation in full; the accents of the languages in our tables are enough.

/// `name` without case, accents, blanks and punctuation.
pub(super) fn normalize(name: &str) -> String {
    let mut normalized = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            normalized.push(c.to_ascii_lowercase());
        } else {
            c.to_lowercase().for_each(|c| push(c, &mut normalized));
        }
    }
    normalized
}

fn push(c: char, normalized: &mut String) {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => normalized.push('a'),
        'ç' | 'ć' | 'č' => normalized.push('c'),
        'ď' | 'đ' | 'ð' => normalized.push('d'),
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => normalized.push('e'),
        'ì'..='ï' | 'ī' | 'į' | 'ı' => normalized.push('i'),
        'ł' | 'ľ' => normalized.push('l'),
        'ñ' | 'ń' | 'ň' => normalized.push('n'),
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => normalized.push('o'),
        'ř' => normalized.push('r'),
        'ś' | 'š' | 'ş' | 'ș' => normalized.push('s'),
        'ť' | 'ţ' | 'ț' => normalized.push('t'),
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => normalized.push('u'),
        'ý' | 'ÿ' => normalized.push('y'),
        'ź' | 'ż' | 'ž' => normalized.push('z'),
        'æ' => normalized.push_str("ae"),
        '&' => normalized.push_str("and"),
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
            ("日本", "日本"),
            ("- .", ""),
        ] {
            assert_eq!(normalize(name), normalized, "{name}");
        }
    }
}
