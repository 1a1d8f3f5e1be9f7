//! Erasure: what is held of a user, found by every key that leads to it, and overwritten.
//!
//! A user is reached by a key, and by the further keys of the dead letters, affiliates and waiting events that this key
//! leads to, and so on up to a bound. What stays of an erased event is a dead letter without body and without keys.

use super::keys::Keys;
use super::lane::{Leased, leave};
use super::writer::Store;
use crate::domain::{HashKey, Timestamp, UserKey};
use crate::queue::Forgotten;
use rusqlite::{Connection, OptionalExtension, params};

/// The hash behind a user key.
type Hashed = [u8; 16];

/// No more keys than this are followed from one user: what many share (a company's address, say) names nobody.
const MOST_KEYS: usize = 256;

/// Erases the links of `keys`, and the bodies of the dead letters that these keys, and one another's, lead to.
pub fn erase(connection: &Connection, keys: Vec<Hashed>) -> rusqlite::Result<()> {
    let mut reached = keys;
    let mut next = 0;
    while let Some(key) = reached.get(next).copied() {
        next += 1;
        add(&mut reached, beside(connection, &key)?);
    }
    for key in &reached {
        connection.prepare_cached("DELETE FROM links WHERE key = ?1")?.execute([key.as_slice()])?;
        blank(connection, key)?;
    }
    Ok(())
}

fn add(reached: &mut Vec<Hashed>, more: Vec<Hashed>) {
    for key in more {
        if reached.len() < MOST_KEYS && !reached.contains(&key) {
            reached.push(key);
        }
    }
}

/// The keys of the dead letters that have this key.
fn beside(connection: &Connection, key: &Hashed) -> rusqlite::Result<Vec<Hashed>> {
    let sql = "SELECT beside.key FROM dead_keys AS own JOIN dead_keys AS beside USING (seq) WHERE own.key = ?1";
    connection.prepare_cached(sql)?.query_map([key.as_slice()], |row| row.get(0))?.collect()
}

/// Erases the bodies of the dead letters with this key, and whose they were; says of how many.
fn blank(connection: &Connection, key: &Hashed) -> rusqlite::Result<usize> {
    let sql = "UPDATE dead_letters SET body = NULL, keys = NULL
               WHERE seq IN (SELECT seq FROM dead_keys WHERE key = ?1) AND body IS NOT NULL";
    let blanked = connection.prepare_cached(sql)?.execute([key.as_slice()])?;
    let sql = "DELETE FROM dead_keys WHERE seq IN (SELECT seq FROM dead_keys WHERE key = ?1)";
    connection.prepare_cached(sql)?.execute([key.as_slice()])?;
    Ok(blanked)
}

/// All that leads to a user.
#[derive(Default)]
struct Reach {
    keys: Vec<Hashed>,
    affiliates: Vec<(String, String)>,
    lanes: Vec<i64>,
}

/// Erases everything held of the user with these keys, but for events that are being carried out.
pub fn forget(store: &mut Store, hash: &HashKey, users: &[UserKey], now: Timestamp) -> rusqlite::Result<Forgotten> {
    let reach = reach(&store.connection, hash, users)?;
    let mut forgotten = Forgotten::default();
    for lane in reach.lanes {
        for Waiting { seq, id, under_way, event } in waiting(&store.connection, lane)? {
            if under_way {
                forgotten.under_way += 1;
            } else {
                bury(store, seq, now)?;
                leave(store, seq, &id, &event)?;
                forgotten.events += 1;
            }
        }
    }
    let connection = &store.connection;
    for key in &reach.keys {
        forgotten.dead_letters += blank(connection, key)? as u64;
        let links = connection.prepare_cached("DELETE FROM links WHERE key = ?1")?.execute([key.as_slice()])?;
        forgotten.links += links as u64;
    }
    for (account, code) in reach.affiliates {
        let sql = "DELETE FROM affiliates WHERE account = ?1 AND code = ?2";
        forgotten.affiliates += connection.prepare_cached(sql)?.execute([account, code])? as u64;
    }
    Ok(forgotten)
}

fn reach(connection: &Connection, hash: &HashKey, users: &[UserKey]) -> rusqlite::Result<Reach> {
    let mut reach = Reach { keys: users.iter().map(|key| *key.bytes()).collect(), ..Reach::default() };
    let mut next = 0;
    while let Some(key) = reach.keys.get(next).copied() {
        next += 1;
        add(&mut reach.keys, beside(connection, &key)?);
        // What kind of key it is, only its lane knows.
        let mut keys = Keys::new(&[UserKey::UserId(key), UserKey::Email(key)], &[]);
        let mut link = connection.prepare_cached("SELECT account, code FROM links WHERE key = ?1")?;
        let affiliate: Option<(String, String)> =
            link.query_row([key.as_slice()], |row| Ok((row.get(0)?, row.get(1)?))).optional()?;
        if let Some((account, code)) = affiliate.filter(|affiliate| !reach.affiliates.contains(affiliate)) {
            keys = Keys::new(&[UserKey::UserId(key), UserKey::Email(key)], &[hash.affiliate(&account, &code)]);
            let mut links = connection.prepare_cached("SELECT key FROM links WHERE account = ?1 AND code = ?2")?;
            let leading = links.query_map([&account, &code], |row| row.get(0))?;
            add(&mut reach.keys, leading.collect::<rusqlite::Result<_>>()?);
            reach.affiliates.push((account, code));
        }
        for lane in keys.lanes() {
            let mut of = connection.prepare_cached("SELECT lane FROM lanes WHERE key = ?1")?;
            let lane: Option<i64> = of.query_row([lane], |row| row.get(0)).optional()?;
            if let Some(lane) = lane.filter(|lane| !reach.lanes.contains(lane)) {
                let users = waiting(connection, lane)?.into_iter().flat_map(|waiting| waiting.event.keys.users());
                add(&mut reach.keys, users.map(|key| *key.bytes()).collect());
                reach.lanes.push(lane);
            }
        }
    }
    Ok(reach)
}

/// An event of a lane.
struct Waiting {
    seq: i64,
    id: [u8; 16],
    /// It is leased: somebody is carrying it out.
    under_way: bool,
    event: Leased,
}

fn waiting(connection: &Connection, lane: i64) -> rusqlite::Result<Vec<Waiting>> {
    let sql = "SELECT seq, id, lease, account, lane, keys, received_at FROM events WHERE lane = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let events = statement.query_map([lane], |row| {
        let event = Leased {
            account: row.get(3)?,
            lane: row.get(4)?,
            keys: Keys::from_blob(row.get(5)?),
            received_at: row.get(6)?,
        };
        Ok(Waiting { seq: row.get(0)?, id: row.get(1)?, under_way: row.get::<_, i64>(2)? == 1, event })
    });
    events?.collect()
}

/// Keeps of a waiting event that it was, and how it ended.
fn bury(store: &mut Store, seq: i64, now: Timestamp) -> rusqlite::Result<()> {
    let sql = "INSERT INTO dead_letters (seq, account, id, code, reason, failures, received_at, died_at, history)
               SELECT seq, account, id, 'erased', 'its user was erased while it waited', failures, received_at, ?2, history
               FROM events WHERE seq = ?1";
    store.connection.prepare_cached(sql)?.execute(params![seq, now.0])?;
    store.counts.dead += 1;
    Ok(())
}
