//! The e-mail address of an event, by which Refersion distinguishes affiliates.
//!
//! In: an event. Out: its address, none, or an error. The places of an address and their order depend on the type. An identify prefers its
//! traits, since Segment's Event Tester fills in the `email` beside them; a delete often has only that `email`. A `userId` that looks like
//! an address is an address. A list counts if it holds exactly one address. Invariant: a text that is no address does not leave this
//! module; notes and errors name its place, never its value.

use super::{MappingError, Note, note};
use crate::domain::{Email, EmailError, UserId};
use crate::segment::{Event, RawJson, Traits, clean_text};

/// The address of an identify. In this order: `in_traits`, the `userId`, `context.traits`, the `email` beside the traits,
/// `context.externalIds`.
pub(super) fn of_identify(
    event: &Event<'_>,
    user_id: Option<&UserId>,
    in_traits: Result<Option<Email>, EmailError>,
    notes: &mut Vec<Note>,
) -> Result<Option<Email>, MappingError> {
    match in_traits {
        Ok(Some(email)) => return Ok(Some(email)),
        Ok(None) => {}
        // Engage makes such events automatically: no sender could act on an error.
        Err(EmailError) if event.engage => notes.push(note("email", "not an e-mail address, so it was left out")),
        Err(EmailError) => return Err(MappingError::InvalidEmail("traits.email")),
    }
    let beside = || beside_traits(event).ok().flatten();
    let elsewhere = user_id.and_then(as_email).or_else(|| of_traits(&event.context_traits).ok().flatten());
    Ok(elsewhere.or_else(beside).or_else(|| of_external_ids(event)))
}

/// The address of a delete. In this order: the `email` beside the traits, the traits, `context.traits`, the `userId`,
/// `context.externalIds`.
pub(super) fn of_delete(
    event: &Event<'_>,
    user_id: Option<&UserId>,
    notes: &mut Vec<Note>,
) -> Result<Option<Email>, MappingError> {
    let fields = [
        ("email", beside_traits(event)),
        ("traits.email", of_traits(&event.traits)),
        ("context.traits.email", of_traits(&event.context_traits)),
    ];
    let invalid = fields.iter().find(|(_, found)| found.is_err()).map(|(field, _)| *field);
    let email = fields
        .into_iter()
        .find_map(|(_, found)| found.ok().flatten())
        .or_else(|| user_id.and_then(as_email))
        .or_else(|| of_external_ids(event));
    match invalid {
        Some(field) if email.is_none() && user_id.is_none() => Err(MappingError::InvalidEmail(field)),
        Some(field) => {
            notes.push(note(field, "not an e-mail address, so it was left out"));
            Ok(email)
        }
        None => Ok(email),
    }
}

/// The address in `traits`, if there is one; an error if there are only values that are no address.
pub(super) fn of_traits(traits: &Traits<'_>) -> Result<Option<Email>, EmailError> {
    at_path(traits, "email")
}

fn beside_traits(event: &Event<'_>) -> Result<Option<Email>, EmailError> {
    event.email.map_or(Ok(None), address)
}

/// The one address among the external ids of type `email`.
fn of_external_ids(event: &Event<'_>) -> Option<Email> {
    let objects = event.external_ids?.as_array()?.into_iter().filter_map(|object| object.members(["type", "id"]));
    let is_email = |kind: RawJson<'_>| kind.as_string().is_some_and(|kind| kind.trim().eq_ignore_ascii_case("email"));
    let emails = objects.filter(|[kind, _]| kind.is_some_and(is_email));
    only(emails.filter_map(|[_, id]| address(id?).ok().flatten()))
}

/// The address of `emails` if all of them are spellings of one address.
fn only(mut emails: impl Iterator<Item = Email>) -> Option<Email> {
    let first = emails.next()?;
    emails.all(|other| other == first).then_some(first)
}

fn as_email(user_id: &UserId) -> Option<Email> {
    parse_email(user_id.as_str()).ok()
}

/// The first address at `path`; an error if no value there is an address.
pub(super) fn at_path(traits: &Traits<'_>, path: &str) -> Result<Option<Email>, EmailError> {
    let mut none = Ok(None);
    let found = traits.find(path, |value| {
        address(value).unwrap_or_else(|error| {
            none = Err(error);
            None
        })
    });
    found.map_or(none, |email| Ok(Some(email)))
}

