//! The table `users`: under which keys events wait, in which lane, and which affiliate a key leads to.
//!
//! A row is there as long as something waits under its key or the key leads to an affiliate. Its place among millions is
//! random, so it is written there late ([`super::recent`]); here it is as it is now. Invariant: a row of another key, were there
//! ever two with the same number, leads nobody astray, for the whole key is compared.

use super::keys::{ENTRY, Keys, user_key};
use super::recent::Row;
use super::writer::Store;
use crate::domain::UserKey;
use rusqlite::{Connection, OptionalExtension, Statement, params};
use serde::{Deserialize, Serialize};

/// What is known of a user under one key.
pub struct User {
    /// The lane in which events wait under the key.
    pub lane: Option<i64>,
    /// The row of the affiliate that the key leads to.
    pub affiliate: Option<i64>,
}

/// A row.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Kept {
    /// How many events wait under the key.
    waiting: u32,
    /// None if nothing waits.
    lane: Option<i64>,
    affiliate: Option<i64>,
    /// The whole key, if it leads to an affiliate.
    entry: Option<[u8; ENTRY]>,
}

impl Kept {
    fn is_of(&self, entry: &[u8]) -> bool {
        self.entry.as_ref().is_some_and(|own| own == entry)
    }

    fn seen_by(&self, entry: &[u8]) -> User {
        User { lane: self.lane, affiliate: self.affiliate.filter(|_| self.is_of(entry)) }
    }

    /// It leads to `affiliate`.
    pub fn lead(&mut self, entry: &[u8], affiliate: i64) {
        (self.affiliate, self.entry) = (Some(affiliate), entry.try_into().ok());
    }

    fn if_needed(self) -> Option<Self> {
        (self.waiting > 0 || self.affiliate.is_some()).then_some(self)
    }
}

impl Row for Kept {
    type Key = i64;

    const FIRST: i64 = i64::MIN;

    const WRITE: &'static str = "INSERT INTO users (key, waiting, lane, affiliate, entry) VALUES (?1, ?2, ?3, ?4, ?5)
        ON CONFLICT (key) DO UPDATE SET waiting = ?2, lane = ?3, affiliate = ?4, entry = ?5";

    fn keys(connection: &Connection, from: i64, most: u32) -> rusqlite::Result<Vec<i64>> {
        let mut statement = connection.prepare_cached("SELECT key FROM users WHERE key >= ?1 ORDER BY key LIMIT ?2")?;
        statement.query_map(params![from, most], |row| row.get(0))?.collect()
    }

    fn read(connection: &Connection, key: i64) -> rusqlite::Result<Option<Self>> {
        let sql = "SELECT waiting, lane, affiliate, entry FROM users WHERE key = ?1";
        let mut statement = connection.prepare_cached(sql)?;
        let kept = statement.query_row([key], |row| {
            Ok(Self { waiting: row.get(0)?, lane: row.get(1)?, affiliate: row.get(2)?, entry: row.get(3)? })
        });
        kept.optional()
    }

    fn write(&self, statement: &mut Statement<'_>, key: i64) -> rusqlite::Result<()> {
        statement.execute(params![key, self.waiting, self.lane, self.affiliate, self.entry]).map(drop)
    }

    fn remove(connection: &Connection, key: i64) -> rusqlite::Result<()> {
        connection.prepare_cached("DELETE FROM users WHERE key = ?1")?.execute([key]).map(drop)
    }

    fn leads_to(&self) -> Option<i64> {
        self.affiliate
    }
}

/// The user with this key, if anything is known of them.
pub fn find(store: &Store, row: i64, entry: &[u8]) -> rusqlite::Result<Option<User>> {
    Ok(kept(store, row)?.map(|kept| kept.seen_by(entry)))
}

/// The same, for an event that is about to be carried out: it will change the row when it ends.
pub fn fetch(store: &mut Store, row: i64, entry: &[u8]) -> rusqlite::Result<Option<User>> {
    let kept = store.recent.users.fetch(&store.connection, row)?;
    Ok(kept.map(|kept| kept.seen_by(entry)))
}

/// One more event waits under this key, in `lane` unless there is one; the user, if anything was known of them before.
pub fn wait(store: &mut Store, row: i64, entry: &[u8], lane: i64) -> rusqlite::Result<Option<User>> {
    let before = kept(store, row)?;
    let known = before.as_ref().map(|kept| kept.seen_by(entry));
    let before = before.unwrap_or_default();
    let kept = Kept { waiting: before.waiting + 1, lane: before.lane.or(Some(lane)), ..before };
    store.recent.users.put(row, Some(kept));
    Ok(known)
}

/// Whoever waits under this key waits in `lane`.
pub fn relabel(store: &mut Store, row: i64, lane: i64) -> rusqlite::Result<()> {
    if let Some(kept) = kept(store, row)? {
        store.recent.users.put(row, Some(Kept { lane: Some(lane), ..kept }));
    }
    Ok(())
}

/// One event less waits under this key.
pub fn leave(store: &mut Store, row: i64) -> rusqlite::Result<()> {
    if let Some(kept) = kept(store, row)? {
        let waiting = kept.waiting.saturating_sub(1);
        let kept = Kept { waiting, lane: kept.lane.filter(|_| waiting > 0), ..kept };
        store.recent.users.put(row, kept.if_needed());
    }
    Ok(())
}

/// From now on, `key` leads to `affiliate`.
pub fn lead(store: &mut Store, key: &UserKey, affiliate: i64) -> rusqlite::Result<()> {
    for (row, entry) in Keys::new(&[*key]).entries() {
        let mut kept = kept(store, row)?.unwrap_or_default();
        kept.lead(entry, affiliate);
        store.recent.users.put(row, Some(kept));
    }
    Ok(())
}

/// The keys that lead to `affiliate`.
pub fn leading_to(store: &Store, affiliate: i64) -> rusqlite::Result<Vec<UserKey>> {
    let users = &store.recent.users;
    let held = users.leading_to(affiliate).filter_map(|kept| user_key(kept.entry.as_ref()?));
    let mut keys: Vec<UserKey> = held.collect();
    let mut statement = store.connection.prepare_cached("SELECT key, entry FROM users WHERE affiliate = ?1")?;
    let mut rows = statement.query([affiliate])?;
    while let Some(row) = rows.next()? {
        if !users.hides(row.get(0)?) {
            keys.extend(user_key(row.get_ref(1)?.as_blob()?));
        }
    }
    Ok(keys)
}

/// From now on, `key` leads nowhere; whether it led anywhere.
pub fn mislay(store: &mut Store, key: &UserKey) -> rusqlite::Result<bool> {
    let mut led = false;
    for (row, entry) in Keys::new(&[*key]).entries() {
        let Some(kept) = kept(store, row)?.filter(|kept| kept.is_of(entry)) else { continue };
        let kept = Kept { affiliate: None, entry: None, ..kept };
        store.recent.users.put(row, kept.if_needed());
        led = true;
    }
    Ok(led)
}

fn kept(store: &Store, row: i64) -> rusqlite::Result<Option<Kept>> {
    store.recent.users.find(&store.connection, row)
}
