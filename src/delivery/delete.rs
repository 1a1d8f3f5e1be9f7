//! The plan of a delete: the user's affiliate is disabled (or anonymized and disabled) at Refersion and forgotten here.
//!
//! The affiliate is the one of the `userId` if it is remembered, else the one of the e-mail, which is searched for if none is remembered.
//! If the `userId` leads to another affiliate, or led to one before it was deleted, the affiliate of the e-mail is left alone. Refersion
//! has no delete operation. `status_change` to `DISABLED` is used instead, and "not changed" is read back. A placeholder that Refersion
//! rejects is left out, and the affiliate is disabled in any case. A delete without an affiliate is a success. Deliberately not anonymized:
//! state and country, which name no person and have no placeholder that Refersion accepts.

use super::outcome::{Action, PermanentFailure, Remark, Step, Success};
use super::search::{self, Search};
use super::{
    Affiliate, Call, DeleteTarget, Done, Identifier, OnDelete, PlanInput, PlanState, RejectedValues, Rejection, Reply,
    SearchResult, Stage, TransientFailure, existing, read_back, rejection,
};
use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Field, Personal, Profile, User};
use crate::mapping::Intent;

/// An attempt begins: an affiliate that an earlier attempt found by its e-mail is read again before it is changed, because it may be gone,
/// or have another e-mail by now. Once its personal fields are overwritten, nothing of it can be compared.
pub(super) fn begin(state: &mut PlanState) {
    let PlanState { known, progress, other_affiliate, found_before, .. } = state;
    if let (Stage::Found(code), None, None) = (&progress.stage, &known, &other_affiliate)
        && found_before.as_ref() == Some(code)
    {
        progress.target = Some(DeleteTarget { code: code.clone(), id: None });
        progress.stage = Stage::Start;
    }
    let Some(target) = &mut progress.target else { return };
    let is_remembered = known.as_ref().is_some_and(|known| known.code == target.code);
    if !is_remembered && progress.done == Done::Nothing && progress.stage == Stage::Start {
        target.id = None;
    }
}

/// The next step, by the state of the plan.
pub(super) fn decide(input: &PlanInput<'_>, user: &User, state: &mut PlanState) -> Step {
    if state.progress.target.is_none() {
        state.progress.target =
            state.known.as_ref().map(|known| DeleteTarget { code: known.code.clone(), id: known.id });
    }
    if let Some(target) = &state.progress.target {
        return proceed(input, state, target);
    }
    match (&state.progress.stage, &user.email) {
        _ if state.other_affiliate.is_some() => not_found(state),
        (Stage::Found(code), _) => Step::Next(Call::Get(Identifier::Code(code.clone()))),
        (Stage::Searching { page, .. }, Some(email)) => Step::Next(Call::Search { email: email.clone(), page: *page }),
        (_, Some(email)) => {
            let call = Call::Search { email: email.clone(), page: 1 };
            state.progress.stage = Stage::Searching { page: 1, seen: 0 };
            Step::Next(call)
        }
        (_, None) => not_found(state),
    }
}

fn proceed(input: &PlanInput<'_>, state: &PlanState, target: &DeleteTarget) -> Step {
    let Some(id) = target.id else {
        return Step::Next(Call::Get(Identifier::Code(target.code.clone())));
    };
    let is_due = input.policy.on_delete == OnDelete::Anonymize && state.progress.done != Done::Anonymized;
    let changes = is_due.then(|| placeholders(input, state, id)).filter(|changes| !changes.is_empty());
    match (&state.progress.stage, changes) {
        (Stage::CheckEdit | Stage::CheckStatus, _) => Step::Next(Call::Get(Identifier::Id(id))),
        (_, Some(changes)) => Step::Next(Call::Edit { id, changes }),
        (_, None) => Step::Next(Call::SetStatus { id, status: AffiliateStatus::Disabled }),
    }
}

fn not_found(state: &PlanState) -> Step {
    deleted(state, Action::NotFound, None, None)
}

fn deleted(state: &PlanState, action: Action, code: Option<AffiliateCode>, remark: Option<Remark>) -> Step {
    let other = state.other_affiliate.clone().filter(|other| Some(other) != code.as_ref());
    let remarks = other.map(Remark::OtherAffiliate).into_iter().chain(remark).collect();
    Step::Done(Success::Delivered { action, code, remarks })
}

/// The placeholders that Refersion has not rejected.
fn placeholders(input: &PlanInput<'_>, state: &PlanState, id: AffiliateId) -> Profile {
    anonymous(id, input.custom_fields).filtered(|attribute, _| !state.progress.rejected_values.excludes(attribute))
}

/// The placeholder for the e-mail: unique, valid, and of a domain that nobody can own (RFC 2606).
fn placeholder_email(id: AffiliateId) -> String {
    format!("deleted-{id}@example.com")
}

/// The placeholders for personal data, custom fields included.
fn anonymous(id: AffiliateId, custom_fields: &[String]) -> Profile {
    let address = placeholder_email(id);
    let placeholder = |field: &Field| match field.spec().personal {
        Personal::Text => Some((*field, "-")),
        Personal::Email => Some((*field, address.as_str())),
        Personal::No | Personal::OnlyNew => None,
    };
    let mut profile: Profile = Field::ALL.iter().filter_map(placeholder).collect();
    for custom_field in custom_fields {
        profile.set(Attribute::Custom(custom_field.clone()), "-");
    }
    profile
}

