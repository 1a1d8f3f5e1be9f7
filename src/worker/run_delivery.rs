//! One attempt at one unit of events: map anew, coalesce, make the calls the plan asks for, settle.
//!
//! In goes what the store began, out comes how the attempt ended, for the scheduler. Bodies are mapped again because a corrected
//! rule applies to what waits. Invariants: a `new`, and what is asked for several events together, is marked in the store before
//! it is sent; after every reply progress and what was learned are saved before anything else is asked, so that after a crash
//! only the remaining calls are made. Deliberately absent: which call comes next ([`crate::delivery::step`]).

use super::Worker;
use super::dispatcher::Deciding;
use super::run_loop::STORE_PAUSE;
use super::settlement::{DeliveryRun, RunResult, Verdict, dead_letter, give_up_expired, retry_refused_group, verdict};
use crate::delivery::{self, Call, Case, Coalesced, PermanentFailure, Reply, State, Step};
use crate::domain::{AffiliateCode, AffiliateKey, Seq, Timestamp, UserKey};
use crate::failpoint;
use crate::mapping::{self, Intent};
use crate::scheduling::{End, Unit};
use crate::segment::{self, Kind};
use crate::store::{AffiliateChanges, Begun, StoreError};
use std::sync::Arc;
use std::time::Duration;

/// How an attempt ended, for the scheduler.
pub(super) struct Ended {
    pub(super) end: End,
    /// What the settlement has linked.
    pub(super) links: Vec<Link>,
}

/// Keys that now are known to lead to one affiliate.
type Link = (Vec<UserKey>, AffiliateKey);

/// Runs one attempt at `begun`, and settles it.
pub(super) async fn run_delivery(worker: Worker, mut begun: Begun, deciding: Deciding) -> Ended {
    failpoint::step("worker::begun");
    let in_flight: Vec<Seq> = begun.seqs().collect();
    let body = std::mem::replace(&mut begun.body, Ok(Vec::new()));
    let verdict =
        match body.map_err(PermanentFailure::Corrupt).and_then(|body| parse(&worker, &body, begun.received_at)) {
            Ok(head) => {
                let followers = parse_followers(&worker, &mut begun);
                deliver(&worker, &begun, &head, followers, deciding).await
            }
            Err(failure) => {
                drop(deciding);
                Ok(dead_letter(&worker, &begun, failure, AffiliateChanges::default()))
            }
        };
    let settled = match verdict {
        Ok(verdict) => settle(&worker, &begun, verdict).await,
        Err(error) => Err(error),
    };
    let ended = settled.unwrap_or_else(|error| end_unsettled(&worker, &begun, &error));
    // What was begun with the head and did not end with it waits as before.
    worker.0.store.release(&in_flight);
    ended
}

fn parse(worker: &Worker, body: &[u8], received_at: Timestamp) -> Result<Intent, PermanentFailure> {
    let malformed = |error: &dyn std::fmt::Display| PermanentFailure::Malformed(error.to_string());
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    let event = segment::parse(text).map_err(|error| malformed(&error))?;
    if let Kind::Unsupported(kind) = &event.kind {
        return Err(PermanentFailure::Malformed(format!("unsupported event type {kind}")));
    }
    mapping::map(&event, &worker.0.settings.rules, received_at).intent.map_err(PermanentFailure::Unmappable)
}

/// The followers that may be coalesced with the head, as far as they can be parsed; the others are dropped from `begun`.
fn parse_followers(worker: &Worker, begun: &mut Begun) -> Vec<Intent> {
    let as_before = begun.progress.coalesced.map_or(usize::MAX, |events| events.saturating_sub(1));
    let bodies = begun.followers.iter_mut().map(|follower| (std::mem::take(&mut follower.body), follower.received_at));
    let parsed: Vec<Intent> = bodies.take(as_before).map_while(|(body, at)| parse(worker, &body, at).ok()).collect();
    begun.followers.truncate(parsed.len());
    parsed
}

/// Coalesces the unit, runs the plan to its end, and bisects the unit as long as that is no end for each of its events. Err: the
/// store does not take the progress.
async fn deliver(
    worker: &Worker,
    begun: &Begun,
    head: &Intent,
    mut followers: Vec<Intent>,
    deciding: Deciding,
) -> Result<Verdict, StoreError> {
    let custom_fields = worker.0.settings.rules.custom_field_ids();
    let (policy, hash) = (worker.0.settings.policy, worker.0.store.hash_key());
    let mut coalesced = delivery::coalesce(&begun.memory, head, &followers);
    let started = |coalesced: &Coalesced<'_>, progress, interrupted| {
        State::new(&coalesced.intent, begun.memory.clone(), coalesced.progress(progress), interrupted)
    };
    let mut state = started(&coalesced, begun.progress.clone(), begun.interrupted);
    state.progress.unsure |= begun.interrupted || begun.failures > 0;
    let (mut deciding, mut marked, mut in_flight_for) = (Some(deciding), None, Duration::ZERO);
    loop {
        let case = Case { intent: &coalesced.intent, policy, hash, custom_fields: &custom_fields };
        let mut run = DeliveryRun { begun, coalesced: &coalesced, case, marked, in_flight_for };
        let result = run_plan(worker, &mut run, &mut state, &mut deciding).await?;
        (marked, in_flight_for) = (run.marked, run.in_flight_for);
        drop(deciding.take());
        let result = if coalesced.events > 1 { retry_refused_group(&mut state, result) } else { result };
        let result = give_up_expired(worker, &run, result);
        let fewer = if let RunResult::Ended(step) = &result { coalesced.bisect(step) } else { None };
        let Some(fewer) = fewer else { return Ok(verdict(worker, &run, state, result)) };
        followers.truncate(fewer);
        let less = delivery::coalesce(&begun.memory, head, &followers);
        state.progress = coalesced.progress(state.progress);
        if coalesced.cancelled > 0 {
            state = started(&less, state.progress, false);
        }
        coalesced = less;
    }
}

