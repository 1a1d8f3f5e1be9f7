//! Dead letters, erasure and API keys: what operators ask of the store.

use super::{SqliteStore, dead_letters, forget, vault};
use crate::domain::{SealedKey, Seq, Timestamp, UserKey};
use crate::store::{DeadLetter, DeadLetters, Filter, Forgotten, KeyVault, Page, Replay, StoreError};
use async_trait::async_trait;
use forget::{Found, Reach};
use std::collections::BTreeSet;
use std::sync::Arc;

/// So often is the log scanned again for the sake of what was appended meanwhile; then what was found is erased.
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
        self.writer
            .write(move |tx| {
                let each = ids.iter().map(|id| Ok(dead_letters::discard(tx, Seq(*id))?.then_some(*id)));
                each.filter_map(Result::transpose).collect()
            })
            .await
    }

    async fn forget(&self, users: &[UserKey], now: Timestamp) -> Result<Forgotten, StoreError> {
        let mut reach = Reach::new(users);
        for round in 1.. {
            let found;
            (reach, found) = self.find(reach).await?;
            match self.erase(reach, found, now, round == MAX_SCANS).await? {
                Ok(forgotten) => return Ok(forgotten),
                Err(further) => reach = further,
            }
        }
        Ok(Forgotten::default())
    }
}

impl SqliteStore {
    /// Scans the log for what the user's keys reach, until that is no more than before.
    async fn find(&self, mut reach: Reach) -> Result<(Reach, Found), StoreError> {
        let follow = move |connection: &_| reach.follow_indexes(connection).map(|()| reach);
        reach = self.readers.read(follow).await?;
        loop {
            let (mut found, mut end) = (Found::default(), false);
            while !end {
                let scan = move |connection: &_| {
                    let end = forget::scan(connection, &reach, &mut found)?;
                    Ok((reach, found, end))
                };
                (reach, found, end) = self.readers.read(scan).await?;
            }
            let follow = move |connection: &_| {
                let again = forget::follow(connection, &mut reach, &found)?;
                Ok((reach, found, again))
            };
            let again;
            (reach, found, again) = self.readers.read(follow).await?;
            if !again {
                return Ok((reach, found));
            }
        }
    }

    /// Erases what was found. Err: what was appended meanwhile reaches further, and this is not the `last` try.
    async fn erase(
        &self,
        reach: Reach,
        found: Found,
        now: Timestamp,
        last: bool,
    ) -> Result<Result<Forgotten, Reach>, StoreError> {
        let in_flight = Arc::clone(&self.in_flight);
        let mut erasing = None;
        self.writer
            .write(move |tx| {
                let (mut reach, mut found) = (reach.clone(), found.clone());
                if forget::catch_up(tx, &mut reach, &mut found)? && !last {
                    return Ok(Err(reach));
                }
                let waiting = forget::waiting(tx, &found)?;
                // Held until the transaction has committed: the closure owns it.
                let erasing = erasing.insert(in_flight.erase(&waiting));
                Ok(Ok(forget::erase(tx, &reach, &found, &waiting, erasing, now)?))
            })
            .await
    }
}

#[async_trait]
impl KeyVault for SqliteStore {
    async fn keep_keys(&self, keys: Vec<SealedKey>) -> Result<(), StoreError> {
        let keep = move |tx: &mut super::state::Tx<'_>| {
            keys.iter().try_for_each(|key| vault::keep_key(tx.connection, key)).map_err(Into::into)
        };
        self.writer.write(keep).await
    }

    async fn kept_keys(&self) -> Result<Vec<SealedKey>, StoreError> {
        self.readers.read(vault::kept_keys).await
    }
}
