//! What an attempt comes to: a settlement of the unit, changes in the affiliate index, and what is told of it.
//!
//! In go how the plan ended and the state it left, out comes a [`Verdict`]. Invariants: only what was carried out together is
//! settled together, whatever else happened is the head's alone; an e-mail leads to an affiliate only once Refersion has it.

use super::Worker;
use crate::account_signals::EventOutcome;
use crate::delivery::{
    Call, Case, Coalesced, Ignored, Known, Memory, Outcome, OutcomeCode, PermanentFailure, Progress, State, Step,
    TransientFailure,
};
use crate::domain::{AffiliateCode, Email, Field, Profile, Timestamp, UserKey};
use crate::mapping::Intent;
use crate::scheduling::{End, Unit};
use crate::store::{self, AffiliateChanges, Begun, Follower, Remember, Settlement};
use std::time::Duration;

/// So many refusals more are enough of a reason to bisect a group that may have had its effect: with the default waits, of about
/// a minute in all.
const GROUP_REFUSALS: u32 = 6;

/// What a unit is about to become.
pub(super) struct Verdict {
    pub(super) unit: Unit,
    pub(super) settlement: Settlement,
    pub(super) changes: AffiliateChanges,
    /// Whether the attempt saved progress, which marks the unit as begun in the store until it is settled.
    is_marked: bool,
    /// What is told of it once it is stored.
    told: Told,
}

/// What is logged, counted and answered.
enum Told {
    Done { outcome: Outcome, followers: Vec<Follower>, cancelled: usize },
    DeadLetter(PermanentFailure),
    Retry { failure: TransientFailure, due: Timestamp },
    HandedBack,
    KeyRefused,
}

/// What is run through the plan: the events of a unit, coalesced.
pub(super) struct DeliveryRun<'a> {
    pub(super) begun: &'a Begun,
    pub(super) coalesced: &'a Coalesced<'a>,
    pub(super) case: Case<'a>,
    /// How many events this attempt marked as begun together when it last saved its progress; none if it did not yet.
    pub(super) marked: Option<usize>,
    /// How long the requests of this attempt took so far.
    pub(super) in_flight_for: Duration,
}

/// How a run through the plan ended.
pub(super) enum RunResult {
    /// As the plan says.
    Ended(Step),
    /// Before a call that cannot be sent now.
    NotSent,
}

impl DeliveryRun<'_> {
    /// The followers that are carried out with the head.
    pub(super) fn followers(&self) -> &[Follower] {
        &self.begun.followers[..self.coalesced.events - 1]
    }

    /// For how long its head has been failing by now, if this attempt failed: since its first failure, but for pauses of the account
    /// and for waits for a permit.
    fn failing_for(&self) -> Duration {
        let again = if self.begun.failures > 0 { self.in_flight_for } else { Duration::ZERO };
        self.begun.failing_for.saturating_add(again)
    }

    /// The progress to save.
    pub(super) fn progress(&self, state: &State) -> Progress {
        self.coalesced.progress(state.progress.clone())
    }

    /// Whether the store has to know of the first call before it is sent: of a `new`, and of what is asked for several events
    /// together, it matters after a crash that it may have had its effect. Those that are not asked for any more are unmarked.
    pub(super) fn needs_mark(&self, call: &Call, state: &State) -> bool {
        let marked = self.marked.or(self.begun.progress.coalesced).unwrap_or(1);
        let is_saved = self.progress(state) == self.begun.progress && (self.begun.interrupted || state.progress.unsure);
        let matters = matches!(call, Call::New(_)) || self.coalesced.events > 1;
        marked != self.coalesced.events || matters && !is_saved
    }

    /// What is learned of affiliates by now.
    pub(super) fn changes(&self, state: &State) -> AffiliateChanges {
        let remember = match (self.case.intent, &state.known) {
            (Intent::Identify(wanted), Some(known)) => {
                remember(self.begun, &self.case, known, wanted.user.email.as_ref())
            }
            _ => None,
        };
        AffiliateChanges { remember, forget: state.forgotten.clone(), erase: Vec::new() }
    }
}

/// A group that may have had its effect already and is then refused, which makes no sense, is tried again a few times: fewer
/// events would overwrite newer values with older ones, should it have had its effect.
pub(super) fn retry_refused_group(state: &mut State, result: RunResult) -> RunResult {
    match result {
        RunResult::Ended(Step::Dead(failure)) if state.progress.unsure && state.progress.refused < GROUP_REFUSALS => {
            state.progress.refused += 1;
            RunResult::Ended(Step::Retry(TransientFailure::new(failure.to_string())))
        }
        result => result,
    }
}

