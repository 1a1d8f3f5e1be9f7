//! E-mail address: it identifies an affiliate at Refersion.
//!
//! In: a text. Out: a trimmed address, or an error. Invariants: exactly one `@`, with something before it and a domain with a
//! dot behind it; no blanks or control characters; at most 254 bytes (RFC 5321). Addresses that differ only in case are equal,
//! since Refersion does not promise to compare them with case; the spelling is kept. Deliberately absent: RFC 5322 in full
//! (quoted local parts, comments), which no affiliate platform accepts.

use std::fmt;
use std::hash::{Hash, Hasher};

/// A checked e-mail address. Its `Debug` prints `Email(…)`, since it is personal data.
#[derive(Clone)]
pub struct Email(String);

/// The text is no e-mail address.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("not an e-mail address")]
pub struct EmailError;

const MAX_BYTES: usize = 254;

impl Email {
    /// Checks and trims `text`.
    pub fn parse(text: &str) -> Result<Self, EmailError> {
        let text = text.trim();
        let (local, domain) = text.split_once('@').ok_or(EmailError)?;
        let empty_label = domain.starts_with('.') || domain.ends_with('.') || domain.contains("..");
        let dotted = domain.contains('.') && !empty_label;
        // RFC 5322 allows these in a local part only in quotes.
        let special = |c: char| matches!(c, '(' | ')' | '<' | '>' | '[' | ']' | ':' | ';' | '@' | '\\' | ',' | '"');
        let clean = |c: char| !c.is_whitespace() && !c.is_control() && !special(c);
        let valid = !local.is_empty()
            && dotted
            && text.len() <= MAX_BYTES
            && local.chars().all(clean)
            && domain.chars().all(|c| c.is_alphanumeric() || matches!(c, '-' | '.'));
        if valid { Ok(Self(text.to_owned())) } else { Err(EmailError) }
    }

    /// The address as it was given, trimmed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The address in lower case, for comparison.
    pub fn lowercase(&self) -> String {
        self.0.to_lowercase()
    }

    /// Whether `other` is the same address, in any case.
    pub fn is_same_address(&self, other: &str) -> bool {
        self.lowercase() == other.trim().to_lowercase()
    }
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.lowercase() == other.lowercase()
    }
}

impl Eq for Email {}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.lowercase().hash(state);
    }
}

impl fmt::Debug for Email {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Email(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_trimmed_and_keep_their_spelling() {
        for (text, address) in [
            ("jack@example.com ", "jack@example.com"),
            ("Jack.O'Neil+shop@Mail.Example.co.uk", "Jack.O'Neil+shop@Mail.Example.co.uk"),
            ("jürgen@exämple.de", "jürgen@exämple.de"),
        ] {
            assert_eq!(Email::parse(text).expect(text).as_str(), address);
        }
    }

    #[test]
    fn a_text_that_is_no_address_is_an_error() {
        let long = format!("{}@example.com", "x".repeat(250));
        for text in [
            "",
            " ",
            "jack",
            "@example.com",
            "jack@",
            "jack@example",
            "jack@example.",
            "jack@.com",
            "jack@exa mple.com",
            "ja ck@example.com",
            "a@b@example.com",
            "Jack <jack@example.com>",
            "jack@example.com, jill@example.com",
            "jack@example..com",
            "jack\n@example.com",
            "[email address]",
            "[email]@example.com",
            "mailto:jack@example.com",
            "jack(home)@example.com",
            "ja\\ck@example.com",
            &long,
        ] {
            assert_eq!(Email::parse(text).unwrap_err(), EmailError, "{text:?}");
        }
    }

    #[test]
    fn addresses_are_equal_in_any_case() {
        assert_eq!(Email::parse("A@B.co").expect("valid"), Email::parse("a@b.CO").expect("valid"));
    }
}
