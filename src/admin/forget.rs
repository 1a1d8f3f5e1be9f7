//! Erasure of everything that the store holds of a user (the right to erasure of the GDPR, or right to be forgotten). It makes no call to
//! Refersion.

use super::Admin;
use super::extract::{ApiJson, ApiResult, user};
use super::problem::Problem;
use crate::domain::User;
use crate::store::Forgotten;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The user to forget: `user_id`, `email`, or both.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ForgetRequest {
    /// The user's account. If it is absent: the first configured account.
    account: Option<String>,
    /// Segment's `userId` of the user.
    user_id: Option<String>,
    /// The user's e-mail address.
    email: Option<String>,
    /// Only count what would be erased.
    #[serde(default)]
    dry_run: bool,
}

/// What was erased, or would be.
#[derive(Serialize, ToSchema)]
pub(super) struct ForgetResult {
    /// The user's account.
    account: String,
    /// The counts.
    #[serde(flatten)]
    counts: Forgotten,
}

impl ForgetRequest {
    fn user(&self) -> Result<User, Problem> {
        user(self.user_id.as_deref(), self.email.as_deref())
    }
}

/// Erase the data that the store holds of a user
///
/// Events in flight are counted and not erased: if there are any, send the request again in a moment.
#[utoipa::path(post, path = "/api/v1/forget", tag = "users", operation_id = "forget_user",
    request_body = ForgetRequest,
    responses((status = 200, description = "Counts of what was erased, or would be", body = ForgetResult)))]
pub(super) async fn forget(
    State(admin): State<Arc<Admin>>,
    ApiJson(request): ApiJson<ForgetRequest>,
) -> ApiResult<ForgetResult> {
    let user = request.user()?;
    let account = admin.account_or_first(request.account.as_deref()).await?;
    let user_keys = user.keys(admin.store.hash_key(), &account);
    if user_keys.is_empty() {
        let what = "`user_id` and `email` are missing or blank: one of them is required";
        return Err(Problem::InvalidRequest(what.to_owned()));
    }
    if request.dry_run {
        let counts = admin.store.forget_preview(&account, &user_keys).await?;
        return Ok(Json(ForgetResult { account: account.to_string(), counts }));
    }
    let forgotten = admin.store.forget(&account, &user_keys, admin.clock.now()).await?;
    if let Some(meter) = admin.metrics.find(&account) {
        meter.dead_letters(usize::try_from(forgotten.events).unwrap_or(usize::MAX));
    }
    tracing::info!(%account, ?forgotten, "an operator erased a user");
    Ok(Json(ForgetResult { account: account.to_string(), counts: forgotten }))
}
