//! Suggestions for misspelt names, for instance of settings: the nearest known name by edit distance.

use super::problem::either;

/// The nearest known name to `wrong`, if one is close enough: at most one edit in three letters, and always one. A swap of two neighbours
/// is one edit.
pub(super) fn nearest<'a>(wrong: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |name: &str| strsim::damerau_levenshtein(&wrong.to_lowercase(), &name.to_lowercase());
    let near = |name: &&str| distance(name) <= (wrong.chars().count().min(name.chars().count()) / 3).max(1);
    known.into_iter().filter(near).min_by_key(|name| distance(name))
}

/// `unknown setting; did you mean "timeout"?`, or all allowed names if none is close.
pub(super) fn unknown(what: &str, wrong: &str, allowed: &[&str]) -> String {
    match nearest(wrong, allowed.iter().copied()) {
        Some(meant) => format!("{what}; did you mean {meant:?}?"),
        None => format!("{what}; expected {}", either(allowed)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_typo_finds_its_name_and_another_word_does_not() {
        let known = ["format", "filter", "timeout", "url"];
        for (wrong, meant) in [
            ("fitler", Some("filter")),
            ("tmeout", Some("timeout")),
            ("TIMEOUT", Some("timeout")),
            ("uri", Some("url")),
            ("file", None),
            ("level", None),
            ("time", None),
        ] {
            assert_eq!(nearest(wrong, known), meant, "{wrong}");
        }
    }
}
