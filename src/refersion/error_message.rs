//! The redaction of Refersion's error messages, which repeat rejected values: personal data.
//!
//! In: a message and the body that was sent. Out: the message on one line, without control characters, cut to 300 characters. Every sent
//! text, in any case and with any blanks, and every e-mail address is replaced by `…`. Invariant: no sent value is left as a word of its
//! own. This is own code because values are compared without case and white space, and replaced only as words.

use crate::segment::clean_text;
use serde_json::Value;

const MAX_CHARS: usize = 300;
/// The longest message that is searched. A longer one is no sentence, and is replaced as a whole.
const MAX_BYTES: usize = 10_000;

/// Replaces the values of `sent` in `message`.
pub fn redact_sent_values(message: &str, sent: &Value) -> String {
    if message.len() > MAX_BYTES {
        return "…".to_owned();
    }
    let mut values = Vec::new();
    collect(sent, &mut values);
    values.retain(|value| !value.is_empty());
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let safe = values.iter().fold(clean_text(message), |text, value| replace_word(&text, value));
    let plain = safe.split(' ').map(|word| if word.contains('@') { "…" } else { word });
    plain.collect::<Vec<_>>().join(" ").chars().take(MAX_CHARS).collect()
}

fn collect(value: &Value, into: &mut Vec<String>) {
    match value {
        Value::String(text) => into.push(clean_text(text).chars().flat_map(fold_case).collect()),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, into)),
        _ => {}
    }
}

/// Replaces the case-folded `value` where it is a word, so that a city called "is" leaves "this" alone.
fn replace_word(text: &str, value: &str) -> String {
    let word = |c: Option<char>| c.is_some_and(char::is_alphanumeric);
    let mut safe = String::with_capacity(text.len());
    let (mut rest, mut before) = (text, None);
    while let Some(next) = rest.chars().next() {
        let same =
            prefix_in_any_case(rest, value).filter(|same| !word(before) && !word(rest[same.len()..].chars().next()));
        let taken = same.map_or(next.len_utf8(), str::len);
        safe.push(if same.is_some() { '…' } else { next });
        before = rest[..taken].chars().next_back();
        rest = &rest[taken..];
    }
    safe
}

/// The prefix of `text` that equals the case-folded `value` without case.
fn prefix_in_any_case<'a>(text: &'a str, value: &str) -> Option<&'a str> {
    let mut left = value;
    for (at, c) in text.char_indices() {
        if left.is_empty() {
            return Some(&text[..at]);
        }
        for folded in fold_case(c) {
            left = left.strip_prefix(folded)?;
        }
    }
    left.is_empty().then_some(text)
}

/// Case folding: the capital of `ß` is `SS`, that of `ς` is `Σ`.
fn fold_case(c: char) -> impl Iterator<Item = char> {
    c.to_uppercase().flat_map(char::to_lowercase)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    #[test]
    fn sent_values_are_redacted_from_error_messages() {
        let sent = json!({"affiliates": [{"id": 7, "country": "Atlantis", "city": "is", "email": "a@b.co",
                          "custom_fields": [{"1": "field"}, {"2": "Gießen"}, {"3": "Πάτρας"}], "state": "",
                          "phone": "+1 555 0100", "company": "österreich", "first_name": "Peter Gibbons",
                          "address1": "6th  St"}]});
        for (words, safe) in [
            ("Atlantis is not a allowed value for field country", "… … not a allowed value for … country"),
            ("this city is unknown", "this city … unknown"),
            ("c@d.io and a@b.co are taken", "… and … are taken"),
            ("ATLANTIS and atlantis are not allowed", "… and … are not allowed"),
            ("Österreich, ÖSTERREICH", "…, …"),
            ("Gießen, GIESSEN, Giessener", "…, …, Giessener"),
            ("ΠΆΤΡΑΣ, πάτρας", "…, …"),
            ("'Atlantis', (Atlantis) or Atlantis.", "'…', (…) or …."),
            ("Atlantisian Neoatlantis", "Atlantisian Neoatlantis"),
            ("{\"phone\":\"+1 555 0100\"} was odd", "{\"phone\":\"…\"} was odd"),
            ("<jack@example.com>: taken", "… taken"),
            ("Value exceed the char limit", "Value exceed the char limit"),
            ("Peter \n Gibbons, Peter\u{a0}Gibbons and PETER\tGIBBONS\u{0} are refused", "…, … and … are refused"),
            ("Pe\u{200b}ter Gibbons of 6th St, 6th  St", "… of …, …"),
            ("\u{1b}[31mred\u{7} and\r\nmore", "[31mred and more"),
            ("", ""),
        ] {
            assert_eq!(redact_sent_values(words, &sent), safe);
        }
        assert_eq!(redact_sent_values(&"x".repeat(1_000), &sent).chars().count(), MAX_CHARS);
        assert_eq!(redact_sent_values(&"x".repeat(MAX_BYTES + 1), &sent), "…");
    }
    proptest! {
        #[test]
        fn no_sent_value_is_in_an_error_message(
            values in prop::collection::vec("[A-Za-z0-9ÄÖäöß][A-Za-z0-9ÄÖäöß' .+-]{0,12}[A-Za-z0-9ÄÖäöß]", 1..5),
            index in 0_usize..5,
            upper: bool,
        ) {
            let value = &values[index % values.len()];
            let repeated = if upper { value.to_ascii_uppercase() } else { value.clone() };
            let sent = json!({"affiliates": [{"id": 7, "city": values, "custom_fields": [{"1": values[0]}]}]});
            let safe = redact_sent_values(&format!("\"{repeated}\" is refused, as {repeated}: and so on"), &sent);
            prop_assert!(!format!(" {safe} ").contains(&format!("\"{repeated}\"")), "{safe}");
            prop_assert!(!safe.contains(&format!("as {repeated}:")), "{safe}");
        }

        #[test]
        fn any_words_and_any_values_are_made_short(words: String, value: String) {
            prop_assert!(redact_sent_values(&words, &json!([value])).chars().count() <= MAX_CHARS);
        }
    }
}
