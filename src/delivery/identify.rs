//! The plan of an identify: one affiliate gets the values that the event states, and is created if that is permitted.
//!
//! Known affiliate, nothing changed: no call. Known affiliate: `edit` of the changed values, without reading the affiliate before; then the
//! status that an audience rule sets. Before a status is set, the affiliate is read, and a denied or disabled one keeps its status. Unknown
//! affiliate: `new`. If the answer is "taken", the affiliate exists: `search`, the record in the store, else `get`, then `edit` if
//! `DELIVERY_ON_EXISTING` permits it or an unanswered `new` created the affiliate. An affiliate that is `DISABLED` or `DENIED` when it is
//! found is left alone and not remembered, because the merchant may change the status again; if it is remembered already without its id, it
//! gets the id and is left alone. So a merchant's denial always protects the status. It protects the other fields only until the affiliate
//! is remembered: an affiliate that is remembered with its id is edited without being read, and stays denied. Invariants: a fact that is
//! older than the value that was sent changes nothing; an identify changes no affiliate with another owner; a value that Refersion rejects
//! does not prevent the other values, and takes at most two more calls, or three if one that only `new` takes is rejected after others.

use super::outcome::{Action, Ignored, PermanentFailure, Remark, Step, Success};
use super::rejection::{is_only_new, is_optional};
use super::status::PresentStatus;
use super::{
    Affiliate, AffiliateAccess, AffiliateRecord, Call, Done, Identifier, OnExisting, OnStale, Origin, PlanInput,
    PlanState, Rejection, Reply, Stage, TransientFailure,
};
use super::{existing, read_back, rejection, status};
use crate::domain::{Attribute, Fact, FactTime, Facts, Field, NewAffiliate, SentAttributes, Timestamp};
use crate::mapping::{Creation, Identify, MappingError, Reason};

/// The next step, by the state of the plan.
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
            let rejected = &state.progress.rejected_values;
            let is_sent = |attribute: &Attribute| {
                !is_optional(attribute) || is_only_new(attribute) && !rejected.excludes(attribute)
            };
            let profile = new.profile.filtered(|attribute, _| is_sent(attribute));
            Step::Next(Call::New(NewAffiliate { profile, ..new.clone() }))
        }
        Creation::Allowed(new) => Step::Next(Call::New(new.clone())),
        Creation::Skipped(reason) => Step::ignored(Ignored::Mapping(reason.clone())),
        Creation::Invalid(error) => Step::Dead(PermanentFailure::Unmappable(error.clone())),
    }
}

fn update(input: &PlanInput<'_>, wanted: &Identify, known: AffiliateRecord, state: &mut PlanState) -> Step {
    if wanted.may_only_create && state.progress.done != Done::Created {
        state.known = None; // no further user key leads to it
        return Step::ignored(Ignored::Mapping(Reason::UntrustedProject));
    }
    if known.origin == Origin::Found && input.policy.on_existing == OnExisting::Ignore {
        return Step::ignored(Ignored::ExistedBefore(known.code));
    }
    let current = current(input, wanted, &known, state);
    let changes = if state.has_sent_all { Facts::default() } else { current.changes(input.hash, &known.sent) };
    let status = status::to_set(input, wanted, &known, state);
    if changes.is_empty() && status.is_none() {
        return done(input, wanted, &current, known, state);
    }
    match (known.id, status) {
        (None, _) if known.is_only_listed() && state.is_known_by_email => {
            state.known = None; // it is not changed before `get` has returned it
            state.progress.stage = Stage::Listed(known.code.clone());
            Step::Next(Call::Get(Identifier::Code(known.code)))
        }
        (None, _) => Step::Next(Call::Get(Identifier::Code(known.code))),
        (Some(id), _) if matches!(state.progress.stage, Stage::CheckEdit | Stage::CheckStatus | Stage::ReadStatus) => {
            Step::Next(Call::Get(Identifier::Id(id)))
        }
        (Some(id), Some(status)) if changes.is_empty() => status::set(input, state, id, status),
        (Some(id), _) => Step::Next(Call::Edit { id, changes: changes.profile() }),
    }
}

/// The facts that may replace the values that were sent.
fn current(input: &PlanInput<'_>, wanted: &Identify, known: &AffiliateRecord, state: &PlanState) -> Facts {
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

/// Ends the delivery: every value that can be sent was sent. A value that was stated again is recorded with its newer time. A cleared field
/// is recorded even if it had no value, because an older event may state one.
fn done(
    input: &PlanInput<'_>,
    wanted: &Identify,
    current: &Facts,
    mut known: AffiliateRecord,
    state: &mut PlanState,
) -> Step {
    let progress = &state.progress;
    let is_stale = !wanted.facts.is_empty() && current.is_empty() && wanted.status.is_none();
    current.confirm(input.hash, &mut known.sent);
    // A value that Refersion rejects is not sent again with every event.
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
    // The remark is made for later events that state it, too. Without it, their answers would suggest that the conflict is solved.
    let is_taken = progress.rejected_values.email_taken || states_taken_email;
    remarks.extend(is_taken.then_some(Remark::EmailTaken));
    remarks.extend((!left_out.is_empty()).then_some(Remark::LeftOut(left_out)));
    match state.present_status.kept() {
        Some(status) if action == Action::Unchanged && remarks.is_empty() => {
            return Step::ignored(Ignored::LeftAlone { code, status });
        }
        kept => remarks.extend(kept.map(Remark::StatusKept)),
    }
    if is_stale && action == Action::Unchanged && remarks.is_empty() {
        return Step::ignored(Ignored::Stale(code));
    }
    Step::Done(Success::Delivered { action, code: Some(code), remarks })
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
        (call, Reply::Rejected(Rejection::Other(words))) => rejection::on_rejected(input, state, call, words),
        (Call::New(new), Reply::Created { code, id }) => {
            let sent = sent_with_new(input, wanted, new);
            state.record_affiliate(AffiliateRecord { code, id, origin: Origin::Created, sent });
            state.progress.done = Done::Created;
            state.present_status = PresentStatus::Open; // the merchant has decided nothing yet
            let is_sent = |fact: &Fact| new.profile.get(fact.attribute.clone()).unwrap_or_default() == fact.value;
            state.has_sent_all = !state.progress.rejected_values.required_only && wanted.facts.iter().all(is_sent);
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

/// The record of an affiliate that `new` has created: stated values with their time, defaults as older than any fact.
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

/// Refersion does not find the affiliate. An affiliate that was only remembered is forgotten. An affiliate that this event created or found
/// exists, and Refersion needs time to return it: creating another one would not help.
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

/// Handles the read-back after "not changed", which may mean that the affiliate had the wanted values already, that it does not exist, or
/// that the edit failed. `get` distinguishes these cases for the fields that it returns; the other fields are assumed to have the wanted
/// values.
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
    if let Some(step) = status::left_alone(&known.code, state.present_status.kept()) {
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
