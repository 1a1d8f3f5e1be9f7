//! Identify: bring one affiliate to what the event says, creating it where that is allowed.
//!
//! Known and nothing changed: no call. Known: `edit` of what changed, then the status an audience demands. Unknown:
//! `new`; "taken" means that it exists: `search`, `get`, then `edit` if `DELIVERY_ON_EXISTING` allows it or an
//! unanswered `new` created it. An affiliate that is found `DISABLED` or `DENIED` is left alone, and not remembered:
//! the merchant may change that again.

use super::outcome::{Action, Ignored, Outcome, PermanentFailure, Step, TransientFailure};
use super::read_back;
use super::search::{self, Search};
use super::{
    Affiliate, Call, Done, Found, Identifier, Known, OnExisting, Origin, PlanInput, PlanState, Progress, Rejection,
    Reply, Stage,
};
use crate::domain::{AffiliateCode, AffiliateStatus, Email, Profile, SentAttributes};
use crate::mapping::{Creation, Identify};

/// The next step, as decided by what is known.
pub(super) fn decide(input: &PlanInput<'_>, wanted: &Identify, state: &PlanState) -> Step {
    match &state.progress.stage {
        Stage::Searching { page, .. } => match &wanted.user.email {
            Some(email) => Step::Next(Call::Search { email: email.clone(), page: *page }),
            None => Step::Dead(PermanentFailure::Unmappable(crate::mapping::MappingError::MissingEmail)),
        },
        Stage::Found(code) => Step::Next(Call::Get(Identifier::Code(code.clone()))),
        Stage::Start | Stage::CheckEdit | Stage::CheckStatus => match &state.known {
            Some(known) => update(input, wanted, known, &state.progress),
            None => create(wanted),
        },
    }
}

fn create(wanted: &Identify) -> Step {
    match &wanted.creation {
        Creation::Allowed(new) => Step::Next(Call::New(new.clone())),
        Creation::Skipped(reason) => Step::Done(Outcome::Ignored(Ignored::Mapping(reason.clone()))),
        Creation::Invalid(refusal) => Step::Dead(PermanentFailure::Unmappable(refusal.clone())),
    }
}

fn update(input: &PlanInput<'_>, wanted: &Identify, known: &Known, progress: &Progress) -> Step {
    if known.origin == Origin::Found && input.policy.on_existing == OnExisting::Ignore {
        return Step::Done(Outcome::Ignored(Ignored::ExistedBefore(known.code.clone())));
    }
    let changes = known.sent.changes(input.hash, &wanted.profile);
    let status = wanted.status.filter(|status| !known.sent.has_status(input.hash, *status));
    if changes.is_empty() && status.is_none() {
        return done(progress, &known.code);
    }
    match (known.id, status) {
        (None, _) => Step::Next(Call::Get(Identifier::Code(known.code.clone()))),
        (Some(id), _) if matches!(progress.stage, Stage::CheckEdit | Stage::CheckStatus) => {
            Step::Next(Call::Get(Identifier::Id(id)))
        }
        (Some(id), Some(status)) if changes.is_empty() => Step::Next(Call::SetStatus { id, status }),
        (Some(id), _) => Step::Next(Call::Edit { id, changes }),
    }
}

fn done(progress: &Progress, code: &AffiliateCode) -> Step {
    let action = match progress.done {
        Done::Created => Action::Created,
        Done::Updated => Action::Updated,
        Done::Nothing | Done::Anonymized => Action::Unchanged,
    };
    Step::Done(Outcome::Delivered { action, code: Some(code.clone()) })
}

/// Handles the reply to `call`: changes the state, or ends the delivery.
pub(super) fn on_reply(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    call: &Call,
    reply: Reply,
) -> Option<Step> {
    match (call, reply) {
        (Call::New(new), Reply::Created { code, id }) => {
            let mut sent = SentAttributes::default();
            sent.record_all(input.hash, &new.profile, wanted.time.at());
            sent.record_status(input.hash, new.status, wanted.time.at());
            state.record_affiliate(Known { code, id, origin: Origin::Created, sent });
            state.progress.done = Done::Created;
            None
        }
        (Call::New(_), Reply::Rejected(Rejection::EmailTaken)) => {
            state.progress.stage = Stage::Searching { page: 1, seen: 0 };
            None
        }
        (Call::Search { email, .. }, reply) => on_search(input, wanted, state, email, reply, call),
        (Call::Get(Identifier::Code(code)), Reply::Affiliate(affiliate)) => {
            on_details(input, wanted, state, code, &affiliate)
        }
        (Call::Get(Identifier::Id(_)), Reply::Affiliate(affiliate)) => on_read_back(input, wanted, state, &affiliate),
        (Call::Get(_), Reply::NotFound) => on_not_found(state),
        (Call::Edit { changes, .. }, Reply::Changed) => {
            on_edited(input, wanted, state, changes);
            None
        }
        (Call::Edit { .. }, Reply::NotChanged | Reply::NotFound) => {
            state.progress.stage = Stage::CheckEdit;
            None
        }
        (Call::Edit { .. }, Reply::Rejected(Rejection::EmailTaken)) => Some(Step::Dead(PermanentFailure::EmailTaken)),
        (Call::SetStatus { status, .. }, Reply::Changed) => {
            on_status_changed(input, wanted, state, *status);
            None
        }
        (Call::SetStatus { .. }, Reply::NotChanged | Reply::NotFound) => {
            state.progress.stage = Stage::CheckStatus;
            None
        }
        _ => Some(Step::unexpected(call)),
    }
}

