//! Recording one event: is it new, whose line does it join, and is it first there.

use super::keys::Keys;
use super::lane::{self, members};
use super::memory;
use super::seen::{self, Seen};
use super::users::{self, User};
use super::writer::Store;
use crate::domain::{HashKey, UserKey};
use crate::failpoint;
use crate::queue::{NewEvent, Recorded};
use rusqlite::params;

/// Records `event` inside the current transaction.
pub fn record(store: &mut Store, hash: &HashKey, event: &NewEvent) -> rusqlite::Result<Recorded> {
    if seen::find(store, event.id)?.is_some() {
        return Ok(Recorded::Duplicate);
    }
    if event.only_if_known && !is_known(store, event)? {
        return Ok(Recorded::UnknownUser);
    }
    let waiting = store.counts.waiting_of(event.account.as_str());
    let behind = line_up(store, hash, event)?;
    failpoint::step("queue::record");
    Ok(Recorded::Accepted { behind, waiting })
}

/// Records once more an event that was recorded before, as if it had come just now; its place in the order of arrival.
pub fn again(store: &mut Store, hash: &HashKey, event: &NewEvent) -> rusqlite::Result<i64> {
    let seq = store.counts.next_seq;
    line_up(store, hash, event)?;
    Ok(seq)
}

/// Puts an event behind those of its user that wait; whether there are any.
fn line_up(store: &mut Store, hash: &HashKey, event: &NewEvent) -> rusqlite::Result<bool> {
    let seq = store.counts.next_seq;
    store.counts.next_seq += 1;
    seen::note(store, event.id, Seen { at: event.received_at, seq });
    store.counts.come(event.account.as_str());
    let mut keys = Keys::new(&event.keys);
    let mut lanes = join(store, hash, &mut keys, seq)?;
    lanes.sort_unstable();
    lanes.dedup();
    let (mut lane, behind) = (seq, !lanes.is_empty());
    if let Some((oldest, others)) = lanes.split_first() {
        // The oldest line, which likely is the longest, takes in the others.
        lane = *oldest;
        others.iter().try_for_each(|other| merge(store, *other, lane))?;
        keys.rows().try_for_each(|row| users::relabel(store, row, lane))?;
    }
    insert(store, event, &keys, seq, lane)?;
    if !behind {
        let sql = "INSERT INTO ready (account, at, seq) VALUES (?1, ?2, ?3)";
        store.connection.prepare_cached(sql)?.execute((event.account.as_str(), event.received_at.0, seq))?;
    }
    Ok(behind)
}

/// Lets the event `seq` wait under its user's `keys`, and under the affiliates they lead to, which are added; the lanes in
/// which events wait under them already.
fn join(store: &mut Store, hash: &HashKey, keys: &mut Keys, seq: i64) -> rusqlite::Result<Vec<i64>> {
    let mut lanes = Vec::new();
    let mut affiliates = Vec::new();
    for (row, entry) in keys.entries() {
        let Some(User { lane, affiliate }) = users::wait(store, row, entry, seq)? else { continue };
        lanes.extend(lane.filter(|lane| *lane != seq));
        if let Some(affiliate) = affiliate {
            affiliates.push(memory::key(&store.connection, hash, affiliate)?);
        }
    }
    let own = keys.rows().count();
    for affiliate in &affiliates {
        keys.add_affiliate(affiliate);
    }
    for (row, entry) in keys.entries().skip(own) {
        let user = users::wait(store, row, entry, seq)?;
        lanes.extend(user.and_then(|user| user.lane).filter(|lane| *lane != seq));
    }
    Ok(lanes)
}

/// How many events wait in an account whose backlog would grow beyond `max` by these, if there is one. Those recorded before
/// add none; whether they were is only asked where it matters.
pub fn overfull(store: &Store, events: &[NewEvent], max: u64) -> rusqlite::Result<Option<u64>> {
    // No account has more than all of them together.
    if store.counts.waiting + events.len() as u64 <= max {
        return Ok(None);
    }
    let mut accounts = Vec::new();
    for event in events {
        if seen::find(store, event.id)?.is_none() {
            accounts.push(event.account.as_str());
        }
    }
    Ok(store.counts.overfull(accounts.into_iter(), max))
}

/// Whether the event's user is known: an affiliate is remembered, an earlier event waits, or a dead letter is kept.
fn is_known(store: &Store, event: &NewEvent) -> rusqlite::Result<bool> {
    for (row, entry) in Keys::new(&event.keys).entries() {
        let user = users::find(store, row, entry)?;
        if user.is_some_and(|user| user.lane.is_some() || user.affiliate.is_some()) {
            return Ok(true);
        }
    }
    is_kept(store, &event.keys)
}

/// Whether a dead letter of the user is kept, which a delete has to erase.
fn is_kept(store: &Store, keys: &[UserKey]) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM dead_keys JOIN dead_letters USING (seq) WHERE key = ?1 AND body IS NOT NULL";
    let mut statement = store.connection.prepare_cached(sql)?;
    keys.iter().try_fold(false, |found, key| Ok(found || statement.exists([key.bytes().as_slice()])?))
}

/// Two users turn out to be one: their lines become one. The later head waits from now on, unless it is leased.
fn merge(store: &mut Store, from: i64, into: i64) -> rusqlite::Result<()> {
    let heads = [lane::head(&store.connection, from)?, lane::head(&store.connection, into)?];
    if let [Some(one), Some(other)] = heads {
        lane::hold(&store.connection, one.max(other))?;
    }
    for member in members(&store.connection, from)? {
        member.keys.rows().try_for_each(|row| users::relabel(store, row, into))?;
    }
    let connection = &store.connection;
    connection.prepare_cached("UPDATE events SET lane = ?2 WHERE lane = ?1")?.execute([from, into])?;
    connection.prepare_cached("UPDATE events SET lane = ?2 WHERE seq = ?1 AND lane IS NULL")?.execute([from, into])?;
    Ok(())
}

fn insert(store: &Store, event: &NewEvent, keys: &Keys, seq: i64, lane: i64) -> rusqlite::Result<()> {
    let sql =
        "INSERT INTO events (seq, account, id, keys, lane, received_at, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
    let values = params![
        seq,
        event.account.as_str(),
        event.id.0.as_slice(),
        keys.as_blob(),
        (lane != seq).then_some(lane),
        event.received_at.0,
        event.body,
    ];
    store.connection.prepare_cached(sql)?.execute(values).map(drop)
}
