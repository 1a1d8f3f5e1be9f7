//! The leases of this process, in memory: one for each account that it owns, and the way in which it ends.
//!
//! In: owners and tokens from the database. Out: leases for the workers, tokens for the statements of the engine (fencing tokens), and the
//! accounts that can be given up. Invariants: an account has one lease at a time; an ending lease stays here until its last clone was
//! dropped, and until then the account gets no new lease; all leases end at the same time, since one heartbeat renews them. Deliberately
//! absent: any I/O.

use super::accounts::AccountNumber;
use crate::domain::{AccountName, Seq};
use crate::scheduling::ReplicaId;
use crate::store::{Lease, Term};
use parking_lot::Mutex;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::SystemTime;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;
use uuid::Uuid;

/// The fencing token by which this process holds an account. Settlements compare it with the row of the account.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct LeaseToken {
    /// The number of the account.
    pub account: AccountNumber,
    /// A random number, drawn whenever the account gets another owner.
    pub token: Uuid,
    /// The start of the server that confirmed the token. A server with another start may be a promoted standby: it may lack the latest
    /// events, and give their seqs to other events.
    pub server: SystemTime,
}

/// The leases of this process.
#[derive(Debug)]
pub struct Leases {
    state: Mutex<HeldLeases>,
    /// Notified when the last clone of an ending lease was dropped.
    unused: Arc<Notify>,
}

#[derive(Debug)]
struct HeldLeases {
    held: BTreeMap<AccountName, HeldLease>,
    /// The moment until which requests may be sent.
    until: Instant,
    /// The number of the latest lease.
    number: u64,
}

#[derive(Debug)]
struct HeldLease {
    token: LeaseToken,
    term: watch::Sender<Term>,
    ending: Option<LeaseEnd>,
    /// The newest pending event that was reported.
    newest_reported: Seq,
}

/// The way in which a lease ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseEnd {
    /// The account is given to this process (`None`: to any).
    Give(Option<ReplicaId>),
    /// The account belongs to another process already, or the server is another one. No event of it is settled under this lease any more.
    Lost,
    /// The account gets a new lease with the same token, because the state that was read may be outdated.
    Again,
}

impl Leases {
    /// Without leases.
    pub fn new() -> Self {
        let state = HeldLeases { held: BTreeMap::new(), until: Instant::now(), number: 0 };
        Self { state: Mutex::new(state), unused: Arc::default() }
    }

    /// The lease on the account, unless it is ending.
    pub fn lease(&self, account: &AccountName) -> Option<Lease> {
        let state = self.state.lock();
        let held = state.held.get(account).filter(|held| held.ending.is_none())?;
        Some(Lease::of(held.term.subscribe()))
    }

    /// The token by which the account is held, also while its lease is ending; `None` once the lease was lost.
    pub fn token(&self, account: &AccountName) -> Option<LeaseToken> {
        let state = self.state.lock();
        state.held.get(account).filter(|held| held.ending != Some(LeaseEnd::Lost)).map(|held| held.token)
    }

    /// The number of the lease on the account, if it was not lost and this server confirmed it.
    pub fn number_on(&self, account: &AccountName, server: SystemTime) -> Option<u64> {
        let state = self.state.lock();
        let held = state.held.get(account).filter(|held| held.ending != Some(LeaseEnd::Lost))?;
        (held.token.server == server).then(|| held.term.borrow().number)
    }

    /// Whether this process has a lease of the account, lost or not.
    pub fn is_held(&self, account: &AccountName) -> bool {
        self.state.lock().held.contains_key(account)
    }

    /// Adds a lease: this process owns the account by this token. Does nothing and returns false while there is an earlier lease of the
    /// account.
    pub fn hold(&self, account: &AccountName, token: LeaseToken) -> bool {
        let mut state = self.state.lock();
        if state.held.contains_key(account) {
            return false;
        }
        state.number += 1;
        let term = Term { number: state.number, until: state.until, is_ending: false };
        let held = HeldLease { token, term: watch::Sender::new(term), ending: None, newest_reported: Seq::default() };
        state.held.insert(account.clone(), held);
        true
    }

    /// Extends all leases: requests may be sent until then.
    pub fn renew(&self, until: Instant) {
        let mut state = self.state.lock();
        state.until = until;
        for held in state.held.values().filter(|held| held.ending != Some(LeaseEnd::Lost)) {
            held.term.send_modify(|term| term.until = until);
        }
    }

    /// Ends the lease of the account: no delivery begins under it any more. Does nothing and returns false if the lease was lost.
    pub fn end(&self, account: &AccountName, ending: LeaseEnd) -> bool {
        let mut state = self.state.lock();
        let Some(held) = state.held.get_mut(account).filter(|held| held.ending != Some(LeaseEnd::Lost)) else {
            return false;
        };
        let is_first = held.ending.replace(ending).is_none();
        held.term.send_modify(|term| {
            term.is_ending = true;
            if ending == LeaseEnd::Lost {
                term.until = term.until.min(Instant::now());
            }
        });
        if is_first {
            let (term, unused) = (held.term.clone(), Arc::clone(&self.unused));
            tokio::spawn(async move {
                term.closed().await;
                unused.notify_one();
            });
        }
        true
    }

    /// Ends every lease that is not ending yet.
    pub fn end_all(&self, ending: LeaseEnd) {
        for account in self.accounts(|held| held.ending.is_none()) {
            self.end(&account, ending);
        }
    }

    /// Returns when the last clone of an ending lease was dropped.
    pub async fn unused(&self) {
        self.unused.notified().await;
    }

