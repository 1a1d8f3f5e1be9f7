//! The Public API of the simulated Segment, as far as `connect` uses it: the workspace, sources, the catalog, destinations and
//! their subscriptions.
//!
//! In: a method, the path below `/public/`, the query, headers and a body. Out: a JSON answer. Checks are made in this order: the
//! token, the media type, the path, the body. Where the contract is silent: a page has at most [`SegmentSettings::page_size`]
//! entries, whatever count is asked for; a name that is taken on a source is rejected; ids are numbers in the order of creation;
//! settings are shown as they are, secrets too.

use super::super::call::SandboxResponse;
use super::SegmentSettings;
use axum::http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use axum::http::{HeaderMap, Method};
use serde_json::{Value, json};

const MEDIA_TYPE: &str = "application/vnd.segment.v1+json";
const ALPHA: &str = "application/vnd.segment.v1alpha+json";
/// *Webhooks (Actions)* in the catalog, and its action.
const WEBHOOK: &str = "614a3c7d791c91c41bae7599";
const ACTION: &str = "9uZ5gJrRw2AcqkjYAJ6Nxx";

/// The destinations of the Public API, and their subscriptions.
#[derive(Default)]
pub(super) struct PublicApiState {
    destinations: Vec<Value>,
    /// The subscriptions, each with the id of its destination.
    subscriptions: Vec<Value>,
    made: u64,
}

/// A request.
pub(super) struct PublicRequest<'a> {
    pub(super) method: &'a Method,
    pub(super) path: &'a str,
    pub(super) query: &'a str,
    pub(super) headers: &'a HeaderMap,
    pub(super) body: &'a [u8],
}

type PublicApiResult = Result<Value, SandboxResponse>;

/// Handles a call of the Public API; returns the `data` of the answer.
pub(super) fn perform(
    settings: &SegmentSettings,
    state: &mut PublicApiState,
    request: &PublicRequest,
) -> PublicApiResult {
    let header = |name| request.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default();
    if header(AUTHORIZATION) != format!("Bearer {}", settings.public_api_token) {
        return Err(error(401, "invalid-token", "The token is not valid"));
    }
    let parts: Vec<&str> = request.path.split('/').filter(|part| !part.is_empty()).collect();
    let media_type = if parts.contains(&"subscriptions") { ALPHA } else { MEDIA_TYPE };
    let named = if request.body.is_empty() { header(ACCEPT) } else { header(CONTENT_TYPE) };
    if named != media_type {
        return Err(error(415, "unsupported-media-type", "This version of the API has another media type"));
    }
    let body: Value = serde_json::from_slice(request.body).unwrap_or_default();
    let page = |name: &str, entries: &[Value]| page(settings, request.query, name, entries);
    match (request.method.as_str(), &parts[..]) {
        ("GET", []) => {
            let slug = &settings.workspace;
            Ok(json!({"workspace": {"id": "w1", "slug": slug, "name": format!("The workspace {slug}")}}))
        }
        ("GET", ["sources"]) => page("sources", &sources(settings)),
        ("GET", ["catalog", "destinations"]) => page("destinationsCatalog", &catalog()),
        ("GET", ["destinations"]) => page("destinations", &state.destinations),
        ("GET", ["destinations", id]) => Ok(json!({"destination": state.destination(id)?})),
        ("GET", ["destinations", id, "subscriptions"]) => {
            let id = state.destination(id)?["id"].clone();
            let of_it: Vec<Value> =
                state.subscriptions.iter().filter(|made| made["destinationId"] == id).cloned().collect();
            page("subscriptions", &of_it)
        }
        ("GET", ["destinations", id, "delivery-metrics"]) => {
            state.destination(id)?;
            let metrics = json!([{"metricName": "successes", "total": 41}, {"metricName": "failures", "total": 1}]);
            Ok(json!({"deliveryMetricsSummary": {"metrics": metrics}}))
        }
        ("POST", ["destinations"]) => state.create_destination(settings, &body),
        ("PATCH", ["destinations", id]) => {
            let destination = state.destination(id)?;
            merge(destination, &body, &["name", "enabled", "settings"])?;
            Ok(json!({"destination": destination}))
        }
        ("DELETE", ["destinations", id]) => {
            let id = state.destination(id)?["id"].clone();
            state.destinations.retain(|made| made["id"] != id);
            state.subscriptions.retain(|made| made["destinationId"] != id);
            Ok(json!({"status": "SUCCESS"}))
        }
        ("POST", ["destinations", id, "subscriptions"]) => state.create_subscription(id, &body),
        ("PATCH", ["destinations", _, "subscriptions", id]) => {
            let found = state.subscriptions.iter_mut().find(|made| made["id"] == *id);
            let subscription = found.ok_or_else(not_found)?;
            merge(subscription, &body["input"], &["name", "trigger", "enabled", "settings"])?;
            Ok(json!({"subscription": subscription}))
        }
        _ => Err(not_found()),
    }
}

