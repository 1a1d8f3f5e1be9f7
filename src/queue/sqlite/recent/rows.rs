//! Rows of one table that changed lately: held in memory until they are written to their places.
//!
//! In go changes, out come rows as they are now, wherever they stand; what is fetched to be changed is held as well.
//! Invariants: what is held here is no older than what its place holds, and hides it; a transaction that fails leaves the
//! rows as they were. Deliberately absent: durability, which is [`super`]'s.

use super::places::Places;
use rusqlite::{Connection, Statement};
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::cell::Cell;
use std::collections::BTreeMap;
use std::hash::Hash;
use std::ops::Bound;

/// A row of a table whose rows lie at random places.
pub trait Row: Clone + Serialize + DeserializeOwned {
    /// What the row is found by.
    type Key: Copy + Ord + Hash + Serialize + DeserializeOwned;

    /// The least of all keys.
    const FIRST: Self::Key;

    /// The statement that writes a row to its place, over what may be there.
    const WRITE: &'static str;

    /// The keys of up to `most` rows in their places, in their order, beginning with `from`.
    fn keys(connection: &Connection, from: Self::Key, most: u32) -> rusqlite::Result<Vec<Self::Key>>;

    /// Reads the row in its place.
    fn read(connection: &Connection, key: Self::Key) -> rusqlite::Result<Option<Self>>;

    /// Writes the row to its place with a statement made of [`WRITE`](Self::WRITE).
    fn write(&self, statement: &mut Statement<'_>, key: Self::Key) -> rusqlite::Result<()>;

    /// Removes what may be in the row's place.
    fn remove(connection: &Connection, key: Self::Key) -> rusqlite::Result<()>;

    /// The affiliate that the row leads to.
    fn leads_to(&self) -> Option<i64> {
        None
    }
}

/// A transaction usually changes no more; room for more is not kept.
const USUAL: usize = 1_024;

/// A portion is learned for so many rows that were looked for in vain: as long as none is, as while a backlog drains, nothing is.
const WORTH: u32 = if cfg!(debug_assertions) { 1 } else { 10 };

/// A row as it is now; `None` if there is none any more.
type Now<R> = Option<R>;

/// The rows of one table that are not in their places yet.
#[derive(Debug)]
pub struct Rows<R: Row> {
    held: BTreeMap<R::Key, Now<R>>,
    /// Of each affiliate, the keys of those that lead to it.
    leading: BTreeMap<i64, Vec<R::Key>>,
    /// What the current transaction changed, in order, and what was held before.
    changed: Vec<(R::Key, Option<Now<R>>)>,
    places: Places<R::Key>,
    /// How often a row was looked for in its place that is not there.
    in_vain: Cell<u32>,
}

impl<R: Row> Default for Rows<R> {
    fn default() -> Self {
        Self {
            held: BTreeMap::new(),
            leading: BTreeMap::new(),
            changed: Vec::new(),
            places: Places::new(R::FIRST),
            in_vain: Cell::new(0),
        }
    }
}

impl<R: Row> Rows<R> {
    /// How many are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// The row as it is now.
    pub fn find(&self, connection: &Connection, key: R::Key) -> rusqlite::Result<Now<R>> {
        self.held.get(&key).map_or_else(|| self.in_its_place(connection, key), |row| Ok(row.clone()))
    }

    /// The row as it is now, and held from now on: whoever fetches it will change it soon, and its place is not read again.
    pub fn fetch(&mut self, connection: &Connection, key: R::Key) -> rusqlite::Result<Now<R>> {
        if let Some(row) = self.held.get(&key) {
            return Ok(row.clone());
        }
        let row = self.in_its_place(connection, key)?;
        if row.is_some() {
            self.set(key, Some(row.clone()));
        }
        Ok(row)
    }

    /// Whether the row in its place is not the one that counts.
    pub fn hides(&self, key: R::Key) -> bool {
        self.held.contains_key(&key)
    }

    /// Those held that lead to `affiliate`.
    pub fn leading_to(&self, affiliate: i64) -> impl Iterator<Item = &R> {
        self.leading.get(&affiliate).into_iter().flatten().filter_map(|key| self.held.get(key)?.as_ref())
    }

    /// The row is this from now on.
    pub fn put(&mut self, key: R::Key, row: Now<R>) {
        let before = self.set(key, Some(row));
        self.changed.push((key, before));
    }

