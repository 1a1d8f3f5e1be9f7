//! The webhook: authenticates a request, parses it, appends its events to the event log, and only then responds.
//!
//! In: a request. Out: its response. The response to a single event waits for the outcome until `SERVER_WAIT` after the receipt of the
//! request (a long poll), so that Segment's Event Tester shows it. It waits only if the event can be delivered now:
//! - it was appended, and is no duplicate;
//! - fewer events of the account were pending before it than `REFERSION_CONCURRENCY`;
//! - no earlier event of the same user blocks it, and the account is neither paused nor halted.
//!
//! If another process delivers for the account, the outcome of the event and a pause or halt of the account are read from the store. The
//! response to an array does not wait; it has a result for each event. Invariants: a client that disconnects loses only the response; the
//! wait counts from the receipt, including the time for the verification of the API key and for storing the event, since Segment's own
//! timeout counts from its sending. Deliberately absent: calls to Refersion.

use super::account_registry::{SelectedEndpoint, credentials};
use super::answered::{AnsweredRequest, log_auth_error};
use super::append::{append, timeout_after};
use super::body::{self, LargeBodyPermit, RawBody};
use super::limits::{MAX_BODY_BYTES, MAX_EVENT_BYTES, MAX_NOTES_OF_ARRAY};
use super::parse::{ItemDecision, ParsedBody, ParsedItem, parse_body};
use super::response::{ApiResponse, ItemResult, ResponseBody, combined, combined_for_sdk};
use super::{AccountEndpoint, AccountRegistry, refuse};
use crate::account_signals::Waiter;
use crate::domain::{EventId, Seq, Timestamp};
use crate::scheduling::{BreakerState, SavedHealth};
use crate::segment::PendingSignatures;
use crate::store::{Appended, DoneElsewhere};
use crate::telemetry::traces::{Span, TraceContext};
use crate::telemetry::{EventStatus, EventType};
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue, Method};
use axum::response::{IntoResponse, Response};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The methods of the webhook, as a response names them.
pub(super) const METHODS: &str = "POST, PUT, PATCH";

/// Receive events
///
/// The credentials select the account.
#[utoipa::path(post, path = "/segment", tag = "events", operation_id = "send_events",
    request_body(content = ref("#/components/schemas/SegmentEvents"), content_type = "application/json",
        description = "An event, an array of events, or an object with `batch`; plain or gzip"),
    responses(ApiResponse), security(("api_key" = []), ("signature" = [])))]
pub(super) async fn shared_endpoint(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Response {
    let received_at = Instant::now();
    let endpoint = registry.select(request.headers()).await;
    respond(&registry, endpoint, request, received_at).await
}

/// Receive events of one configured account
#[utoipa::path(post, path = "/segment/{account}", tag = "events", operation_id = "send_events_of_account",
    params(("account" = String, Path, description = "The account's name")),
    request_body(content = ref("#/components/schemas/SegmentEvents"), content_type = "application/json",
        description = "An event, an array of events, or an object with `batch`; plain or gzip"),
    responses(ApiResponse), security(("api_key" = []), ("signature" = [])))]
