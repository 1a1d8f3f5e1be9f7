//! Carrying out one claimed event: map it anew, make the calls the plan asks for, settle.
//!
//! The body is mapped again because a corrected rule should apply to what waits. Before every call but the first, progress
//! and memory are written down, so that a crash between two calls leaves only the remaining ones.

use super::{STORE_PAUSE, Worker};
use crate::delivery::{self, Call, Case, Death, Known, Memory, Reply, Round, State, Step, Trouble};
use crate::domain::{AffiliateCode, Email, Field, Profile, UserKey};
use crate::failpoint;
use crate::mapping::{self, Intent};
use crate::notice::Ended;
use crate::queue::{Attempt, Change, Claimed, QueueError, Remember, Settlement};
use crate::segment::{self, Kind};

/// What a claimed event is about to become.
struct Verdict {
    settlement: Settlement,
    change: Change,
    tell: Option<Ended>,
}

/// Carries out `claimed` and settles it.
pub(super) async fn carry(worker: &Worker, claimed: Claimed, round: Round) {
    failpoint::step("worker::claimed");
    let verdict = match understand(worker, &claimed.body) {
        Ok(intent) => deliver(worker, &claimed, &intent, round).await,
        Err(death) => Some(buried(worker, &claimed, death, Change::default())),
    };
    let Some(verdict) = verdict else { return };
    let ticket = &claimed.ticket;
    failpoint::step("worker::settling");
    let settled =
        insist(worker, || worker.queue.settle(ticket, verdict.settlement.clone(), verdict.change.clone())).await;
    failpoint::step("worker::settled");
    if let (Ok(()), Some(ended)) = (settled, verdict.tell) {
        worker.notice.ended(ticket.id, ended);
    }
}

fn understand(worker: &Worker, body: &[u8]) -> Result<Intent, Death> {
    let malformed = |error: &dyn std::fmt::Display| Death::Malformed(error.to_string());
    let text = std::str::from_utf8(body).map_err(|error| malformed(&error))?;
    let event = segment::parse(text).map_err(|error| malformed(&error))?;
    if let Kind::Unsupported(kind) = &event.kind {
        return Err(Death::Malformed(format!("unsupported event type {kind}")));
    }
    mapping::map(&event, &worker.settings.rules).intent.map_err(Death::Unmappable)
}

/// Walks the plan to its end. `None`: the lease was lost, and somebody else has the event.
async fn deliver(worker: &Worker, claimed: &Claimed, intent: &Intent, round: Round) -> Option<Verdict> {
    let custom_fields = worker.settings.rules.custom_field_ids();
    let (policy, hash) = (worker.settings.policy, worker.queue.hash_key());
    let case = Case { intent, policy, hash, custom_fields: &custom_fields };
    let mut state = State::new(intent, claimed.memory.clone(), claimed.progress.clone(), claimed.interrupted);
    let mut heard: Option<(Call, Reply)> = None;
    loop {
        let first = heard.is_none();
        let step = delivery::step(&case, &mut state, heard.as_ref().map(|(call, reply)| (call, reply.clone())));
        let Step::Next(call) = step else { return Some(judge(worker, claimed, &case, state, step)) };
        if worker.notice.is_draining() || worker.gate().is_shut(worker.now()) {
            return Some(handed_back(claimed, &case, state, None));
        }
        if !first {
            let change = change(claimed, &case, &state);
            let until = worker.now().after(worker.settings.lease);
            let (ticket, progress) = (&claimed.ticket, &state.progress);
            insist(worker, || worker.queue.checkpoint(ticket, progress, change.clone(), until)).await.ok()?;
            failpoint::step("worker::checkpointed");
        }
        failpoint::step("worker::calling");
        let reply = worker.settings.client.call(&call).await;
        failpoint::step("worker::answered");
        tracing::debug!(
            seq = claimed.ticket.seq,
            operation = call.operation(),
            reply = kind(&reply),
            "called Refersion"
        );
        worker.heard(&reply, claimed.ticket.seq, round);
        heard = Some((call, reply));
    }
}

