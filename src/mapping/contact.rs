//! Contact: the e-mail address by which an affiliate is known, and `phone`, `company`, `paypal_email`.
//!
//! Where an e-mail is looked for, and in which order, differs: an identify believes its traits most (the `email` beside
//! them is the Event Tester's boilerplate), a delete has little else than that `email`. A `userId` that looks like an
//! address is one. Invariant: what is no address never gets further than here; a note or refusal names its place only.

use super::{MappingError, Note, note};
use crate::domain::{Email, EmailError, Field, Profile, UserId};
use crate::segment::{Event, Raw, Traits, clean};

/// The e-mail of an identify: `said` in the traits, as the `userId`, in `context.traits`, beside the traits.
pub(super) fn of_identify(
    event: &Event<'_>,
    said: Result<Option<Email>, EmailError>,
    notes: &mut Vec<Note>,
) -> Result<Option<Email>, MappingError> {
    match said {
        Ok(Some(email)) => return Ok(Some(email)),
        Ok(None) => {}
        // Nobody typed an Engage event: refusing it would help nobody.
        Err(EmailError) if event.engage => notes.push(note("email", "not an e-mail address, so it was left out")),
        Err(EmailError) => return Err(MappingError::InvalidEmail("traits.email")),
    }
    let beside = || beside_traits(event).ok().flatten();
    Ok(as_user_id(event).or_else(|| in_traits(&event.context_traits).ok().flatten()).or_else(beside))
}

/// The e-mail of a delete: beside the traits, in the traits, in `context.traits`, as the `userId`.
pub(super) fn of_delete(event: &Event<'_>, notes: &mut Vec<Note>) -> Result<Option<Email>, MappingError> {
    let places = [
        ("email", beside_traits(event)),
        ("traits.email", in_traits(&event.traits)),
        ("context.traits.email", in_traits(&event.context_traits)),
    ];
    let invalid = places.iter().find(|(_, found)| found.is_err()).map(|(place, _)| *place);
    let email = places.into_iter().find_map(|(_, found)| found.ok().flatten()).or_else(|| as_user_id(event));
    match invalid {
        Some(place) if email.is_none() && event.user_id.is_none() => Err(MappingError::InvalidEmail(place)),
        Some(place) => {
            notes.push(note(place, "not an e-mail address, so it was left out"));
            Ok(email)
        }
        None => Ok(email),
    }
}

/// The e-mail in `traits`, if they hold one; an error if they hold something else in its place.
pub(super) fn in_traits(traits: &Traits<'_>) -> Result<Option<Email>, EmailError> {
    at(traits, "email")
}

fn beside_traits(event: &Event<'_>) -> Result<Option<Email>, EmailError> {
    event.email.map_or(Ok(None), address)
}

/// Says `phone`, `company` and `paypal_email` in `profile`.
pub(super) fn read(traits: &Traits<'_>, profile: &mut Profile, notes: &mut Vec<Note>) {
    let company = traits.line("company.name").or_else(|| traits.line("company"));
    profile.set(Field::Company, company.unwrap_or_default());
    profile.set(Field::Phone, traits.line("phone").or_else(|| traits.first_of("phones")).unwrap_or_default());
    match at(traits, "paypalEmail") {
        Ok(email) => profile.set(Field::PaypalEmail, email.as_ref().map(Email::as_str).unwrap_or_default()),
        Err(EmailError) => notes.push(note("paypal_email", "not an e-mail address, so it was left out")),
    }
}

/// The merchant's own id for a new affiliate: the `userId`, where it is "alphanumeric" as Refersion asks.
pub(super) fn merchant_id(user_id: Option<&UserId>) -> Option<&str> {
    user_id.map(UserId::as_str).filter(|id| id.bytes().all(|b| b.is_ascii_alphanumeric()))
}

fn as_user_id(event: &Event<'_>) -> Option<Email> {
    event.user_id.as_ref().and_then(|id| parse(id.as_str()).ok())
}

/// The first address at `path`; an error if there is none, but something that says anything.
fn at(traits: &Traits<'_>, path: &str) -> Result<Option<Email>, EmailError> {
    let mut none = Ok(None);
    let found = traits.find(path, |value| {
        address(value).unwrap_or_else(|error| {
            none = Err(error);
            None
        })
    });
    found.map_or(none, |email| Ok(Some(email)))
}

/// The address that `value` is, if it says anything.
fn address(value: Raw<'_>) -> Result<Option<Email>, EmailError> {
    if value.is_empty() {
        return Ok(None);
    }
    value.text_as_sent().ok_or(EmailError).and_then(|text| parse(&text)).map(Some)
}

