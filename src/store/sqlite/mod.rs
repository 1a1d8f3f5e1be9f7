//! The SQLite engine: one file, one writer thread with group commit, and connections that read beside it.
//!
//! The file is in WAL mode with `synchronous=FULL`. Every change of rows is a job of the [`writer`], one module per verb:
//! [`append`], [`ledger`], [`settle`], [`erase`], [`forget`], [`compact`], [`key_blocks`], [`account_gone`], and the changes of [`dead_letters`].
//! [`read`](mod@read), [`begin`] and [`lookup`] run on a [`reader`]. Beside the file, memory holds counts and the deduplication index
//! ([`write_tx`]). Invariant: one process per file, held by a lock that ends with the process. Deliberately absent: any
//! rule about users, order, retries or coalescing; a write buffer or memtable in front of the log, since appending is sequential and
//! commits are grouped.

mod account_gone;
mod affiliates;
mod append;
mod appended_users;
mod attempts;
mod backup;
mod begin;
mod bodies;
mod checkpoint;
mod clean_shutdown;
mod compact;
mod compact_bodies;
mod dead_letters;
mod erase;
mod forget;
mod id_index;
mod inspection;
mod job;
mod key_blocks;
mod ledger;
mod listed;
mod log_state;
mod lookup;
mod maintenance;
mod measure;
mod migrate_v5;
mod migrations;
mod older_ids;
mod open;
mod open_files;
mod operators;
mod query;
mod read;
mod reader;
mod remembered;
mod schema;
mod settle;
#[cfg(test)]
mod statement_costs;
mod transfer;
mod write_tx;
mod writer;

pub use backup::{CopyError, FinishedCopy, back_up, restore};
pub use open::SqliteOpenError;
pub use transfer::{SqliteSource, SqliteTarget};

use super::in_flight::InFlightEvents;
use super::portions::LogPositions;
use super::published::Published;
use super::{
    AffiliateChanges, AnsweredEvent, Appended, Begun, EventLog, LedgerBuffer, NewEvent, Settlement, StoreError,
    StoreLimits, body, user_keys,
};
use crate::delivery::{Progress, RecalledAffiliate};
use crate::domain::{AccountName, AffiliateCode, HashKey, Seq, UserKey};
use crate::scheduling::{Entry, Unit};
use async_trait::async_trait;
use reader::Readers;
use rusqlite::Connection;
use settle::RowCleanup;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::AtomicU64;
use tokio::sync::Mutex;
use write_tx::WriteTx;
use writer::Writer;

/// A store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    // Dropped before the writer, which is the last to close the file.
    readers: Readers,
    writer: Writer,
    published: Arc<Published>,
    in_flight: Arc<InFlightEvents>,
    hash: HashKey,
    limits: StoreLimits,
    ledger: LedgerBuffer,
    /// Where the next compaction continues in the log.
    log_positions: Mutex<LogPositions>,
    /// The position of the last compaction in the bodies.
    bodies_cursor: Mutex<compact_bodies::Cursor>,
    /// See [`Measured::remembered_dropped`](super::Measured::remembered_dropped).
    remembered_dropped: AtomicU64,
}

impl SqliteStore {
    /// Opens the file for this process only. Creates it and its folder if absent.
    pub fn open(path: &Path, limits: StoreLimits) -> Result<Self, SqliteOpenError> {
        let store = open::open(path, limits.deduplication_memory)?;
        let (hash, published) = (store.state.hash.clone(), Arc::clone(store.state.log.published()));
        let writer = Writer::start(store).map_err(|source| SqliteOpenError::Create(path.to_owned(), source))?;
        Ok(Self {
            readers: Readers::new(path.to_owned()),
            writer,
            published,
            in_flight: Arc::default(),
            hash,
            limits,
            ledger: LedgerBuffer::default(),
            log_positions: Mutex::default(),
            bodies_cursor: Mutex::new(compact_bodies::Cursor::START),
            remembered_dropped: AtomicU64::default(),
        })
    }
}

