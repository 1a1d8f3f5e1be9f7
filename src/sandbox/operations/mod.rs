//! The operations: the fields, the rules, the effect and the response of each.
//!
//! In: the account and a JSON object. Out: the body of a 200, or an error response. Invariant: a call with an error response has
//! changed nothing. Deliberately absent: API keys, faults and transport, which are checked before.

mod edit;
mod get;
mod new;
mod search;
mod status_change;

use super::account::{SandboxAccount, SandboxAffiliate};
use super::error_response::ErrorResponse;
use super::{Operation, SandboxSettings};
use crate::domain::Timestamp;
use serde_json::{Map, Value, json};

/// Performs one operation.
pub(super) fn perform(
    operation: Operation,
    account: &mut SandboxAccount,
    settings: &SandboxSettings,
    body: &Map<String, Value>,
    now: Timestamp,
) -> Result<Value, ErrorResponse> {
    match operation {
        Operation::New => new::perform(account, settings, body, now),
        Operation::Search => search::search(account, settings, body),
        Operation::List => search::list(account, settings, body),
        Operation::Get => get::perform(account, settings, body),
        Operation::Edit => edit::perform(account, settings, body),
        Operation::StatusChange => status_change::perform(account, body),
    }
}

fn link(affiliate: &SandboxAffiliate) -> String {
    format!("https://site.refersion.com/c/{}", affiliate.code)
}

pub(super) fn offer_id(affiliate: &SandboxAffiliate, settings: &SandboxSettings) -> String {
    affiliate.fields.get("offer").cloned().unwrap_or_else(|| settings.default_offer().to_string())
}

/// Custom fields as Refersion shows them: by label, although `edit` takes them by id. The labels here contain the ids.
fn custom_fields(affiliate: &SandboxAffiliate) -> Value {
    let shown = |(id, value): (&String, &String)| json!({"label": format!("Custom field {id}"), "value": value});
    affiliate.custom_fields.iter().map(shown).collect()
}

/// The body of a 200 with the ids that changed and the ids that did not.
fn ids_by_change(outcomes: impl IntoIterator<Item = (u64, bool)>) -> Value {
    let (changed, kept): (Vec<_>, Vec<_>) = outcomes.into_iter().partition(|(_, changed)| *changed);
    let ids = |half: Vec<(u64, bool)>| half.into_iter().map(|(id, _)| id).collect::<Vec<_>>();
    json!({"ids_changed": ids(changed), "ids_not_changed": ids(kept)})
}
