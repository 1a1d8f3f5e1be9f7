//! The affiliates that are learned from Refersion's list of an account: the progress of reading, and its start.
//!
//! In: the name of an account. Out: counts, no affiliate. Reading continues after the answer; a later request shows its progress. With
//! several processes, the one that delivers for the account reads.

use super::Admin;
use super::extract::{ApiPath, ApiResult};
use super::problem::Problem;
use crate::account_signals::{AffiliateLearning, AffiliateListStatus, LearningError};
use axum::Json;
use axum::extract::State;
use std::sync::Arc;

/// Show how far the affiliates of an account were learned
#[utoipa::path(get, path = "/api/v1/accounts/{account}/affiliate-list", tag = "accounts", operation_id = "show_affiliate_list",
    params(("account" = String, Path, description = "Its name")),
    responses((status = 200, description = "How far the list was read", body = AffiliateListStatus)))]
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    ApiPath(account): ApiPath<String>,
) -> ApiResult<AffiliateListStatus> {
    let learning = learning_of(&admin, &account).await?;
    Ok(Json(learning.learning().await?))
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
    Ok(Json(learning.learning().await?))
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
