//! The input of a plan ([`PlanInput`]), and its state ([`PlanState`]).
//!
//! The input does not change. The state changes with every reply, and is saved between two calls. Invariant: an affiliate that the event
//! created or found is marked in its progress, and the event never forgets it.

use super::status::PresentStatus;
use super::{AffiliateRecord, DeleteTarget, Memory, OnOtherUser, OnStale, Policy, Progress, Stage, UnansweredNew};
use crate::domain::{AffiliateCode, Fact, Facts, HashKey, Profile, Timestamp};
use crate::mapping::{Identify, Intent};

/// The input of a plan, which does not change during a delivery.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// The intent of the event, or of several coalesced events.
    pub intent: &'a Intent,
    /// The operator's policy.
    pub policy: Policy,
    /// The custom fields that the operator's rules name, by their Refersion ids.
    pub custom_fields: &'a [String],
    /// The hash key of the fingerprints.
    pub hash: &'a HashKey,
    /// The number of events that the intent combines.
    pub events: usize,
}

/// The state of a plan, which changes during a delivery and is saved between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanState {
    /// The record of the affiliate; an identify changes it.
    pub known: Option<AffiliateRecord>,
    /// The affiliate of the e-mail, if the `userId` leads to another affiliate.
    pub fallback: Option<AffiliateRecord>,
    /// Whether only the e-mail led to the affiliate, and no `userId`.
    pub is_known_by_email: bool,
    /// The access of the event to the affiliate.
    pub access: AffiliateAccess,
    /// The access to the affiliate of the e-mail, which counts when the `userId` leads to none any more.
    pub access_by_email: AffiliateAccess,
    /// Whether the user was deleted after the event.
    pub deleted_since: bool,
    /// The affiliate of the e-mail of a delete, if its `userId` leads to another affiliate, or led to one before it was deleted.
    pub other_affiliate: Option<AffiliateCode>,
    /// The affiliate that an earlier attempt found, or that it was to delete. It may have another e-mail by now.
    pub(super) found_before: Option<AffiliateCode>,
    /// The `new` that has just created the affiliate said all that the event states: nothing of it is left to send.
    pub(super) has_sent_all: bool,
    /// The present status of the affiliate, as far as this attempt knows it.
    pub(super) present_status: PresentStatus,
    /// The values of the head that a follower replaces; see [`Coalesced::superseded`](super::Coalesced::superseded).
    superseded: Facts,
    /// The progress of the delivery.
    pub progress: Progress,
    /// Affiliates to forget: deleted ones, and ones that Refersion no longer has.
    pub forgotten: Vec<AffiliateCode>,
}

/// The access of an event to the affiliate that its user keys lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AffiliateAccess {
    /// Full access.
    #[default]
    Full,
    /// Only values that the operator's rules set. For an Engage event that names an affiliate with an owner only by e-mail.
    RulesOnly,
    /// No access: the affiliate of the e-mail has another owner.
    OtherOwner(AffiliateCode),
}

impl PlanState {
    /// The state in which a delivery continues after an attempt that ended without a settlement: the `new` that its progress names may have
    /// had its effect, or else an edit.
    pub fn after_interruption(
        intent: &Intent,
        policy: Policy,
        hash: &HashKey,
        memory: Memory,
        mut progress: Progress,
    ) -> Self {
        let in_flight = progress.new_in_flight.take();
        let is_named = in_flight.is_some();
        if let Some(sent) = in_flight {
            UnansweredNew::add(&mut progress.unanswered_new, sent);
        }
        let mut state = Self::new(intent, policy, memory, progress);
        // An early release saved no progress before its first call, and never named a `new`: if no affiliate is known, it was about to call
        // it.
        if !is_named && state.known.is_none() && state.progress.stage == Stage::Start {
            state.progress.unanswered_new.get_or_insert(UnansweredNew::NotKept);
        }
        state.doubt_intended(intent, policy, hash);
        state
    }

    /// The state in which a delivery begins, or continues after an attempt that was settled.
    pub fn new(intent: &Intent, policy: Policy, memory: Memory, mut progress: Progress) -> Self {
        let deleted_since = match intent {
            Intent::Identify(wanted) => is_from_before(wanted, policy, memory.deleted_at()),
            Intent::Delete { .. } | Intent::Nothing(_) => false,
        };
        let user_id_alone_was_deleted = memory.user_id_deleted_at > memory.email_deleted_at;
        let Memory { by_user_id, by_email, email_has_other_owner, .. } = memory;
        let access_by_email = match (intent, &by_email) {
            (Intent::Identify(wanted), Some(known)) if email_has_other_owner => {
                AffiliateAccess::to_affiliate_of_other_user(wanted, policy, &known.code)
            }
            _ => AffiliateAccess::Full,
        };
        let other_affiliate = match (intent, &by_user_id, &by_email) {
            (Intent::Delete { .. }, Some(own), Some(other)) if own.code != other.code => Some(other.code.clone()),
            (Intent::Delete { .. }, None, Some(other)) if user_id_alone_was_deleted => Some(other.code.clone()),
            _ => None,
        };
        let by_email = by_email.filter(|_| by_user_id.is_some() || other_affiliate.is_none());
        let is_anothers = matches!(access_by_email, AffiliateAccess::OtherOwner(_));
        let by_email = by_email.filter(|_| !is_anothers && !deleted_since);
        let is_known_by_email = by_user_id.is_none();
        let (known, fallback, access) = if is_known_by_email {
            (by_email, None, access_by_email.clone())
        } else {
            (by_user_id.filter(|_| !deleted_since), by_email, AffiliateAccess::Full)
        };
        let fallback = fallback.filter(|other| known.as_ref().is_none_or(|known| known.code != other.code));
        progress.new_in_flight = None;
        // For an affiliate of the list, Refersion's next reply decides, not the record: a `new` without a known answer may have created it.
        let is_in_doubt = progress.unanswered_new.is_some() || matches!(progress.stage, Stage::Listed(_));
        let known = known.filter(|known| !(is_in_doubt && is_known_by_email && known.is_only_listed()));
        if known.is_some() && matches!(progress.stage, Stage::Listed(_) | Stage::FoundUnknown(_)) {
            progress.stage = Stage::Start; // the record may be that of another affiliate
        }
        let found_before = match (&progress.stage, &progress.target) {
            (Stage::Found(code) | Stage::FoundUnknown(code), _) | (_, Some(DeleteTarget { code, .. })) => {
                Some(code.clone())
            }
            _ => None,
        };
        Self {
            known,
            fallback,
            is_known_by_email,
            access,
            access_by_email,
            deleted_since,
            other_affiliate,
            found_before,
            has_sent_all: false,
            present_status: PresentStatus::Unread,
            superseded: Facts::default(),
            progress,
            forgotten: Vec::new(),
        }
    }

