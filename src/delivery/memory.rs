//! What is stored for deliveries: of an affiliate, for good, and of a delivery's progress, until its event is settled.
//!
//! Both are saved between two calls, so that after a crash only the remaining calls are made.
//! Invariant: no personal data in the clear, only identifiers, keyed hashes, and what is sealed. Progress that the release before has stored is read
//! too.

use super::UnansweredNew;
use super::unanswered_new;
use crate::domain::{
    AffiliateCode, AffiliateId, AffiliateStatus, Attribute, Email, Field, Fingerprint, HashKey, Profile,
    SentAttributes, Timestamp,
};
use serde::{Deserialize, Serialize};
use std::fmt;

/// What is remembered of an affiliate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Known {
    /// The alphanumeric code.
    pub code: AffiliateCode,
    /// The numeric id, once it was needed.
    pub id: Option<AffiliateId>,
    /// Whether this service created it.
    pub origin: Origin,
    /// What was last sent.
    pub sent: SentAttributes,
}

impl Known {
    /// Whether nothing but its code and what the list or a search showed is known: its numeric id was never needed.
    pub fn is_only_listed(&self) -> bool {
        self.origin == Origin::Found && self.id.is_none()
    }

    /// Whether `get` shows the e-mail that is remembered. If not, what the list showed does not hold any more.
    pub(super) fn is_confirmed_by(&self, key: &HashKey, shown: &Profile) -> bool {
        shown.get(Field::Email).is_none_or(|email| self.sent.has(key, &Field::Email.into(), email.trim()))
    }

    /// Whether Refersion has this e-mail of the affiliate, as far as is remembered.
    pub fn has_email(&self, key: &HashKey, email: &Email) -> bool {
        self.sent.has(key, &Field::Email.into(), email.as_str())
    }
}

/// Where an affiliate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// This service created it.
    Created,
    /// It existed before.
    Found,
}

/// What is remembered of the user of an event.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Memory {
    /// The affiliate of the `userId`.
    pub by_user_id: Option<Known>,
    /// The affiliate of the e-mail address.
    pub by_email: Option<Known>,
    /// The affiliate of the e-mail address is owned: a `userId` leads to it, and it is not this event's.
    pub email_has_other_owner: bool,
    /// When the user with this `userId` was deleted last, as far as that is still kept.
    pub user_id_deleted_at: Option<Timestamp>,
    /// When the user with this e-mail address was deleted last, as far as that is still kept.
    pub email_deleted_at: Option<Timestamp>,
    /// What earlier events said of the user with this `userId`, who was no affiliate then.
    pub traits: Option<SealedTraits>,
}

/// What earlier events said of a user ([`RememberedTraits`](crate::mapping::RememberedTraits)), sealed.
#[derive(Clone, PartialEq, Eq)]
pub struct SealedTraits {
    /// The sealed bytes.
    pub sealed: Vec<u8>,
    /// Until when they count.
    pub expires_at: Timestamp,
}

impl fmt::Debug for SealedTraits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "SealedTraits({} bytes until {})", self.sealed.len(), self.expires_at.0)
    }
}

impl Memory {
    /// When a user with one of the event's keys was deleted last.
    pub fn deleted_at(&self) -> Option<Timestamp> {
        self.user_id_deleted_at.max(self.email_deleted_at)
    }
}

/// What is remembered of an affiliate that a search has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recalled {
    /// The affiliate.
    pub known: Known,
    /// The affiliate is owned: a `userId` leads to it, and it is not this event's.
    pub has_other_owner: bool,
}

