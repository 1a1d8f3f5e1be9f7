//! Beginning units: reads the bodies, known affiliates and progress of pending events.
//!
//! In: units of an account. Out: one [`Begun`] for each whose head is pending. Invariant: a part that cannot be read is named in
//! the result and in one line of the logs; it is never replaced by a default. A damaged page costs the units on it alone.

use super::attempts::{self, Attempts};
use super::decode::{DAMAGED_PAGE, Damaged, blob, integer};
use super::error::is_corruption;
use super::memory;
use crate::delivery::Memory;
use crate::domain::{AccountName, EventId, Seq, Timestamp, UserKey};
use crate::failpoint;
use crate::scheduling::Unit;
use crate::store::body;
use crate::store::keys;
use crate::store::{Begun, Follower};
use rusqlite::{Connection, OptionalExtension, Row, params};

/// The followers of a head have at most so many bytes of bodies (unpacked).
const MAX_FOLLOWERS_BYTES: usize = 128 * 1024;
/// No further unit is begun once the bodies (unpacked) of those before it have so many bytes.
const MAX_BYTES: usize = 8 * 1024 * 1024;

/// Reads units of `account`, in this order, as of one moment: `None` for one whose head is not pending.
pub fn begin(connection: &Connection, account: &AccountName, units: &[Unit]) -> rusqlite::Result<Vec<Option<Begun>>> {
    let snapshot = connection.unchecked_transaction()?;
    let (mut begun, mut bytes) = (Vec::with_capacity(units.len()), 0);
    for unit in units {
        if bytes >= MAX_BYTES {
            break;
        }
        let head = match head(&snapshot, account, unit) {
            Err(error) if is_corruption(&error) => Some(unreadable(unit.head)),
            head => head?,
        };
        bytes += head.as_ref().map_or(0, Begun::body_bytes);
        begun.push(head);
    }
    failpoint::step("store::begin");
    Ok(begun)
}

fn head(connection: &Connection, account: &AccountName, unit: &Unit) -> rusqlite::Result<Option<Begun>> {
    let sql = format!(
        "SELECT log.id, log.keys, log.received_at, bodies.body, {}
         FROM log LEFT JOIN bodies USING (seq) LEFT JOIN attempts USING (seq)
         WHERE log.seq = ?1 AND log.account = (SELECT account FROM accounts WHERE name = ?2) AND log.outcome IS NULL",
        attempts::COLUMNS
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let values = params![unit.head.0, account.as_str()];
    let Some(read) = statement.query_row(values, |row| Ok(Parts::read(row))).optional()? else { return Ok(None) };
    let memory = memory::memory(connection, &read.keys.clone().unwrap_or_default())?;
    let marked = read.attempts.as_ref().map_or(Vec::new(), |attempts| attempts.followers.clone());
    let mut begun = read.begun(unit.head, memory);
    let asked_for = if marked.is_empty() { &unit.followers } else { &marked };
    let mut room = MAX_FOLLOWERS_BYTES;
    for seq in asked_for {
        let Some(follower) = follower(connection, account, *seq)? else { continue };
        // A group that was asked for together before is asked for together again, however large.
        if follower.body.len() > room && marked.is_empty() {
            break;
        }
        room = room.saturating_sub(follower.body.len());
        begun.followers.push(follower);
    }
    Ok(Some(begun))
}

/// A head that SQLite cannot read: a page that holds a part of it is damaged.
fn unreadable(seq: Seq) -> Begun {
    let parts = Parts {
        id: Err(DAMAGED_PAGE),
        keys: Ok(Vec::new()),
        received_at: Ok(Timestamp::default()),
        body: Err(DAMAGED_PAGE),
        attempts: Ok(Attempts::default()),
    };
    parts.begun(seq, Ok(Memory::default()))
}

/// The columns of a head; each of them may be damaged.
struct Parts {
    id: Result<EventId, Damaged>,
    keys: Result<Vec<UserKey>, Damaged>,
    received_at: Result<Timestamp, Damaged>,
    body: Result<Vec<u8>, Damaged>,
    attempts: Result<Attempts, Damaged>,
}

impl Parts {
    fn read(row: &Row<'_>) -> Self {
        let keys = blob(row, 1, "log.keys").and_then(|keys| keys.and_then(keys::from_blob).ok_or(Damaged("log.keys")));
        Self {
            id: id(row, 0),
            keys,
            received_at: received_at(row, 2),
            body: read_body(row, 3),
            attempts: Attempts::read(row, 4),
        }
    }

    fn begun(self, seq: Seq, memory: Result<Memory, Damaged>) -> Begun {
        let Self { id, keys, received_at, body, attempts } = self;
        let damaged =
            id.as_ref().err().or(keys.as_ref().err()).or(received_at.as_ref().err()).or(attempts.as_ref().err());
        let damaged = damaged.or(memory.as_ref().err()).copied();
        let body = damaged.map_or(body, Err);
        if let Err(Damaged(part)) = body {
            tracing::error!(%seq, part, "a row of the store is damaged");
        }
        let attempts = attempts.unwrap_or_default();
        Begun {
            seq,
            id: id.unwrap_or(EventId([0; 16])),
            body: body.map_err(|Damaged(part)| part.to_owned()),
            keys: keys.unwrap_or_default(),
            memory: memory.unwrap_or_default(),
            progress: attempts.progress,
            interrupted: attempts.begun,
            failures: attempts.failures,
            failing_for: attempts.failing_for,
            received_at: received_at.unwrap_or_default(),
            followers: Vec::new(),
        }
    }
}

/// The id of an event, from this column.
pub fn id(row: &Row<'_>, column: usize) -> Result<EventId, Damaged> {
    let id = blob(row, column, "log.id")?.and_then(|id| id.try_into().ok());
    id.map(EventId).ok_or(Damaged("log.id"))
}

fn received_at(row: &Row<'_>, column: usize) -> Result<Timestamp, Damaged> {
    integer(row, column, "log.received_at")?.map(Timestamp).ok_or(Damaged("log.received_at"))
}

fn read_body(row: &Row<'_>, column: usize) -> Result<Vec<u8>, Damaged> {
    let body = blob(row, column, "bodies.body")?.and_then(body::unpack);
    body.ok_or(Damaged("bodies.body"))
}

fn follower(connection: &Connection, account: &AccountName, seq: Seq) -> rusqlite::Result<Option<Follower>> {
    let sql = "SELECT log.id, bodies.body, log.received_at FROM log LEFT JOIN bodies USING (seq)
               WHERE log.seq = ?1 AND log.account = (SELECT account FROM accounts WHERE name = ?2) AND log.outcome IS NULL";
    let mut statement = connection.prepare_cached(sql)?;
    let read = |row: &Row<'_>| -> Result<Follower, Damaged> {
        Ok(Follower { seq, id: id(row, 0)?, body: read_body(row, 1)?, received_at: received_at(row, 2)? })
    };
    let follower = match statement.query_row(params![seq.0, account.as_str()], |row| Ok(read(row))) {
        Err(error) if is_corruption(&error) => Some(Err(DAMAGED_PAGE)),
        read => read.optional()?,
    };
    Ok(match follower {
        None => None,
        Some(Ok(follower)) => Some(follower),
        Some(Err(Damaged(part))) => {
            tracing::error!(%seq, part, "a row of the store is damaged");
            None
        }
    })
}
