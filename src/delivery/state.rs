//! The input of a plan ([`PlanInput`]), and its state ([`PlanState`]).
//!
//! The input does not change. The state changes with every reply, and is saved between two calls. Invariant: an
//! affiliate that the event created or found is marked so in its progress, and is never forgotten by it.

use super::{Known, Memory, Policy, Progress, Stage, UnansweredNew};
use crate::domain::{AffiliateCode, Fingerprint, HashKey};
use crate::mapping::Intent;

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
}

/// What changes during a delivery, and is written down between two calls.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanState {
    /// The affiliate, as remembered; an identify writes it.
    pub known: Option<Known>,
    /// Another affiliate, that of the other key: a delete looks by e-mail first, an identify by `userId`.
    pub fallback: Option<Known>,
    /// How far the delivery got.
    pub progress: Progress,
    /// Affiliates to forget: deleted, or gone from Refersion.
    pub forgotten: Vec<AffiliateCode>,
}

impl PlanState {
    /// The state to begin (or to go on) with. `interrupted` says that the last attempt ended without a settlement: the
    /// call that its progress says to be next may have had its effect.
    pub fn new(intent: &Intent, memory: Memory, mut progress: Progress, interrupted: bool) -> Self {
        let Memory { by_user_id, by_email, .. } = memory;
        let (known, fallback) = match intent {
            Intent::Delete { user, .. } if user.email.is_some() => (by_email, by_user_id),
            _ if by_user_id.is_none() => (by_email, None),
            _ => (by_user_id, by_email),
        };
        let fallback = fallback.filter(|other| known.as_ref().is_none_or(|known| known.code != other.code));
        let in_flight = progress.new_in_flight.take();
        if interrupted {
            count_as_unanswered(&mut progress, in_flight, known.is_some());
        }
        Self { known, fallback, progress, forgotten: Vec::new() }
    }

    /// Remembers an affiliate that this event created or found.
    pub(super) fn record_affiliate(&mut self, known: Known) {
        self.known = Some(known);
        self.progress.met = true;
        self.progress.unanswered_new = None;
        self.progress.stage = Stage::Start;
    }

    /// Forgets an affiliate that Refersion no longer has; the other key may still lead to one.
    pub(super) fn forget(&mut self) {
        let gone = std::mem::replace(&mut self.known, self.fallback.take());
        self.forgotten.extend(gone.map(|known| known.code));
        self.progress.stage = Stage::Start;
    }
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
