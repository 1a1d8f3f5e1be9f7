//! The user keys of an event as one blob: per key a tag and its 16 bytes.
//!
//! Besides the two kinds of [`UserKey`] there is a third, the affiliate the user was known to lead to when the event was
//! recorded, so that two events of one affiliate share a lane even if one names the `userId` and the other the e-mail.
//! Lanes are kept by the first 8 bytes: should two keys ever coincide there, two users merely wait for each other.

use crate::domain::UserKey;

const TAG_USER_ID: u8 = 1;
const TAG_EMAIL: u8 = 2;
const TAG_AFFILIATE: u8 = 3;
const ENTRY: usize = 17;

/// The keys of one event, as stored.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Keys(Vec<u8>);

impl Keys {
    /// The keys of an event and of the affiliates they lead to.
    pub fn new(users: &[UserKey], affiliates: &[[u8; 16]]) -> Self {
        let tagged = users.iter().map(|key| match key {
            UserKey::UserId(bytes) => (TAG_USER_ID, bytes),
            UserKey::Email(bytes) => (TAG_EMAIL, bytes),
        });
        let all = tagged.chain(affiliates.iter().map(|bytes| (TAG_AFFILIATE, bytes)));
        Self(all.flat_map(|(tag, bytes)| std::iter::once(tag).chain(*bytes)).collect())
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
        let of = |entry: &[u8]| {
            let bytes = <[u8; 16]>::try_from(&entry[1..]).ok()?;
            match entry[0] {
                TAG_USER_ID => Some(UserKey::UserId(bytes)),
                TAG_EMAIL => Some(UserKey::Email(bytes)),
                _ => None,
            }
        };
        self.0.chunks_exact(ENTRY).filter_map(of).collect()
    }

    /// The lane keys of all of them.
    pub fn lanes(&self) -> Vec<i64> {
        let of = |entry: &[u8]| {
            let tag = i64::from(entry[0]).wrapping_mul(0x0101_0101_0101_0101);
            i64::from_be_bytes(std::array::from_fn(|i| entry[i + 1])) ^ tag
        };
        self.0.chunks_exact(ENTRY).map(of).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_survive_the_blob() {
        let users = [UserKey::UserId([1; 16]), UserKey::Email([2; 16])];
        let keys = Keys::new(&users, &[[3; 16]]);
        let read = Keys::from_blob(keys.as_blob().to_vec());
        assert_eq!(read.users(), users);
        assert_eq!(read.lanes().len(), 3);
    }

    #[test]
    fn kinds_with_equal_bytes_have_lanes_of_their_own() {
        let lanes = Keys::new(&[UserKey::UserId([1; 16]), UserKey::Email([1; 16])], &[[1; 16]]).lanes();
        assert!(lanes[0] != lanes[1] && lanes[1] != lanes[2] && lanes[0] != lanes[2]);
    }
}
