//! The state that the connections of one engine share: the store's hash key, the backlogs, the leases.

use super::backlogs::Backlogs;
use super::leases::Leases;
use crate::domain::HashKey;
use crate::store::{CommitObserver, LedgerBuffer};
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
    /// The numbers of pending events.
    pub backlogs: Backlogs,
    /// The accounts that this process owns.
    pub leases: Leases,
    /// Receives every commit.
    pub observer: CommitObserver,
    /// The events that were answered without being appended and are not written yet.
    pub ledger: LedgerBuffer,
    /// Cancelled when a newer release has migrated the tables so far that this one has to end.
    pub too_old: CancellationToken,
}

impl Shared {
    /// The state at opening: no account is owned.
    pub fn new(hash: HashKey, max_backlog: u64, has_former_ids: bool, backlogs: Backlogs) -> Self {
        let (observer, ledger, too_old) = Default::default();
        let leases = Leases::new();
        Self { hash, max_backlog, has_former_ids, backlogs, leases, observer, ledger, too_old }
    }
}
