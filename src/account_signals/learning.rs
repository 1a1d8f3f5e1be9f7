//! Learning the affiliates of an account from Refersion's list, as operators ask the worker for it.
//!
//! In: a request to begin. Out: how far the list was read. Deliberately absent: reading it, which is the worker's.

use crate::domain::Timestamp;
use async_trait::async_trait;
use std::fmt::Debug;

/// How far the affiliates of an account were learned from Refersion's list.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LearningStatus {
    /// Whether the list is being read.
    pub is_reading: bool,
    /// How many of its affiliates were read.
    pub read: u64,
    /// How many it has in all; none if no page has stated it yet.
    pub total: Option<u64>,
    /// When it was last read to its end.
    pub completed_at: Option<Timestamp>,
    /// Why it cannot be read at present, in words safe to show.
    pub failure: Option<String>,
}

/// Why the list of an account cannot be read now.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LearningError {
    /// Another process owns the account.
    #[error("another process delivers for the account: ask that one")]
    NotOwner,
    /// The account makes no calls.
    #[error("the account is paused or halted")]
    Paused,
    /// The store failed, for this reason.
    #[error("the store failed: {0}")]
    Store(String),
}

/// What a worker offers about the list of its account.
#[async_trait]
pub trait AffiliateLearning: Debug + Send + Sync {
    /// Begins to read the list, where it was interrupted, or from its first page on. Returns before it was read.
    async fn start_learning(&self) -> Result<(), LearningError>;

    /// How far it was read.
    async fn learning(&self) -> Result<LearningStatus, LearningError>;
}