#[async_trait]
impl EventLog for SqliteStore {
    fn hash_key(&self) -> &HashKey {
        &self.hash
    }

    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        let events = body::pack_all(events).await?;
        let max_backlog = self.limits.max_backlog;
        let append = move |tx: &mut WriteTx<'_>| {
            let appended = append::append(tx, &events, max_backlog)?;
            let answered = AnsweredEvent::not_appended(&events, &appended);
            Ok((appended, answered))
        };
        let (appended, answered) = self.writer.write(append).await?;
        self.ledger.record_all(answered);
        Ok(appended)
    }

    async fn read(&self, account: &AccountName, after: Seq, limit: usize) -> Result<Vec<Entry>, StoreError> {
        let account = account.clone();
        self.readers.read(move |connection| read::read(connection, &account, after, limit)).await
    }

    async fn begin(&self, account: &AccountName, units: &[Unit]) -> Result<Vec<Option<Begun>>, StoreError> {
        let mut seqs: Vec<Seq> = units.iter().flat_map(Unit::seqs).collect();
        loop {
            let (account, units, in_flight) = (account.clone(), units.to_vec(), Arc::clone(&self.in_flight));
            let marked = seqs.clone();
            let read = move |connection: &_| {
                let in_flight = in_flight.begin(marked); // may wait for a commit
                begin::begin(connection, &account, &units).map(|begun| (begun, in_flight))
            };
            let (begun, mut in_flight) = self.readers.read(read).await?;
            let more: Vec<Seq> =
                begun.iter().flatten().flat_map(Begun::seqs).filter(|seq| !seqs.contains(seq)).collect();
            if more.is_empty() {
                in_flight.keep(begun.iter().flatten().flat_map(Begun::seqs));
                return Ok(begun);
            }
            // Followers that are marked in the file and that the caller did not name: they must be in flight before they are read.
            seqs.extend(more);
        }
    }

    async fn recall(
        &self,
        account: &AccountName,
        code: &AffiliateCode,
        keys: &[UserKey],
    ) -> Result<Option<RecalledAffiliate>, StoreError> {
        let (own, users) = (user_keys::of_affiliate(&self.hash, account, code), keys.to_vec());
        let recall = move |connection: &Connection| {
            let snapshot = connection.unchecked_transaction()?;
            affiliates::recall(&snapshot, &own, &users)
        };
        self.readers.read(recall).await
    }

    fn release(&self, seqs: &[Seq]) {
        self.in_flight.release(seqs);
    }

    async fn save_progress(
        &self,
        account: &AccountName,
        unit: &Unit,
        progress: &Progress,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError> {
        let (account, unit, progress) = (account.clone(), unit.clone(), progress.clone());
        self.writer.write(move |tx| settle::save_progress(tx, &account, &unit, &progress, &changes)).await
    }

    async fn settle(
        &self,
        account: &AccountName,
        unit: &Unit,
        settlement: Settlement,
        changes: AffiliateChanges,
    ) -> Result<(), StoreError> {
        let settle = |rows: RowCleanup| {
            let (account, unit, settlement, changes) =
                (account.clone(), unit.clone(), settlement.clone(), changes.clone());
            self.writer.write(move |tx| settle::settle(tx, &account, &unit, &settlement, &changes, rows))
        };
        let mut settled = settle(RowCleanup::Erase).await;
        if matches!(settled, Err(StoreError::Corrupt(_))) {
            let head = unit.head;
            let has_body = self.readers.read(move |connection| match bodies::read(connection, head) {
                Err(StoreError::Corrupt(_)) => Ok(false),
                body => Ok(body?.is_some()),
            });
            settled = settle(RowCleanup::Leave { has_body: has_body.await? }).await;
            if settled.is_ok() {
                tracing::error!(seq = %head, "the file of the store is damaged: the body of a settled event stays in it");
            }
        }
        // After a failure they stay in flight, because the worker settles them again.
        if matches!(settled, Ok(()) | Err(StoreError::NotPending)) {
            self.in_flight.release(&unit.seqs().collect::<Vec<_>>());
        }
        settled
    }
}
