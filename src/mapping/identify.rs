//! Mapping of an identify event.
//!
//! In: an event and the rules. Out: the content of an `edit` (`facts`, `status`) and of a `new` ([`Creation`]). Only the store knows which
//! of the two applies: whether the user is an affiliate. Invariants: an event about an audience is never an error because it has no e-mail
//! or no name; Engage changes no e-mail, and creates nobody who left an audience; a known affiliate's name is never overwritten by a
//! placeholder.

use super::engage::{self, Effects};
use super::{
    Creation, Identify, Intent, MappingError, Note, Pieces, Reason, Rules, StatusFact, address, contact, email, name,
    note,
};
use crate::domain::{AffiliateStatus, Attribute, Email, FactTime, Facts, Field, NewAffiliate, Profile, User, UserId};
use crate::segment::Event;

/// Maps an identify event, whose facts have the moments of `time`.
pub(super) fn identify(
    event: &Event<'_>,
    user_id: Option<&UserId>,
    rules: &Rules,
    time: FactTime,
    notes: &mut Vec<Note>,
) -> Result<Intent, MappingError> {
    // Only an address in the traits is a new value of the field. An address from elsewhere only names the user. So does an address in an
    // event of Engage, which sends an event for each address of a user.
    let traits = event.user_traits();
    let in_traits =
        email::of_traits(traits).or_else(|error| if event.traits.is_empty() { Ok(None) } else { Err(error) });
    let has_new_email = matches!(in_traits, Ok(Some(_))) && !event.engage;
    let (email, email_error) = match email::of_identify(event, user_id, in_traits, notes) {
        Ok(email) => (email, None),
        // If the user is an affiliate already, everything else of the event counts.
        Err(error) if user_id.is_some() => {
            notes.push(note("email", "not an e-mail address, so it was left out"));
            (None, Some(error))
        }
        Err(error) => return Err(error),
    };
    let mut profile = Profile::default();
    name::read(traits, &mut profile);
    let cleared = address::read(traits, &mut profile, notes);
    contact::read(traits, rules.paypal_email, &mut profile, notes);

    let effects = engage::effects(rules, traits, notes);
    let condition = engage::create_if(rules, traits);
    let is_remembered = rules.remember_traits.is_some() && condition.is_some();
    if event.engage && !effects.matched && profile.is_empty() && !has_new_email && !is_remembered {
        return Ok(Intent::Nothing(Reason::NoRule));
    }
    for (attribute, value) in effects.profile.iter() {
        profile.set(attribute.clone(), value);
    }
    if has_new_email {
        profile.set(Field::Email, email.as_ref().map(Email::as_str).unwrap_or_default());
    }
    let user = User { user_id: user_id.cloned(), email };
    let may_only_create = !rules.trusts(event.project);
    let candidate = Candidate {
        user: &user,
        profile: &profile,
        email_error: email_error.as_ref(),
        condition,
        status: effects.status,
        leaves_audience: is_audience_exit(event, &effects),
        // Engage and its audiences make such events automatically: no sender could act on an error.
        made_by_engage: event.engage || effects.entered || effects.rule_says_left,
    };
    let remembers =
        rules.remember_traits.is_some() && !may_only_create && user.user_id.is_some() && email_error.is_none();
    let creation = creation(rules, &candidate);
    let pieces = remembers.then(|| Box::new(Pieces::of(rules, &candidate)));
    Ok(Intent::Identify(Identify {
        creation,
        pieces,
        user,
        status: effects.status.map(|(_, status)| StatusFact { status, time }),
        facts: Facts::new(profile, &cleared, time),
        time,
        engage: event.engage,
        may_only_create,
    }))
}

/// The values that decide whether the user becomes an affiliate.
#[derive(Clone, Copy, Debug)]
pub(super) struct Candidate<'a> {
    pub(super) user: &'a User,
    pub(super) profile: &'a Profile,
    /// The error if the event has a value for the e-mail that is no e-mail address.
    pub(super) email_error: Option<&'a MappingError>,
    /// Whether `[mapping.create_if]` holds, if its trait is stated.
    pub(super) condition: Option<bool>,
    /// The trait of an audience, and the status that its rule sets.
    pub(super) status: Option<(&'a str, AffiliateStatus)>,
    /// Engage made the event because the user left an audience.
    pub(super) leaves_audience: bool,
    /// The event was made by Engage, or is about an audience.
    pub(super) made_by_engage: bool,
}

/// The action if the user is no affiliate yet.
pub(super) fn creation(rules: &Rules, candidate: &Candidate<'_>) -> Creation {
    let Candidate { user, profile, .. } = *candidate;
    if let Some(error) = candidate.email_error {
        return Creation::Invalid(error.clone());
    }
    if let Some(rule) = rules.create_if.as_ref().filter(|_| candidate.condition != Some(true)) {
        return Creation::Skipped(Reason::CreateIf { trait_name: rule.trait_name.clone() });
    }
    if let Some(error) = missing(user, profile) {
        let made_by_engage = candidate.made_by_engage;
        return if made_by_engage { Creation::Skipped(Reason::UnknownUser) } else { Creation::Invalid(error) };
    }
    let status = match candidate.status {
        Some((trait_name, status @ (AffiliateStatus::Denied | AffiliateStatus::Disabled))) => {
            return Creation::Skipped(Reason::Audience { trait_name: trait_name.to_owned(), status });
        }
        // Leaving an audience does not make a user an affiliate.
        _ if candidate.leaves_audience => return Creation::Skipped(Reason::UnknownUser),
        Some((_, status @ (AffiliateStatus::Active | AffiliateStatus::Pending))) => status,
        None => rules.status,
    };
    Creation::Allowed(NewAffiliate {
        profile: new_profile(rules, user, profile),
        status,
        send_welcome: rules.send_welcome,
    })
}

