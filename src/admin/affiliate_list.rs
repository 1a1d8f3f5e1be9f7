//! The affiliates that are learned from Refersion's list of an account: the progress of reading, and its start.
//!
//! In: the name of an account. Out: counts, no affiliate. Reading continues after the answer; a later request shows its progress. With
//! several processes, the one that delivers for the account reads.

use super::Admin;
use super::extract::{ApiPath, ApiResult};
use super::problem::Problem;
use crate::account_signals::{AffiliateLearning, LearningError, LearningStatus};
use crate::domain::Timestamp;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// How far the affiliates of an account were learned from Refersion's list.
#[derive(Debug, Serialize, Deserialize, ToSchema)]
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

impl From<LearningStatus> for AffiliateListStatus {
    fn from(status: LearningStatus) -> Self {
        let LearningStatus { is_reading, read, total, completed_at, failure } = status;
        Self { reading: is_reading, read, total, completed_at, failure }
    }
}

/// Show how far the affiliates of an account were learned
#[utoipa::path(get, path = "/api/v1/accounts/{account}/affiliate-list", tag = "accounts", operation_id = "show_affiliate_list",
    params(("account" = String, Path, description = "Its name")),
    responses((status = 200, description = "How far the list was read", body = AffiliateListStatus)))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    ApiPath(account): ApiPath<String>,
) -> ApiResult<AffiliateListStatus> {
    let learning = learning_of(&admin, &account).await?;
    Ok(Json(learning.learning().await?.into()))
}

/// Learn the affiliates of an account from Refersion's list
///
/// The list is read where reading was interrupted, or from its first page on. The answer does not wait for that.
#[utoipa::path(post, path = "/api/v1/accounts/{account}/affiliate-list", tag = "accounts", operation_id = "learn_affiliates",
    params(("account" = String, Path, description = "Its name")),
    responses((status = 200, description = "It is being read", body = AffiliateListStatus)))]
pub(super) async fn learn(
    State(admin): State<Arc<Admin>>,
    ApiPath(account): ApiPath<String>,
) -> ApiResult<AffiliateListStatus> {
    let learning = learning_of(&admin, &account).await?;
    learning.start_learning().await?;
    tracing::info!(%account, "an operator asked for Refersion's list of the account's affiliates");
    Ok(Json(learning.learning().await?.into()))
}

/// What the worker of the account offers about the list.
async fn learning_of(admin: &Admin, account: &str) -> Result<Arc<dyn AffiliateLearning>, Problem> {
    let name = admin.known_account(account).await?;
    let accounts = admin.accounts.configured().into_iter().chain(admin.accounts.unconfigured().unwrap_or_default());
    let worker = accounts.filter(|account| account.name == name).find_map(|account| account.signals.learning());
    worker.ok_or_else(|| {
        Problem::CannotLearn(format!("the account {account:?} has no API key here, so it makes no calls"))
    })
}

impl From<LearningError> for Problem {
    fn from(error: LearningError) -> Self {
        match error {
            LearningError::Store(error) => Self::StoreFailed(error),
            error => Self::CannotLearn(error.to_string()),
        }
    }
}
