//! Parses an authenticated body, and decides for each event: append it, or respond without appending it. The events of an array or a batch
//! are decided one by one, so a bad one does not fail the others (partial failure).
//!
//! In: a body and the signatures that must match it. Out: a [`ParsedBody`], with an entry of the ledger for each event that is answered
//! here. Invariants: nothing is parsed before the signatures are verified; nothing here waits or does I/O. An event that applies only to
//! known users (an Engage event that creates no affiliate, a delete by `userId`) has its result for an unknown user with it, because only
//! the store knows whether the user is known ([`KnownUsersOnly`]). Deliberately absent: appending ([`super::append`]).

use super::AccountEndpoint;
use super::body::{RawBody, gunzip};
use super::limits::{MAX_EVENT_BYTES, MAX_EVENTS, MAX_NOTES};
use super::response::ApiResponse;
use crate::delivery::{Action, OutcomeCode, Success};
use crate::domain::{EventId, Timestamp, User};
use crate::failpoint;
use crate::mapping::{self, Creation, Identify, Intent, Mapped, MappingError, Note};
use crate::segment::{Envelope, Event, EventKind, Malformed, PendingSignatures, RawJson, split_first};
use crate::store::{AnsweredEvent, KnownUsersOnly, NewEvent, ReadUpTo};
use crate::telemetry::EventType;
use std::borrow::Cow;

/// The events of a body.
pub(super) enum ParsedBody {
    /// A single event.
    One(Box<ParsedItem>),
    /// An array.
    Array(Vec<ParsedItem>),
    /// A batch of one of Segment's SDKs.
    Batch(Vec<ParsedItem>),
}

/// One event.
pub(super) struct ParsedItem {
    /// Segment's id of the event; its result in an array repeats it.
    pub(super) message_id: Option<String>,
    pub(super) kind: EventType,
    pub(super) decision: ItemDecision,
    /// Notes of the mapping on values that it left out.
    pub(super) notes: Vec<String>,
}

/// The decision about an event.
pub(super) enum ItemDecision {
    /// Append it. With the result for an unknown user, if the event applies only to known users.
    Append(NewEvent, Option<ApiResponse>),
    /// Respond without appending it, with its entry of the ledger.
    Respond(ApiResponse, Box<AnsweredEvent>),
}

impl ItemDecision {
    /// The id of the event.
    pub(super) fn event_id(&self) -> EventId {
        match self {
            Self::Append(event, _) => event.id,
            Self::Respond(_, event) => event.id,
        }
    }
}

/// Parses a body if the pending signatures match it.
pub(super) fn parse_body(
    endpoint: &AccountEndpoint,
    pending: &PendingSignatures,
    body: &RawBody,
    now: Timestamp,
) -> Result<ParsedBody, ApiResponse> {
    let content = if body.gzip { gunzip(&body.bytes).map(Cow::Owned) } else { Ok(Cow::Borrowed(&body.bytes[..])) };
    let decompressed = content.as_deref().ok().filter(|_| body.gzip);
    if matches!(content, Err(ApiResponse::BodyTooLarge)) {
        // The signature may be over the decompressed body, which is too large to be checked.
        return Err(ApiResponse::BodyTooLarge);
    }
    let forms: Vec<&[u8]> = [&body.bytes[..]].into_iter().chain(decompressed).collect();
    endpoint.authenticator.verify_signatures(pending, &forms).map_err(ApiResponse::Unauthenticated)?;
    failpoint::reach("http::authenticated");
    let content = content?;
    match split_first(MAX_EVENTS + 1, &content).map_err(invalid)? {
        Envelope::Single(_) if content.len() > MAX_EVENT_BYTES => Err(ApiResponse::BodyTooLarge),
        Envelope::Single(event) => {
            Ok(ParsedBody::One(Box::new(decide_on(endpoint, event.source(), event.parse(), now))))
        }
        Envelope::Array(events) | Envelope::Batch(events) if events.len() > MAX_EVENTS => {
            Err(ApiResponse::TooManyEvents)
        }
        Envelope::Array(events) => Ok(ParsedBody::Array(parse_elements(endpoint, &events, now))),
        Envelope::Batch(events) => Ok(ParsedBody::Batch(parse_elements(endpoint, &events, now))),
    }
}

fn invalid(malformed: Malformed) -> ApiResponse {
    ApiResponse::Invalid(malformed.to_string())
}

fn parse_elements(endpoint: &AccountEndpoint, events: &[RawJson<'_>], now: Timestamp) -> Vec<ParsedItem> {
    events.iter().map(|json| parse_element(endpoint, json.source(), now)).collect()
}

fn parse_element(endpoint: &AccountEndpoint, text: &str, now: Timestamp) -> ParsedItem {
    if text.len() > MAX_EVENT_BYTES {
        return unreadable(endpoint, text, now, ApiResponse::EventTooLarge, OutcomeCode::TooLarge);
    }
    decide_on(endpoint, text, Event::parse(text), now)
}

fn decide_on<'a>(
    endpoint: &'a AccountEndpoint,
    text: &'a str,
    event: Result<Event<'a>, Malformed>,
    now: Timestamp,
) -> ParsedItem {
    match event {
        Ok(event) => ReceivedEvent { endpoint, text, event, received_at: now }.into_item(),
        Err(malformed) => unreadable(endpoint, text, now, invalid(malformed), OutcomeCode::Malformed),
    }
}

