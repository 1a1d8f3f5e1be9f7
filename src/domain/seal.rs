//! Encryption of API keys in the store (XChaCha20-Poly1305), by the operator's seal key.
//!
//! In: seal keys, a random nonce and an API key. Out: a blob, which is the nonce and the encrypted key pair. Invariants: the
//! account's name is authenticated, so that a blob of one account cannot be opened for another; the first seal key encrypts and
//! all of them decrypt, so that keys can be rotated; no seal key is printed. Deliberately absent: drawing the nonce, which is
//! an argument, and hiding the length of an API key.

use super::{AccountName, ApiKey};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretSlice, zeroize::Zeroizing};

/// A key of 32 bytes that encrypts and decrypts API keys.
#[derive(Clone, Debug)]
pub struct SealKey(SecretSlice<u8>);

/// The nonce of a sealed key: drawn at random each time, since it must not repeat under one seal key.
pub type SealNonce = [u8; NONCE];

const NONCE: usize = 24;

/// An encrypted API key, as it is stored. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// The account that the API key belongs to.
    pub account: AccountName,
    /// The nonce, then the encrypted key pair.
    pub blob: Vec<u8>,
}

/// A decrypted API key.
#[derive(Debug)]
pub struct Opened {
    /// The key pair.
    pub api_key: ApiKey,
    /// Whether the first of the seal keys decrypted it.
    pub by_first: bool,
}

impl SealKey {
    /// A seal key of 32 random bytes.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretSlice::from(bytes.to_vec()))
    }

    /// Encrypts the API key of `account`.
    pub fn seal(&self, account: &AccountName, api_key: &ApiKey, nonce: &SealNonce) -> SealedKey {
        let joined = Zeroizing::new(format!("{}.{}", api_key.public(), api_key.expose_secret()));
        let payload = Payload { msg: joined.as_bytes(), aad: account.as_str().as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(*nonce), payload);
        let sealed = sealed.unwrap_or_else(|_| unreachable!("only a text of 256 GiB is too long to be sealed"));
        SealedKey { account: account.clone(), blob: [nonce.as_slice(), &sealed].concat() }
    }

    fn open(&self, sealed: &SealedKey) -> Option<ApiKey> {
        let (nonce, rest) = sealed.blob.split_at_checked(NONCE)?;
        let nonce = XNonce::from(SealNonce::try_from(nonce).ok()?);
        let payload = Payload { msg: rest, aad: sealed.account.as_str().as_bytes() };
        let opened = Zeroizing::new(self.cipher().decrypt(&nonce, payload).ok()?);
        ApiKey::parse(std::str::from_utf8(&opened).ok()?).ok()
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new_from_slice(self.0.expose_secret()).unwrap_or_else(|_| unreachable!("made of 32 bytes"))
    }
}

/// Decrypts `sealed` with the first of `keys` that fits; none if no key does, the account is another, or the blob is damaged.
pub fn open_seal(keys: &[SealKey], sealed: &SealedKey) -> Option<Opened> {
    let mut opened = keys.iter().enumerate().filter_map(|(place, key)| Some((place, key.open(sealed)?)));
    opened.next().map(|(place, api_key)| Opened { api_key, by_first: place == 0 })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountName {
        AccountName::from(name.to_owned())
    }

    fn sealed() -> SealedKey {
        let api_key = ApiKey::parse("pub_a.sec.b").expect("valid");
        SealKey::new([1; 32]).seal(&account("a"), &api_key, &[2; NONCE])
    }

    #[test]
    fn a_sealed_key_is_opened_by_its_seal_key_at_any_position() {
        let (own, other) = (SealKey::new([1; 32]), SealKey::new([9; 32]));
        for (keys, expected) in [
            (vec![own.clone()], Some(true)),
            (vec![own.clone(), other.clone()], Some(true)),
            (vec![other.clone(), own], Some(false)),
            (vec![other], None),
            (vec![], None),
        ] {
            let opened = open_seal(&keys, &sealed());
            assert_eq!(opened.as_ref().map(|opened| opened.by_first), expected);
            assert!(opened.is_none_or(|opened| opened.api_key.matches(b"pub_a.sec.b")));
        }
    }

    #[test]
    fn a_changed_blob_and_that_of_another_account_are_not_opened() {
        let keys = [SealKey::new([1; 32])];
        let moved = SealedKey { account: account("b"), ..sealed() };
        assert!(open_seal(&keys, &moved).is_none(), "another account's");
        for place in 0..sealed().blob.len() {
            let mut changed = sealed();
            changed.blob[place] ^= 1;
            assert!(open_seal(&keys, &changed).is_none(), "byte {place}");
            changed.blob.truncate(place);
            assert!(open_seal(&keys, &changed).is_none(), "{place} bytes");
        }
    }

    #[test]
    fn a_key_sealed_twice_gives_two_blobs_and_neither_shows_the_key() {
        let key = SealKey::new([1; 32]);
        let api_key = ApiKey::parse("pub_a.sec.b").expect("valid");
        let again = key.seal(&account("a"), &api_key, &[3; NONCE]);
        assert_ne!(again.blob[NONCE..], sealed().blob[NONCE..]);
        let shown = format!("{key:?}") + &String::from_utf8_lossy(&again.blob);
        assert!(!shown.contains("pub_a") && !shown.contains("sec.b") && !shown.contains("1, 1"), "{shown}");
    }
}
