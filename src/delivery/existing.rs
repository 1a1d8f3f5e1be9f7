//! An affiliate that exists already: the plan finds it by its e-mail and takes over its values from the store or from `get`.
//!
//! In: the replies to `search` and `get`, and the record in the store. Out: a changed state, or the end of the delivery. Invariants: an
//! affiliate with another owner is not taken over; an affiliate that is `DISABLED` or `DENIED` when it is found is left alone; an affiliate
//! that is known only from Refersion's list, or that an earlier attempt has found, is changed only after `get` has shown that it still has
//! that e-mail, or that an unanswered `new` created it. Deliberately absent: the change itself ([`super::identify`]).

use super::outcome::Step;
use super::search::{self, Search};
use super::{
    Affiliate, AffiliateAccess, AffiliateRecord, Call, Done, OnExisting, Origin, PlanInput, PlanState,
    RecalledAffiliate, Reply, SearchResult, Stage, TransientFailure, UnansweredNew,
};
use super::{read_back, status};
use crate::domain::{AffiliateCode, Field, User};
use crate::mapping::Identify;

/// Handles the reply to `call`, a search.
pub(super) fn on_search(state: &mut PlanState, reply: Reply, call: &Call) -> Option<Step> {
    match search::on_reply(state, call, reply) {
        Search::Found(found) => on_found(state, found),
        Search::NotFound => {
            state.progress.stage = Stage::Start;
            Some(Step::Retry(TransientFailure::new(
                "Refersion says the e-mail is taken, but its search does not find it",
            )))
        }
        Search::Unfinished(step) => step,
    }
}

/// An affiliate has the e-mail. The store is asked for it next: it may be known with another e-mail.
fn on_found(state: &mut PlanState, found: SearchResult) -> Option<Step> {
    if let Some(step) = status::left_alone(&found.code, found.status) {
        return Some(step);
    }
    state.progress.stage = Stage::Found(found.code);
    None
}

/// Handles the store's record of the affiliate that was found. Without a record it existed before, unless an earlier `new` was not
/// answered: then `get` decides. If existing affiliates are ignored and this is certainly one, `get` is not called.
pub(super) fn on_recalled(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    recalled: Option<RecalledAffiliate>,
) {
    let Stage::Found(code) = state.progress.stage.clone() else { return };
    let is_listed = |recalled: &RecalledAffiliate| recalled.known.is_only_listed() && !recalled.has_other_owner;
    match recalled.filter(|recalled| !is_listed(recalled)) {
        Some(RecalledAffiliate { known, has_other_owner }) => {
            if has_other_owner {
                state.access = AffiliateAccess::to_affiliate_of_other_user(wanted, input.policy, &code);
            }
            if matches!(state.access, AffiliateAccess::OtherOwner(_)) {
                state.progress.stage = Stage::Start;
            } else {
                state.record_affiliate(known);
            }
        }
        None if input.policy.on_existing == OnExisting::Ignore && state.progress.unanswered_new.is_none() => {
            let sent = wanted.user.email.as_ref().map(|email| read_back::email(input, wanted, email));
            state.record_affiliate(AffiliateRecord {
                code,
                id: None,
                origin: Origin::Found,
                sent: sent.unwrap_or_default(),
            });
        }
        None => state.progress.stage = Stage::FoundUnknown(code),
    }
}

/// Handles the reply to `get` of an affiliate that was found or created: its numeric id, the values that need not be sent again, and, if a
/// `new` was not answered, whether that `new` created it.
pub(super) fn on_details(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    code: &AffiliateCode,
    affiliate: &Affiliate,
) -> Option<Step> {
    let has_email = has_email(&wanted.user, affiliate);
    let is_created = state.progress.unanswered_new.as_ref().is_some_and(|new| {
        let is_comparable = has_email || *new != UnansweredNew::NotKept; // if its values were not kept, only the e-mail tells
        is_comparable && new.created(input.hash, &affiliate.profile)
    });
    // If an unanswered `new` created it, another one would create a second.
    let was_found_before = state.found_before.take().is_some() && !is_created;
    if (was_found_before || matches!(state.progress.stage, Stage::Listed(_))) && !has_email {
        state.forget();
        return None;
    }
    state.progress.stage = Stage::Start;
    status::on_present_status(input, state, affiliate.status);
    if state.known.as_ref().is_some_and(|known| is_outdated(input, state, known, affiliate)) {
        state.forget();
        return None;
    }
    if let Some(known) = &mut state.known {
        known.id = Some(affiliate.id);
        return status::left_alone(code, state.present_status.kept());
    }
    if let Some(step) = status::left_alone(code, affiliate.status) {
        return Some(step);
    }
    let had_unanswered_new = state.progress.unanswered_new.is_some();
    let origin = if is_created { Origin::Created } else { Origin::Found };
    if is_created {
        state.progress.done = Done::Created;
    }
    let sent = read_back::sent_already(input, wanted, affiliate);
    state.record_affiliate(AffiliateRecord { code: code.clone(), id: Some(affiliate.id), origin, sent });
    if had_unanswered_new {
        state.doubt_superseded(input.hash, input.policy); // it may have sent them
    }
    None
}

/// Whether `get` returns the e-mail of the event or no e-mail.
pub(super) fn has_email(user: &User, affiliate: &Affiliate) -> bool {
    let email = user.email.as_ref().zip(affiliate.profile.get(Field::Email));
    email.is_none_or(|(email, shown)| email.is_same_address(shown))
}

/// Whether an affiliate of the list has another e-mail by now. Then another affiliate may have the listed e-mail, or none.
pub(super) fn is_outdated(
    input: &PlanInput<'_>,
    state: &PlanState,
    known: &AffiliateRecord,
    shown: &Affiliate,
) -> bool {
    known.is_only_listed() && !state.progress.affiliate_seen && !known.is_confirmed_by(input.hash, &shown.profile)
}
