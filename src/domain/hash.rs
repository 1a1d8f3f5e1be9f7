//! Keyed hashes (HMAC-SHA256), by which the service recognises users, events and values without storing them. The hash of an event is its
//! idempotency key.
//!
//! In: the hash key, a secret that is made once per store, and a text. Out: the first 16 or 8 bytes of the hash. Invariants: the kind and
//! the account are part of the hashed text, so that equal values of two kinds or accounts have different hashes; all spellings
//! of one e-mail address have the same hash.

use super::{AccountName, AffiliateStatus, ApiKey, Attribute, Email, Profile, UserId};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;

/// The key of all hashes of one store: 32 random bytes, kept in the store.
#[derive(Clone)]
pub struct HashKey(Hmac<Sha256>);

/// The identity of an event, by which a repeat is recognised: a hash of its `messageId` (for a delete: and of its user), or of its
/// bytes if it has none.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct EventId(pub [u8; 16]);

/// A user key: a hash of the `userId` or of the e-mail address. Two events are of one user if they share a user key, if their user keys
/// lead to one affiliate, or if a third event connects them ([`crate::scheduling`]).
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum UserKey {
    /// Hash of a `userId`.
    UserId([u8; 16]),
    /// Hash of an e-mail address.
    Email([u8; 16]),
}

impl UserKey {
    /// The bytes of the hash.
    pub fn bytes(&self) -> &[u8; 16] {
        match self {
            Self::UserId(bytes) | Self::Email(bytes) => bytes,
        }
    }
}

impl HashKey {
    /// Makes a key of 32 random bytes.
    pub fn new(bytes: &[u8; 32]) -> Self {
        Self(Hmac::new_from_slice(bytes).unwrap_or_else(|_| unreachable!("HMAC takes a key of any length")))
    }

    /// The identity of an event with this `messageId`.
    pub fn event_by_message_id(&self, account: &AccountName, message_id: &str) -> EventId {
        EventId(self.hash16(account, "messageId", message_id.as_bytes()))
    }

    /// The identity of a delete with this `messageId` of the user with these keys. Segment's `messageId` of a delete can name the
    /// regulation that requests it, so the deletes of several users can have the same `messageId`.
    pub fn delete_by_message_id(&self, account: &AccountName, message_id: &str, user: &[UserKey]) -> EventId {
        let mut value = Vec::new();
        for key in user {
            value.push(if matches!(key, UserKey::UserId(_)) { b'u' } else { b'e' });
            value.extend(key.bytes());
        }
        value.push(0);
        value.extend(message_id.as_bytes());
        EventId(self.hash16(account, "delete", &value))
    }

    /// The identity of an event without `messageId`: a hash of its bytes.
    pub fn event_by_body(&self, account: &AccountName, body: &[u8]) -> EventId {
        EventId(self.hash16(account, "body", body))
    }

    /// The user key of a `userId`.
    pub fn user_id(&self, account: &AccountName, user_id: &UserId) -> UserKey {
        UserKey::UserId(self.hash16(account, "userId", user_id.as_str().as_bytes()))
    }

    /// The user key of an e-mail address, the same for all its spellings.
    pub fn email(&self, account: &AccountName, email: &Email) -> UserKey {
        UserKey::Email(self.hash16(account, "email", email.comparable().as_bytes()))
    }

    /// The hash of an affiliate: user keys that lead to the same one belong to one user.
    pub fn affiliate(&self, account: &str, code: &str) -> [u8; 16] {
        first(&self.digest(&[account.as_bytes(), b"\0affiliate\0", code.as_bytes()]))
    }

    /// The name of an account that is not configured and whose API key arrives with its requests. It is made of the public half only, so it
    /// stays when the secret changes. It has 64 bits, so that no two accounts share a name.
    pub fn account(&self, key: &ApiKey) -> AccountName {
        let hashed: [u8; 8] = first(&self.digest(&[b"\0publicKey\0", key.public().as_bytes()]));
        AccountName::from(format!("key-{}", hex::encode(hashed)))
    }

    /// The hash of an API key, for places that must not keep the key itself.
    pub fn key_pair(&self, key: &ApiKey) -> [u8; 16] {
        first(&self.digest(&[b"\0keyPair\0", key.expose_pair().as_bytes()]))
    }

    /// The hash of this text as the value of `attribute`.
    fn value(&self, attribute: &str, value: &str) -> u64 {
        u64::from_be_bytes(first(&self.digest(&[attribute.as_bytes(), b"=", value.as_bytes()])))
    }

    /// The hash of a value of `attribute` as it is stored with an affiliate.
    pub(super) fn attribute(&self, attribute: &Attribute, value: &str) -> [u8; 8] {
        self.value(&attribute.name(), &comparable(attribute, value)).to_be_bytes()
    }

    /// The hash of an affiliate's status.
    pub(super) fn status(&self, status: AffiliateStatus) -> [u8; 8] {
        self.value("status", status.as_str()).to_be_bytes()
    }

    fn hash16(&self, account: &AccountName, kind: &str, value: &[u8]) -> [u8; 16] {
        first(&self.digest(&[account.as_str().as_bytes(), b"\0", kind.as_bytes(), b"\0", value]))
    }

