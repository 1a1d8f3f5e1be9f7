//! The id of the Segment source that an event came from (`projectId`), as the ledger keeps it.
//!
//! In: the text of an event. Out: the id, or none. Invariant: the id is short and plain, as Segment's ids are, so no personal data is kept
//! as a source. Deliberately absent: the decision whether a source is trusted, which the mapping makes by the whole text.

/// The longest id, in bytes; Segment's have 22.
const MAX_BYTES: usize = 32;

/// The id of a source: up to 32 letters, digits, `-` and `_` of ASCII.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct SourceId(String);

impl SourceId {
    /// The id in this text; none if the text has another form.
    pub fn parse(text: &str) -> Option<Self> {
        let text = text.trim();
        let is_plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_');
        ((1..=MAX_BYTES).contains(&text.len()) && text.bytes().all(is_plain)).then(|| Self(text.to_owned()))
    }

    /// The text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_source_is_a_short_plain_id() {
        let longest = "a".repeat(MAX_BYTES);
        for (text, id) in [
            (" kqhTW1TtBqa2xnrtx9uPMb ", Some("kqhTW1TtBqa2xnrtx9uPMb")),
            ("web-shop_2", Some("web-shop_2")),
            (&longest, Some(&*longest)),
            (&format!("{longest}a"), None),
            ("peter@example.com", None),
            ("Peter Parker", None),
            ("  ", None),
        ] {
            assert_eq!(SourceId::parse(text).as_ref().map(SourceId::as_str), id, "{text}");
        }
    }
}
