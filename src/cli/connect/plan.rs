//! The plan of changes at Segment, after which a source sends its events to the webhook.
//!
//! In: the wanted destination, and the existing one. Out: the steps, and a summary for people. A destination counts as ours if a
//! subscription of it sends to the URL or, failing that, if it has our name. Invariants: a value that is right is not changed; fields that
//! others set, such as headers, are kept.

use super::ExistingDestination;
use crate::segment_api::{Destination, DestinationChange, Source, Subscription, Webhook};
use serde_json::{Value, json};
use url::Url;

/// The name of the destination and of its subscription.
pub(super) const NAME: &str = "Refersion";
/// The trigger: the events that are sent. It names deletions, too, in case Segment forwards them.
const TRIGGER: &str = "type = \"identify\" or type = \"delete\"";

/// The wanted destination of a source.
pub(super) struct Wanted<'a> {
    pub(super) url: &'a Url,
    pub(super) webhook: &'a Webhook,
    /// The shared secret of a new destination.
    pub(super) secret: &'a str,
    /// Whether an existing destination gets this secret, too. Segment may not show its present one.
    pub(super) replaces_secret: bool,
}

/// The plan of one source.
pub(super) struct Plan {
    pub(super) steps: Vec<DestinationChange>,
    /// `created`, `unchanged`, or `changed:` and the changes.
    pub(super) summary: String,
}

/// Whether a destination was set up by this command for `url`, or for any.
pub(super) fn is_ours(found: &ExistingDestination, url: Option<&Url>) -> bool {
    found.destination.name.as_deref() == Some(NAME) || url.is_some_and(|url| sends_to(found, url))
}

fn sends_to(found: &ExistingDestination, url: &Url) -> bool {
    found.subscriptions.iter().any(|subscription| has_url(subscription, url))
}

fn has_url(subscription: &Subscription, url: &Url) -> bool {
    subscription.settings["url"].as_str().is_some_and(|text| text == url.as_str())
}

/// Our destination on a source.
pub(super) fn of_source<'a>(
    found: &'a [ExistingDestination],
    source: &Source,
    url: &Url,
) -> Option<&'a ExistingDestination> {
    let here = || found.iter().filter(|found| found.destination.source_id == source.id);
    here().find(|found| sends_to(found, url)).or_else(|| here().find(|found| is_ours(found, None)))
}

/// The plan by which `source` gets the wanted destination. `there`: our existing destination on the source.
pub(super) fn plan(wanted: &Wanted, source: &Source, there: Option<&ExistingDestination>) -> Plan {
    let Some(there) = there else {
        let settings = json!({"sharedSecret": wanted.secret});
        let create = json!({"sourceId": source.id, "metadataId": wanted.webhook.id, "enabled": true, "name": NAME, "settings": settings});
        let steps = vec![DestinationChange::CreateDestination(create), new_subscription(wanted)];
        return Plan { steps, summary: "created".to_owned() };
    };
    let (mut steps, mut changed) = (Vec::new(), Vec::new());
    if let Some(body) = destination(wanted, &there.destination, &mut changed) {
        steps.push(DestinationChange::UpdateDestination(body));
    }
    let mut ours = there.subscriptions.iter();
    let by_url = ours.clone().find(|subscription| has_url(subscription, wanted.url));
    if let Some(there) = by_url.or_else(|| ours.find(|subscription| subscription.name == NAME)) {
        if let Some(body) = subscription(wanted, there, &mut changed) {
            steps.push(DestinationChange::UpdateSubscription(there.id.clone(), json!({"input": body})));
        }
    } else {
        changed.push("a subscription is added");
        steps.push(new_subscription(wanted));
    }
    let summary = if changed.is_empty() { "unchanged".to_owned() } else { format!("changed: {}", changed.join(", ")) };
    Plan { steps, summary }
}

fn new_subscription(wanted: &Wanted) -> DestinationChange {
    DestinationChange::CreateSubscription(json!({
        "name": NAME,
        "actionId": wanted.webhook.action,
        "trigger": TRIGGER,
        "enabled": true,
        "settings": fields(wanted.url),
    }))
}

/// The fields of the action. A batch of size 0 has Segment's own size.
fn fields(url: &Url) -> Value {
    json!({"url": url.as_str(), "method": "POST", "batch_size": 0, "data": {"@path": "$."}})
}

fn destination(wanted: &Wanted, there: &Destination, changed: &mut Vec<&'static str>) -> Option<Value> {
    let mut body = json!({});
    if !there.enabled {
        changed.push("switched on");
        body["enabled"] = true.into();
    }
    if wanted.replaces_secret && there.settings["sharedSecret"] != wanted.secret {
        changed.push("shared secret");
        let mut settings = if there.settings.is_object() { there.settings.clone() } else { json!({}) };
        settings["sharedSecret"] = wanted.secret.into();
        body["settings"] = settings;
    }
    body.as_object().is_some_and(|body| !body.is_empty()).then_some(body)
}

fn subscription(wanted: &Wanted, there: &Subscription, changed: &mut Vec<&'static str>) -> Option<Value> {
    let mut body = json!({});
    if !there.enabled {
        changed.push("subscription switched on");
        body["enabled"] = true.into();
    }
    if there.trigger != TRIGGER {
        changed.push("trigger");
        body["trigger"] = TRIGGER.into();
    }
    let mut settings = if there.settings.is_object() { there.settings.clone() } else { json!({}) };
    for (name, what) in [("url", "URL"), ("method", "method"), ("batch_size", "batch size"), ("data", "data")] {
        let value = fields(wanted.url)[name].clone();
        if settings[name] != value {
            changed.push(what);
            settings[name] = value;
        }
    }
    if settings != there.settings {
        body["settings"] = settings;
    }
    body.as_object().is_some_and(|body| !body.is_empty()).then_some(body)
}
