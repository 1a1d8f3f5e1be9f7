//! The number of pending events of each account: counted in the tables at intervals, and kept up to date in between.
//!
//! In: counts from the tables ([`Backlogs::counted`]), and the events that this process read, appended and ended since. Out: the published
//! counts, and for each account a bound below which no event is pending, so that no reader examines settled events: while an old
//! transaction lasts, they have many outdated rows. Every process has its own counts: events that other processes append or end show at the
//! next count, about a second later. While the tables cannot be counted, the number of an account for which another process delivers only
//! grows, so what was appended before the last attempt does not count for the limit ([`Backlogs::certainly_pending`]), also after a
//! takeover. Invariant: with one process the counts are exact. An event that was appended during a count is counted once: the count
//! included it if it, or a later event of the account, was pending in it, since seqs of an account are in the order of commits. Events end
//! on the connection that counts, so none ends during a count. A bound is valid only on the server on which it was counted: another one may
//! be a promoted standby whose sequence lags. Deliberately absent: any I/O.

use super::accounts::AccountNumber;
use crate::domain::{AccountName, Seq};
use crate::store::published::Published;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::SystemTime;

/// The count of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// The number of the account.
    pub account: AccountNumber,
    /// The number of pending events.
    pub pending: u64,
    /// The first pending event.
    pub first: Seq,
    /// The newest pending event.
    pub newest: Seq,
}

/// The sums of a count, as of the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Sums {
    /// When the server was started.
    pub server: SystemTime,
    /// The highest seq.
    pub last: Seq,
    /// The number of dead letters.
    pub dead: u64,
}

/// The bound of an account below which no event is pending.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bound {
    /// The number of the account, if it was counted.
    pub account: Option<AccountNumber>,
    /// No event below it is pending.
    pub first: Seq,
    /// The newest event that was read from the tables. Everything up to it has committed, since seqs of an account are in the order of
    /// commits. If no event up to it is pending, none will be.
    newest_read: Seq,
}

/// The bounds of every account, until they are forgotten.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// How often bounds had been forgotten before these were read.
    resets: u64,
    /// The bound of each account.
    pub accounts: BTreeMap<AccountName, Bound>,
}

/// The backlogs of all accounts, as this process knows them.
#[derive(Debug)]
pub struct Backlogs {
    published: Arc<Published>,
    state: Mutex<CountedBacklogs>,
}

#[derive(Debug, Default)]
struct CountedBacklogs {
    /// How often the bounds were forgotten.
    resets: u64,
    /// When the server was started on which the bounds were counted.
    server: Option<SystemTime>,
    accounts: BTreeMap<AccountName, CountedBacklog>,
}

#[derive(Debug, Default)]
struct CountedBacklog {
    pending: u64,
    /// The part of `pending` that may have ended: this number was pending when the last count failed, and another process delivered for
    /// the account.
    uncertain: u64,
    bound: Bound,
    /// The seq up to which a count included every event of the account.
    counted_up_to: Seq,
    /// The events that this process appended since the last count began.
    appended: Vec<Seq>,
}

impl Backlogs {
    /// Backlogs without pending events, before the first count.
    pub fn new(published: Arc<Published>) -> Self {
        Self { published, state: Mutex::default() }
    }

    /// The number of pending events of the account, without those that may have ended since the tables could be counted. These do not count
    /// for the limit.
    pub fn certainly_pending(&self, account: &AccountName) -> u64 {
        let state = self.state.lock();
        state.accounts.get(account).map_or(0, |backlog| backlog.pending.saturating_sub(backlog.uncertain))
    }

    /// A seq below which no event of the account is pending.
    pub fn first(&self, account: &AccountName) -> Seq {
        self.state.lock().accounts.get(account).map_or(Seq::default(), |backlog| backlog.bound.first)
    }

    /// The same, on the server with this start.
    pub fn first_on(&self, server: SystemTime, account: &AccountName) -> Seq {
        let state = self.state.lock();
        let backlog = state.accounts.get(account).filter(|_| state.server == Some(server));
        backlog.map_or(Seq::default(), |backlog| backlog.bound.first)
    }

    /// The tables are about to be counted, from these bounds on. What this process has appended so far is included in that count.
    pub fn begin_count(&self) -> Bounds {
        let mut state = self.state.lock();
        state.accounts.values_mut().for_each(|backlog| backlog.appended.clear());
        let accounts = state.accounts.iter().map(|(name, backlog)| (name.clone(), backlog.bound));
        Bounds { resets: state.resets, accounts: accounts.collect() }
    }