/// What has been failing for longer than `DELIVERY_MAX_AGE` is a permanent failure.
pub(super) fn give_up_expired(worker: &Worker, run: &DeliveryRun<'_>, result: RunResult) -> RunResult {
    let too_long = run.failing_for() > worker.0.settings.max_age;
    match result {
        RunResult::Ended(Step::Retry(failure)) if too_long && !failure.pauses_account => {
            RunResult::Ended(Step::Dead(PermanentFailure::Expired(failure.what)))
        }
        result => result,
    }
}

/// Turns the end of a run into a settlement.
pub(super) fn verdict(worker: &Worker, run: &DeliveryRun<'_>, state: State, result: RunResult) -> Verdict {
    match result {
        RunResult::Ended(Step::Done(outcome)) => done(run, &state, outcome),
        RunResult::Ended(Step::Dead(failure)) => dead_letter(worker, run.begun, failure, run.changes(&state)),
        RunResult::Ended(Step::Retry(failure)) if !failure.pauses_account => retry(worker, run, &state, failure),
        RunResult::Ended(Step::Halt) => hand_back(run, &state, Told::KeyRefused),
        RunResult::Ended(Step::Retry(_) | Step::Next(_)) | RunResult::NotSent => {
            hand_back(run, &state, Told::HandedBack)
        }
    }
}

fn done(run: &DeliveryRun<'_>, state: &State, outcome: Outcome) -> Verdict {
    let DeliveryRun { begun, coalesced, case, .. } = run;
    let mut changes = run.changes(state);
    if matches!(case.intent, Intent::Delete { .. }) {
        // The head's keys, not the delete's, which may be fewer: the edits it cancelled would have linked them.
        changes.erase = erased(begun, &changes.forget);
    }
    let code = |n| if n < coalesced.cancelled { OutcomeCode::Cancelled } else { OutcomeCode::from(&outcome) };
    let followers = (1..).zip(run.followers()).map(|(n, follower)| (follower.seq, code(n))).collect();
    let settlement = Settlement::Done { outcome: code(0), followers };
    let followers = run.followers().to_vec();
    let told = Told::Done { outcome, followers, cancelled: coalesced.cancelled };
    Verdict { unit: run.unit(), settlement, changes, is_marked: run.marked.is_some(), told }
}

fn hand_back(run: &DeliveryRun<'_>, state: &State, told: Told) -> Verdict {
    let settlement = Settlement::HandBack { progress: run.progress(state) };
    Verdict { unit: run.unit(), settlement, changes: run.changes(state), is_marked: run.marked.is_some(), told }
}

fn retry(worker: &Worker, run: &DeliveryRun<'_>, state: &State, failure: TransientFailure) -> Verdict {
    let (begun, now) = (run.begun, worker.now());
    let failures = begun.failures.saturating_add(1);
    let wait = worker.0.settings.limits.backoff.wait(failures, rand::random(), failure.retry_after);
    let failing_for = run.failing_for().saturating_add(wait);
    let attempted = store::Attempt { at: now, what: failure.what.clone() };
    let progress = run.progress(state);
    let settlement = Settlement::Retry { wait, progress, failures, failing_for, attempt: attempted };
    let told = Told::Retry { failure, due: now.after(wait) };
    Verdict { unit: run.unit(), settlement, changes: run.changes(state), is_marked: run.marked.is_some(), told }
}

pub(super) fn dead_letter(
    worker: &Worker,
    begun: &Begun,
    failure: PermanentFailure,
    changes: AffiliateChanges,
) -> Verdict {
    let (outcome, reason) = (OutcomeCode::from(&failure), failure.to_string());
    let settlement = Settlement::Dead { outcome, reason, at: worker.now() };
    Verdict { unit: Unit::of(begun.seq), settlement, changes, is_marked: false, told: Told::DeadLetter(failure) }
}

impl Verdict {
    /// Whether the unit waits just as it did when it was begun, so that there is nothing to write.
    pub(super) fn is_as_begun(&self, begun: &Begun) -> bool {
        let Settlement::HandBack { progress } = &self.settlement else { return false };
        !self.is_marked && *progress == begun.progress && self.changes == AffiliateChanges::default()
    }

