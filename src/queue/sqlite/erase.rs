//! Erasure: what is held of a user, found by every key that leads to it, and overwritten.
//!
//! A user is reached by a key, and by the further keys of the dead letters, affiliates and waiting events that this key
//! leads to, and so on up to a bound. What stays of an erased event is a dead letter without body and without keys.

use super::keys::Keys;
use super::lane::{self, IS_LEASED, MEMBER, Member, leave};
use super::memory;
use super::users;
use super::writer::Store;
use crate::domain::{HashKey, Timestamp, UserKey};
use crate::queue::Forgotten;
use rusqlite::{Connection, params};

/// The hash behind a user key.
type Hashed = [u8; 16];

/// No more keys than this are followed from one user: what many share (a company's address, say) names nobody.
const MOST_KEYS: usize = 256;

/// Erases the links of `keys`, and the bodies of the dead letters that these keys, and one another's, lead to.
pub fn erase(store: &mut Store, keys: Vec<Hashed>) -> rusqlite::Result<()> {
    let mut reached = keys;
    let mut next = 0;
    while let Some(key) = reached.get(next).copied() {
        next += 1;
        add(&mut reached, beside(&store.connection, &key)?);
    }
    for key in &reached {
        mislay(store, key)?;
        blank(&store.connection, key)?;
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

/// What kind of key it is, only the tables know.
fn kinds(key: Hashed) -> [UserKey; 2] {
    [UserKey::UserId(key), UserKey::Email(key)]
}

/// From now on, the key leads nowhere; how many links that were.
fn mislay(store: &mut Store, key: &Hashed) -> rusqlite::Result<u64> {
    kinds(*key).iter().try_fold(0, |links, key| Ok(links + u64::from(users::mislay(store, key)?)))
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
    affiliates: Vec<i64>,
    lanes: Vec<i64>,
}

/// Erases everything held of the user with these keys, but for events that are being carried out.
pub fn forget(store: &mut Store, hash: &HashKey, users: &[UserKey], now: Timestamp) -> rusqlite::Result<Forgotten> {
    let reach = reach(store, hash, users)?;
    let mut forgotten = Forgotten::default();
    for lane in reach.lanes {
        for Waiting { seq, under_way, event } in waiting(&store.connection, lane)? {
            if under_way {
                forgotten.under_way += 1;
            } else {
                bury(store, seq, now)?;
                lane::hold(&store.connection, seq)?;
                leave(store, seq, &event)?;
                forgotten.events += 1;
            }
        }
    }
    for key in &reach.keys {
        forgotten.dead_letters += blank(&store.connection, key)? as u64;
        forgotten.links += mislay(store, key)?;
    }
    for affiliate in reach.affiliates {
        forgotten.affiliates += memory::forget(&store.connection, affiliate)? as u64;
    }
    Ok(forgotten)
}

fn reach(store: &Store, hash: &HashKey, users: &[UserKey]) -> rusqlite::Result<Reach> {
    let mut reach = Reach { keys: users.iter().map(|key| *key.bytes()).collect(), ..Reach::default() };
    let mut next = 0;
    while let Some(key) = reach.keys.get(next).copied() {
        next += 1;
        add(&mut reach.keys, beside(&store.connection, &key)?);
        let mut keys = Keys::new(&kinds(key));
        for affiliate in affiliates(store, &keys)? {
            keys.add_affiliate(&memory::key(&store.connection, hash, affiliate)?);
            let leading = users::leading_to(store, affiliate)?;
            add(&mut reach.keys, leading.iter().map(|key| *key.bytes()).collect());
            if !reach.affiliates.contains(&affiliate) {
                reach.affiliates.push(affiliate);
            }
        }
        for (row, entry) in keys.entries() {
            let lane = users::find(store, row, entry)?.and_then(|user| user.lane);
            if let Some(lane) = lane.filter(|lane| !reach.lanes.contains(lane)) {
                let users =
                    waiting(&store.connection, lane)?.into_iter().flat_map(|waiting| waiting.event.keys.users());
                add(&mut reach.keys, users.map(|key| *key.bytes()).collect());
                reach.lanes.push(lane);
            }
        }
    }
    Ok(reach)
}

/// The rows of the affiliates that these keys lead to.
fn affiliates(store: &Store, keys: &Keys) -> rusqlite::Result<Vec<i64>> {
    let mut affiliates = Vec::new();
    for (row, entry) in keys.entries() {
        affiliates.extend(users::find(store, row, entry)?.and_then(|user| user.affiliate));
    }
    Ok(affiliates)
}

/// An event of a lane.
struct Waiting {
    seq: i64,
    /// It is leased: somebody is carrying it out.
    under_way: bool,
    event: Member,
}

fn waiting(connection: &Connection, lane: i64) -> rusqlite::Result<Vec<Waiting>> {
    let sql = format!(
        "SELECT {MEMBER}, seq, {IS_LEASED} FROM events WHERE seq = ?1 AND lane IS NULL
         UNION ALL SELECT {MEMBER}, seq, {IS_LEASED} FROM events WHERE lane = ?1"
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let events = statement
        .query_map([lane], |row| Ok(Waiting { seq: row.get(3)?, under_way: row.get(4)?, event: Member::read(row)? }));
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
