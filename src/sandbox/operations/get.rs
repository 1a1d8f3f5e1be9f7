//! `/affiliate/get`: one affiliate by either identifier, with the *numeric* id in `id`.
//!
//! Addresses and phone are never shown. When both identifiers are sent the numeric one decides (the contract
//! is silent). The id is a number as in the contract's example, or a text as its declaration says: [`SandboxSettings::ids_as_text`].

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
    Ok(json!({
        "id": id,
        "offer_id": super::offer_id(affiliate, settings),
        "status": affiliate.status,
        "first_name": affiliate.field("first_name"),
        "last_name": affiliate.field("last_name"),
        "company_name": affiliate.field("company"),
        "email": affiliate.email(),
        "link": super::link(affiliate),
        "custom_fields": super::custom_fields(affiliate),
    }))
}
