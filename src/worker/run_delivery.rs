//! One attempt at one unit of events: read its intents, coalesce them, run the plan, settle.
//!
//! In: the events that the store began. Out: the end of the attempt, for the scheduler. Calls are made at least once, not exactly once; the
//! invariants of `plan_run` make a repeat harmless. Invariants: an end holds for each event of the unit, or fewer of them are tried; a panic
//! counts as a failed attempt. Deliberately absent: the calls (`plan_run`), and what follows from an end (`settlement`).

use super::Worker;
use super::dispatcher::AnnouncedCall;
use super::intents::{self, Intents};
use super::learn::Link;
use super::plan_run::{links, retry_while_unavailable, run_plan};
use super::settlement::{
    DeliveryRun, Verdict, dead_letter, give_up_expired, panicked, retry_coalesced_rejection, verdict,
};
use crate::delivery::{self, Coalesced, PlanInput, PlanState, Policy};
use crate::domain::{HashKey, Seq};
use crate::failpoint;
use crate::scheduling::{End, Unit};
use crate::store::{AffiliateChanges, Begun, StoreError};
use crate::telemetry::traces::{Span, TraceContext};
use futures_util::FutureExt;
use std::panic::AssertUnwindSafe;
use std::time::Duration;

/// The end of an attempt at a unit, for the scheduler.
pub(super) struct AttemptEnd {
    pub(super) head: Seq,
    pub(super) end: End,
    /// The links that the settlement made.
    pub(super) links: Vec<Link>,
}

/// Runs one attempt at `begun`, and settles it.
pub(super) async fn run_delivery(worker: Worker, mut begun: Begun, announced: AnnouncedCall) -> AttemptEnd {
    let in_flight: Vec<Seq> = begun.seqs().collect();
    let mut span = begin_span(&worker, &begun);
    let attempt = AssertUnwindSafe(attempt(&worker, &mut begun, announced, &mut span));
    let settled = match attempt.catch_unwind().await {
        Ok(settled) => settled,
        Err(_) => settle_panicked(&worker, &begun).await,
    };
    let ended = settled.unwrap_or_else(|error| end_unsettled(&worker, &begun, &error));
    // An event that was begun with the head and did not end with it is pending as before.
    worker.0.store.release(&in_flight);
    if let Some(span) = span {
        span.end();
    }
    ended
}

/// The span of the attempt, which links to the events that are coalesced with the head.
fn begin_span(worker: &Worker, begun: &Begun) -> Option<Span> {
    let mut span = Span::of_delivery(begun.id, begun.failures == 0 && !begun.interrupted)?;
    span.text("account", worker.0.settings.account.as_str());
    span.text("event.id", begun.id.to_string());
    span.text("seq", begun.seq.to_string());
    span.text("failures", begun.failures.to_string());
    span.link(begun.followers.iter().map(|follower| follower.id));
    Some(span)
}

async fn attempt(
    worker: &Worker,
    begun: &mut Begun,
    announced: AnnouncedCall,
    span: &mut Option<Span>,
) -> Result<AttemptEnd, StoreError> {
    failpoint::reach("worker::begun");
    let verdict = match intents::read(worker, begun) {
        Ok(intents) => deliver(worker, begun, intents, announced, span.as_ref().map(Span::context)).await?,
        Err(failure) => {
            drop(announced);
            dead_letter(worker, begun, failure, AffiliateChanges::default())
        }
    };
    if let Some(span) = span {
        verdict.report.trace(span);
    }
    settle(worker, begun, verdict).await
}

/// The attempt has panicked, which is a bug: it is settled as a failed one. If that panics as well, it cannot be counted.
async fn settle_panicked(worker: &Worker, begun: &Begun) -> Result<AttemptEnd, StoreError> {
    let settled = AssertUnwindSafe(async { settle(worker, begun, panicked(worker, begun)).await }).catch_unwind().await;
    settled.unwrap_or_else(|_| Err(StoreError::Fatal("settling an event panicked, which is a bug".to_owned())))
}

