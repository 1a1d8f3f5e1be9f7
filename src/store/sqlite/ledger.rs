//! Writing the events that were answered without being appended: rows of the log with an outcome, in the order in which they were recorded.
//!
//! In: the events in the [`LedgerBuffer`]. Out: rows. Invariants: a portion is a job of the writer like any other, so it shares the
//! transaction and the sync of simultaneous appends, and fails alone; user keys of a user who was deleted since the receipt are left out.

use super::SqliteStore;
use super::query::Query;
use super::write_tx::WriteTx;
use crate::domain::SourceId;
use crate::store::{AnsweredEvent, Ledger, LedgerBuffer, StoreError, user_keys};
use async_trait::async_trait;
use rusqlite::params;
use std::sync::Arc;

#[async_trait]
impl Ledger for SqliteStore {
    fn recorded(&self) -> &LedgerBuffer {
        &self.ledger
    }

    async fn write(&self, events: Arc<Vec<AnsweredEvent>>) -> Result<(), StoreError> {
        self.writer.write(move |tx| insert(tx, &events)).await
    }
}

fn insert(tx: &mut WriteTx<'_>, events: &[AnsweredEvent]) -> Result<(), StoreError> {
    // A key is 17 bytes, the first of which is its tag.
    let sql = "INSERT INTO log (seq, account, id, keys, received_at, source, answered, outcome)
               VALUES (?1, ?2, ?3, iif(EXISTS (SELECT 1 FROM deleted_users
                   WHERE key IN (substr(?4, 2, 16), substr(?4, 19, 16)) AND deleted_at > ?5), x'', ?4), ?5, ?6, 1, ?7)";
    for event in events {
        let account = tx.account_number(&event.account)?;
        let seq = tx.state.log.assign_seq();
        let (id, keys) = (event.id.0.as_slice(), user_keys::to_blob(&event.user_keys));
        let source = event.source.as_ref().map(SourceId::as_str);
        let outcome = event.outcome.number();
        tx.connection.run(sql, params![seq.0, account, id, keys, event.received_at.0, source, outcome])?;
    }
    Ok(())
}
