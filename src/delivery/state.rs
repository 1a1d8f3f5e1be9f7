//! The input of a plan ([`PlanInput`]), and its state ([`PlanState`]).
//!
//! The input does not change. The state changes with every reply, and is saved between two calls. Invariant: an
//! affiliate that the event created or found is marked so in its progress, and is never forgotten by it.

use super::{Known, Memory, OnOtherUser, OnStale, Policy, PresentStatus, Progress, Stage, UnansweredNew};
use crate::domain::{AffiliateCode, Fingerprint, HashKey, Profile, Timestamp};
use crate::mapping::{Identify, Intent};

/// What does not change during a delivery.
#[derive(Clone, Copy, Debug)]
pub struct PlanInput<'a> {
    /// What the event wants.
    pub intent: &'a Intent,
    /// What the operator decided.
    pub policy: Policy,
    /// The custom fields that the operator's rules name, by their Refersion ids.
    pub custom_fields: &'a [String],
    /// The key of the fingerprints.
    pub hash: &'a HashKey,
    /// How many events the intent stands for.
    pub events: usize,
}

/// What changes during a delivery, and is written down between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanState {
    /// The affiliate, as remembered; an identify writes it.
    pub known: Option<Known>,
    /// Another affiliate, that of the e-mail, where the `userId` leads to one.
    pub fallback: Option<Known>,
    /// The e-mail led to the affiliate, and no `userId`.
    pub is_known_by_email: bool,
    /// What the event may do.
    pub access: AffiliateAccess,
    /// What it may do to the affiliate of its e-mail, where its `userId` leads to none any more.
    pub access_by_email: AffiliateAccess,
    /// The user was deleted after the event.
    pub deleted_since: bool,
    /// An affiliate to which the e-mail of a delete leads, while its `userId` leads, or led before it was deleted, to another.
    pub other_affiliate: Option<AffiliateCode>,
    /// How far the delivery got.
    pub progress: Progress,
    /// Affiliates to forget: deleted, or gone from Refersion.
    pub forgotten: Vec<AffiliateCode>,
}

/// What an event may do to the affiliate that its keys lead to.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum AffiliateAccess {
    /// Everything.
    #[default]
    Full,
    /// Only what the operator's rules set: an Engage event that names an affiliate with an owner by its e-mail alone.
    RulesOnly,
    /// Nothing: the affiliate of the e-mail has another owner.
    OtherOwner(AffiliateCode),
}

impl PlanState {
    /// The state to begin (or to go on) with. `interrupted` says that the last attempt ended without a settlement: the
    /// call that its progress says to be next may have had its effect.
    pub fn new(intent: &Intent, policy: Policy, memory: Memory, mut progress: Progress, interrupted: bool) -> Self {
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
        let in_flight = progress.new_in_flight.take();
        if interrupted {
            progress.present_status = PresentStatus::Unread; // it may have changed
            count_as_unanswered(&mut progress, in_flight, known.is_some());
        }
        // Of an affiliate that the list showed, Refersion's next reply decides, not what is remembered: it may be the work of a `new`
        // whose answer is not known.
        let is_in_doubt = progress.unanswered_new.is_some() || matches!(progress.stage, Stage::Listed(_));
        let known = known.filter(|known| !(is_in_doubt && is_known_by_email && known.is_only_listed()));
        if known.is_some() && matches!(progress.stage, Stage::Listed(_)) {
            progress.stage = Stage::Start;
        }
        Self {
            known,
            fallback,
            is_known_by_email,
            access,
            access_by_email,
            deleted_since,
            other_affiliate,
            progress,
            forgotten: Vec::new(),
        }
    }

    /// Remembers an affiliate that this event created or found.
    pub(super) fn record_affiliate(&mut self, known: Known) {
        self.known = Some(known);
        self.progress.affiliate_seen = true;
        self.progress.unanswered_new = None;
        self.progress.stage = Stage::Start;
    }

    /// Remembers that these values of `wanted` were sent.
    pub(super) fn record_sent(&mut self, input: &PlanInput<'_>, wanted: &Identify, values: &Profile) {
        let Some(known) = &mut self.known else { return };
        for (attribute, value) in values.iter() {
            let at = wanted.facts.get(attribute).map_or(Timestamp::OLDEST, |fact| fact.time.at());
            known.sent.record(input.hash, attribute, value, at);
        }
    }

    /// Forgets an affiliate that Refersion no longer has; the other key may still lead to one.
    pub(super) fn forget(&mut self) {
        let gone = std::mem::replace(&mut self.known, self.fallback.take());
        self.is_known_by_email = true;
        let listed = if let Stage::Listed(code) = &self.progress.stage { Some(code.clone()) } else { None };
        self.forgotten.extend(gone.map(|known| known.code).or(listed));
        self.access = self.access_by_email.clone();
        self.progress.present_status = PresentStatus::Unread;
        self.progress.status_in_flight = None;
        self.progress.stage = Stage::Start;
    }
}

impl AffiliateAccess {
    /// What an event may do to an affiliate that belongs to another `userId`.
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

/// Whether the event is from before the user was deleted.
pub(super) fn is_from_before(wanted: &Identify, policy: Policy, deleted_at: Option<Timestamp>) -> bool {
    policy.on_stale == OnStale::Ignore && deleted_at.is_some_and(|deleted_at| !wanted.time.supersedes(deleted_at))
}

/// An interrupted attempt may have called the `new` that its progress names. The release before saved no progress
/// before its first call, and never named a `new`: if no affiliate is remembered, that is what it was about to call.
fn count_as_unanswered(progress: &mut Progress, in_flight: Option<Fingerprint>, is_known: bool) {
    match in_flight {
        Some(sent) => UnansweredNew::add(&mut progress.unanswered_new, sent),
        None if !is_known && progress.stage == Stage::Start && progress.unanswered_new.is_none() => {
            progress.unanswered_new = Some(UnansweredNew::NotKept);
        }
        None => {}
    }
}