/// A reply's name for the log: what it holds may be personal.
fn kind(reply: &Reply) -> &'static str {
    match reply {
        Reply::Created { .. } => "created",
        Reply::Page { .. } => "page",
        Reply::Affiliate(_) => "affiliate",
        Reply::NotFound => "not_found",
        Reply::Changed => "changed",
        Reply::NotChanged => "not_changed",
        Reply::Refused(_) => "refused",
        Reply::Unauthorized => "unauthorized",
        Reply::RateLimited { .. } => "rate_limited",
        Reply::Unavailable { .. } => "unavailable",
        Reply::Lost { .. } => "lost",
    }
}

/// Turns the plan's verdict into a settlement.
fn judge(worker: &Worker, claimed: &Claimed, case: &Case<'_>, state: State, step: Step) -> Verdict {
    let seq = claimed.ticket.seq;
    match step {
        Step::Done(outcome) => {
            tracing::info!(seq, event = %claimed.ticket.id, "{outcome}");
            let mut change = change(claimed, case, &state);
            if matches!(case.intent, Intent::Delete { .. }) {
                change.erase = erased(claimed, &change.forget);
            }
            Verdict { settlement: Settlement::Done, change, tell: Some(Ended::Well(outcome)) }
        }
        Step::Dead(death) => buried(worker, claimed, death, change(claimed, case, &state)),
        Step::Retry(trouble) if trouble.pauses_account => handed_back(claimed, case, state, None),
        Step::Retry(trouble) => again(worker, claimed, case, state, &trouble),
        Step::Halt | Step::Next(_) => {
            worker.halt();
            handed_back(claimed, case, state, Some(Ended::KeyRefused))
        }
    }
}

fn handed_back(claimed: &Claimed, case: &Case<'_>, state: State, tell: Option<Ended>) -> Verdict {
    let change = change(claimed, case, &state);
    Verdict { settlement: Settlement::HandBack { progress: state.progress }, change, tell }
}

fn again(worker: &Worker, claimed: &Claimed, case: &Case<'_>, state: State, trouble: &Trouble) -> Verdict {
    let (seq, now) = (claimed.ticket.seq, worker.now());
    let failing_since = claimed.failing_since.unwrap_or(now);
    let change = change(claimed, case, &state);
    if now.since(failing_since) > worker.settings.max_age {
        return buried(worker, claimed, Death::Expired(trouble.what.clone()), change);
    }
    let failures = claimed.failures.saturating_add(1);
    let wait = worker.settings.backoff.wait(failures, rand::random(), trouble.retry_after);
    tracing::warn!(seq, event = %claimed.ticket.id, failures, ?wait, "{}; will try again", trouble.what);
    let attempt = Attempt { at: now, what: trouble.what.clone() };
    let (at, progress) = (now.after(wait), state.progress);
    let settlement = Settlement::Retry { at, progress, failures, failing_since, attempt };
    Verdict { settlement, change, tell: None }
}

fn buried(worker: &Worker, claimed: &Claimed, death: Death, change: Change) -> Verdict {
    tracing::error!(seq = claimed.ticket.seq, event = %claimed.ticket.id, code = death.code(), "dead letter: {death}");
    let settlement = Settlement::Dead { code: death.code(), reason: death.to_string(), at: worker.now() };
    Verdict { settlement, change, tell: Some(Ended::Dead(death)) }
}

/// The keys of a user who was deleted. One that leads to an affiliate the delete was not about is not theirs: had it been
/// forgotten, no later delete could find that affiliate.
fn erased(claimed: &Claimed, forgotten: &[AffiliateCode]) -> Vec<UserKey> {
    let Memory { by_user_id, by_email } = &claimed.memory;
    let theirs = |key: &&UserKey| {
        let leads_to = if matches!(key, UserKey::UserId(_)) { by_user_id } else { by_email };
        leads_to.as_ref().is_none_or(|known| forgotten.contains(&known.code))
    };
    claimed.keys.iter().filter(theirs).copied().collect()
}

/// What there is to remember and to forget by now.
fn change(claimed: &Claimed, case: &Case<'_>, state: &State) -> Change {
    let remember = match (case.intent, &state.known) {
        (Intent::Identify(wanted), Some(known)) => remember(claimed, case, known, wanted.user.email.as_ref()),
        _ => None,
    };
    Change { remember, forget: state.forgotten.clone(), erase: Vec::new() }
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
                tracing::error!(what, account = %worker.settings.account, "cannot write to the store; trying again");
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