/// Whether Engage made the event because the user left an audience, with or without a rule. The event's own audience decides: other
/// audiences come with it by Engage's trait enrichment. If the event does not say which is its own, those with a rule decide.
fn is_audience_exit(event: &Event<'_>, effects: &Effects<'_>) -> bool {
    let own = event.audience.as_deref().and_then(|own| engage::own_membership(own, event.user_traits()));
    event.engage && own.map_or(effects.rule_says_left && !effects.entered, |is_member| !is_member)
}

/// The error if a value is missing that `new` requires.
fn missing(user: &User, profile: &Profile) -> Option<MappingError> {
    if user.email.is_none() {
        Some(MappingError::MissingEmail)
    } else if lacks_name(profile) {
        Some(MappingError::MissingName)
    } else {
        None
    }
}

/// Whether the first and the last name are missing.
pub(super) fn lacks_name(profile: &Profile) -> bool {
    profile.get(Field::FirstName).is_none() && profile.get(Field::LastName).is_none()
}

/// The fields of `new`: those of `profile` without custom fields, a first and a last name, and the defaults.
fn new_profile(rules: &Rules, user: &User, profile: &Profile) -> Profile {
    let mut new = profile.filtered(|attribute, _| matches!(attribute, Attribute::Field(_)));
    for (field, default) in [
        (Field::Email, user.email.as_ref().map(Email::as_str)),
        (Field::FirstName, Some(&*rules.missing_name)),
        (Field::LastName, Some(&*rules.missing_name)),
        (Field::Offer, rules.offer.as_deref()),
        (Field::UniqueMerchantId, merchant_id(user.user_id.as_ref())),
    ] {
        if new.get(field).is_none() {
            new.set(field, default.unwrap_or_default());
        }
    }
    new
}

/// The merchant's own id of a new affiliate: the `userId`, if it is alphanumeric, as Refersion requires.
fn merchant_id(user_id: Option<&UserId>) -> Option<&str> {
    user_id.map(UserId::as_str).filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;
    use crate::mapping::map;

    /// Of an event whose user has every field: the part that fills this one. A field that is new in the table does not compile until
    /// it is decided here what fills it.
    const fn filled_by(field: Field) -> &'static str {
        match field {
            Field::FirstName => r#""firstName": "Ann""#,
            Field::LastName => r#""lastName": "Lee""#,
            Field::Email => r#""email": "ann@x.io""#,
            Field::PaypalEmail => r#""paypalEmail": "pay@x.io""#,
            Field::Company => r#""company": {"name": "Acme"}"#,
            Field::Address1 => r#""address1": "6th St""#,
            Field::Address2 => r#""address2": "Suite 4""#,
            Field::City => r#""city": "Toronto""#,
            Field::State => r#""state": "Ontario""#,
            Field::Zip => r#""postalCode": "M5V 1A1""#,
            Field::Country => r#""country": "CA""#,
            Field::Phone => r#""phone": "+1 555""#,
            Field::Offer => r#""the rule": "offer""#,
            Field::UniqueMerchantId => r#""the userId": "u1""#,
        }
    }

    #[test]
    fn every_field_of_the_table_is_filled_when_an_affiliate_is_created() {
        let traits: Vec<&str> = Field::ALL.iter().copied().map(filled_by).collect();
        let event = format!(r#"{{"type": "identify", "userId": "u1", "traits": {{{}}}}}"#, traits.join(", "));
        let rules = Rules { offer: Some("12".to_owned()), paypal_email: true, ..Rules::default() };
        let mapped = map(&Event::parse(&event).expect("an event"), &rules, Timestamp(1_700_000_000_000));
        let Ok(Intent::Identify(Identify { creation: Creation::Allowed(new), .. })) = mapped.intent else {
            panic!("{mapped:?}")
        };
        let missing: Vec<&Field> = Field::ALL.iter().filter(|field| new.profile.get(**field).is_none()).collect();
        assert!(missing.is_empty(), "nothing fills {missing:?}");
    }

    #[test]
    fn an_invalid_email_costs_a_known_user_only_itself_and_an_unknown_one_the_event() {
        let mapped = |user_id: &str| {
            let event =
                format!(r#"{{"type":"identify",{user_id}"traits":{{"email":"n/a","name":"A B","phone":"5"}}}}"#);
            map(&Event::parse(&event).expect("an event"), &Rules::default(), Timestamp(1_700_000_000_000))
        };
        let mapped_with_user_id = mapped(r#""userId":"u1","#);
        let Ok(Intent::Identify(identify)) = mapped_with_user_id.intent else { panic!("{mapped_with_user_id:?}") };
        assert_eq!(identify.creation, Creation::Invalid(MappingError::InvalidEmail("traits.email")));
        let stated: Vec<_> = identify.facts.iter().map(|fact| fact.attribute.to_string()).collect();
        assert_eq!(stated, ["first_name", "last_name", "phone"]);
        assert_eq!(mapped_with_user_id.notes.len(), 1);
        assert_eq!(mapped("").intent.expect_err("no user"), MappingError::InvalidEmail("traits.email"));
    }

    #[test]
    fn only_an_alphanumeric_user_id_is_the_merchants_id() {
        for (id, merchant) in [("97980cfea0067", true), ("test-user", false), ("a@x.io", false), ("größe", false)] {
            assert_eq!(merchant_id(UserId::parse(id).as_ref()).is_some(), merchant, "{id}");
        }
        assert_eq!(merchant_id(None), None);
    }
}
