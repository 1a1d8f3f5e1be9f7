//! The plan: given what is wanted, what is known and what was last heard, the next call or the verdict.
//!
//! [`step`] is the whole state machine. Answers that mean the same for every call (a wrong key, too many calls, an outage)
//! are judged here; the rest belongs to [`identify`] and [`delete`].
//! Invariants: every path ends, whatever is answered (a search is bounded, a stale memory is forgotten once, and whom this
//! event met is never forgotten by it); a call is only repeated where repeating it has no second effect.

use super::verdict::{Death, Ignored, Outcome, Step, Trouble};
use super::{Call, Known, Memory, Policy, Progress, Refusal, Reply, Stage, delete, identify};
use crate::domain::{AffiliateCode, HashKey};
use crate::mapping::Intent;

/// What does not change during a delivery.
#[derive(Clone, Copy, Debug)]
pub struct Case<'a> {
    /// What the event wants.
    pub intent: &'a Intent,
    /// What the operator decided.
    pub policy: Policy,
    /// The key of the fingerprints.
    pub hash: &'a HashKey,
}

/// What changes during a delivery, and is written down between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct State {
    /// The affiliate, as remembered; an identify writes it.
    pub known: Option<Known>,
    /// Another affiliate, that of the other key: a delete looks by e-mail first, an identify by `userId`.
    pub fallback: Option<Known>,
    /// How far the delivery got.
    pub progress: Progress,
    /// Affiliates to forget: deleted, or gone from Refersion.
    pub forgotten: Vec<AffiliateCode>,
}

impl State {
    /// The state to begin (or to go on) with. `interrupted` says that an earlier attempt ended without a word: what it was
    /// about to do is written down, and if that was a `new`, it may have had its effect.
    pub fn new(intent: &Intent, memory: Memory, mut progress: Progress, interrupted: bool) -> Self {
        let Memory { by_user_id, by_email } = memory;
        let (known, fallback) = match intent {
            Intent::Delete { user } if user.email.is_some() => (by_email, by_user_id),
            _ if by_user_id.is_none() => (by_email, None),
            _ => (by_user_id, by_email),
        };
        let fallback = fallback.filter(|other| known.as_ref().is_none_or(|known| known.code != other.code));
        progress.asked |= interrupted && known.is_none() && progress.stage == Stage::Start;
        Self { known, fallback, progress, forgotten: Vec::new() }
    }

    /// Remembers an affiliate that this very event created or found.
    pub(super) fn meet(&mut self, known: Known) {
        self.known = Some(known);
        self.progress.met = true;
        self.progress.stage = Stage::Start;
    }

    /// Forgets an affiliate that Refersion no longer has; the other key may still lead to one.
    pub(super) fn forget(&mut self) {
        let gone = std::mem::replace(&mut self.known, self.fallback.take());
        self.forgotten.extend(gone.map(|known| known.code));
        self.progress.stage = Stage::Start;
    }
}

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

/// An answer that does not belong to its call, such as search results for an edit.
pub(super) fn unexpected(call: &Call) -> Step {
    Step::Retry(Trouble::new(format!("Refersion's answer to {} was not understood", call.operation())))
}
