//! Identify: bring one affiliate to what the event states, creating it where that is allowed.
//!
//! Known and nothing changed: no call. Known: `edit` of what changed, without reading the affiliate before; then the status that an
//! audience rule sets, unless the merchant denied or disabled the affiliate, which is read before a status is set. Unknown: `new`; "taken"
//! means that it exists: `search`, what the store remembers of it, else `get`, then `edit` if `DELIVERY_ON_EXISTING` allows it or an
//! unanswered `new` created it. An affiliate that is found `DISABLED` or `DENIED` is left alone, and not remembered: the merchant may
//! change that again. So a merchant's denial always protects the status. It protects the other fields only until the affiliate is
//! remembered: one that is remembered with its id is edited unread, and stays denied. Invariants: a fact that is older than what was sent
//! changes nothing; an affiliate with another owner is not changed by an identify; a value that Refersion rejects costs none of the others,
//! and at most two more calls.

use super::outcome::{Action, Ignored, Outcome, PermanentFailure, Remark, Step, TransientFailure};
use super::rejection::is_optional;
use super::{
    Affiliate, AffiliateAccess, Call, Done, Identifier, Known, OnExisting, OnStale, Origin, PlanInput, PlanState,
    Rejection, Reply, Stage,
};
use super::{existing, read_back, rejection, status};
use crate::domain::{Attribute, Fact, FactTime, Facts, Field, NewAffiliate, SentAttributes, Timestamp};
use crate::mapping::{Creation, Identify, MappingError, Reason};

/// The next step, as decided by what is known.
pub(super) fn decide(input: &PlanInput<'_>, wanted: &Identify, state: &mut PlanState) -> Step {
    if let AffiliateAccess::OtherOwner(code) = &state.access {
        return Step::ignored(Ignored::OtherOwner(code.clone()));
    }
    if state.deleted_since {
        return Step::ignored(Ignored::DeletedSince);
    }
    match (&state.progress.stage, &state.known) {
        (Stage::Searching { page, .. }, _) => match &wanted.user.email {
            Some(email) => Step::Next(Call::Search { email: email.clone(), page: *page }),
            None => Step::Dead(PermanentFailure::Unmappable(MappingError::MissingEmail)),
        },
        (Stage::Found(code), _) => Step::Recall(code.clone()),
        (Stage::FoundUnknown(code) | Stage::Listed(code), _) => Step::Next(Call::Get(Identifier::Code(code.clone()))),
        (_, Some(known)) => update(input, wanted, known.clone(), state),
        (_, None) => create(wanted, state),
    }
}

fn create(wanted: &Identify, state: &PlanState) -> Step {
    match &wanted.creation {
        Creation::Allowed(new) if state.progress.rejected_values.required_only => {
            let profile = new.profile.filtered(|attribute, _| !is_optional(attribute));
            Step::Next(Call::New(NewAffiliate { profile, ..new.clone() }))
        }
        Creation::Allowed(new) => Step::Next(Call::New(new.clone())),
        Creation::Skipped(reason) => Step::ignored(Ignored::Mapping(reason.clone())),
        Creation::Invalid(error) => Step::Dead(PermanentFailure::Unmappable(error.clone())),
    }
}

fn update(input: &PlanInput<'_>, wanted: &Identify, known: Known, state: &mut PlanState) -> Step {
    if wanted.may_only_create && state.progress.done != Done::Created {
        state.known = None; // nothing leads to it that did not before
        return Step::ignored(Ignored::Mapping(Reason::UntrustedProject));
    }
    if known.origin == Origin::Found && input.policy.on_existing == OnExisting::Ignore {
        return Step::ignored(Ignored::ExistedBefore(known.code));
    }
    let current = current(input, wanted, &known, state);
    let changes = current.changes(input.hash, &known.sent);
    let status = status::to_set(input, wanted, &known, state);
    if changes.is_empty() && status.is_none() {
        return done(input, wanted, &current, known, state);
    }
    match (known.id, status) {
        (None, _) if known.is_only_listed() && state.is_known_by_email => {
            state.known = None; // it stays as it is until `get` has shown it
            state.progress.stage = Stage::Listed(known.code.clone());
            Step::Next(Call::Get(Identifier::Code(known.code)))
        }
        (None, _) => Step::Next(Call::Get(Identifier::Code(known.code))),
        (Some(id), _) if matches!(state.progress.stage, Stage::CheckEdit | Stage::CheckStatus | Stage::ReadStatus) => {
            Step::Next(Call::Get(Identifier::Id(id)))
        }
        (Some(id), Some(status)) if changes.is_empty() => status::set(state, id, status),
        (Some(id), _) => Step::Next(Call::Edit { id, changes: changes.profile() }),
    }
}

