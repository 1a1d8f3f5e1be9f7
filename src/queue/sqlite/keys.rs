//! The user keys of an event as one blob: per key a tag and its 16 bytes.
//!
//! Besides the two kinds of [`UserKey`] there is a third, the affiliate the user was known to lead to when the event was
//! recorded, so that two events of one affiliate share a lane even if one names the `userId` and the other the e-mail.
//! Users are kept by the tag and the first 8 bytes: should two keys ever coincide there, two users merely wait for each
//! other, and only one of them is remembered.

use crate::domain::UserKey;

const TAG_USER_ID: u8 = 1;
const TAG_EMAIL: u8 = 2;
const TAG_AFFILIATE: u8 = 3;
/// The bytes of one key with its tag.
pub const ENTRY: usize = 17;

/// The keys of one event, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Vec<u8>);

impl Keys {
    /// The keys of an event.
    pub fn new(users: &[UserKey]) -> Self {
        let tagged = users.iter().map(|key| match key {
            UserKey::UserId(bytes) => (TAG_USER_ID, bytes),
            UserKey::Email(bytes) => (TAG_EMAIL, bytes),
        });
        Self(tagged.flat_map(|(tag, bytes)| std::iter::once(tag).chain(*bytes)).collect())
    }

    /// Reads a stored blob.
    pub fn from_blob(blob: Vec<u8>) -> Self {
        Self(blob)
    }

    /// The blob to store.
    pub fn as_blob(&self) -> &[u8] {
        &self.0
    }

    /// The user keys among them.
    pub fn users(&self) -> Vec<UserKey> {
        self.0.chunks_exact(ENTRY).filter_map(user_key).collect()
    }

    /// Each of them, and the number of its row in `users`.
    pub fn entries(&self) -> impl Iterator<Item = (i64, &[u8])> {
        self.0.chunks_exact(ENTRY).map(|entry| {
            let tag = i64::from(entry[0]).wrapping_mul(0x0101_0101_0101_0101);
            (i64::from_be_bytes(std::array::from_fn(|i| entry[i + 1])) ^ tag, entry)
        })
    }

    /// The numbers of their rows in `users`.
    pub fn rows(&self) -> impl Iterator<Item = i64> {
        self.entries().map(|(row, _)| row)
    }

    /// Adds the affiliate that a user leads to, unless it is among them.
    pub fn add_affiliate(&mut self, affiliate: &[u8; 16]) {
        let is_it = |entry: &[u8]| entry[0] == TAG_AFFILIATE && entry[1..] == affiliate[..];
        if !self.0.chunks_exact(ENTRY).any(is_it) {
            self.0.push(TAG_AFFILIATE);
            self.0.extend_from_slice(affiliate);
        }
    }
}

/// The key of an entry as stored, if it is a user's.
pub fn user_key(entry: &[u8]) -> Option<UserKey> {
    let bytes = <[u8; 16]>::try_from(entry.get(1..)?).ok()?;
    match entry[0] {
        TAG_USER_ID => Some(UserKey::UserId(bytes)),
        TAG_EMAIL => Some(UserKey::Email(bytes)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_blob() {
        let users = [UserKey::UserId([1; 16]), UserKey::Email([2; 16])];
        let mut keys = Keys::new(&users);
        keys.add_affiliate(&[3; 16]);
        keys.add_affiliate(&[3; 16]);
        let read = Keys::from_blob(keys.as_blob().to_vec());
        assert_eq!(read.users(), users);
        assert_eq!(read.rows().count(), 3);
    }

    #[test]
    fn kinds_with_equal_bytes_have_rows_of_their_own() {
        let mut keys = Keys::new(&[UserKey::UserId([1; 16]), UserKey::Email([1; 16])]);
        keys.add_affiliate(&[1; 16]);
        let rows: Vec<i64> = keys.rows().collect();
        assert!(rows[0] != rows[1] && rows[1] != rows[2] && rows[0] != rows[2]);
    }
}