/// Runs the plan until it ends, or no call can be made now. Err: the store does not take the progress.
async fn run_plan(
    worker: &Worker,
    run: &mut DeliveryRun<'_>,
    state: &mut State,
    deciding: &mut Option<Deciding>,
) -> Result<RunResult, StoreError> {
    let mut replied: Option<(Arc<Call>, Reply)> = None;
    loop {
        let first = replied.is_none();
        let step = match replied.take() {
            Some((call, reply)) => delivery::step(&run.case, state, Some((&call, reply))),
            None => delivery::step(&run.case, state, None),
        };
        let call = match step {
            Step::Next(call) => Arc::new(call),
            step => return Ok(RunResult::Ended(step)),
        };
        if !first || run.needs_mark(&call, state) {
            save_progress(worker, run, state).await?;
        }
        let Begun { seq, failures, .. } = run.begun;
        let Some((reply, took)) = worker.call(Arc::clone(&call), *seq, *failures > 0, deciding.take()).await else {
            state.progress.new_in_flight = None; // a `new` that was not sent had no effect
            return Ok(RunResult::NotSent);
        };
        run.in_flight_for += took;
        replied = Some((call, reply));
    }
}

async fn save_progress(worker: &Worker, run: &mut DeliveryRun<'_>, state: &State) -> Result<(), StoreError> {
    let (account, unit) = (&worker.0.settings.account, run.unit());
    let (changes, progress) = (run.changes(state), run.progress(state));
    retry_until_stored(worker, || worker.0.store.save_progress(account, &unit, &progress, changes.clone())).await?;
    run.marked = Some(run.coalesced.events);
    if let Some(scheduler) = &mut *worker.0.signals.scheduler() {
        for (keys, affiliate) in links(worker, &changes) {
            scheduler.link(&keys, affiliate);
        }
        scheduler.mark(unit.head, &unit.followers);
    }
    failpoint::step("worker::progress_saved");
    Ok(())
}

async fn settle(worker: &Worker, begun: &Begun, verdict: Verdict) -> Result<Ended, StoreError> {
    failpoint::step("worker::settling");
    let Verdict { unit, settlement, changes, .. } = &verdict;
    let links = links(worker, changes);
    let unchanged = verdict.is_as_begun(begun);
    if !unchanged {
        let _settling = worker.settling();
        let account = &worker.0.settings.account;
        retry_until_stored(worker, || worker.0.store.settle(account, unit, settlement.clone(), changes.clone()))
            .await?;
    }
    failpoint::step("worker::settled");
    let end = verdict.end(worker);
    verdict.report(worker, begun);
    Ok(Ended { end, links })
}

fn links(worker: &Worker, changes: &AffiliateChanges) -> Vec<Link> {
    let affiliate = |code: &AffiliateCode| {
        let account = worker.0.settings.account.as_str();
        AffiliateKey(worker.0.store.hash_key().affiliate(account, &code.0))
    };
    changes.remember.iter().map(|remember| (remember.keys.clone(), affiliate(&remember.known.code))).collect()
}

/// The attempt ends without a settlement. What the store refuses once it will refuse again, so that the next attempt, which may
/// call Refersion, waits as long as any.
fn end_unsettled(worker: &Worker, begun: &Begun, error: &StoreError) -> Ended {
    let due = match error {
        StoreError::Closed => None,
        error => {
            tracing::error!(account = %worker.0.settings.account, seq = %begun.seq, event = %begun.id, %error,
                "the store refuses how an event went on; it will be tried again");
            Some(worker.now().after(worker.0.settings.limits.backoff.max))
        }
    };
    Ended { end: End::Interrupted { due }, links: Vec::new() }
}

/// Writes to the store until it takes it: what was done at Refersion must not be forgotten because a disk was full for a while.
/// Gives up when the store is closed, or refuses this very request.
async fn retry_until_stored<F, W>(worker: &Worker, mut write: F) -> Result<(), StoreError>
where
    F: FnMut() -> W,
    W: Future<Output = Result<(), StoreError>>,
{
    loop {
        match write().await {
            Err(StoreError::Transient(error)) => {
                tracing::debug!(account = %worker.0.settings.account, error, "cannot write to the store; trying again");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            other => return other,
        }
    }
}

impl DeliveryRun<'_> {
    /// Its events as the store knows them.
    pub(super) fn unit(&self) -> Unit {
        let followers = self.followers().iter().map(|follower| follower.seq).collect();
        Unit { head: self.begun.seq, followers }
    }
}
