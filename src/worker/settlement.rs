//! The result of an attempt: a settlement of the unit (it ended, or it is retryable and goes back to its place), changes in the affiliate
//! index, and what is logged, counted and answered.
//!
//! An attempt that failed and is retryable (a 5xx, a timeout) waits as `scheduling/backoff.rs` says, and its event blocks the later ones of
//! its user meanwhile. Once it has been failing for longer than `DELIVERY_MAX_AGE` (`72h`), it is a dead letter. A 429 or a 401 is no
//! failure of the event. The time counts its waits for a retry and its requests in flight, from the first failure on; it does not count the
//! time in which the event could run and waits for a permit, for instance while the account is paused or halted.
//!
//! In: how the plan ended and the state it left. Out: a [`Verdict`]. Invariants: only events that were carried out together are settled
//! together; every other end is the end of the head alone; an e-mail leads to an affiliate only once Refersion has it.

use super::Worker;
use crate::account_signals::WaitResult;
use crate::delivery::{
    AffiliateRecord, Call, Coalesced, Ignored, OutcomeCode, PermanentFailure, PlanInput, PlanState, Progress, Step,
    Success, TransientFailure,
};
use crate::domain::{AccountName, AffiliateCode, Seq, Timestamp, UserKey};
use crate::mapping::Intent;
use crate::scheduling::{End, Unit};
use crate::store::{self, AffiliateChanges, Begun, Follower, Remember, Settlement};
use crate::telemetry::traces::{Span, TraceContext};
use std::time::Duration;

/// The further rejections after which coalesced events that may have had their effect are bisected. With the default waits, they take about
/// a minute.
const MAX_COALESCED_REJECTIONS: u32 = 6;

/// The result of a unit, before it is stored.
pub(super) struct Verdict {
    pub(super) unit: Unit,
    /// `None`: the unit is pending as before it was begun, so nothing is written.
    pub(super) settlement: Option<Settlement>,
    pub(super) changes: AffiliateChanges,
    /// For the scheduler, once the settlement is stored.
    pub(super) end: End,
    pub(super) report: SettlementReport,
}

/// The result to log, count and answer once the settlement is stored.
pub(super) enum SettlementReport {
    Done { outcome: Success, followers: Vec<Follower>, cancelled: usize },
    DeadLetter(PermanentFailure),
    Retry { what: String, wait: Duration },
    HandedBack,
    AccountHalted,
}

/// The run of a plan: the coalesced events of a unit.
pub(super) struct DeliveryRun<'a> {
    pub(super) begun: &'a Begun,
    pub(super) account: &'a AccountName,
    pub(super) coalesced: &'a Coalesced<'a>,
    pub(super) input: PlanInput<'a>,
    /// The number of events that this attempt marked as begun together when it last saved its progress; `None` before that.
    pub(super) marked: Option<usize>,
    /// The time that the requests of this attempt took so far.
    pub(super) in_flight_for: Duration,
    /// The time of the last reply in this attempt that showed the status of the affiliate.
    pub(super) status_read_at: Option<Timestamp>,
    /// The trace of this attempt, if there is one.
    pub(super) trace: Option<TraceContext>,
}

impl DeliveryRun<'_> {
    /// The followers that are carried out with the head.
    pub(super) fn followers(&self) -> &[Follower] {
        &self.begun.followers[..self.coalesced.events - 1]
    }

    /// The time for which the head has been failing, if this attempt failed: since its first failure, without pauses of the account and
    /// waits for a permit.
    fn failing_for(&self) -> Duration {
        let again = if self.begun.failures > 0 { self.in_flight_for } else { Duration::ZERO };
        self.begun.failing_for.saturating_add(again)
    }

    /// The progress to save.
    pub(super) fn progress(&self, state: &PlanState) -> Progress {
        self.coalesced.progress(state.progress.clone())
    }

    /// Whether the first call is marked in the store before it is sent. After a crash, the attempt must know that a `new`, or a call for
    /// several events together, may have had its effect. It is also marked if fewer events are coalesced than the mark says.
    pub(super) fn needs_mark(&self, call: &Call, state: &PlanState) -> bool {
        let marked = self.marked.or(self.begun.progress.coalesced).unwrap_or(1);
        let is_saved = (self.begun.interrupted || state.progress.may_have_taken_effect)
            && self.progress(state) == self.begun.progress;
        let matters = matches!(call, Call::New(_)) || self.coalesced.events > 1;
        marked != self.coalesced.events || matters && !is_saved
    }

    /// The learned changes of affiliates so far.
    pub(super) fn changes(&self, state: &PlanState) -> AffiliateChanges {
        let remember = match (self.input.intent, &state.known) {
            (Intent::Identify(wanted), Some(known)) => {
                let hash = self.input.hash;
                let email = wanted.user.email.as_ref().filter(|email| known.has_email(hash, email));
                self.remember(known, email.map(|email| hash.email(self.account, email)))
            }
            _ => None,
        };
        AffiliateChanges { remember, forget: state.forgotten.clone(), ..AffiliateChanges::default() }
    }

    /// The affiliate and the keys that lead to it; the key of the e-mail only if Refersion has the address. `None` if all of these are
    /// stored as they were when the event was begun.
    fn remember(&self, known: &AffiliateRecord, email: Option<UserKey>) -> Option<Remember> {
        let memory = &self.begun.memory;
        let user_id = self.begun.user_keys.iter().filter(|key| matches!(key, UserKey::UserId(_)));
        let keys: Vec<_> = user_id.copied().chain(email).collect();
        let is_remembered = keys.iter().all(|key| memory.leads_to(key) == Some(known))
            && [&memory.by_user_id, &memory.by_email].into_iter().flatten().any(|before| before == known);
        // The record that this attempt saved may hold a doubt that has ended since.
        (!is_remembered || self.marked.is_some()).then(|| Remember { known: known.clone(), user_keys: keys })
    }
}

