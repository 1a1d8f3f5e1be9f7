//! API keys that arrived with requests and are kept: which accounts have one, and removing it.
//!
//! In: the public half of a key, or the name of an account. Out: names of accounts; a key itself is never shown. The name of such an
//! account is a keyed hash of the public half, so a public half finds its account. A removed key that arrives again is verified and
//! kept again.

use super::Admin;
use super::extract::{ApiPath, ApiQuery, ApiResult, page_size};
use super::problem::Problem;
use crate::domain::{AccountName, ApiKey};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::{IntoParams, ToSchema};

/// The filter and the page of a list of kept keys.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct ApiKeysQuery {
    /// Only the account of the key with this public half.
    #[param(pattern = "^[!-\\-/-9;-~]+$")]
    public_key: Option<String>,
    /// Only accounts after this one: the `next` of the page before.
    after: Option<String>,
    /// The most keys of a page [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// Some of the kept keys, in the order of their accounts' names.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct ApiKeyPage {
    /// The keys found.
    pub keys: Vec<KeptApiKey>,
    /// The account after which the next page begins; `null` on the last page.
    pub next: Option<String>,
}

/// A kept key.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct KeptApiKey {
    /// The account to which the key belongs.
    pub account: String,
    /// How many events of the account are pending.
    pub pending: u64,
}

/// The key of this account was removed.
#[derive(Debug, Serialize, ToSchema)]
pub(super) struct RemovedApiKey {
    /// The account, which has no key any more.
    pub account: String,
    /// Its pending events. They stay, and are delivered if a key of the account arrives again.
    pub pending: u64,
}

/// List the accounts whose API keys arrived with requests
#[utoipa::path(get, path = "/api/v1/keys", tag = "API keys", operation_id = "list_keys",
    params(ApiKeysQuery), responses((status = 200, description = "A page", body = ApiKeyPage)))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    ApiQuery(query): ApiQuery<ApiKeysQuery>,
) -> ApiResult<ApiKeyPage> {
    let limit = page_size(query.limit)?;
    let wanted = query.public_key.as_deref().map(|public| account_of(&admin, public)).transpose()?;
    let after = query.after.unwrap_or_default();
    let kept = admin.store.kept_api_keys().await?.into_iter().map(|key| key.account);
    let fits = |account: &AccountName| {
        account.as_str() > after.as_str() && wanted.as_ref().is_none_or(|wanted| wanted == account)
    };
    let found: BTreeSet<AccountName> = kept.filter(fits).collect();
    let pending = admin.store.pending();
    let key = |account: &AccountName| KeptApiKey {
        account: account.to_string(),
        pending: pending.get(account.as_str()).copied().unwrap_or(0),
    };
    let keys: Vec<KeptApiKey> = found.iter().take(limit).map(key).collect();
    let next = keys.last().filter(|_| found.len() > limit).map(|last| last.account.clone());
    Ok(Json(ApiKeyPage { keys, next }))
}

/// Remove the API key of an account
///
/// Its worker ends; its pending events and dead letters stay.
#[utoipa::path(delete, path = "/api/v1/keys/{account}", tag = "API keys", operation_id = "remove_key",
    params(("account" = String, Path, description = "The account's name, `key-…`")),
    responses((status = 200, description = "It was removed", body = RemovedApiKey)))]
pub(super) async fn remove(
    State(admin): State<Arc<Admin>>,
    ApiPath(account): ApiPath<String>,
) -> ApiResult<RemovedApiKey> {
    let name = AccountName::from(account.clone());
    if !admin.accounts.remove_api_key(&name).await? {
        return Err(Problem::NotFound(format!("no key of an account {account:?} is kept")));
    }
    tracing::info!(%account, "an operator removed the API key of an account");
    let pending = admin.store.pending().get(&account).copied().unwrap_or(0);
    Ok(Json(RemovedApiKey { account, pending }))
}

/// The account of the key with this public half.
fn account_of(admin: &Admin, public: &str) -> Result<AccountName, Problem> {
    if public.contains('.') {
        let what = "`public_key` has a dot: give the public half alone, never the secret one";
        return Err(Problem::InvalidRequest(what.to_owned()));
    }
    // Only the public half is hashed.
    let key = ApiKey::parse(&format!("{public}.-"));
    let key = key.map_err(|error| Problem::InvalidRequest(format!("`public_key` is {error}")))?;
    Ok(admin.store.hash_key().account(&key))
}
