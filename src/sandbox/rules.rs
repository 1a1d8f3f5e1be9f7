//! Validation of fields: one rule for each field, and Refersion's message for a value that breaks it.
//!
//! In: a JSON object, and the fields of an operation. Out: the texts by field, or an error response. Errors are reported in this
//! order: an unknown field (204), a missing required field (400), all invalid values at once (422).
//! The rules are the same in `new` and in `edit`. Where the contract is silent: a text has at most 255 characters; a required text
//! that is empty counts as missing; an e-mail address must look like one; a state is a code of two or three letters, in `new` as the
//! contract says of `edit`, and an empty one clears it; the merchant's own id is ASCII letters and digits, as "alphanumeric" says.

use super::error_response::{ErrorResponse, TOO_LONG, not_allowed};
use crate::domain::{self, Email, FieldFormat};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// The maximum length of a text in characters. The contract mentions a limit but publishes no number: this one is our choice.
const CHAR_LIMIT: usize = 255;

const COUNTRIES: &str = "US AE AR AS AT AU BA BD BE BG BR CA CH CL CN CO CR CZ DE DK DZ EE ES FI FM FO FR GB GH GR GU HK \
    HN HR HU ID IE IL IM IN IS IT JM JP KR KW LT LU LV MA MH MK MP MT MX MY NG NL NO NZ OM PE PH PK PL PR PT PW QA RO RS \
    RU SA SE SG SI SK SV TH TN TR TW TZ UA UY VG VI VN WS ZA";

/// The rule for the text of a field.
#[derive(Clone, Copy, Debug)]
pub(super) enum Rule {
    /// Any text.
    Text,
    /// Any text but an empty one.
    NonEmpty,
    /// An e-mail address.
    Email,
    /// A country in the list: two upper-case letters.
    Country,
    /// Two or three letters, or nothing.
    StateCode,
    /// ASCII letters and digits.
    Alphanumeric,
    /// Digits: a page or a limit, from 1 to this number.
    Count(u32),
    /// One of these texts, in the same case.
    OneOf(&'static [&'static str]),
    /// Validated by [`password`], which also has its own message for the length.
    Password,
}

/// A text field of an operation.
pub(super) struct FieldRule {
    /// Its name at Refersion.
    pub(super) name: &'static str,
    /// Whether it is required.
    pub(super) required: bool,
    /// The rule for its text.
    pub(super) rule: Rule,
}

pub(super) const fn required(name: &'static str, rule: Rule) -> FieldRule {
    FieldRule { name, required: true, rule }
}

pub(super) const fn optional(name: &'static str, rule: Rule) -> FieldRule {
    FieldRule { name, required: false, rule }
}

/// A field of an affiliate as `new` takes it.
pub(super) fn in_new(field: domain::Field) -> FieldRule {
    let spec = field.spec();
    let rule = match spec.format {
        FieldFormat::Email => Rule::Email,
        FieldFormat::Country => Rule::Country,
        FieldFormat::Alphanumeric => Rule::Alphanumeric,
        FieldFormat::StateCode => Rule::StateCode,
        FieldFormat::Text | FieldFormat::NonEmpty | FieldFormat::Offer => Rule::Text,
    };
    FieldRule { name: spec.name, required: spec.required, rule }
}

/// A field of an affiliate as `edit` takes it; none if `edit` does not take it as a text.
pub(super) fn in_edit(field: domain::Field) -> Option<FieldRule> {
    let rule = match field.spec().format {
        FieldFormat::Offer => return None,
        FieldFormat::NonEmpty => Rule::NonEmpty,
        FieldFormat::Text
        | FieldFormat::Email
        | FieldFormat::Country
        | FieldFormat::StateCode
        | FieldFormat::Alphanumeric => in_new(field).rule,
    };
    field.is_editable().then_some(FieldRule { name: field.as_str(), required: false, rule })
}

/// An error for the first field of `body` that is not `known`.
pub(super) fn reject_unknown_fields(
    body: &Map<String, Value>,
    mut known: impl FnMut(&str) -> bool,
) -> Result<(), ErrorResponse> {
    let unknown = body.keys().find(|name| !known(name));
    unknown.map_or(Ok(()), |name| Err(ErrorResponse::UnknownField(name.clone())))
}

/// The texts of `body`, and a message for each invalid value. Unknown and missing fields are an error at once.
pub(super) fn read_texts(
    body: &Map<String, Value>,
    fields: &[FieldRule],
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

/// The text of one field, or the message about its value. Numbers, booleans and `null` are not texts.
pub(super) fn check<'a>(field: &FieldRule, value: &'a Value) -> Result<&'a str, String> {
    let text = value.as_str().ok_or_else(|| not_allowed(value, field.name))?;
    if !matches!(field.rule, Rule::Password) && text.chars().count() > CHAR_LIMIT {
        return Err(TOO_LONG.to_owned());
    }
    let allowed = match field.rule {
        Rule::Text | Rule::Password => true,
        Rule::NonEmpty => !text.is_empty(),
        Rule::Email => Email::parse(text).is_ok_and(|email| email.as_str() == text),
        Rule::Country => COUNTRIES.split_ascii_whitespace().any(|country| country == text),
        Rule::StateCode => matches!(text.len(), 0 | 2 | 3) && text.bytes().all(|b| b.is_ascii_alphabetic()),
        Rule::Alphanumeric => !text.is_empty() && text.bytes().all(|b| b.is_ascii_alphanumeric()),
        Rule::Count(limit) => {
            text.bytes().all(|b| b.is_ascii_digit()) && text.parse().is_ok_and(|number| (1..=limit).contains(&number))
        }
        Rule::OneOf(texts) => texts.contains(&text),
    };
    if allowed { Ok(text) } else { Err(not_allowed(value, field.name)) }
}

/// A message for each rule that `password` breaks.
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
