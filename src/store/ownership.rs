//! Ownership of accounts: which process delivers for an account, and until when. If it dies, another takes the account over (failover).
//!
//! In: the accounts that this process can deliver for. Out: a [`Lease`] for each that it owns. Invariants: at most one process
//! owns an account; a process has at most one lease of an account at a time: after one has ended, the next is given out only
//! once every clone of it was dropped, and with it all that was in flight. Where one process has the store to itself, as with
//! SQLite, it owns every account, without end: these are the default methods. Deliberately absent: which process is to own an
//! account, which is decided in [`crate::scheduling`], and what an owner does.

use super::StoreError;
use crate::delivery::OutcomeCode;
use crate::domain::{AccountName, Seq, Timestamp};
use async_trait::async_trait;
use std::collections::BTreeSet;
use std::time::Duration;
use tokio::sync::watch;
use tokio::time::Instant;

/// Which accounts this process delivers for, and what it learns of the other processes.
#[async_trait]
pub trait Ownership: Send + Sync {
    /// How often [`Ownership::renew`] is to be called; `None` if there is nothing to renew.
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

    /// Renews every lease, takes over accounts that have no live owner, and asks for or gives up accounts, so that they are
    /// spread over the live processes. `candidates` are the accounts that this process can deliver for; without any it gives up
    /// all it owns, each as soon as no clone of its lease is left. Returns the accounts owned here that have pending events
    /// which were not there at the last renewal.
    async fn renew(&self, candidates: &BTreeSet<AccountName>) -> Result<Vec<AccountName>, StoreError> {
        let _ = candidates;
        Ok(Vec::new())
    }

    /// Returns when there is a reason to act before the next renewal is due. Such hints may be lost.
    async fn changed(&self) -> Change {
        std::future::pending().await
    }

    /// Returns once the owner of `account`, another process, has settled the event `seq`, or has saved another health of the account
    /// than `health`. Without hints: the store is asked again and again.
    async fn done_elsewhere(&self, account: &AccountName, seq: Seq, health: Option<&str>) -> DoneElsewhere {
        let _ = (account, seq, health);
        std::future::pending().await
    }

    /// The time by the store's own clock, which all processes share. `None`: it has none.
    async fn time(&self) -> Result<Option<Timestamp>, StoreError> {
        Ok(None)
    }
}

/// What another process did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// It appended events to these accounts, which are owned here.
    Appended(Vec<AccountName>),
    /// It gave an account up, or asks for one; or the last clone of a lease that is to end was dropped here. A renewal is worth
    /// while.
    Owners,
    /// It stored an API key.
    ApiKeys,
}

/// What the owner of an account, another process, did while a request waits here for an event of it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DoneElsewhere {
    /// It settled the event: how that ended, and the reason in words if it is a dead letter.
    Settled(OutcomeCode, Option<String>),
    /// It saved this as the account's health, which is opaque to the store.
    Health(String),
}

/// The right of this process to deliver for an account. Clones are the same lease.
#[derive(Clone, Debug)]
pub struct Lease(Option<watch::Receiver<Term>>);

/// How long a lease lasts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Term {
    /// Which lease this is: each that a process is given has another number.
    pub number: u64,
    /// Until when requests may be sent, unless it is renewed: counted from before the renewal was sent, on this process's monotonic
    /// clock. Another process may take the account over some seconds later, so that a request that was sent has its effect before.
    pub until: Instant,
    /// No delivery may begin any more, and it is not renewed: the account was lost, or is to be given up.
    pub is_ending: bool,
}

impl Lease {
    /// A lease without end.
    pub fn unlimited() -> Self {
        Self(None)
    }

    /// A lease of this term, which is renewed and ended through the other end of the channel.
    pub fn of(term: watch::Receiver<Term>) -> Self {
        Self(Some(term))
    }

    /// Whether no other process ever delivers for the account, because this one has the store to itself (SQLite).
    pub fn is_unlimited(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a request may be sent now.
    pub fn may_send(&self) -> bool {
        self.0.as_ref().is_none_or(|term| Instant::now() <= term.borrow().until)
    }

    /// Whether no delivery may begin any more. Those in flight may be settled: if the account was lost, the store refuses that.
    pub fn is_ending(&self) -> bool {
        self.0.as_ref().is_some_and(|term| term.borrow().is_ending)
    }

    /// Which lease this is: each that a process is given has another number.
    pub fn number(&self) -> u64 {
        self.0.as_ref().map_or(0, |term| term.borrow().number)
    }

    /// Returns when it was renewed, or is about to end.
    pub async fn changed(&mut self) {
        let Some(term) = &mut self.0 else { return std::future::pending().await };
        // Err: the store is gone, so nothing changes any more.
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
