//! The state that the writer of a log keeps in memory: account numbers, backlogs, the deduplication index, the next seq.
//!
//! In: the changes of a transaction. Out: the state as of that transaction. Invariants: a transaction that is rolled back leaves the state
//! as it was before it; ids of the open transaction are kept apart, and join the index when the transaction has committed; other threads
//! see the counts as of the last commit ([`Published`]); no data is copied whose size grows with the number of accounts or events.
//! Deliberately absent: rows, which an engine writes.

use super::appended_users::AppendedUsers;
use super::id_index::IdIndex;
use crate::domain::{AccountName, EventId, Seq, UserKey};
use crate::store::StoreStatus;
use crate::store::published::{Counts, Published};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

/// The number of an account in the tables.
pub type AccountNumber = i64;

/// The state as of the current transaction.
#[derive(Debug)]
pub struct LogState {
    accounts: HashMap<AccountName, AccountNumber>,
    backlogs: HashMap<AccountNumber, Backlog>,
    /// Ids of the log, as of the last commit.
    pub ids: IdIndex,
    /// The next seq to assign.
    next_seq: i64,
    uncommitted: Uncommitted,
    published: Arc<Published>,
}

/// An account's part of the log.
#[derive(Debug)]
pub struct Backlog {
    name: AccountName,
    /// The number of pending events.
    pending: u64,
    /// The seq that was appended last; at opening, that of the last pending event, or 0 if there is none.
    last: Seq,
    /// The user keys of recently appended events, perhaps including keys of a transaction that was rolled back.
    appended_users: AppendedUsers,
}

/// The changes of the current transaction: the values to restore on a rollback, and the changes that take effect at the commit.
#[derive(Debug, Default)]
struct Uncommitted {
    /// Ids of events that were appended.
    ids: HashMap<EventId, Seq>,
    /// Accounts whose backlog changed: their number of pending events and their last seq before. None: the account is new.
    backlogs: HashMap<AccountNumber, Option<(u64, Seq)>>,
    /// The number of added dead letters.
    dead_letters: i64,
    /// Ids of the log that no longer count.
    removed: Vec<(EventId, Seq)>,
    /// All ids up to this seq were written to disk.
    ids_on_disk_up_to: Option<i64>,
}

impl Backlog {
    /// The backlog of an account with so many pending events, up to `last`, whose user keys are not in memory.
    pub fn new(name: AccountName, pending: u64, last: Seq) -> Self {
        let appended_users = if pending > 0 { AppendedUsers::after(last) } else { AppendedUsers::default() };
        Self { name, pending, last, appended_users }
    }
}

impl LogState {
    /// The state at opening, with `dead` dead letters. `next_seq` is the first seq that was not assigned.
    pub fn new(ids: IdIndex, next_seq: i64, dead: u64, backlogs: HashMap<AccountNumber, Backlog>) -> Self {
        let accounts = backlogs.iter().map(|(number, log)| (log.name.clone(), *number)).collect();
        let pending = backlogs.values().filter(|log| log.pending > 0);
        let waiting: BTreeMap<_, _> = pending.map(|log| (log.name.to_string(), log.pending)).collect();
        let status = StoreStatus { pending: waiting.values().sum(), dead, write_error: None };
        let deduplication = (ids.len() as u64, ids.memory() as u64);
        let published = Published::new(Counts { status, pending: waiting, last_seq: next_seq - 1, deduplication });
        let uncommitted = Uncommitted::default();
        Self { accounts, backlogs, ids, next_seq, uncommitted, published: Arc::new(published) }
    }

    /// The counts that other threads see.
    pub fn published(&self) -> &Arc<Published> {
        &self.published
    }

    /// The transaction was rolled back.
    pub fn roll_back(&mut self) {
        self.next_seq = self.published.lock().last_seq + 1;
        for (account, before) in std::mem::take(&mut self.uncommitted).backlogs {
            if let (Some(before), Some(log)) = (before, self.backlogs.get_mut(&account)) {
                (log.pending, log.last) = before;
            } else if let Some(new) = self.backlogs.remove(&account) {
                self.accounts.remove(&new.name);
            }
        }
    }

    /// The transaction has committed: its ids join the index, and its counts are published.
    pub fn commit(&mut self) {
        let changes = &mut self.uncommitted;
        let mut new_ids: Vec<(EventId, Seq)> = changes.ids.drain().collect();
        new_ids.sort_unstable_by_key(|(_, seq)| *seq);
        for (id, seq) in &new_ids {
            self.ids.insert(id, seq.0);
        }
        for (id, seq) in changes.removed.drain(..) {
            self.ids.remove(&id, seq.0);
        }
        if let Some(last) = changes.ids_on_disk_up_to.take() {
            self.ids.drop_up_to(last);
        }
        for account in changes.backlogs.keys() {
            if let Some(log) = self.backlogs.get_mut(account).filter(|log| log.pending == 0) {
                log.appended_users.clear(log.last);
            }
        }
        let changed = changes.backlogs.drain().filter_map(|(account, _)| self.backlogs.get(&account));
        let dead_letters = std::mem::take(&mut changes.dead_letters);
        self.published.commit(changed.map(|log| (&log.name, log.pending)), dead_letters, self.next_seq - 1);
        self.published.lock().deduplication = (self.ids.len() as u64, self.ids.memory() as u64);
    }

