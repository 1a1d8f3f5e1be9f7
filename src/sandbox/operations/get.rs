//! `/affiliate/get`: shows one affiliate, by either identifier. `id` in the response is the *numeric* id.
//!
//! Addresses and phone are never shown. If both identifiers are sent, the numeric one is used (the contract is silent). The id is a
//! number as in the contract's example, or a text as in its declaration: [`SandboxSettings::ids_as_text`].

use crate::domain::Field;
use crate::sandbox::SandboxSettings;
use crate::sandbox::account::SandboxAccount;
use crate::sandbox::error_response::{ErrorResponse, NO_FILTER, NOT_FOUND, not_allowed};
use crate::sandbox::rules;
use serde_json::{Map, Value, json};

pub(super) fn perform(
    account: &SandboxAccount,
    settings: &SandboxSettings,
    body: &Map<String, Value>,
) -> Result<Value, ErrorResponse> {
    rules::reject_unknown_fields(body, |name| matches!(name, "id" | "affiliate_code"))?;
    let affiliate = match (body.get("id"), body.get("affiliate_code")) {
        (Some(id), _) => {
            let id = id.as_u64().ok_or_else(|| ErrorResponse::invalid(not_allowed(id, "id")))?;
            account.by_id(id)
        }
        (None, Some(code)) => {
            let text = code.as_str().ok_or_else(|| ErrorResponse::invalid(not_allowed(code, "affiliate_code")))?;
            account.by_code(text)
        }
        (None, None) => return Err(ErrorResponse::invalid(NO_FILTER)),
    };
    let affiliate = affiliate.ok_or_else(|| ErrorResponse::invalid(NOT_FOUND))?;
    let id = if settings.ids_as_text { json!(affiliate.id.to_string()) } else { json!(affiliate.id) };
    let mut shown = Map::new();
    for field in Field::ALL {
        shown.extend(field.spec().get_name.map(|name| (name.to_owned(), json!(affiliate.field(field.as_str())))));
    }
    shown.insert("id".into(), id);
    shown.insert("offer_id".into(), super::offer_id(affiliate, settings).into());
    shown.insert("status".into(), json!(affiliate.status));
    shown.insert("link".into(), json!(super::link(affiliate)));
    shown.insert("custom_fields".into(), json!(super::custom_fields(affiliate)));
    Ok(shown.into())
}