/// Coalesced events may have had their effect already (its answer was lost), and the same call is rejected when it is repeated: one of the
/// two answers is wrong. The call is retried a few times before its events are bisected: if it had its effect, fewer events would overwrite
/// newer values with older ones.
pub(super) fn retry_coalesced_rejection(state: &mut PlanState, end: Step) -> Step {
    match end {
        Step::Dead(failure)
            if state.progress.may_have_taken_effect
                && state.progress.coalesced_rejections < MAX_COALESCED_REJECTIONS =>
        {
            state.progress.coalesced_rejections += 1;
            Step::Retry(TransientFailure::new(failure.to_string()))
        }
        end => end,
    }
}

/// An event that has been failing for longer than `DELIVERY_MAX_AGE` fails permanently.
pub(super) fn give_up_expired(worker: &Worker, run: &DeliveryRun<'_>, end: Step) -> Step {
    let too_long = run.failing_for() > worker.delivery().max_age;
    match end {
        Step::Retry(failure) if too_long => Step::Dead(PermanentFailure::Expired(failure.what)),
        end => end,
    }
}

/// Turns the end of the plan into a settlement.
pub(super) fn verdict(worker: &Worker, run: &DeliveryRun<'_>, state: &PlanState, end: Step) -> Verdict {
    match end {
        Step::Done(outcome) => done(run, state, outcome),
        Step::Dead(failure) => dead_letter(worker, run.begun, failure, run.changes(state)),
        Step::Retry(failure) => retry(worker, run, state, failure),
        Step::Halt => hand_back(run, state, SettlementReport::AccountHalted),
        Step::HandBack | Step::Next(_) | Step::Recall(_) => hand_back(run, state, SettlementReport::HandedBack),
    }
}

fn done(run: &DeliveryRun<'_>, state: &PlanState, outcome: Success) -> Verdict {
    let DeliveryRun { begun, coalesced, input, .. } = run;
    let mut changes = run.changes(state);
    if let Intent::Delete { time, .. } = input.intent {
        changes.deleted_at = Some(time.at());
        // The head's keys, not the delete's, which may be fewer: the edits it cancelled would have linked them.
        changes.erase = erased(begun, &changes.forget);
    }
    let code = |n| if n < coalesced.cancelled { OutcomeCode::Cancelled } else { OutcomeCode::from(&outcome) };
    let followers = (1..).zip(run.followers()).map(|(n, follower)| (follower.seq, code(n))).collect();
    let settlement = Some(Settlement::Done { outcome: code(0), followers });
    let unit = run.unit();
    let end = End::Settled { followers: unit.followers.clone() };
    let report =
        SettlementReport::Done { outcome, followers: run.followers().to_vec(), cancelled: coalesced.cancelled };
    Verdict { unit, settlement, changes, end, report }
}

fn hand_back(run: &DeliveryRun<'_>, state: &PlanState, report: SettlementReport) -> Verdict {
    let (unit, progress, changes) = (run.unit(), run.progress(state), run.changes(state));
    let end = End::Pending { due: None, followers: followers(&unit, &progress) };
    let as_begun = run.marked.is_none() && progress == run.begun.progress && changes == AffiliateChanges::default();
    let settlement = (!as_begun).then_some(Settlement::HandBack { progress });
    Verdict { unit, settlement, changes, end, report }
}

fn retry(worker: &Worker, run: &DeliveryRun<'_>, state: &PlanState, failure: TransientFailure) -> Verdict {
    let (unit, progress) = (run.unit(), run.progress(state));
    let followers = followers(&unit, &progress);
    let (settlement, due, report) = failed(worker, run.begun, run.failing_for(), failure, Some(progress));
    let end = End::Pending { due: Some(due), followers };
    Verdict { unit, settlement: Some(settlement), changes: run.changes(state), end, report }
}

/// The settlement of an attempt that failed, the moment of the next one, and the report. `failing_for`: the time for which the event has
/// been failing. `progress`: `None` if the saved one stays.
fn failed(
    worker: &Worker,
    begun: &Begun,
    failing_for: Duration,
    TransientFailure { what, retry_after }: TransientFailure,
    progress: Option<Progress>,
) -> (Settlement, Timestamp, SettlementReport) {
    let (now, failures) = (worker.now(), begun.failures.saturating_add(1));
    let wait = worker.delivery().limits.backoff.wait(failures, rand::random(), retry_after);
    let attempt = store::FailedAttempt { at: now, what: what.clone() };
    let failing_for = failing_for.saturating_add(wait);
    let settlement = Settlement::Retry { wait, progress, failures, failing_for, attempt };
    (settlement, now.after(wait), SettlementReport::Retry { what, wait })
}

