//! What the writer keeps in memory beside the file: numbers of accounts, counts, the deduplication index, the next seq.
//!
//! A job of the writer changes it through a [`Tx`]; each change is noted in a journal, by which a transaction that is
//! rolled back is undone here, too. Invariants: ids of the open transaction are kept apart, and join the index when it has
//! committed; what others see ([`Published`]) is as of the last commit; nothing that grows with the number of accounts or events
//! is ever copied.

use super::older_ids;
use super::schema::set_meta;
use crate::domain::{AccountName, EventId, HashKey, Seq, UserKey};
use crate::store::id_index::IdIndex;
use crate::store::published::Published;
use crate::store::recent_keys::RecentKeys;
use rusqlite::{Connection, params};
use std::collections::HashMap;
use std::sync::Arc;

/// The number of an account in the tables.
pub type AccountNumber = i64;

/// How many seqs are reserved at once: so seldom is `next_seq` written, and so many are left out at most after a crash.
const RESERVED: i64 = 4_096;

/// Everything in memory, as of the current transaction.
#[derive(Debug)]
pub struct State {
    /// The key of this store's hashes.
    pub hash: HashKey,
    /// Numbers by name.
    pub accounts: HashMap<AccountName, AccountNumber>,
    /// What waits of each account, by its number.
    pub logs: HashMap<AccountNumber, AccountLog>,
    /// Ids of the log, as of the last commit.
    pub ids: IdIndex,
    /// Ids of the current transaction.
    pub new_ids: HashMap<EventId, Seq>,
    /// Whether the table `older_ids` holds any.
    pub older_ids: bool,
    /// The next seq to give.
    pub next_seq: i64,
    /// No seq from here on is given before the file says so.
    pub reserved: i64,
    /// What changed in the current transaction.
    pub journal: Vec<Change>,
    /// What others may see.
    pub published: Arc<Published>,
}

/// What is known of an account's part of the log.
#[derive(Clone, Debug)]
pub struct AccountLog {
    /// Its name.
    pub name: AccountName,
    /// How many events wait.
    pub waiting: u64,
    /// The seq that was appended last.
    pub last: Seq,
    /// The keys of what was appended lately; those of a transaction that was rolled back may be among them.
    pub recent: RecentKeys,
}

/// One change, with what it takes to undo it.
#[derive(Debug)]
pub enum Change {
    /// An account got a number.
    Numbered(AccountName),
    /// Seqs were reserved; so far they were up to this one.
    Reserved(i64),
    /// An event was appended; its account's last seq, and where its id stood in this transaction, if it did.
    Appended { account: AccountNumber, last: Seq, id: EventId, earlier: Option<Seq> },
    /// An event waits no more.
    Left(AccountNumber),
    /// There are so many dead letters more.
    Dead(i64),
    /// A row of the log is gone.
    Removed(EventId, Seq),
    /// All ids up to this seq are in the table `older_ids`.
    MovedUpTo(i64),
}

impl State {
    /// Undoes the changes of the current transaction, the last one first.
    pub fn roll_back(&mut self) {
        while let Some(change) = self.journal.pop() {
            self.undo(change);
        }
    }

    fn undo(&mut self, change: Change) {
        match change {
            Change::Numbered(name) => {
                let number = self.accounts.remove(&name);
                number.and_then(|number| self.logs.remove(&number));
            }
            Change::Reserved(before) => self.reserved = before,
            Change::Appended { account, last, id, earlier } => {
                self.next_seq -= 1;
                match earlier {
                    Some(seq) => self.new_ids.insert(id, seq),
                    None => self.new_ids.remove(&id),
                };
                if let Some(log) = self.logs.get_mut(&account) {
                    (log.waiting, log.last) = (log.waiting - 1, last);
                }
            }
            Change::Left(account) => self.logs.get_mut(&account).map_or((), |log| log.waiting += 1),
            Change::Dead(_) | Change::Removed(..) | Change::MovedUpTo(_) => {}
        }
    }

