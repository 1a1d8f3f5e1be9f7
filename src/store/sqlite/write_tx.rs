//! A write transaction: its connection, and the writer's state in memory.
//!
//! In: the changes of jobs. Out: consistent changes of rows and of [`LogState`]. Invariant: an id counts as known only if a row of the log
//! has it, whatever the index has.

use super::log_state::{AccountNumber, LogState};
use super::older_ids;
use super::query::Query;
use crate::domain::{AccountName, EventId, HashKey, Seq, UserKey};
use crate::store::{StoreError, user_keys};
use rusqlite::{Connection, params};

/// The writer's state in memory.
#[derive(Debug)]
pub struct WriterState {
    /// The hash key of this store.
    pub hash: HashKey,
    /// The state of the log as of the current transaction.
    pub log: LogState,
    /// Whether the table `older_ids` has any id.
    pub older_ids: bool,
    /// Events below this seq may have their former id.
    pub former_ids_below: i64,
}

/// A write transaction.
#[derive(Debug)]
pub struct WriteTx<'a> {
    /// The connection that writes.
    pub connection: &'a Connection,
    /// The state as of this transaction.
    pub state: &'a mut WriterState,
}

impl WriteTx<'_> {
    /// The number of an account; it gets one if it has none.
    pub fn account_number(&mut self, name: &AccountName) -> Result<AccountNumber, StoreError> {
        if let Some(number) = self.state.log.find_account(name) {
            return Ok(number);
        }
        self.connection.run("INSERT INTO accounts (name) VALUES (?1)", [name.as_str()])?;
        let number = self.connection.last_insert_rowid();
        self.state.log.add_account(name, number);
        Ok(number)
    }

    /// The newest row of the log with this id.
    pub fn find_id(&self, id: EventId) -> Result<Option<Seq>, StoreError> {
        if let Some(seq) = self.state.log.appended_now(&id) {
            return Ok(Some(seq));
        }
        let sql = "SELECT 1 FROM log WHERE seq = ?1 AND id = ?2";
        self.find(id, |seq| self.connection.exists(sql, params![seq, id.0.as_slice()]))
    }

    /// Whether an event that was appended before the migration from version 6 has this id, and these user keys or none any more.
    pub fn has_former_id(&self, id: EventId, users: &[UserKey]) -> Result<bool, StoreError> {
        let (below, keys) = (self.state.former_ids_below, user_keys::to_blob(users));
        let sql = "SELECT 1 FROM log WHERE seq = ?1 AND id = ?2 AND keys IN (?3, x'')";
        let is_it = |seq| Ok(seq < below && self.connection.exists(sql, params![seq, id.0.as_slice(), keys])?);
        Ok(self.find(id, is_it)?.is_some())
    }

    /// The newest row that may have this id and for which `is_it` returns true.
    fn find(&self, id: EventId, is_it: impl Fn(i64) -> Result<bool, StoreError>) -> Result<Option<Seq>, StoreError> {
        let first = |seqs: Vec<i64>| {
            let mut found = seqs.into_iter().map(|seq| Ok(is_it(seq)?.then_some(Seq(seq))));
            found.find_map(Result::transpose).transpose()
        };
        match first(self.state.log.ids.candidates(&id))? {
            None if self.state.older_ids => first(older_ids::candidates(self.connection, &id)?),
            found => Ok(found),
        }
    }
}
