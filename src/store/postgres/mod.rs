//! The PostgreSQL engine: one database for any number of processes.
//!
//! Each process has a few long-lived [`connection`]s: one appends, one does everything else. Requests are committed in groups: [`append`]
//! and [`settle`]. [`read`](mod@read), [`begin`] and [`memory`] read, for many accounts at once. Invariants: data of an account is changed
//! under the lock of its row in `accounts`, and data that only its owner may change also under the token of its lease; seqs are drawn under
//! that lock. Two differences from SQLite follow from several processes: counts of pending events are up to date within about a second
//! ([`backlogs`]); after an error of an append its events may have been appended, since a connection may break while PostgreSQL commits;
//! sent again, they are duplicates. Deliberately absent: any rule about users, order, retries or coalescing; and SQL functions, since a
//! database has no version control.

mod account_gone;
mod accounts;
mod affiliates;
mod append;
mod append_rows;
mod backlogs;
mod begin;
mod columns;
mod committer;
mod compact;
mod connect;
mod connect_error;
mod connection;
mod connection_health;
mod connection_message;
mod connection_pipelined;
mod connection_task;
mod count;
mod database_state;
mod dead_letters;
mod deletions;
mod erase;
mod error;
mod forget;
mod group_commit;
mod inspection;
mod key_blocks;
mod known_users;
mod leases;
mod ledger;
mod listed;
mod listen;
mod lookup;
mod maintenance;
mod measure;
mod memory;
mod migrate;
mod open;
mod operators;
mod outcomes;
mod owners;
mod ownership;
mod ownership_moves;
mod read;
mod remembered;
mod rights;
mod schema;
mod session;
mod settle;
mod settle_rows;
mod shared;
mod tls;
mod transfer;
mod url;
mod vacuum;

pub use self::url::{PostgresUrl, UrlError as PostgresUrlError};
pub use database_state::DatabaseState;
pub use migrate::Tables as DatabaseTables;
pub use open::PostgresOpenError;
pub use transfer::{PostgresSource, PostgresTarget};

use super::{AffiliateChanges, Appended, Begun, EventLog, NewEvent, Settlement, StoreError, body, user_keys};
use crate::delivery::{Progress, RecalledAffiliate};
use crate::domain::{AccountName, AffiliateCode, HashKey, Seq, UserKey};
use crate::scheduling::{Entry, Unit};
use append::Appender;
use async_trait::async_trait;
use connect::Connector;
use connection::Connection;
use error::JobError;
use leases::LeaseToken;
use listen::ListenConnection;
use maintenance::Compaction;
use outcomes::OutcomeWaiters;
use ownership::Replica;
use settle::{AttemptUpdate, Settle, Settler};
use shared::Shared;
use std::sync::Arc;
use tokio::sync::Mutex;
use tokio::task::JoinSet;

/// The connection for settlements and everything else except appends.
type Owner = Connection<Settler>;

/// A store in a PostgreSQL database.
#[derive(Debug)]
pub struct PostgresStore {
    connector: Arc<Connector>,
    shared: Arc<Shared>,
    append: Connection<Appender>,
    owner: Arc<Owner>,
    listen: Arc<ListenConnection>,
    replica: Replica,
    outcomes: Arc<OutcomeWaiters>,
    /// The tasks, which end with the store.
    tasks: Mutex<JoinSet<()>>,
    compaction: Mutex<Compaction>,
}

impl PostgresStore {
    async fn update(
        &self,
        account: &AccountName,
        unit: &Unit,
        update: AttemptUpdate,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError> {
        let token = self.token(account)?;
        self.owner.commit(Settle { account: account.clone(), token, unit: unit.clone(), update, changes }).await
    }

    /// The names of these accounts as stored, and their bounds: seqs below which none of their events is pending.
    fn first_pending(&self, accounts: &[AccountName]) -> (Vec<String>, Vec<i64>) {
        let first = |account| (columns::text(AccountName::as_str(account)), self.shared.backlogs.first(account).0);
        accounts.iter().map(first).unzip()
    }

    /// The token by which this process owns the account.
    fn token(&self, account: &AccountName) -> Result<LeaseToken, StoreError> {
        let token = self.shared.leases.token(account);
        token.ok_or_else(|| if self.owner.is_closed() { StoreError::Closed } else { StoreError::NotOwner })
    }
}

#[async_trait]
impl EventLog for PostgresStore {
    fn hash_key(&self) -> &HashKey {
        &self.shared.hash
    }

    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.append.commit(body::pack_all(events).await?).await
    }

    async fn read(&self, account: &AccountName, after: Seq, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let (token, name, shared) = (self.token(account)?, account.clone(), Arc::clone(&self.shared));
        // The read fails on any other server than that of the token, whose seqs may be those of other events.
        let after = after.max(Seq(self.shared.backlogs.first_on(token.server, account).0 - 1));
        let read = self.owner.pipelined(move |session| {
            Box::pin(async move {
                let entries = read::read(session, token, after, limit).await?;
                if let Some(last) = entries.last() {
                    shared.backlogs.read_up_to(&name, last.seq);
                }
                Ok::<_, JobError>(entries)
            })
        });
        read.await
    }

    async fn begin(&self, account: &AccountName, units: &[Unit]) -> Result<Vec<Option<Begun>>, StoreError> {
        let (token, units, in_flight) = (self.token(account)?, units.to_vec(), Arc::clone(&self.shared.in_flight));
        let begin = self.owner.pipelined(move |session| {
            Box::pin(async move {
                let begun = begin::begin(session, token, &units).await?;
                // Erasures run on this connection, too, and alone, so none is running now.
                let seqs = begun.iter().flatten().flat_map(Begun::seqs).collect();
                Ok::<_, JobError>((begun, in_flight.begin(seqs)))
            })
        });
        let (begun, mut in_flight) = begin.await?;
        in_flight.keep(begun.iter().flatten().flat_map(Begun::seqs));
        Ok(begun)
    }

    async fn recall(
        &self,
        account: &AccountName,
        code: &AffiliateCode,
        keys: &[UserKey],
    ) -> Result<Option<RecalledAffiliate>, StoreError> {
        let (own, users) = (user_keys::affiliate_hash(&self.shared.hash, account, code), keys.to_vec());
        self.owner.pipelined(move |session| Box::pin(async move { memory::recall(session, &own, &users).await })).await
    }

    fn release(&self, seqs: &[Seq]) {
        self.shared.in_flight.release(seqs);
    }

    async fn save_progress(
        &self,
        account: &AccountName,
        unit: &Unit,
        progress: &Progress,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError> {
        self.update(account, unit, AttemptUpdate::Progress(progress.clone()), changes).await
    }

    async fn settle(
        &self,
        account: &AccountName,
        unit: &Unit,
        settlement: Settlement,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError> {
        let settled = self.update(account, unit, AttemptUpdate::End(settlement), changes).await;
        // After a failure they stay in flight, because the worker settles them again.
        if matches!(settled, Ok(()) | Err(StoreError::NotPending | StoreError::NotOwner)) {
            self.shared.in_flight.release(&unit.seqs().collect::<Vec<_>>());
        }
        settled
    }
}
