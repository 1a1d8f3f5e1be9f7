//! The deduplication index: the event ids of the log in memory, with their seqs. It makes receiving an event idempotent (idempotency by
//! event id).
//!
//! In: ids with their seqs, in the order of their seqs. Out: the candidates of an id: the seqs at which it may be, the newest first. An id
//! is kept as 32 of its bits, so each candidate must be checked against the log. Entries are in generations of hash tables. A table is
//! allocated once, so no rehash stalls a commit. If more memory is used than allowed, the next compaction evicts the oldest generation as a
//! whole. Its ids stay known: they are in the table `older_ids`. Invariant: an id that was inserted and neither removed nor evicted is among
//! the candidates. Deliberately absent: any I/O; the time for which an id is kept, `STORE_DEDUPLICATION_WINDOW` (`24h`), which compaction
//! enforces; and the decision about a repeat (`store/append_decision.rs`).

use crate::domain::EventId;
use hashbrown::HashTable;

/// An id in 8 bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct IdEntry {
    fingerprint: u32,
    /// The seq, counted from the first seq of its generation.
    offset: u32,
}

impl IdEntry {
    /// A hash of the entry only, so that a table can be rebuilt.
    fn hash(self) -> u64 {
        hash(self.fingerprint)
    }
}

fn hash(fingerprint: u32) -> u64 {
    u64::from(fingerprint).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

/// The bits of an id by which it is found. Ids are keyed hashes, so any of their bits are suitable.
pub fn fingerprint(id: &EventId) -> u32 {
    let [first, second, third, fourth, ..] = id.0;
    u32::from_be_bytes([first, second, third, fourth])
}

/// A generation: the ids of successive seqs.
#[derive(Debug)]
struct IdGeneration {
    first: i64,
    last: i64,
    entries: HashTable<IdEntry>,
    capacity: usize,
}

impl IdGeneration {
    fn new(first: i64, capacity: usize) -> Self {
        let entries = HashTable::with_capacity(capacity);
        Self { first, last: first, capacity: entries.capacity(), entries }
    }

    fn takes(&self, seq: i64) -> bool {
        self.entries.len() < self.capacity && u32::try_from(seq - self.first).is_ok()
    }

    /// Inserts an id. The caller has checked that the generation can hold the seq.
    fn insert(&mut self, fingerprint: u32, seq: i64) {
        let Ok(offset) = u32::try_from(seq - self.first) else { return };
        let entry = IdEntry { fingerprint, offset };
        self.entries.insert_unique(entry.hash(), entry, |entry| entry.hash());
        self.last = self.last.max(seq);
    }

    fn seqs(&self, fingerprint: u32) -> impl Iterator<Item = i64> + '_ {
        let same = self.entries.iter_hash(hash(fingerprint)).filter(move |entry| entry.fingerprint == fingerprint);
        same.map(|entry| self.first + i64::from(entry.offset))
    }

    fn all(&self) -> impl Iterator<Item = (u32, i64)> + '_ {
        self.entries.iter().map(|entry| (entry.fingerprint, self.first + i64::from(entry.offset)))
    }

    fn memory(&self) -> usize {
        self.entries.allocation_size()
    }
}

/// The entries of the first generation of an empty store: 32 KiB.
const MIN_GENERATION: usize = 3_584;

/// Two neighbouring generations with fewer entries than this in all are merged; the rebuild takes some milliseconds.
const MERGED: usize = 50_000;

/// Event ids in memory.
#[derive(Debug)]
pub struct IdIndex {
    /// The generations, the oldest first; their seqs do not overlap.
    generations: Vec<IdGeneration>,
    /// The memory that the index may use, in bytes.
    allowed: usize,
}

impl IdIndex {
    /// An empty index for at most `allowed` bytes. `expected` ids will be inserted at once.
    pub fn new(allowed: usize, expected: usize) -> Self {
        let mut index = Self { generations: Vec::new(), allowed };
        if expected > 0 {
            let capacity = expected.clamp(MIN_GENERATION, index.max_generation());
            index.generations.push(IdGeneration::new(0, capacity));
        }
        index
    }

    /// The most ids of a generation: a sixth of the allowed memory, as a power of two of buckets of 9 bytes, of which seven in eight are
    /// used.
    fn max_generation(&self) -> usize {
        let buckets = (self.allowed / 6 / 9).max(2);
        ((1 << buckets.ilog2()) / 8 * 7).max(MIN_GENERATION)
    }

    /// Inserts an id. Its seq must be above the seqs of all others.
    pub fn insert(&mut self, id: &EventId, seq: i64) {
        if !self.generations.last().is_some_and(|open| open.entries.is_empty() || open.takes(seq)) {
            let capacity = self.len().clamp(MIN_GENERATION, self.max_generation());
            self.generations.push(IdGeneration::new(seq, capacity));
        }
        let Some(open) = self.generations.last_mut() else { return };
        if open.entries.is_empty() {
            (open.first, open.last) = (seq, seq);
        }
        open.insert(fingerprint(id), seq);
    }

    /// The seqs at which the id may be in the log, the newest first.
    pub fn candidates(&self, id: &EventId) -> Vec<i64> {
        let fingerprint = fingerprint(id);
        let mut found: Vec<i64> = self.generations.iter().flat_map(|one| one.seqs(fingerprint)).collect();
        found.sort_unstable_by(|a, b| b.cmp(a));
        found
    }

    /// Removes an id that [`IdIndex::insert`] inserted.
    pub fn remove(&mut self, id: &EventId, seq: i64) {
        let at = self.generations.partition_point(|one| one.last < seq);
        let Some(one) = self.generations.get_mut(at) else { return };
        let Ok(offset) = u32::try_from(seq - one.first) else { return };
        let entry = IdEntry { fingerprint: fingerprint(id), offset };
        if let Ok(found) = one.entries.find_entry(entry.hash(), |own| *own == entry) {
            found.remove();
            self.shrink(at);
        }
    }

