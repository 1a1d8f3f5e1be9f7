//! Ownership of accounts: the process that delivers for an account, and its lease. If the process dies, another takes the account over
//! (failover).
//!
//! In: the accounts that this process can deliver for. Out: a [`Lease`] for each account that it owns. Invariants: at most one process owns
//! an account; a process has at most one lease of an account at a time: after a lease has ended, the next is given out only when every
//! clone of it was dropped, so nothing is in flight under it. With SQLite one process has the store for itself and owns every account
//! without end: the default methods. Deliberately absent: the assignment of accounts to processes ([`crate::scheduling`]), and the work of
//! an owner ([`crate::worker`]).

use super::StoreError;
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, EventId, Seq, Timestamp};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// The ownership of accounts by this process, and hints about other processes.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// How often [`Ownership::renew`] must be called; `None` if there is nothing to renew.
    fn renew_every(&self) -> Option<Duration> {
        None
    }

    /// The lease of this process on the account. `None`: it is not the owner, or is about to give the account up. No I/O.
    fn lease(&self, account: &AccountName) -> Option<Lease> {
        let _ = account;
        Some(Lease::unlimited())
    }

    /// Whether this process delivers for the account. No I/O.
    fn is_owner(&self, account: &AccountName) -> bool {
        self.lease(account).is_some()
    }

    /// Renews every lease, takes over accounts without a live owner, and asks for or gives up accounts, so that they are distributed over
    /// the live processes. `candidates` are the accounts that this process can deliver for. Without candidates it gives up all accounts,
    /// each when no clone of its lease is left. Returns the owned accounts with pending events that were not there at the last renewal.
    async fn renew(&self, candidates: &BTreeSet<AccountName>) -> Result<Vec<AccountName>, StoreError> {
        let _ = candidates;
        Ok(Vec::new())
    }

    /// Returns when there is a reason to act before the next renewal is due. These hints may be lost.
    async fn changed(&self) -> Hint {
        std::future::pending().await
    }

    /// Returns when the owner of `account`, another process, has settled the event with this seq and this id, or has saved a health of the
    /// account that differs from `health`. It polls the store and needs no hints.
    async fn done_elsewhere(
        &self,
        account: &AccountName,
        event: (Seq, EventId),
        health: Option<&str>,
    ) -> DoneElsewhere {
        let _ = (account, event, health);
        std::future::pending().await
    }

    /// The time of the store's own clock, which all processes share. `None`: the store has no clock.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
}

/// A hint about a change by another process.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Hint {
    /// It appended events to these accounts, which this process owns.
    Appended(Vec<AccountName>),
    /// It gave up an account or asks for one; or the last clone of an ending lease was dropped here. A renewal is useful now.
    Owners,
    /// It stored an API key.
    ApiKeys,
}

/// An action of an owner in another process, while a request here waits for an event of the account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoneElsewhere {
    /// It settled the event, with this outcome, and the reason in words if it is a dead letter.
    Settled(OutcomeCode, Option<String>),
    /// It saved this health of the account, which is opaque to the store.
    Health(String),
}

/// The right of this process to deliver for an account. Clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease(Option<watch::Receiver<Term>>);

/// The term of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// The number of the lease: each lease of a process has another one.
    pub number: u64,
    /// The moment until which requests may be sent without a further renewal, counted from before the renewal was sent, on the monotonic
    /// clock of this process. Another process may take over the account some seconds later, so a request that was sent has its effect
    /// before.
    pub until: Instant,
    /// Whether no delivery may begin any more and the lease is not renewed, because the account was lost or will be given up.
    pub is_ending: bool,
}

impl Lease {
    /// A lease without end.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// A lease of this term. The other end of the channel renews and ends it.
    pub fn of(term: watch::Receiver<Term>) -> Self {
        Self(Some(term))
    }

    /// Whether no other process ever delivers for the account, because this one has opened the store exclusively (SQLite).
    pub fn is_unlimited(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a request may be sent now.
    pub fn may_send(&self) -> bool {
        self.0.as_ref().is_none_or(|term| Instant::now() <= term.borrow().until)
    }

    /// Whether no delivery may begin any more. Deliveries in flight may be settled; if the account was lost, the store refuses that.
    pub fn is_ending(&self) -> bool {
        self.0.as_ref().is_some_and(|term| term.borrow().is_ending)
    }

    /// The number of the lease: each lease of a process has another one.
    pub fn number(&self) -> u64 {
        self.0.as_ref().map_or(0, |term| term.borrow().number)
    }

    /// Returns when the lease was renewed or is ending.
    pub async fn changed(&mut self) {
        let Some(term) = &mut self.0 else { return std::future::pending().await };
        // Err: the store was closed, so nothing changes any more.
        if term.changed().await.is_err() {
            std::future::pending::<()>().await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    fn lease_of(seconds: u32) -> (watch::Sender<Term>, Lease) {
        let until = Instant::now() + SECOND * seconds;
        let (sender, term) = watch::channel(Term { number: 1, until, is_ending: false });
        (sender, Lease::of(term))
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_lasts_until_its_end_and_longer_once_it_is_renewed() {
        let (term, mut lease) = lease_of(10);
        tokio::time::advance(10 * SECOND).await;
        assert!(lease.may_send());
        tokio::time::advance(SECOND).await;
        assert!(!lease.may_send() && !lease.is_ending(), "it may be renewed yet");
        term.send_modify(|term| term.until = Instant::now() + 10 * SECOND);
        lease.changed().await;
        assert!(lease.may_send());
    }

    #[tokio::test(start_paused = true)]
    async fn a_lease_that_is_to_end_says_so_and_one_without_end_never_does() {
        let (term, mut lease) = lease_of(10);
        term.send_modify(|term| term.is_ending = true);
        lease.changed().await;
        assert!(lease.is_ending() && lease.may_send(), "what is in flight is finished");
        drop(term);
        assert!(tokio::time::timeout(SECOND, lease.changed()).await.is_err(), "nothing changes any more");
        let mut unlimited = Lease::unlimited();
        assert!(unlimited.may_send() && !unlimited.is_ending());
        assert!(tokio::time::timeout(SECOND, unlimited.changed()).await.is_err());
    }
}
