//! How many events of each account are pending: counted in the tables now and then, and kept up to date in between.
//!
//! In: counts from the tables ([`Backlogs::counted`]), and what this process appended and ended since. Out: the published counts.
//! Every process has its own: what other processes append or end shows at the next count, about a second later. Invariant: with one
//! process the counts are exact. An event that was appended while the tables were counted is counted once: its seq tells whether
//! the count included it, since seqs of an account are in the order of commits. Events are ended on the connection that counts, so not
//! meanwhile. Deliberately absent: any I/O.

use crate::domain::{AccountName, Seq};
use crate::store::published::Published;
use parking_lot::Mutex;
use std::collections::BTreeMap;
use std::sync::Arc;

/// What was counted of one account.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Count {
    /// How many events are pending.
    pub pending: u64,
    /// The first of them.
    pub first: Seq,
}

/// The backlogs of all accounts, as far as this process knows.
#[derive(Debug)]
pub struct Backlogs {
    published: Arc<Published>,
    accounts: Mutex<BTreeMap<AccountName, CountedBacklog>>,
}

#[derive(Debug, Default)]
struct CountedBacklog {
    pending: u64,
    /// No event below it is pending: it was the first one when it was counted last. What was not yet committed then has a higher seq,
    /// since seqs of an account are in the order of commits; so if none was pending, nothing new is known.
    first: Seq,
    /// The last count included everything up to here.
    counted_up_to: Seq,
    /// What this process appended since.
    appended: Vec<Seq>,
}

impl Backlogs {
    /// Nothing is pending, until it is counted.
    pub fn new(published: Arc<Published>) -> Self {
        Self { published, accounts: Mutex::default() }
    }

    /// How many events of the account are pending.
    pub fn pending(&self, account: &AccountName) -> u64 {
        self.accounts.lock().get(account).map_or(0, |backlog| backlog.pending)
    }

    /// A seq below which no event of the account is pending.
    pub fn first(&self, account: &AccountName) -> Seq {
        self.accounts.lock().get(account).map_or(Seq::default(), |backlog| backlog.first)
    }

    /// This process has appended these, in the order of their seqs.
    pub fn appended<'a>(&self, events: impl IntoIterator<Item = (&'a AccountName, Seq)>) {
        let mut accounts = self.accounts.lock();
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

    /// So many pending events of these accounts were ended, and so many dead letters added.
    pub fn ended<'a>(&self, events: impl IntoIterator<Item = (&'a AccountName, u64)>, dead: i64) {
        let mut accounts = self.accounts.lock();
        let mut changed = BTreeMap::new();
        for (account, ended) in events {
            if let Some(backlog) = accounts.get_mut(account) {
                backlog.pending = backlog.pending.saturating_sub(ended);
                changed.insert(account, backlog.pending);
            }
        }
        self.published.commit(changed.into_iter(), dead, 0);
    }

    /// The tables were counted, as of one moment at which `last` was the highest seq. Accounts without pending events are left out.
    pub fn counted(&self, counts: &BTreeMap<AccountName, Count>, last: Seq, dead: u64) {
        let mut accounts = self.accounts.lock();
        for name in counts.keys() {
            accounts.entry(name.clone()).or_default();
        }
        for (name, backlog) in accounts.iter_mut() {
            let count = counts.get(name).copied().unwrap_or(Count { pending: 0, first: backlog.first });
            backlog.counted_up_to = backlog.counted_up_to.max(last);
            backlog.appended.retain(|seq| *seq > last);
            backlog.pending = count.pending + backlog.appended.len() as u64;
            backlog.first = count.first;
        }
        self.published.commit(accounts.iter().map(|(name, backlog)| (name, backlog.pending)), 0, last.0);
        self.published.lock().status.dead = dead;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(pending: u64, first: i64) -> BTreeMap<AccountName, Count> {
        BTreeMap::from([(AccountName::main(), Count { pending, first: Seq(first) })])
    }

    #[test]
    fn what_was_appended_while_the_tables_were_counted_is_counted_once() {
        let (main, published) = (AccountName::main(), Arc::<Published>::default());
        let backlogs = Backlogs::new(Arc::clone(&published));
        backlogs.appended([(&main, Seq(1)), (&main, Seq(2)), (&main, Seq(3))]);
        assert_eq!(backlogs.pending(&main), 3);
        backlogs.counted(&counts(2, 1), Seq(2), 7);
        assert_eq!(backlogs.pending(&main), 3, "the third was not counted");
        backlogs.counted(&counts(4, 1), Seq(4), 7);
        backlogs.appended([(&main, Seq(4)), (&main, Seq(5))]);
        assert_eq!((backlogs.pending(&main), backlogs.first(&main)), (5, Seq(1)), "the fourth was counted already");
        let status = published.lock().status.clone();
        assert_eq!((status.pending, status.dead), (5, 7));
    }

    #[test]
    fn what_was_ended_since_the_last_count_is_not_counted_again() {
        let (main, published) = (AccountName::main(), Arc::<Published>::default());
        let backlogs = Backlogs::new(Arc::clone(&published));
        backlogs.appended([(&main, Seq(1)), (&main, Seq(2))]);
        backlogs.ended([(&main, 2)], 1);
        assert_eq!((backlogs.pending(&main), published.lock().status.dead), (0, 1));
        backlogs.counted(&BTreeMap::new(), Seq(2), 1);
        assert_eq!((backlogs.pending(&main), backlogs.first(&main)), (0, Seq(0)), "one may be about to be committed");
        assert!(published.lock().pending.is_empty());
    }
}