    /// Frees the memory of a generation that lost most of its entries, and merges it with an older one if both are small.
    fn shrink(&mut self, at: usize) {
        let closed = at + 1 < self.generations.len();
        let one = &mut self.generations[at];
        if !closed || one.entries.len() > one.capacity / 4 {
            return;
        }
        if one.entries.is_empty() {
            self.generations.remove(at);
            return;
        }
        one.entries.shrink_to_fit(|entry| entry.hash());
        one.capacity = one.entries.capacity();
        let fits = |older: &IdGeneration, one: &IdGeneration| {
            older.entries.len() + one.entries.len() < MERGED && u32::try_from(one.last - older.first).is_ok()
        };
        if at > 0 && fits(&self.generations[at - 1], &self.generations[at]) {
            let one = self.generations.remove(at);
            let older = &mut self.generations[at - 1];
            for (fingerprint, seq) in one.all() {
                older.insert(fingerprint, seq);
            }
            older.capacity = older.entries.capacity();
        }
    }

    /// The entries of the oldest generation, by fingerprint, and its last seq, if more memory is used than allowed. The caller writes them
    /// to the disk, and then drops them here.
    pub fn to_evict(&self) -> Option<(Vec<(u32, i64)>, i64)> {
        let oldest = self.generations.first().filter(|_| self.generations.len() > 1 && self.memory() > self.allowed)?;
        let mut entries: Vec<(u32, i64)> = oldest.all().collect();
        entries.sort_unstable();
        Some((entries, oldest.last))
    }

    /// Drops the generations whose seqs are all up to `last`.
    pub fn drop_up_to(&mut self, last: i64) {
        self.generations.retain(|one| one.last > last);
    }

    /// The number of ids.
    pub fn len(&self) -> usize {
        self.generations.iter().map(|one| one.entries.len()).sum()
    }

    /// The bytes that its tables take.
    pub fn memory(&self) -> usize {
        self.generations.iter().map(IdGeneration::memory).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeMap;

    fn id(n: u32) -> EventId {
        let bytes = n.wrapping_mul(2_654_435_761).to_be_bytes();
        EventId(std::array::from_fn(|i| bytes[i % 4]))
    }

    fn filled(allowed: usize, ids: u32) -> IdIndex {
        let mut index = IdIndex::new(allowed, 0);
        (0..ids).for_each(|n| index.insert(&id(n), i64::from(n)));
        index
    }

    #[test]
    fn no_table_is_ever_rebuilt_by_an_insertion() {
        let mut index = IdIndex::new(1 << 20, 0);
        let mut before = 0;
        for n in 0..50_000 {
            index.insert(&id(n), i64::from(n));
            let memory = index.generations.last().map_or(0, IdGeneration::memory);
            let opened = index.generations.last().is_some_and(|open| open.entries.len() == 1);
            assert!(opened || memory == before, "at {n}");
            before = memory;
        }
    }

    #[test]
    fn the_oldest_ids_are_moved_out_sorted_when_more_memory_is_used_than_allowed() {
        let mut index = filled(1 << 20, 200_000);
        let mut moved = Vec::new();
        while let Some((entries, last)) = index.to_evict() {
            assert!(entries.is_sorted());
            moved.extend(entries);
            index.drop_up_to(last);
        }
        assert!(index.memory() <= 1 << 20, "{}", index.memory());
        assert!(index.memory() > 1 << 19, "as many as fit stay");
        assert_eq!(index.len() + moved.len(), 200_000);
        let left = u32::try_from(moved.len()).expect("few");
        assert!((0..200_000).all(|n| index.candidates(&id(n)).is_empty() == (n < left)));
    }

    #[test]
    fn removed_ids_give_their_memory_back_although_some_of_each_generation_stay() {
        let mut index = filled(1 << 20, 100_000);
        (0..100_000).filter(|n| n % 1_000 != 0).for_each(|n| index.remove(&id(n), i64::from(n)));
        assert_eq!(index.len(), 100);
        assert!(index.generations.len() <= 2, "{}", index.generations.len());
        assert!((0..100).all(|n| index.candidates(&id(n * 1_000)) == [i64::from(n) * 1_000]));
    }

    #[test]
    fn an_expected_number_of_ids_takes_one_generation() {
        let (mut index, first) = (IdIndex::new(64 << 20, 500_000), i64::from(u32::MAX) + 9);
        (0..500_000).for_each(|n| index.insert(&id(n), first + i64::from(n)));
        assert_eq!((index.generations.len(), index.len()), (1, 500_000));
        assert_eq!(index.candidates(&id(499_999)), [first + 499_999]);
        assert!(index.memory() < 10 << 20, "{}", index.memory());
    }

    proptest! {
        #[test]
        fn the_index_agrees_with_a_plain_map(steps in proptest::collection::vec((any::<bool>(), 0..300_u32, 1..200_i64), 1..400)) {
            let mut index = IdIndex::new(0, 0);
            let mut model: BTreeMap<u32, Vec<i64>> = BTreeMap::new();
            let mut seq = 0;
            for (inserts, n, gap) in steps {
                if inserts {
                    seq += gap << 24;
                    index.insert(&id(n), seq);
                    model.entry(n).or_default().insert(0, seq);
                } else if let Some(removed) = model.get_mut(&n).and_then(Vec::pop) {
                    index.remove(&id(n), removed);
                }
            }
            for n in 0..300 {
                prop_assert_eq!(index.candidates(&id(n)), model.remove(&n).unwrap_or_default());
            }
        }
    }
}
