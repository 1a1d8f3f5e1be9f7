//! Names of lanes: what events of one user have in common, and a map from that.
//!
//! In: keys. Out: hash maps that do not hash them again. Invariant: names of different kinds are never equal. Deliberately absent:
//! the lane of a name, which is [`super::lanes`]'.

use crate::domain::{LaneKey, Seq};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from names.
pub(super) type NameMap<V> = HashMap<Name, V, BuildHasherDefault<FirstBytes>>;

/// What assigns an event to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum Name {
    /// A key that events have in common.
    LaneKey(LaneKey),
    /// An event that is still to be fed and is marked to follow a head in the lane. As bytes, which need no alignment.
    Follower([u8; 8]),
}

impl Name {
    /// The name of a marked follower.
    pub fn follower(seq: Seq) -> Self {
        Self::Follower(seq.0.to_le_bytes())
    }
}

/// Takes the first eight bytes of what is hashed as its hash. The names are bytes of a keyed hash already: evenly distributed,
/// and without the key they cannot be chosen so that they collide. The numbers of marked followers are few.
#[derive(Debug, Default)]
pub(super) struct FirstBytes(u64);

impl Hasher for FirstBytes {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        self.0 = bytes.first_chunk().map_or(0, |first| u64::from_le_bytes(*first));
    }

    fn write_isize(&mut self, _discriminant: isize) {}

    fn write_usize(&mut self, _length: usize) {}
}