    /// The transaction has committed: what was kept apart joins, and others see it.
    pub fn commit(&mut self) {
        let mut new_ids: Vec<(EventId, Seq)> = self.new_ids.drain().collect();
        new_ids.sort_unstable_by_key(|(_, seq)| *seq);
        for (id, seq) in &new_ids {
            self.ids.insert(id, seq.0);
        }
        let (mut changed, mut dead) = (Vec::new(), 0);
        for change in self.journal.drain(..) {
            match change {
                Change::Appended { account, .. } | Change::Left(account) => changed.push(account),
                Change::Dead(more) => dead += more,
                Change::Removed(id, seq) => self.ids.remove(&id, seq.0),
                Change::MovedUpTo(last) => self.ids.drop_up_to(last),
                Change::Numbered(_) | Change::Reserved(_) => {}
            }
        }
        changed.sort_unstable();
        changed.dedup();
        for number in &changed {
            if let Some(log) = self.logs.get_mut(number).filter(|log| log.waiting == 0) {
                log.recent.drain(log.last);
            }
        }
        let changed = changed.iter().filter_map(|number| self.logs.get(number));
        self.published.commit(changed.map(|log| (&log.name, log.waiting)), dead, self.next_seq - 1);
    }
}

/// A transaction: its connection, and what is in memory.
#[derive(Debug)]
pub struct Tx<'a> {
    /// The connection that writes.
    pub connection: &'a Connection,
    /// As of this transaction.
    pub state: &'a mut State,
}

impl Tx<'_> {
    /// The number of an account, if it has one.
    pub fn find_account(&self, name: &AccountName) -> Option<AccountNumber> {
        self.state.accounts.get(name).copied()
    }

    /// The number of an account; it gets one if it has none.
    pub fn account(&mut self, name: &AccountName) -> rusqlite::Result<AccountNumber> {
        if let Some(number) = self.find_account(name) {
            return Ok(number);
        }
        self.connection.prepare_cached("INSERT INTO accounts (name) VALUES (?1)")?.execute([name.as_str()])?;
        let number = self.connection.last_insert_rowid();
        self.state.accounts.insert(name.clone(), number);
        self.state
            .logs
            .insert(number, AccountLog { name: name.clone(), waiting: 0, last: Seq(0), recent: RecentKeys::default() });
        self.state.journal.push(Change::Numbered(name.clone()));
        Ok(number)
    }

    /// How many events of the account wait.
    pub fn waiting(&self, account: AccountNumber) -> u64 {
        self.state.logs.get(&account).map_or(0, |log| log.waiting)
    }

    /// Whether an event of the user with these keys may wait; up to `none_up_to` none does.
    pub fn may_wait(&self, account: AccountNumber, users: &[UserKey], none_up_to: Option<Seq>) -> bool {
        let log = self.state.logs.get(&account).filter(|log| log.waiting > 0);
        log.is_some_and(|log| log.recent.may_wait(users, none_up_to))
    }

    /// Gives the next seq to the account: an event with this id, of this user, waits there from now on.
    pub fn append(&mut self, account: AccountNumber, id: EventId, users: &[UserKey]) -> rusqlite::Result<Seq> {
        let next = self.state.next_seq;
        if next >= self.state.reserved {
            write_next_seq(self.connection, next + RESERVED)?;
            let before = std::mem::replace(&mut self.state.reserved, next + RESERVED);
            self.state.journal.push(Change::Reserved(before));
        }
        self.state.next_seq += 1;
        let earlier = self.state.new_ids.insert(id, Seq(next));
        let log = self.state.logs.get_mut(&account);
        let last = log.map_or(Seq(0), |log| {
            log.waiting += 1;
            log.recent.append(users, Seq(next), log.last);
            std::mem::replace(&mut log.last, Seq(next))
        });
        self.state.journal.push(Change::Appended { account, last, id, earlier });
        Ok(Seq(next))
    }

    /// An event of the account waits no more.
    pub fn left(&mut self, account: AccountNumber) {
        if let Some(log) = self.state.logs.get_mut(&account).filter(|log| log.waiting > 0) {
            log.waiting -= 1;
            self.state.journal.push(Change::Left(account));
        }
    }

    /// All ids up to the seq `last` are in the table `older_ids`: they leave the memory with this transaction.
    pub fn older_ids_moved(&mut self, last: i64) -> rusqlite::Result<()> {
        older_ids::set_up_to(self.connection, last)?;
        self.state.older_ids = true; // stays so if this is rolled back: then lookups find none there
        self.state.journal.push(Change::MovedUpTo(last));
        Ok(())
    }

    /// A change that takes effect in memory only when the transaction has committed.
    pub fn note(&mut self, change: Change) {
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
}

/// Writes down that no seq below `next` is to be given again.
pub fn write_next_seq(connection: &Connection, next: i64) -> rusqlite::Result<()> {
    set_meta(connection, "next_seq", next)
}
