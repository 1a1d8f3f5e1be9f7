//! Segment's Public API, as far as the command `connect` needs it: it sets up a *Webhooks (Actions)* destination.
//!
//! In: a token of the workspace. Out: the workspace, its sources and destinations, and changes of them. Invariants: lists are read to their
//! last page; after a 429 the call waits as long as Segment asks, at most [`MAX_TRIES`] times in a row; the token is only in a header.
//! Deliberately absent: the plan of the changes (`cli/connect/plan.rs`), and repeating a change whose answer was lost: the next run of the
//! command finds its effect.

use super::http::{Http, Method, RequestContent, SegmentCredentials, SegmentResponse};
use super::{HttpClientError, SegmentApiError};
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// The most attempts at a call that Segment answers with 429.
const MAX_TRIES: usize = 5;
/// The longest wait after a 429, and the wait if Segment names none.
const MAX_WAIT: Duration = Duration::from_mins(2);
const DEFAULT_WAIT: Duration = Duration::from_secs(5);
/// Entries on a page of a list.
const PAGE: usize = 100;
/// The most pages of a list; more mean that it does not end.
const MAX_PAGES: usize = 1_000;

const MEDIA_TYPE: &str = "application/vnd.segment.v1+json";
/// The media type of subscriptions, which belong to a later version of the API.
const ALPHA: &str = "application/vnd.segment.v1alpha+json";

/// The slug of *Webhooks (Actions)* in Segment's catalog, and the slug of its action.
const WEBHOOK: &str = "actions-webhook";
const SEND: &str = "send";

/// The Public API of one workspace.
#[derive(Clone, Debug)]
pub struct PublicApi {
    http: Http,
    base_url: Url,
    token: SecretString,
}

/// A call that failed, and why. The text has Segment's own message.
#[derive(Debug, thiserror::Error)]
#[error("{method} {path}: {why}")]
pub struct PublicApiError {
    method: Method,
    path: String,
    why: String,
}

/// The workspace of the token.
#[derive(Clone, Debug, Deserialize)]
pub struct Workspace {
    /// Its slug.
    pub slug: String,
    /// Its name.
    pub name: String,
}

/// A source.
#[derive(Clone, Debug, Deserialize)]
pub struct Source {
    /// Segment's id.
    pub id: String,
    /// Its slug, by which people know it.
    pub slug: String,
    /// Its name.
    pub name: Option<String>,
}

/// *Webhooks (Actions)* in the catalog.
#[derive(Clone, Debug)]
pub struct Webhook {
    /// The id in the catalog.
    pub id: String,
    /// The id of the action that sends.
    pub action: String,
}

/// A destination.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Destination {
    /// Segment's id.
    pub id: String,
    /// Its name.
    pub name: Option<String>,
    /// Whether events are sent to it.
    pub enabled: bool,
    /// Its entry in the catalog.
    pub metadata: Metadata,
    /// The id of its source.
    pub source_id: String,
    /// Its settings.
    #[serde(default)]
    pub settings: Value,
}

/// The entry of a destination in the catalog.
#[derive(Clone, Debug, Deserialize)]
pub struct Metadata {
    /// The id in the catalog.
    pub id: String,
}

/// A subscription: the events that a destination sends, and how.
#[derive(Clone, Debug, Deserialize)]
pub struct Subscription {
    /// Segment's id.
    pub id: String,
    /// Its name.
    #[serde(default)]
    pub name: String,
    /// Whether events are sent.
    pub enabled: bool,
    /// The events, in Segment's query language.
    #[serde(default)]
    pub trigger: String,
    /// The fields of its action.
    #[serde(default)]
    pub settings: Value,
}

/// A call that changes something about a destination, whose id is known once it is created.
#[derive(Clone, Debug)]
pub enum DestinationChange {
    /// Creates it.
    CreateDestination(Value),
    /// Changes it.
    UpdateDestination(Value),
    /// Deletes it, and its subscriptions.
    DeleteDestination,
    /// Creates a subscription of it.
    CreateSubscription(Value),
    /// Changes the subscription with this id.
    UpdateSubscription(String, Value),
}

