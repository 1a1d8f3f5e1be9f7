//! Dead letters: listing, showing, revealing, replaying and discarding them.
//!
//! Invariants: a page and a single dead letter hold no personal data; only [`revealed`] shows the event, and each use is logged. A replay
//! is appended after the pending events of its user, and the account's worker is woken.

use super::Admin;
use super::account_gone::{MAX_MOVED, move_dead_letters};
use super::extract::{
    ApiJson, ApiPath, ApiQuery, ApiResult, MAX_ITEMS, cursor, integers, known_word, one_of, page_size,
};
use super::problem::Problem;
use crate::delivery::OutcomeCode;
use crate::domain::Timestamp;
use crate::dry_run::{self, Detail};
use crate::store::{DeadLetter, DeadLetterFilter, DeadLetterPage, PageStart, Replay, ReplayResult};
use axum::Json;
use axum::extract::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::sync::Arc;
use utoipa::openapi::schema::Object;
use utoipa::{IntoParams, ToSchema};

/// The filter and the page of a list of dead letters.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct DeadLettersQuery {
    /// Only those of this account.
    account: Option<String>,
    /// Only those with this reason.
    #[param(schema_with = reason_schema)]
    reason: Option<String>,
    /// Only those that became dead letters at this moment or later, in milliseconds since 1970.
    since: Option<i64>,
    /// Only those with an id above this one: the `next` of the page before.
    #[param(minimum = 0)]
    after: Option<i64>,
    /// The most dead letters of a page [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// A dead letter, and the calls that its event would make today.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct DeadLetterDetails {
    /// The dead letter, without its event.
    #[serde(flatten)]
    pub letter: DeadLetter,
    /// The calls that the event would make by today's rules, without its values, in lines. Absent if the event was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub today: Option<Vec<String>>,
}

impl DeadLetterDetails {
    /// The details of `letter` without its event.
    fn new(admin: &Admin, mut letter: DeadLetter) -> Self {
        let today = calls_of_today(admin, &letter, Detail::WithoutValues);
        letter.body = None;
        Self { letter, today }
    }
}

/// The event of a dead letter: personal data.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
pub struct RevealedEvent {
    /// The dead letter's id.
    pub id: i64,
    /// The event, as it was received. `null` if it was erased.
    pub body: Option<String>,
    /// The calls that the event would make by today's rules, with its values, in lines. Absent if the event was erased.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub today: Option<Vec<String>>,
}

/// The calls that the event of `letter` would make by the present rules, in lines. `None`: the event was erased.
pub(super) fn calls_of_today(admin: &Admin, letter: &DeadLetter, detail: Detail) -> Option<Vec<String>> {
    let config = admin.accounts.config();
    let (rules, policy) = (config.rules_of(&letter.account), config.delivery.policy);
    letter.body.as_ref().map(|body| dry_run::explain(body, rules, policy, admin.clock.now(), detail).lines)
}

/// Dead letters by their ids.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct SelectedDeadLetters {
    /// The ids of the dead letters.
    #[schema(min_items = 1, max_items = 1000)]
    #[serde(deserialize_with = "integers")]
    pub(super) ids: Vec<i64>,
}

/// Dead letters to be replayed.
#[derive(Debug, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub(super) struct ReplayRequest {
    /// The ids of the dead letters; with `to`, at most 100.
    #[schema(min_items = 1, max_items = 1000)]
    #[serde(deserialize_with = "integers")]
    pub(super) ids: Vec<i64>,
    /// The account to which they are appended because their own is gone; its rules map them. Without it, they stay with their own account.
    pub(super) to: Option<String>,
}

/// The result of discarding one dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DiscardResult {
    /// The dead letter's id.
    pub id: i64,
    /// Whether it was discarded.
    pub outcome: DiscardOutcome,
}

impl DiscardResult {
    /// The result for each of the `selected` ids, of which the store has `discarded` these.
    fn of_each(selected: &[i64], discarded: &[i64]) -> Vec<Self> {
        let result = |id: &i64| {
            let outcome = if discarded.contains(id) { DiscardOutcome::Discarded } else { DiscardOutcome::Missing };
            Self { id: *id, outcome }
        };
        selected.iter().map(result).collect()
    }
}

/// Whether a dead letter was discarded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[serde(rename_all = "snake_case")]
pub enum DiscardOutcome {
    /// The dead letter is discarded for good.
    Discarded,
    /// No dead letter has this id.
    Missing,
}

/// Checks the number of ids of one request.
pub(super) fn check_ids(ids: &[i64]) -> Result<(), Problem> {
    match ids.len() {
        0 => Err(Problem::InvalidRequest("`ids` is empty".to_owned())),
        n if n > MAX_ITEMS.into() => Err(Problem::InvalidRequest(format!("more than {MAX_ITEMS} `ids`"))),
        _ => Ok(()),
    }
}

/// List dead letters
///
/// In the order of their ids, page by page: `next` of a page is `after` of the following one, and the last page has none. A page may have
/// fewer than `limit`.
#[utoipa::path(get, path = "/api/v1/dead-letters", tag = "dead letters", operation_id = "list_dead_letters",
    params(DeadLettersQuery), responses((status = 200, description = "A page", body = DeadLetterPage)))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    ApiQuery(query): ApiQuery<DeadLettersQuery>,
) -> ApiResult<DeadLetterPage> {
    let (after, limit) = (cursor(query.after)?, page_size(query.limit)?);
    let since = query.since.map(Timestamp);
    let filter = filter(&admin, query.account.as_deref(), query.reason, since).await?;
    Ok(Json(admin.store.dead_letters(&filter, PageStart::After(after), limit).await?))
}

