//! A stand-in for a store of which only appending matters: every other request finds it closed.
//!
//! In: a test's own [`Append`]. Out: a store for the HTTP server. Used by [`super::webhook`] and by the tests of the HTTP server.

use async_trait::async_trait;
use refersion_destination::delivery::{Progress, RecalledAffiliate};
use refersion_destination::domain::{AccountName, AffiliateCode, HashKey, SealedApiKey, Seq, Timestamp, UserKey};
use refersion_destination::scheduling::{Entry, Unit};
use refersion_destination::store::{
    AffiliateChanges, AffiliateIndex, AnsweredEvent, ApiKeyVault, Appended, BacklogFilter, BacklogPage, Begun,
    DeadLetter, DeadLetterFilter, DeadLetterPage, DeadLetters, EmailConflict, EventFilter, EventLog, EventPage,
    EventRecord, Forgotten, Inspection, Ledger, LedgerBuffer, LookupPage, LookupQuery, Maintenance, Measured,
    MovedDeadLetter, NewEvent, OnCommit, Ownership, PageStart, Remember, ReplayResult, Retention, Settlement,
    StoreError, StoreStatus,
};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// What a test lets its store do.
#[async_trait]
pub trait Append: Send + Sync {
    /// Appends events, or pretends to.
    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError>;

    /// The status of the store.
    fn status(&self) -> StoreStatus {
        StoreStatus::default()
    }
}

/// A store that can only append.
pub struct AppendOnlyStore<A> {
    hash: HashKey,
    /// Events that were answered without being appended.
    pub recorded: LedgerBuffer,
    /// The test's part.
    pub inner: A,
}

impl<A> AppendOnlyStore<A> {
    pub fn new(inner: A) -> Self {
        Self { hash: HashKey::new(&[7; 32]), recorded: LedgerBuffer::default(), inner }
    }
}

#[async_trait]
impl<A: Append> Ledger for AppendOnlyStore<A> {
    fn recorded(&self) -> &LedgerBuffer {
        &self.recorded
    }

    async fn write(&self, _: Arc<Vec<AnsweredEvent>>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl<A: Append> EventLog for AppendOnlyStore<A> {
    fn hash_key(&self) -> &HashKey {
        &self.hash
    }

    async fn append(&self, events: Vec<NewEvent>) -> Result<Vec<Appended>, StoreError> {
        self.inner.append(events).await
    }

    async fn read(&self, _: &AccountName, _: Seq, _: usize) -> Result<Vec<Entry>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn begin(&self, _: &AccountName, _: &[Unit]) -> Result<Vec<Option<Begun>>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn recall(
        &self,
        _: &AccountName,
        _: &AffiliateCode,
        _: &[UserKey],
    ) -> Result<Option<RecalledAffiliate>, StoreError> {
        Err(StoreError::Closed)
    }

    fn release(&self, _: &[Seq]) {}

    async fn save_progress(
        &self,
        _: &AccountName,
        _: &Unit,
        _: &Progress,
        _: AffiliateChanges,
    ) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn settle(&self, _: &AccountName, _: &Unit, _: Settlement, _: AffiliateChanges) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl<A: Append> DeadLetters for AppendOnlyStore<A> {
    async fn dead_letters(&self, _: &DeadLetterFilter, _: PageStart, _: usize) -> Result<DeadLetterPage, StoreError> {
        Err(StoreError::Closed)
    }

    async fn dead_letter(&self, _: i64) -> Result<Option<DeadLetter>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn replay(&self, _: &[i64]) -> Result<Vec<ReplayResult>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn discard(&self, _: &[i64]) -> Result<Vec<i64>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn set_aside(&self, _: &AccountName, _: Timestamp, _: usize) -> Result<Option<u64>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn move_dead_letters(&self, _: Vec<MovedDeadLetter>) -> Result<Vec<ReplayResult>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn forget(&self, _: &AccountName, _: &[UserKey], _: Timestamp) -> Result<Forgotten, StoreError> {
        Err(StoreError::Closed)
    }

    async fn forget_preview(&self, _: &AccountName, _: &[UserKey]) -> Result<Forgotten, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl<A: Append> AffiliateIndex for AppendOnlyStore<A> {
    async fn list_progress(&self, _: &AccountName) -> Result<Option<String>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn remember_listed(&self, _: &AccountName, _: Vec<Remember>, _: String) -> Result<Vec<Remember>, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl<A: Append> ApiKeyVault for AppendOnlyStore<A> {
    async fn keep_api_keys(&self, _: Vec<SealedApiKey>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn kept_api_keys(&self) -> Result<Vec<SealedApiKey>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn remove_api_key(&self, _: &AccountName) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }
}

#[async_trait]
impl<A: Append> Inspection for AppendOnlyStore<A> {
    async fn knows_account(&self, _: &AccountName) -> Result<bool, StoreError> {
        Err(StoreError::Closed)
    }

    async fn oldest_pending(&self, _: &[AccountName]) -> Result<Vec<Option<Timestamp>>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn backlog(&self, _: &BacklogFilter, _: i64, _: usize) -> Result<BacklogPage, StoreError> {
        Err(StoreError::Closed)
    }

    async fn event_record(&self, _: i64) -> Result<Option<EventRecord>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn events(&self, _: &EventFilter, _: i64, _: usize) -> Result<EventPage, StoreError> {
        Err(StoreError::Closed)
    }

    async fn lookup(&self, _: &LookupQuery) -> Result<LookupPage, StoreError> {
        Err(StoreError::Closed)
    }
}

impl<A: Append> Ownership for AppendOnlyStore<A> {}

#[async_trait]
impl<A: Append> Maintenance for AppendOnlyStore<A> {
    fn status(&self) -> StoreStatus {
        self.inner.status()
    }

    async fn probe(&self) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn measure(&self) -> Result<Measured, StoreError> {
        Err(StoreError::Closed)
    }

    fn on_commit(&self, _: OnCommit) {}

    fn pending(&self) -> BTreeMap<String, u64> {
        BTreeMap::new()
    }

    async fn health(&self, _: &AccountName) -> Result<Option<String>, StoreError> {
        Err(StoreError::Closed)
    }

    async fn save_health(&self, _: &AccountName, _: String) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn unlink(&self, _: Vec<UserKey>) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn email_conflicts(
        &self,
        _: Option<&AccountName>,
        _: i64,
        _: usize,
    ) -> Result<Vec<EmailConflict>, StoreError> {
        Err(StoreError::Closed)
    }

    fn compaction_interval(&self) -> Duration {
        Duration::MAX
    }

    async fn compact(&self, _: Retention) -> Result<(), StoreError> {
        Err(StoreError::Closed)
    }

    async fn closed(&self) {}

    async fn close(&self) {}
}