impl DestinationChange {
    /// The method, the path below the base URL, and the body.
    fn request(&self, id: &str) -> (Method, String, &Value) {
        match self {
            Self::CreateDestination(body) => (Method::POST, "destinations".to_owned(), body),
            Self::UpdateDestination(body) => (Method::PATCH, format!("destinations/{id}"), body),
            Self::DeleteDestination => (Method::DELETE, format!("destinations/{id}"), &Value::Null),
            Self::CreateSubscription(body) => (Method::POST, format!("destinations/{id}/subscriptions"), body),
            Self::UpdateSubscription(subscription, body) => {
                (Method::PATCH, format!("destinations/{id}/subscriptions/{subscription}"), body)
            }
        }
    }

    /// The call as a line of text: the method, the path and the body, without the shared secret.
    pub fn line(&self, id: &str) -> String {
        let (method, path, body) = self.request(id);
        let mut body = body.clone();
        if let Some(secret) = body.pointer_mut("/settings/sharedSecret") {
            *secret = "…".into();
        }
        let body = if body.is_null() { String::new() } else { format!(" {body}") };
        format!("{method} /{path}{body}")
    }
}

impl PublicApi {
    /// The client for a workspace. Opens no connection yet. The path of `base_url` must end with `/`.
    pub fn new(base_url: Url, token: SecretString) -> Result<Self, HttpClientError> {
        Ok(Self { http: Http::new(&[&base_url])?, base_url, token })
    }

    /// The workspace of the token.
    pub async fn workspace(&self) -> Result<Workspace, PublicApiError> {
        let body = self.call(Method::GET, "", &Value::Null).await?;
        read(&body, "workspace").map_err(|why| failed(&Method::GET, "", why))
    }

    /// All sources.
    pub async fn sources(&self) -> Result<Vec<Source>, PublicApiError> {
        self.list("sources", "sources").await
    }

    /// *Webhooks (Actions)* in the catalog.
    pub async fn webhook(&self) -> Result<Webhook, PublicApiError> {
        const PATH: &str = "catalog/destinations";
        let catalog: Vec<Value> = self.list(PATH, "destinationsCatalog").await?;
        let lacks = |what: &str| failed(&Method::GET, PATH, format!("the catalog has no {what}"));
        let webhook = catalog.iter().find(|entry| entry["slug"] == WEBHOOK).ok_or_else(|| lacks(WEBHOOK))?;
        let mut actions = webhook["actions"].as_array().into_iter().flatten();
        let action = actions.find(|action| action["slug"] == SEND).ok_or_else(|| lacks("action send"))?;
        let id = |entry: &Value| entry["id"].as_str().map(str::to_owned).ok_or_else(|| lacks("id"));
        Ok(Webhook { id: id(webhook)?, action: id(action)? })
    }

    /// All destinations.
    pub async fn destinations(&self) -> Result<Vec<Destination>, PublicApiError> {
        self.list("destinations", "destinations").await
    }

    /// The subscriptions of a destination.
    pub async fn subscriptions(&self, destination: &str) -> Result<Vec<Subscription>, PublicApiError> {
        self.list(&format!("destinations/{destination}/subscriptions"), "subscriptions").await
    }

    /// Segment's own delivery metrics of a destination: names and totals.
    pub async fn delivery_metrics(&self, destination: &Destination) -> Result<Vec<(String, u64)>, PublicApiError> {
        let path = format!("destinations/{}/delivery-metrics?sourceId={}", destination.id, destination.source_id);
        let body = self.call(Method::GET, &path, &Value::Null).await?;
        let metrics = body.pointer("/data/deliveryMetricsSummary/metrics").and_then(Value::as_array);
        let metric = |metric: &Value| Some((metric["metricName"].as_str()?.to_owned(), metric["total"].as_u64()?));
        Ok(metrics.into_iter().flatten().filter_map(metric).collect())
    }

