//! One attempt at one unit of events: map the bodies again, coalesce, make the calls of the plan, settle.
//!
//! In: the events that the store began. Out: the end of the attempt, for the scheduler. Bodies are mapped again because a corrected rule
//! applies to pending events. Calls are made at least once, not exactly once; the invariants make a repeat harmless. Invariants: a `new`,
//! and a call for several events together, is marked in the store before it is sent; after every reply, progress and learned links are
//! saved before the next call, so that after a crash only the remaining calls are made; a panic counts as a failed attempt. Deliberately
//! absent: the decision which call comes next ([`crate::delivery::step`]).

use super::Worker;
use super::dispatcher::AnnouncedCall;
use super::learn::Link;
use super::remember::{self, UserTraits};
use super::run_loop::STORE_PAUSE;
use super::settlement::{
    DeliveryRun, Verdict, dead_letter, give_up_expired, panicked, retry_coalesced_rejection, verdict,
};
use crate::delivery::{self, Call, Coalesced, PermanentFailure, PlanInput, PlanState, RejectedValues, Reply, Step};
use crate::domain::{AffiliateKey, Seq, Timestamp, UserKey};
use crate::failpoint;
use crate::mapping::{self, Identify, Intent};
use crate::scheduling::{End, Unit};
use crate::segment::{Event, EventKind};
use crate::store::{AffiliateChanges, Begun, KeptTraits, StoreError, TraitsChange};
use crate::telemetry::traces::{Span, SpanKind, TraceContext};
use futures_util::FutureExt;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::time::Duration;