    /// This event of the account was read in the session in which events are counted.
    pub fn read_up_to(&self, account: &AccountName, seq: Seq) {
        if let Some(backlog) = self.state.lock().accounts.get_mut(account) {
            backlog.bound.newest_read = backlog.bound.newest_read.max(seq);
        }
    }

    /// From now on events are read and counted in another session, or on another server. So every bound is forgotten.
    pub fn in_another_session(&self) {
        self.state.lock().forget_bounds();
    }

    /// This process has appended these events, in the order of their seqs.
    pub fn appended<'a>(&self, events: impl IntoIterator<Item = (&'a AccountName, Seq)>) {
        let accounts = &mut self.state.lock().accounts;
        let mut changed = BTreeMap::new();
        for (account, seq) in events {
            if !accounts.contains_key(account) {
                accounts.insert(account.clone(), CountedBacklog::default());
            }
            let Some(backlog) = accounts.get_mut(account) else { continue };
            if seq > backlog.counted_up_to {
                backlog.pending += 1;
                backlog.appended.push(seq);
                changed.insert(account, backlog.pending);
            }
        }
        self.published.commit(changed.into_iter(), 0, 0);
    }

    /// These numbers of pending events of these accounts have ended, and `dead` dead letters were added.
    pub fn ended<'a>(&self, events: impl IntoIterator<Item = (&'a AccountName, u64)>, dead: i64) {
        let accounts = &mut self.state.lock().accounts;
        let mut changed = BTreeMap::new();
        for (account, ended) in events {
            if let Some(backlog) = accounts.get_mut(account) {
                backlog.pending = backlog.pending.saturating_sub(ended);
                changed.insert(account, backlog.pending);
            }
        }
        self.published.commit(changed.into_iter(), dead, 0);
    }

    /// This process has appended these dead letters again, in the order of their seqs.
    pub fn replayed(&self, events: &[(&AccountName, Seq)]) {
        self.appended(events.iter().copied());
        self.ended([], -i64::try_from(events.len()).unwrap_or(i64::MAX));
    }

    /// The tables could not be counted. This process knows of the ends of events only in the accounts that it owns.
    pub fn not_counted(&self, is_owned: impl Fn(&AccountName) -> bool) {
        let accounts = &mut self.state.lock().accounts;
        for (_, backlog) in accounts.iter_mut().filter(|(name, _)| !is_owned(name)) {
            backlog.uncertain = backlog.pending;
        }
    }

    /// The tables were counted from `bounds` on, as of one moment. Accounts without pending events are left out. A count is ignored if it
    /// was begun in an earlier session, or if `server`, on which it was made, is not that of the bounds.
    pub fn counted(&self, bounds: &Bounds, counts: &BTreeMap<AccountName, Count>, sums: Sums) {
        let mut state = self.state.lock();
        let Sums { server, last, dead } = sums;
        if state.server.replace(server).is_some_and(|before| before != server) {
            state.forget_bounds();
            // What was appended to the other server may be lost, and is counted if it is not.
            for backlog in state.accounts.values_mut() {
                (backlog.counted_up_to, backlog.appended) = (Seq::default(), Vec::new());
            }
        }
        if state.resets != bounds.resets {
            return;
        }
        let accounts = &mut state.accounts;
        for name in counts.keys() {
            accounts.entry(name.clone()).or_default();
        }
        for (name, backlog) in accounts.iter_mut() {
            let (pending, first, newest) = match counts.get(name) {
                Some(count) => {
                    backlog.bound.account = Some(count.account);
                    (count.pending, count.first, count.newest)
                }
                None => (0, bounds.accounts.get(name).map_or(Seq::default(), Bound::after_newest), Seq::default()),
            };
            backlog.counted_up_to = backlog.counted_up_to.max(newest);
            backlog.appended.retain(|seq| *seq > newest);
            backlog.uncertain = 0;
            backlog.pending = pending + backlog.appended.len() as u64;
            backlog.bound.first = backlog.bound.first.max(first);
            backlog.bound.newest_read = backlog.bound.newest_read.max(newest);
        }
        self.published.commit(accounts.iter().map(|(name, backlog)| (name, backlog.pending)), 0, last.0);
        self.published.lock().status.dead = dead;
    }
}

impl CountedBacklogs {
    fn forget_bounds(&mut self) {
        self.resets += 1;
        self.accounts.values_mut().for_each(|backlog| backlog.bound = Bound::default());
    }
}

impl Bound {
    /// The bound after a count that began at this one and found no pending event.
    fn after_newest(&self) -> Seq {
        if self.newest_read == Seq::default() { self.first } else { self.first.max(Seq(self.newest_read.0 + 1)) }
    }
}

#[cfg(test)]
mod tests;
