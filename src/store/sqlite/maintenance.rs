//! Status, account health and compaction: the trait [`Maintenance`] of the engine.

use super::compact_bodies::{self, Cursor};
use super::query::Query;
use super::write_tx::WriteTx;
use super::{SqliteStore, affiliates, bodies, checkpoint, compact, erase, key_blocks, older_ids, remembered};
use crate::domain::{AccountName, UserKey};
use crate::store::portions::{self, Portion};
use crate::store::{
    EmailConflict, Ledger as _, Maintenance, Measured, OnCommit, Ownership, Retention, StoreError, StoreStatus,
    user_keys,
};
use async_trait::async_trait;
use rusqlite::{Connection, params};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::time::Duration;

/// The most tries to empty the WAL while another process reads, and the wait between two tries.
const WAL_TRIES: u32 = 20;
const BETWEEN_TRIES: Duration = Duration::from_millis(50);

/// Each compaction empties the WAL, which takes a sync of the whole file.
const COMPACTION_INTERVAL: Duration = Duration::from_secs(10);

/// The most portions of the bodies without anything to remove in one compaction. The next compaction continues there.
const MAX_EMPTY_BODIES: u32 = 4;

/// One process has the file for itself: the default methods.
impl Ownership for SqliteStore {}

#[async_trait]
impl Maintenance for SqliteStore {
    fn status(&self) -> StoreStatus {
        self.published.status(self.writer.is_closed())
    }

    async fn probe(&self) -> Result<(), StoreError> {
        // The value differs each time, because SQLite does not write an unchanged one.
        let sql = "INSERT INTO meta VALUES ('probes', 1) ON CONFLICT (name) DO UPDATE SET value = value + 1";
        self.writer.write(move |tx| tx.connection.run(sql, []).map(drop)).await
    }

    async fn measure(&self) -> Result<Measured, StoreError> {
        self.measure_all().await
    }

    fn on_commit(&self, on_commit: OnCommit) {
        self.published.observer.set(on_commit);
    }

    fn pending(&self) -> BTreeMap<String, u64> {
        self.published.lock().pending.clone()
    }

    async fn health(&self, account: &AccountName) -> Result<Option<String>, StoreError> {
        let (account, sql) = (account.clone(), "SELECT health FROM accounts WHERE name = ?1");
        let read = move |connection: &Connection| connection.one(sql, [account.as_str()], |row| Ok(row.get(0)?));
        Ok(self.readers.read(read).await?.flatten())
    }

    async fn save_health(&self, account: &AccountName, health: String) -> Result<(), StoreError> {
        let (account, sql) = (account.clone(), "UPDATE accounts SET health = ?2 WHERE account = ?1");
        let save = move |tx: &mut WriteTx<'_>| {
            let account = tx.account_number(&account)?;
            tx.connection.run(sql, params![account, health]).map(drop)
        };
        self.writer.write(save).await
    }

    async fn unlink(&self, keys: Vec<UserKey>) -> Result<(), StoreError> {
        let unlink = move |tx: &mut WriteTx<'_>| {
            keys.iter().try_for_each(|key| affiliates::unlink(tx.connection, &user_keys::tagged(key)))
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
        let read = move |connection: &_| affiliates::email_conflicts(connection, account.as_ref(), after, limit);
        self.readers.read(read).await
    }

    fn compaction_interval(&self) -> Duration {
        COMPACTION_INTERVAL
    }

    async fn compact(&self, before: Retention) -> Result<(), StoreError> {
        while self.writer.write(move |tx| compact::forget_ids(tx, before.ids)).await? {}
        self.remove_settled(before).await?;
        self.compact_bodies().await?;
        while self.writer.write(move |tx| erase::remove_moments(tx.connection, before.deletions)).await? {}
        self.remove_remembered(before).await?;
        while self.writer.write(key_blocks::build).await? {}
        self.evict_ids().await?;
        while self.writer.outside_transaction(compact::return_free_pages).await? {}
        self.empty_wal().await
    }

    async fn closed(&self) {
        self.writer.closed().await;
    }

    async fn close(&self) {
        self.writer.detach();
        // Err: the store has ended already, or cannot be written.
        let _ = self.write_recorded().await;
        self.readers.close().await;
        self.writer.close().await;
    }
}

