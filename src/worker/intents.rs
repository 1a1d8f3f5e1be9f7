//! The intents of a unit: the bodies of its events are parsed and mapped again, because a corrected rule applies to pending events, too.
//!
//! In: the events that the store began. Out: the intent of the head, and those of the followers that may be coalesced with it. Invariant: an
//! event that cannot be parsed or mapped fails alone, as the head. Deliberately absent: coalescing itself ([`crate::delivery::coalesce`]).

use super::Worker;
use super::remember::{self, UserTraits};
use crate::delivery::{PermanentFailure, RejectedValues};
use crate::domain::{Timestamp, UserKey};
use crate::failpoint;
use crate::mapping::{self, Identify, Intent};
use crate::segment::{Event, EventKind};
use crate::store::Begun;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// The intents of a unit.
pub(super) struct Intents {
    /// That of the head, with the remembered traits of its user.
    pub(super) head: Intent,
    /// These traits, if those of the head are remembered.
    pub(super) traits: Option<UserTraits>,
    /// Those of the followers that may be coalesced with the head.
    pub(super) followers: Vec<Intent>,
}

/// The intents of the begun unit. Err: the head can never be delivered.
pub(super) fn read(worker: &Worker, begun: &mut Begun) -> Result<Intents, PermanentFailure> {
    let body = std::mem::replace(&mut begun.body, Ok(Vec::new())).map_err(PermanentFailure::Corrupt)?;
    let head = parse(worker, &body, begun.received_at)?;
    drop_placeholder_user_key(begun, &head);
    let followers = parse_followers(worker, begun);
    Ok(match remember::read(worker, begun, &head) {
        Some((traits, head)) => Intents { head, traits: Some(traits), followers },
        None => Intents { head, traits: None, followers },
    })
}

fn parse(worker: &Worker, body: &[u8], received_at: Timestamp) -> Result<Intent, PermanentFailure> {
    let malformed = |error: &dyn std::fmt::Display| PermanentFailure::Malformed(error.to_string());
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    let event = Event::parse(text).map_err(|error| malformed(&error))?;
    if let EventKind::Unsupported(kind) = &event.kind {
        return Err(PermanentFailure::Malformed(format!("unsupported event type {kind}")));
    }
    let intent = mapping::map(&event, &worker.delivery().rules, received_at).intent;
    intent.map(|intent| intent.carried_out_at(worker.now())).map_err(PermanentFailure::Unmappable)
}

/// The followers that may be coalesced with the head, up to the first that cannot be parsed; the others are dropped from `begun`. A panic,
/// which is a bug, counts as such a failure: it is the follower's own failure once the follower is the head, and not this head's.
fn parse_followers(worker: &Worker, begun: &mut Begun) -> Vec<Intent> {
    let mut as_before = begun.progress.coalesced.map_or(usize::MAX, |events| events.saturating_sub(1));
    if begun.progress.rejected_values != RejectedValues::default() {
        as_before = 0; // values are left out of the head alone
    }
    let bodies = begun.followers.iter_mut().map(|follower| (std::mem::take(&mut follower.body), follower.received_at));
    let parse = |(body, received_at): (Vec<u8>, Timestamp)| {
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            failpoint::reach("worker::parsing_follower");
            parse(worker, &body, received_at)
        }));
        parsed.ok()?.ok()
    };
    let parsed: Vec<Intent> = bodies.take(as_before).map_while(parse).collect();
    begun.followers.truncate(parsed.len());
    parsed
}

/// Drops a `userId` that was accepted as a key and is a placeholder by now.
fn drop_placeholder_user_key(begun: &mut Begun, head: &Intent) {
    let user = match head {
        Intent::Identify(Identify { user, .. }) | Intent::Delete { user, .. } => user,
        Intent::Nothing(_) => return,
    };
    if user.user_id.is_none() {
        begun.user_keys.retain(|key| !matches!(key, UserKey::UserId(_)));
        begun.memory.by_user_id = None;
        begun.memory.traits = None;
    }
}
