//! The table `bodies`: bodies of pending events and of dead letters, each at a place, in the order in which they were written.
//!
//! In: bodies, and their events. Invariants: a body is erased by overwriting it with as many zero bytes. SQLite then writes into the row in
//! place, also in the pages of a long body, and moves nothing. A new row gets a place above all earlier ones, so it is after all others:
//! SQLite fills the last page, then adds one. So SQLite never moves a row with a body, nor leaves a copy in the unused space of a page,
//! which `secure_delete` does not overwrite. The place is the table's key, a number of the same sequence as seqs: the seq of the event when
//! it is appended. Compaction may copy the body to a new, higher place (then the column `event` has the seq of the event) and erase the old
//! one. Deliberately absent: removing blank rows ([`super::compact_bodies`]), packing ([`crate::store::body`]).

use super::query::Query;
use super::schema::{NEXT_SEQ, set_meta};
use super::write_tx::WriteTx;
use crate::domain::Seq;
use crate::store::StoreError;
use rusqlite::types::Value;
use rusqlite::{Connection, params};

/// SQL for the place of the body of the event whose seq is the SQL `event`.
pub fn place(event: &str) -> String {
    format!("coalesce((SELECT max(moved.seq) FROM bodies AS moved WHERE moved.event = {event}), {event})")
}

/// Appends the body of a new event.
pub fn insert(connection: &Connection, seq: Seq, body: &[u8]) -> Result<(), StoreError> {
    connection.run("INSERT INTO bodies (seq, body) VALUES (?1, ?2)", params![seq.0, body]).map(drop)
}

/// The stored body of an event, of any SQL type; blank if it was erased.
pub fn read(connection: &Connection, seq: Seq) -> Result<Option<Value>, StoreError> {
    let sql = format!("SELECT body FROM bodies WHERE seq = {}", place("?1"));
    connection.one(&sql, [seq.0], |row| Ok(row.get(0)?))
}

/// Overwrites the body of an event with zeros.
pub fn erase(connection: &Connection, seq: Seq) -> Result<(), StoreError> {
    overwrite(connection, &place("?1"), seq.0)
}

/// Overwrites the body at the place that the SQL `place` computes from the value `?1`.
fn overwrite(connection: &Connection, place: &str, value: i64) -> Result<(), StoreError> {
    let sql = format!("UPDATE bodies SET body = zeroblob(length(body)) WHERE seq = {place}");
    connection.run(&sql, [value]).map(drop)
}

/// Moves the body at a place to the end, and erases it where it was. Does nothing if it was erased meanwhile.
pub fn move_to_end(tx: &mut WriteTx<'_>, place: i64) -> Result<(), StoreError> {
    let sql = "SELECT coalesce(event, seq), body FROM bodies WHERE seq = ?1 AND substr(body, 1, 1) <> x'00'";
    let row = tx.connection.one(sql, [place], |row| Ok((row.get::<_, i64>(0)?, row.get::<_, Value>(1)?)))?;
    let Some((event, body)) = row else { return Ok(()) };
    let to = tx.state.log.assign_seq();
    let sql = "INSERT INTO bodies (seq, event, body) VALUES (?1, ?2, ?3)";
    tx.connection.run(sql, params![to.0, event, body])?;
    overwrite(tx.connection, "?1", place)?;
    // No row of the log shows that this seq was assigned.
    Ok(set_meta(tx.connection, NEXT_SEQ, tx.state.log.next_seq())?)
}
