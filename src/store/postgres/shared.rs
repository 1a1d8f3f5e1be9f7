//! The state that the connections of one engine share: the store's hash key, the backlogs, the leases, the hints.

use super::accounts::AccountNumber;
use super::backlogs::Backlogs;
use super::leases::Leases;
use super::listen::{HintMessage, Hints};
use crate::domain::{AccountName, HashKey};
use crate::scheduling::ReplicaId;
use crate::store::LedgerBuffer;
use crate::store::in_flight::InFlightEvents;
use crate::store::published::Published;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio_util::sync::CancellationToken;

/// The shared state.
#[derive(Debug)]
pub struct Shared {
    /// The hash key of this store.
    pub hash: HashKey,
    /// The most pending events of one account.
    pub max_backlog: u64,
    /// Whether an event may have its former id, because this store was filled from one of an earlier release.
    pub has_former_ids: bool,
    /// The published counts, and the receiver of commits.
    pub published: Arc<Published>,
    /// The numbers of pending events.
    pub backlogs: Backlogs,
    /// The accounts that this process owns.
    pub leases: Leases,
    /// The hints for other processes.
    pub hints: Hints,
    /// The events in flight.
    pub in_flight: Arc<InFlightEvents>,
    /// The events that were answered without being appended and are not written yet.
    pub ledger: LedgerBuffer,
    /// See [`Measured::remembered_dropped`](crate::store::Measured::remembered_dropped).
    pub remembered_dropped: AtomicU64,
    /// Cancelled when a newer release has migrated the tables so far that this one has to end.
    pub too_old: CancellationToken,
}

impl Shared {
    /// The state at opening of the process `me`, which owns no account.
    pub fn new(hash: HashKey, max_backlog: u64, has_former_ids: bool, me: ReplicaId) -> Self {
        let published = Arc::<Published>::default();
        Self {
            hash,
            max_backlog,
            has_former_ids,
            backlogs: Backlogs::new(Arc::clone(&published)),
            published,
            leases: Leases::new(),
            hints: Hints::new(me),
            in_flight: Arc::default(),
            ledger: LedgerBuffer::default(),
            remembered_dropped: AtomicU64::default(),
            too_old: CancellationToken::default(),
        }
    }

    /// Notifies the owners of these accounts, if they are other processes, of appended events.
    pub fn notify_owners<'a>(&self, accounts: impl Iterator<Item = (&'a AccountName, AccountNumber)>) {
        let elsewhere = accounts.filter(|(account, _)| self.leases.token(account).is_none());
        self.hints.add(HintMessage::Appended(elsewhere.map(|(_, number)| number).collect()));
    }
}
