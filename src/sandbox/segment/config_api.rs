//! The Config API of the simulated Segment, as far as an app with the scope of one destination may use it.
//!
//! In: a method, the path below `/v1beta/`, headers and a body. Out: a JSON answer. Checks are made in this order: the token, the
//! path, the scope and the sources that were chosen, the body, and whether the destination is there.

use super::super::call::SandboxResponse;
use super::state::{SegmentCall, SegmentDestination, SegmentState};
use super::{SegmentSettings, oauth};
use axum::http::HeaderMap;
use serde_json::{Value, json};

/// Handles a call of the Config API.
pub(super) fn perform(
    settings: &SegmentSettings,
    state: &mut SegmentState,
    call: SegmentCall,
    path: &str,
    headers: &HeaderMap,
    bytes: &[u8],
) -> Result<Value, SandboxResponse> {
    if !oauth::has_token(state, headers) {
        return Err(error(401, "malformed token"));
    }
    let Some((source, slug)) = path.split_once("/destinations") else { return Err(error(403, "permission denied")) };
    check_source(settings, state, source)?;
    let own = settings.scope.strip_prefix("destination/").unwrap_or_default();
    let name = format!("{source}/destinations/{own}");
    let body: Value = serde_json::from_slice(bytes).unwrap_or_default();
    if call == SegmentCall::CreateDestination {
        if !slug.is_empty() {
            return Err(error(404, "not found"));
        }
        return create(state, &name, &body["destination"]);
    }
    if slug.strip_prefix('/') != Some(own) {
        return Err(error(403, "permission denied"));
    }
    match call {
        SegmentCall::UpdateDestination => update(state, &name, &body),
        SegmentCall::DeleteDestination => {
            state.destinations.remove(&name).map(|_| json!({})).ok_or_else(|| error(404, "not found"))
        }
        _ => state.destinations.get(&name).map(SegmentDestination::to_json).ok_or_else(|| error(404, "not found")),
    }
}

/// The app may change the sources that the merchant chose, and no other.
fn check_source(settings: &SegmentSettings, state: &SegmentState, name: &str) -> Result<(), SandboxResponse> {
    let slug = name.strip_prefix(&format!("workspaces/{}/sources/", settings.workspace));
    let permitted = slug.is_some_and(|slug| state.install.iter().flatten().any(|source| source == slug));
    if permitted { Ok(()) } else { Err(error(403, "permission denied")) }
}

fn create(state: &mut SegmentState, name: &str, destination: &Value) -> Result<Value, SandboxResponse> {
    if destination["name"] != name {
        return Err(error(if destination.is_object() { 403 } else { 400 }, "invalid destination name"));
    }
    if !["CLOUD", "DEVICE", "UNSPECIFIED"].iter().any(|mode| destination["connection_mode"] == *mode) {
        return Err(error(400, "invalid connection mode"));
    }
    if state.destinations.contains_key(name) {
        return Err(error(409, "already exists"));
    }
    let api_key = key_in(name, &destination["config"])?;
    let enabled = destination["enabled"].as_bool().unwrap_or(false);
    let made = SegmentDestination { name: name.to_owned(), enabled, api_key };
    let shown = made.to_json();
    state.destinations.insert(name.to_owned(), made);
    Ok(shown)
}

/// Changes only the fields that the mask names.
fn update(state: &mut SegmentState, name: &str, body: &Value) -> Result<Value, SandboxResponse> {
    let paths = body["update_mask"]["paths"].as_array().filter(|paths| !paths.is_empty());
    let paths = paths.ok_or_else(|| error(400, "missing update mask"))?;
    if let Some(path) = paths.iter().find(|path| *path != "destination.enabled" && *path != "destination.config") {
        return Err(error(400, &format!("unknown path {path}")));
    }
    let names = |path: &str| paths.iter().any(|other| other == path);
    let new = &body["destination"];
    let api_key = names("destination.config").then(|| key_in(name, &new["config"])).transpose()?;
    let destination = state.destinations.get_mut(name).ok_or_else(|| error(404, "not found"))?;
    if let Some(api_key) = api_key {
        destination.api_key = api_key;
    }
    if names("destination.enabled") {
        destination.enabled = new["enabled"].as_bool().unwrap_or(false);
    }
    Ok(destination.to_json())
}

/// The API key among the settings of a destination.
fn key_in(name: &str, config: &Value) -> Result<String, SandboxResponse> {
    let own = format!("{name}/config/apiKey");
    let setting = config.as_array().and_then(|settings| settings.iter().find(|setting| setting["name"] == own));
    let key = setting.and_then(|setting| setting["value"].as_str());
    key.map(str::to_owned).ok_or_else(|| error(400, "invalid config"))
}

fn error(status: u16, text: &str) -> SandboxResponse {
    SandboxResponse::json(status, json!({"error": text}))
}
