//! From a request's body to events to append, or to answers where there is nothing to append. No I/O and no wait.
//!
//! In go the body and the signatures to check, out comes an [`Intake`]. Invariant: nothing is parsed before it is authenticated.
//! An event that matters for known users alone (an Engage event that creates nobody, a delete by `userId`) is handed over with
//! the answer for an unknown user: the store gives it only if it is certain, see [`KnownUsersOnly`]. Deliberately absent:
//! appending ([`super::append`]).

use super::AccountEndpoint;
use super::answer::Answer;
use super::body::{RawBody, gunzip};
use super::limits::{MAX_EVENT_BYTES, MAX_EVENTS};
use crate::delivery::{Action, Outcome};
use crate::domain::{EventId, Timestamp, User};
use crate::failpoint;
use crate::mapping::{self, Creation, Intent};
use crate::segment::{self, Event, Kind, Malformed, PendingSignatures, Raw};
use crate::store::{KnownUsersOnly, NewEvent};
use std::borrow::Cow;

/// The events of a request.
pub(super) enum Intake {
    /// One by itself.
    One(Fate),
    /// An array or a batch.
    Many(Vec<Taken>),
}

/// One event of an array.
pub(super) struct Taken {
    /// Segment's id, for the answer.
    pub(super) message_id: Option<String>,
    /// What is to be done with it.
    pub(super) fate: Fate,
}

/// What is to be done with an event.
pub(super) enum Fate {
    /// Append it; if its user is not known and has to be, answer this instead.
    Append(NewEvent, Option<Answer>),
    /// Answer it.
    Answer(Answer),
}

/// Takes a body in, if its signatures are right.
pub(super) fn take(
    endpoint: &AccountEndpoint,
    pending: &PendingSignatures,
    body: &RawBody,
    now: Timestamp,
) -> Result<Intake, Answer> {
    let content = if body.gzip { gunzip(&body.bytes).map(Cow::Owned) } else { Ok(Cow::Borrowed(&body.bytes[..])) };
    let unpacked = content.as_deref().ok().filter(|_| body.gzip);
    let forms: Vec<&[u8]> = [&body.bytes[..]].into_iter().chain(unpacked).collect();
    endpoint.authenticator.verify_signatures(pending, &forms).map_err(Answer::Disbelieved)?;
    failpoint::step("http::authenticated");
    let content = content?;
    let body = segment::check(&content).map_err(invalid)?;
    match segment::several(body).map_err(invalid)? {
        None if content.len() > MAX_EVENT_BYTES => Err(Answer::TooLarge),
        None => Ok(Intake::One(event(endpoint, body, now).fate)),
        Some(events) if events.len() > MAX_EVENTS => Err(Answer::TooMany),
        Some(events) => Ok(Intake::Many(events.into_iter().map(|raw| event(endpoint, raw, now)).collect())),
    }
}

fn invalid(malformed: Malformed) -> Answer {
    Answer::Invalid(malformed.to_string())
}

fn event(endpoint: &AccountEndpoint, raw: Raw<'_>, now: Timestamp) -> Taken {
    if raw.text().len() > MAX_EVENT_BYTES {
        return Taken { message_id: None, fate: Fate::Answer(Answer::EventTooLarge) };
    }
    match segment::understand(raw) {
        Ok(event) => {
            let fate = fate(endpoint, raw.text(), &event, now);
            Taken { message_id: event.message_id, fate }
        }
        Err(malformed) => Taken { message_id: None, fate: Fate::Answer(invalid(malformed)) },
    }
}

fn fate(endpoint: &AccountEndpoint, text: &str, event: &Event<'_>, received_at: Timestamp) -> Fate {
    if let Kind::Unsupported(kind) = &event.kind {
        return Fate::Answer(Answer::Unsupported(kind.clone()));
    }
    let (user, unless_known) = match mapping::map(event, &endpoint.rules).intent {
        Ok(Intent::Identify(wanted)) => (wanted.user, unknown(&wanted.creation)),
        Ok(Intent::Delete { user }) => {
            let nobody = Outcome::Delivered { action: Action::NotFound, code: None };
            let answer = user.email.is_none().then_some(Answer::Delivered(nobody));
            (user, answer)
        }
        Ok(Intent::Nothing(reason)) => return Fate::Answer(Answer::Ignored(reason)),
        Err(refusal) => return Fate::Answer(Answer::Invalid(refusal.to_string())),
    };
    let new = entry(endpoint, text, event, &user, unless_known.is_some(), received_at);
    Fate::Append(new, unless_known)
}

/// The answer if the user is no affiliate; none if the event makes them one.
fn unknown(creation: &Creation) -> Option<Answer> {
    match creation {
        Creation::Allowed(_) => None,
        Creation::Skipped(reason) => Some(Answer::Ignored(reason.clone())),
        Creation::Invalid(refusal) => Some(Answer::Invalid(refusal.to_string())),
    }
}

fn entry(
    endpoint: &AccountEndpoint,
    text: &str,
    event: &Event<'_>,
    user: &User,
    only_if_known: bool,
    received_at: Timestamp,
) -> NewEvent {
    let keys = user.keys(endpoint.store.hash_key(), &endpoint.account);
    let known_users_only =
        only_if_known.then(|| KnownUsersOnly { none_pending_up_to: endpoint.signals.none_pending_up_to(&keys) });
    NewEvent {
        account: endpoint.account.clone(),
        id: event_id(endpoint, text, event),
        keys,
        known_users_only,
        body: text.as_bytes().to_vec(),
        received_at,
    }
}

/// By its `messageId`; an event without one is known by its bytes.
fn event_id(endpoint: &AccountEndpoint, text: &str, event: &Event<'_>) -> EventId {
    let hash = endpoint.store.hash_key();
    match &event.message_id {
        Some(message_id) => hash.event_by_message_id(&endpoint.account, message_id),
        None => hash.event_by_body(&endpoint.account, text.as_bytes()),
    }
}
