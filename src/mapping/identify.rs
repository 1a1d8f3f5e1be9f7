//! Identify: an event and the rules → what is said of the user, and whether it may create an affiliate.
//!
//! Two answers in one, because only the store knows whether the user is an affiliate: `profile` and `status` are for a
//! known one, [`Creation`] for an unknown one. Invariants: an event that speaks of memberships is never an error for lack
//! of an e-mail or a name; a known affiliate's name is never overwritten by a placeholder.

use super::engage::{self, Effects};
use super::{Creation, Identify, Intent, MappingError, Note, Reason, Rules, address, contact, name};
use crate::domain::{AffiliateStatus, Attribute, Email, FactTime, Field, NewAffiliate, Profile, User};
use crate::segment::Event;

/// What an identify wants.
pub(super) fn identify(
    event: &Event<'_>,
    rules: &Rules,
    time: FactTime,
    notes: &mut Vec<Note>,
) -> Result<Intent, MappingError> {
    // An address from elsewhere says who the user is, not that theirs changed: the one beside the traits is boilerplate.
    let said = contact::in_traits(&event.traits);
    let says_email = matches!(said, Ok(Some(_)));
    let email = contact::of_identify(event, said, notes)?;
    let mut profile = Profile::default();
    name::read(&event.traits, &mut profile);
    address::read(&event.traits, &mut profile, notes);
    contact::read(&event.traits, &mut profile, notes);

    let effects = engage::effects(rules, &event.traits, notes);
    if event.engage && !effects.matched && profile.is_empty() && !says_email {
        return Ok(Intent::Nothing(Reason::NoRule));
    }
    for (attribute, value) in effects.profile.iter() {
        profile.set(attribute.clone(), value);
    }
    if says_email {
        profile.set(Field::Email, email.as_ref().map(Email::as_str).unwrap_or_default());
    }
    Ok(Intent::Identify(Identify {
        creation: creation(event, rules, email.as_ref(), &profile, &effects),
        user: User { user_id: event.user_id.clone(), email },
        status: effects.status.map(|(_, status)| status),
        profile,
        cleared: Vec::new(),
        time,
        engage: event.engage,
        may_only_create: false,
    }))
}

fn creation(
    event: &Event<'_>,
    rules: &Rules,
    email: Option<&Email>,
    profile: &Profile,
    effects: &Effects<'_>,
) -> Creation {
    if let Some(reason) = engage::withheld(rules.create_if.as_ref(), &event.traits) {
        return Creation::Skipped(reason);
    }
    if let Some(refusal) = missing(email, profile) {
        let nobody_s_fault = event.engage || effects.membership;
        return if nobody_s_fault { Creation::Skipped(Reason::UnknownUser) } else { Creation::Invalid(refusal) };
    }
    let status = match effects.status {
        Some((key, status @ (AffiliateStatus::Denied | AffiliateStatus::Disabled))) => {
            return Creation::Skipped(Reason::Audience { key: key.to_owned(), status });
        }
        Some((_, status @ (AffiliateStatus::Active | AffiliateStatus::Pending))) => status,
        None => rules.status,
    };
    Creation::Allowed(NewAffiliate {
        profile: new_profile(event, rules, email, profile),
        status,
        send_welcome: rules.send_welcome,
    })
}

/// What a creation needs and the event lacks.
fn missing(email: Option<&Email>, profile: &Profile) -> Option<MappingError> {
    let lacks = |field: Field| profile.get(field).is_none();
    if email.is_none() {
        Some(MappingError::MissingEmail)
    } else if lacks(Field::FirstName) && lacks(Field::LastName) {
        Some(MappingError::MissingName)
    } else {
        None
    }
}

/// What `new` takes: no custom fields, both halves of a name, and what only a creation says.
fn new_profile(event: &Event<'_>, rules: &Rules, email: Option<&Email>, profile: &Profile) -> Profile {
    let mut new = profile.filtered(|attribute, _| matches!(attribute, Attribute::Field(_)));
    for (field, default) in [
        (Field::Email, email.map(Email::as_str)),
        (Field::FirstName, Some(&*rules.missing_name)),
        (Field::LastName, Some(&*rules.missing_name)),
        (Field::Offer, rules.offer.as_deref()),
        (Field::UniqueMerchantId, contact::merchant_id(event.user_id.as_ref())),
    ] {
        if new.get(field).is_none() {
            new.set(field, default.unwrap_or_default());
        }
    }
    new
}
