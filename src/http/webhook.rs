//! The webhook: a request is authenticated, parsed, appended to the event log, and only then answered.
//!
//! In goes a request, out comes its answer. The answer to a single event waits up to `SERVER_WAIT` for the outcome, so that
//! Segment's Event Tester shows it, if the event can be delivered now: that is the advice of the account's worker, which says
//! whether the account is paused or halted and whether an earlier event of the user is blocked. Arrays are answered at once, with
//! a result per event. Invariant: whoever hangs up loses the answer and nothing else. Deliberately absent: calls to Refersion.

use super::account_registry::credentials;
use super::answer::{Answer, Each, Told, overall};
use super::append::append;
use super::body::{self, RawBody};
use super::intake::{self, Fate, Intake, Taken};
use super::limits::MAX_EVENT_BYTES;
use super::{AccountEndpoint, AccountRegistry};
use crate::account_signals::Waiter;
use crate::domain::Timestamp;
use crate::scheduling::HealthState;
use crate::segment::{AuthError, PendingSignatures};
use crate::store::Appended;
use crate::telemetry::EventStatus;
use axum::body::Body;
use axum::extract::{Request, State};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Answers a request at the door of all accounts: it is told by its credentials whose it is.
pub(super) async fn for_any(State(registry): State<Arc<AccountRegistry>>, request: Request) -> Response {
    let endpoint = registry.select(request.headers()).await;
    answered(endpoint, request).await
}

/// Answers a request at the door of one account.
pub(super) async fn for_one(State(endpoint): State<Arc<AccountEndpoint>>, request: Request) -> Response {
    answered(Ok(endpoint), request).await
}

async fn answered(endpoint: Result<Arc<AccountEndpoint>, Answer>, request: Request) -> Response {
    let (head, mut body) = request.into_parts();
    let received = match endpoint {
        Ok(endpoint) => receive(&endpoint, &head.headers, &mut body).await,
        Err(answer) => Err(answer),
    };
    match received {
        Ok(response) => response,
        Err(answer) => {
            if let Answer::Disbelieved(why) = &answer {
                complain(*why);
            }
            body::discard(&head.headers, &mut body).await;
            answer.into_response()
        }
    }
}

/// Logs that a request was not believed, so that a mistyped secret does not go unnoticed; at most once in ten seconds, so that
/// whoever knocks cannot fill the log.
fn complain(why: AuthError) {
    static LAST: Mutex<Option<Instant>> = Mutex::new(None);
    let mut last = LAST.lock().unwrap_or_else(PoisonError::into_inner);
    if last.is_none_or(|last| last.elapsed() >= Duration::from_secs(10)) {
        *last = Some(Instant::now());
        tracing::warn!("a request was refused: {why} (more of them within 10 s are not logged)");
    }
}

async fn receive(endpoint: &Arc<AccountEndpoint>, headers: &HeaderMap, body: &mut Body) -> Result<Response, Answer> {
    if endpoint.shutdown.is_cancelled() {
        return Err(Answer::Draining);
    }
    let signatures = headers.get_all("x-signature").into_iter().map(HeaderValue::as_bytes);
    let pending = endpoint.authenticator.authenticate(credentials(headers), signatures).map_err(Answer::Disbelieved)?;
    let (received, _room) = body::read(headers, body).await?;
    match take(endpoint, pending, received, endpoint.clock.now()).await? {
        Intake::One(fate) => {
            let answer = one(endpoint, fate).await;
            endpoint.meter.events_received(answer.as_ref().unwrap_or_else(|answer| answer).status(), 1);
            answer.map(IntoResponse::into_response)
        }
        Intake::Many(taken) => many(endpoint, taken).await,
    }
}

/// Takes the events in; many of them beside the threads that serve all other requests.
async fn take(
    endpoint: &Arc<AccountEndpoint>,
    pending: PendingSignatures,
    received: RawBody,
    now: Timestamp,
) -> Result<Intake, Answer> {
    if received.bytes.len() <= MAX_EVENT_BYTES && !received.gzip {
        return intake::take(endpoint, &pending, &received, now);
    }
    let endpoint = Arc::clone(endpoint);
    let taking = tokio::task::spawn_blocking(move || intake::take(&endpoint, &pending, &received, now));
    // Err: a panic, which is a bug.
    taking.await.unwrap_or(Err(Answer::Bug))
}

