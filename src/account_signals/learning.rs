//! Learning the affiliates of an account from Refersion's list, as operators ask the worker for it.
//!
//! In: a request to begin. Out: how far the list was read. Deliberately absent: reading it, which is the worker's.

use crate::domain::Timestamp;
use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use std::fmt::Debug;
use utoipa::ToSchema;

/// How far the affiliates of an account were learned from Refersion's list.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct AffiliateListStatus {
    /// Whether the list is being read.
    pub reading: bool,
    /// How many of its affiliates were read, in this reading or in the last one.
    pub read: u64,
    /// The number of affiliates on the list; `null` before the first page.
    pub total: Option<u64>,
    /// When it was last read to its end, in milliseconds since 1970.
    #[schema(value_type = Option<i64>)]
    pub completed_at: Option<Timestamp>,
    /// Why it cannot be read at present.
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
    async fn learning(&self) -> Result<AffiliateListStatus, LearningError>;
}
