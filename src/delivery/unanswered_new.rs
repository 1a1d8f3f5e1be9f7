//! Calls to `new` whose answer is not known: they may have created an affiliate.
//!
//! A `new` is marked in the store before it is sent (`worker/plan_run.rs`), so it is recorded here even after a crash. The next attempt
//! sends it again. The repeat creates no second affiliate, since Refersion rejects an e-mail that another affiliate has ("taken"). The
//! service recognises an affiliate that it created by the values that it sent.
//!
//! These values are kept as keyed hashes, of the fields that `get` returns
//! ([`is_returned_by_get`](crate::domain::Field::is_returned_by_get)). If a later `new` of the event is answered "taken", the affiliate
//! with the e-mail is searched for, read back and compared with them. The e-mail is not compared again, because the affiliate may have
//! another one by the time of the `get`. Invariant: an answered `new` is not recorded here, because its mark is removed with
//! the answer. Deliberately absent: the comparison of fields that `get` does not return.

use crate::domain::{Field, Fingerprint, HashKey, Profile};
use serde::{Deserialize, Deserializer, Serialize};

/// The calls to `new` that were not answered.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnansweredNew {
    /// The values that each of them sent in the fields that `get` returns. They differ if the mapping rules or the number of coalesced
    /// events changed in between.
    Sent(Vec<Fingerprint>),
    /// A release made the call that did not keep the values. An affiliate with the e-mail is assumed to be created by it.
    NotKept,
}

impl UnansweredNew {
    /// Adds a call that sent `sent` to those in `unanswered`.
    pub(super) fn add(unanswered: &mut Option<Self>, sent: Fingerprint) {
        match unanswered {
            Some(Self::NotKept) => {}
            Some(Self::Sent(calls)) if calls.contains(&sent) => {}
            Some(Self::Sent(calls)) => calls.push(sent),
            None => *unanswered = Some(Self::Sent(vec![sent])),
        }
    }

    /// Whether one of the calls may have created an affiliate of which `get` returned `profile`: it has every field but the e-mail as sent.
    /// Fields that were not sent are not compared, since Refersion fills in some (the offer).
    pub(super) fn created(&self, key: &HashKey, profile: &Profile) -> bool {
        match self {
            Self::NotKept => true,
            Self::Sent(calls) => {
                let shown = Fingerprint::of(key, profile);
                calls.iter().any(|sent| shown.contains_all_except(&Field::Email.into(), sent))
            }
        }
    }
}

/// The values of `profile` in the fields that `get` returns.
pub(super) fn visible(key: &HashKey, profile: &Profile) -> Fingerprint {
    Fingerprint::of(key, &profile.filtered(|attribute, _| attribute.is_returned_by_get()))
}

/// Reads the stored form, also the form of an earlier release: `"asked": true` meant that there was such a call.
pub(super) fn read<'de, D: Deserializer<'de>>(stored: D) -> Result<Option<UnansweredNew>, D::Error> {
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum StoredUnanswered {
        Asked(bool),
        Unanswered(Option<UnansweredNew>),
    }
    Ok(match StoredUnanswered::deserialize(stored)? {
        StoredUnanswered::Asked(asked) => asked.then_some(UnansweredNew::NotKept),
        StoredUnanswered::Unanswered(unanswered) => unanswered,
    })
}
