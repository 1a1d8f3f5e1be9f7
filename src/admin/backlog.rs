//! The pending events of an account: a list of them, and setting them aside if the account is gone.

use super::Admin;
use super::account_gone::{self, SetAside};
use super::extract::{ApiJson, ApiQuery, ApiResult, cursor, page_size};
use super::problem::Problem;
use crate::domain::Timestamp;
use crate::store::{BacklogFilter, BacklogPage};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The filter and the page of a list of pending events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct BacklogQuery {
    /// The account. `/api/v1/accounts` says which have pending events.
    account: String,
    /// Only events of the user with this keyed hash, as this list shows it: 32 hexadecimal digits.
    #[param(pattern = "^[0-9a-f]{32}$")]
    user: Option<String>,
    /// Only events received before this moment, in milliseconds since 1970.
    received_before: Option<i64>,
    /// Only events with a seq above this one: the `next` of the page before.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// The most events of a page [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// List pending events of an account
///
/// In log order, page by page: `next` of a page is `after` of the following one, and the last page has none. A page may have fewer than
/// `limit`.
#[utoipa::path(get, path = "/api/v1/backlog", tag = "events", operation_id = "list_backlog",
    params(BacklogQuery), responses((status = 200, description = "A page", body = BacklogPage)))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    ApiQuery(query): ApiQuery<BacklogQuery>,
) -> ApiResult<BacklogPage> {
    let (after, limit) = (cursor(query.after)?, page_size(query.limit)?);
    let user = query.user.as_deref().map(parse_hash).transpose()?;
    let account = admin.known_account(&query.account).await?;
    let filter = BacklogFilter { account, user, received_before: query.received_before.map(Timestamp) };
    Ok(Json(admin.store.backlog(&filter, after, limit).await?))
}

/// The account whose pending events are set aside.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SetAsideRequest {
    /// The account, which is gone: it is not configured, and no API key of it is kept.
    pub(super) account: String,
}

/// Set aside pending events of an account that is gone
///
/// They become dead letters with the reason `account_gone`. Each request sets aside a portion: repeat it until `events` is 0. Then discard
/// them, or replay them to another account.
#[utoipa::path(post, path = "/api/v1/backlog/set-aside", tag = "events", operation_id = "set_aside_backlog",
    request_body = SetAsideRequest, responses((status = 200, description = "What was set aside", body = SetAside)))]
pub(super) async fn set_aside(
    State(admin): State<Arc<Admin>>,
    ApiJson(request): ApiJson<SetAsideRequest>,
) -> ApiResult<SetAside> {
    account_gone::set_aside(&admin, &admin.known_account(&request.account).await?).await.map(Json)
}

fn parse_hash(text: &str) -> Result<[u8; 16], Problem> {
    let mut hash = [0; 16];
    let decoded = hex::decode_to_slice(text, &mut hash);
    decoded.map_err(|_| Problem::InvalidRequest("`user` is not 32 hexadecimal digits".to_owned()))?;
    Ok(hash)
}
