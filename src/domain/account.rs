//! A Refersion account (a tenant of this service): its name in this service, and its API key.
//!
//! In: the API key as Segment's settings hold it, `publickey.secretkey`. Out: the pair, split at the first `.` (Refersion API contract).
//! Invariants: both halves are non-empty, printable ASCII without blanks and colons, so that they fit into a header and into Basic
//! credentials; the secret is never printed, and compared in constant time only. The public half is shown, so a pair is an error if its
//! prefixes show swapped halves.

use secrecy::{ExposeSecret, SecretString};
use std::fmt;
use subtle::ConstantTimeEq;

/// The name of an account in this service's configuration, store and logs. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct AccountName(String);

impl AccountName {
    /// The account of `[refersion] api_key`.
    pub fn main() -> Self {
        Self("main".to_owned())
    }

    /// The name as text.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl From<String> for AccountName {
    /// Does not check the name: the store and the configuration have checked it.
    fn from(name: String) -> Self {
        Self(name)
    }
}

impl fmt::Display for AccountName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// A Refersion key pair, `publickey.secretkey`.
#[derive(Clone)]
pub struct ApiKey {
    joined: SecretString,
    dot: usize,
}

/// Why a text is not a key pair. The message never repeats the text: it may be another secret.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum ApiKeyError {
    /// There is no `.` between two halves.
    #[error("a text without `.`; expected `publickey.secretkey`, Refersion's two keys joined by a dot")]
    NoDot,
    /// One half is empty.
    #[error("an empty half; expected `publickey.secretkey`, Refersion's two keys joined by a dot")]
    EmptyHalf,
    /// A blank, a control character, a colon, a quote or a non-ASCII character. Docker passes on the quotes of a file of variables.
    #[error("a blank, a colon, a quote or a character outside ASCII; expected `publickey.secretkey` and nothing else")]
    BadCharacter,
    /// The halves are swapped, so the secret half would be shown.
    #[error("the secret key (`sec_…`) in front of the public key (`pub_…`); expected `publickey.secretkey`")]
    Swapped,
}

impl ApiKey {
    /// Splits `publickey.secretkey` at its first dot.
    pub fn parse(text: &str) -> Result<Self, ApiKeyError> {
        let dot = text.find('.').ok_or(ApiKeyError::NoDot)?;
        if dot == 0 || dot + 1 == text.len() {
            return Err(ApiKeyError::EmptyHalf);
        }
        if !text.bytes().all(|b| b.is_ascii_graphic() && !matches!(b, b':' | b'"' | b'\'')) {
            return Err(ApiKeyError::BadCharacter);
        }
        if text.starts_with("sec_") && text[dot + 1..].starts_with("pub_") {
            return Err(ApiKeyError::Swapped);
        }
        Ok(Self { joined: text.into(), dot })
    }

    /// The public half: it identifies the account, and gives no access.
    pub fn public(&self) -> &str {
        &self.joined.expose_secret()[..self.dot]
    }

    /// The secret half, for the request header only.
    pub fn expose_secret(&self) -> &str {
        &self.joined.expose_secret()[self.dot + 1..]
    }

    /// The whole setting, `publickey.secretkey`. Only for credentials and settings that need it.
    pub fn expose_pair(&self) -> &str {
        self.joined.expose_secret()
    }

    /// Whether `presented` is the whole setting, compared in constant time (its length is no secret).
    pub fn matches(&self, presented: &[u8]) -> bool {
        self.expose_pair().as_bytes().ct_eq(presented).into()
    }

    /// Whether `other` is the same pair, compared as in [`ApiKey::matches`].
    pub fn is_same_pair(&self, other: &Self) -> bool {
        self.matches(other.expose_pair().as_bytes())
    }
}

impl fmt::Debug for ApiKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("ApiKey(…)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_pair_is_split_at_its_first_dot() {
        let key = ApiKey::parse("pub_a.sec.b").expect("valid");
        assert_eq!((key.public(), key.expose_secret()), ("pub_a", "sec.b"));
        assert!(key.matches(b"pub_a.sec.b"));
        assert!(!key.matches(b"pub_a.sec.c"));
        assert!(!key.matches(b"pub_a"));
        let is = |other| key.is_same_pair(&ApiKey::parse(other).expect("valid"));
        assert_eq!((is("pub_a.sec.b"), is("pub_a.sec.c")), (true, false));
    }

    #[test]
    fn a_text_that_is_no_key_pair_is_an_error_with_the_reason() {
        for (text, why) in [
            ("", ApiKeyError::NoDot),
            ("pub_a", ApiKeyError::NoDot),
            (".sec", ApiKeyError::EmptyHalf),
            ("pub.", ApiKeyError::EmptyHalf),
            ("pub a.sec", ApiKeyError::BadCharacter),
            ("pub:a.sec", ApiKeyError::BadCharacter),
            ("püb.sec", ApiKeyError::BadCharacter),
            ("pub.sec\n", ApiKeyError::BadCharacter),
            ("\"pub.sec\"", ApiKeyError::BadCharacter),
            ("'pub.sec'", ApiKeyError::BadCharacter),
            ("sec_b.pub_a", ApiKeyError::Swapped),
        ] {
            assert_eq!(ApiKey::parse(text).unwrap_err(), why, "{text:?}");
        }
    }

    #[test]
    fn a_key_pair_is_not_printed() {
        let key = ApiKey::parse("pub_a.sec_b").expect("valid");
        assert_eq!(format!("{key:?}"), "ApiKey(…)");
    }
}
