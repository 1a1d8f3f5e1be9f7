//! The plan: the state machine that decides the next call, or the outcome, from the intent, the state and the last reply.
//!
//! [`step`] is the whole state machine. It handles replies that mean the same for every call (a wrong API key, too many calls, an outage);
//! [`identify`] and [`delete`] handle the others. Invariants: every path ends, whatever the replies (a search is bounded, an outdated
//! record is forgotten once, and the event never forgets an affiliate that it created or found); a call is repeated only if the repeat has
//! no second effect; a step that asks for a `new` leaves the values that it sends in the progress, which is saved before the call is made;
//! what a call may have changed counts as unknown in the record of the affiliate as soon as its answer is missing or unclear, or once an
//! attempt whose progress was saved was interrupted, so nothing is left to record when the event ends, however it ends. (A single edit saves
//! no progress: after a crash it is sent again.)

use super::outcome::{Ignored, Step, Success};
use super::{
    Call, DeleteTarget, PlanInput, PlanState, RecalledAffiliate, Reply, Stage, UnansweredNew, delete, existing,
    identify, status, unanswered_new,
};
use crate::domain::{AffiliateCode, NewAffiliate};
use crate::mapping::Intent;

/// Decides the next step. `last_reply` is the reply to the call of the last step, if there was one.
pub fn step(input: &PlanInput<'_>, state: &mut PlanState, last_reply: Option<(&Call, Reply)>) -> Step {
    match &last_reply {
        Some((Call::New(new), reply)) => on_new_reply(input, state, new, reply),
        Some((call, Reply::Rejected(_) | Reply::Unauthorized | Reply::RateLimited { .. })) => on_no_effect(state, call),
        Some((Call::Edit { changes, .. }, reply)) if !matches!(reply, Reply::Changed) => {
            state.doubt(changes);
        }
        None if matches!(input.intent, Intent::Delete { .. }) => delete::begin(state),
        _ => {}
    }
    let end = last_reply.and_then(|(call, reply)| match on_common_reply(reply) {
        Ok(step) => Some(step),
        Err(reply) => match input.intent {
            Intent::Identify(wanted) => identify::on_reply(input, wanted, state, call, reply),
            Intent::Delete { .. } => delete::on_reply(input, state, call, reply),
            Intent::Nothing(_) => None,
        },
    });
    let next = end.unwrap_or_else(|| match input.intent {
        Intent::Identify(wanted) => identify::decide(input, wanted, state),
        Intent::Delete { user, .. } => delete::decide(input, user, state),
        Intent::Nothing(reason) => Step::Done(Success::Ignored(Ignored::Mapping(reason.clone()))),
    });
    if let Step::Next(Call::New(new)) = &next {
        state.progress.new_in_flight = Some(unanswered_new::visible(input.hash, &new.profile));
    }
    next
}

/// Continues after [`Step::Recall`]: `recalled` is the record of the affiliate that was found.
pub fn on_recalled(input: &PlanInput<'_>, state: &mut PlanState, recalled: Option<RecalledAffiliate>) {
    if let Intent::Identify(wanted) = input.intent {
        existing::on_recalled(input, wanted, state, recalled);
    }
}

/// Ends the attempt if `call`, which [`step`] asked for, cannot be sent now.
pub fn on_not_sent(state: &mut PlanState, call: &Call) -> Step {
    on_no_effect(state, call);
    Step::HandBack
}

/// Whether `call` rests on the status that the last `get` or `new` showed: an identify leaves a status alone that the merchant decided.
pub fn rests_on_status(input: &PlanInput<'_>, call: &Call) -> bool {
    matches!((input.intent, call), (Intent::Identify(_), Call::SetStatus { .. }))
}

/// The affiliate that a search has just found: the user keys may not lead to it yet, so another delivery may be about it. `first`: the
/// attempt has made no call, so one that an earlier attempt found, or the one that an earlier attempt of a delete was about, counts, too.
pub fn found_affiliate(state: &PlanState, first: bool) -> Option<&AffiliateCode> {
    match (&state.progress.stage, &state.progress.target) {
        (Stage::Found(code), _) => Some(code),
        (Stage::FoundUnknown(code), _) | (_, Some(DeleteTarget { code, .. })) if first => Some(code),
        _ => None,
    }
}

/// Ends the attempt because another delivery is about the affiliate that was found. Until the event runs again, the affiliate may get
/// another e-mail, so it is searched for again, or read again if an earlier attempt of a delete has found it.
pub fn on_affiliate_in_use(state: &mut PlanState) -> Step {
    if matches!(state.progress.stage, Stage::Found(_) | Stage::FoundUnknown(_)) {
        state.progress.stage = Stage::Start;
    }
    Step::HandBack
}

/// The call certainly had no effect, so nothing that is seen at Refersion later counts as its effect.
fn on_no_effect(state: &mut PlanState, call: &Call) {
    match call {
        Call::New(_) => state.progress.new_in_flight = None,
        Call::SetStatus { .. } => status::on_not_set(state),
        Call::Search { .. } | Call::Get(_) | Call::Edit { .. } => {}
    }
}

/// Handles the reply to a `new`. Unless it created an affiliate or certainly had no effect, it is kept as not answered.
fn on_new_reply(input: &PlanInput<'_>, state: &mut PlanState, new: &NewAffiliate, reply: &Reply) {
    state.progress.new_in_flight = None;
    match reply {
        Reply::Created { .. }
        | Reply::Rejected(_)
        | Reply::Unauthorized
        | Reply::RateLimited { .. }
        | Reply::Unavailable(_) => {}
        _ => {
            let sent = unanswered_new::visible(input.hash, &new.profile);
            UnansweredNew::add(&mut state.progress.unanswered_new, sent);
        }
    }
}

/// Handles a reply that means the same for every call. Err: any other reply.
fn on_common_reply(reply: Reply) -> Result<Step, Reply> {
    Ok(match reply {
        Reply::Unauthorized => Step::Halt,
        Reply::RateLimited { .. } => Step::HandBack,
        Reply::Unavailable(failure) | Reply::Lost(failure) => Step::Retry(failure),
        other => return Err(other),
    })
}
