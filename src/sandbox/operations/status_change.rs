//! `/affiliate/status_change`: sets the status of up to fifty affiliates, by numeric id. The status code is 200 even if some did not
//! change.
//!
//! `PENDING` is not allowed. An affiliate that has the status already is listed as not changed.

use crate::domain::AffiliateStatus;
use crate::sandbox::account::SandboxAccount;
use crate::sandbox::error_response::{ErrorResponse, not_allowed};
use crate::sandbox::rules;
use serde_json::{Map, Value};

const MAX_IDS: usize = 50;

pub(super) fn perform(account: &mut SandboxAccount, body: &Map<String, Value>) -> Result<Value, ErrorResponse> {
    rules::reject_unknown_fields(body, |name| matches!(name, "ids" | "status"))?;
    let ids = body.get("ids").ok_or(ErrorResponse::MissingField("ids"))?;
    let status = body.get("status").ok_or(ErrorResponse::MissingField("status"))?;
    let list = ids
        .as_array()
        .filter(|list| !list.is_empty())
        .ok_or_else(|| ErrorResponse::invalid(not_allowed(ids, "ids")))?;
    if list.len() > MAX_IDS {
        return Err(ErrorResponse::TooManyElements(MAX_IDS));
    }
    let mut messages = Vec::new();
    let numbers: Vec<u64> = list.iter().filter_map(Value::as_u64).collect();
    messages.extend(list.iter().filter(|id| !id.is_u64()).map(|id| not_allowed(id, "ids")));
    let wanted = match status.as_str() {
        Some("ACTIVE") => AffiliateStatus::Active,
        Some("DENIED") => AffiliateStatus::Denied,
        Some("DISABLED") => AffiliateStatus::Disabled,
        _ => {
            messages.push(not_allowed(status, "status"));
            AffiliateStatus::Pending
        }
    };
    if !messages.is_empty() {
        return Err(ErrorResponse::Invalid(messages));
    }
    Ok(super::ids_by_change(
        numbers.into_iter().map(|id| (id, account.change(id, |affiliate| affiliate.status = wanted))),
    ))
}
