//! Lanes: who is at the head of one, who may be claimed next, and leaving, however the event ended.

use super::keys::Keys;
use super::users;
use super::writer::Store;
use rusqlite::{Connection, OptionalExtension, Row};

/// Of an event, what it takes to let it go.
pub struct Member {
    pub account: String,
    pub lane: i64,
    pub keys: Keys,
}

/// The columns of `events` that [`Member::read`] reads.
pub const MEMBER: &str = "events.account, coalesce(events.lane, events.seq), events.keys";

/// The event at the head of lane ?1: who began it, or whoever has come the furthest since.
const HEAD: &str = "coalesce((SELECT seq FROM events WHERE seq = ?1 AND lane IS NULL),
                             (SELECT min(seq) FROM events WHERE lane = ?1))";

/// The condition that an event is leased.
pub const IS_LEASED: &str =
    "EXISTS (SELECT 1 FROM leases WHERE leases.account = events.account AND leases.seq = events.seq)";

impl Member {
    /// Reads the columns [`MEMBER`].
    pub fn read(row: &Row<'_>) -> rusqlite::Result<Self> {
        Ok(Self { account: row.get(0)?, lane: row.get(1)?, keys: Keys::from_blob(row.get(2)?) })
    }
}

/// All that wait in `lane`, in no order.
pub fn members(connection: &Connection, lane: i64) -> rusqlite::Result<Vec<Member>> {
    let sql = format!(
        "SELECT {MEMBER} FROM events WHERE seq = ?1 AND lane IS NULL
         UNION ALL SELECT {MEMBER} FROM events WHERE lane = ?1"
    );
    connection.prepare_cached(&sql)?.query_map([lane], Member::read)?.collect()
}

/// The head of `lane`, if anything waits in it.
pub fn head(connection: &Connection, lane: i64) -> rusqlite::Result<Option<i64>> {
    connection.prepare_cached(&format!("SELECT {HEAD}"))?.query_row([lane], |row| row.get(0))
}

/// Whether none of its lane is ahead of the event `seq`.
pub fn is_head(connection: &Connection, seq: i64) -> rusqlite::Result<bool> {
    let sql = "SELECT coalesce(lane, seq) FROM events WHERE seq = ?1";
    let lane = connection.prepare_cached(sql)?.query_row([seq], |row| row.get(0)).optional()?;
    Ok(lane.map(|lane| head(connection, lane)).transpose()?.flatten() == Some(seq))
}

/// The head of `lane` may be claimed in its time, unless it is leased.
pub fn move_up(connection: &Connection, lane: i64) -> rusqlite::Result<()> {
    let sql = format!(
        "INSERT INTO ready (account, at, seq) SELECT account, coalesce(not_before, received_at), seq FROM events
         WHERE seq = {HEAD} AND NOT {IS_LEASED} ON CONFLICT DO NOTHING"
    );
    connection.prepare_cached(&sql)?.execute([lane]).map(drop)
}

/// The event `seq` may not be claimed any more.
pub fn hold(connection: &Connection, seq: i64) -> rusqlite::Result<()> {
    let sql = "SELECT account, coalesce(not_before, received_at) FROM events WHERE seq = ?1";
    let mut statement = connection.prepare_cached(sql)?;
    let place = statement.query_row([seq], |row| Ok((row.get::<_, String>(0)?, row.get::<_, i64>(1)?))).optional()?;
    let Some((account, at)) = place else { return Ok(()) };
    let sql = "DELETE FROM ready WHERE account = ?1 AND at = ?2 AND seq = ?3";
    connection.prepare_cached(sql)?.execute((account, at, seq)).map(drop)
}

/// The event, which is not ready and whose lease has ended, leaves its lane, and the next one moves up.
pub fn leave(store: &mut Store, seq: i64, member: &Member) -> rusqlite::Result<()> {
    store.connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])?;
    member.keys.rows().try_for_each(|row| users::leave(store, row))?;
    move_up(&store.connection, member.lane)?;
    store.counts.gone(&member.account);
    Ok(())
}
