//! Recording one event: is it new, whose line does it join, and is it first there.

use super::keys::Keys;
use super::writer::Store;
use crate::domain::{HashKey, UserKey};
use crate::failpoint;
use crate::queue::{NewEvent, Recorded};
use rusqlite::{OptionalExtension, params};

/// Records `event` inside the current transaction.
pub fn record(store: &mut Store, hash: &HashKey, event: &NewEvent) -> rusqlite::Result<Recorded> {
    // What may be refused below is not noted before that is known; all else in one step.
    let duplicate = if event.only_if_known { seen(store, event)? } else { !is_first(store, event)? };
    if duplicate {
        return Ok(Recorded::Duplicate);
    }
    let affiliates = affiliates(store, hash, &event.keys)?;
    let keys = Keys::new(&event.keys, &affiliates);
    let lanes = lanes(store, &keys)?;
    if event.only_if_known && affiliates.is_empty() && lanes.is_empty() && !is_kept(store, &event.keys)? {
        return Ok(Recorded::UnknownUser);
    }
    if event.only_if_known {
        is_first(store, event)?;
    }
    let (behind, waiting) = (!lanes.is_empty(), store.counts.waiting_of(event.account.as_str()));
    line_up(store, event, &keys, lanes)?;
    failpoint::step("queue::record");
    Ok(Recorded::Accepted { behind, waiting })
}

/// Records once more an event that was recorded before, as if it had come just now; its place in the order of arrival.
pub fn again(store: &mut Store, hash: &HashKey, event: &NewEvent) -> rusqlite::Result<i64> {
    let keys = Keys::new(&event.keys, &affiliates(store, hash, &event.keys)?);
    let lanes = lanes(store, &keys)?;
    let sql = "INSERT INTO seen (id) VALUES (?1) ON CONFLICT (id) DO UPDATE SET at = NULL";
    store.connection.prepare_cached(sql)?.execute([event.id.0.as_slice()])?;
    line_up(store, event, &keys, lanes)
}

/// Puts an event behind those that wait in `lanes`, which are its user's; its place in the order of arrival.
fn line_up(store: &mut Store, event: &NewEvent, keys: &Keys, lanes: Vec<i64>) -> rusqlite::Result<i64> {
    let seq = store.counts.next_seq;
    store.counts.next_seq += 1;
    store.counts.come(event.account.as_str());
    let behind = !lanes.is_empty();
    // The oldest line, which likely is the longest, takes in the others.
    let lane = lanes.iter().copied().min().unwrap_or(seq);
    for other in lanes.into_iter().filter(|other| *other != lane) {
        merge(store, other, lane)?;
    }
    insert(store, event, keys, seq, lane, behind)?;
    Ok(seq)
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
        if !seen(store, event)? {
            accounts.push(event.account.as_str());
        }
    }
    Ok(store.counts.overfull(accounts.into_iter(), max))
}

fn seen(store: &Store, event: &NewEvent) -> rusqlite::Result<bool> {
    store.connection.prepare_cached("SELECT 1 FROM seen WHERE id = ?1")?.exists([event.id.0.as_slice()])
}

/// Notes the event as seen; whether it was not before.
fn is_first(store: &Store, event: &NewEvent) -> rusqlite::Result<bool> {
    let sql = "INSERT INTO seen (id) VALUES (?1) ON CONFLICT (id) DO NOTHING";
    Ok(store.connection.prepare_cached(sql)?.execute([event.id.0.as_slice()])? > 0)
}

/// The affiliates that the keys lead to today, as keys of their own.
fn affiliates(store: &Store, hash: &HashKey, keys: &[UserKey]) -> rusqlite::Result<Vec<[u8; 16]>> {
    let mut statement = store.connection.prepare_cached("SELECT account, code FROM links WHERE key = ?1")?;
    let mut found = Vec::new();
    for key in keys {
        let link = statement
            .query_row([key.bytes().as_slice()], |row| Ok((row.get::<_, String>(0)?, row.get::<_, String>(1)?)));
        if let Some((account, code)) = link.optional()? {
            let affiliate = hash.affiliate(&account, &code);
            if !found.contains(&affiliate) {
                found.push(affiliate);
            }
        }
    }
    Ok(found)
}

/// Whether a dead letter of the user is kept, which a delete has to erase.
fn is_kept(store: &Store, keys: &[UserKey]) -> rusqlite::Result<bool> {
    let sql = "SELECT 1 FROM dead_keys JOIN dead_letters USING (seq) WHERE key = ?1 AND body IS NOT NULL";
    let mut statement = store.connection.prepare_cached(sql)?;
    keys.iter().try_fold(false, |found, key| Ok(found || statement.exists([key.bytes().as_slice()])?))
}

/// The lanes in which events with these keys wait.
fn lanes(store: &Store, keys: &Keys) -> rusqlite::Result<Vec<i64>> {
    let mut statement = store.connection.prepare_cached("SELECT lane FROM lanes WHERE key = ?1")?;
    let mut found = Vec::new();
    for key in keys.lanes() {
        if let Some(lane) = statement.query_row([key], |row| row.get(0)).optional()?
            && !found.contains(&lane)
        {
            found.push(lane);
        }
    }
    Ok(found)
}

/// Two users turn out to be one: their lines become one. The later head waits from now on, unless it is leased.
fn merge(store: &Store, from: i64, into: i64) -> rusqlite::Result<()> {
    let sql = "UPDATE events SET ready_at = NULL
               WHERE lease <> 1 AND seq = max((SELECT min(seq) FROM events WHERE lane = ?1),
                                              (SELECT min(seq) FROM events WHERE lane = ?2))";
    store.connection.prepare_cached(sql)?.execute([from, into])?;
    let mut members = store.connection.prepare_cached("SELECT keys FROM events WHERE lane = ?1")?;
    let blobs = members.query_map([from], |row| row.get(0))?.collect::<rusqlite::Result<Vec<Vec<u8>>>>()?;
    let mut relabel = store.connection.prepare_cached("UPDATE lanes SET lane = ?2 WHERE key = ?1")?;
    for key in blobs.into_iter().flat_map(|blob| Keys::from_blob(blob).lanes()) {
        relabel.execute([key, into])?;
    }
    store.connection.prepare_cached("UPDATE events SET lane = ?2 WHERE lane = ?1")?.execute([from, into]).map(drop)
}

fn insert(store: &Store, event: &NewEvent, keys: &Keys, seq: i64, lane: i64, behind: bool) -> rusqlite::Result<()> {
    let ready_at = (!behind).then_some(event.received_at.0);
    let sql = "INSERT INTO events (seq, account, id, keys, lane, ready_at, not_before, received_at, body)
               VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?7, ?8)";
    store.connection.prepare_cached(sql)?.execute(params![
        seq,
        event.account.as_str(),
        event.id.0.as_slice(),
        keys.as_blob(),
        lane,
        ready_at,
        event.received_at.0,
        event.body,
    ])?;
    let sql = "INSERT INTO lanes (key, lane, waiting) VALUES (?1, ?2, 1)
               ON CONFLICT (key) DO UPDATE SET lane = ?2, waiting = waiting + 1";
    let mut join = store.connection.prepare_cached(sql)?;
    for key in keys.lanes() {
        join.execute([key, lane])?;
    }
    Ok(())
}
