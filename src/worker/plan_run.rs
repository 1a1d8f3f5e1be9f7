//! The run of a plan: its calls, one after the other, to its end or to a call that cannot be sent now.
//!
//! In: the run and the state of its plan. Out: the last step, and the changed state. Invariants: a `new`, and a call for several events
//! together, is marked in the store before it is sent; after every reply, progress and learned links are saved before the next call, so
//! that after a crash only the remaining calls are made. Deliberately absent: the decision which call comes next
//! ([`crate::delivery::step`]).

use super::Worker;
use super::dispatcher::AnnouncedCall;
use super::learn::Link;
use super::run_loop::STORE_PAUSE;
use super::settlement::DeliveryRun;
use crate::delivery::{self, Call, PermanentFailure, PlanState, Reply, Step};
use crate::domain::{AffiliateKey, Seq};
use crate::failpoint;
use crate::store::{AffiliateChanges, Begun, KeptTraits, StoreError, TraitsChange};
use crate::telemetry::traces::{Span, SpanKind};
use std::sync::Arc;
use std::time::Duration;

/// The longest time between the reply that shows the status of an affiliate and a call that rests on it, unless the rate of requests is so
/// low that none could be sent in time. The merchant may decide otherwise meanwhile.
const MAX_STATUS_AGE: Duration = Duration::from_secs(10);

/// Runs the plan to its end, or to a call that cannot be sent now. Err: the store rejects the progress.
pub(super) async fn run_plan(
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

/// The links that the changes make.
pub(super) fn links(worker: &Worker, changes: &AffiliateChanges) -> Vec<Link> {
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

/// Repeats a request to the store until it succeeds: the result of a call must not be lost because a disk was full for a while. Gives up if
/// the store is closed, or refuses this very request.
pub(super) async fn retry_while_unavailable<F, W, T>(worker: &Worker, mut request: F) -> Result<T, StoreError>
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
