//! The plan: given what is wanted, what is known and the last reply, the next call or the outcome.
//!
//! [`step`] is the whole state machine. Replies that mean the same for every call (a wrong key, too many calls, an
//! outage) are handled here, the others in [`identify`] and [`delete`].
//! Invariants: every path ends, whatever the replies (a search is bounded, a stale memory is forgotten once, and an
//! affiliate that this event created or found is never forgotten by it); a call is repeated only where that has no
//! second effect; a step that asks for a `new` leaves in the progress what it sends, to be saved before the call is
//! made.

use super::outcome::{Ignored, Outcome, Step, TransientFailure};
use super::{
    Call, PlanInput, PlanState, PresentStatus, Recalled, Reply, UnansweredNew, delete, existing, identify,
    unanswered_new,
};
use crate::domain::NewAffiliate;
use crate::mapping::Intent;

/// Decides what to do now. `last_reply` is the reply to the call that the last step asked for, if there was one.
pub fn step(input: &PlanInput<'_>, state: &mut PlanState, last_reply: Option<(&Call, Reply)>) -> Step {
    if let Some((Call::New(new), reply)) = &last_reply {
        on_new_reply(input, state, new, reply);
    }
    let end = last_reply.and_then(|(call, reply)| match on_common_reply(reply) {
        Common::Step(step) => Some(step),
        Common::Other(reply) => match input.intent {
            Intent::Identify(wanted) => identify::on_reply(input, wanted, state, call, reply),
            Intent::Delete { .. } => delete::on_reply(input, state, call, reply),
            Intent::Nothing(_) => None,
        },
    });
    let next = end.unwrap_or_else(|| match input.intent {
        Intent::Identify(wanted) => identify::decide(input, wanted, state),
        Intent::Delete { user, .. } => delete::decide(input, user, state),
        Intent::Nothing(reason) => Step::Done(Outcome::Ignored(Ignored::Mapping(reason.clone()))),
    });
    match &next {
        Step::Next(Call::New(new)) => {
            state.progress.new_in_flight = Some(unanswered_new::visible(input.hash, &new.profile));
        }
        // The status may change until the next attempt.
        Step::Retry(_) | Step::Halt => state.progress.present_status = PresentStatus::Unread,
        _ => {}
    }
    next
}

/// Continues after [`Step::Recall`]: `recalled` is what is remembered of the affiliate that was found.
pub fn on_recalled(input: &PlanInput<'_>, state: &mut PlanState, recalled: Option<Recalled>) {
    if let Intent::Identify(wanted) = input.intent {
        existing::on_recalled(input, wanted, state, recalled);
    }
}

/// A `new` was replied to. Unless it created an affiliate or certainly had no effect, it is kept as not answered.
fn on_new_reply(input: &PlanInput<'_>, state: &mut PlanState, new: &NewAffiliate, reply: &Reply) {
    state.progress.new_in_flight = None;
    match reply {
        Reply::Created { .. }
        | Reply::Rejected(_)
        | Reply::Unauthorized
        | Reply::RateLimited { .. }
        | Reply::Unavailable { .. } => {}
        _ => {
            let sent = unanswered_new::visible(input.hash, &new.profile);
            UnansweredNew::add(&mut state.progress.unanswered_new, sent);
        }
    }
}

enum Common {
    Step(Step),
    Other(Reply),
}

/// Handles a reply that means the same for every call; returns any other.
fn on_common_reply(reply: Reply) -> Common {
    Common::Step(match reply {
        Reply::Unauthorized => Step::Halt,
        Reply::RateLimited { retry_after } => {
            let what = "Refersion says there are too many calls".to_owned();
            Step::Retry(TransientFailure { what, retry_after, pauses_account: true })
        }
        Reply::Unavailable { what, retry_after } | Reply::Lost { what, retry_after } => {
            Step::Retry(TransientFailure { what, retry_after, pauses_account: false })
        }
        other => return Common::Other(other),
    })
}
