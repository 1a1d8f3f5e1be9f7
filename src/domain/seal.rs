//! Encryption with the operator's seal key (XChaCha20-Poly1305): encryption at rest of API keys and remembered traits, and of cookies.
//!
//! In: seal keys, a random nonce, and an API key or other bytes. Out: a blob, which is the nonce and the encrypted bytes. Invariants: the
//! use of a blob (the account of an API key, or a purpose) is authenticated, so a blob cannot be opened for another use; the first seal key
//! encrypts and all of them decrypt, so that keys can be rotated; no seal key is printed. Deliberately absent: drawing the nonce, which is
//! an argument, and hiding the length of the sealed bytes.

use super::{AccountName, ApiKey};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use secrecy::{ExposeSecret, SecretSlice, zeroize::Zeroizing};

/// A seal key: 32 bytes that encrypt and decrypt.
#[derive(Clone, Debug)]
pub struct SealKey(SecretSlice<u8>);

/// The nonce of a blob: drawn at random each time, since it must not repeat under one seal key.
pub type SealNonce = [u8; NONCE];

const NONCE: usize = 24;

/// An encrypted API key, as it is stored. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedApiKey {
    /// The account that the API key belongs to.
    pub account: AccountName,
    /// The nonce, then the encrypted key pair.
    pub blob: Vec<u8>,
}

/// A decrypted API key.
#[derive(Debug)]
pub struct OpenedApiKey {
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
    pub fn seal(&self, account: &AccountName, api_key: &ApiKey, nonce: &SealNonce) -> SealedApiKey {
        let blob = self.seal_bytes(account.as_str(), api_key.expose_pair().as_bytes(), nonce);
        SealedApiKey { account: account.clone(), blob }
    }

    /// Encrypts `bytes` for `purpose`. A purpose has a blank, so that it is the name of no account.
    pub fn seal_bytes(&self, purpose: &str, bytes: &[u8], nonce: &SealNonce) -> Vec<u8> {
        let payload = Payload { msg: bytes, aad: purpose.as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(*nonce), payload);
        let sealed = sealed.unwrap_or_else(|_| unreachable!("only 256 GiB are too long to be sealed"));
        [nonce.as_slice(), &sealed].concat()
    }

    fn open(&self, sealed: &SealedApiKey) -> Option<ApiKey> {
        let opened = self.open_bytes(sealed.account.as_str(), &sealed.blob)?;
        ApiKey::parse(std::str::from_utf8(&opened).ok()?).ok()
    }

    fn open_bytes(&self, purpose: &str, blob: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
        let (nonce, rest) = blob.split_at_checked(NONCE)?;
        let nonce = XNonce::from(SealNonce::try_from(nonce).ok()?);
        let payload = Payload { msg: rest, aad: purpose.as_bytes() };
        Some(Zeroizing::new(self.cipher().decrypt(&nonce, payload).ok()?))
    }

    fn cipher(&self) -> XChaCha20Poly1305 {
        XChaCha20Poly1305::new_from_slice(self.0.expose_secret()).unwrap_or_else(|_| unreachable!("made of 32 bytes"))
    }
}

/// Decrypts `sealed` with the first of `seal_keys` that fits; none if no seal key fits, the account is another, or the blob is damaged.
pub fn open_seal(seal_keys: &[SealKey], sealed: &SealedApiKey) -> Option<OpenedApiKey> {
    let mut opened = seal_keys.iter().enumerate().filter_map(|(index, key)| Some((index, key.open(sealed)?)));
    opened.next().map(|(index, api_key)| OpenedApiKey { api_key, by_first: index == 0 })
}

/// Decrypts a blob that was sealed for `purpose`, with the first of `seal_keys` that fits; none if no seal key fits, the purpose is another,
/// or the blob is damaged.
pub fn open_sealed_bytes(seal_keys: &[SealKey], purpose: &str, blob: &[u8]) -> Option<Zeroizing<Vec<u8>>> {
    seal_keys.iter().find_map(|key| key.open_bytes(purpose, blob))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(name: &str) -> AccountName {
        AccountName::from(name.to_owned())
    }

    fn sealed() -> SealedApiKey {
        let api_key = ApiKey::parse("pub_a.sec.b").expect("valid");
        SealKey::new([1; 32]).seal(&account("a"), &api_key, &[2; NONCE])
    }

    #[test]
    fn a_sealed_key_is_opened_by_its_seal_key_at_any_position() {
        let (own, other) = (SealKey::new([1; 32]), SealKey::new([9; 32]));
        for (seal_keys, expected) in [
            (vec![own.clone()], Some(true)),
            (vec![own.clone(), other.clone()], Some(true)),
            (vec![other.clone(), own], Some(false)),
            (vec![other], None),
            (vec![], None),
        ] {
            let opened = open_seal(&seal_keys, &sealed());
            assert_eq!(opened.as_ref().map(|opened| opened.by_first), expected);
            assert!(opened.is_none_or(|opened| opened.api_key.matches(b"pub_a.sec.b")));
        }
    }

    #[test]
    fn a_changed_blob_and_that_of_another_account_are_not_opened() {
        let seal_keys = [SealKey::new([1; 32])];
        let moved = SealedApiKey { account: account("b"), ..sealed() };
        assert!(open_seal(&seal_keys, &moved).is_none(), "another account's");
        for index in 0..sealed().blob.len() {
            let mut changed = sealed();
            changed.blob[index] ^= 1;
            assert!(open_seal(&seal_keys, &changed).is_none(), "byte {index}");
            changed.blob.truncate(index);
            assert!(open_seal(&seal_keys, &changed).is_none(), "{index} bytes");
        }
    }

    #[test]
    fn bytes_are_opened_for_their_purpose_only() {
        let (own, other) = (SealKey::new([1; 32]), SealKey::new([9; 32]));
        let blob = own.seal_bytes("a purpose", b"text", &[2; NONCE]);
        for (seal_keys, purpose, opens) in [
            (vec![other.clone(), own.clone()], "a purpose", true),
            (vec![own.clone()], "another purpose", false),
            (vec![other], "a purpose", false),
        ] {
            let opened = open_sealed_bytes(&seal_keys, purpose, &blob);
            assert_eq!(opened.is_some_and(|bytes| *bytes == b"text"), opens, "{purpose}");
        }
        assert!(open_sealed_bytes(&[own], "a purpose", &blob[..NONCE - 1]).is_none(), "cut short");
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
