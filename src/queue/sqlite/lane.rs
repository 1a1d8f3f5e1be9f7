//! Leaving a lane, however the event ended: its row goes, its id begins to age, and the next of its user moves up.

use super::keys::Keys;
use super::writer::Store;
use rusqlite::params;

/// Of the row that a valid ticket stands for, what it takes to let it go.
pub struct Leased {
    pub account: String,
    pub lane: i64,
    pub keys: Keys,
    pub received_at: i64,
}

/// The event leaves its lane, and the next one moves up.
pub fn leave(store: &mut Store, seq: i64, id: &[u8; 16], leased: &Leased) -> rusqlite::Result<()> {
    let connection = &store.connection;
    connection.prepare_cached("DELETE FROM events WHERE seq = ?1")?.execute([seq])?;
    store.counts.gone(&leased.account);
    let mut left = connection.prepare_cached("UPDATE seen SET at = ?2 WHERE id = ?1")?;
    left.execute(params![id.as_slice(), leased.received_at])?;
    for key in leased.keys.lanes() {
        // Mostly nobody else waits under it.
        if connection.prepare_cached("DELETE FROM lanes WHERE key = ?1 AND waiting <= 1")?.execute([key])? == 0 {
            connection.prepare_cached("UPDATE lanes SET waiting = waiting - 1 WHERE key = ?1")?.execute([key])?;
        }
    }
    let sql = "UPDATE events SET ready_at = not_before
               WHERE seq = (SELECT min(seq) FROM events WHERE lane = ?1) AND ready_at IS NULL";
    connection.prepare_cached(sql)?.execute([leased.lane]).map(drop)
}
