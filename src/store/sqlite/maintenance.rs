//! Status, account health and compaction: the trait [`Maintenance`] of the engine.

use super::writer_state::WriteTx;
use super::{SqliteStore, affiliates, checkpoint, compact, deletions, memory, older_ids, vault};
use crate::domain::{AccountName, Timestamp, UserKey};
use crate::store::{EmailConflict, ForgetBefore, Maintenance, StoreError, StoreStatus, keys as stored_keys};
use async_trait::async_trait;
use std::collections::BTreeMap;
use std::time::Duration;

/// A compaction ends after so many portions of the log in which nothing is to be removed; the next one goes on there.
const MAX_EMPTY_PORTIONS: u32 = 40;

/// How often emptying the WAL is tried while another process reads, and the wait between two tries.
const WAL_TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

#[async_trait]
impl Maintenance for SqliteStore {
    fn status(&self) -> StoreStatus {
        let mut status = self.published.lock().status.clone();
        if self.writer.is_closed() {
            status.write_error = Some(StoreError::Closed.to_string());
        }
        status
    }

    async fn probe(&self) -> Result<(), StoreError> {
        self.writer.write(|tx| Ok(vault::probe(tx.connection)?)).await
    }

    fn pending(&self) -> BTreeMap<String, u64> {
        self.published.lock().pending.clone()
    }

    async fn health(&self, account: &AccountName) -> Result<Option<String>, StoreError> {
        let account = account.clone();
        self.readers.read(move |connection| vault::health(connection, &account)).await
    }

    async fn save_health(&self, account: &AccountName, health: String) -> Result<(), StoreError> {
        let account = account.clone();
        self.writer.write(move |tx| Ok(vault::save_health(tx, &account, &health)?)).await
    }

    async fn unlink(&self, keys: Vec<UserKey>) -> Result<(), StoreError> {
        let unlink = move |tx: &mut WriteTx<'_>| {
            for key in &keys {
                affiliates::unlink(tx.connection, &stored_keys::tagged(key))?;
            }
            Ok(())
        };
        self.writer.write(unlink).await
    }

    async fn email_conflicts(
        &self,
        account: Option<&AccountName>,
        after: i64,
        limit: usize,
    ) -> Result<Vec<EmailConflict>, StoreError> {
        let account = account.cloned();
        let read = move |connection: &_| memory::email_conflicts(connection, account.as_ref(), after, limit);
        self.readers.read(read).await
    }

    async fn compact(&self, before: ForgetBefore) -> Result<(), StoreError> {
        self.remove_settled(before.events).await?;
        while self.writer.write(move |tx| Ok(deletions::remove(tx.connection, before.deletions)?)).await? {}
        self.move_surplus_ids().await?;
        while self.writer.outside_transaction(compact::return_free_pages).await? {}
        self.empty_wal().await
    }

    async fn closed(&self) {
        self.writer.closed().await;
    }

    async fn close(&self) {
        self.readers.close();
        self.writer.close().await;
    }
}

impl SqliteStore {
    /// Removes settled events received before `before`, from where the last compaction ended on, until there are no more.
    async fn remove_settled(&self, before: Timestamp) -> Result<(), StoreError> {
        let mut examined_up_to = self.examined_up_to.lock().await;
        let mut empty_portions = 0;
        while empty_portions < MAX_EMPTY_PORTIONS {
            let after = *examined_up_to;
            let examined = self.readers.read(move |connection| compact::examine(connection, after, before)).await?;
            empty_portions += u32::from(examined.removable.is_empty());
            for portion in examined.removable.chunks(compact::PORTION) {
                let portion = portion.to_vec();
                self.writer.write(move |tx| Ok(compact::remove(tx, &portion, before)?)).await?;
            }
            *examined_up_to = examined.next.unwrap_or(0);
            if examined.next.is_none() {
                break;
            }
        }
        Ok(())
    }

    /// Moves ids into the table `older_ids` until the others fit into the memory that is allowed.
    async fn move_surplus_ids(&self) -> Result<(), StoreError> {
        while let Some((ids, last)) = self.writer.write(|tx| Ok(tx.state.ids.surplus())).await? {
            for portion in ids.chunks(older_ids::PORTION) {
                let portion = portion.to_vec();
                self.writer.write(move |tx| Ok(older_ids::insert(tx.connection, &portion)?)).await?;
            }
            self.writer.write(move |tx: &mut WriteTx<'_>| Ok(tx.older_ids_moved(last)?)).await?;
        }
        Ok(())
    }

    /// Empties the WAL while no read of this process runs; tries again while another process reads.
    async fn empty_wal(&self) -> Result<(), StoreError> {
        self.readers.read(|connection| checkpoint::write(connection).map(drop)).await?; // most of it, while others commit
        for _ in 0..WAL_TRIES {
            let lock = self.readers.lock();
            let empty = move |connection: &_| {
                let _excluded = lock.exclude();
                checkpoint::empty_wal(connection)
            };
            if self.writer.outside_transaction(empty).await? {
                return Ok(());
            }
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        Err(StoreError::Transient("the WAL could not be emptied: another process reads the file".to_owned()))
    }
}
