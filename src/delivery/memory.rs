//! The records that deliveries store: the record of an affiliate, which stays, and the progress of a delivery, until its event is settled.
//!
//! Both are saved between two calls, so that after a crash only the remaining calls are made. Invariant: no personal data in clear text,
//! only identifiers, keyed hashes and sealed bytes. The progress of the previous release is read, too.

use super::UnansweredNew;
use super::unanswered_new;
use crate::domain::{
    AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Email, Field, Fingerprint, HashKey, Profile,
    SentAttributes, Timestamp, UserKey,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// The record of an affiliate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AffiliateRecord {
    /// The alphanumeric code.
    pub code: AffiliateCode,
    /// The numeric id; none before it was needed.
    pub id: Option<AffiliateId>,
    /// Whether this service created it.
    pub origin: Origin,
    /// The values that were last sent.
    pub sent: SentAttributes,
}

impl AffiliateRecord {
    /// Whether only its code and the values of the list or a search are known, because its numeric id was never needed.
    pub fn is_only_listed(&self) -> bool {
        self.origin == Origin::Found && self.id.is_none()
    }

    /// Whether `get` returned the recorded e-mail. If not, the list is out of date.
    pub(super) fn is_confirmed_by(&self, key: &HashKey, shown: &Profile) -> bool {
        shown.get(Field::Email).is_none_or(|email| self.sent.has(key, &Field::Email.into(), email.trim()))
    }

    /// Whether Refersion has this e-mail of the affiliate, according to the record.
    pub fn has_email(&self, key: &HashKey, email: &Email) -> bool {
        self.sent.has(key, &Field::Email.into(), email.as_str())
    }
}

/// The origin of an affiliate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This service created it.
    Created,
    /// It existed before this service met it.
    Found,
}

/// The records about the user of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The affiliate of the `userId`.
    pub by_user_id: Option<AffiliateRecord>,
    /// The affiliate of the e-mail address.
    pub by_email: Option<AffiliateRecord>,
    /// Whether another `userId` than the one of the event owns the affiliate of the e-mail address.
    pub email_has_other_owner: bool,
    /// When the user with this `userId` was deleted last, if the moment is still kept.
    pub user_id_deleted_at: Option<Timestamp>,
    /// When the user with this e-mail address was deleted last, if the moment is still kept.
    pub email_deleted_at: Option<Timestamp>,
    /// The remembered traits of the user with this `userId`, who was no affiliate yet.
    pub traits: Option<SealedTraits>,
}

/// Sealed traits of a user ([`RememberedTraits`](crate::mapping::RememberedTraits)).
#[derive(Clone, PartialEq, Eq)]
pub struct SealedTraits {
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// The moment from which they no longer count.
    pub expires_at: Timestamp,
}

impl fmt::Debug for SealedTraits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedTraits({} bytes until {})", self.sealed.len(), self.expires_at.0)
    }
}

impl Memory {
    /// The affiliate that `key`, one of the event's user keys, leads to.
    pub fn leads_to(&self, key: &UserKey) -> Option<&AffiliateRecord> {
        if matches!(key, UserKey::UserId(_)) { self.by_user_id.as_ref() } else { self.by_email.as_ref() }
    }

    /// When a user with one of the event's user keys was deleted last.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        self.user_id_deleted_at.max(self.email_deleted_at)
    }
}

/// The record of an affiliate that a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RecalledAffiliate {
    /// The affiliate.
    pub known: AffiliateRecord,
    /// Whether another `userId` than the one of the event owns the affiliate.
    pub has_other_owner: bool,
}