async fn one(endpoint: &AccountEndpoint, fate: Fate) -> Result<Answer, Answer> {
    let (event, unless_known) = match fate {
        Fate::Answer(answer) => return Ok(answer),
        Fate::Append(event, unless_known) => (event, unless_known),
    };
    let waiter = (!endpoint.max_wait.is_zero()).then(|| endpoint.signals.wait_for(event.id)).flatten();
    match append(endpoint, vec![event]).await?.first() {
        Some(Appended::Accepted { waiting, .. }) if *waiting < endpoint.concurrency => {
            Ok(outcome(endpoint, waiter).await)
        }
        Some(appended) => Ok(appended_as(*appended, unless_known)),
        None => Ok(Answer::Bug),
    }
}

/// The outcome of an event that can be delivered now, if it is known in time. Whether it can be, the account's owner says: while
/// the account is paused, or an earlier event of the user is blocked, nobody waits.
async fn outcome(endpoint: &AccountEndpoint, waiter: Option<Waiter>) -> Answer {
    let Some(waiter) = waiter else { return Answer::Accepted };
    match endpoint.signals.state(endpoint.clock.now()) {
        HealthState::Halted { .. } => return Answer::KeyRefused,
        HealthState::Open { .. } | HealthState::HalfOpen => return Answer::Accepted,
        HealthState::Closed => {}
    }
    tokio::select! {
        biased;
        outcome = waiter.outcome() => outcome.map_or(Answer::Accepted, Answer::from),
        () = endpoint.shutdown.cancelled() => Answer::Accepted,
        () = tokio::time::sleep(endpoint.max_wait) => Answer::Accepted,
    }
}

fn appended_as(appended: Appended, unless_known: Option<Answer>) -> Answer {
    match appended {
        Appended::Accepted { .. } => Answer::Accepted,
        Appended::Duplicate => Answer::Duplicate,
        Appended::UnknownUser => unless_known.unwrap_or(Answer::Bug),
    }
}

async fn many(endpoint: &AccountEndpoint, taken: Vec<Taken>) -> Result<Response, Answer> {
    let mut message_ids = Vec::with_capacity(taken.len());
    let mut answers = Vec::with_capacity(taken.len());
    let mut events = Vec::new();
    let mut places: Vec<(usize, Option<Answer>)> = Vec::new();
    for Taken { message_id, fate } in taken {
        message_ids.push(message_id);
        match fate {
            Fate::Answer(answer) => answers.push(answer),
            Fate::Append(event, unless_known) => {
                places.push((answers.len(), unless_known));
                answers.push(Answer::Bug);
                events.push(event);
            }
        }
    }
    if !events.is_empty() {
        let failed = |answer: &Answer| endpoint.meter.events_received(answer.status(), answers.len());
        let appended = append(endpoint, events).await.inspect_err(failed)?;
        for ((place, unless_known), appended) in places.into_iter().zip(appended) {
            answers[place] = appended_as(appended, unless_known);
        }
    }
    for (status, events) in counts(&answers) {
        endpoint.meter.events_received(status, events);
    }
    Ok(results(&answers, message_ids))
}

/// One answer for all, with a result per event.
fn results(answers: &[Answer], message_ids: Vec<Option<String>>) -> Response {
    let results = answers.iter().zip(message_ids);
    let results = results.map(|(answer, message_id)| Each { told: answer.told(), message_id }).collect();
    let (overall, summary) = (overall(answers), summary(answers));
    let message =
        if overall.code().is_success() { summary } else { format!("{summary}. The first: {}", overall.message()) };
    let body = Told { action: None, message: message.into(), results: Some(results), ..overall.told() };
    overall.with_body(&body)
}

/// How many answers there are with each word, in the order in which the words first come.
fn counts(answers: &[Answer]) -> Vec<(EventStatus, usize)> {
    let mut counts: Vec<(EventStatus, usize)> = Vec::new();
    for answer in answers {
        match counts.iter_mut().find(|(status, _)| *status == answer.status()) {
            Some((_, count)) => *count += 1,
            None => counts.push((answer.status(), 1)),
        }
    }
    counts
}

/// For instance `3 events: 2 accepted, 1 rejected`.
fn summary(answers: &[Answer]) -> String {
    let parts: Vec<String> = counts(answers).iter().map(|(status, count)| format!("{count} {status}")).collect();
    let noun = if answers.len() == 1 { "event" } else { "events" };
    format!("{} {noun}: {}", answers.len(), parts.join(", "))
}
