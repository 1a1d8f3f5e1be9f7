//! How much the store holds, counted as it changes: what would be dear to count each time.
//!
//! Invariants: it is as of the current transaction, and rolled back with it; how many events wait is written down with every
//! change, so that nobody counts a million rows at a start.

use rusqlite::{Connection, params};
use std::collections::BTreeMap;

/// What the tables hold, as of the current transaction; rolled back with it.
#[derive(Clone, Debug)]
pub struct Counts {
    /// How many events wait: the number of rows in `events`.
    pub waiting: u64,
    /// How many of them are of which account. Without those for whom none waits: it is copied with every group, and there may be
    /// very many accounts.
    pub waiting_of: BTreeMap<String, u64>,
    /// How many dead letters there are.
    pub dead: u64,
    /// The next place in the order of arrival.
    pub next_seq: i64,
    /// The number of the next claim.
    pub next_claim: i64,
}

impl Counts {
    /// How many events of `account` wait.
    pub fn waiting_of(&self, account: &str) -> u64 {
        self.waiting_of.get(account).copied().unwrap_or(0)
    }

    /// How many events wait in an account whose backlog would grow beyond `max` by one event for each of `accounts`, if there
    /// is one.
    pub fn overfull<'a>(&self, accounts: impl Iterator<Item = &'a str>, max: u64) -> Option<u64> {
        let mut adds: BTreeMap<&str, u64> = BTreeMap::new();
        for account in accounts {
            *adds.entry(account).or_default() += 1;
        }
        let mut waits = adds.into_iter().map(|(account, adds)| (self.waiting_of(account), adds));
        waits.find(|(waiting, adds)| waiting + adds > max).map(|(waiting, _)| waiting)
    }

    /// Writes down how many events wait where that has changed since `before`, so that nobody has to count them.
    pub fn keep(&self, connection: &Connection, before: &Self) -> rusqlite::Result<()> {
        let sql =
            "INSERT INTO waiting (account, events) VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET events = ?2";
        for (account, events) in
            self.waiting_of.iter().filter(|(account, events)| before.waiting_of.get(*account) != Some(*events))
        {
            connection.prepare_cached(sql)?.execute(params![account, events.cast_signed()])?;
        }
        for account in before.waiting_of.keys().filter(|account| !self.waiting_of.contains_key(*account)) {
            connection.prepare_cached("DELETE FROM waiting WHERE account = ?1")?.execute([account])?;
        }
        Ok(())
    }

    /// An event of `account` waits from now on.
    pub fn come(&mut self, account: &str) {
        self.waiting += 1;
        match self.waiting_of.get_mut(account) {
            Some(waiting) => *waiting += 1,
            None => drop(self.waiting_of.insert(account.to_owned(), 1)),
        }
    }

    /// An event of `account` waits no more.
    pub fn gone(&mut self, account: &str) {
        self.waiting = self.waiting.saturating_sub(1);
        if let Some(waiting) = self.waiting_of.get_mut(account) {
            *waiting = waiting.saturating_sub(1);
            if *waiting == 0 {
                self.waiting_of.remove(account);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_account_for_which_nothing_waits_takes_no_room() {
        let mut counts = Counts { waiting: 0, waiting_of: BTreeMap::new(), dead: 0, next_seq: 1, next_claim: 1 };
        for account in ["a", "b", "a"] {
            counts.come(account);
        }
        for account in ["a", "b"] {
            counts.gone(account);
        }
        assert_eq!((counts.waiting, counts.waiting_of("a"), counts.waiting_of("b")), (1, 1, 0));
        assert_eq!(counts.waiting_of.len(), 1);
        counts.gone("a");
        assert!(counts.waiting_of.is_empty());
    }
}
