//! A Bloom filter of the user keys and event ids in a block of the log. It shows which blocks may hold the events of a lookup.
//!
//! In: the ids and user keys of successive rows of the log, as stored. Out: 8 KiB to keep beside the log, and whether an id or a key may be
//! in the block. An index of every key would be written at random places, a page for each key; the filters are written in sequence, 4 bytes
//! an event. Invariants: every added key is found; in a full block, one in a hundred other keys is found, too; no key can be read from a
//! filter. The meaning of the bytes never changes, since they are stored. A library (`fastbloom`) promises no format on disk and would hash
//! again: a key is 16 bytes of a keyed hash, so its eight pairs of bytes are the positions of its bits. Deliberately absent: I/O, and the
//! time of making filters, which an engine decides.

use super::user_keys;

/// The rows of a block of the log. With an id and two user keys in each row, a key has 11 bits.
pub const BLOCK_ROWS: i64 = 2_000;

/// The bytes of a filter: a bit for each value of a pair of bytes.
const BYTES: usize = (1 << 16) / 8;

/// The filter of one block.
#[derive(Debug)]
pub struct UserKeyFilter(Vec<u8>);

impl UserKeyFilter {
    /// A filter without keys.
    pub fn new() -> Self {
        Self(vec![0; BYTES])
    }

    /// Adds the id and the keys of a row, as they are stored. An id that cannot be read is left out.
    pub fn add(&mut self, id: &[u8], stored: &[u8]) {
        for key in id.try_into().ok().into_iter().chain(user_keys::hashes(stored)) {
            for (byte, bit) in bit_positions(&key) {
                self.0[byte] |= bit;
            }
        }
    }

    /// The bytes to keep.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }
}

/// Whether one of these ids or user keys may be in the block with this filter. Without a filter the block must be read.
pub fn may_hold(kept: Option<&[u8]>, keys: &[[u8; 16]]) -> bool {
    let has =
        |kept: &[u8], key| bit_positions(key).all(|(byte, bit)| kept.get(byte).is_none_or(|kept| kept & bit != 0));
    kept.is_none_or(|kept| keys.iter().any(|key| has(kept, key)))
}

/// The positions of a key's bits: for each, the byte, and the bit in it.
fn bit_positions(key: &[u8; 16]) -> impl Iterator<Item = (usize, u8)> {
    let (pairs, _) = key.as_chunks::<2>();
    pairs.iter().map(|pair| {
        let place = usize::from(u16::from_be_bytes(*pair));
        (place / 8, 1 << (place % 8))
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{AccountName, HashKey, UserKey};

    fn users(from: u32, count: u32) -> Vec<[UserKey; 2]> {
        let (hash, account) = (HashKey::new(&[7; 32]), AccountName::main());
        let of = |kind: &str, n: u32| hash.event_by_message_id(&account, &format!("{kind} {n}")).0;
        (from..from + count).map(|n| [UserKey::UserId(of("u", n)), UserKey::Email(of("e", n))]).collect()
    }

    #[test]
    fn every_user_key_of_a_block_is_found_and_few_others() {
        let rows = u32::try_from(BLOCK_ROWS).expect("few");
        let (inside, outside) = (users(0, rows), users(rows, 10 * rows));
        let mut filter = UserKeyFilter::new();
        let (hash, account) = (HashKey::new(&[7; 32]), AccountName::main());
        let ids: Vec<_> = (0..rows).map(|n| hash.event_by_message_id(&account, &format!("id {n}")).0).collect();
        for (id, keys) in ids.iter().zip(&inside) {
            filter.add(id, &user_keys::to_blob(keys));
        }
        let may_hold = |key: &UserKey| may_hold(Some(filter.as_bytes()), &[*key.bytes()]);
        assert!(inside.iter().flatten().all(may_hold));
        assert!(ids.iter().all(|id| super::may_hold(Some(filter.as_bytes()), &[*id])));
        let wrong = outside.iter().flatten().filter(|key| may_hold(key)).count();
        assert!(wrong < 2 * outside.len() / 100, "{wrong} of {}", 2 * outside.len());
    }

    #[test]
    fn a_block_without_a_filter_is_to_be_read_and_one_without_keys_is_not() {
        let filter = UserKeyFilter::new();
        assert!(may_hold(None, &[[0; 16]]));
        assert!(!may_hold(Some(filter.as_bytes()), &[[0; 16]]));
        assert!(may_hold(Some(&filter.as_bytes()[..9]), &[[255; 16]]), "it is damaged");
    }

    #[test]
    fn the_bytes_of_a_filter_keep_their_meaning() {
        let mut filter = UserKeyFilter::new();
        let key = [0, 0, 0, 9, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 255, 255];
        filter.add(b"no id", &user_keys::to_blob(&[UserKey::UserId(key)]));
        let set: Vec<(usize, u8)> =
            filter.as_bytes().iter().copied().enumerate().filter(|(_, byte)| *byte > 0).collect();
        assert_eq!(set, [(0, 1), (1, 2), (32, 1), (8_191, 128)]);
    }
}
