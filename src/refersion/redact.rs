//! Refersion's words, made safe to show: it repeats values it refuses, and those are personal data.
//!
//! In go its words and the body that was sent; out come the words with every sent value, and everything that looks like an
//! address, replaced by `…`, cut to 300 characters.

use serde_json::Value;

const MAX_CHARS: usize = 300;

/// Takes our own values out of `words`.
pub fn redact(words: &str, sent: &Value) -> String {
    let mut values = Vec::new();
    collect(sent, &mut values);
    values.sort_by_key(|value| std::cmp::Reverse(value.len()));
    let safe = values.iter().fold(words.to_owned(), |text, value| blank(&text, value));
    let plain = safe.split_whitespace().map(|word| if word.contains('@') { "…" } else { word });
    plain.collect::<Vec<_>>().join(" ").chars().take(MAX_CHARS).collect()
}

fn collect<'a>(value: &'a Value, into: &mut Vec<&'a str>) {
    match value {
        Value::String(text) if !text.is_empty() => into.push(text),
        Value::Array(items) => items.iter().for_each(|item| collect(item, into)),
        Value::Object(fields) => fields.values().for_each(|field| collect(field, into)),
        _ => {}
    }
}

/// Replaces `value` where it stands as a word of its own, so that a city called "is" leaves "this" alone.
fn blank(text: &str, value: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    let mut rest = text;
    while let Some(at) = rest.find(value) {
        let (before, after) = (&rest[..at], &rest[at + value.len()..]);
        let starts = !safe.chars().chain(before.chars()).next_back().is_some_and(char::is_alphanumeric);
        let ends = !after.chars().next().is_some_and(char::is_alphanumeric);
        safe.push_str(before);
        safe.push_str(if starts && ends { "…" } else { value });
        rest = after;
    }
    safe.push_str(rest);
    safe
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn our_own_values_are_taken_out_of_refersions_words() {
        let sent = json!({"affiliates": [{"id": 7, "country": "Atlantis", "city": "is", "email": "a@b.co",
                          "custom_fields": [{"1": "field"}], "state": ""}]});
        for (words, safe) in [
            ("Atlantis is not a allowed value for field country", "… … not a allowed value for … country"),
            ("this city is unknown", "this city … unknown"),
            ("c@d.io and a@b.co are taken", "… and … are taken"),
            ("Value exceed the char limit", "Value exceed the char limit"),
            ("", ""),
        ] {
            assert_eq!(redact(words, &sent), safe);
        }
        assert_eq!(redact(&"x".repeat(1_000), &sent).chars().count(), MAX_CHARS);
    }
}
