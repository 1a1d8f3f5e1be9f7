//! Names of lanes, by which events are assigned to a lane, and a map with names as keys.
//!
//! In: lane keys. Out: hash maps that do not hash them again. Invariant: names of different kinds are never equal. Deliberately absent: the
//! lane of a name ([`super::lanes`]).

use crate::domain::{LaneKey, Seq};
use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};

/// A map from names.
pub(super) type LaneNameMap<V> = HashMap<LaneName, V, BuildHasherDefault<FirstBytes>>;

/// A name, which assigns an event to a lane.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(super) enum LaneName {
    /// A lane key that events have in common.
    LaneKey(LaneKey),
    /// An event that is not fed yet and is marked as a follower of a head in the lane. As bytes, which need no alignment.
    Follower([u8; 8]),
}

impl LaneName {
    /// The name of a marked follower.
    pub fn follower(seq: Seq) -> Self {
        Self::Follower(seq.0.to_le_bytes())
    }
}

/// A hasher that takes the first eight bytes of a name as its hash. Names are bytes of a keyed hash already: they are evenly distributed,
/// and without the hash key nobody can choose names that collide. There are few marked followers.
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