/// Coalesces the unit, and runs the plan to its end. As long as the end does not hold for each event, it bisects the unit and runs again.
/// Err: the store rejects the progress.
async fn deliver(
    worker: &Worker,
    begun: &Begun,
    intents: Intents,
    announced: AnnouncedCall,
    trace: Option<TraceContext>,
) -> Result<Verdict, StoreError> {
    let Intents { head, traits, mut followers } = intents;
    let settings = worker.delivery();
    let custom_fields = settings.rules.custom_field_ids();
    let (policy, hash, account) = (settings.policy, worker.0.store.hash_key(), &worker.0.settings.account);
    let mut coalesced = delivery::coalesce(&begun.memory, policy, &head, &followers);
    let mut state = started(begun, &coalesced, policy, hash);
    state.progress.may_have_taken_effect |= was_tried(begun);
    let (mut announced, mut marked, mut in_flight_for) = (Some(announced), None, Duration::ZERO);
    let mut status_read_at = None;
    loop {
        let input = PlanInput {
            intent: &coalesced.intent,
            policy,
            hash,
            custom_fields: &custom_fields,
            events: coalesced.events,
        };
        let mut run =
            DeliveryRun { begun, account, coalesced: &coalesced, input, marked, in_flight_for, status_read_at, trace };
        let mut end = run_plan(worker, &mut run, &mut state, &mut announced).await?;
        (marked, in_flight_for, status_read_at) = (run.marked, run.in_flight_for, run.status_read_at);
        drop(announced.take());
        if coalesced.events > 1 {
            end = retry_coalesced_rejection(&mut state, end);
        }
        let end = give_up_expired(worker, &run, end);
        let Some(fewer) = coalesced.bisect(&end) else {
            let (end, change) = match &traits {
                Some(traits) => traits.end(worker, end),
                None => (end, None),
            };
            let mut verdict = verdict(worker, &run, &state, end);
            verdict.changes.traits = change;
            return Ok(verdict);
        };
        followers.truncate(fewer);
        let smaller = delivery::coalesce(&begun.memory, policy, &head, &followers);
        state.progress = coalesced.progress(state.progress);
        if coalesced.cancelled > 0 {
            state = PlanState::new(&smaller.intent, policy, begun.memory.clone(), smaller.progress(state.progress));
            state.supersede(hash, policy, &smaller.superseded);
            if was_tried(begun) {
                state.doubt_intended(&smaller.intent, policy, hash);
            }
        }
        coalesced = smaller;
    }
}

/// The state in which the attempt begins.
fn started(begun: &Begun, coalesced: &Coalesced<'_>, policy: Policy, hash: &HashKey) -> PlanState {
    let (intent, memory, progress) =
        (&*coalesced.intent, begun.memory.clone(), coalesced.progress(begun.progress.clone()));
    let mut state = if begun.interrupted {
        PlanState::after_interruption(intent, policy, hash, memory, progress)
    } else {
        PlanState::new(intent, policy, memory, progress)
    };
    state.supersede(hash, policy, &coalesced.superseded);
    if begun.failures > 0 {
        state.doubt_intended(intent, policy, hash); // an attempt that panicked has recorded nothing
    }
    state
}

/// Whether an earlier attempt may have made calls.
fn was_tried(begun: &Begun) -> bool {
    begun.interrupted || begun.failures > 0
}

async fn settle(worker: &Worker, begun: &Begun, verdict: Verdict) -> Result<AttemptEnd, StoreError> {
    failpoint::reach("worker::settling");
    let Verdict { unit, settlement, changes, end, report } = verdict;
    if let Some(settlement) = settlement {
        let _settling = worker.settling();
        let (store, account) = (&worker.0.store, &worker.0.settings.account);
        let mut tries = 0;
        let settle = || {
            tries += 1;
            store.settle(account, &unit, settlement.clone(), changes.clone())
        };
        match retry_while_unavailable(worker, settle).await {
            // An earlier try was committed and its answer was lost. (Or another process erased the event between the tries.)
            Err(StoreError::NotPending) if tries > 1 => {}
            settled => settled?,
        }
    }
    failpoint::reach("worker::settled");
    report.publish(worker, begun);
    Ok(AttemptEnd { head: begun.seq, end, links: links(worker, &changes) })
}

/// The attempt ends without a settlement. The store will refuse the same settlement again, so the next attempt, which may call Refersion,
/// waits for the longest backoff.
fn end_unsettled(worker: &Worker, begun: &Begun, error: &StoreError) -> AttemptEnd {
    let due = match error {
        StoreError::Closed => None,
        StoreError::NotOwner => {
            tracing::info!(account = %worker.0.settings.account, seq = %begun.seq, event.id = %begun.id,
                "another process owns the account by now and delivers this event");
            None
        }
        error => {
            tracing::error!(account = %worker.0.settings.account, seq = %begun.seq, event.id = %begun.id, %error,
                "the store refuses the settlement of an event; it will be tried again");
            Some(worker.now().after(worker.delivery().limits.backoff.max))
        }
    };
    AttemptEnd { head: begun.seq, end: End::Interrupted { due }, links: Vec::new() }
}

impl DeliveryRun<'_> {
    /// Its events as the store knows them.
    pub(super) fn unit(&self) -> Unit {
        let followers = self.followers().iter().map(|follower| follower.seq).collect();
        Unit { head: self.begun.seq, followers }
    }
}
