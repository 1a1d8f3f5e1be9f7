//! Dead letters and erasure for operators, on their listener alone: JSON in by POST, JSON out.
//!
//! | path | asks | answers |
//! | --- | --- | --- |
//! | `/dead-letters` | `{"filter": {…}, "after": 0, "limit": 100}`, all optional | a page |
//! | `/dead-letters/show` | `{"id": 1}` | the letter with its body, or `null` |
//! | `/dead-letters/replay`, `/dead-letters/discard` | `{"ids": [1, 2]}` | what became of each |
//! | `/forget` | `{"user_id": "…"}` or `{"email": "…"}`, `"account"` optional | what was erased |
//!
//! Invariants: nothing is told or done without the operator's key as Basic credentials, which opens all accounts' letters. It
//! is the API key of the first account (`main`, if there is one); where none is configured, it is made of the first seal key,
//! which so never travels. No answer grows with what the store holds. The command line is the client.

use super::AccountRegistry;
use super::account_registry::credentials;
use super::answer::Answer;
use super::body;
use crate::domain::{AccountName, Email, User, UserId};
use crate::segment::AuthError;
use crate::store::{DeadLetter, Filter, Forgotten, Page, Replay};
use axum::Json;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::HeaderMap;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use std::sync::Arc;

/// The most dead letters of one page, and of one request to change some.
const MOST: usize = 1_000;

#[derive(Deserialize)]
#[serde(default, deny_unknown_fields)]
pub(super) struct Listed {
    filter: Filter,
    after: i64,
    limit: usize,
}

impl Default for Listed {
    fn default() -> Self {
        Self { filter: Filter::default(), after: 0, limit: 100 }
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct One {
    id: i64,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Several {
    ids: Vec<i64>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Whom {
    account: Option<String>,
    user_id: Option<String>,
    email: Option<String>,
}

type Told<T> = Result<Json<T>, Answer>;

pub(super) async fn list(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Told<Page> {
    let Listed { filter, after, limit } = asked(&registry, request).await?;
    Ok(Json(registry.store.dead_letters(&filter, after, limit.clamp(1, MOST)).await?))
}

pub(super) async fn show(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Told<Option<DeadLetter>> {
    let One { id } = asked(&registry, request).await?;
    Ok(Json(registry.store.dead_letter(id).await?))
}

pub(super) async fn replay(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Told<Vec<(i64, Replay)>> {
    let ids = several(asked(&registry, request).await?)?;
    let replayed = registry.store.replay(&ids).await?;
    registry.wake_accounts_with_pending_events();
    Ok(Json(replayed))
}

pub(super) async fn discard(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Told<Vec<i64>> {
    let ids = several(asked(&registry, request).await?)?;
    Ok(Json(registry.store.discard(&ids).await?))
}

pub(super) async fn forget(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Told<Forgotten> {
    let whom: Whom = asked(&registry, request).await?;
    let email = whom.email.as_deref().map(Email::parse).transpose();
    let email = email.map_err(|error| Answer::Invalid(format!("`email` is {error}")))?;
    let user = User { user_id: whom.user_id.as_deref().and_then(UserId::parse), email };
    let first = || registry.configured().next().map(|endpoint| endpoint.account.clone());
    let account = whom.account.map(AccountName::from).or_else(first);
    let account = account.ok_or_else(|| Answer::Invalid("expected `account`: none is configured".to_owned()))?;
    let keys = user.keys(registry.store.hash_key(), &account);
    if keys.is_empty() {
        return Err(Answer::Invalid("expected `user_id` or `email`".to_owned()));
    }
    let forgotten = registry.store.forget(&keys, registry.clock.now()).await?;
    Ok(Json(forgotten))
}

fn several(Several { ids }: Several) -> Result<Vec<i64>, Answer> {
    if ids.len() > MOST {
        return Err(Answer::Invalid(format!("at most {MOST} ids at once")));
    }
    Ok(ids)
}

/// What a request asks, if it comes with the key.
async fn asked<T: DeserializeOwned>(registry: &AccountRegistry, request: Request) -> Result<T, Answer> {
    let (head, mut body) = request.into_parts();
    let asked = read(registry, &head.headers, &mut body).await;
    if asked.is_err() {
        body::discard(&head.headers, &mut body).await;
    }
    asked
}

async fn read<T: DeserializeOwned>(
    registry: &AccountRegistry,
    headers: &HeaderMap,
    body: &mut Body,
) -> Result<T, Answer> {
    match registry.operator.as_ref().ok_or(Answer::Bug)?.authenticate(credentials(headers), std::iter::empty()) {
        Ok(_) => {}
        Err(AuthError::NoCredentials) => return Err(Answer::Disbelieved(AuthError::WrongKey)),
        Err(other) => return Err(Answer::Disbelieved(other)),
    }
    let (received, _room) = body::read(headers, body).await?;
    serde_json::from_slice(&received.bytes).map_err(|error| Answer::Invalid(format!("not what is taken here: {error}")))
}