/// Handles the reply to `call`: changes the state, or ends the delivery.
pub(super) fn on_reply(input: &PlanInput<'_>, state: &mut PlanState, call: &Call, reply: Reply) -> Option<Step> {
    match (call, reply) {
        (Call::Edit { changes, .. }, Reply::Rejected(rejection)) if input.events == 1 => {
            rejection::on_placeholders(&mut state.progress.rejected_values, changes, &rejection);
            None
        }
        (call, Reply::Rejected(Rejection::Other(words))) => Some(Step::rejected(call, words)),
        (Call::Search { .. }, reply) => on_search(state, reply, call),
        (Call::Get(Identifier::Code(_)), Reply::Affiliate(affiliate)) if is_of_another(input, state, &affiliate) => {
            state.progress.target = None;
            state.forget();
            None
        }
        (Call::Get(Identifier::Code(code)), Reply::Affiliate(affiliate)) => {
            let was_found_before = state.found_before.take().as_ref() == Some(code);
            let is_theirs = !(was_found_before && has_lost_email(input, state, code, &affiliate));
            state.progress.target = is_theirs.then(|| DeleteTarget { code: code.clone(), id: Some(affiliate.id) });
            if !is_theirs {
                state.progress.rejected_values = RejectedValues::default(); // they are of this affiliate
            }
            state.progress.stage = Stage::Start;
            None
        }
        (Call::Get(Identifier::Id(id)), Reply::Affiliate(affiliate)) => on_read_back(input, state, *id, &affiliate),
        (Call::Get(_), Reply::NotFound) => on_not_found(state),
        (Call::Edit { .. }, Reply::Changed) => {
            state.progress.done = Done::Anonymized;
            None
        }
        (Call::Edit { .. }, Reply::NotChanged | Reply::NotFound) => {
            state.progress.stage = Stage::CheckEdit;
            None
        }
        (Call::Edit { .. }, Reply::Rejected(Rejection::EmailTaken)) => Some(Step::Dead(PermanentFailure::EmailTaken)),
        (Call::SetStatus { .. }, Reply::Changed) => Some(finish(state)),
        (Call::SetStatus { .. }, Reply::NotChanged | Reply::NotFound) => {
            state.progress.stage = Stage::CheckStatus;
            None
        }
        _ => Some(Step::unexpected(call)),
    }
}

/// Whether `get` shows that the affiliate belongs to another user by now, although Refersion's list had it with the e-mail of this user.
fn is_of_another(input: &PlanInput<'_>, state: &PlanState, shown: &Affiliate) -> bool {
    state.known.as_ref().is_some_and(|known| existing::is_outdated(input, state, known, shown))
}

/// Whether `get` shows that an affiliate which an earlier attempt found by its e-mail has another one by now. Then the user's keys decide
/// again. The placeholder counts as theirs: an edit without a known answer may have sent it.
fn has_lost_email(input: &PlanInput<'_>, state: &PlanState, code: &AffiliateCode, shown: &Affiliate) -> bool {
    let is_remembered = state.known.as_ref().is_some_and(|known| known.code == *code);
    let Intent::Delete { user, .. } = input.intent else { return false };
    let is_anonymous = shown.profile.get(Field::Email) == Some(placeholder_email(shown.id).as_str());
    !is_remembered && !is_anonymous && !existing::has_email(user, shown)
}

/// The affiliate is disabled. Forgets everything that leads to it.
fn finish(state: &mut PlanState) -> Step {
    let code = state.progress.target.take().map(|target| target.code);
    state.forgotten.extend(code.clone());
    let action = if state.progress.done == Done::Anonymized { Action::Anonymized } else { Action::Disabled };
    let left_out = state.progress.rejected_values.names();
    let remark = (!left_out.is_empty()).then_some(Remark::LeftOut(left_out));
    deleted(state, action, code, remark)
}

/// Refersion does not find the affiliate. An affiliate that was only remembered, or that an earlier attempt found, is forgotten, and the plan
/// continues with the e-mail, which another affiliate may have by now. An affiliate that a search has just named exists, so the delete is
/// retried.
fn on_not_found(state: &mut PlanState) -> Option<Step> {
    if let Stage::Found(_) = std::mem::take(&mut state.progress.stage) {
        return Some(Step::Retry(TransientFailure::new("Refersion does not find an affiliate that its search named")));
    }
    state.progress.done = Done::Nothing;
    state.progress.rejected_values = RejectedValues::default(); // they are of this affiliate
    let target = state.progress.target.take();
    if state.known.is_some() {
        state.forget();
        state.other_affiliate = None;
        return None;
    }
    state.forgotten.extend(target.map(|target| target.code));
    let was_found_before = state.found_before.take().is_some();
    (!was_found_before).then(|| not_found(state))
}

fn on_search(state: &mut PlanState, reply: Reply, call: &Call) -> Option<Step> {
    match search::on_reply(state, call, reply) {
        Search::Found(SearchResult { code, .. }) => {
            state.progress.stage = Stage::Found(code);
            None
        }
        Search::NotFound => Some(not_found(state)),
        Search::Unfinished(step) => step,
    }
}

/// Handles the read-back after "not changed", which may mean that the affiliate had the wanted values already. The fields that `get` returns
/// show whether it has the placeholders.
fn on_read_back(input: &PlanInput<'_>, state: &mut PlanState, id: AffiliateId, affiliate: &Affiliate) -> Option<Step> {
    let stage = std::mem::take(&mut state.progress.stage);
    let placeholders = placeholders(input, state, id);
    if stage == Stage::CheckEdit && read_back::differs(affiliate, &placeholders).is_empty() {
        state.progress.done = Done::Anonymized;
        return None;
    }
    if stage == Stage::CheckStatus && affiliate.status == Some(AffiliateStatus::Disabled) {
        return Some(finish(state));
    }
    Some(Step::Retry(TransientFailure::new("Refersion did not change the affiliate, and gave no reason")))
}
