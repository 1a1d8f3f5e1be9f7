//! The traits for operators' requests: dead letters, erasure and API keys.

use super::query::Query;
use super::write_tx::WriteTx;
use super::{SqliteStore, account_gone, dead_letters, forget};
use crate::domain::{AccountName, SealedApiKey, Seq, Timestamp, UserKey};
use crate::store::erasure::{ForgetSearch, MAX_SCANS};
use crate::store::{
    ApiKeyVault, DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, Forgotten, MovedDeadLetter, PageStart,
    ReplayResult, StoreError, body,
};
use async_trait::async_trait;
use rusqlite::{Connection, Row, params};
use std::collections::BTreeSet;
use std::sync::Arc;

#[async_trait]
impl DeadLetters for SqliteStore {
    async fn dead_letters(
        &self,
        filter: &DeadLetterFilter,
        start: PageStart,
        limit: usize,
    ) -> Result<DeadLetterPage, StoreError> {
        let (filter, last) = (filter.clone(), self.published.lock().last_seq);
        self.readers.read(move |connection| dead_letters::page(connection, &filter, start, limit, last)).await
    }

    async fn dead_letter(&self, id: i64) -> Result<Option<DeadLetter>, StoreError> {
        self.readers.read(move |connection| dead_letters::one(connection, id)).await
    }

    async fn replay(&self, ids: &[i64]) -> Result<Vec<ReplayResult>, StoreError> {
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

    async fn set_aside(&self, account: &AccountName, now: Timestamp, limit: usize) -> Result<Option<u64>, StoreError> {
        let (account, in_flight) = (account.clone(), Arc::clone(&self.in_flight));
        let set_aside = move |tx: &mut WriteTx<'_>| account_gone::set_aside(tx, &in_flight, &account, now, limit);
        // The guard is dropped when this has committed.
        Ok(self.writer.write(set_aside).await?.map_or(Some(0), |guard| Some(guard.seqs.len() as u64)))
    }

    async fn move_dead_letters(&self, moved: Vec<MovedDeadLetter>) -> Result<Vec<ReplayResult>, StoreError> {
        let (moved, max_backlog) = (body::pack_moved(moved).await?, self.limits.max_backlog);
        self.writer.write(move |tx| account_gone::move_dead_letters(tx, &moved, max_backlog)).await
    }

    async fn forget(&self, account: &AccountName, users: &[UserKey], now: Timestamp) -> Result<Forgotten, StoreError> {
        let (mut search, mut scans) = (ForgetSearch::new(users), 0);
        loop {
            (search, scans) = (self.complete(search).await?, scans + 1);
            match self.erase(account, search, now, scans == MAX_SCANS).await? {
                Ok(forgotten) => return Ok(forgotten),
                Err(incomplete) => search = incomplete,
            }
        }
    }

    /// The account is not needed, because a user key is a hash of the account, too.
    async fn forget_preview(&self, _: &AccountName, users: &[UserKey]) -> Result<Forgotten, StoreError> {
        let (search, in_flight) = (self.complete(ForgetSearch::new(users)).await?, Arc::clone(&self.in_flight));
        self.readers.read(move |connection| forget::count(&search, connection, &in_flight)).await
    }
}

impl SqliteStore {
    /// Runs a search to its end, a portion of the log at a time.
    async fn complete(&self, mut search: ForgetSearch) -> Result<ForgetSearch, StoreError> {
        loop {
            let scan = move |connection: &_| forget::scan_portion(&mut search, connection).map(|scan| (scan, search));
            let is_complete;
            (is_complete, search) = self.readers.read(scan).await?;
            match is_complete {
                Some(true) => return Ok(search),
                Some(false) => search.restart(),
                None => {}
            }
        }
    }

    /// Erases the findings. Err: rows that were appended meanwhile lead to new keys, and this is not the `last` try.
    async fn erase(
        &self,
        account: &AccountName,
        search: ForgetSearch,
        now: Timestamp,
        last: bool,
    ) -> Result<Result<Forgotten, ForgetSearch>, StoreError> {
        let (account, in_flight) = (account.clone(), Arc::clone(&self.in_flight));
        let erase = move |tx: &mut WriteTx<'_>| {
            let mut search = search.clone();
            let is_complete = loop {
                if let Some(is_complete) = forget::scan_portion(&mut search, tx.connection)? {
                    break is_complete;
                }
            };
            if !is_complete && !last {
                search.restart();
                return Ok(Err(search));
            }
            let account = tx.state.log.find_account(&account).unwrap_or_default();
            Ok(Ok(forget::erase(tx, &search, &in_flight, account, now)?))
        };
        Ok(self.writer.write(erase).await?.map(|(forgotten, _erasing)| forgotten))
    }
}

#[async_trait]
impl ApiKeyVault for SqliteStore {
    async fn keep_api_keys(&self, keys: Vec<SealedApiKey>) -> Result<(), StoreError> {
        let sql =
            "INSERT INTO sealed_keys (account, sealed) VALUES (?1, ?2) ON CONFLICT (account) DO UPDATE SET sealed = ?2";
        let keep = move |tx: &mut WriteTx<'_>| {
            keys.iter().try_for_each(|key| tx.connection.run(sql, params![key.account.as_str(), key.blob]).map(drop))
        };
        self.writer.write(keep).await
    }

    async fn kept_api_keys(&self) -> Result<Vec<SealedApiKey>, StoreError> {
        let key = |row: &Row<'_>| {
            Ok(SealedApiKey { account: AccountName::from(row.get::<_, String>(0)?), blob: row.get(1)? })
        };
        let read = move |connection: &Connection| connection.all("SELECT account, sealed FROM sealed_keys", [], key);
        self.readers.read(read).await
    }

    async fn remove_api_key(&self, account: &AccountName) -> Result<bool, StoreError> {
        let account = account.clone();
        let sql = "DELETE FROM sealed_keys WHERE account = ?1";
        self.writer.write(move |tx: &mut WriteTx<'_>| Ok(tx.connection.run(sql, [account.as_str()])? > 0)).await
    }
}
