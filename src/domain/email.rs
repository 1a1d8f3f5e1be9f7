//! An e-mail address, which identifies an affiliate at Refersion.
//!
//! In: a text. Out: a trimmed address, or an error. Invariants: exactly one `@`, with something before it and a domain with a dot behind
//! it: letters, digits and their marks in any script, hyphens and dots; no blanks or control characters; at most 254 bytes (RFC 5321).
//! Addresses that differ only in case are equal, since Refersion does not promise to compare them with case. Addresses whose domain is in
//! Unicode in one and in punycode in the other are equal, too. The spelling is kept. Deliberately absent: RFC 5322 in full (quoted local
//! parts, comments), which no affiliate platform accepts.

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
            && (domain.chars().all(is_of_domain) || is_internationalized(domain));
        if valid { Ok(Self(text.to_owned())) } else { Err(EmailError) }
    }

    /// The address as it was given, trimmed.
    pub fn as_str(&self) -> &str {
        &self.0
    }

    /// The [`comparable`] form of the address.
    pub(super) fn comparable(&self) -> String {
        comparable(&self.0)
    }

    /// Whether `other` is the same address, in any case, with its domain in Unicode or in punycode.
    pub fn is_same_address(&self, other: &str) -> bool {
        self.comparable() == comparable(other.trim())
    }
}

fn is_of_domain(c: char) -> bool {
    c.is_alphanumeric() || matches!(c, '-' | '.')
}

/// Whether a domain is one of a script whose vowel signs and tone marks are no letters. Of other characters UTS 46 allows nearly all, also
/// those that belong to the text around an address, such as `”` and `、`.
fn is_internationalized(domain: &str) -> bool {
    domain.chars().all(|c| is_of_domain(c) || is_mark(c)) && idna::domain_to_ascii_strict(domain).is_ok()
}

/// Whether `c`, which is no letter, is a mark (category M): no label begins with one, so it is no domain by itself.
fn is_mark(c: char) -> bool {
    !c.is_ascii() && idna::domain_to_ascii(c.encode_utf8(&mut [0; 4])).is_err()
}

/// The form in which spellings of one address are equal: in lower case, the domain in ASCII.
pub(super) fn comparable(address: &str) -> String {
    let unicode = address.rsplit_once('@').filter(|(_, domain)| !domain.is_ascii());
    let ascii = unicode.and_then(|(local, domain)| Some((local, idna::domain_to_ascii(domain).ok()?)));
    ascii.map_or_else(|| address.to_lowercase(), |(local, domain)| format!("{}@{domain}", local.to_lowercase()))
}

impl PartialEq for Email {
    fn eq(&self, other: &Self) -> bool {
        self.comparable() == other.comparable()
    }
}

impl Eq for Email {}

impl Hash for Email {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.comparable().hash(state);
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
            ("อีเมล@ร้าน.ไทย", "อีเมล@ร้าน.ไทย"),
            ("संपर्क@हिन्दी.भारत", "संपर्क@हिन्दी.भारत"),
            ("ann@bu\u{308}cher.example", "ann@bu\u{308}cher.example"),
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
            "jack@exa\u{a0}mple.com",
            "jack@exa\u{2028}mple.com",
            "jack@bücher .example",
            "jack@bücher_.example",
            "“jack@example.com”",
            "‘jack@example.com’",
            "«jack@example.com»",
            "jack@example.com…",
            "jack@example.com’s",
            "jack@example.com–",
            "jack@example.com·",
            "jack@example.com、",
            "jack@example.com。",
            "jack@example.com،",
            "jack@example.com\u{fe0f}",
            "jack@shop™.com",
            "jack@ex→ample.com",
            "jack@हिन्दी.भारत।",
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

    #[test]
    fn a_domain_in_unicode_and_in_punycode_is_one() {
        for (one, other, same) in [
            ("ann@bücher.example", "Ann@xn--bcher-kva.example", true),
            ("ann@BÜCHER.example", "ann@XN--BCHER-KVA.EXAMPLE", true),
            ("ann@bu\u{308}cher.example", "ann@bücher.example", true),
            ("Jürgen@bücher.example", "jürgen@xn--bcher-kva.example", true),
            ("ann@bücher.example", "ann@bucher.example", false),
            ("ann@bücher.example", "bob@xn--bcher-kva.example", false),
        ] {
            let [one_of_events, other_of_events] = [one, other].map(|text| Email::parse(text).expect(text));
            assert_eq!(one_of_events.is_same_address(other), same, "{one} and {other}");
            assert_eq!(one_of_events == other_of_events, same, "{one} and {other}");
        }
    }

    #[test]
    fn the_comparable_form_of_an_ascii_address_is_its_lower_case() {
        // The keys of users in stores are made of this form.
        for (address, form) in [
            ("Ann.Lee+x@Example.COM", "ann.lee+x@example.com"),
            ("ann@xn--bcher-kva.example", "ann@xn--bcher-kva.example"),
            ("Jürgen@example.de", "jürgen@example.de"),
            ("ann@bücher.example", "ann@xn--bcher-kva.example"),
        ] {
            assert_eq!(Email::parse(address).expect(address).comparable(), form);
        }
    }
}