impl SqliteStore {
    /// Removes old settled events, from the positions of the last compaction on.
    async fn remove_settled(&self, retention: Retention) -> Result<(), StoreError> {
        let remove = |after| async move {
            let examine = move |connection: &_| compact::examine(connection, after, retention);
            let (removable, examined) = self.readers.read(examine).await?;
            for portion in removable.chunks(compact::PORTION) {
                let portion = portion.to_vec();
                self.writer.write(move |tx| compact::remove(tx, &portion, retention.events)).await?;
            }
            Ok(Some(examined))
        };
        self.log_positions.lock().await.advance(remove).await
    }

    /// Removes blank rows of bodies, from the end of the last compaction on. The rows around a damaged page stay.
    async fn compact_bodies(&self) -> Result<(), StoreError> {
        let compact = |cursor: Cursor| async move {
            match self.compact_portion_of_bodies(cursor).await {
                Err(StoreError::Corrupt(_)) => {
                    let skipped = Some(cursor.skip()).filter(|skipped| skipped.after < self.published.lock().last_seq);
                    Ok(Some(Portion { was_empty: false, is_resumed: true, next: skipped }))
                }
                portion => portion.map(Some),
            }
        };
        let mut cursor = self.bodies_cursor.lock().await;
        portions::advance(&mut *cursor, Cursor::START, MAX_EMPTY_BODIES, compact).await.map(drop)
    }

    async fn compact_portion_of_bodies(&self, cursor: Cursor) -> Result<Portion<Cursor>, StoreError> {
        let plan = self.readers.read(move |connection| compact_bodies::examine(connection, cursor)).await?;
        let was_empty = plan.removed.is_empty();
        for places in plan.moved {
            self.writer.write(move |tx| places.iter().try_for_each(|place| bodies::move_to_end(tx, *place))).await?;
        }
        for places in plan.removed {
            self.writer.write(move |tx| compact_bodies::remove(tx.connection, &places)).await?;
        }
        Ok(Portion { was_empty, is_resumed: true, next: plan.next })
    }

    /// Removes expired remembered traits, and those above the limits.
    async fn remove_remembered(&self, before: Retention) -> Result<(), StoreError> {
        while self.writer.write(move |tx| remembered::remove_expired(tx.connection, before.now)).await? {}
        // Measured beside all other work, since it reads an index with an entry for each user.
        while self.readers.read(remembered::sizes).await?.values().any(|size| size.exceeds(before.max_traits)) {
            let removed = self.writer.write(move |tx| remembered::remove_surplus(tx, before)).await?;
            self.remembered_dropped.fetch_add(removed, Ordering::Relaxed);
        }
        Ok(())
    }

    /// Moves ids into the table `older_ids` until the others fit into the memory that is allowed.
    async fn evict_ids(&self) -> Result<(), StoreError> {
        while let Some((ids, last)) = self.writer.write(|tx| Ok(tx.state.log.ids.to_evict())).await? {
            for portion in ids.chunks(older_ids::PORTION) {
                let portion = portion.to_vec();
                self.writer.write(move |tx| Ok(older_ids::insert(tx.connection, &portion)?)).await?;
            }
            let moved = move |tx: &mut WriteTx<'_>| {
                older_ids::set_up_to(tx.connection, last)?;
                tx.state.older_ids = true; // it stays true after a rollback; then lookups find no id in the table
                tx.state.log.ids_moved(last);
                Ok(())
            };
            self.writer.write(moved).await?;
        }
        Ok(())
    }

    /// Empties the WAL while no read of this process runs. Repeats the try while another process reads.
    async fn empty_wal(&self) -> Result<(), StoreError> {
        self.readers.read(|connection| Ok(checkpoint::write(connection)?)).await?; // most of it, while others commit
        for _ in 0..WAL_TRIES {
            let excluded = self.readers.exclude().await?;
            if self.writer.outside_transaction(checkpoint::empty_wal).await? {
                return Ok(());
            }
            drop(excluded);
            tokio::time::sleep(BETWEEN_TRIES).await;
        }
        Err(StoreError::Transient("the WAL could not be emptied: another process reads the file".to_owned()))
    }
}
