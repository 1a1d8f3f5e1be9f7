//! Folding: the form in which two spellings of a place's name are equal.
//!
//! In goes a name, out come its letters and digits in lower case, Latin letters without their accents, `&` as `and`.
//! Deliberately absent: Unicode normalisation in full; the accents of the languages in our tables are enough.

/// `name` without case, accents, blanks and punctuation.
pub(super) fn fold(name: &str) -> String {
    let mut folded = String::with_capacity(name.len());
    for c in name.chars() {
        if c.is_ascii_alphanumeric() {
            folded.push(c.to_ascii_lowercase());
        } else {
            c.to_lowercase().for_each(|c| push(c, &mut folded));
        }
    }
    folded
}

fn push(c: char, folded: &mut String) {
    match c {
        'à'..='å' | 'ā' | 'ă' | 'ą' => folded.push('a'),
        'ç' | 'ć' | 'č' => folded.push('c'),
        'ď' | 'đ' | 'ð' => folded.push('d'),
        'è'..='ë' | 'ē' | 'ė' | 'ę' | 'ě' => folded.push('e'),
        'ì'..='ï' | 'ī' | 'į' | 'ı' => folded.push('i'),
        'ł' | 'ľ' => folded.push('l'),
        'ñ' | 'ń' | 'ň' => folded.push('n'),
        'ò'..='ö' | 'ø' | 'ō' | 'ő' => folded.push('o'),
        'ř' => folded.push('r'),
        'ś' | 'š' | 'ş' | 'ș' => folded.push('s'),
        'ť' | 'ţ' | 'ț' => folded.push('t'),
        'ù'..='ü' | 'ū' | 'ů' | 'ű' => folded.push('u'),
        'ý' | 'ÿ' => folded.push('y'),
        'ź' | 'ż' | 'ž' => folded.push('z'),
        'æ' => folded.push_str("ae"),
        '&' => folded.push_str("and"),
        _ if c.is_alphanumeric() => folded.push(c),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::fold;

    #[test]
    fn spellings_of_one_name_fold_to_one_form() {
        for (name, folded) in [
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
            assert_eq!(fold(name), folded, "{name}");
        }
    }
}
