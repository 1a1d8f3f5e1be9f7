//! Calls to `new` whose answer is not known: they may have created an affiliate.
//!
//! A `new` is marked in the store before it is sent (`worker/run_delivery.rs`), so also a crash leaves it here. The next attempt sends it
//! again. That creates no second affiliate, since Refersion rejects an e-mail that another affiliate has ("taken"); what this service
//! created is recognised by what was sent.
//!
//! That is kept as keyed hashes of the fields that `get` shows
//! ([`is_returned_by_get`](crate::domain::Field::is_returned_by_get)). If a later `new` of the event is answered "taken", the
//! affiliate that has the e-mail is read back and compared with it. Invariant: an answered `new`
//! is never in here.
//! Deliberately absent: the comparison of fields that `get` does not show.

use crate::domain::{Fingerprint, HashKey, Profile};
use serde::{Deserialize, Deserializer, Serialize};

/// What calls to `new` that were not answered said of the affiliate.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum UnansweredNew {
    /// What each of them sent in the fields that `get` shows. They differ where the mapping rules changed in between,
    /// or the number of events that are carried out together.
    Sent(Vec<Fingerprint>),
    /// The call was made by a release that did not keep what it sent: an affiliate with the e-mail is taken to be its
    /// work.
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

    /// Whether one of the calls may have created an affiliate of which `get` shows `profile`: it has every field as
    /// sent. Fields that were not sent are not compared, since Refersion fills in some (the offer).
    pub(super) fn created(&self, key: &HashKey, profile: &Profile) -> bool {
        match self {
            Self::NotKept => true,
            Self::Sent(calls) => {
                let mut shown = Fingerprint::default();
                shown.record(key, profile);
                calls.iter().any(|sent| shown.contains_all(sent))
            }
        }
    }
}

/// What a `new` with `profile` sends in the fields that `get` shows.
pub(super) fn visible(key: &HashKey, profile: &Profile) -> Fingerprint {
    let mut sent = Fingerprint::default();
    sent.record(key, &profile.filtered(|attribute, _| attribute.is_returned_by_get()));
    sent
}

/// Reads the stored form, also that of the release before: `"asked": true` said that there was such a call.
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
