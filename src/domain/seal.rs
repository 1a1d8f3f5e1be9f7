//! Seals: how an API key waits in the store, where it can be neither read nor exchanged without the operator's seal key.
//!
//! In go seal keys, a nonce of chance and an API key; out comes a blob: the nonce, then XChaCha20-Poly1305 over the whole key
//! pair, bound to the account's name. Invariants: what was sealed for one account opens for no other; of several seal keys
//! the first seals and all open, so that one can be changed without a gap; none of them prints. Deliberately absent: chance,
//! which is an argument, and the length of a key, which is not hidden.

use super::{AccountName, ApiKey};
use chacha20poly1305::aead::{Aead, KeyInit, Payload};
use chacha20poly1305::{XChaCha20Poly1305, XNonce};
use hmac::{Hmac, Mac};
use secrecy::{ExposeSecret, SecretSlice, zeroize::Zeroizing};
use sha2::Sha256;

/// A key that seals and opens: 32 bytes.
#[derive(Clone, Debug)]
pub struct SealKey(SecretSlice<u8>);

/// The nonce of a seal: drawn at random for each, for it must not come twice under one key.
pub type SealNonce = [u8; NONCE];

const NONCE: usize = 24;

/// An API key as it waits in the store. Not a secret.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SealedKey {
    /// Whose it is.
    pub account: AccountName,
    /// The nonce and what is sealed.
    pub blob: Vec<u8>,
}

/// An API key that was opened.
#[derive(Debug)]
pub struct Opened {
    /// The key pair.
    pub api_key: ApiKey,
    /// Whether the first of the seal keys opened it.
    pub by_first: bool,
}

impl SealKey {
    /// Takes 32 bytes of chance.
    pub fn new(bytes: [u8; 32]) -> Self {
        Self(SecretSlice::from(bytes.to_vec()))
    }

    /// Seals the API key of `account`.
    pub fn seal(&self, account: &AccountName, api_key: &ApiKey, nonce: &SealNonce) -> SealedKey {
        let joined = Zeroizing::new(format!("{}.{}", api_key.public(), api_key.expose_secret()));
        let payload = Payload { msg: joined.as_bytes(), aad: account.as_str().as_bytes() };
        let sealed = self.cipher().encrypt(&XNonce::from(*nonce), payload);
        let sealed = sealed.unwrap_or_else(|_| unreachable!("only a text of 256 GiB is too long to be sealed"));
        SealedKey { account: account.clone(), blob: [nonce.as_slice(), &sealed].concat() }
    }

    /// A key pair that only who has this key can name: the operator's, where no account is configured. It does not tell
    /// this key.
    pub fn operator(&self) -> ApiKey {
        let mac = Hmac::<Sha256>::new_from_slice(self.0.expose_secret()).map(|mac| mac.chain_update("operator"));
        let named = mac.map(|mac| format!("operator.{}", hex::encode(mac.finalize().into_bytes())));
        let key = named.ok().and_then(|named| ApiKey::parse(&named).ok());
        key.unwrap_or_else(|| unreachable!("HMAC takes a key of any length, and two words of hex are a pair"))
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

/// Opens what one of `keys` sealed; none if it was another key, or another account, or the blob is not whole.
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
    fn what_was_sealed_opens_under_its_key_wherever_that_stands() {
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
    fn what_is_not_as_it_was_sealed_does_not_open() {
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
    fn a_seal_is_not_twice_the_same_and_shows_neither_half() {
        let key = SealKey::new([1; 32]);
        let api_key = ApiKey::parse("pub_a.sec.b").expect("valid");
        let again = key.seal(&account("a"), &api_key, &[3; NONCE]);
        assert_ne!(again.blob[NONCE..], sealed().blob[NONCE..]);
        let shown = format!("{key:?}") + &String::from_utf8_lossy(&again.blob);
        assert!(!shown.contains("pub_a") && !shown.contains("sec.b") && !shown.contains("1, 1"), "{shown}");
    }

    #[test]
    fn the_operators_key_is_the_seal_keys_own_and_does_not_tell_it() {
        let [one, other] = [1, 9].map(|byte| SealKey::new([byte; 32]).operator());
        assert_eq!((one.public(), one.expose_secret().len()), ("operator", 64));
        assert_ne!(one.expose_secret(), other.expose_secret());
        assert_ne!(one.expose_secret(), "01".repeat(32));
    }
}