    /// What the scheduler is told.
    pub(super) fn end(&self, worker: &Worker) -> End {
        let group = || match &self.settlement {
            Settlement::Retry { progress, .. } | Settlement::HandBack { progress } if progress.coalesced.is_some() => {
                self.unit.followers.clone()
            }
            _ => Vec::new(),
        };
        match &self.told {
            Told::Done { .. } => End::Settled { followers: self.unit.followers.clone() },
            Told::DeadLetter(_) => End::Settled { followers: Vec::new() },
            Told::Retry { due, .. } => End::Retry { due: *due.max(&worker.now()), group: group() },
            Told::HandedBack | Told::KeyRefused => End::HandedBack { group: group() },
        }
    }

    /// Logs and counts how each of its events ended, and tells whoever waits for the head.
    pub(super) fn report(self, worker: &Worker, begun: &Begun) {
        let (account, meter, signals) = (&worker.0.settings.account, &worker.0.settings.meter, &worker.0.signals);
        let (seq, event) = (begun.seq, begun.id);
        match self.told {
            Told::Done { outcome, followers, cancelled } => {
                let instead = Outcome::Ignored(Ignored::Cancelled);
                let of = |n: usize| if n < cancelled { &instead } else { &outcome };
                tracing::info!(%account, %seq, %event, "{}", of(0));
                meter.event_delivered(of(0));
                for (n, follower) in (1..).zip(&followers) {
                    tracing::info!(%account, seq = %follower.seq, event = %follower.id, with = %seq, "{}", of(n));
                    meter.event_delivered(of(n));
                }
                if !followers.is_empty() {
                    meter.events_coalesced(followers.len());
                }
                for (n, follower) in (1..).zip(&followers) {
                    signals.tell(follower.id, EventOutcome::Done(of(n).clone()));
                }
                signals.tell(event, EventOutcome::Done(of(0).clone()));
            }
            Told::DeadLetter(failure) => {
                tracing::error!(%account, %seq, %event, code = failure.code(), "dead letter: {failure}");
                meter.event_dead();
                signals.tell(event, EventOutcome::DeadLetter(failure));
            }
            Told::Retry { failure, due } => {
                let (failures, wait) = (begun.failures.saturating_add(1), due.since(worker.now()));
                tracing::warn!(%account, %seq, %event, failures, ?wait, "{}; will try again", failure.what);
                meter.delivery_retried();
            }
            Told::KeyRefused => signals.tell(event, EventOutcome::KeyRefused),
            Told::HandedBack => signals.tell(event, EventOutcome::Deferred),
        }
    }
}

/// Those of the keys that are a deleted user's. One that leads to an affiliate the delete was not about is not theirs: had it
/// been forgotten, no later delete could find that affiliate.
fn erased(begun: &Begun, forgotten: &[AffiliateCode]) -> Vec<UserKey> {
    let Memory { by_user_id, by_email } = &begun.memory;
    let theirs = |key: &&UserKey| {
        let leads_to = if matches!(key, UserKey::UserId(_)) { by_user_id } else { by_email };
        leads_to.as_ref().is_none_or(|known| forgotten.contains(&known.code))
    };
    begun.keys.iter().filter(theirs).copied().collect()
}

/// The affiliate and the keys that lead to it: the e-mail only once Refersion has that e-mail. `None` if all of it is
/// remembered already.
fn remember(begun: &Begun, case: &Case<'_>, known: &Known, email: Option<&Email>) -> Option<Remember> {
    let has_email = email.is_some_and(|email| {
        let said: Profile = [(Field::Email, email.as_str())].into_iter().collect();
        known.sent.changes(case.hash, &said).is_empty()
    });
    let leads = |key: &&UserKey| matches!(key, UserKey::UserId(_)) || has_email;
    let keys: Vec<_> = begun.keys.iter().filter(leads).copied().collect();
    let Memory { by_user_id, by_email } = &begun.memory;
    let remembered = keys.iter().all(|key| {
        let before = if matches!(key, UserKey::UserId(_)) { by_user_id } else { by_email };
        before.as_ref() == Some(known)
    });
    let known_before = [by_user_id, by_email].into_iter().flatten().any(|before| before == known);
    (!remembered || !known_before).then(|| Remember { known: known.clone(), keys })
}
