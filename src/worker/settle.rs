//! What a walk through the plan comes to: a settlement of the claimed event and of what was coalesced with it, and what changes in
//! what is remembered.
//!
//! In goes how the walk ended and the state it left, out comes a [`Verdict`]. Invariants: only what was carried out together is
//! settled together, whatever else happened is the head's alone; an e-mail leads to an affiliate only once Refersion has it.

use super::Worker;
use crate::delivery::{
    Case, Coalesced, Ignored, Known, Memory, Outcome, PermanentFailure, Progress, State, Step, TransientFailure,
};
use crate::domain::{AffiliateCode, Email, Field, Profile, UserKey};
use crate::mapping::Intent;
use crate::notice::Ended;
use crate::queue::{Attempt, Behind, Change, Claimed, Remember, Settlement};

/// So many refusals more are enough of a reason to go on with fewer: with the default waits, of about a minute in all.
const ONCE_MORE: u32 = 6;

/// What a claimed event is about to become.
pub(super) struct Verdict {
    pub(super) settlement: Settlement,
    pub(super) change: Change,
    pub(super) tell: Option<Ended>,
}

/// What is being carried out.
pub(super) struct Task<'a> {
    pub(super) claimed: &'a Claimed,
    pub(super) coalesced: &'a Coalesced<'a>,
    pub(super) case: Case<'a>,
}

impl Task<'_> {
    /// The others that are carried out with the claimed event.
    fn behind(&self) -> &[Behind] {
        &self.claimed.behind[..self.coalesced.events - 1]
    }

    /// The progress to write down.
    pub(super) fn progress(&self, state: &State) -> Progress {
        self.coalesced.progress(state.progress.clone())
    }

    /// What there is to remember and to forget by now.
    pub(super) fn change(&self, state: &State) -> Change {
        let remember = match (self.case.intent, &state.known) {
            (Intent::Identify(wanted), Some(known)) => {
                remember(self.claimed, &self.case, known, wanted.user.email.as_ref())
            }
            _ => None,
        };
        Change { remember, forget: state.forgotten.clone(), erase: Vec::new() }
    }
}

/// Where a walk ended.
pub(super) enum Walked {
    /// At a verdict.
    To(Step),
    /// Before a call that cannot be made now.
    Short,
}

/// Several that may have had their effect already and are then refused, which makes no sense, are asked for again a few times:
/// to go on with fewer would be a step back, should they have had it.
pub(super) fn once_more(state: &mut State, walked: Walked) -> Walked {
    match walked {
        Walked::To(Step::Dead(failure)) if state.progress.unsure && state.progress.refused < ONCE_MORE => {
            state.progress.refused += 1;
            Walked::To(Step::Retry(TransientFailure::new(failure.to_string())))
        }
        walked => walked,
    }
}

/// What has been failing for too long is given up.
pub(super) fn given_up(worker: &Worker, claimed: &Claimed, walked: Walked) -> Walked {
    let now = worker.now();
    let too_long = now.since(claimed.failing_since.unwrap_or(now)) > worker.0.settings.max_age;
    match walked {
        Walked::To(Step::Retry(failure)) if too_long && !failure.pauses_account => {
            Walked::To(Step::Dead(PermanentFailure::Expired(failure.what)))
        }
        walked => walked,
    }
}

/// Turns the end of a walk into a settlement.
pub(super) fn judge(worker: &Worker, task: &Task<'_>, state: State, walked: Walked) -> Verdict {
    let Task { claimed, .. } = task;
    match walked {
        Walked::To(Step::Done(outcome)) => done(worker, task, &state, outcome),
        Walked::To(Step::Dead(failure)) => buried(worker, claimed, failure, task.change(&state)),
        Walked::To(Step::Retry(failure)) if !failure.pauses_account => again(worker, task, &state, &failure),
        Walked::To(Step::Halt) => handed_back(task, &state, Some(Ended::KeyRefused)),
        Walked::To(Step::Retry(_) | Step::Next(_)) | Walked::Short => handed_back(task, &state, None),
    }
}

fn done(worker: &Worker, task: &Task<'_>, state: &State, outcome: Outcome) -> Verdict {
    let Task { claimed, coalesced, case } = task;
    let mut change = task.change(state);
    if matches!(case.intent, Intent::Delete { .. }) {
        // The head's keys, not the delete's, which may be fewer: the edits it cancelled would have linked them.
        change.erase = erased(claimed, &change.forget);
    }
    tell(worker, task, &outcome);
    let settlement = match task.behind() {
        [] => Settlement::Done,
        behind => Settlement::DoneWith { behind: behind.iter().map(|behind| behind.place).collect() },
    };
    let outcome = if coalesced.cancelled > 0 { Outcome::Ignored(Ignored::Cancelled) } else { outcome };
    Verdict { settlement, change, tell: Some(Ended::Well(outcome)) }
}

