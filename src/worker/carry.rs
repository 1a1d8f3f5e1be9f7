//! Carrying out one claimed event, and with it what waits behind it in its line: map anew, make the calls the plan asks for,
//! settle.
//!
//! Bodies are mapped again because a corrected rule should apply to what waits. Before every call but the first, progress
//! and memory are written down, so that a crash between two calls leaves only the remaining ones. What was coalesced and comes
//! to a dead end is bisected, down to the head alone. What failed is tried again as it was coalesced, and asks alone.

use super::line::Coming;
use super::settle::{Task, Verdict, Walked, buried, given_up, judge, once_more};
use super::{STORE_PAUSE, Worker};
use crate::delivery::{self, Call, Case, Coalesced, PermanentFailure, Reply, State, Step};
use crate::domain::Timestamp;
use crate::failpoint;
use crate::mapping::{self, Intent};
use crate::queue::{Change, Claimed, QueueError};
use crate::segment::{self, Kind};
use std::sync::Arc;

/// Carries out `claimed`, whose lease ends at `until`, and settles it.
pub(super) async fn carry(worker: &Worker, mut claimed: Claimed, until: Timestamp, coming: Coming) {
    failpoint::step("worker::claimed");
    // The bodies go as soon as they are understood: many deliveries may be under way.
    let verdict = match understand(worker, &std::mem::take(&mut claimed.body)) {
        Ok(head) => {
            let behind = understand_behind(worker, &mut claimed);
            deliver(worker, &claimed, &head, behind, until, coming).await
        }
        Err(failure) => {
            drop(coming);
            Some(buried(worker, &claimed, failure, Change::default()))
        }
    };
    let Some(verdict) = verdict else { return };
    let ticket = &claimed.ticket;
    failpoint::step("worker::settling");
    let settling = worker.settling();
    let settled =
        insist(worker, || worker.0.queue.settle(ticket, verdict.settlement.clone(), verdict.change.clone())).await;
    drop(settling);
    failpoint::step("worker::settled");
    if let (Ok(()), Some(ended)) = (settled, verdict.tell) {
        worker.0.notice.ended(ticket.id, ended);
    }
}

fn understand(worker: &Worker, body: &[u8]) -> Result<Intent, PermanentFailure> {
    let malformed = |error: &dyn std::fmt::Display| PermanentFailure::Malformed(error.to_string());
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    let event = segment::parse(text).map_err(|error| malformed(&error))?;
    if let Kind::Unsupported(kind) = &event.kind {
        return Err(PermanentFailure::Malformed(format!("unsupported event type {kind}")));
    }
    mapping::map(&event, &worker.0.settings.rules).intent.map_err(PermanentFailure::Unmappable)
}

/// What waits behind `claimed` and may be coalesced with it, as far as it can be understood; the rest is let go.
fn understand_behind(worker: &Worker, claimed: &mut Claimed) -> Vec<Intent> {
    let as_before = claimed.progress.coalesced.map_or(usize::MAX, |coalesced| coalesced.saturating_sub(1));
    let bodies = claimed.behind.iter_mut().map(|behind| std::mem::take(&mut behind.body));
    let understood: Vec<Intent> = bodies.take(as_before).map_while(|body| understand(worker, &body).ok()).collect();
    claimed.behind.truncate(understood.len());
    understood
}

/// Coalesces the line, walks the plan to its end, and bisects as long as that is no end for each part. `None`: the lease was
/// lost, and somebody else has the event.
async fn deliver(
    worker: &Worker,
    claimed: &Claimed,
    head: &Intent,
    mut behind: Vec<Intent>,
    mut until: Timestamp,
    coming: Coming,
) -> Option<Verdict> {
    let custom_fields = worker.0.settings.rules.custom_field_ids();
    let (policy, hash) = (worker.0.settings.policy, worker.0.queue.hash_key());
    let mut coalesced = delivery::coalesce(&claimed.memory, head, &behind);
    let begun = |coalesced: &Coalesced<'_>, progress, interrupted| {
        State::new(&coalesced.intent, claimed.memory.clone(), coalesced.progress(progress), interrupted)
    };
    let mut state = begun(&coalesced, claimed.progress.clone(), claimed.interrupted);
    state.progress.unsure |= claimed.interrupted || claimed.failures > 0;
    let mut coming = Some(coming);
    loop {
        let case = Case { intent: &coalesced.intent, policy, hash, custom_fields: &custom_fields };
        let task = Task { claimed, coalesced: &coalesced, case };
        let walked = walk(worker, &task, &mut state, &mut until, &mut coming).await?;
        drop(coming.take());
        let walked = if coalesced.events > 1 { once_more(&mut state, walked) } else { walked };
        let walked = given_up(worker, claimed, walked);
        let fewer = if let Walked::To(step) = &walked { coalesced.bisect(step) } else { None };
        let Some(fewer) = fewer else { return Some(judge(worker, &task, state, walked)) };
        behind.truncate(fewer);
        let less = delivery::coalesce(&claimed.memory, head, &behind);
        state.progress = coalesced.progress(state.progress);
        if coalesced.cancelled > 0 {
            state = begun(&less, state.progress, false);
        }
        coalesced = less;
    }
}

/// Walks the plan until its verdict. `None`: the lease was lost.
async fn walk(
    worker: &Worker,
    task: &Task<'_>,
    state: &mut State,
    until: &mut Timestamp,
    coming: &mut Option<Coming>,
) -> Option<Walked> {
    let Claimed { ticket, failures, .. } = task.claimed;
    let mut heard: Option<(Arc<Call>, Reply)> = None;
    loop {
        let first = heard.is_none();
        let unwritten =
            task.coalesced.events > 1 && first && task.claimed.progress.coalesced != Some(task.coalesced.events);
        let step = match heard.take() {
            Some((call, reply)) => delivery::step(&task.case, state, Some((&call, reply))),
            None => delivery::step(&task.case, state, None),
        };
        let call = match step {
            Step::Next(call) => Arc::new(call),
            step => return Some(Walked::To(step)),
        };
        if !first || unwritten {
            let (change, progress) = (task.change(state), task.progress(state));
            let longer = worker.now().after(worker.0.settings.lease);
            insist(worker, || worker.0.queue.checkpoint(ticket, &progress, change.clone(), longer)).await.ok()?;
            *until = longer;
            failpoint::step("worker::checkpointed");
        }
        let Some(reply) = worker.ask(Arc::clone(&call), ticket.seq, *failures > 0, *until, coming.take()).await else {
            return Some(Walked::Short);
        };
        heard = Some((call, reply));
    }
}

/// Writes to the store until it takes it: what was done at Refersion must not be forgotten because a disk was full for a
/// while. Gives up when the lease is lost or the store is closed.
async fn insist<F, W>(worker: &Worker, mut write: F) -> Result<(), QueueError>
where
    F: FnMut() -> W,
    W: Future<Output = Result<(), QueueError>>,
{
    loop {
        match write().await {
            Err(QueueError::Failed(what)) => {
                tracing::error!(what, account = %worker.0.settings.account, "cannot write to the store; trying again");
                tokio::time::sleep(STORE_PAUSE).await;
            }
            Err(error) => {
                tracing::warn!(%error, "an event could not be settled; it will be taken up again");
                return Err(error);
            }
            Ok(()) => return Ok(()),
        }
    }
}
