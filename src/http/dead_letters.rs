//! The operators' routes for dead letters, e-mail conflicts and erasure: JSON in by POST, JSON out.
//!
//! | path | request | response |
//! | --- | --- | --- |
//! | `/dead-letters` | `{"filter": {…}, "after": 0, "limit": 100}`, all optional | a page |
//! | `/dead-letters/show` | `{"id": 1}` | the dead letter with its body, or `null` |
//! | `/dead-letters/replay`, `/dead-letters/discard` | `{"ids": [1, 2]}` | the result for each |
//! | `/email-conflicts` | `{"account": "…", "after": 0, "limit": 100}`, all optional | a list; go on after the last `place` until it is empty |
//! | `/forget` | `{"user_id": "…"}` or `{"email": "…"}`, `"account"` optional | what was erased |
//!
//! Invariants: every request needs the operator's key as Basic credentials, which grants access to all accounts. It is the API
//! key of the first account (`main`, if it exists); if no account is configured, it is derived from the first seal key, which is
//! therefore never sent. The size of a response does not depend on how much the store holds. The client is the command line.

use super::AccountRegistry;
use super::account_registry::credentials;
use super::body;
use super::response::ApiResponse;
use crate::domain::{AccountName, Email, User, UserId};
use crate::segment::AuthError;
use crate::store::{DeadLetter, EmailConflict, Filter, Forgotten, Page, ReplayResult};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The most dead letters or e-mail conflicts of one page, and the most ids of one request.
const MAX_ITEMS: usize = 1_000;
/// The size of a page for which no limit is given.
const PAGE_SIZE: usize = 100;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ListRequest {
    filter: Filter,
    after: i64,
    limit: usize,
}

impl Default for ListRequest {
    fn default() -> Self {
        Self { filter: Filter::default(), after: 0, limit: PAGE_SIZE }
    }
}

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
struct ConflictsRequest {
    account: Option<String>,
    after: i64,
    limit: usize,
}

impl Default for ConflictsRequest {
    fn default() -> Self {
        Self { account: None, after: 0, limit: PAGE_SIZE }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ShowRequest {
    id: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ChangeRequest {
    ids: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct ForgetRequest {
    account: Option<String>,
    user_id: Option<String>,
    email: Option<String>,
}

type JsonResult<T> = Result<Json<T>, ApiResponse>;

pub(super) async fn list(State(registry): State<Arc<AccountRegistry>>, request: Request) -> JsonResult<Page> {
    let ListRequest { filter, after, limit } = authenticated(&registry, request).await?;
    Ok(Json(registry.store.dead_letters(&filter, after, limit.clamp(1, MAX_ITEMS)).await?))
}

pub(super) async fn show(
    State(registry): State<Arc<AccountRegistry>>,
    request: Request,
) -> JsonResult<Option<DeadLetter>> {
    let ShowRequest { id } = authenticated(&registry, request).await?;
    Ok(Json(registry.store.dead_letter(id).await?))
}

pub(super) async fn replay(
    State(registry): State<Arc<AccountRegistry>>,
    request: Request,
) -> JsonResult<Vec<ReplayResult>> {
    let ids = checked_ids(authenticated(&registry, request).await?)?;
    let replayed = registry.store.replay(&ids).await?;
    registry.wake_accounts_with_pending_events();
    Ok(Json(replayed))
}

pub(super) async fn discard(State(registry): State<Arc<AccountRegistry>>, request: Request) -> JsonResult<Vec<i64>> {
    let ids = checked_ids(authenticated(&registry, request).await?)?;
    Ok(Json(registry.store.discard(&ids).await?))
}

pub(super) async fn email_conflicts(
    State(registry): State<Arc<AccountRegistry>>,
    request: Request,
) -> JsonResult<Vec<EmailConflict>> {
    let ConflictsRequest { account, after, limit } = authenticated(&registry, request).await?;
    let account = account.map(AccountName::from);
    Ok(Json(registry.store.email_conflicts(account.as_ref(), after, limit.clamp(1, MAX_ITEMS)).await?))
}

pub(super) async fn forget(State(registry): State<Arc<AccountRegistry>>, request: Request) -> JsonResult<Forgotten> {
    let request: ForgetRequest = authenticated(&registry, request).await?;
    let email = request.email.as_deref().map(Email::parse).transpose();
    let email = email.map_err(|error| ApiResponse::Invalid(format!("`email` is {error}")))?;
    let user = User { user_id: request.user_id.as_deref().and_then(UserId::parse), email };
    let first = || registry.configured().first().map(|endpoint| endpoint.account.clone());
    let account = request.account.map(AccountName::from).or_else(first);
    let account = account.ok_or_else(|| {
        ApiResponse::Invalid("`account` is missing: it is required where no account is configured".to_owned())
    })?;
    let keys = user.keys(registry.store.hash_key(), &account);
    if keys.is_empty() {
        return Err(ApiResponse::Invalid("`user_id` and `email` are missing: one of them is required".to_owned()));
    }
    let forgotten = registry.store.forget(&account, &keys, registry.clock.now()).await?;
    Ok(Json(forgotten))
}

fn checked_ids(ChangeRequest { ids }: ChangeRequest) -> Result<Vec<i64>, ApiResponse> {
    if ids.len() > MAX_ITEMS {
        return Err(ApiResponse::Invalid(format!("too many `ids`: at most {MAX_ITEMS} in one request")));
    }
    Ok(ids)
}

/// The JSON of a request that has the operator's key.
async fn authenticated<T: DeserializeOwned>(registry: &AccountRegistry, request: Request) -> Result<T, ApiResponse> {
    let (head, mut body) = request.into_parts();
    let parsed = read(registry, &head.headers, &mut body).await;
    if parsed.is_err() {
        body::discard(&head.headers, &mut body).await;
    }
    parsed
}

async fn read<T: DeserializeOwned>(
    registry: &AccountRegistry,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<T, ApiResponse> {
    let operator = registry.operator.as_ref().ok_or(ApiResponse::InternalError)?;
    match operator.check_headers(credentials(headers), std::iter::empty()) {
        Ok(_) => {}
        Err(AuthError::NoCredentials) => return Err(ApiResponse::Unauthenticated(AuthError::WrongKey)),
        Err(other) => return Err(ApiResponse::Unauthenticated(other)),
    }
    let (body, _permit) = body::read(headers, body).await?;
    serde_json::from_slice(&body.bytes)
        .map_err(|error| ApiResponse::Invalid(format!("the JSON is not what this path expects: {error}")))
}