impl PublicApiState {
    /// All destinations, each with its subscriptions as `subscriptions`.
    pub(super) fn destinations(&self) -> Vec<Value> {
        let with_subscriptions = |destination: &Value| {
            let of_it = self.subscriptions.iter().filter(|made| made["destinationId"] == destination["id"]);
            let mut destination = destination.clone();
            destination["subscriptions"] = of_it.cloned().collect();
            destination
        };
        self.destinations.iter().map(with_subscriptions).collect()
    }

    /// Changes each destination with its first subscription, if it has one.
    pub(super) fn change(&mut self, mut change: impl FnMut(&mut Value, &mut Value)) {
        for destination in &mut self.destinations {
            let mut of_it = self.subscriptions.iter_mut().filter(|made| made["destinationId"] == destination["id"]);
            if let Some(subscription) = of_it.next() {
                change(destination, subscription);
            }
        }
    }

    fn destination(&mut self, id: &str) -> Result<&mut Value, SandboxResponse> {
        self.destinations.iter_mut().find(|made| made["id"] == *id).ok_or_else(not_found)
    }

    fn id(&mut self) -> String {
        self.made += 1;
        format!("id{}", self.made)
    }

    fn create_destination(&mut self, settings: &SegmentSettings, body: &Value) -> PublicApiResult {
        let known = sources(settings).iter().any(|source| source["id"] == body["sourceId"]);
        if !known || body["metadataId"] != WEBHOOK || !body["settings"].is_object() {
            return Err(error(400, "validation-error", "sourceId, metadataId and settings are required"));
        }
        let same = |made: &&Value| made["sourceId"] == body["sourceId"] && made["name"] == body["name"];
        if self.destinations.iter().any(|made| same(&made)) {
            return Err(error(400, "duplicate-entity", "The source has a destination of this name"));
        }
        let destination = json!({
            "id": self.id(),
            "name": body["name"],
            "enabled": body["enabled"].as_bool().unwrap_or(false),
            "metadata": {"id": WEBHOOK, "slug": "actions-webhook"},
            "sourceId": body["sourceId"],
            "settings": body["settings"],
        });
        self.destinations.push(destination.clone());
        Ok(json!({"destination": destination}))
    }

    fn create_subscription(&mut self, destination: &str, body: &Value) -> PublicApiResult {
        let destination = self.destination(destination)?["id"].clone();
        let text = |name: &str| body[name].as_str().is_some_and(|text| !text.is_empty());
        if !text("name") || !text("trigger") || body["actionId"] != ACTION || !body["enabled"].is_boolean() {
            return Err(error(400, "validation-error", "name, actionId, trigger and enabled are required"));
        }
        check_settings(&body["settings"])?;
        let mut subscription = body.clone();
        subscription["id"] = self.id().into();
        subscription["actionSlug"] = "send".into();
        subscription["destinationId"] = destination;
        self.subscriptions.push(subscription.clone());
        Ok(json!({"subscription": subscription}))
    }
}

