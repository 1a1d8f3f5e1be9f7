//! Texts from web forms, such as names and addresses, with HTML entities decoded.
//!
//! In: a value. Out: its text, clean. A form that escapes HTML stores `O&#39;Neil`. An entity is decoded once: `&amp;amp;` becomes `&amp;`.
//! Deliberately absent: other traits, whose values may be meant as they are written.

use crate::segment::{RawJson, clean_text};
use std::borrow::Cow;

/// A string, without HTML entities; it may have several lines, and be blank.
pub(super) fn decoded(value: RawJson<'_>) -> Option<Cow<'_, str>> {
    let text = value.as_string()?;
    Some(if text.contains('&') { html_escape::decode_html_entities(&text).into_owned().into() } else { text })
}

/// A string as clean text, unless nothing is left of it. For values that cannot be numbers, such as names.
pub(super) fn string(value: RawJson<'_>) -> Option<String> {
    Some(clean_text(&decoded(value)?)).filter(|text| !text.is_empty())
}

/// A string or a number as clean text, unless nothing is left of it.
pub(super) fn text(value: RawJson<'_>) -> Option<String> {
    if value.is_string() { string(value) } else { value.as_number() }
}

/// The first element of a list that [`text`] accepts, or the value if it is no list.
pub(super) fn first(value: RawJson<'_>) -> Option<String> {
    match value.as_array() {
        Some(elements) => elements.into_iter().find_map(text),
        None => text(value),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn entities_are_decoded_once() {
        for (json, decoded) in [
            (r#""O&#39;Neil""#, Some("O'Neil")),
            (r#""O&#x27;Neil &amp; Sons""#, Some("O'Neil & Sons")),
            (r#""M&uuml;nchen""#, Some("München")),
            (r#""&amp;amp;""#, Some("&amp;")),
            (r#""AT&T""#, Some("AT&T")),
            (r#""Tom & Jerry; Co""#, Some("Tom & Jerry; Co")),
            (r#""a&nbsp;&#10;b""#, Some("a b")),
            (r#""&nbsp;""#, None),
            (r#""<nil>""#, None),
            ("5", None),
        ] {
            assert_eq!(string(RawJson::parse(json).expect("JSON")).as_deref(), decoded, "{json}");
        }
    }

    #[test]
    fn numbers_are_texts_but_no_strings() {
        let number = RawJson::parse("94103").expect("JSON");
        assert_eq!((text(number).as_deref(), string(number)), (Some("94103"), None));
    }
}
