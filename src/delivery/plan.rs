//! The plan: given what is wanted, what is known and what was last heard, the next call or the verdict.
//!
//! [`step`] is the whole state machine. Answers that mean the same for every call (a wrong key, too many calls, an outage)
//! are judged here; the rest belongs to [`identify`] and [`delete`].
//! Invariants: every path ends, whatever is answered (a search is bounded, a stale memory is forgotten once, and whom this
//! event met is never forgotten by it); a call is only repeated where repeating it has no second effect; a step that asks for a
//! `new` leaves in the progress what it sends, so that it must be saved before the call is made.

use super::verdict::{Ignored, Outcome, PermanentFailure, Step, TransientFailure};
use super::{Call, Case, Refusal, Reply, State, UnansweredNew, delete, identify, unanswered_new};
use crate::domain::NewAffiliate;
use crate::mapping::Intent;

/// Decides what to do now. `heard` is the reply to the call that the last step asked for, if there was one.
pub fn step(case: &Case<'_>, state: &mut State, heard: Option<(&Call, Reply)>) -> Step {
    if let Some((Call::New(new), reply)) = &heard {
        new_replied(case, state, new, reply);
    }
    let verdict = heard.and_then(|(call, reply)| match judge(call, reply) {
        Judged::Verdict(verdict) => Some(verdict),
        Judged::Reply(reply) => match case.intent {
            Intent::Identify(wanted) => identify::hear(case, wanted, state, call, reply),
            Intent::Delete { user } => delete::hear(case, user, state, call, reply),
            Intent::Nothing(_) => None,
        },
    });
    let next = verdict.unwrap_or_else(|| match case.intent {
        Intent::Identify(wanted) => identify::decide(case, wanted, state),
        Intent::Delete { user } => delete::decide(case, user, state),
        Intent::Nothing(reason) => Step::Done(Outcome::Ignored(Ignored::Mapping(reason.clone()))),
    });
    if let Step::Next(Call::New(new)) = &next {
        state.progress.new_in_flight = Some(unanswered_new::visible(case.hash, &new.profile));
    }
    next
}

/// A `new` was replied to. Unless it created an affiliate or certainly had no effect, it is kept as not answered.
fn new_replied(case: &Case<'_>, state: &mut State, new: &NewAffiliate, reply: &Reply) {
    state.progress.new_in_flight = None;
    match reply {
        Reply::Created { .. }
        | Reply::Refused(_)
        | Reply::Unauthorized
        | Reply::RateLimited { .. }
        | Reply::Unavailable { .. } => {}
        _ => {
            let sent = unanswered_new::visible(case.hash, &new.profile);
            UnansweredNew::add(&mut state.progress.unanswered_new, sent);
        }
    }
}

enum Judged {
    Verdict(Step),
    Reply(Reply),
}

/// Judges what means the same for every call; hands on the rest.
fn judge(call: &Call, reply: Reply) -> Judged {
    Judged::Verdict(match reply {
        Reply::Unauthorized => Step::Halt,
        Reply::RateLimited { retry_after } => {
            let what = "Refersion says there are too many calls".to_owned();
            Step::Retry(TransientFailure { what, retry_after, pauses_account: true })
        }
        Reply::Unavailable { what, retry_after } | Reply::Lost { what, retry_after } => {
            Step::Retry(TransientFailure { what, retry_after, pauses_account: false })
        }
        Reply::Refused(Refusal::Other(words)) => {
            Step::Dead(PermanentFailure::Refused { operation: call.operation(), words })
        }
        other => return Judged::Reply(other),
    })
}