/// The progress of the delivery of one event.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// The next step.
    #[serde(default)]
    pub stage: Stage,
    /// The `new` that is called next: the values that it sends in the fields that `get` returns. It is saved before the call is made. An
    /// interrupted attempt counts it as not answered ([`PlanState::after_interruption`](super::PlanState::after_interruption)).
    #[serde(default)]
    pub new_in_flight: Option<Fingerprint>,
    /// Calls to `new` that may have had their effect without an answer. They may have created an affiliate that has the e-mail now.
    #[serde(default, alias = "asked", deserialize_with = "unanswered_new::read")]
    pub unanswered_new: Option<UnansweredNew>,
    /// Whether this event created or found the affiliate. If Refersion does not find it then, Refersion needs time.
    #[serde(default, rename = "met")]
    pub affiliate_seen: bool,
    /// The action so far.
    #[serde(default)]
    pub done: Done,
    /// The number of coalesced events, if there were several. Their call may have had its effect, so the same number is coalesced again: an
    /// edit with fewer of them would undo later values.
    #[serde(default, alias = "folded")]
    pub coalesced: Option<usize>,
    /// Whether their call may have had its effect, because an attempt was interrupted or failed. A pause of the account does not count.
    #[serde(default, rename = "unsure")]
    pub may_have_taken_effect: bool,
    /// The number of rejections of all of them together since then.
    #[serde(default, rename = "refused")]
    pub coalesced_rejections: u32,
    /// The affiliate of a delete, when it is known.
    #[serde(default)]
    pub target: Option<DeleteTarget>,
    /// The values that Refersion rejected.
    #[serde(default, rename = "refused_values")]
    pub rejected_values: RejectedValues,
    /// The status that a call of this event without a known answer was to set. If the next reply that shows a status shows this one, this
    /// service has set it.
    #[serde(default)]
    pub status_in_flight: Option<AffiliateStatus>,
}

/// The values that Refersion rejected, and the values that were left out.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RejectedValues {
    /// The names of the attributes that Refersion named.
    pub named: Vec<String>,
    /// The names of the attributes that are left out on a guess. The guess was right if Refersion accepts the call without them.
    pub guessed: Vec<String>,
    /// The names of the attributes that are left out and not at fault: wrong guesses, and the rest of a call that is not repeated again. A
    /// later event may send them, except those that only `new` takes. Of a delete: all placeholders that are left out.
    pub dropped: Vec<String>,
    /// The number of calls that were rejected because of such values.
    pub rejections: u32,
    /// Whether a `new` with all fields was rejected. Then it sends the required ones, and those that only `new` takes and that are not left
    /// out.
    pub required_only: bool,
    /// Whether the new e-mail belongs to another affiliate.
    pub email_taken: bool,
}

impl RejectedValues {
    /// Whether the attribute is left out.
    pub fn excludes(&self, attribute: &Attribute) -> bool {
        self.blames(attribute) || has_name(&self.dropped, attribute)
    }

    /// Whether Refersion rejects the value of the attribute, as far as its message shows.
    pub fn blames(&self, attribute: &Attribute) -> bool {
        has_name(&self.named, attribute) || has_name(&self.guessed, attribute)
    }

    /// The names of all attributes that were left out.
    pub fn names(&self) -> Vec<String> {
        [&*self.named, &*self.guessed, &*self.dropped].concat()
    }
}

/// Whether the name of `attribute` is among `names`. The list is nearly always empty.
fn has_name(names: &[String], attribute: &Attribute) -> bool {
    !names.is_empty() && names.contains(&attribute.to_string())
}

/// The stage of a delivery.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// The records of the user decide.
    #[default]
    Start,
    /// The search reads partial matches for the exact address.
    Searching {
        /// The next page, from 1.
        page: u32,
        /// The number of results on earlier pages.
        seen: u64,
    },
    /// A search found an affiliate. Next: its record in the store.
    Found(AffiliateCode),
    /// A search found an affiliate without a record. Next: `get`, for its numeric id.
    FoundUnknown(AffiliateCode),
    /// Refersion's list has an affiliate with the e-mail. Next: `get`, for its numeric id and to check the e-mail.
    Listed(AffiliateCode),
    /// An edit "changed nothing". Next: the read-back.
    CheckEdit,
    /// A status change "changed nothing". Next: the read-back.
    CheckStatus,
    /// A status is to be set. Next: `get`, for the present one.
    ReadStatus,
}

/// The action that a delivery has done so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Done {
    /// Nothing.
    #[default]
    Nothing,
    /// The affiliate was created.
    Created,
    /// The affiliate was edited.
    Updated,
    /// The personal fields were overwritten.
    Anonymized,
}

/// The affiliate that a delete is about.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeleteTarget {
    /// The alphanumeric code.
    pub code: AffiliateCode,
    /// The numeric id, when `get` has returned it.
    pub id: Option<AffiliateId>,
}