pub(super) async fn account_endpoint(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Response {
    let received_at = Instant::now();
    match registry.named_in(request.uri().path()) {
        None => refuse(request, ApiResponse::NotFound).await.into_response(),
        Some(_) if ![Method::POST, Method::PUT, Method::PATCH].contains(request.method()) => {
            refuse(request, ApiResponse::MethodNotAllowed(METHODS)).await.into_response()
        }
        Some(endpoint) => respond(&registry, Ok(endpoint.into()), request, received_at).await,
    }
}

/// The receipt of a request: its moment, its trace, and the timeout of its append.
struct Arrival {
    at: Instant,
    trace: Option<TraceContext>,
    append_timeout: Option<Duration>,
}

async fn respond(
    registry: &AccountRegistry,
    selected: Result<SelectedEndpoint, ApiResponse>,
    request: Request,
    received_at: Instant,
) -> Response {
    let append_timeout = timeout_after(received_at.elapsed());
    let (head, mut body) = request.into_parts();
    let mut account = selected.as_ref().ok().map(|selected| Arc::clone(&selected.endpoint));
    let span = Span::of_request("receive", head.headers.get("traceparent").map(HeaderValue::as_bytes));
    let trace = span.as_ref().map(Span::context);
    let received = match selected {
        Ok(SelectedEndpoint { endpoint, if_unauthenticated }) => {
            let arrival = Arrival { at: received_at, trace, append_timeout };
            match (receive(&endpoint, &head.headers, &mut body, arrival).await, if_unauthenticated) {
                (Err(ApiResponse::Unauthenticated(_)), Some(error)) => {
                    account = None;
                    Err(error.into())
                }
                (received, _) => received,
            }
        }
        Err(error) => Err(error),
    };
    let answered = match received {
        Ok(answered) => answered,
        Err(error) => {
            if let ApiResponse::Unauthenticated(error) = &error {
                log_auth_error(*error);
                registry.count_auth_error(account.as_deref(), *error);
            }
            body::discard_after(&error, &head.headers, &mut body).await;
            AnsweredRequest::refused(error)
        }
    };
    let account = account.as_ref().map(|endpoint| &endpoint.account);
    answered.publish(registry, account, received_at.elapsed());
    if let Some(span) = span {
        answered.trace(span, &head.method, account);
    }
    answered.response
}

async fn receive(
    endpoint: &Arc<AccountEndpoint>,
    headers: &HeaderMap,
    body: &mut Body,
    arrival: Arrival,
) -> Result<AnsweredRequest, ApiResponse> {
    if endpoint.shutdown.is_cancelled() {
        return Err(ApiResponse::Draining);
    }
    let signatures = headers.get_all("x-signature").into_iter().map(HeaderValue::as_bytes);
    let headers_checked = endpoint.authenticator.check_headers(credentials(headers), signatures);
    let pending = headers_checked.map_err(ApiResponse::Unauthenticated)?;
    let body = body::read(MAX_BODY_BYTES, headers, body).await?;
    let (parsed, permit) = parse(endpoint, pending, body, endpoint.clock.now()).await?;
    match parsed {
        ParsedBody::One(item) => {
            // A single event is not large. The answer may wait for its outcome.
            drop(permit);
            Ok(answer_one(endpoint, *item, arrival).await)
        }
        ParsedBody::Array(items) => handle_many(endpoint, items, arrival, combined).await,
        ParsedBody::Batch(items) => handle_many(endpoint, items, arrival, combined_for_sdk).await,
    }
}

async fn answer_one(endpoint: &AccountEndpoint, item: ParsedItem, arrival: Arrival) -> AnsweredRequest {
    let ParsedItem { kind, decision, notes, .. } = item;
    let id = decision.event_id();
    let response = handle_one(endpoint, decision, arrival).await.unwrap_or_else(|error| error);
    count(endpoint, kind, &response);
    let event = response.is_of_the_ledger().then_some(id);
    let body = ResponseBody { event, notes, ..response.body() };
    let refusal = AnsweredRequest::refusal_of(&response);
    AnsweredRequest { response: response.with_body(&body), status: response.status(), events: 1, event, refusal }
}

/// Counts an event by its answer.
fn count(endpoint: &AccountEndpoint, kind: EventType, response: &ApiResponse) {
    endpoint.meter.events_received(kind, response.status(), 1);
    response.count_reason(&endpoint.meter);
}

/// Parses a body; a large or compressed one on a thread for blocking work, so that other requests do not wait for it. It is parsed to the end
/// if the client disconnects, so its permit goes along.
async fn parse(
    endpoint: &Arc<AccountEndpoint>,
    pending: PendingSignatures,
    body: RawBody,
    now: Timestamp,
) -> Result<(ParsedBody, LargeBodyPermit), ApiResponse> {
    if body.bytes.len() <= MAX_EVENT_BYTES && !body.gzip {
        return Ok((parse_body(endpoint, &pending, &body, now)?, body.permit));
    }
    let endpoint = Arc::clone(endpoint);
    let parsing = tokio::task::spawn_blocking(move || Ok((parse_body(&endpoint, &pending, &body, now)?, body.permit)));
    // Err: a panic, which is a bug.
    parsing.await.unwrap_or(Err(ApiResponse::InternalError))
}

async fn handle_one(
    endpoint: &AccountEndpoint,
    decision: ItemDecision,
    arrival: Arrival,
) -> Result<ApiResponse, ApiResponse> {
    let (event, if_unknown) = match decision {
        ItemDecision::Respond(response, event) => {
            endpoint.store.recorded().record(*event);
            return Ok(response);
        }
        ItemDecision::Append(event, if_unknown) => (event, if_unknown),
    };
    let waiter = (!endpoint.max_wait.is_zero()).then(|| endpoint.signals.wait_for(event.id)).flatten();
    match append(endpoint, vec![event], arrival.trace, arrival.append_timeout).await?.first() {
        Some(Appended::Accepted { seq, pending }) if *pending < endpoint.concurrency => {
            Ok(wait_for_outcome(endpoint, *seq, waiter, arrival.at).await)
        }
        Some(appended) => Ok(append_result(*appended, if_unknown)),
        None => Ok(ApiResponse::InternalError),
    }
}

/// Waits for the outcome of an event that can be delivered now; the wait counts from `received_at`. Does not wait while the account is
/// paused, or if an earlier event of the user blocks this one.
async fn wait_for_outcome(
    endpoint: &AccountEndpoint,
    seq: Seq,
    waiter: Option<Waiter>,
    received_at: Instant,
) -> ApiResponse {
    let Some(waiter) = waiter else { return ApiResponse::Accepted };
    let event = (seq, waiter.event());
    if let Some(not_now) = answer_while(endpoint.signals.state(endpoint.clock.now())) {
        return not_now;
    }
    tokio::select! {
        biased;
        outcome = waiter.outcome() => outcome.map_or(ApiResponse::Accepted, ApiResponse::from),
        done = done_elsewhere(endpoint, event) => done,
        () = endpoint.shutdown.cancelled() => ApiResponse::Accepted,
        () = tokio::time::sleep(endpoint.max_wait.saturating_sub(received_at.elapsed())) => ApiResponse::Accepted,
    }
}

/// The answer while no request to Refersion may begin.
fn answer_while(state: BreakerState) -> Option<ApiResponse> {
    match state {
        BreakerState::Halted { .. } => Some(ApiResponse::AccountHalted),
        BreakerState::Open { .. } | BreakerState::HalfOpen => Some(ApiResponse::Accepted),
        BreakerState::Closed => None,
    }
}

/// Waits until the process that owns the account has settled the event, or has paused or halted the account. Does not return if this
/// process is the owner.
async fn done_elsewhere(endpoint: &AccountEndpoint, event: (Seq, EventId)) -> ApiResponse {
    if endpoint.store.is_owner(&endpoint.account) {
        return std::future::pending().await;
    }
    let mut health: Option<String> = None;
    loop {
        let saved = match endpoint.store.done_elsewhere(&endpoint.account, event, health.as_deref()).await {
            DoneElsewhere::Settled(code, reason) => return ApiResponse::SettledElsewhere(code, reason),
            DoneElsewhere::Health(saved) => saved,
        };
        // Err: another release saved it. Then the response waits as without a pause.
        let state = serde_json::from_str(&saved).map(|saved: SavedHealth| saved.state(endpoint.clock.now()));
        if let Some(not_now) = state.ok().and_then(answer_while) {
            return not_now;
        }
        health = Some(saved);
    }
}

fn append_result(appended: Appended, if_unknown: Option<ApiResponse>) -> ApiResponse {
    match appended {
        Appended::Accepted { .. } => ApiResponse::Accepted,
        Appended::Duplicate => ApiResponse::Duplicate,
        Appended::UnknownUser => if_unknown.unwrap_or(ApiResponse::InternalError),
    }
}

async fn handle_many(
    endpoint: &AccountEndpoint,
    items: Vec<ParsedItem>,
    Arrival { trace, append_timeout, .. }: Arrival,
    combine: fn(&[ApiResponse]) -> ApiResponse,
) -> Result<AnsweredRequest, ApiResponse> {
    let mut labels = Vec::with_capacity(items.len());
    let mut results = Vec::with_capacity(items.len());
    let (mut events, mut answered) = (Vec::new(), Vec::new());
    let mut unresolved: Vec<(usize, Option<ApiResponse>)> = Vec::new();
    for ParsedItem { message_id, kind, decision, notes } in items {
        labels.push(Label { message_id, kind, event: decision.event_id(), notes });
        match decision {
            ItemDecision::Respond(result, event) => {
                results.push(result);
                answered.push(*event);
            }
            ItemDecision::Append(event, if_unknown) => {
                unresolved.push((results.len(), if_unknown));
                // Replaced by the result of the append.
                results.push(ApiResponse::InternalError);
                events.push(event);
            }
        }
    }
    if !events.is_empty() {
        let failed = |error: &ApiResponse| labels.iter().for_each(|label| count(endpoint, label.kind, error));
        let appended = append(endpoint, events, trace, append_timeout).await.inspect_err(failed)?;
        for ((index, if_unknown), appended) in unresolved.into_iter().zip(appended) {
            results[index] = append_result(appended, if_unknown);
        }
    }
    // Recorded only now: if nothing could be appended, Segment sends all of them again.
    endpoint.store.recorded().record_all(answered);
    for (label, result) in labels.iter().zip(&results) {
        count(endpoint, label.kind, result);
    }
    Ok(combined_response(&results, labels, &combine(&results)))
}

/// The parts of an event's result beside its status.
struct Label {
    message_id: Option<String>,
    kind: EventType,
    event: EventId,
    notes: Vec<String>,
}

/// The response `combined` for all events, with a result per event.
fn combined_response(results: &[ApiResponse], labels: Vec<Label>, combined: &ApiResponse) -> AnsweredRequest {
    let mut notes_left = MAX_NOTES_OF_ARRAY;
    let items = results.iter().zip(labels).map(|(result, Label { message_id, event, mut notes, .. })| {
        notes.truncate(notes_left);
        notes_left -= notes.len();
        let event = result.is_of_the_ledger().then_some(event);
        ItemResult { result: ResponseBody { event, notes, ..result.body() }, message_id }
    });
    let items = items.collect();
    let summary = summary(results);
    let message =
        if combined.code().is_success() { summary } else { format!("{summary}. The first: {}", combined.message()) };
    let body = ResponseBody { action: None, message: message.into(), results: Some(items), ..combined.body() };
    let response = combined.with_body(&body);
    let refusal = AnsweredRequest::refusal_of(combined);
    AnsweredRequest { response, status: combined.status(), events: results.len(), event: None, refusal }
}

/// The number of results per status, in the order in which the statuses first appear: `3 events: 2 accepted, 1 rejected`.
fn summary(results: &[ApiResponse]) -> String {
    let mut counts: Vec<(EventStatus, usize)> = Vec::new();
    for result in results {
        match counts.iter_mut().find(|(status, _)| *status == result.status()) {
            Some((_, count)) => *count += 1,
            None => counts.push((result.status(), 1)),
        }
    }
    let parts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let noun = if results.len() == 1 { "event" } else { "events" };
    format!("{} {noun}: {}", results.len(), parts.join(", "))
}
