//! Which rows may stand in their places, so that nobody looks there for one that does not: of most events that come in,
//! neither the id nor the user was met before, and a million rows do not fit in memory.
//!
//! In go the keys of the rows in their places: those that were there before are learned, a portion at a time, and whatever is
//! written is noted. Out comes whether a row may be there; of a hundred that are not, a few may be. Invariants: a row in its place is
//! never denied, so until all are learned everything may be there; about ten bits are held for each row, and no more than
//! for twice as many rows as there are, beyond [`LEAST`]. Deliberately absent: the rows.

use fastbloom::BloomFilter;
use std::hash::Hash;

/// The part that may be there although it is not, in one layer.
const FALSE: f64 = 0.01;
/// So many rows the first layer is for, and each further one for twice as many as the last. A debug build has small ones, so
/// that tests see several.
const FIRST: usize = if cfg!(debug_assertions) { 4 } else { 65_536 };
/// So many rows that are gone may be held in any case.
const LEAST: usize = if cfg!(debug_assertions) { 8 } else { 500_000 };

/// Which rows of a table may stand in their places.
#[derive(Debug)]
pub struct Places<K> {
    /// The least of all keys.
    first: K,
    layers: Vec<Layer>,
    /// From which key on they are to be learned; none if they were.
    unlearned: Option<K>,
    /// How many keys are held.
    held: usize,
    /// How many rows were removed since they were learned.
    gone: usize,
}

#[derive(Debug)]
struct Layer {
    filter: BloomFilter,
    /// For how many more keys.
    room: usize,
}

impl Layer {
    fn new(room: usize) -> Self {
        let filter = BloomFilter::with_false_pos(FALSE).expected_items(room);
        Self { filter, room }
    }
}

impl<K: Copy + Hash> Places<K> {
    /// Of a table of which nothing is known; `first` is the least of all keys.
    pub fn new(first: K) -> Self {
        Self { first, layers: Vec::new(), unlearned: Some(first), held: 0, gone: 0 }
    }

    /// Whether there may be a row in its place.
    pub fn may_have(&self, key: K) -> bool {
        self.unlearned.is_some() || self.holds(key)
    }

    /// A row is in its place from now on.
    pub fn note(&mut self, key: K) {
        if self.holds(key) {
            return;
        }
        if self.layers.last().is_none_or(|layer| layer.room == 0) {
            self.layers.push(Layer::new(FIRST << self.layers.len()));
        }
        if let Some(layer) = self.layers.last_mut() {
            layer.filter.insert(&key);
            layer.room -= 1;
        }
        self.held += 1;
    }

    /// So many rows are in their places no more. Once these are the most, all is learned anew.
    pub fn lose(&mut self, rows: usize) {
        self.gone += rows;
        if self.gone > LEAST && self.gone > self.held / 2 {
            *self = Self::new(self.first);
        }
    }

    /// From which key on the next rows are to be learned; none if all were.
    pub fn unlearned(&self) -> Option<K> {
        self.unlearned
    }

    /// Learns those that follow, and up to which there were more; the last ones if there is no `next`.
    pub fn learn(&mut self, keys: &[K], next: Option<K>) {
        for key in keys {
            self.note(*key);
        }
        self.unlearned = next;
    }

    fn holds(&self, key: K) -> bool {
        // The latest layers hold the most.
        self.layers.iter().rev().any(|layer| layer.filter.contains(&key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Of a table with the keys from 0 to 99, read ten at a time, as often as it takes.
    fn learned(places: &mut Places<u64>) {
        while let Some(from) = places.unlearned() {
            let keys: Vec<u64> = (from..100).take(10).collect();
            places.learn(&keys, keys.last().copied().filter(|_| keys.len() == 10));
        }
    }

    fn denied(places: &Places<u64>, keys: std::ops::Range<u64>) -> usize {
        keys.filter(|key| !places.may_have(*key)).count()
    }

    #[test]
    fn what_is_there_is_never_denied_and_most_of_what_is_not_is() {
        let mut places = Places::new(0);
        places.note(1_000);
        assert_eq!(denied(&places, 0..9_000), 0, "before all is learned");
        learned(&mut places);
        (1_001..2_000).for_each(|key| places.note(key));
        assert_eq!((denied(&places, 0..100), denied(&places, 1_000..2_000)), (0, 0));
        let denied = denied(&places, 2_000..12_000);
        assert!(denied > 8_500, "{denied} of 10,000");
        let layers = places.layers.len();
        (0..9).for_each(|_| (1_001..2_000).for_each(|key| places.note(key)));
        assert_eq!(places.layers.len(), layers, "what is held already takes no room");
    }

    #[test]
    fn once_most_is_gone_all_is_learned_anew() {
        let mut places = Places::new(0);
        learned(&mut places);
        places.lose(40);
        assert_eq!(places.unlearned(), None);
        places.lose(40);
        assert_eq!((places.unlearned(), places.held), (Some(0), 0));
        learned(&mut places);
        assert_eq!(denied(&places, 0..100), 0);
    }
}
