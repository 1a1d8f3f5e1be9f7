//! What Refersion's journal tells of single affiliates: a call may be about several, and an event may be carried out with others.

use refersion_destination::sandbox::{CallRecord, Sandbox};
use serde_json::Value;

/// What one call said of one affiliate.
#[derive(Debug)]
pub struct Told {
    /// The affiliate's numeric id.
    pub id: u64,
    /// The fields said.
    pub said: Value,
    /// Whether that changed the affiliate (or made it).
    pub effective: bool,
}

/// What `new` and `edit` calls said, of each affiliate that came to be.
pub fn told(call: &CallRecord, sandbox: &Sandbox) -> Vec<Told> {
    if let Some(edits) = call.body["affiliates"].as_array() {
        let changed = |id: &Value| call.response["ids_changed"].as_array().is_some_and(|ids| ids.contains(id));
        let told = |edit: &Value| Told { id: id(edit), said: edit.clone(), effective: changed(&edit["id"]) };
        return edits.iter().map(told).collect();
    }
    let email = call.body["email"].as_str();
    let affiliate = email.and_then(|email| sandbox.affiliate(email));
    let effective = call.response["link"].is_string();
    // In a sentence: it may have another address by now.
    let made = call.response["message"].as_str().and_then(|words| words.split(' ').nth(2)?.parse().ok());
    let id = if effective { made } else { affiliate.map(|affiliate| affiliate.id.0) };
    id.map(|id| Told { id, said: call.body.clone(), effective }).into_iter().collect()
}

fn id(edit: &Value) -> u64 {
    edit["id"].as_u64().expect("an id")
}

/// The values of `field` that were said of the affiliate `id`, in order, and whether they took effect.
pub fn values(field: &str, id: u64, sandbox: &Sandbox) -> Vec<(String, bool)> {
    let calls = sandbox.calls();
    let all = calls.iter().flat_map(|call| told(call, sandbox)).filter(|told| told.id == id);
    all.filter_map(|told| Some((told.said[field].as_str()?.to_owned(), told.effective))).collect()
}