    /// Makes a change of the destination `id`. Returns the id of what was created or changed; empty after a deletion.
    pub async fn make(&self, change: &DestinationChange, id: &str) -> Result<String, PublicApiError> {
        let (method, path, body) = change.request(id);
        let body = self.call(method, &path, body).await?;
        let made = ["destination", "subscription"].iter().find_map(|name| body["data"][name]["id"].as_str());
        Ok(made.unwrap_or_default().to_owned())
    }

    /// Every entry of a list, page by page.
    async fn list<T: DeserializeOwned>(&self, path: &str, name: &str) -> Result<Vec<T>, PublicApiError> {
        let (mut entries, mut cursor) = (Vec::new(), None::<String>);
        for _ in 0..MAX_PAGES {
            let query = cursor.as_ref().map(|cursor| format!("&pagination.cursor={}", encoded(cursor)));
            let page = format!("{path}?pagination.count={PAGE}{}", query.unwrap_or_default());
            let body = self.call(Method::GET, &page, &Value::Null).await?;
            let found: Vec<T> = read(&body, name).map_err(|why| failed(&Method::GET, path, why))?;
            entries.extend(found);
            match body.pointer("/data/pagination/next").and_then(Value::as_str) {
                Some(next) if !next.is_empty() => cursor = Some(next.to_owned()),
                _ => return Ok(entries),
            }
        }
        Err(failed(&Method::GET, path, "the list does not end".to_owned()))
    }

    /// Makes a call, and repeats it while Segment answers 429. `body` is `null` if there is none.
    async fn call(&self, method: Method, path: &str, body: &Value) -> Result<Value, PublicApiError> {
        let media_type = if path.contains("/subscriptions") { ALPHA } else { MEDIA_TYPE };
        let url = self.base_url.join(path).map_err(|error| failed(&method, path, error.to_string()))?;
        for number in 1.. {
            let content = if body.is_null() {
                RequestContent::Accept(media_type)
            } else {
                RequestContent::Json(media_type, body.clone())
            };
            let sent =
                self.http.send(method.clone(), url.clone(), &SegmentCredentials::Bearer(&self.token), content).await;
            let answer = sent.map_err(|error| failed(&method, path, error.to_string()))?;
            match SegmentApiError::of_status(answer.status, answer.retry_after) {
                None => return Ok(answer.body),
                Some(SegmentApiError::TooManyCalls(wait)) if number < MAX_TRIES => {
                    let wait = wait.unwrap_or(DEFAULT_WAIT).min(MAX_WAIT);
                    tracing::info!("Segment limits the rate of calls: waiting {} s", wait.as_secs());
                    tokio::time::sleep(wait).await;
                }
                Some(error) => return Err(failed(&method, path, failure_text(&answer, &error))),
            }
        }
        unreachable!("the last try returns")
    }
}

/// Segment's message about a failure.
fn failure_text(answer: &SegmentResponse, error: &SegmentApiError) -> String {
    let messages = answer.body["errors"].as_array().into_iter().flatten().filter_map(|error| error["message"].as_str());
    let messages = messages.collect::<Vec<_>>().join("; ");
    let hint = match error {
        SegmentApiError::Unauthorized => ": SEGMENT_PUBLIC_API_TOKEN is not a token of this region's Public API",
        SegmentApiError::Forbidden => ": the token needs the role Workspace Owner",
        _ => "",
    };
    if messages.is_empty() { format!("{error}{hint}") } else { format!("{error}{hint} ({messages})") }
}

fn failed(method: &Method, path: &str, why: String) -> PublicApiError {
    let path = path.split('?').next().unwrap_or_default();
    PublicApiError { method: method.clone(), path: format!("/{path}"), why }
}

/// The member `name` of the data of an answer.
fn read<T: DeserializeOwned>(body: &Value, name: &str) -> Result<T, String> {
    T::deserialize(&body["data"][name]).map_err(|error| format!("the answer has no valid `{name}`: {error}"))
}

fn encoded(text: &str) -> String {
    url::form_urlencoded::byte_serialize(text.as_bytes()).collect()
}