    /// The number of an account, if it has one.
    pub fn find_account(&self, name: &AccountName) -> Option<AccountNumber> {
        self.accounts.get(name).copied()
    }

    /// Adds an account with this number.
    pub fn add_account(&mut self, name: &AccountName, number: AccountNumber) {
        self.accounts.insert(name.clone(), number);
        self.backlogs.insert(number, Backlog::new(name.clone(), 0, Seq(0)));
        self.uncommitted.backlogs.insert(number, None);
    }

    /// The number of pending events of the account.
    pub fn pending(&self, name: &AccountName) -> u64 {
        self.backlog(name).map_or(0, |log| log.pending)
    }

    /// Whether an event of the user with these keys may be pending. None up to `none_up_to` is.
    pub fn may_be_pending(&self, name: &AccountName, users: &[UserKey], none_up_to: Option<Seq>) -> bool {
        let log = self.backlog(name).filter(|log| log.pending > 0 && !users.is_empty());
        log.is_some_and(|log| log.appended_users.may_be_pending(users, none_up_to))
    }

    /// The next seq to assign.
    pub fn next_seq(&self) -> i64 {
        self.next_seq
    }

    /// Assigns the next seq to an event that is not pending and whose repeats are no duplicates.
    pub fn assign_seq(&mut self) -> Seq {
        let seq = Seq(self.next_seq);
        self.next_seq += 1;
        seq
    }

    /// Assigns the next seq to an event of the account with this id and these user keys.
    pub fn append(&mut self, account: AccountNumber, id: EventId, users: &[UserKey]) -> Seq {
        let seq = self.assign_seq();
        self.uncommitted.ids.insert(id, seq);
        if let Some(log) = self.change(account) {
            log.appended_users.append(users, seq, log.last);
            (log.pending, log.last) = (log.pending + 1, seq);
        }
        seq
    }

    /// A pending event of the account has ended.
    pub fn end_event(&mut self, account: AccountNumber) {
        if let Some(log) = self.change(account) {
            log.pending = log.pending.saturating_sub(1);
        }
    }

    /// `more` dead letters were added.
    pub fn add_dead_letters(&mut self, more: i64) {
        self.uncommitted.dead_letters += more;
    }

    /// An id of the log no longer counts.
    pub fn remove(&mut self, id: EventId, seq: Seq) {
        self.uncommitted.removed.push((id, seq));
    }

    /// The seq at which this transaction has appended the id.
    pub fn appended_now(&self, id: &EventId) -> Option<Seq> {
        self.uncommitted.ids.get(id).copied()
    }

    /// All ids up to the seq `last` were written to disk. They leave the memory when this transaction commits.
    pub fn ids_moved(&mut self, last: i64) {
        self.uncommitted.ids_on_disk_up_to = Some(last);
    }

    fn backlog(&self, name: &AccountName) -> Option<&Backlog> {
        self.backlogs.get(self.accounts.get(name)?)
    }

    /// The backlog of an account, for a change.
    fn change(&mut self, account: AccountNumber) -> Option<&mut Backlog> {
        let log = self.backlogs.get_mut(&account)?;
        self.uncommitted.backlogs.entry(account).or_insert(Some((log.pending, log.last)));
        Some(log)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const USER: UserKey = UserKey::UserId([1; 16]);

    fn name(n: u8) -> AccountName {
        AccountName::from(format!("account {n}"))
    }

    fn id(n: u8) -> EventId {
        EventId([n; 16])
    }

    /// Two events of account 1 are pending; the next seq is 5.
    fn opened() -> LogState {
        let backlogs = HashMap::from([(1, Backlog::new(name(1), 2, Seq(4))), (2, Backlog::new(name(2), 0, Seq(0)))]);
        LogState::new(IdIndex::new(1 << 20, 0), 5, 3, backlogs)
    }

    fn counts(state: &LogState) -> (u64, u64, i64) {
        let counts = state.published().lock();
        (counts.status.pending, counts.status.dead, counts.last_seq)
    }

    /// Appends to an old and to a new account, ends an event, and adds dead letters.
    fn change(state: &mut LogState) {
        assert_eq!(state.append(1, id(5), &[USER]), Seq(5));
        state.add_account(&name(3), 3);
        assert_eq!(state.append(3, id(6), &[USER]), Seq(6));
        state.end_event(1);
        state.end_event(1);
        state.add_dead_letters(2);
        assert_eq!((state.pending(&name(1)), state.pending(&name(3))), (1, 1));
        assert_eq!((state.appended_now(&id(5)), state.ids.candidates(&id(5))), (Some(Seq(5)), vec![]));
    }

    #[test]
    fn a_transaction_that_is_rolled_back_leaves_nothing_behind() {
        let mut state = opened();
        for _ in 0..2 {
            change(&mut state);
            state.roll_back();
            assert_eq!((counts(&state), state.next_seq()), ((2, 3, 4), 5));
            assert_eq!((state.pending(&name(1)), state.find_account(&name(3))), (2, None));
            assert_eq!((state.appended_now(&id(5)), state.ids.candidates(&id(5))), (None, vec![]));
        }
        change(&mut state);
        state.commit();
        assert_eq!((counts(&state), state.ids.candidates(&id(5))), ((2, 5, 6), vec![5]));
    }
}
