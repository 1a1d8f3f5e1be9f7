//! Clean texts for Refersion: one line, no control characters, numbers in plain notation.
//!
//! In: decoded JSON strings, and the source texts of JSON numbers. Out: trimmed texts, possibly empty. A text that programs print for an
//! absent value, such as `<nil>` or `undefined`, counts as empty. Deliberately absent: limits of length, which Refersion does not publish.

/// `text` as a single line: white space of any kind becomes one space, invisible characters are dropped, the ends are trimmed.
pub fn clean_text(text: &str) -> String {
    if is_clean(text) {
        return if stands_for_absent(text) { String::new() } else { text.to_owned() };
    }
    let mut line = String::with_capacity(text.len());
    for c in text.chars().filter(|&c| c.is_whitespace() || !is_invisible(c)) {
        if !c.is_whitespace() {
            line.push(c);
        } else if !line.is_empty() && !line.ends_with(' ') {
            line.push(' ');
        }
    }
    line.truncate(line.trim_end().len());
    if stands_for_absent(&line) { String::new() } else { line }
}

/// Whether `text` stands for an absent value, as Go (and Engage, for a trait), `JavaScript` and Apple's libraries print it. Letters must
/// have the same case, because there are people whose name is Null.
pub fn stands_for_absent(text: &str) -> bool {
    matches!(text, "<nil>" | "null" | "undefined" | "NaN" | "[object Object]" | "(null)")
}

/// Whether `text` is clean already, as nearly all texts are. False for texts that are not ASCII, for which this check would be slow.
fn is_clean(text: &str) -> bool {
    let mut previous = b' ';
    let single = text.bytes().all(|b| {
        let doubled = b == b' ' && previous == b' ';
        previous = b;
        matches!(b, b' '..=b'~') && !doubled
    });
    single && (previous != b' ' || text.is_empty())
}

/// The lines of `text` that are not blank, each [clean](clean_text).
pub fn split_lines(text: &str) -> Vec<String> {
    let breaks = ['\n', '\r', '\u{85}', '\u{2028}', '\u{2029}'];
    text.split(breaks).map(clean_text).filter(|line| !line.is_empty()).collect()
}

/// Whether `c` is a control character, or a mark that copying from web pages leaves behind. Joiners are visible in this sense: they are
/// part of names in several scripts. U+FFFD is invisible, because it replaces half a surrogate pair.
pub fn is_invisible(c: char) -> bool {
    let mark =
        matches!(c, '\u{AD}' | '\u{61C}' | '\u{180E}' | '\u{200B}' | '\u{200E}' | '\u{200F}' | '\u{FEFF}' | '\u{FFFD}');
    let format = matches!(c, '\u{202A}'..='\u{202E}' | '\u{2060}'..='\u{2064}' | '\u{2066}'..='\u{2069}');
    mark || format || c.is_control()
}

/// The largest exponent that is expanded. `JavaScript` prints larger ones as an exponent, too.
const MAX_EXPANDED_EXPONENT: usize = 21;

/// A JSON number as text: integers exactly as written, `450.0` as `450`, `4.5e2` as `450`.
pub(super) fn plain_number(source: &str) -> String {
    if source.contains(['.', 'e', 'E']) {
        expand_exponent(source).unwrap_or_else(|| source.to_owned())
    } else {
        source.to_owned()
    }
}

/// The number without an exponent and without zeros at its ends; `None` if its exponent is too large.
fn expand_exponent(source: &str) -> Option<String> {
    let (mantissa, exponent) = source.split_once(['e', 'E']).unwrap_or((source, "0"));
    let exponent = exponent.parse::<i32>().ok()?;
    let shift = usize::try_from(exponent.unsigned_abs()).ok().filter(|shift| *shift <= MAX_EXPANDED_EXPONENT)?;
    let (sign, mantissa) = mantissa.strip_prefix('-').map_or(("", mantissa), |rest| ("-", rest));
    let (whole, fraction) = mantissa.split_once('.').unwrap_or((mantissa, ""));

    let zeros = "0".repeat(shift);
    let digits = if exponent < 0 { format!("{zeros}{whole}{fraction}") } else { format!("{whole}{fraction}{zeros}") };
    let point = if exponent < 0 { whole.len() } else { whole.len() + shift };
    let (whole, fraction) = digits.split_at_checked(point)?;

    let (whole, fraction) = (whole.trim_start_matches('0'), fraction.trim_end_matches('0'));
    let whole = if whole.is_empty() { "0" } else { whole };
    Some(match fraction {
        "" if whole == "0" => "0".to_owned(),
        "" => format!("{sign}{whole}"),
        _ => format!("{sign}{whole}.{fraction}"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_becomes_one_clean_line() {
        for (text, line) in [
            ("  Peter \t\n Gibbons\u{a0}", "Peter Gibbons"),
            ("Pe\u{0}ter\u{7f}", "Peter"),
            ("\u{feff}Peter\u{200b} ", "Peter"),
            ("\u{61c}Pe\u{ad}ter\u{180e}\u{2062}", "Peter"),
            ("\u{0} \u{0}", ""),
            ("می\u{200c}خواهم", "می\u{200c}خواهم"),
            ("a \u{0} b", "a b"),
            ("Peter Gibbons", "Peter Gibbons"),
            ("Peter  Gibbons", "Peter Gibbons"),
            (" Peter", "Peter"),
            ("Peter ", "Peter"),
            ("Pe\tter~", "Pe ter~"),
            (" ", ""),
            ("", ""),
            ("<nil>", ""),
            (" \u{feff}<nil>\n", ""),
            ("<nil> Gibbons", "<nil> Gibbons"),
            ("undefined", ""),
            (" null\u{200b}", ""),
            ("NaN", ""),
            ("[object  Object]", ""),
            ("(null)", ""),
            ("Null", "Null"),
            ("nullable", "nullable"),
            ("<b>", "<b>"),
        ] {
            assert_eq!(clean_text(text), line, "{text:?}");
        }
    }

    #[test]
    fn lines_end_at_any_line_break_and_blank_ones_are_left_out() {
        assert_eq!(split_lines("6th St\r\n\r\n Suite\t4 \rRear\nX"), ["6th St", "Suite 4", "Rear", "X"]);
        assert!(split_lines(" \r\n ").is_empty());
        assert_eq!(split_lines("6th St\n<nil>"), ["6th St"]);
    }

    #[test]
    fn numbers_are_in_plain_notation_without_needless_zeros() {
        for (source, text) in [
            ("94103", "94103"),
            ("12345678901234567890123", "12345678901234567890123"),
            ("-7", "-7"),
            ("450.0", "450"),
            ("450.00", "450"),
            ("450.50", "450.5"),
            ("0.50", "0.5"),
            ("-0.0", "0"),
            ("-1.5", "-1.5"),
            ("4.5e2", "450"),
            ("4.5E+2", "450"),
            ("4.525e2", "452.5"),
            ("5e-1", "0.5"),
            ("125e-2", "1.25"),
            ("-5e-3", "-0.005"),
            ("1e21", "1000000000000000000000"),
            ("1e400", "1e400"),
            ("1e99999999999", "1e99999999999"),
            ("1e-2147483648", "1e-2147483648"),
        ] {
            assert_eq!(plain_number(source), text, "{source}");
        }
    }
}