/// How far the delivery of one event got.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Progress {
    /// What is asked next.
    #[serde(default)]
    pub stage: Stage,
    /// The `new` that is called next, as what it sends in the fields that `get` shows. It is saved before the call is
    /// made; an interrupted attempt counts it as not answered ([`PlanState::new`](super::PlanState::new)).
    #[serde(default)]
    pub new_in_flight: Option<Fingerprint>,
    /// Calls to `new` that may have had their effect without an answer: an affiliate that has the e-mail now may be
    /// their work.
    #[serde(default, alias = "asked", deserialize_with = "unanswered_new::read")]
    pub unanswered_new: Option<UnansweredNew>,
    /// The affiliate was created or found by this event: if Refersion does not find it, it needs time.
    #[serde(default, rename = "met")]
    pub affiliate_seen: bool,
    /// What was done so far.
    #[serde(default)]
    pub done: Done,
    /// How many events were coalesced, if several were. Their call may have had its effect, so the same number is
    /// coalesced again: an edit with fewer of them would undo later values.
    #[serde(default, alias = "folded")]
    pub coalesced: Option<usize>,
    /// Whether their call may have had its effect: an attempt was interrupted, or failed. A pause of the account
    /// changes nothing.
    #[serde(default, rename = "unsure")]
    pub may_have_taken_effect: bool,
    /// How often they were rejected together since then.
    #[serde(default, rename = "refused")]
    pub coalesced_rejections: u32,
    /// The affiliate that a delete is about, once it is known.
    #[serde(default)]
    pub target: Option<DeleteTarget>,
    /// The values that Refersion rejected.
    #[serde(default, rename = "refused_values")]
    pub rejected_values: RejectedValues,
    /// What is known of the affiliate's present status.
    #[serde(default)]
    pub present_status: PresentStatus,
    /// The status that a call was to set whose answer is not known: if the affiliate has it, this service has set it.
    #[serde(default)]
    pub status_in_flight: Option<AffiliateStatus>,
}

/// The values that Refersion rejected, and what was done about it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct RejectedValues {
    /// The names of the attributes that Refersion named.
    pub named: Vec<String>,
    /// The names of the attributes that are left out on a guess. It was right if the call is accepted without them.
    pub guessed: Vec<String>,
    /// The names of the attributes that are left out and not at fault: wrong guesses, and what a call that is repeated no more would
    /// have sent. A later event may send them.
    pub dropped: Vec<String>,
    /// How many calls were rejected because of such values.
    pub rejections: u32,
    /// A `new` with all fields was rejected: the required ones are sent alone.
    pub required_only: bool,
    /// The new e-mail belongs to another affiliate.
    pub email_taken: bool,
}

impl RejectedValues {
    /// Whether the attribute is not sent any more.
    pub fn excludes(&self, attribute: &Attribute) -> bool {
        self.blames(attribute) || has_name(&self.dropped, attribute)
    }

    /// Whether Refersion rejects the value of the attribute, as far as its words show.
    pub fn blames(&self, attribute: &Attribute) -> bool {
        has_name(&self.named, attribute) || has_name(&self.guessed, attribute)
    }

    /// The names of all attributes that were left out.
    pub fn names(&self) -> Vec<String> {
        [&*self.named, &*self.guessed, &*self.dropped].concat()
    }
}

/// Whether the name of `attribute` is among `names`, which are seldom any.
fn has_name(names: &[String], attribute: &Attribute) -> bool {
    !names.is_empty() && names.contains(&attribute.to_string())
}

/// What is known of an affiliate's present status, before another one is set.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum PresentStatus {
    /// It was not read in this attempt.
    #[default]
    Unread,
    /// It was read, and may be changed.
    Open,
    /// It was read, and stays, although the event states another one: the merchant decided it.
    Kept(AffiliateStatus),
}

impl PresentStatus {
    /// The status that stays.
    pub fn kept(self) -> Option<AffiliateStatus> {
        if let Self::Kept(status) = self { Some(status) } else { None }
    }
}

/// Where a delivery stands.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub enum Stage {
    /// What is remembered decides.
    #[default]
    Start,
    /// Looking for the exact address among partial matches.
    Searching {
        /// The page to ask for, from 1.
        page: u32,
        /// How many results earlier pages held.
        seen: u64,
    },
    /// An affiliate was found; the store is to say what is remembered of it.
    Found(AffiliateCode),
    /// An affiliate was found of which nothing is remembered; `get` is to show its numeric id.
    FoundUnknown(AffiliateCode),
    /// Refersion's list showed an affiliate with the e-mail; `get` is to show whether it still has that, and its numeric id.
    Listed(AffiliateCode),
    /// An edit "changed nothing": read back to see what that means.
    CheckEdit,
    /// A status change "changed nothing": read back to see what that means.
    CheckStatus,
    /// A status is to be set: `get` is to show the present one.
    ReadStatus,
}

/// What a delivery has already done.
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
    /// The numeric id, once `get` has shown it.
    pub id: Option<AffiliateId>,
}

impl From<&Known> for DeleteTarget {
    fn from(known: &Known) -> Self {
        Self { code: known.code.clone(), id: known.id }
    }
}
