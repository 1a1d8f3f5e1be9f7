//! The simulated Refersion's call log, by affiliate: which fields each `new` and `edit` call sent for which affiliate.
//!
//! One call may be about several affiliates, and one delivery may carry several events. So tests read what was sent for an
//! affiliate from here, whichever calls it came in.

use refersion_destination::sandbox::{CallRecord, Sandbox};
use serde_json::Value;

/// What one call sent for one affiliate.
#[derive(Debug)]
pub struct AffiliateUpdate {
    /// The affiliate's numeric id.
    pub id: u64,
    /// The fields sent.
    pub fields: Value,
    /// Whether the call changed or created the affiliate.
    pub effective: bool,
}

/// What a `new` or `edit` call sent for each affiliate that exists.
pub fn affiliate_updates(call: &CallRecord, sandbox: &Sandbox) -> Vec<AffiliateUpdate> {
    if let Some(edits) = call.body["affiliates"].as_array() {
        let changed = |id: &Value| call.response["ids_changed"].as_array().is_some_and(|ids| ids.contains(id));
        let update =
            |edit: &Value| AffiliateUpdate { id: id(edit), fields: edit.clone(), effective: changed(&edit["id"]) };
        return edits.iter().map(update).collect();
    }
    let email = call.body["email"].as_str();
    let affiliate = email.and_then(|email| sandbox.affiliate(email));
    let effective = call.response["link"].is_string();
    // The id is read from the response's sentence, because the affiliate may have another address by now.
    let created = call.response["message"].as_str().and_then(|words| words.split(' ').nth(2)?.parse().ok());
    let id = if effective { created } else { affiliate.map(|affiliate| affiliate.id.0) };
    id.map(|id| AffiliateUpdate { id, fields: call.body.clone(), effective }).into_iter().collect()
}

fn id(edit: &Value) -> u64 {
    edit["id"].as_u64().expect("an id")
}

/// The values of `field` that were sent for the affiliate `id`, in order, and whether they took effect.
pub fn values(field: &str, id: u64, sandbox: &Sandbox) -> Vec<(String, bool)> {
    let calls = sandbox.calls();
    let updates = calls.iter().flat_map(|call| affiliate_updates(call, sandbox)).filter(|update| update.id == id);
    updates.filter_map(|update| Some((update.fields[field].as_str()?.to_owned(), update.effective))).collect()
}
