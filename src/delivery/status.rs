//! The status of an affiliate: when the status of an audience rule may be set.
//!
//! In: the wanted status, the record of the affiliate, and its present status. Out: whether to set the wanted one. Invariant: a status that
//! the merchant decided, `DENIED` or `DISABLED`, stays; a status that this service has set may change again, unless another one was seen
//! since: then the merchant set it anew. A change between the two that no call has shown cannot be distinguished from none.
//!
//! A call without a known answer leaves two traces, both saved before it is sent. The record of the affiliate holds the status as in doubt
//! until one is read, so the next event that states a status reads first, however the event of the call ended. The progress of the event
//! says that this event may have set it: only then, and only until another status is read, does a final status of such a call count as set
//! by this service. After the event has ended, the merchant may have decided it. A final status that an answered call set before, and that
//! is read after an unanswered one, counts as not changed: otherwise no failed activation could be retried or replayed.

use super::outcome::{Ignored, Step};
use super::{AffiliateRecord, Call, Identifier, OnStale, PlanInput, PlanState, Stage, TransientFailure};
use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus};
use crate::mapping::Identify;

/// The present status of an affiliate, as far as it is known before another one is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum PresentStatus {
    /// The status was not read in this attempt.
    #[default]
    Unread,
    /// The status was read and may be changed.
    Open,
    /// The status was read and stays, because the merchant decided it.
    Kept(AffiliateStatus),
}

impl PresentStatus {
    /// The status that stays.
    pub(super) fn kept(self) -> Option<AffiliateStatus> {
        if let Self::Kept(status) = self { Some(status) } else { None }
    }
}

/// Whether a status is final: no event reverses it, unless this service has set it.
pub(super) fn is_final(status: AffiliateStatus) -> bool {
    matches!(status, AffiliateStatus::Denied | AffiliateStatus::Disabled)
}

/// The end of an identify if the affiliate has a final status.
pub(super) fn left_alone(code: &AffiliateCode, status: Option<AffiliateStatus>) -> Option<Step> {
    let status = status.filter(|status| is_final(*status))?;
    Some(Step::ignored(Ignored::LeftAlone { code: code.clone(), status }))
}

/// The status that still has to be set: the wanted one, if it is newer than the last one, different from it or in doubt, and not ruled out.
pub(super) fn to_set(
    input: &PlanInput<'_>,
    wanted: &Identify,
    known: &AffiliateRecord,
    state: &PlanState,
) -> Option<AffiliateStatus> {
    let fact = wanted.status?;
    let is_newer = input.policy.on_stale == OnStale::Apply || known.sent.accepts_status(fact.time);
    // The previous release recorded it in the progress alone.
    let is_in_doubt = state.progress.status_in_flight.is_some_and(|other| other != fact.status);
    let differs = is_in_doubt || !known.sent.has_status(input.hash, fact.status);
    (is_newer && differs && state.present_status.kept().is_none()).then_some(fact.status)
}

/// The call that sets the status. The present one is read first, unless this attempt has created the affiliate.
pub(super) fn set(input: &PlanInput<'_>, state: &mut PlanState, id: AffiliateId, status: AffiliateStatus) -> Step {
    if state.present_status != PresentStatus::Unread {
        state.progress.status_in_flight = Some(status);
        if let Some(known) = &mut state.known {
            known.sent.doubt_status(input.hash, status);
        }
        return Step::Next(Call::SetStatus { id, status });
    }
    state.progress.stage = Stage::ReadStatus;
    Step::Next(Call::Get(Identifier::Id(id)))
}

/// The call that was to set the status certainly had no effect.
pub(super) fn on_not_set(state: &mut PlanState) {
    state.progress.status_in_flight = None;
    if let Some(known) = &mut state.known {
        known.sent.end_status_doubt();
    }
}

/// Records that the affiliate has the wanted status.
pub(super) fn on_changed(input: &PlanInput<'_>, wanted: &Identify, state: &mut PlanState) {
    state.progress.status_in_flight = None;
    if let (Some(known), Some(fact)) = (&mut state.known, wanted.status) {
        known.sent.record_status(input.hash, fact.status, fact.time.at());
    }
}

/// Records the newer time of a status that is set already.
pub(super) fn confirm(input: &PlanInput<'_>, wanted: &Identify, known: &mut AffiliateRecord) {
    if let Some(fact) = wanted.status
        && known.sent.has_status(input.hash, fact.status)
        && known.sent.accepts_status(fact.time)
    {
        known.sent.confirm_status(fact.time.at());
    }
}

/// Handles the present status in the reply to `get`, before the wanted one is set or after "not changed".
pub(super) fn on_read_back(
    input: &PlanInput<'_>,
    wanted: &Identify,
    state: &mut PlanState,
    shown: Option<AffiliateStatus>,
) -> Option<Step> {
    let stage = std::mem::take(&mut state.progress.stage);
    on_present_status(input, state, shown);
    let is_as_wanted = shown.is_some() && shown == wanted.status.map(|fact| fact.status);
    if is_as_wanted && state.present_status.kept().is_none() {
        on_changed(input, wanted, state);
        return None;
    }
    (stage == Stage::CheckStatus).then(|| {
        Step::Retry(TransientFailure::new("Refersion did not change the affiliate's status, and gave no reason"))
    })
}

/// Handles the present status in the reply to `get`: a final one is the merchant's decision and stays, even if the event states the same
/// one, unless this service set it. This ends the doubt about a call without a known answer.
pub(super) fn on_present_status(input: &PlanInput<'_>, state: &mut PlanState, shown: Option<AffiliateStatus>) {
    state.present_status = PresentStatus::Open;
    let Some(status) = shown else { return };
    let is_of_this_event = state.progress.status_in_flight.take() == Some(status);
    let is_ours = state.known.as_mut().is_some_and(|AffiliateRecord { sent, .. }| {
        if is_of_this_event || !is_final(status) && sent.may_have_status(input.hash, status) {
            sent.record_status_given(input.hash, status);
        } else {
            sent.record_status_seen(input.hash, status);
        }
        sent.explains_status(input.hash, status)
    });
    if is_final(status) && !is_ours {
        state.present_status = PresentStatus::Kept(status);
    }
}