/// The action `send` takes these fields, and requires a URL.
fn check_settings(settings: &Value) -> Result<(), SandboxResponse> {
    const FIELDS: [&str; 5] = ["url", "method", "batch_size", "headers", "data"];
    let known = settings.as_object().is_some_and(|fields| fields.keys().all(|name| FIELDS.contains(&name.as_str())));
    let url = settings["url"].as_str().is_some_and(|url| url::Url::parse(url).is_ok());
    if known && url { Ok(()) } else { Err(error(400, "validation-error", "the settings are not those of the action")) }
}

fn merge(made: &mut Value, body: &Value, allowed: &[&str]) -> Result<(), SandboxResponse> {
    let fields = body.as_object().filter(|fields| !fields.is_empty());
    let fields = fields.ok_or_else(|| error(400, "validation-error", "nothing is to be changed"))?;
    if fields.keys().any(|name| !allowed.contains(&name.as_str())) {
        return Err(error(400, "validation-error", "an unknown field is to be changed"));
    }
    for (name, value) in fields {
        made[name] = value.clone();
    }
    Ok(())
}

fn page(settings: &SegmentSettings, query: &str, name: &str, entries: &[Value]) -> PublicApiResult {
    let parameter = |wanted: &str| {
        url::form_urlencoded::parse(query.as_bytes())
            .find(|(name, _)| name == wanted)
            .map(|(_, value)| value.into_owned())
    };
    let count = parameter("pagination.count").and_then(|count| count.parse::<usize>().ok());
    let count = count.ok_or_else(|| error(400, "validation-error", "pagination.count is required"))?;
    let count = count.clamp(1, settings.page_size);
    // A cursor has a character that a URL has to escape.
    let cursor = parameter("pagination.cursor");
    let from = cursor.as_deref().map_or(Some(0), |cursor| cursor.strip_prefix("from=")?.parse::<usize>().ok());
    let from = from.ok_or_else(|| error(400, "validation-error", "unknown cursor"))?;
    let shown: Vec<&Value> = entries.iter().skip(from).take(count).collect();
    let mut pagination = json!({"current": format!("from={from}"), "totalEntries": entries.len()});
    if from + count < entries.len() {
        pagination["next"] = format!("from={}", from + count).into();
    }
    Ok(json!({name: shown, "pagination": pagination}))
}

fn sources(settings: &SegmentSettings) -> Vec<Value> {
    let source = |slug: &String| {
        json!({"id": format!("source-{slug}"), "slug": slug, "name": format!("The {slug}"), "workspaceId": "w1",
            "metadata": {"slug": "javascript", "name": "Javascript"}, "enabled": true, "writeKeys": [], "labels": []})
    };
    settings.sources.iter().map(source).collect()
}

fn catalog() -> Vec<Value> {
    let entry = |id: &str, slug: &str, actions: Value| json!({"id": id, "slug": slug, "name": slug, "options": [], "actions": actions, "presets": []});
    let send = json!([{"id": ACTION, "slug": "send", "name": "Send", "fields": []}]);
    vec![
        entry("5cacbf88fa2aed000104edcc", "refersion", json!([])),
        entry("54521fd725e721e32a72eebb", "amplitude", json!([])),
        entry("54521fd825e721e32a72eecc", "webhooks", json!([])),
        entry("54521fd925e721e32a72eedd", "zendesk", json!([])),
        entry(WEBHOOK, "actions-webhook", send),
    ]
}

fn not_found() -> SandboxResponse {
    error(404, "not-found", "There is no such thing")
}

fn error(status: u16, kind: &str, message: &str) -> SandboxResponse {
    SandboxResponse::json(status, json!({"errors": [{"type": kind, "message": message}]}))
}