/// Logs and counts how each of those carried out ended.
fn tell(worker: &Worker, task: &Task<'_>, outcome: &Outcome) {
    let Task { claimed, coalesced, .. } = task;
    let (account, meter) = (&worker.0.settings.account, &worker.0.settings.meter);
    let cancelled = Outcome::Ignored(Ignored::Cancelled);
    let (head, event) = (claimed.ticket.seq, claimed.ticket.id);
    let of = |n: usize| if n < coalesced.cancelled { &cancelled } else { outcome };
    tracing::info!(%account, seq = head, %event, "{}", of(0));
    meter.carried_out(of(0).word());
    for (n, Behind { place, .. }) in (1..).zip(task.behind()) {
        tracing::info!(%account, seq = place.seq, event = %place.id, with = head, "{}", of(n));
        meter.carried_out(of(n).word());
    }
    if coalesced.events > 1 {
        meter.folded(coalesced.events - 1);
    }
}

fn handed_back(task: &Task<'_>, state: &State, tell: Option<Ended>) -> Verdict {
    Verdict { settlement: Settlement::HandBack { progress: task.progress(state) }, change: task.change(state), tell }
}

fn again(worker: &Worker, task: &Task<'_>, state: &State, failure: &TransientFailure) -> Verdict {
    let claimed = task.claimed;
    let (seq, now) = (claimed.ticket.seq, worker.now());
    let failing_since = claimed.failing_since.unwrap_or(now);
    let failures = claimed.failures.saturating_add(1);
    let wait = worker.0.settings.backoff.wait(failures, rand::random(), failure.retry_after);
    let account = &worker.0.settings.account;
    tracing::warn!(%account, seq, event = %claimed.ticket.id, failures, ?wait, "{}; will try again", failure.what);
    worker.0.settings.meter.failed();
    let attempt = Attempt { at: now, what: failure.what.clone() };
    let (at, progress) = (now.after(wait), task.progress(state));
    let settlement = Settlement::Retry { at, progress, failures, failing_since, attempt };
    Verdict { settlement, change: task.change(state), tell: None }
}

pub(super) fn buried(worker: &Worker, claimed: &Claimed, failure: PermanentFailure, change: Change) -> Verdict {
    let (account, seq) = (&worker.0.settings.account, claimed.ticket.seq);
    tracing::error!(%account, seq, event = %claimed.ticket.id, code = failure.code(), "dead letter: {failure}");
    worker.0.settings.meter.carried_out("dead");
    let settlement = Settlement::Dead { code: failure.code(), reason: failure.to_string(), at: worker.now() };
    Verdict { settlement, change, tell: Some(Ended::Dead(failure)) }
}

/// Those of the keys that are a deleted user's. One that leads to an affiliate the delete was not about is not theirs: had it
/// been forgotten, no later delete could find that affiliate.
fn erased(claimed: &Claimed, forgotten: &[AffiliateCode]) -> Vec<UserKey> {
    let Memory { by_user_id, by_email } = &claimed.memory;
    let theirs = |key: &&UserKey| {
        let leads_to = if matches!(key, UserKey::UserId(_)) { by_user_id } else { by_email };
        leads_to.as_ref().is_none_or(|known| forgotten.contains(&known.code))
    };
    claimed.keys.iter().filter(theirs).copied().collect()
}

/// The affiliate and the keys that lead to it: the e-mail only once Refersion has that e-mail. `None` if all of it is
/// remembered already.
fn remember(claimed: &Claimed, case: &Case<'_>, known: &Known, email: Option<&Email>) -> Option<Remember> {
    let has_email = email.is_some_and(|email| {
        let said: Profile = [(Field::Email, email.as_str())].into_iter().collect();
        known.sent.news(case.hash, &said).is_empty()
    });
    let leads = |key: &&UserKey| matches!(key, UserKey::UserId(_)) || has_email;
    let keys: Vec<_> = claimed.keys.iter().filter(leads).copied().collect();
    let Memory { by_user_id, by_email } = &claimed.memory;
    let remembered = keys.iter().all(|key| {
        let before = if matches!(key, UserKey::UserId(_)) { by_user_id } else { by_email };
        before.as_ref() == Some(known)
    });
    let known_before = [by_user_id, by_email].into_iter().flatten().any(|before| before == known);
    (!remembered || !known_before).then(|| Remember { known: known.clone(), keys })
}