/// The facts that may replace what was sent of the affiliate.
fn current(input: &PlanInput<'_>, wanted: &Identify, known: &Known, state: &PlanState) -> Facts {
    let by_rule = |attribute: &Attribute| matches!(attribute, Attribute::Custom(_) | Attribute::Field(Field::Offer));
    let rejected = &state.progress.rejected_values;
    let is_current = |Fact { attribute, time, .. }: &Fact| {
        (state.access != AffiliateAccess::RulesOnly || by_rule(attribute))
            && !rejected.excludes(attribute)
            && (input.policy.on_stale == OnStale::Apply || known.sent.accepts(attribute, *time))
    };
    let mut facts = wanted.facts.filtered(is_current);
    let has_created = state.progress.rejected_values.required_only && state.progress.done == Done::Created;
    if let (true, Creation::Allowed(new)) = (has_created, &wanted.creation) {
        let rest = |attribute: &Attribute| {
            let is_editable = matches!(attribute, Attribute::Field(field) if field.is_editable());
            is_editable && is_optional(attribute) && wanted.facts.get(attribute).is_none()
        };
        let time = FactTime::new(Some(Timestamp::OLDEST), wanted.time.received_at());
        let rest = Facts::new(new.profile.filtered(|attribute, _| rest(attribute)), &[], time);
        facts.replace(rest.filtered(is_current));
    }
    facts
}

/// Everything that can be sent was sent. What was stated again is remembered with its newer time, and that a field has no value also
/// where none had to be cleared: an older event may state one.
fn done(input: &PlanInput<'_>, wanted: &Identify, current: &Facts, mut known: Known, state: &mut PlanState) -> Step {
    let progress = &state.progress;
    let is_stale = !wanted.facts.is_empty() && current.is_empty() && wanted.status.is_none();
    current.confirm(input.hash, &mut known.sent);
    // A value that Refersion rejects is not tried with every event.
    let rejected = &progress.rejected_values;
    let at_fault = wanted.facts.filtered(|fact| rejected.blames(&fact.attribute));
    at_fault.newer(&known.sent).record(input.hash, &mut known.sent);
    let left_out = rejected.names();
    status::confirm(input, wanted, &mut known);
    let states_taken_email = current.has_taken_email(input.hash, &known.sent);
    let code = known.code.clone();
    state.known = Some(known);
    let action = match progress.done {
        Done::Created => Action::Created,
        Done::Updated => Action::Updated,
        Done::Nothing | Done::Anonymized => Action::Unchanged,
    };
    let mut remarks = Vec::new();
    // Also with later events that state it: without the remark, their answers would read as if the conflict were solved.
    let is_taken = progress.rejected_values.email_taken || states_taken_email;
    remarks.extend(is_taken.then_some(Remark::EmailTaken));
    remarks.extend((!left_out.is_empty()).then_some(Remark::LeftOut(left_out)));
    match progress.present_status.kept() {
        Some(status) if action == Action::Unchanged && remarks.is_empty() => {
            return Step::ignored(Ignored::LeftAlone { code, status });
        }
        kept => remarks.extend(kept.map(Remark::StatusKept)),
    }
    if is_stale && action == Action::Unchanged && remarks.is_empty() {
        return Step::ignored(Ignored::Stale(code));
    }
    Step::Done(Outcome::Delivered { action, code: Some(code), remarks })
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
        (Call::New(new), Reply::Rejected(Rejection::Other(words))) => rejection::on_new(input, state, call, new, words),
        (Call::Edit { changes, .. }, Reply::Rejected(Rejection::Other(words))) => {
            rejection::on_edit(input, state, call, changes, words)
        }
        (call, Reply::Rejected(Rejection::Other(words))) => Some(Step::rejected(call, words)),
        (Call::New(new), Reply::Created { code, id }) => {
            let sent = sent_with_new(input, wanted, new);
            state.record_affiliate(Known { code, id, origin: Origin::Created, sent });
            state.progress.done = Done::Created;
            None
        }
        (Call::New(_), Reply::Rejected(Rejection::EmailTaken)) => {
            state.progress.stage = Stage::Searching { page: 1, seen: 0 };
            None
        }
        (Call::Search { .. }, reply) => existing::on_search(state, reply, call),
        (Call::Get(Identifier::Code(code)), Reply::Affiliate(affiliate)) => {
            existing::on_details(input, wanted, state, code, &affiliate)
        }
        (Call::Get(Identifier::Id(_)), Reply::Affiliate(affiliate)) => on_read_back(input, wanted, state, &affiliate),
        (Call::Get(_), Reply::NotFound) => on_not_found(state),
        (Call::Edit { changes, .. }, Reply::Changed) => {
            state.record_sent(input, wanted, changes);
            mark_updated(state);
            None
        }
        (Call::Edit { .. }, Reply::NotChanged | Reply::NotFound) => {
            state.progress.stage = Stage::CheckEdit;
            None
        }
        (Call::Edit { changes, .. }, Reply::Rejected(Rejection::EmailTaken)) => {
            rejection::on_email_taken(input, state, changes)
        }
        (Call::SetStatus { .. }, Reply::Changed) => {
            state.progress.status_in_flight = None;
            status::on_changed(input, wanted, state);
            mark_updated(state);
            None
        }
        (Call::SetStatus { .. }, Reply::NotChanged | Reply::NotFound) => {
            state.progress.stage = Stage::CheckStatus;
            None
        }
        _ => Some(Step::unexpected(call)),
    }
}

