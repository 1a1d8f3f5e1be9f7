//! `/affiliate/edit`: changes several affiliates in one call, by numeric id. The status is 200 even if some did not change.
//!
//! The whole call is validated before it takes effect: with one invalid value nothing changes. An affiliate is listed as not changed,
//! without a reason, if its id is unknown, if it has these values already, or if the account does not have the offer.
//! Where the contract is silent: an entry with only an id changes nothing; the number of entries is not limited; an empty text
//! clears a free text or a state, and is invalid where a name, an e-mail address or a country is expected.

use crate::domain;
use crate::sandbox::SandboxSettings;
use crate::sandbox::account::{SandboxAccount, SandboxAffiliate};
use crate::sandbox::error_response::{EMAIL_TAKEN, ErrorResponse, not_allowed};
use crate::sandbox::rules::{self, FieldRule, Rule, optional};
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

/// The fields of an affiliate that are texts in `edit`.
static TEXTS: LazyLock<Vec<FieldRule>> =
    LazyLock::new(|| domain::Field::ALL.iter().filter_map(|field| rules::in_edit(*field)).collect());
const CUSTOM: FieldRule = optional("custom_fields", Rule::Text);

/// One valid entry of `affiliates`.
struct Edit {
    id: u64,
    fields: Vec<(String, String)>,
    custom_fields: Vec<(String, String)>,
    offer: Option<u64>,
}

pub(super) fn perform(
    account: &mut SandboxAccount,
    settings: &SandboxSettings,
    body: &Map<String, Value>,
) -> Result<Value, ErrorResponse> {
    rules::reject_unknown_fields(body, |name| name == "affiliates")?;
    let affiliates = body.get("affiliates").ok_or(ErrorResponse::MissingField("affiliates"))?;
    let entries = affiliates
        .as_array()
        .filter(|entries| !entries.is_empty() && entries.iter().all(Value::is_object))
        .ok_or_else(|| ErrorResponse::invalid(not_allowed(affiliates, "affiliates")))?;
    let mut edits = Vec::new();
    let mut messages = Vec::new();
    for entry in entries.iter().filter_map(Value::as_object) {
        edits.push(parse_edit(entry, &mut messages)?);
    }
    if messages.is_empty() && takes_an_email(account, &edits) {
        messages.push(EMAIL_TAKEN.to_owned());
    }
    if !messages.is_empty() {
        return Err(ErrorResponse::Invalid(messages));
    }
    Ok(super::ids_by_change(edits.into_iter().map(|edit| {
        let offered = edit.offer.is_none_or(|offer| settings.has_offer(offer));
        (edit.id, offered && account.change(edit.id, |affiliate| apply(affiliate, edit)))
    })))
}

/// The changes in one entry. Messages about invalid values are added to `messages`.
fn parse_edit(entry: &Map<String, Value>, messages: &mut Vec<String>) -> Result<Edit, ErrorResponse> {
    let own = |name: &str| matches!(name, "id" | "offer" | "custom_fields");
    rules::reject_unknown_fields(entry, |name| own(name) || TEXTS.iter().any(|field| field.name == name))?;
    let id = entry.get("id").ok_or(ErrorResponse::MissingField("id"))?;
    let number = |value: &Value, field, messages: &mut Vec<String>| {
        let number = value.as_u64();
        messages.extend(number.is_none().then(|| not_allowed(value, field)));
        number
    };
    let id = number(id, "id", messages).unwrap_or_default();
    let offer = entry.get("offer").and_then(|offer| number(offer, "offer", messages));
    let custom_fields = entry.get("custom_fields").map(|fields| custom_fields(fields, messages)).unwrap_or_default();
    let texts: Map<_, _> = entry.clone().into_iter().filter(|(name, _)| !own(name)).collect();
    let (fields, broken) = rules::read_texts(&texts, &TEXTS)?;
    messages.extend(broken);
    Ok(Edit { id, fields: fields.into_iter().collect(), custom_fields, offer })
}

/// `[{"1234": "Hello World"}, …]`: a list of objects, whose keys are the ids of custom fields (digits).
fn custom_fields(value: &Value, messages: &mut Vec<String>) -> Vec<(String, String)> {
    let objects: Option<Vec<_>> = value.as_array().and_then(|list| list.iter().map(Value::as_object).collect());
    let pairs: Vec<_> = objects.iter().flatten().flat_map(|object| object.iter()).collect();
    let ids = pairs.iter().all(|(id, _)| !id.is_empty() && id.bytes().all(|b| b.is_ascii_digit()));
    if objects.is_none() || !ids {
        messages.push(not_allowed(value, CUSTOM.name));
        return Vec::new();
    }
    let mut fields = Vec::new();
    for (id, value) in pairs {
        match rules::check(&CUSTOM, value) {
            Ok(text) => fields.push((id.clone(), text.to_owned())),
            Err(message) => messages.push(message),
        }
    }
    fields
}

/// Whether an edit has an e-mail that belongs to another affiliate, or that an earlier edit of the same call has.
fn takes_an_email(account: &SandboxAccount, edits: &[Edit]) -> bool {
    let mut wanted: HashMap<String, u64> = HashMap::new();
    edits.iter().filter(|edit| account.by_id(edit.id).is_some()).any(|edit| {
        edit.fields.iter().filter(|(name, _)| name == "email").any(|(_, email)| {
            let first = *wanted.entry(email.to_lowercase()).or_insert(edit.id);
            first != edit.id || account.email_taken(email, Some(edit.id))
        })
    })
}

fn apply(affiliate: &mut SandboxAffiliate, edit: Edit) {
    let offer = edit.offer.map(|offer| ("offer".to_owned(), offer.to_string()));
    for (name, text) in edit.fields.into_iter().chain(offer) {
        if text.is_empty() {
            affiliate.fields.remove(&name);
        } else {
            affiliate.fields.insert(name, text);
        }
    }
    affiliate.custom_fields.extend(edit.custom_fields);
}
