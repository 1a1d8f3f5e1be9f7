//! What a field may hold: one rule per field, told in Refersion's words when it is broken.
//!
//! In go a JSON object and the fields an operation knows, out come texts by field, or a refusal. Order of complaints: a
//! field nobody knows (204), a required one that is missing (400), then every broken rule at once (422).
//! Where the contract is silent: no text is longer than 255 characters; an empty required text is a missing one; an
//! address of an e-mail must look like one; the merchant's own id is ASCII letters and digits, as "alphanumeric" says.

use super::error_response::{ErrorResponse, TOO_LONG, not_allowed};
use crate::domain::{self, Email, Format};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The longest text taken, in characters. The contract speaks of a limit and publishes none: this one is ours.
const CHAR_LIMIT: usize = 255;

const COUNTRIES: &str = "US AE AR AS AT AU BA BD BE BG BR CA CH CL CN CO CR CZ DE DK DZ EE ES FI FM FO FR GB GH GR GU HK \
    HN HR HU ID IE IL IM IN IS IT JM JP KR KW LT LU LV MA MH MK MP MT MX MY NG NL NO NZ OM PE PH PK PL PR PT PW QA RO RS \
    RU SA SE SG SI SK SV TH TN TR TW TZ UA UY VG VI VN WS ZA";

/// What the text of a field must be like.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Any text.
    Text,
    /// Any text but an empty one.
    NonEmpty,
    /// An e-mail address.
    Email,
    /// A country of the list, two upper-case letters.
    Country,
    /// Two or three letters.
    StateCode,
    /// ASCII letters and digits.
    Alphanumeric,
    /// Digits: a page or a limit, from 1 to this number.
    Count(u32),
    /// One of these, in this case.
    OneOf(&'static [&'static str]),
    /// Judged by [`password`], and exempt from the character limit, which has a message of its own there.
    Password,
}

/// A field of an operation that takes texts.
pub(super) struct Field {
    /// Refersion's name of it.
    pub(super) name: &'static str,
    /// Whether the operation is refused without it.
    pub(super) required: bool,
    /// What it may hold.
    pub(super) rule: Rule,
}

pub(super) const fn required(name: &'static str, rule: Rule) -> Field {
    Field { name, required: true, rule }
}

pub(super) const fn optional(name: &'static str, rule: Rule) -> Field {
    Field { name, required: false, rule }
}

/// A field of an affiliate as `new` takes it. There, unlike in `edit`, a state may be any text.
pub(super) fn in_new(field: domain::Field) -> Field {
    let spec = field.spec();
    let rule = match spec.format {
        Format::Email => Rule::Email,
        Format::Country => Rule::Country,
        Format::Alphanumeric => Rule::Alphanumeric,
        Format::Text | Format::NonEmpty | Format::StateCode | Format::Offer => Rule::Text,
    };
    Field { name: spec.name, required: spec.required, rule }
}

/// A field of an affiliate as `edit` takes it; none if `edit` does not take it as a text.
pub(super) fn in_edit(field: domain::Field) -> Option<Field> {
    let rule = match field.spec().format {
        Format::Offer => return None,
        Format::StateCode => Rule::StateCode,
        Format::NonEmpty => Rule::NonEmpty,
        Format::Text | Format::Email | Format::Country | Format::Alphanumeric => in_new(field).rule,
    };
    field.is_editable().then_some(Field { name: field.as_str(), required: false, rule })
}

/// The first field of `body` that is not among `known`, as a refusal.
pub(super) fn reject_unknown_fields(
    body: &Map<String, Value>,
    mut known: impl FnMut(&str) -> bool,
) -> Result<(), ErrorResponse> {
    let stranger = body.keys().find(|name| !known(name));
    stranger.map_or(Ok(()), |name| Err(ErrorResponse::UnknownField(name.clone())))
}

/// The texts of `body`, and a message for each broken rule; refuses unknown and missing fields outright.
pub(super) fn read_texts(
    body: &Map<String, Value>,
    fields: &[Field],
) -> Result<(BTreeMap<String, String>, Vec<String>), ErrorResponse> {
    reject_unknown_fields(body, |name| fields.iter().any(|field| field.name == name))?;
    let empty = |name: &str| body.get(name).is_none_or(|value| value.is_null() || value.as_str() == Some(""));
    if let Some(missing) = fields.iter().find(|field| field.required && empty(field.name)) {
        return Err(ErrorResponse::MissingField(missing.name));
    }
    let mut texts = BTreeMap::new();
    let mut messages = Vec::new();
    for field in fields {
        match body.get(field.name).map(|value| check(field, value)) {
            Some(Ok(text)) => drop(texts.insert(field.name.to_owned(), text.to_owned())),
            Some(Err(message)) => messages.push(message),
            None => {}
        }
    }
    Ok((texts, messages))
}

/// The text of one field, or the message that refuses it. Numbers, booleans and nulls are no texts.
pub(super) fn check<'a>(field: &Field, value: &'a Value) -> Result<&'a str, String> {
    let text = value.as_str().ok_or_else(|| not_allowed(value, field.name))?;
    if !matches!(field.rule, Rule::Password) && text.chars().count() > CHAR_LIMIT {
        return Err(TOO_LONG.to_owned());
    }
    let allowed = match field.rule {
        Rule::Text | Rule::Password => true,
        Rule::NonEmpty => !text.is_empty(),
        Rule::Email => Email::parse(text).is_ok_and(|email| email.as_str() == text),
        Rule::Country => COUNTRIES.split_ascii_whitespace().any(|country| country == text),
        Rule::StateCode => matches!(text.len(), 2 | 3) && text.bytes().all(|b| b.is_ascii_alphabetic()),
        Rule::Alphanumeric => !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric()),
        Rule::Count(limit) => {
            text.bytes().all(|b| b.is_ascii_digit()) && text.parse().is_ok_and(|number| (1..=limit).contains(&number))
        }
        Rule::OneOf(texts) => texts.contains(&text),
    };
    if allowed { Ok(text) } else { Err(not_allowed(value, field.name)) }
}

/// A message for each password rule that `password` breaks.
pub(super) fn password(password: &str, email: &str) -> Vec<String> {
    let chars: Vec<char> = password.chars().collect();
    let any = |holds: fn(&char) -> bool| chars.iter().any(holds);
    let rules = [
        ((9..=72).contains(&chars.len()), "Password must be between 9 and 72 characters."),
        (any(char::is_ascii_uppercase), "Password must contain at least one uppercase letter."),
        (any(char::is_ascii_lowercase), "Password must contain at least one lowercase letter."),
        (any(char::is_ascii_digit), "Password must contain at least one number."),
        (any(char::is_ascii_punctuation), "Password must contain at least one symbol."),
        (
            !chars.windows(4).any(|four| four.iter().all(|c| *c == four[0])),
            "Password must not contain the same character more than 3 times in a row.",
        ),
        (password.to_lowercase() != email.to_lowercase(), "Password must not be the same as the email."),
    ];
    rules.into_iter().filter(|(kept, _)| !kept).map(|(_, message)| message.to_owned()).collect()
}