    /// Begins with these superseded values of the head, which an attempt at the head alone may have sent.
    pub fn supersede(&mut self, hash: &HashKey, policy: Policy, superseded: &Facts) {
        self.superseded.clone_from(superseded);
        self.doubt_superseded(hash, policy);
    }

    /// Counts the superseded values as unknown where they differ from the last ones with a known answer, so that the newer values of
    /// coalesced events are sent even if they equal these.
    pub(super) fn doubt_superseded(&mut self, hash: &HashKey, policy: Policy) {
        doubt_changes(&mut self.known, hash, policy, &self.superseded);
    }

    /// An earlier attempt may have sent what the intent changes, and may not have recorded it: the values count as unknown.
    pub fn doubt_intended(&mut self, intent: &Intent, policy: Policy, hash: &HashKey) {
        if let Intent::Identify(wanted) = intent {
            doubt_changes(&mut self.known, hash, policy, &wanted.facts);
        }
    }

    /// An edit of `changes` may have had its effect, or not: the values count as unknown. This event sends them again, and a later event
    /// that states the values of before sends those.
    pub(super) fn doubt(&mut self, changes: &Profile) {
        if let Some(known) = &mut self.known {
            changes.iter().for_each(|(attribute, _)| known.sent.doubt(attribute));
        }
    }

    /// Records an affiliate that this event created or found.
    pub(super) fn record_affiliate(&mut self, known: AffiliateRecord) {
        self.known = Some(known);
        self.progress.affiliate_seen = true;
        self.progress.unanswered_new = None;
        self.progress.stage = Stage::Start;
    }

    /// Records that these values of `wanted` were sent.
    pub(super) fn record_sent(&mut self, input: &PlanInput<'_>, wanted: &Identify, values: &Profile) {
        let Some(known) = &mut self.known else { return };
        for (attribute, value) in values.iter() {
            let at = wanted.facts.get(attribute).map_or(Timestamp::OLDEST, |fact| fact.time.at());
            known.sent.record(input.hash, attribute, value, at);
        }
    }

    /// Forgets an affiliate that Refersion no longer has. The other user key may still lead to one.
    pub(super) fn forget(&mut self) {
        let gone = std::mem::replace(&mut self.known, self.fallback.take());
        self.is_known_by_email = true;
        let listed = if let Stage::Listed(code) = &self.progress.stage { Some(code.clone()) } else { None };
        self.forgotten.extend(gone.map(|known| known.code).or(listed));
        self.access = self.access_by_email.clone();
        self.present_status = PresentStatus::Unread; // that of the other affiliate
        self.progress.status_in_flight = None;
        self.progress.stage = Stage::Start;
    }
}

impl AffiliateAccess {
    /// The access of an event to an affiliate that belongs to another `userId`.
    pub(super) fn to_affiliate_of_other_user(wanted: &Identify, policy: Policy, code: &AffiliateCode) -> Self {
        if policy.on_other_user == OnOtherUser::Update {
            Self::Full
        } else if wanted.engage && wanted.user.user_id.is_none() {
            Self::RulesOnly
        } else {
            Self::OtherOwner(code.clone())
        }
    }
}

/// Counts as unknown those of `facts` that an edit may have sent: they differ from the values with a known answer, and are not older. Without
/// the numeric id, no edit was sent.
fn doubt_changes(known: &mut Option<AffiliateRecord>, hash: &HashKey, policy: Policy, facts: &Facts) {
    let Some(AffiliateRecord { id: Some(_), sent, .. }) = known else { return };
    for Fact { attribute, time, .. } in facts.changes(hash, sent).iter() {
        if policy.on_stale == OnStale::Apply || sent.accepts(attribute, *time) {
            sent.doubt(attribute);
        }
    }
}

/// Whether the event is from before the user was deleted.
pub(super) fn is_from_before(wanted: &Identify, policy: Policy, deleted_at: Option<Timestamp>) -> bool {
    policy.on_stale == OnStale::Ignore && deleted_at.is_some_and(|deleted_at| !wanted.time.supersedes(deleted_at))
}