/// The decision about an element that cannot be read as an event.
fn unreadable(
    endpoint: &AccountEndpoint,
    text: &str,
    received_at: Timestamp,
    response: ApiResponse,
    outcome: OutcomeCode,
) -> ParsedItem {
    let (hash, account) = (endpoint.store.hash_key(), endpoint.account.clone());
    let message_id = Event::message_id_of(text);
    let id = match &message_id {
        Some(message_id) => hash.event_by_message_id(&account, message_id),
        None => hash.event_by_body(&account, text.as_bytes()),
    };
    let event = AnsweredEvent { account, id, user_keys: Vec::new(), source: None, received_at, outcome };
    let decision = ItemDecision::Respond(response, Box::new(event));
    ParsedItem { message_id, kind: EventType::Malformed, decision, notes: Vec::new() }
}

/// A parsed event, and the values that decide about it.
struct ReceivedEvent<'a> {
    endpoint: &'a AccountEndpoint,
    /// The text of the event in the body.
    text: &'a str,
    event: Event<'a>,
    received_at: Timestamp,
}

impl ReceivedEvent<'_> {
    fn into_item(self) -> ParsedItem {
        let kind = match &self.event.kind {
            EventKind::Identify => EventType::Identify,
            EventKind::Delete => EventType::Delete,
            EventKind::Unsupported(kind) => {
                let decision = self.respond(ApiResponse::UnsupportedType(kind.clone()), OutcomeCode::Unsupported);
                let (message_id, kind) = (self.event.message_id, EventType::Unsupported);
                return ParsedItem { message_id, kind, decision, notes: Vec::new() };
            }
        };
        let Mapped { intent, notes } = mapping::map(&self.event, &self.endpoint.rules, self.received_at);
        for note in &notes {
            self.endpoint.meter.noted(&note.about);
        }
        let decision = self.decide(intent);
        ParsedItem { message_id: self.event.message_id, kind, decision, notes: texts(&notes) }
    }

    fn decide(&self, intent: Result<Intent, MappingError>) -> ItemDecision {
        let (user, if_unknown, deleted_at) = match intent {
            Ok(Intent::Identify(wanted)) => {
                let if_unknown = if_unknown(&wanted);
                (wanted.user, if_unknown, None)
            }
            Ok(Intent::Delete { user, time }) => {
                let not_found = Success::delivered(Action::NotFound, None);
                let response = user.email.is_none().then_some((ApiResponse::Settled(not_found), OutcomeCode::NotFound));
                (user, response, Some(time.at()))
            }
            Ok(Intent::Nothing(reason)) => {
                let outcome = OutcomeCode::from(&reason);
                return self.respond(ApiResponse::Ignored(reason), outcome);
            }
            Err(error) => {
                let outcome = OutcomeCode::from(&error);
                return self.respond(ApiResponse::Unmappable(error), outcome);
            }
        };
        let (if_unknown, outcome) = if_unknown.unzip();
        let only = outcome.map(|if_unknown| KnownUsersOnly { none_pending_up_to: None, deleted_at, if_unknown });
        ItemDecision::Append(self.new_event(&user, only), if_unknown)
    }

    /// An event that is answered without being appended, and the code of the answer.
    fn respond(&self, response: ApiResponse, outcome: OutcomeCode) -> ItemDecision {
        let account = self.endpoint.account.clone();
        let keys =
            mapping::readable_user(&self.event, &self.endpoint.rules).keys(self.endpoint.store.hash_key(), &account);
        let (id, _) = self.event.ids(self.text, self.endpoint.store.hash_key(), &account, &keys);
        let (source, received_at) = (self.event.source(), self.received_at);
        ItemDecision::Respond(
            response,
            Box::new(AnsweredEvent { account, id, user_keys: keys, source, received_at, outcome }),
        )
    }

    fn new_event(&self, user: &User, only: Option<KnownUsersOnly>) -> NewEvent {
        let AccountEndpoint { account, store, signals, .. } = self.endpoint;
        let event = (&self.event, self.text);
        let mut event = NewEvent::received(account, store.hash_key(), event, user, self.received_at);
        event.known_users_only = only.map(|only| {
            // Only the owner knows which events are pending.
            let lease = store.lease(account).map(|lease| lease.number());
            let none_pending_up_to = lease.and_then(|lease| {
                let seq = signals.none_pending_up_to(&event.user_keys)?;
                Some(ReadUpTo { lease, seq })
            });
            KnownUsersOnly { none_pending_up_to, ..only }
        });
        event
    }
}

/// The texts of the first [`MAX_NOTES`] notes.
fn texts(notes: &[Note]) -> Vec<String> {
    notes.iter().take(MAX_NOTES).map(ToString::to_string).collect()
}

/// The result for an unknown user, and its code; `None` if the event creates the affiliate, or if its traits are remembered.
fn if_unknown(wanted: &Identify) -> Option<(ApiResponse, OutcomeCode)> {
    match &wanted.creation {
        Creation::Allowed(_) => None,
        _ if wanted.pieces.as_ref().is_some_and(|pieces| pieces.are_worth_remembering(wanted)) => None,
        Creation::Skipped(reason) => Some((ApiResponse::Ignored(reason.clone()), reason.into())),
        Creation::Invalid(error) => Some((ApiResponse::Unmappable(error.clone()), error.into())),
    }
}
