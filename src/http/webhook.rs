//! The webhook: a request is believed, understood, recorded, and only then answered.
//!
//! A single event with nothing ahead of it waits for its outcome, so that Segment's Event Tester shows the truth; arrays are
//! answered at once, with a result per event.

use super::Door;
use super::answer::{Answer, overall};
use super::body::{self, Body, MAX_OBJECT};
use super::intake::{self, Fate, Taken};
use crate::domain::Timestamp;
use crate::notice::Wait;
use crate::queue::Recorded;
use crate::segment::{self, Events};
use axum::extract::{Request, State};
use axum::http::HeaderValue;
use axum::http::header::AUTHORIZATION;
use axum::response::{IntoResponse, Response};
use serde_json::Value;
use std::sync::Arc;
use std::time::SystemTime;

/// Answers one webhook request.
pub(super) async fn handle(State(door): State<Arc<Door>>, request: Request) -> Response {
    receive(&door, request).await.unwrap_or_else(IntoResponse::into_response)
}

async fn receive(door: &Door, request: Request) -> Result<Response, Answer> {
    if door.notice.is_draining() {
        return Err(Answer::Draining);
    }
    let headers = request.headers();
    let values = |name: &str| headers.get_all(name).into_iter().map(HeaderValue::as_bytes).collect::<Vec<_>>();
    let (authorizations, signatures) = (values(AUTHORIZATION.as_str()), values("x-signature"));
    let claims = door.trust.judge(authorizations.into_iter(), signatures.into_iter()).map_err(Answer::Disbelieved)?;
    let body = body::read(request).await?;
    let events = segment::split(&body.content);
    door.trust.verify(&claims, &signable(&body, events.as_ref().ok())).map_err(Answer::Disbelieved)?;
    let now = SystemTime::now().into();
    match events.map_err(|malformed| Answer::Invalid(malformed.to_string()))? {
        Events::One(_) if body.content.len() > MAX_OBJECT => Err(Answer::TooLarge),
        Events::One(text) => one(door, text, now).await.map(IntoResponse::into_response),
        Events::Array(texts) | Events::Batch(texts) => many(door, &texts, now).await,
    }
}

/// What a signature may be over: the body as received, or element 0 of an array, which is all that Segment signs of one.
fn signable<'a>(body: &'a Body, events: Option<&Events<'a>>) -> Vec<&'a [u8]> {
    let mut contents: Vec<&[u8]> = vec![&body.received, &body.content];
    if let Some(Events::Array(texts)) = events {
        contents.extend(texts.first().map(|text| text.as_bytes()));
    }
    contents
}

async fn one(door: &Door, text: &str, now: Timestamp) -> Result<Answer, Answer> {
    let (event, unless_known) = match intake::take(door, text, now).fate {
        Fate::Answer(answer) => return Ok(answer),
        Fate::Record(event, unless_known) => (event, unless_known),
    };
    let wait = (!door.wait.is_zero()).then(|| door.notice.wait_for(event.id)).flatten();
    let recorded = door.queue.record(vec![event]).await?;
    door.notice.recorded();
    match recorded.first() {
        Some(Recorded::Accepted { behind: false, waiting }) if *waiting < door.at_once => Ok(outcome(door, wait).await),
        Some(recorded) => Ok(recorded_as(*recorded, unless_known)),
        None => Ok(Answer::Bug),
    }
}

/// The truth about an event with nothing ahead of it, if it is known in time.
async fn outcome(door: &Door, wait: Option<Wait>) -> Answer {
    let Some(wait) = wait else { return Answer::Accepted };
    if door.notice.is_halted() {
        return Answer::KeyRefused;
    }
    match tokio::time::timeout(door.wait, wait.outcome()).await {
        Ok(Some(ended)) => ended.into(),
        Ok(None) | Err(_) => Answer::Accepted,
    }
}

fn recorded_as(recorded: Recorded, unless_known: Option<Answer>) -> Answer {
    match recorded {
        Recorded::Accepted { .. } => Answer::Accepted,
        Recorded::Duplicate => Answer::Duplicate,
        Recorded::UnknownUser => unless_known.unwrap_or(Answer::Bug),
    }
}

async fn many(door: &Door, texts: &[&str], now: Timestamp) -> Result<Response, Answer> {
    let taken: Vec<Taken> = texts.iter().map(|text| intake::take(door, text, now)).collect();
    let mut message_ids = Vec::with_capacity(taken.len());
    let mut answers = Vec::with_capacity(taken.len());
    let mut events = Vec::new();
    let mut places: Vec<(usize, Option<Answer>)> = Vec::new();
    for Taken { message_id, fate } in taken {
        message_ids.push(message_id);
        match fate {
            Fate::Answer(answer) => answers.push(answer),
            Fate::Record(event, unless_known) => {
                places.push((answers.len(), unless_known));
                answers.push(Answer::Bug);
                events.push(event);
            }
        }
    }
    if !events.is_empty() {
        let recorded = door.queue.record(events).await?;
        door.notice.recorded();
        for ((place, unless_known), recorded) in places.into_iter().zip(recorded) {
            answers[place] = recorded_as(recorded, unless_known);
        }
    }
    Ok(results(&answers, message_ids))
}

/// One answer for all, with a result per event.
fn results(answers: &[Answer], message_ids: Vec<Option<String>>) -> Response {
    let result = |(answer, message_id): (&Answer, Option<String>)| {
        let mut result = answer.json();
        result.insert("messageId".into(), message_id.into());
        Value::Object(result)
    };
    let results: Vec<Value> = answers.iter().zip(message_ids).map(result).collect();
    let overall = overall(answers);
    let mut body = overall.json();
    body.insert("message".into(), summary(answers).into());
    body.remove("action");
    body.insert("results".into(), results.into());
    overall.with_body(body)
}

/// For instance `3 events: 2 accepted, 1 rejected`.
fn summary(answers: &[Answer]) -> String {
    let mut counts: Vec<(&str, usize)> = Vec::new();
    for answer in answers {
        match counts.iter_mut().find(|(status, _)| *status == answer.status()) {
            Some((_, count)) => *count += 1,
            None => counts.push((answer.status(), 1)),
        }
    }
    let parts: Vec<String> = counts.iter().map(|(status, count)| format!("{count} {status}")).collect();
    let noun = if answers.len() == 1 { "event" } else { "events" };
    format!("{} {noun}: {}", answers.len(), parts.join(", "))
}
