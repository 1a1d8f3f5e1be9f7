//! What changed lately in the tables `users` and `seen`, whose rows lie at random places: kept in memory and in a log, and
//! written to its places in bulk, in the order of the keys.
//!
//! An event touches three such rows, and a place among millions costs a page each time. So a transaction appends what it
//! changed to the table `changes` (one row, side by side with the last), and later rows that lie side by side are written
//! together: in turns, from the first key to the last, as many at a time as come in anew. Once a turn has ended, the
//! changes from before it are in their places and leave the log. At opening the log is read. And a place that cannot have
//! a row is not looked at (`places`).
//! Invariants: what is held here, a place, or both have the row, and what is held counts; a transaction that fails changes
//! nothing here; the log holds whatever is not in its place.

#[cfg(test)]
mod model;
mod places;
mod rows;

pub use rows::{Row, Rows};

use super::seen::Seen;
use super::users::Kept;
use rusqlite::{Connection, params};
use serde::{Deserialize, Serialize};

/// So many rows are held: of two million in their places, about four then lie in one page. A debug build holds few, so that
/// tests see them written.
const MOST: usize = if cfg!(debug_assertions) { 100 } else { 60_000 };
/// While more are held, so many more rows are written to their places than come in anew.
const FASTER: usize = 2;
/// So many rows of the log leave it with a transaction.
const LEAVING: i64 = 16;
/// So many rows are written to their places at a time in tidying, and so many leave the log.
const PORTION: u32 = 250;

/// Of so many rows at a time it is learned that they are in their places; of two at the least, for a portion begins with the last
/// of the one before.
const LEARNED: u32 = if cfg!(debug_assertions) { 2 } else { 1_000 };

/// What changed lately.
#[derive(Debug, Default)]
pub struct Recent {
    /// By the first half of a user's key.
    pub users: Rows<Kept>,
    /// By the event's id.
    pub seen: Rows<Seen>,
    turn: Turn,
    /// The turn as of the last commit.
    committed: Turn,
}

/// How far rows are written to their places, and what that means for the log.
#[derive(Clone, Copy, Debug, Default)]
struct Turn {
    at: At,
    /// The last change in the log.
    last: i64,
    /// When this turn ends, all changes up to this one are in their places.
    until: i64,
    /// All changes up to this one are in their places.
    done: i64,
    /// All changes up to this one have left the log.
    left: i64,
}

/// After which row a turn goes on.
#[derive(Clone, Copy, Debug)]
enum At {
    Users(Option<i64>),
    Seen(Option<[u8; 16]>),
}

impl Default for At {
    fn default() -> Self {
        Self::Users(None)
    }
}

/// One row of the log: what one transaction changed.
#[derive(Serialize, Deserialize)]
struct Changes {
    users: Vec<(i64, Option<Kept>)>,
    seen: Vec<([u8; 16], Option<Seen>)>,
}

impl Recent {
    /// Reads the log.
    pub fn read(connection: &Connection) -> rusqlite::Result<Self> {
        let (mut recent, mut first) = (Self::default(), None);
        let mut statement = connection.prepare("SELECT n, rows FROM changes ORDER BY n")?;
        let mut rows = statement.query([])?;
        while let Some(row) = rows.next()? {
            let changes: Changes = postcard::from_bytes(row.get_ref(1)?.as_blob()?).map_err(|error| {
                rusqlite::Error::FromSqlConversionFailure(1, rusqlite::types::Type::Blob, error.into())
            })?;
            recent.users.hold(changes.users);
            recent.seen.hold(changes.seen);
            let n: i64 = row.get(0)?;
            let first = *first.get_or_insert(n);
            recent.turn = Turn { last: n, until: n, done: first - 1, left: first - 1, ..Turn::default() };
        }
        recent.committed = recent.turn;
        Ok(recent)
    }

    /// The transaction is about to be committed: what it changed is written to the log, and a part of what is held to its
    /// places.
    pub fn keep(&mut self, connection: &Connection) -> rusqlite::Result<()> {
        let changes = Changes { users: self.users.changes(), seen: self.seen.changes() };
        let count = changes.users.len() + changes.seen.len();
        if count == 0 {
            return Ok(());
        }
        self.turn.last += 1;
        let rows =
            postcard::to_allocvec(&changes).map_err(|error| rusqlite::Error::ToSqlConversionFailure(error.into()))?;
        let sql = "INSERT INTO changes (n, rows) VALUES (?1, ?2)";
        connection.prepare_cached(sql)?.execute(params![self.turn.last, rows])?;
        if self.held() > MOST {
            self.sweep(connection, FASTER * count)?;
        }
        self.leave(connection, LEAVING)
    }

    /// Learns of a portion of the rows that they are in their places, if that is worth it by now; whether more is. Nothing may
    /// have been changed that is not committed.
    pub fn learn(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        Ok(self.users.learn(connection, LEARNED)? | self.seen.learn(connection, LEARNED)?)
    }

    /// Writes a portion to its places though there is room, for what was erased is to leave the log some time; whether more is
    /// held.
    pub fn tidy(&mut self, connection: &Connection) -> rusqlite::Result<bool> {
        self.sweep(connection, PORTION as usize)?;
        self.leave(connection, PORTION.into())?;
        Ok(self.held() > 0)
    }

    /// Writes up to `most` of the rows held to their places, the next ones in turn.
    fn sweep(&mut self, connection: &Connection, most: usize) -> rusqlite::Result<()> {
        let mut room = most;
        while room > 0 && self.held() > 0 {
            let (written, next) = match self.turn.at {
                At::Users(after) => {
                    let (written, last) = self.users.sweep(connection, after, room)?;
                    (written, last.map(|last| At::Users(Some(last))))
                }
                At::Seen(after) => {
                    let (written, last) = self.seen.sweep(connection, after, room)?;
                    (written, last.map(|last| At::Seen(Some(last))))
                }
            };
            room -= written;
            match (next, self.turn.at) {
                (Some(next), _) => self.turn.at = next,
                (None, At::Users(_)) => self.turn.at = At::Seen(None),
                (None, At::Seen(_)) => self.begin_turn(),
            }
        }
        if self.held() == 0 {
            self.begin_turn();
            self.turn.done = self.turn.last;
        }
        Ok(())
    }

    fn begin_turn(&mut self) {
        let last = self.turn.last;
        self.turn = Turn { at: At::default(), done: self.turn.until, until: last, ..self.turn };
    }

    fn held(&self) -> usize {
        self.users.len() + self.seen.len()
    }

    /// Up to `most` rows of the log leave it, if what they say is in its places.
    fn leave(&mut self, connection: &Connection, most: i64) -> rusqlite::Result<()> {
        if self.turn.left < self.turn.done {
            self.turn.left = self.turn.done.min(self.turn.left + most);
            connection.prepare_cached("DELETE FROM changes WHERE n <= ?1")?.execute([self.turn.left])?;
        }
        Ok(())
    }

    /// The transaction was committed.
    pub fn committed(&mut self) {
        self.users.committed();
        self.seen.committed();
        self.committed = self.turn;
    }

    /// The transaction was rolled back.
    pub fn rolled_back(&mut self) {
        self.users.rolled_back();
        self.seen.rolled_back();
        self.turn = self.committed;
    }
}
