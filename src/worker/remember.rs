//! Remembered traits: the traits of a user who is no affiliate yet, while an event of this user is delivered (`[mapping] remember_traits`).
//!
//! In: the event, and the sealed row of its user. Out: the event with the traits of earlier ones, and, once it has ended, the traits to
//! keep or to erase in the transaction of its settlement. Invariants: traits are kept only sealed, bound to the account and the user; a row
//! that cannot be opened counts as empty, is reported, and delays no event; traits from before a deletion are not kept. Deliberately
//! absent: how pieces are merged ([`crate::mapping::RememberedTraits`]).

use super::{DeliverySettings, Worker};
use crate::delivery::{Ignored, OnStale, PermanentFailure, SealedTraits, Step, Success};
use crate::domain::{AccountName, SealNonce, Timestamp, UserKey, open_sealed_bytes};
use crate::mapping::{Intent, MappingError, Precedence, Reason, RememberedTraits};
use crate::store::{Begun, KeptTraits, TraitsChange};
use std::sync::Arc;

/// The remembered traits of the user of an event, with those of the event.
pub(super) struct UserTraits {
    user: UserKey,
    /// The store has a row of the user.
    is_stored: bool,
    /// The row was opened, so the traits contain its own. An expired one may be removed before the event ends.
    is_opened: bool,
    /// The event adds something.
    adds: bool,
    traits: RememberedTraits,
    settings: Arc<DeliverySettings>,
}

/// The remembered traits of the user of the head, and the head with these traits: an update if the user is an affiliate already, else the
/// creation of one. `None` if no traits of this event are remembered.
pub(super) fn read(worker: &Worker, begun: &Begun, head: &Intent) -> Option<(UserTraits, Intent)> {
    let Intent::Identify(event) = head else { return None };
    let pieces = event.pieces.as_ref()?;
    let user = *begun.user_keys.iter().find(|key| matches!(key, UserKey::UserId(_)))?;
    let settings = worker.delivery();
    let stored = begun.memory.traits.as_ref();
    let opened = stored.and_then(|stored| open(worker, begun, &settings, &user, stored));
    let is_opened = opened.is_some();
    let before = opened.unwrap_or_default();
    let is_new = before == RememberedTraits::default();
    let precedence = match settings.policy.on_stale {
        OnStale::Ignore => Precedence::Newer,
        OnStale::Apply => Precedence::LastArrived,
    };
    let traits = before.with(event, pieces, precedence);
    let is_known = begun.memory.by_user_id.is_some() || begun.memory.by_email.is_some();
    let head = if is_new {
        head.clone()
    } else if is_known {
        Intent::Identify(traits.updating(event))
    } else {
        Intent::Identify(traits.creating(event, pieces, &settings.rules))
    };
    let (is_stored, adds) = (stored.is_some(), pieces.are_worth_remembering(event));
    Some((UserTraits { user, is_stored, is_opened, adds, traits, settings }, head))
}

fn open(
    worker: &Worker,
    begun: &Begun,
    settings: &DeliverySettings,
    user: &UserKey,
    stored: &SealedTraits,
) -> Option<RememberedTraits> {
    if stored.expires_at <= worker.now() {
        return None;
    }
    let account = &worker.0.settings.account;
    let bytes = open_sealed_bytes(&settings.seal_keys, &purpose(account, user), &stored.sealed);
    let opened = bytes.and_then(|bytes| RememberedTraits::from_bytes(&bytes));
    if opened.is_none() {
        tracing::error!(%account, seq = %begun.seq, event.id = %begun.id,
            "the remembered traits of a user cannot be read and are ignored: no key of STORE_SEAL_KEY opens it, or it is damaged");
    }
    opened
}

/// The purpose to which the seal is bound: this user of this account.
fn purpose(account: &AccountName, user: &UserKey) -> String {
    format!("traits of {account} {}", hex::encode(user.bytes()))
}

impl UserTraits {
    /// The end of the event, and the change of the remembered traits. If the event creates no affiliate because a required field is
    /// missing, it ends as remembered.
    pub(super) fn end(&self, worker: &Worker, end: Step) -> (Step, Option<TraitsChange>) {
        if self.adds
            && lacks_something(&end)
            && let Some(kept) = self.keep(worker)
        {
            let (lacks, until) = (self.traits.lacks(&self.settings.rules), kept.expires_at);
            let remembered = Success::Ignored(Ignored::Remembered { lacks, until });
            return (Step::Done(remembered), Some(TraitsChange::Keep(kept)));
        }
        let is_used = self.is_stored && is_affiliate(&end);
        (end, is_used.then_some(TraitsChange::Erase(self.user)))
    }

    /// None: the setting was turned off meanwhile, or there is no seal key.
    fn keep(&self, worker: &Worker) -> Option<KeptTraits> {
        let (account, hash) = (&worker.0.settings.account, worker.0.store.hash_key());
        let nonce: SealNonce = rand::random();
        let bytes = self.traits.to_bytes();
        let sealed = self.settings.seal_keys.first()?.seal_bytes(&purpose(account, &self.user), &bytes, &nonce);
        let expires_at: Timestamp = worker.now().after(self.settings.rules.remember_traits?);
        Some(KeptTraits {
            user: self.user,
            email: self.traits.email().map(|email| hash.email(account, &email)),
            names: self.traits.names(),
            sealed,
            expires_at,
            replaces: self.is_opened,
        })
    }
}

/// Whether the event creates no affiliate because of a field that a later event may have.
fn lacks_something(end: &Step) -> bool {
    match end {
        Step::Done(Success::Ignored(Ignored::Mapping(reason))) => {
            matches!(reason, Reason::CreateIf { .. } | Reason::UnknownUser | Reason::Audience { .. })
        }
        Step::Dead(PermanentFailure::Unmappable(error)) => {
            matches!(error, MappingError::MissingEmail | MappingError::MissingName)
        }
        _ => false,
    }
}

/// Whether the event has found an affiliate, so the remembered traits were used, or never will be.
fn is_affiliate(end: &Step) -> bool {
    match end {
        Step::Done(Success::Delivered { .. }) => true,
        Step::Done(Success::Ignored(ignored)) => {
            matches!(ignored, Ignored::ExistedBefore(_) | Ignored::LeftAlone { .. } | Ignored::Stale(_))
        }
        _ => false,
    }
}