/// The address in `value`, if it is not empty.
fn address(value: RawJson<'_>) -> Result<Option<Email>, EmailError> {
    if value.is_empty() {
        return Ok(None);
    }
    let found = match value.as_array() {
        Some(elements) => only(elements.into_iter().filter_map(text_address)),
        None => text_address(value),
    };
    found.ok_or(EmailError).map(Some)
}

fn text_address(value: RawJson<'_>) -> Option<Email> {
    value.as_string().and_then(|text| parse_email(&text).ok())
}

/// The address in a text as people and programs write it. Drops invisible marks, and joiners, which are part of names only. A control
/// character inside is an error: without it the text would be another address.
pub fn parse_email(text: &str) -> Result<Email, EmailError> {
    let text = text.trim_matches(|c: char| c.is_whitespace() || c.is_control());
    if text.contains(char::is_control) {
        return Err(EmailError);
    }
    let text = clean_text(text);
    if text.is_ascii() { Email::parse(&text) } else { Email::parse(&text.replace(['\u{200C}', '\u{200D}'], "")) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn identify(event: &str) -> String {
        let event = format!(r#"{{"type":"identify",{event}}}"#);
        let mut notes = Vec::new();
        let event = Event::parse(&event).expect("an event");
        let email = of_identify(&event, event.user_id.as_ref(), of_traits(&event.traits), &mut notes);
        describe(&email, &notes)
    }

    fn delete(event: &str) -> String {
        let event = format!(r#"{{"type":"delete",{event}}}"#);
        let mut notes = Vec::new();
        let event = Event::parse(&event).expect("an event");
        let email = of_delete(&event, event.user_id.as_ref(), &mut notes);
        describe(&email, &notes)
    }

    fn describe(email: &Result<Option<Email>, MappingError>, notes: &[Note]) -> String {
        let email = match email {
            Ok(email) => email.as_ref().map_or("none", Email::as_str).to_owned(),
            Err(error) => error.to_string(),
        };
        notes.iter().fold(email, |text, note| format!("{text}, note on {}", note.about))
    }

    #[test]
    fn an_identify_prefers_the_email_in_its_traits() {
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
            (r#""traits":{"email":"\u200ca@\u200dx.io\u200d"}"#, "a@x.io"),
            (r#""traits":{"email":"undefined"},"email":"d@x.io""#, "d@x.io"),
            (r#""traits":{"email":["a@x.io"]}"#, "a@x.io"),
            (r#""traits":{"email":[null,"","a@x.io","A@X.io"]}"#, "a@x.io"),
            (
                r#""userId":"b","context":{"externalIds":[{"type":"user_id","id":"7"},{"type":"email","id":"a@x.io"}]}"#,
                "a@x.io",
            ),
            (r#""email":"d@x.io","context":{"externalIds":[{"type":"email","id":"a@x.io"}]}"#, "d@x.io"),
            (r#""context":{"externalIds":[{"type":"email","id":"a@x.io"},{"type":"email","id":"b@x.io"}]}"#, "none"),
            (r#""context":{"externalIds":[{"type":"ios.idfa","id":"a@x.io"},5,{"type":"email"}]}"#, "none"),
            (r#""context":{"externalIds":{"type":"email","id":"a@x.io"}}"#, "none"),
        ] {
            assert_eq!(identify(event), email, "{event}");
        }
    }

    #[test]
    fn an_invalid_email_is_an_error_unless_engage_sent_it() {
        let invalid = "Invalid email address: the `traits.email` of this event is not an e-mail address";
        for value in [
            r#""junk""#,
            "5",
            "true",
            r#"{"a":1}"#,
            r#"["a@x.io","b@x.io"]"#,
            r#"["junk"]"#,
            r#"[["a@x.io"]]"#,
            r#""a\u0000b@x.io""#,
        ] {
            let event = format!(r#""traits":{{"email":{value}}},"userId":"b@x.io""#);
            assert_eq!(identify(&event), invalid, "{value}");
            let engage = format!(r#"{event},"context":{{"personas":{{}}}}"#);
            assert_eq!(identify(&engage), "b@x.io, note on email", "{value}");
        }
    }

    #[test]
    fn a_delete_prefers_the_email_beside_its_traits() {
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
            (r#""email":["a@x.io"]"#, "a@x.io"),
            (r#""userId":"5678","context":{"externalIds":[{"type":"Email","id":"a@x.io"}]}"#, "a@x.io"),
            (r#""userId":"b@x.io","context":{"externalIds":[{"type":"email","id":"a@x.io"}]}"#, "b@x.io"),
        ] {
            assert_eq!(delete(event), email, "{event}");
        }
    }
}
