//! The read-back: it compares an affiliate as `get` returns it with the values that the event wants.
//!
//! In: an affiliate and a profile. Out: the values that need not be sent (recorded as sent), or the fields that differ. Invariant: a field
//! counts as equal only if `get` returned it. Deliberately absent: the consequences of a difference ([`super::identify`]).

use super::{Affiliate, PlanInput, status};
use crate::domain::{Attribute, Email, Fact, Field, FieldFormat, Profile, SentAttributes, Timestamp};
use crate::mapping::Identify;

/// The record of an affiliate that a search has found by `email`: it has this e-mail. An e-mail that only names the user, as that of an
/// Engage event does, counts as older than any fact, as in the record of a created affiliate.
pub(super) fn email(input: &PlanInput<'_>, wanted: &Identify, email: &Email) -> SentAttributes {
    let (mut sent, attribute) = (SentAttributes::default(), Field::Email.into());
    let stated = wanted.facts.get(&attribute).filter(|fact| fact.value == email.as_str());
    sent.record(input.hash, &attribute, email.as_str(), stated.map_or(Timestamp::OLDEST, |fact| fact.time.at()));
    sent
}

/// The values that need not be sent, because `get` returned them. The e-mail counts as Refersion's, unless `get` returned another one.
pub(super) fn sent_already(input: &PlanInput<'_>, wanted: &Identify, affiliate: &Affiliate) -> SentAttributes {
    let address = wanted.user.email.as_ref();
    let mut sent = address.map(|address| email(input, wanted, address)).unwrap_or_default();
    let shown = affiliate.profile.get(Field::Email);
    if let Some(other) = shown.filter(|shown| address.is_some_and(|address| !address.is_same_address(shown))) {
        sent.record(input.hash, &Field::Email.into(), other.trim(), Timestamp::OLDEST);
    }
    let is_shown = |fact: &Fact| shows(affiliate, &fact.attribute, &fact.value);
    wanted.facts.filtered(is_shown).record(input.hash, &mut sent);
    if let Some(status) = affiliate.status.filter(|status| !status::is_final(*status)) {
        sent.record_status(input.hash, status, Timestamp::OLDEST);
    }
    sent
}

fn shows(affiliate: &Affiliate, attribute: &Attribute, value: &str) -> bool {
    let Attribute::Field(field) = attribute else { return false };
    let shown = affiliate.profile.get(*field);
    match field.spec().format {
        FieldFormat::Email => {
            shown.is_some_and(|shown| Email::parse(value).is_ok_and(|email| email.is_same_address(shown)))
        }
        FieldFormat::Text
        | FieldFormat::NonEmpty
        | FieldFormat::StateCode
        | FieldFormat::Country
        | FieldFormat::Offer
        | FieldFormat::Alphanumeric => shown == Some(value),
    }
}

/// The part of `wanted` that differs from the affiliate. Fields that `get` does not return are left out.
pub(super) fn differs(affiliate: &Affiliate, wanted: &Profile) -> Profile {
    wanted.filtered(|attribute, value| attribute.is_returned_by_get() && !shows(affiliate, attribute, value))
}