/// What is remembered of an affiliate that `new` has created: what an event stated with its time, defaults as older than any fact.
fn sent_with_new(input: &PlanInput<'_>, wanted: &Identify, new: &NewAffiliate) -> SentAttributes {
    let mut sent = SentAttributes::default();
    for (attribute, value) in new.profile.iter() {
        let stated = wanted.facts.get(attribute).filter(|fact| fact.value == value);
        sent.record(input.hash, attribute, value, stated.map_or(Timestamp::OLDEST, |fact| fact.time.at()));
    }
    let stated = wanted.status.filter(|wanted| wanted.status == new.status);
    sent.record_status(input.hash, new.status, stated.map_or(Timestamp::OLDEST, |fact| fact.time.at()));
    sent
}

fn mark_updated(state: &mut PlanState) {
    state.progress.stage = Stage::Start;
    if state.progress.done == Done::Nothing {
        state.progress.done = Done::Updated;
    }
}

/// Refersion does not find the affiliate. If it was only remembered, it is forgotten. If this event created or found
/// it, Refersion needs time to show it: creating another one would not help.
fn on_not_found(state: &mut PlanState) -> Option<Step> {
    if state.progress.affiliate_seen || matches!(state.progress.stage, Stage::FoundUnknown(_)) {
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
    if matches!(state.progress.stage, Stage::ReadStatus | Stage::CheckStatus) {
        return status::on_read_back(input, wanted, state, affiliate.status);
    }
    let known = state.known.clone()?;
    let unsent = current(input, wanted, &known, state).changes(input.hash, &known.sent).profile();
    let failed = read_back::differs(affiliate, &unsent);
    status::on_present_status(input, state, affiliate.status);
    if let Some(step) = status::left_alone(&known.code, state.progress.present_status.kept()) {
        return Some(step);
    }
    if !failed.is_empty() {
        let names = failed.iter().map(|(attribute, _)| attribute.to_string()).collect();
        return Some(Step::Dead(PermanentFailure::NotApplied(names)));
    }
    state.record_sent(input, wanted, &unsent);
    state.progress.stage = Stage::Start;
    None
}