/// The longest time between the reply that shows the status of an affiliate and a call that rests on it, unless the rate of requests is so
/// low that none could be sent in time. The merchant may decide otherwise meanwhile.
const MAX_STATUS_AGE: Duration = Duration::from_secs(10);

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
    let body = std::mem::replace(&mut begun.body, Ok(Vec::new()));
    let verdict = match body.map_err(PermanentFailure::Corrupt).and_then(|body| parse(worker, &body, begun.received_at))
    {
        Ok(head) => {
            drop_placeholder_user_key(begun, &head);
            let followers = parse_followers(worker, begun);
            let (traits, head) =
                remember::read(worker, begun, &head).map_or((None, head), |(traits, head)| (Some(traits), head));
            let trace = span.as_ref().map(Span::context);
            deliver(worker, begun, (&head, traits.as_ref()), followers, announced, trace).await?
        }
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

/// Drops a `userId` that was accepted as a key and is a placeholder by now.
fn drop_placeholder_user_key(begun: &mut Begun, head: &Intent) {
    let user = match head {
        Intent::Identify(Identify { user, .. }) | Intent::Delete { user, .. } => user,
        Intent::Nothing(_) => return,
    };
    if user.user_id.is_none() {
        begun.user_keys.retain(|key| !matches!(key, UserKey::UserId(_)));
        begun.memory.by_user_id = None;
        begun.memory.traits = None;
    }
}

/// The attempt has panicked, which is a bug: it is settled as a failed one. If that panics as well, it cannot be counted.
async fn settle_panicked(worker: &Worker, begun: &Begun) -> Result<AttemptEnd, StoreError> {
    let settled = AssertUnwindSafe(async { settle(worker, begun, panicked(worker, begun)).await }).catch_unwind().await;
    settled.unwrap_or_else(|_| Err(StoreError::Fatal("settling an event panicked, which is a bug".to_owned())))
}

fn parse(worker: &Worker, body: &[u8], received_at: Timestamp) -> Result<Intent, PermanentFailure> {
    let malformed = |error: &dyn std::fmt::Display| PermanentFailure::Malformed(error.to_string());
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    let event = Event::parse(text).map_err(|error| malformed(&error))?;
    if let EventKind::Unsupported(kind) = &event.kind {
        return Err(PermanentFailure::Malformed(format!("unsupported event type {kind}")));
    }
    let intent = mapping::map(&event, &worker.delivery().rules, received_at).intent;
    intent.map(|intent| intent.carried_out_at(worker.now())).map_err(PermanentFailure::Unmappable)
}

/// The followers that may be coalesced with the head, up to the first that cannot be parsed; the others are dropped from `begun`. A panic,
/// which is a bug, counts as such a failure: it is the follower's own failure once the follower is the head, and not this head's.
fn parse_followers(worker: &Worker, begun: &mut Begun) -> Vec<Intent> {
    let mut as_before = begun.progress.coalesced.map_or(usize::MAX, |events| events.saturating_sub(1));
    if begun.progress.rejected_values != RejectedValues::default() {
        as_before = 0; // values are left out of the head alone
    }
    let bodies = begun.followers.iter_mut().map(|follower| (std::mem::take(&mut follower.body), follower.received_at));
    let parse = |(body, received_at): (Vec<u8>, Timestamp)| {
        let parsed = catch_unwind(AssertUnwindSafe(|| {
            failpoint::reach("worker::parsing_follower");
            parse(worker, &body, received_at)
        }));
        parsed.ok()?.ok()
    };
    let parsed: Vec<Intent> = bodies.take(as_before).map_while(parse).collect();
    begun.followers.truncate(parsed.len());
    parsed
}

/// Coalesces the unit, and runs the plan to its end. As long as the end does not hold for each event, it bisects the unit and runs again.
/// Err: the store rejects the progress.
async fn deliver(
    worker: &Worker,
    begun: &Begun,
    (head, traits): (&Intent, Option<&UserTraits>),
    mut followers: Vec<Intent>,
    announced: AnnouncedCall,
    trace: Option<TraceContext>,
) -> Result<Verdict, StoreError> {
    let settings = worker.delivery();
    let custom_fields = settings.rules.custom_field_ids();
    let (policy, hash, account) = (settings.policy, worker.0.store.hash_key(), &worker.0.settings.account);
    let mut coalesced = delivery::coalesce(&begun.memory, policy, head, &followers);
    let started = |coalesced: &Coalesced<'_>, progress, interrupted| {
        let progress = coalesced.progress(progress);
        let mut state = PlanState::new(&coalesced.intent, policy, begun.memory.clone(), progress, interrupted);
        state.supersede(hash, policy, &coalesced.superseded);
        state
    };
    let mut state = started(&coalesced, begun.progress.clone(), begun.interrupted);
    state.progress.may_have_taken_effect |= begun.interrupted || begun.failures > 0;
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
            let (end, change) = match traits {
                Some(traits) => traits.end(worker, end),
                None => (end, None),
            };
            let mut verdict = verdict(worker, &run, &state, end);
            verdict.changes.traits = change;
            return Ok(verdict);
        };
        followers.truncate(fewer);
        let smaller = delivery::coalesce(&begun.memory, policy, head, &followers);
        state.progress = coalesced.progress(state.progress);
        if coalesced.cancelled > 0 {
            state = started(&smaller, state.progress, false);
        }
        coalesced = smaller;
    }
}

/// Runs the plan to its end, or to a call that cannot be sent now. Err: the store rejects the progress.
async fn run_plan(
    worker: &Worker,
    run: &mut DeliveryRun<'_>,
    state: &mut PlanState,
    announced: &mut Option<AnnouncedCall>,
) -> Result<Step, StoreError> {
    let mut replied: Option<(Arc<Call>, Reply)> = None;
    let mut first = true;
    loop {
        let step = match replied.take() {
            Some((call, reply)) => delivery::step(&run.input, state, Some((&call, reply))),
            None => delivery::step(&run.input, state, None),
        };
        let call = match step {
            Step::Next(_) | Step::Recall(_) if !join_found_affiliate(worker, run.begun.seq, state, first) => {
                return Ok(delivery::on_affiliate_in_use(state));
            }
            Step::Next(call) => Arc::new(call),
            Step::Recall(code) => {
                let (store, account) = (&worker.0.store, &worker.0.settings.account);
                match retry_while_unavailable(worker, || store.recall(account, &code, &run.begun.user_keys)).await {
                    Ok(recalled) => delivery::on_recalled(&run.input, state, recalled),
                    Err(StoreError::Corrupt(part)) => return Ok(Step::Dead(PermanentFailure::Corrupt(part))),
                    Err(error) => return Err(error),
                }
                continue;
            }
            end => return Ok(end),
        };
        if !first || run.needs_mark(&call, state) {
            save_progress(worker, run, state).await?;
        }
        let read_at = run.status_read_at.filter(|_| delivery::rests_on_status(&run.input, &call));
        let not_after = read_at.map(|at| at.after(max_status_age(worker)));
        let Begun { seq, failures, .. } = run.begun;
        let span = Span::child_of(run.trace, call.operation(), SpanKind::Client);
        let replied_in = worker.call(Arc::clone(&call), *seq, *failures > 0, not_after, announced.take()).await;
        end_call_span(span, replied_in.as_ref().map(|(reply, _)| reply));
        let Some((reply, took)) = replied_in else {
            return Ok(delivery::on_not_sent(state, &call));
        };
        run.in_flight_for += took;
        first = false;
        if matches!(reply, Reply::Affiliate(_) | Reply::Created { .. }) {
            run.status_read_at = Some(worker.now());
        }
        replied = Some((call, reply));
    }
}

