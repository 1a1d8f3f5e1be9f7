//! Affiliates whose e-mail could not be changed, because another affiliate has the new one. The service knows neither address.

use super::Admin;
use super::extract::{ApiQuery, ApiResult, cursor, page_size};
use crate::store::EmailConflict;
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The filter and the page of a list of e-mail conflicts.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EmailConflictsQuery {
    /// Only those of this account.
    account: Option<String>,
    /// Only those after this position: the `next` of the page before.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// The most affiliates of a page [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Some of the e-mail conflicts.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct EmailConflictPage {
    /// The conflicts.
    pub conflicts: Vec<EmailConflict>,
    /// The position after which the next page begins; `null` on the last page.
    pub next: Option<i64>,
}

impl EmailConflictPage {
    /// A page of up to `limit` conflicts.
    fn new(conflicts: Vec<EmailConflict>, limit: usize) -> Self {
        let next = conflicts.last().filter(|_| conflicts.len() == limit).map(|last| last.place);
        Self { conflicts, next }
    }
}

/// List affiliates whose e-mail could not be changed, because another affiliate has it
#[utoipa::path(get, path = "/api/v1/email-conflicts", tag = "affiliates", operation_id = "list_email_conflicts",
    params(EmailConflictsQuery), responses((status = 200, description = "A page", body = EmailConflictPage)))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    ApiQuery(query): ApiQuery<EmailConflictsQuery>,
) -> ApiResult<EmailConflictPage> {
    let (after, limit) = (cursor(query.after)?, page_size(query.limit)?);
    let account = admin.known_account_if_given(query.account.as_deref()).await?;
    let conflicts = admin.store.email_conflicts(account.as_ref(), after, limit).await?;
    Ok(Json(EmailConflictPage::new(conflicts, limit)))
}
