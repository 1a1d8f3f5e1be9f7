//! Dead letters, erasure and API keys: the traits that operators' requests go through.

use super::writer_state::WriteTx;
use super::{SqliteStore, dead_letters, forget, vault};
use crate::domain::{AccountName, SealedKey, Seq, Timestamp, UserKey};
use crate::store::{DeadLetter, DeadLetters, Filter, Forgotten, KeyVault, Page, Replay, StoreError};
use async_trait::async_trait;
use forget::Search;
use std::collections::BTreeSet;
use std::sync::Arc;

/// After so many scans what was found is erased, even if rows appended meanwhile lead to new keys.
const MAX_SCANS: u32 = 4;

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead_letters(&self, filter: &Filter, after: i64, limit: usize) -> Result<Page, StoreError> {
        let (filter, limit) = (filter.clone(), limit.max(1));
        let read = self.readers.read(move |connection| dead_letters::page(connection, &filter, after, limit));
        let page = read.await?;
        Ok(Page { last: self.published.lock().last_seq, ..page })
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.readers.read(move |connection| dead_letters::one(connection, id)).await
    }

    async fn replay(&self, ids: &[i64]) -> Result<Vec<(i64, Replay)>, StoreError> {
        let (ids, max_backlog) = (ids.iter().copied().collect::<BTreeSet<_>>(), self.limits.max_backlog);
        self.writer.write(move |tx| dead_letters::replay(tx, &ids, max_backlog)).await
    }

    async fn discard(&self, ids: &[i64]) -> Result<Vec<i64>, StoreError> {
        let ids = ids.to_vec();
        let discard = move |tx: &mut WriteTx<'_>| {
            let discarded = ids.iter().map(|id| Ok(dead_letters::discard(tx, Seq(*id))?.then_some(*id)));
            discarded.filter_map(Result::transpose).collect()
        };
        self.writer.write(discard).await
    }

    /// The account is not looked at: a key is a hash of it, too, and the one writer needs no lock of its own for each account.
    async fn forget(&self, _: &AccountName, users: &[UserKey], now: Timestamp) -> Result<Forgotten, StoreError> {
        let (mut search, mut scans) = (Search::new(users), 0);
        loop {
            (search, scans) = (self.complete(search).await?, scans + 1);
            match self.erase(search, now, scans == MAX_SCANS).await? {
                Ok(forgotten) => return Ok(forgotten),
                Err(incomplete) => search = incomplete,
            }
        }
    }
}

impl SqliteStore {
    /// Runs a search to its end, a portion of the log at a time.
    async fn complete(&self, mut search: Search) -> Result<Search, StoreError> {
        loop {
            let step = move |connection: &_| search.step(connection).map(|complete| (search, complete));
            let complete;
            (search, complete) = self.readers.read(step).await?;
            if complete {
                return Ok(search);
            }
        }
    }

    /// Erases what was found. Err: rows that were appended meanwhile lead to new keys, and this is not the `last` try.
    async fn erase(&self, search: Search, now: Timestamp, last: bool) -> Result<Result<Forgotten, Search>, StoreError> {
        let in_flight = Arc::clone(&self.in_flight);
        let mut erasing = None;
        let erase = move |tx: &mut WriteTx<'_>| {
            let mut search = search.clone();
            if !search.catch_up(tx.connection)? && !last {
                search.restart();
                return Ok(Err(search));
            }
            let pending = search.pending(tx.connection)?;
            // Held until the transaction has committed: the closure owns it.
            let erasing = erasing.insert(in_flight.erase(&pending));
            Ok(Ok(forget::erase(tx, &search, &pending, erasing, now)?))
        };
        self.writer.write(erase).await
    }
}

#[async_trait]
impl KeyVault for SqliteStore {
    async fn keep_keys(&self, keys: Vec<SealedKey>) -> Result<(), StoreError> {
        self.writer.write(move |tx| Ok(keys.iter().try_for_each(|key| vault::keep_key(tx.connection, key))?)).await
    }

    async fn kept_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.readers.read(vault::kept_keys).await
    }
}
