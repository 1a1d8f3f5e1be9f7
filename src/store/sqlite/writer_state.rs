//! The writer's state in memory: account numbers, backlogs, the deduplication index, the next seq.
//!
//! In: changes made by jobs through a [`WriteTx`], each recorded in a journal. Out: the state as of the current transaction.
//! Invariants: a transaction that is rolled back is undone here by the journal; ids of the open transaction are kept apart, and
//! join the index when it has committed; other threads see the counts as of the last commit ([`Published`]); nothing that grows
//! with the number of accounts or events is ever copied.

use super::older_ids;
use super::schema::set_meta;
use crate::domain::{AccountName, EventId, HashKey, Seq, UserKey};
use crate::store::id_index::IdIndex;
use crate::store::keys;
use crate::store::published::Published;
use crate::store::recent_keys::RecentKeys;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::Arc;

/// The number of an account in the tables.
pub type AccountNumber = i64;

/// How many seqs are reserved by one write of `next_seq`; at most so many are skipped after a crash.
const RESERVED: i64 = 4_096;

/// The state as of the current transaction.
#[derive(Debug)]
pub struct WriterState {
    /// The key of this store's hashes.
    pub hash: HashKey,
    /// Numbers by name.
    pub accounts: HashMap<AccountName, AccountNumber>,
    /// The backlog of each account, by its number.
    pub backlogs: HashMap<AccountNumber, Backlog>,
    /// Ids of the log, as of the last commit.
    pub ids: IdIndex,
    /// Ids of the current transaction.
    pub new_ids: HashMap<EventId, Seq>,
    /// Whether the table `older_ids` holds any.
    pub older_ids: bool,
    /// Events below this seq may have their former id.
    pub former_ids_below: i64,
    /// The next seq to assign.
    pub next_seq: i64,
    /// The first seq that may not be assigned before more are reserved in the file.
    pub reserved: i64,
    /// The changes of the current transaction.
    pub journal: Vec<Change>,
    /// The counts that other threads see.
    pub published: Arc<Published>,
}

/// An account's part of the log.
#[derive(Clone, Debug)]
pub struct Backlog {
    /// Its name.
    pub name: AccountName,
    /// How many events are pending.
    pub pending: u64,
    /// The seq that was appended last.
    pub last: Seq,
    /// The keys of recently appended events; keys from a transaction that was rolled back may be among them.
    pub recent: RecentKeys,
}

/// One change, with what it takes to undo it.
#[derive(Debug)]
pub enum Change {
    /// An account got a number.
    AccountAdded(AccountName),
    /// Seqs were reserved; so far they were up to this one.
    SeqsReserved(i64),
    /// An event was appended; its account's last seq, and where its id stood in this transaction, if it did.
    Appended { account: AccountNumber, last: Seq, id: EventId, earlier: Option<Seq> },
    /// An event ended.
    Ended(AccountNumber),
    /// So many dead letters were added.
    DeadLetters(i64),
    /// A row of the log was removed.
    RowRemoved(EventId, Seq),
    /// All ids up to this seq were moved to the table `older_ids`.
    OlderIdsMoved(i64),
}

impl WriterState {
    /// Undoes the changes of the current transaction, the last one first.
    pub fn roll_back(&mut self) {
        while let Some(change) = self.journal.pop() {
            self.undo(change);
        }
    }

    fn undo(&mut self, change: Change) {
        match change {
            Change::AccountAdded(name) => {
                let number = self.accounts.remove(&name);
                number.and_then(|number| self.backlogs.remove(&number));
            }
            Change::SeqsReserved(before) => self.reserved = before,
            Change::Appended { account, last, id, earlier } => {
                self.next_seq -= 1;
                match earlier {
                    Some(seq) => self.new_ids.insert(id, seq),
                    None => self.new_ids.remove(&id),
                };
                if let Some(log) = self.backlogs.get_mut(&account) {
                    (log.pending, log.last) = (log.pending - 1, last);
                }
            }
            Change::Ended(account) => self.backlogs.get_mut(&account).map_or((), |log| log.pending += 1),
            Change::DeadLetters(_) | Change::RowRemoved(..) | Change::OlderIdsMoved(_) => {}
        }
    }

    /// The transaction has committed: its ids join the index, and its counts are published.
    pub fn commit(&mut self) {
        let mut new_ids: Vec<(EventId, Seq)> = self.new_ids.drain().collect();
        new_ids.sort_unstable_by_key(|(_, seq)| *seq);
        for (id, seq) in &new_ids {
            self.ids.insert(id, seq.0);
        }
        let (mut changed, mut dead) = (Vec::new(), 0);
        for change in self.journal.drain(..) {
            match change {
                Change::Appended { account, .. } | Change::Ended(account) => changed.push(account),
                Change::DeadLetters(more) => dead += more,
                Change::RowRemoved(id, seq) => self.ids.remove(&id, seq.0),
                Change::OlderIdsMoved(last) => self.ids.drop_up_to(last),
                Change::AccountAdded(_) | Change::SeqsReserved(_) => {}
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for number in &changed {
            if let Some(log) = self.backlogs.get_mut(number).filter(|log| log.pending == 0) {
                log.recent.clear(log.last);
            }
        }
        let changed = changed.iter().filter_map(|number| self.backlogs.get(number));
        self.published.commit(changed.map(|log| (&log.name, log.pending)), dead, self.next_seq - 1);
    }
}

/// A write transaction: its connection and the writer's state.
#[derive(Debug)]
pub struct WriteTx<'a> {
    /// The connection that writes.
    pub connection: &'a Connection,
    /// As of this transaction.
    pub state: &'a mut WriterState,
}

impl WriteTx<'_> {
    /// The number of an account, if it has one.
    pub fn find_account(&self, name: &AccountName) -> Option<AccountNumber> {
        self.state.accounts.get(name).copied()
    }

