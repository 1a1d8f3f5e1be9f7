//! The stored form of user keys: for each a tag byte and the 16 bytes of its hash.
//!
//! In: [`UserKey`]s. Out: blobs, and back. Besides the two kinds of user keys, the table `links` has a third kind of key: the affiliate key
//! ([`HashKey::affiliate`](crate::domain::HashKey::affiliate)), by which its row is found without an index on account and code. Invariant:
//! a blob of another format is refused, never read in part.

use crate::domain::{AccountName, AffiliateCode, HashKey, UserKey};

/// The tag of a `userId`.
pub const USER_ID: u8 = 1;
/// The tag of an e-mail address.
pub const EMAIL: u8 = 2;
/// The tag of an affiliate key.
pub const AFFILIATE: u8 = 3;

/// The bytes of a user key or an affiliate key, with its tag.
pub type TaggedKey = [u8; 17];

/// The key with its tag.
pub fn tagged(key: &UserKey) -> TaggedKey {
    match key {
        UserKey::UserId(bytes) => with_tag(USER_ID, bytes),
        UserKey::Email(bytes) => with_tag(EMAIL, bytes),
    }
}

/// These bytes with this tag.
pub fn with_tag(tag: u8, bytes: &[u8; 16]) -> TaggedKey {
    std::array::from_fn(|i| if i == 0 { tag } else { bytes[i - 1] })
}

/// The hash of the affiliate of `account` with this code.
pub fn affiliate_hash(hash: &HashKey, account: &AccountName, code: &AffiliateCode) -> [u8; 16] {
    hash.affiliate(account.as_str(), &code.0)
}

/// The same with its tag.
pub fn of_affiliate(hash: &HashKey, account: &AccountName, code: &AffiliateCode) -> TaggedKey {
    with_tag(AFFILIATE, &affiliate_hash(hash, account, code))
}

/// The blob of all keys of an event.
pub fn to_blob(keys: &[UserKey]) -> Vec<u8> {
    keys.iter().flat_map(tagged).collect()
}

/// The keys in a blob; `None` if it has another format.
pub fn from_blob(blob: &[u8]) -> Option<Vec<UserKey>> {
    let (keys, rest) = blob.as_chunks::<17>();
    let keys = keys.iter().map(untagged).collect::<Option<Vec<_>>>()?;
    rest.is_empty().then_some(keys)
}

/// The hashes in a blob, whatever their tags. What is no whole key is left out.
pub fn hashes(blob: &[u8]) -> impl Iterator<Item = [u8; 16]> + '_ {
    blob.as_chunks::<17>().0.iter().map(|key| std::array::from_fn(|i| key[i + 1]))
}

fn untagged(key: &TaggedKey) -> Option<UserKey> {
    let bytes = std::array::from_fn(|i| key[i + 1]);
    match key[0] {
        USER_ID => Some(UserKey::UserId(bytes)),
        EMAIL => Some(UserKey::Email(bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_blob() {
        let keys = vec![UserKey::UserId([1; 16]), UserKey::Email([2; 16])];
        assert_eq!(hashes(&to_blob(&keys)).collect::<Vec<_>>(), [[1; 16], [2; 16]]);
        assert_eq!(from_blob(&to_blob(&keys)), Some(keys));
        assert_eq!(from_blob(&[]), Some(Vec::new()), "of a user who was forgotten");
    }

    #[test]
    fn a_blob_of_another_length_or_with_another_tag_is_refused() {
        let whole = to_blob(&[UserKey::UserId([1; 16])]);
        for blob in
            [&whole[..16], &[whole.as_slice(), &[1]].concat(), &with_tag(AFFILIATE, &[1; 16]), &with_tag(0, &[1; 16])]
        {
            assert_eq!(from_blob(blob), None);
        }
    }
}
