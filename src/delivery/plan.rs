//! The plan: given what is wanted, what is known and what was last heard, the next call or the verdict.
//!
//! [`step`] is the whole state machine. Answers that mean the same for every call (a wrong key, too many calls, an outage)
//! are judged here; the rest belongs to [`identify`] and [`delete`].
//! Invariants: every path ends, whatever is answered (a search is bounded, a stale memory is forgotten once, and whom this
//! event met is never forgotten by it); a call is only repeated where repeating it has no second effect.

use super::verdict::{Death, Ignored, Outcome, Step, Trouble};
use super::{Call, Case, Refusal, Reply, State, delete, identify};
use crate::mapping::Intent;

/// Decides what to do now. `heard` is the reply to the call that the last step asked for, if there was one.
pub fn step(case: &Case<'_>, state: &mut State, heard: Option<(&Call, Reply)>) -> Step {
    let verdict = heard.and_then(|(call, reply)| match judge(call, reply, state) {
        Judged::Verdict(verdict) => Some(verdict),
        Judged::Reply(reply) => match case.intent {
            Intent::Identify(wanted) => identify::hear(case, wanted, state, call, reply),
            Intent::Delete { user } => delete::hear(case, user, state, call, reply),
            Intent::Nothing(_) => None,
        },
    });
    verdict.unwrap_or_else(|| match case.intent {
        Intent::Identify(wanted) => identify::decide(case, wanted, state),
        Intent::Delete { user } => delete::decide(case, user, state),
        Intent::Nothing(reason) => Step::Done(Outcome::Ignored(Ignored::Mapping(reason.clone()))),
    })
}

enum Judged {
    Verdict(Step),
    Reply(Reply),
}

/// Judges what means the same for every call; hands on the rest.
fn judge(call: &Call, reply: Reply, state: &mut State) -> Judged {
    Judged::Verdict(match reply {
        Reply::Unauthorized => Step::Halt,
        Reply::RateLimited { retry_after } => {
            let what = "Refersion says there are too many calls".to_owned();
            Step::Retry(Trouble { what, retry_after, pauses_account: true })
        }
        Reply::Unavailable { what, retry_after } => Step::Retry(Trouble { what, retry_after, pauses_account: false }),
        Reply::Lost { what, retry_after } => {
            state.progress.asked |= matches!(call, Call::New(_));
            Step::Retry(Trouble { what, retry_after, pauses_account: false })
        }
        Reply::Refused(Refusal::Other(words)) => Step::Dead(Death::Refused { operation: call.operation(), words }),
        other => return Judged::Reply(other),
    })
}