/// The age at which a status is read again. Two requests can begin within it, or an event that sets one would never end.
fn max_status_age(worker: &Worker) -> Duration {
    let interval = |rate: f64| Duration::try_from_secs_f64(2.0 / rate).unwrap_or(Duration::MAX);
    worker.health().snapshot().requests_per_second.map_or(MAX_STATUS_AGE, |rate| MAX_STATUS_AGE.max(interval(rate)))
}

/// Merges the lane of this event with the one of the affiliate that a search has found, if there is one. Returns whether the affiliate may
/// be read from the store and changed: no other delivery that is about it is in flight, and no earlier event about it is pending. If not,
/// this event is handed back and runs after these, so that each begins with what the others have stored. The scheduler does not know what
/// an earlier attempt has found, so the first step asks for that, too.
fn join_found_affiliate(worker: &Worker, head: Seq, state: &PlanState, first: bool) -> bool {
    let join = |code| worker.0.signals.scheduler().join_affiliate(head, worker.affiliate_key(code));
    delivery::found_affiliate(state, first).is_none_or(join)
}

/// Ends the span of a call, which includes the wait for a permit.
fn end_call_span(span: Option<Span>, reply: Option<&Reply>) {
    let Some(mut span) = span else { return };
    span.text("reply", reply.map_or("not_sent", Reply::name));
    if let Some(Reply::Unavailable(failure) | Reply::Lost(failure)) = reply {
        span.fail(&failure.what);
    }
    span.end();
}

async fn save_progress(worker: &Worker, run: &mut DeliveryRun<'_>, state: &PlanState) -> Result<(), StoreError> {
    let (account, unit) = (&worker.0.settings.account, run.unit());
    let (changes, progress) = (run.changes(state), run.progress(state));
    let links = links(worker, &changes);
    worker.link(&links); // before another delivery can read the affiliate: see `join_found_affiliate`
    retry_while_unavailable(worker, || worker.0.store.save_progress(account, &unit, &progress, changes.clone()))
        .await?;
    run.marked = Some(run.coalesced.events);
    worker.link(&links); // again, for entries that were fed meanwhile
    worker.0.signals.scheduler().mark(unit.head, &unit.followers);
    failpoint::reach("worker::progress_saved");
    Ok(())
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

fn links(worker: &Worker, changes: &AffiliateChanges) -> Vec<Link> {
    let affiliates = changes.remember.iter().map(|remember| worker.link_of(remember));
    // Both keys lead to the remembered traits: a later event may have only one of them.
    let kept = match &changes.traits {
        Some(TraitsChange::Keep(KeptTraits { user, email: Some(email), .. })) => {
            Some((vec![*user, *email], AffiliateKey(*user.bytes())))
        }
        _ => None,
    };
    affiliates.chain(kept).collect()
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

/// Repeats a request to the store until it succeeds: the result of a call must not be lost because a disk was full for a while. Gives up if
/// the store is closed, or refuses this very request.
async fn retry_while_unavailable<F, W, T>(worker: &Worker, mut request: F) -> Result<T, StoreError>
where
    F: FnMut() -> W,
    W: Future<Output = Result<T, StoreError>>,
{
    loop {
        match request().await {
            Err(StoreError::Transient(error)) => {
                tracing::debug!(account = %worker.0.settings.account, error, "the store is unavailable; trying again");
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