/// The followers that stay marked as begun with the head.
fn followers(unit: &Unit, progress: &Progress) -> Vec<Seq> {
    if progress.coalesced.is_some() { unit.followers.clone() } else { Vec::new() }
}

/// An attempt that panicked counts as failed, and the next one continues from the progress that was saved last. An event that always panics
/// (a poison message) becomes a dead letter once it has failed for too long.
pub(super) fn panicked(worker: &Worker, begun: &Begun) -> Verdict {
    let (account, seq, event) = (&worker.0.settings.account, begun.seq, begun.id);
    tracing::error!(%account, %seq, event.id = %event, "a delivery panicked, which is a bug of this service");
    if begun.failing_for > worker.delivery().max_age {
        return dead_letter(worker, begun, PermanentFailure::InternalError, AffiliateChanges::default());
    }
    let failure = TransientFailure::new("internal error");
    let (settlement, due, report) = failed(worker, begun, begun.failing_for, failure, None);
    Verdict {
        unit: Unit::of(seq),
        settlement: Some(settlement),
        changes: AffiliateChanges::default(),
        end: End::Interrupted { due: Some(due) },
        report,
    }
}

pub(super) fn dead_letter(
    worker: &Worker,
    begun: &Begun,
    failure: PermanentFailure,
    changes: AffiliateChanges,
) -> Verdict {
    let (outcome, reason) = (OutcomeCode::from(&failure), failure.to_string());
    let settlement = Some(Settlement::Dead { outcome, reason, at: worker.now() });
    let end = End::Settled { followers: Vec::new() };
    Verdict { unit: Unit::of(begun.seq), settlement, changes, end, report: SettlementReport::DeadLetter(failure) }
}

impl SettlementReport {
    /// Adds the end of the attempt to its span.
    pub(super) fn trace(&self, span: &mut Span) {
        match self {
            Self::Done { outcome, followers, .. } => {
                span.text("outcome", outcome.word());
                span.number("events", 1 + followers.len());
            }
            Self::DeadLetter(failure) => {
                span.text("outcome", "dead_letter");
                span.text("reason", failure.code());
                span.fail(failure.to_string());
            }
            Self::Retry { what, .. } => {
                span.text("outcome", "retry");
                span.fail(what.as_str());
            }
            Self::HandedBack => span.text("outcome", "handed_back"),
            Self::AccountHalted => span.text("outcome", "account_halted"),
        }
    }

    /// Logs and counts how each event of the unit ended, and answers the requests that wait for them.
    pub(super) fn publish(self, worker: &Worker, begun: &Begun) {
        let (account, meter, signals) = (&worker.0.settings.account, &worker.0.settings.meter, &worker.0.signals);
        let (seq, event) = (begun.seq, begun.id);
        match self {
            Self::Done { outcome, followers, cancelled } => {
                let instead = Success::Ignored(Ignored::Cancelled);
                let of = |n: usize| if n < cancelled { &instead } else { &outcome };
                if outcome.is_without_overwrite() {
                    tracing::warn!(%account, %seq, event.id = %event, "no personal field was overwritten: {outcome}");
                } else {
                    tracing::info!(%account, %seq, event.id = %event, "{}", of(0));
                }
                for (n, follower) in (1..).zip(&followers) {
                    tracing::info!(%account, seq = %follower.seq, event.id = %follower.id, with = %seq, "{}", of(n));
                    signals.send(follower.id, WaitResult::Done(of(n).clone()));
                }
                meter.delivered(&outcome, 1 + followers.len(), cancelled);
                signals.send(event, WaitResult::Done(of(0).clone()));
            }
            Self::DeadLetter(failure) => {
                tracing::error!(%account, %seq, event.id = %event, reason = failure.code(), "dead letter: {failure}");
                meter.dead_letters(1);
                signals.send(event, WaitResult::DeadLetter(failure));
            }
            Self::Retry { what, wait } => {
                let failures = begun.failures.saturating_add(1);
                tracing::warn!(%account, %seq, event.id = %event, failures, ?wait, "{what}; will try again");
                meter.delivery_retried();
            }
            Self::AccountHalted => signals.send(event, WaitResult::AccountHalted),
            Self::HandedBack => signals.send(event, WaitResult::Deferred),
        }
    }
}

/// The keys of a deleted user. A key that leads to another affiliate than the deleted one stays: without it, no later delete could
/// find that affiliate.
fn erased(begun: &Begun, forgotten: &[AffiliateCode]) -> Vec<UserKey> {
    let theirs = |key: &&UserKey| begun.memory.leads_to(key).is_none_or(|known| forgotten.contains(&known.code));
    begun.user_keys.iter().filter(theirs).copied().collect()
}
