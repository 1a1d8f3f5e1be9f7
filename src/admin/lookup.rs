//! Lookup: it answers "what became of this user's event?", by an identifier of the user or of the event.
//!
//! Invariant: the identifier is hashed at once; it is in no URL, no log line and no answer.

use super::Admin;
use super::extract::{ApiJson, ApiResult, optional_integer, page_size, user};
use super::problem::Problem;
use crate::domain::{AccountName, AffiliateCode, HashKey};
use crate::store::{LookupPage, LookupQuery};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::sync::Arc;
use utoipa::ToSchema;

/// The user or the event to look up: at least one of `user_id`, `email`, `message_id` and `code`. With `message_id`, only the events with
/// this id; for a delete event, the user must be named, too.
#[derive(Clone, Deserialize, Serialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct LookupRequest {
    /// The account. If it is absent: the first configured account.
    pub account: Option<String>,
    /// Segment's `userId`.
    pub user_id: Option<String>,
    /// An e-mail address.
    pub email: Option<String>,
    /// Segment's `messageId` of an event.
    pub message_id: Option<String>,
    /// The code of an affiliate at Refersion, such as `a3y7`.
    pub code: Option<String>,
    /// Only events with a seq below this one: the `next` of the page before.
    #[serde(default, deserialize_with = "optional_integer")]
    pub before: Option<i64>,
    /// The most events of a page [default: 100].
    #[serde(default, deserialize_with = "optional_integer")]
    #[schema(minimum = 1, maximum = 1000)]
    pub limit: Option<u16>,
}

/// The data that the store holds of a user or of an event.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct LookupResult {
    /// The account that was asked about.
    pub account: String,
    /// Whether the store holds an affiliate, an event, or remembered traits of a user who is no affiliate yet.
    pub known: bool,
    /// The name in logs, traces and dead letters of the event with this `messageId`, whether the event was received or not. That of a
    /// delete event of a user differs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub event: Option<String>,
    /// The data in the store.
    #[serde(flatten)]
    pub found: LookupPage,
}

impl LookupRequest {
    /// The query for an account of a store with this hash key.
    fn query(&self, hash: &HashKey, account: AccountName) -> Result<LookupQuery, Problem> {
        let blank = |text: &&String| !text.trim().is_empty();
        let user = user(self.user_id.as_deref(), self.email.as_deref())?;
        let code = self.code.as_ref().filter(blank).map(|code| AffiliateCode(code.trim().to_owned()));
        let users = user.keys(hash, &account);
        let message_id = self.message_id.as_deref().map(str::trim).filter(|id| !id.is_empty());
        let ids = message_id.map(|id| LookupQuery::ids(hash, &account, id, &users)).unwrap_or_default();
        if users.is_empty() && code.is_none() && ids.is_empty() {
            let what = "`user_id`, `email`, `message_id` and `code` are missing or blank: one of them is required";
            return Err(Problem::InvalidRequest(what.to_owned()));
        }
        let limit = page_size(self.limit)?;
        Ok(LookupQuery { account, users, code, ids, before: self.before, limit })
    }
}

impl LookupResult {
    /// The data that was found for `query`.
    fn new(query: &LookupQuery, found: LookupPage) -> Self {
        let known = !found.affiliates.is_empty() || !found.events.is_empty() || !found.remembered.is_empty();
        let event = query.ids.first().map(ToString::to_string);
        Self { account: query.account.to_string(), known, event, found }
    }
}

/// Look up a user or an event
///
/// The store's data: affiliates, and the result of each event. The values themselves are not known here. A `POST`, so that no address is in
/// a URL.
#[utoipa::path(post, path = "/api/v1/lookup", tag = "users", operation_id = "look_up",
    request_body = LookupRequest,
    responses((status = 200, description = "What the store holds", body = LookupResult)))]
pub(super) async fn look_up(
    State(admin): State<Arc<Admin>>,
    ApiJson(request): ApiJson<LookupRequest>,
) -> ApiResult<LookupResult> {
    let account = admin.account_or_first(request.account.as_deref()).await?;
    let query = request.query(admin.store.hash_key(), account)?;
    // Err: entries that cannot be written yet are missing in the answer, and are written later.
    let _ = admin.store.write_recorded().await;
    let found = admin.store.lookup(&query).await?;
    tracing::info!(account = %query.account, events = found.events.len(), "an operator looked up a user or an event");
    Ok(Json(LookupResult::new(&query, found)))
}