    /// The accounts whose ending leases have no clone left, with the tokens by which they are held, and the ways in which the leases end.
    pub fn ended(&self) -> Vec<(AccountName, LeaseToken, LeaseEnd)> {
        let state = self.state.lock();
        let ended = state.held.iter().filter(|(_, held)| held.term.receiver_count() == 0);
        ended.filter_map(|(name, held)| Some((name.clone(), held.token, held.ending?))).collect()
    }

    /// Removes the lease of the account.
    pub fn remove(&self, account: &AccountName) {
        self.state.lock().held.remove(account);
    }

    /// Every account with a lease, ending or not.
    pub fn held(&self) -> Vec<AccountName> {
        self.accounts(|_| true)
    }

    /// The accounts whose leases are not ending, by number, with the newest pending event that was reported of each.
    pub fn newest_reported(&self) -> BTreeMap<AccountNumber, (AccountName, Seq)> {
        let state = self.state.lock();
        let held = state.held.iter().filter(|(_, held)| held.ending.is_none());
        held.map(|(name, held)| (held.token.account, (name.clone(), held.newest_reported))).collect()
    }

    /// Reports a pending event of the account with this number. Returns whether it was not reported before.
    pub fn report(&self, account: &AccountName, number: AccountNumber, newest: Seq) -> bool {
        let mut state = self.state.lock();
        let held = state.held.get_mut(account).filter(|held| held.token.account == number && held.ending.is_none());
        let Some(held) = held.filter(|held| held.newest_reported < newest) else { return false };
        held.newest_reported = newest;
        true
    }

    /// The names of the accounts of this list that have a lease.
    pub fn names(&self, numbers: &BTreeSet<AccountNumber>) -> Vec<AccountName> {
        self.accounts(|held| held.ending.is_none() && numbers.contains(&held.token.account))
    }

    fn accounts(&self, which: impl Fn(&HeldLease) -> bool) -> Vec<AccountName> {
        let state = self.state.lock();
        state.held.iter().filter(|(_, held)| which(held)).map(|(name, _)| name.clone()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    const TOKEN: LeaseToken = of_account(7, 1);
    const ANOTHER: LeaseToken = of_account(7, 2);

    const fn of_account(account: AccountNumber, token: u128) -> LeaseToken {
        LeaseToken { account, token: Uuid::from_u128(token), server: SystemTime::UNIX_EPOCH }
    }

    fn main() -> AccountName {
        AccountName::main()
    }

    #[tokio::test]
    async fn an_account_is_given_up_only_once_nothing_of_it_is_in_flight() {
        let leases = Leases::new();
        leases.hold(&main(), TOKEN);
        let lease = leases.lease(&main()).expect("held");
        let clone = lease.clone();
        leases.end(&main(), LeaseEnd::Give(None));
        assert!(lease.is_ending() && leases.lease(&main()).is_none(), "nothing new is begun");
        assert_eq!(leases.token(&main()), Some(TOKEN), "what is in flight is settled");
        drop(lease);
        assert_eq!(leases.ended(), []);
        drop(clone);
        leases.unused().await;
        assert_eq!(leases.ended(), [(main(), TOKEN, LeaseEnd::Give(None))]);
        leases.remove(&main());
        assert_eq!((leases.token(&main()), leases.held()), (None, vec![]));
    }

    #[tokio::test]
    async fn a_lost_account_is_not_held_anew_while_something_of_the_lost_lease_is_in_flight() {
        let leases = Leases::new();
        leases.renew(Instant::now() + Duration::from_secs(10));
        leases.hold(&main(), TOKEN);
        let lost = leases.lease(&main()).expect("held");
        leases.end(&main(), LeaseEnd::Lost);
        assert!(!lost.may_send(), "not a byte");
        leases.renew(Instant::now() + Duration::from_secs(10));
        leases.end(&main(), LeaseEnd::Again);
        leases.hold(&main(), ANOTHER);
        assert!(!lost.may_send() && leases.lease(&main()).is_none());
        assert_eq!(leases.token(&main()), None, "nor can it be settled by a later token");
        drop(lost);
        let [(_, _, LeaseEnd::Lost)] = &leases.ended()[..] else { panic!("lost") };
        leases.remove(&main());
        leases.hold(&main(), ANOTHER);
        assert!(leases.lease(&main()).is_some_and(|lease| lease.number() == 2));
    }

    #[tokio::test(start_paused = true)]
    async fn one_renewal_is_for_all_leases_those_that_are_to_end_included() {
        let leases = Leases::new();
        for (name, number) in [("a", 1), ("b", 2)] {
            leases.hold(&AccountName::from(name.to_owned()), of_account(number, 1));
        }
        let each = ["a", "b"].map(|name| leases.lease(&AccountName::from(name.to_owned())).expect("held"));
        leases.end(&AccountName::from("b".to_owned()), LeaseEnd::Give(None));
        tokio::time::advance(Duration::from_secs(1)).await;
        assert!(each.iter().all(|lease| !lease.may_send()));
        leases.renew(Instant::now() + Duration::from_secs(1));
        assert!(each.iter().all(Lease::may_send));
    }

    #[tokio::test]
    async fn a_pending_event_is_reported_once_for_each_lease() {
        let leases = Leases::new();
        leases.hold(&main(), TOKEN);
        assert_eq!(leases.newest_reported(), BTreeMap::from([(7, (main(), Seq(0)))]));
        let report = |number, seq| leases.report(&main(), number, Seq(seq));
        assert_eq!((report(7, 5), report(7, 5)), (true, false));
        assert_eq!((report(7, 6), report(8, 9)), (true, false));
        leases.end(&main(), LeaseEnd::Again);
        assert!(!report(7, 7), "its scheduler ends");
        leases.remove(&main());
        leases.hold(&main(), TOKEN);
        assert!(report(7, 6), "the next one begins at the beginning");
    }
}