    fn digest(&self, parts: &[&[u8]]) -> [u8; 32] {
        let mut mac = self.0.clone();
        for part in parts {
            mac.update(part);
        }
        mac.finalize().into_bytes().into()
    }
}

/// The first bytes of a digest.
fn first<const N: usize>(digest: &[u8; 32]) -> [u8; N] {
    std::array::from_fn(|i| digest[i])
}

/// The values that a call sent or a response returned, as hashes: they can be compared, not read.
#[derive(Clone, Default, PartialEq, Eq, Debug, serde::Serialize, serde::Deserialize)]
#[serde(transparent)]
pub struct Fingerprint(BTreeMap<Cow<'static, str>, u64>);

impl Fingerprint {
    /// The fingerprint of the values of `profile`.
    pub fn of(key: &HashKey, profile: &Profile) -> Self {
        let hash = |attribute, value| u64::from_be_bytes(key.attribute(attribute, value));
        Self(profile.iter().map(|(attribute, value)| (attribute.name(), hash(attribute, value))).collect())
    }

    /// Whether every value in `other`, except that of `ignored`, is recorded here.
    pub fn contains_all_except(&self, ignored: &Attribute, other: &Self) -> bool {
        let ignored = ignored.name();
        other.0.iter().all(|(name, hash)| *name == ignored || self.0.get(name) == Some(hash))
    }
}

/// The form in which values of `attribute` are compared: spellings of one e-mail address are equal.
fn comparable<'a>(attribute: &Attribute, value: &'a str) -> Cow<'a, str> {
    match attribute {
        Attribute::Field(super::Field::Email) => super::email::comparable(value).into(),
        _ => value.into(),
    }
}

impl fmt::Debug for HashKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("HashKey(…)")
    }
}

impl fmt::Debug for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl fmt::Display for EventId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&hex::encode(&self.0[..6]))
    }
}

impl serde::Serialize for EventId {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl fmt::Debug for UserKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let kind = if matches!(self, Self::UserId(_)) { "userId" } else { "email" };
        write!(f, "{kind}:{}", hex::encode(&self.bytes()[..6]))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Field;
    use std::collections::HashSet;

    fn key() -> HashKey {
        HashKey::new(&[7; 32])
    }

    #[test]
    fn kinds_accounts_and_keys_keep_hashes_apart() {
        let (main, other) = (AccountName::main(), AccountName::from("other".to_owned()));
        let hash = key();
        let id = |hash: &HashKey, account| hash.event_by_message_id(account, "x");
        assert_eq!(id(&hash, &main), id(&key(), &main));
        assert_ne!(id(&hash, &main), id(&hash, &other));
        assert_ne!(id(&hash, &main), hash.event_by_body(&main, b"x"));
        assert_ne!(id(&hash, &main), id(&HashKey::new(&[8; 32]), &main));
        let delete = |user: &[UserKey]| hash.delete_by_message_id(&main, "x", user);
        let users =
            [vec![], vec![UserKey::UserId([1; 16])], vec![UserKey::UserId([2; 16])], vec![UserKey::Email([1; 16])]];
        let ids: HashSet<EventId> = users.iter().map(|user| delete(user)).chain([id(&hash, &main)]).collect();
        assert_eq!((ids.len(), delete(&users[1])), (5, delete(&[UserKey::UserId([1; 16])])));
    }

    #[test]
    fn an_account_is_named_by_the_public_half_and_a_pair_by_both() {
        let of = |text| {
            let pair = ApiKey::parse(text).expect("valid");
            (key().account(&pair).to_string(), key().key_pair(&pair))
        };
        let (name, pair) = of("pub_a.sec_a");
        assert_eq!((name.len(), &name[..4]), (20, "key-"));
        assert_eq!(of("pub_a.sec_b").0, name);
        assert_ne!(of("pub_b.sec_a").0, name);
        assert!(of("pub_a.sec_b").1 != pair && of("pub_b.sec_a").1 != pair && of("pub_a.sec_a").1 == pair);
    }

    #[test]
    fn an_email_has_one_key_in_any_case() {
        let main = AccountName::main();
        let of = |text| key().email(&main, &Email::parse(text).expect("valid"));
        assert_eq!(of("Peter@Example.com"), of("peter@example.COM"));
        assert_ne!(of("peter@example.com"), of("paul@example.com"));
    }

    #[test]
    fn a_fingerprint_includes_another_whose_values_it_has_all_but_one_of_them() {
        let of = |pairs: &[(Field, &str)]| Fingerprint::of(&key(), &pairs.iter().copied().collect());
        let more = of(&[(Field::City, "Paris"), (Field::Zip, "1")]);
        let includes = |other: &[(Field, &str)]| more.contains_all_except(&Field::Email.into(), &of(other));
        assert!(includes(&[(Field::City, "Paris")]) && includes(&[]));
        assert!(includes(&[(Field::City, "Paris"), (Field::Email, "a@x.io")]), "the e-mail is ignored");
        assert!(!includes(&[(Field::City, "Rome")]) && !includes(&[(Field::Phone, "1")]));
    }

    #[test]
    fn a_fingerprint_holds_no_value() {
        let fingerprint = Fingerprint::of(&key(), &[(Field::City, "Paris")].into_iter().collect());
        assert!(!serde_json::to_string(&fingerprint).expect("serialises").contains("Paris"));
    }
}