    /// The number of an account; it gets one if it has none.
    pub fn account_number(&mut self, name: &AccountName) -> rusqlite::Result<AccountNumber> {
        if let Some(number) = self.find_account(name) {
            return Ok(number);
        }
        self.connection.prepare_cached("INSERT INTO accounts (name) VALUES (?1)")?.execute([name.as_str()])?;
        let number = self.connection.last_insert_rowid();
        self.state.accounts.insert(name.clone(), number);
        self.state
            .backlogs
            .insert(number, Backlog { name: name.clone(), pending: 0, last: Seq(0), recent: RecentKeys::default() });
        self.state.journal.push(Change::AccountAdded(name.clone()));
        Ok(number)
    }

    /// How many events of the account are pending.
    pub fn pending(&self, account: AccountNumber) -> u64 {
        self.state.backlogs.get(&account).map_or(0, |log| log.pending)
    }

    /// Whether an event of the user with these keys may be pending; up to `none_up_to` none is.
    pub fn may_be_pending(&self, account: AccountNumber, users: &[UserKey], none_up_to: Option<Seq>) -> bool {
        let log = self.state.backlogs.get(&account).filter(|log| log.pending > 0);
        log.is_some_and(|log| log.recent.may_be_pending(users, none_up_to))
    }

    /// Assigns the next seq to an event of the account with this id and these user keys.
    pub fn assign_seq(&mut self, account: AccountNumber, id: EventId, users: &[UserKey]) -> rusqlite::Result<Seq> {
        let next = self.state.next_seq;
        if next >= self.state.reserved {
            write_next_seq(self.connection, next + RESERVED)?;
            let before = std::mem::replace(&mut self.state.reserved, next + RESERVED);
            self.state.journal.push(Change::SeqsReserved(before));
        }
        self.state.next_seq += 1;
        let earlier = self.state.new_ids.insert(id, Seq(next));
        let log = self.state.backlogs.get_mut(&account);
        let last = log.map_or(Seq(0), |log| {
            log.pending += 1;
            log.recent.append(users, Seq(next), log.last);
            std::mem::replace(&mut log.last, Seq(next))
        });
        self.state.journal.push(Change::Appended { account, last, id, earlier });
        Ok(Seq(next))
    }

    /// A pending event of the account has ended.
    pub fn end_event(&mut self, account: AccountNumber) {
        if let Some(log) = self.state.backlogs.get_mut(&account).filter(|log| log.pending > 0) {
            log.pending -= 1;
            self.state.journal.push(Change::Ended(account));
        }
    }

    /// All ids up to the seq `last` are in the table `older_ids`: they leave the memory with this transaction.
    pub fn older_ids_moved(&mut self, last: i64) -> rusqlite::Result<()> {
        older_ids::set_up_to(self.connection, last)?;
        self.state.older_ids = true; // stays so if this is rolled back: then lookups find none there
        self.state.journal.push(Change::OlderIdsMoved(last));
        Ok(())
    }

    /// Records a change that takes effect in memory when the transaction commits.
    pub fn on_commit(&mut self, change: Change) {
        self.state.journal.push(change);
    }

    /// The newest row of the log with this id.
    pub fn find_id(&self, id: EventId) -> rusqlite::Result<Option<Seq>> {
        if let Some(seq) = self.state.new_ids.get(&id) {
            return Ok(Some(*seq));
        }
        for seq in self.state.ids.candidates(&id) {
            let sql = "SELECT 1 FROM log WHERE seq = ?1 AND id = ?2";
            if self.connection.prepare_cached(sql)?.exists(params![seq, id.0.as_slice()])? {
                return Ok(Some(Seq(seq)));
            }
        }
        if self.state.older_ids { older_ids::find(self.connection, &id) } else { Ok(None) }
    }

    /// Whether an event that was appended before the migration from version 6 has this id, and these keys or none any more.
    pub fn has_former_id(&self, id: EventId, users: &[UserKey]) -> rusqlite::Result<bool> {
        let (below, keys) = (self.state.former_ids_below, keys::to_blob(users));
        let sql = "SELECT 1 FROM log WHERE seq = ?1 AND id = ?2 AND keys IN (?3, x'')";
        for seq in self.state.ids.candidates(&id).into_iter().filter(|seq| *seq < below) {
            if self.connection.prepare_cached(sql)?.exists(params![seq, id.0.as_slice(), keys])? {
                return Ok(true);
            }
        }
        Ok(self.state.older_ids && older_ids::has_below(self.connection, &id, below, &keys)?)
    }
}

/// Saves that no seq below `next` is to be assigned again.
pub fn write_next_seq(connection: &Connection, next: i64) -> rusqlite::Result<()> {
    set_meta(connection, "next_seq", next)
}
