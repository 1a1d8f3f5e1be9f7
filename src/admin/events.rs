//! The ledger: the result of every event that was received authenticated, as a list or of one event.
//!
//! Invariants: no personal data; the newest first, page by page, each of which examines a bounded number of events. Answers of this process
//! that are not written yet are written before the list is read.

use super::Admin;
use super::extract::{ApiPath, ApiQuery, ApiResult, known_word, one_of, page_size};
use super::problem::Problem;
use crate::delivery::OutcomeCode;
use crate::domain::Timestamp;
use crate::store::{EventFilter, EventPage, EventRecord, LedgerStatus};
use axum::Json;
use axum::extract::State;
use serde::Deserialize;
use std::sync::Arc;
use utoipa::IntoParams;
use utoipa::openapi::schema::Object;

/// The filter and the page of a list of events.
#[derive(Debug, Deserialize, IntoParams)]
#[serde(deny_unknown_fields)]
#[into_params(parameter_in = Query)]
pub(super) struct EventsQuery {
    /// Only those of this account.
    account: Option<String>,
    /// Only those with this status.
    #[param(schema_with = status_schema)]
    status: Option<String>,
    /// Only those that ended with this outcome.
    #[param(schema_with = outcome_schema)]
    outcome: Option<String>,
    /// Only those received at this moment or later, in milliseconds since 1970.
    since: Option<i64>,
    /// Only those with a seq below this one: the `next` of the page before.
    #[param(minimum = 1)]
    before: Option<i64>,
    /// The most events of a page [default: 100].
    #[param(minimum = 1, maximum = 1000)]
    limit: Option<u16>,
}

/// List events
///
/// The result of every event that was received authenticated within STORE_LEDGER_WINDOW, the newest first, page by page: continue with
/// `next` as `before` until there is none. A page may have fewer than `limit`, and none at all.
#[utoipa::path(get, path = "/api/v1/events", tag = "events", operation_id = "list_events",
    params(EventsQuery), responses((status = 200, description = "A page", body = EventPage)))]
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    ApiQuery(query): ApiQuery<EventsQuery>,
) -> ApiResult<EventPage> {
    let limit = page_size(query.limit)?;
    let before = query.before.unwrap_or(i64::MAX);
    if before < 1 {
        return Err(Problem::InvalidRequest("`before` is below 1".to_owned()));
    }
    let filter = EventFilter {
        account: query.account,
        status: known_word("status", query.status.as_deref(), LedgerStatus::ALL, LedgerStatus::as_str)?,
        outcome: known_word("outcome", query.outcome.as_deref(), OutcomeCode::ALL, OutcomeCode::as_str)?,
        since: query.since.map(Timestamp),
    };
    events(&admin, &filter, before, limit).await.map(Json)
}

/// Show the result of an event
///
/// The event is named by its seq, which a replay returns. Its result is known until STORE_LEDGER_WINDOW has passed; that of a dead letter,
/// as long as it is kept.
#[utoipa::path(get, path = "/api/v1/events/{seq}", tag = "events", operation_id = "show_event",
    params(("seq" = i64, Path, description = "Its seq in the log")),
    responses((status = 200, description = "The event", body = EventRecord)))]
pub(super) async fn show(State(admin): State<Arc<Admin>>, ApiPath(seq): ApiPath<i64>) -> ApiResult<EventRecord> {
    let record = admin.store.event_record(seq).await?;
    record.map(Json).ok_or_else(|| Problem::NotFound(format!("there is no event {seq}, or not any more")))
}

/// A page of the events that fit, for an operator.
pub(super) async fn events(
    admin: &Admin,
    filter: &EventFilter,
    before: i64,
    limit: usize,
) -> Result<EventPage, Problem> {
    if let Some(account) = &filter.account {
        admin.known_account(account).await?;
    }
    // Err: entries that cannot be written yet are missing in the answer, and are written later.
    let _ = admin.store.write_recorded().await;
    Ok(admin.store.events(filter, before, limit).await?)
}

fn status_schema() -> Object {
    one_of(LedgerStatus::ALL.iter().map(|status| status.as_str()))
}

fn outcome_schema() -> Object {
    one_of(OutcomeCode::ALL.iter().map(|code| code.as_str()))
}