fn on_edited(input: &PlanInput<'_>, wanted: &Identify, state: &mut PlanState, changes: &Profile) {
    if let Some(known) = &mut state.known {
        known.sent.record_all(input.hash, changes, wanted.time.at());
    }
    mark_updated(state);
}

fn on_status_changed(input: &PlanInput<'_>, wanted: &Identify, state: &mut PlanState, status: AffiliateStatus) {
    if let Some(known) = &mut state.known {
        known.sent.record_status(input.hash, status, wanted.time.at());
    }
    mark_updated(state);
}

fn mark_updated(state: &mut PlanState) {
    state.progress.stage = Stage::Start;
    if state.progress.done == Done::Nothing {
        state.progress.done = Done::Updated;
    }
}

fn on_search(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    email: &Email,
    reply: Reply,
    call: &Call,
) -> Option<Step> {
    match search::on_reply(state, call, reply) {
        Search::Found(found) => on_found(input, wanted, state, email, found),
        Search::NotFound => {
            state.progress.stage = Stage::Start;
            Some(Step::Retry(TransientFailure::new(
                "Refersion says the e-mail is taken, but its search does not find it",
            )))
        }
        Search::Unfinished(step) => step,
    }
}

/// An affiliate has the e-mail. It existed before unless an earlier `new` was not answered: then what `get` shows
/// decides. If existing affiliates are ignored, and it is certain that this is one, `get` is spared.
fn on_found(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    email: &Email,
    found: Found,
) -> Option<Step> {
    if let Some(step) = left_alone(&found.code, found.status) {
        return Some(step);
    }
    if input.policy.on_existing == OnExisting::Ignore && state.progress.unanswered_new.is_none() {
        let sent = read_back::email(input, wanted, email);
        state.record_affiliate(Known { code: found.code, id: None, origin: Origin::Found, sent });
    } else {
        state.progress.stage = Stage::Found(found.code);
    }
    None
}

fn left_alone(code: &AffiliateCode, status: Option<AffiliateStatus>) -> Option<Step> {
    let status = status.filter(|status| matches!(status, AffiliateStatus::Disabled | AffiliateStatus::Denied))?;
    Some(Step::Done(Outcome::Ignored(Ignored::LeftAlone { code: code.clone(), status })))
}

/// `get` showed an affiliate that was found or created: its numeric id, what need not be sent again, and, if a `new`
/// was not answered, whether that created it.
fn on_details(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    code: &AffiliateCode,
    affiliate: &Affiliate,
) -> Option<Step> {
    state.progress.stage = Stage::Start;
    if let Some(known) = &mut state.known {
        known.id = Some(affiliate.id);
    }
    if let Some(step) = left_alone(code, affiliate.status) {
        return Some(step);
    }
    if state.known.is_some() {
        return None;
    }
    let unanswered = state.progress.unanswered_new.as_ref();
    let origin = if unanswered.is_some_and(|new| new.created(input.hash, &affiliate.profile)) {
        state.progress.done = Done::Created;
        Origin::Created
    } else {
        Origin::Found
    };
    state.record_affiliate(Known {
        code: code.clone(),
        id: Some(affiliate.id),
        origin,
        sent: read_back::fingerprint(input, wanted, affiliate),
    });
    None
}

/// Refersion does not find the affiliate. If it was only remembered, it is forgotten. If this event created or found
/// it, Refersion needs time to show it: creating another one would not help.
fn on_not_found(state: &mut PlanState) -> Option<Step> {
    if state.progress.met || matches!(state.progress.stage, Stage::Found(_)) {
        state.progress.stage = Stage::Start;
        return Some(Step::Retry(TransientFailure::new(
            "Refersion does not find an affiliate that it named a moment ago",
        )));
    }
    state.forget();
    None
}

/// The read-back after "not changed", which may mean that the affiliate was as wanted already, that it does not exist,
/// or that the edit failed. `get` tells these apart for the fields that it shows; the others are taken to be as wanted.
fn on_read_back(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    affiliate: &Affiliate,
) -> Option<Step> {
    let known = state.known.as_mut()?;
    let unsent = known.sent.changes(input.hash, &wanted.profile);
    if state.progress.stage == Stage::CheckStatus {
        return on_status_read_back(input, wanted, state, affiliate.status);
    }
    let failed = read_back::differs(affiliate, &unsent);
    let alone = left_alone(&known.code, affiliate.status);
    if !failed.is_empty() {
        let names = failed.iter().map(|(attribute, _)| attribute.to_string()).collect();
        return alone.or(Some(Step::Dead(PermanentFailure::NotApplied(names))));
    }
    if alone.is_some() && wanted.status.is_none() {
        return alone;
    }
    known.sent.record_all(input.hash, &unsent, wanted.time.at());
    state.progress.stage = Stage::Start;
    None
}

fn on_status_read_back(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    seen: Option<AffiliateStatus>,
) -> Option<Step> {
    state.progress.stage = Stage::Start;
    match wanted.status {
        Some(status) if seen == Some(status) => {
            let known = state.known.as_mut()?;
            known.sent.record_status(input.hash, status, wanted.time.at());
            None
        }
        _ => Some(Step::Retry(TransientFailure::new(
            "Refersion did not change the affiliate's status, and gave no reason",
        ))),
    }
}
