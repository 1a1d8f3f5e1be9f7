//! What Refersion shows of an affiliate, held against what is wanted: what it has already need not be sent.
//!
//! Invariant: only what was seen counts. Deliberately absent: what to do about a difference ([`super::identify`]).

use super::Case;
use super::{Affiliate, VISIBLE};
use crate::domain::{Attribute, Email, Field, Fingerprint, Profile};
use crate::mapping::Identify;

/// The search found this very address, so Refersion has it.
pub(super) fn has_email(case: &Case<'_>, email: &Email) -> Fingerprint {
    let mut sent = Fingerprint::default();
    sent.note(case.hash, &[(Field::Email, email.as_str())].into_iter().collect());
    sent
}

/// The fingerprint of what `get` shows to be as wanted already.
pub(super) fn fingerprint(case: &Case<'_>, wanted: &Identify, affiliate: &Affiliate) -> Fingerprint {
    let mut sent = wanted.user.email.as_ref().map(|email| has_email(case, email)).unwrap_or_default();
    sent.note(case.hash, &wanted.profile.filtered(|attribute, value| shows(affiliate, attribute, value)));
    if let Some(status) = affiliate.status {
        sent.note_status(case.hash, status);
    }
    sent
}

fn shows(affiliate: &Affiliate, attribute: &Attribute, value: &str) -> bool {
    let Attribute::Field(field) = attribute else { return false };
    let seen = affiliate.profile.get(*field);
    match field {
        Field::Email => seen.is_some_and(|seen| seen.trim().to_lowercase() == value.to_lowercase()),
        _ => seen == Some(value),
    }
}

/// The part of `wanted` that `get` shows to be otherwise; of fields it never shows nothing can be said.
pub(super) fn otherwise(affiliate: &Affiliate, wanted: &Profile) -> Profile {
    let visible = |attribute: &Attribute| matches!(attribute, Attribute::Field(field) if VISIBLE.contains(field));
    wanted.filtered(|attribute, value| visible(attribute) && !shows(affiliate, attribute, value))
}