/// Marks that cannot be seen are dropped, but not control characters inside: those make a different text, not a dirty one.
fn parse(text: &str) -> Result<Email, EmailError> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    if text.contains(char::is_control) { Err(EmailError) } else { Email::parse(&clean(text)) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::segment;

    fn identify(event: &str) -> String {
        let event = format!(r#"{{"type":"identify",{event}}}"#);
        let mut notes = Vec::new();
        let event = segment::parse(&event).expect("an event");
        let email = of_identify(&event, in_traits(&event.traits), &mut notes);
        shown(&email, &notes)
    }

    fn delete(event: &str) -> String {
        let event = format!(r#"{{"type":"delete",{event}}}"#);
        let mut notes = Vec::new();
        let email = of_delete(&segment::parse(&event).expect("an event"), &mut notes);
        shown(&email, &notes)
    }

    fn shown(email: &Result<Option<Email>, MappingError>, notes: &[Note]) -> String {
        let email = match email {
            Ok(email) => email.as_ref().map_or("none", Email::as_str).to_owned(),
            Err(refusal) => refusal.to_string(),
        };
        notes.iter().fold(email, |text, note| format!("{text}, note on {}", note.about))
    }

    #[test]
    fn an_identify_believes_its_traits_first() {
        let everywhere = r#""userId":"b@x.io","context":{"traits":{"email":"c@x.io"}},"email":"d@x.io""#;
        for (event, email) in [
            (&*format!(r#""traits":{{"Email":" a@x.io "}},{everywhere}"#), "a@x.io"),
            (everywhere, "b@x.io"),
            (r#""userId":"b","context":{"traits":{"email":"c@x.io"}},"email":"d@x.io""#, "c@x.io"),
            (r#""context":{"traits":{"email":"junk"}},"email":"d@x.io""#, "d@x.io"),
            (r#""email":"junk""#, "none"),
            (r#""userId":"b""#, "none"),
            (r#""traits":{"email":"","e_mail":null,"E-Mail":[]},"email":"d@x.io""#, "d@x.io"),
            (r#""traits":{"Email":"junk","email":"a@x.io"}"#, "a@x.io"),
            (r#""traits":{"email":"\ufeffa@x.io\u0000"}"#, "a@x.io"),
        ] {
            assert_eq!(identify(event), email, "{event}");
        }
    }

    #[test]
    fn an_email_that_is_none_is_refused_unless_engage_sent_it() {
        let refused = "Invalid email address: the `traits.email` of this event is not an e-mail address";
        for value in [r#""junk""#, "5", "true", r#"{"a":1}"#, r#"["a@x.io"]"#, r#""a\u0000b@x.io""#] {
            let event = format!(r#""traits":{{"email":{value}}},"userId":"b@x.io""#);
            assert_eq!(identify(&event), refused, "{value}");
            let engage = format!(r#"{event},"context":{{"personas":{{}}}}"#);
            assert_eq!(identify(&engage), "b@x.io, note on email", "{value}");
        }
    }

    #[test]
    fn a_delete_believes_the_email_beside_its_traits_first() {
        for (event, email) in [
            (r#""userId":"b@x.io","email":"a@x.io","traits":{"email":"c@x.io"}"#, "a@x.io"),
            (r#""userId":"b@x.io","traits":{"email":"c@x.io"}"#, "c@x.io"),
            (r#""userId":"b@x.io","context":{"traits":{"email":"c@x.io"}}"#, "c@x.io"),
            (r#""userId":"b@x.io""#, "b@x.io"),
            (r#""userId":"5678""#, "none"),
            (r#""userId":"5678","email":"junk""#, "none, note on email"),
            (r#""email":"junk","traits":{"email":"c@x.io"}"#, "c@x.io, note on email"),
            (r#""email":"junk""#, "Invalid email address: the `email` of this event is not an e-mail address"),
            (r#""email":null"#, "none"),
        ] {
            assert_eq!(delete(event), email, "{event}");
        }
    }

    #[test]
    fn phone_company_and_paypal_address_come_when_present() {
        for (traits, said) in [
            (r#"{"phone":"+1 555","phones":["2"]}"#, "phone=+1 555"),
            (r#"{"phone":"","phones":[null,5550100]}"#, "phone=5550100"),
            (r#"{"company":{"name":"Initech"}}"#, "company=Initech"),
            (r#"{"company":"Initech"}"#, "company=Initech"),
            (r#"{"company":{"id":"6789"}}"#, ""),
            (r#"{"paypal_email":" p@x.io "}"#, "paypal_email=p@x.io"),
            (r#"{"payPalEmail":"p@x.io"}"#, "paypal_email=p@x.io"),
            (r#"{"paypal_email":"junk"}"#, "note on paypal_email"),
            (r#"{"paypal_email":null}"#, ""),
        ] {
            let (mut profile, mut notes) = (Profile::default(), Vec::new());
            read(&Raw::check(traits).expect("JSON").object().expect("an object").into(), &mut profile, &mut notes);
            let mut found: Vec<_> = profile.iter().map(|(attribute, value)| format!("{attribute}={value}")).collect();
            found.extend(notes.into_iter().map(|note| format!("note on {}", note.about)));
            assert_eq!(found.join("|"), said, "{traits}");
        }
    }

    #[test]
    fn only_an_alphanumeric_user_id_is_the_merchants_id() {
        for (id, merchant) in [("97980cfea0067", true), ("test-user", false), ("a@x.io", false), ("größe", false)] {
            assert_eq!(merchant_id(UserId::parse(id).as_ref()).is_some(), merchant, "{id}");
        }
        assert_eq!(merchant_id(None), None);
    }
}