    /// What the current transaction changed, as it is now.
    pub fn changes(&self) -> Vec<(R::Key, Now<R>)> {
        let mut keys: Vec<R::Key> = self.changed.iter().map(|(key, _)| *key).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().filter_map(|key| Some((key, self.held.get(&key)?.clone()))).collect()
    }

    /// Holds what a transaction changed that was committed earlier.
    pub fn hold(&mut self, changes: Vec<(R::Key, Now<R>)>) {
        for (key, row) in changes {
            self.set(key, Some(row));
        }
    }

    /// Writes up to `most` of those that come after `key` to their places, in the order of their keys, and holds them no
    /// longer: how many, and the last one.
    pub fn sweep(
        &mut self,
        connection: &Connection,
        after: Option<R::Key>,
        most: usize,
    ) -> rusqlite::Result<(usize, Option<R::Key>)> {
        let after = after.map_or(Bound::Unbounded, Bound::Excluded);
        let begin = self.changed.len();
        let next = self.held.extract_if((after, Bound::Unbounded), |_, _| true).take(most);
        self.changed.extend(next.map(|(key, row)| {
            let swept = Some(row);
            lead(&mut self.leading, key, leads_to(swept.as_ref()), None);
            (key, swept)
        }));
        let mut write = connection.prepare_cached(R::WRITE)?;
        for (key, swept) in &self.changed[begin..] {
            match swept {
                Some(Some(row)) => {
                    self.places.note(*key);
                    row.write(&mut write, *key)?;
                }
                _ if self.places.may_have(*key) => {
                    R::remove(connection, *key)?;
                    self.places.lose(1);
                }
                _ => {}
            }
        }
        Ok((self.changed.len() - begin, self.changed[begin..].last().map(|(key, _)| *key)))
    }

    /// So many rows were removed from their places.
    pub fn lost(&mut self, rows: usize) {
        self.places.lose(rows);
    }

    /// Learns of up to `most` rows that they are in their places, if that is worth it by now; whether more is. Nothing may have
    /// been changed that is not committed.
    pub fn learn(&mut self, connection: &Connection, most: u32) -> rusqlite::Result<bool> {
        if let Some(from) = self.places.unlearned()
            && self.in_vain.get() >= WORTH
        {
            self.in_vain.set(self.in_vain.get() - WORTH);
            let keys = R::keys(connection, from, most)?;
            self.places.learn(&keys, keys.last().copied().filter(|_| keys.len() == most as usize));
        }
        Ok(self.places.unlearned().is_some() && self.in_vain.get() >= WORTH)
    }

    /// The transaction was committed.
    pub fn committed(&mut self) {
        self.changed.clear();
        self.changed.shrink_to(USUAL);
    }

    /// The transaction was rolled back.
    pub fn rolled_back(&mut self) {
        while let Some((key, before)) = self.changed.pop() {
            self.set(key, before);
        }
    }

    fn in_its_place(&self, connection: &Connection, key: R::Key) -> rusqlite::Result<Now<R>> {
        if !self.places.may_have(key) {
            return Ok(None);
        }
        let row = R::read(connection, key)?;
        self.in_vain.set(self.in_vain.get().saturating_add(row.is_none().into()));
        Ok(row)
    }

    fn set(&mut self, key: R::Key, row: Option<Now<R>>) -> Option<Now<R>> {
        let to = leads_to(row.as_ref());
        let before = match row {
            Some(row) => self.held.insert(key, row),
            None => self.held.remove(&key),
        };
        lead(&mut self.leading, key, leads_to(before.as_ref()), to);
        before
    }
}

fn leads_to<R: Row>(held: Option<&Now<R>>) -> Option<i64> {
    held?.as_ref()?.leads_to()
}

/// What is held of `key` led to one affiliate, and leads to another from now on.
fn lead<K: Copy + Eq>(leading: &mut BTreeMap<i64, Vec<K>>, key: K, from: Option<i64>, to: Option<i64>) {
    if from == to {
        return;
    }
    if let Some(affiliate) = from
        && let Some(keys) = leading.get_mut(&affiliate)
    {
        keys.retain(|other| *other != key);
        if keys.is_empty() {
            leading.remove(&affiliate);
        }
    }
    if let Some(affiliate) = to {
        leading.entry(affiliate).or_default().push(key);
    }
}