/// The filter of these conditions, if the account and the reason are known.
pub(super) async fn filter(
    admin: &Admin,
    account: Option<&str>,
    reason: Option<String>,
    since: Option<Timestamp>,
) -> Result<DeadLetterFilter, Problem> {
    let reasons: Vec<OutcomeCode> = OutcomeCode::failures().collect();
    known_word("reason", reason.as_deref(), &reasons, OutcomeCode::as_str)?;
    let account = admin.known_account_if_given(account).await?;
    Ok(DeadLetterFilter { account: account.map(|account| account.as_str().to_owned()), reason, since })
}

/// Show a dead letter
///
/// The answer has its reason, its last attempts, and the calls that its event would make today, but not the event.
#[utoipa::path(get, path = "/api/v1/dead-letters/{id}", tag = "dead letters", operation_id = "show_dead_letter",
    params(("id" = i64, Path, description = "Its id")),
    responses((status = 200, description = "The dead letter", body = DeadLetterDetails)))]
pub(super) async fn show(State(admin): State<Arc<Admin>>, ApiPath(id): ApiPath<i64>) -> ApiResult<DeadLetterDetails> {
    let letter = admin.store.dead_letter(id).await?.ok_or_else(|| missing(id))?;
    Ok(Json(DeadLetterDetails::new(&admin, letter)))
}

/// Show the event of a dead letter
///
/// The event is personal data, so this needs the token, and is logged.
#[utoipa::path(post, path = "/api/v1/dead-letters/{id}/reveal", tag = "dead letters", operation_id = "reveal_dead_letter",
    params(("id" = i64, Path, description = "Its id")),
    responses((status = 200, description = "The event", body = RevealedEvent)))]
pub(super) async fn reveal(State(admin): State<Arc<Admin>>, ApiPath(id): ApiPath<i64>) -> ApiResult<RevealedEvent> {
    let letter = revealed(&admin, id).await?;
    Ok(Json(RevealedEvent { id, today: calls_of_today(&admin, &letter, Detail::WithValues), body: letter.body }))
}

/// The dead letter `id` with its event, for an operator.
pub(super) async fn revealed(admin: &Admin, id: i64) -> Result<DeadLetter, Problem> {
    let letter = admin.store.dead_letter(id).await?.ok_or_else(|| missing(id))?;
    tracing::info!(id, account = %letter.account, "an operator revealed the event of a dead letter");
    Ok(letter)
}

/// Replay dead letters
///
/// Each is appended to the log again, after the pending events of its user, and delivered by today's rules. With `to`, dead letters of an
/// account that is gone go to another account, whose rules map them again; a dead letter whose event the other account has already stays.
#[utoipa::path(post, path = "/api/v1/dead-letters/replay", tag = "dead letters", operation_id = "replay_dead_letters",
    request_body = ReplayRequest,
    responses((status = 200, description = "The result for each", body = Vec<ReplayResult>)))]
pub(super) async fn replay(
    State(admin): State<Arc<Admin>>,
    ApiJson(ReplayRequest { ids, to }): ApiJson<ReplayRequest>,
) -> ApiResult<Vec<ReplayResult>> {
    check_ids(&ids)?;
    let results = match &to {
        None => admin.store.replay(&ids).await?,
        Some(_) if ids.len() > MAX_MOVED => {
            return Err(Problem::InvalidRequest(format!("more than {MAX_MOVED} `ids` with `to`")));
        }
        Some(to) => move_dead_letters(&admin, to, &ids).await?,
    };
    admin.accounts.wake_accounts_with_pending_events();
    let replayed = results.iter().filter(|result| result.outcome == Replay::Replayed).count();
    tracing::info!(selected = ids.len(), replayed, to, "an operator replayed dead letters");
    Ok(Json(results))
}

/// Discard dead letters for good
#[utoipa::path(post, path = "/api/v1/dead-letters/discard", tag = "dead letters", operation_id = "discard_dead_letters",
    request_body = SelectedDeadLetters,
    responses((status = 200, description = "The result for each", body = Vec<DiscardResult>)))]
pub(super) async fn discard(
    State(admin): State<Arc<Admin>>,
    ApiJson(SelectedDeadLetters { ids }): ApiJson<SelectedDeadLetters>,
) -> ApiResult<Vec<DiscardResult>> {
    check_ids(&ids)?;
    let ids: BTreeSet<i64> = ids.into_iter().collect();
    let ids: Vec<i64> = ids.into_iter().collect();
    let discarded = admin.store.discard(&ids).await?;
    tracing::info!(selected = ids.len(), discarded = discarded.len(), "an operator discarded dead letters");
    Ok(Json(DiscardResult::of_each(&ids, &discarded)))
}

fn missing(id: i64) -> Problem {
    Problem::NotFound(format!("there is no dead letter {id}"))
}

fn reason_schema() -> Object {
    one_of(OutcomeCode::failures().map(OutcomeCode::as_str))
}
