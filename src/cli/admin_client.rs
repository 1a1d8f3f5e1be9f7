//! The client of the operators' API for the commands: it calls a running service, or the routes over a store that the command has opened
//! itself.
//!
//! In: a path with its parameters, or a body. Out: the JSON of the answer, or an error as text, with the message of the API's problem; or all
//! entries of a list, page by page. A service gets the token of the configuration; reading from a loopback listener needs none.

use super::http_client::{Credentials, HttpClient, HttpResponse};
use super::output::reader_is_gone;
use super::{eprint, local_url, print};
use crate::admin::ProblemDetails;
use crate::app::store_api;
use crate::config::Config;
use crate::store::{Retention, Store};
use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{Method, Request};
use hyper::service::Service as _;
use hyper_util::service::TowerToHyperService;
use secrecy::SecretString;
use serde::Deserialize;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::sync::Arc;
use std::time::Duration;
use url::Url;

/// The API, and the way to call it.
pub(super) struct AdminClient {
    url: Url,
    transport: Transport,
}

enum Transport {
    /// To the operators' listener of a service.
    Http(HttpClient, Option<SecretString>),
    /// To the routes in this process, over a store that the command has opened itself.
    Direct(Router, Arc<dyn Store>),
}

/// A list of the API.
pub(super) struct List<'a> {
    /// Its path.
    pub(super) path: &'a str,
    /// Its filter.
    pub(super) query: Value,
    /// The parameter by which the `next` of a page leads to the following one.
    pub(super) cursor: &'a str,
    /// The most entries that are printed.
    pub(super) limit: usize,
    /// The line above the entries, unless they are printed as JSON.
    pub(super) header: &'a str,
    /// The message if there is no entry.
    pub(super) none: &'a str,
}

/// A page of a list.
#[derive(Deserialize)]
struct Page<T> {
    #[serde(alias = "conflicts", alias = "events")]
    entries: Vec<T>,
    next: Option<i64>,
}

/// The most entries of a page.
const PAGE_SIZE: usize = 500;

/// How long the service may take to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer, in bytes: a page of dead letters, or an event.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// The remedy if no service of this release answers.
const HINT: &str =
    "the service that has the store open answers operators on its OPS_LISTEN; pass that address with --ops";

impl AdminClient {
    /// The API of the service whose operators' listener is at `ops`; `None`: at OPS_LISTEN of the configuration.
    pub(super) fn of_service(ops: Option<&Url>, config: &Config) -> Result<Self, String> {
        let url = ops.cloned().map_or_else(|| local_url(config.ops.listen, ""), Ok)?;
        Ok(Self { url, transport: Transport::Http(HttpClient::new(REQUEST_TIMEOUT)?, config.ops.token.clone()) })
    }

    /// The API of a store on which no service with this configuration runs.
    pub(super) fn of_store(store: Arc<dyn Store>, config: &Config) -> Result<Self, String> {
        let url = Url::parse("http://localhost/").map_err(|error| error.to_string())?; // only its paths are used
        Ok(Self { url, transport: Transport::Direct(store_api(Arc::clone(&store), config), store) })
    }

    /// The store, if the command has opened it itself. `None`: a service runs on it, and delivers replayed events.
    pub(super) fn own_store(&self) -> Option<&dyn Store> {
        match &self.transport {
            Transport::Http(..) => None,
            Transport::Direct(_, store) => Some(&**store),
        }
    }

    /// Closes the store after erased data has left its file. A running service does that by itself, within seconds.
    pub(super) async fn close(&self) -> Result<(), String> {
        let Some(store) = self.own_store() else { return Ok(()) };
        let compacted = store.compact(Retention::default()).await;
        store.close().await;
        compacted.map_err(|error| error.to_string())
    }

    /// Prints all entries of `list`, as long as somebody reads them. `line`: an entry as a line of text, or as JSON if `as_json`.
    pub(super) async fn print_list<T: DeserializeOwned>(
        &self,
        list: List<'_>,
        line: fn(&T, bool) -> String,
        as_json: bool,
    ) -> Result<(), String> {
        let List { path, mut query, cursor, limit, header, none } = list;
        let mut left = limit;
        while left > 0 && !reader_is_gone() {
            query["limit"] = left.min(PAGE_SIZE).into();
            let page: Page<T> = self.get(path, &query).await?;
            if left == limit && !page.entries.is_empty() && !as_json {
                print(header);
            }
            page.entries.iter().for_each(|entry| print(&line(entry, as_json)));
            left -= page.entries.len();
            let Some(next) = page.next else { break };
            query[cursor] = next.into();
        }
        if left == limit {
            eprint(none);
        }
        Ok(())
    }

    /// The answer to `GET path`. The members of `query` that are not null are its parameters.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &Value) -> Result<T, String> {
        self.send(Method::GET, path, query, None).await?.read()
    }

    /// The answer to `GET path` without parameters, or `None` for a 404.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        self.send(Method::GET, path, &Value::Null, None).await?.read_if_found()
    }

    /// The answer to `POST path` with this body.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, String> {
        self.send(Method::POST, path, &Value::Null, Some(body)).await?.read()
    }

    /// The answer to `POST path` without a body. The members of `query` that are not null are its parameters.
    pub(super) async fn post_query<T: DeserializeOwned>(&self, path: &str, query: &Value) -> Result<T, String> {
        self.send(Method::POST, path, query, None).await?.read()
    }

    /// The answer to `POST path` without a body, or `None` for a 404.
    pub(super) async fn post_if_found<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        self.send(Method::POST, path, &Value::Null, None).await?.read_if_found()
    }

    async fn send(
        &self,
        method: Method,
        path: &str,
        query: &Value,
        body: Option<&Value>,
    ) -> Result<AdminResponse, String> {
        let mut url = self.url.clone();
        url.set_path(path);
        url.set_query(None);
        // The query may hold what only the caller should see.
        let shown = url.to_string();
        for (name, value) in query.as_object().into_iter().flatten().filter(|(_, value)| !value.is_null()) {
            let text = value.as_str().map_or_else(|| value.to_string(), str::to_owned);
            url.query_pairs_mut().append_pair(name, &text);
        }
        let body = body.map(Value::to_string);
        match &self.transport {
            Transport::Http(http, token) => {
                let credentials = token.as_ref().map_or(Credentials::None, Credentials::Token);
                let received = http.request(method, &url, credentials, body, MAX_ANSWER_BYTES).await;
                let HttpResponse { status, body, .. } = received.map_err(|error| format!("{error}; {HINT}"))?;
                Ok(AdminResponse { service: Some(shown), status, body })
            }
            Transport::Direct(router, _) => {
                let (status, body) =
                    call(router.clone(), method, &url, body).await.map_err(|error| error.to_string())?;
                Ok(AdminResponse { service: None, status, body })
            }
        }
    }
}

/// Calls these routes; returns the status and the body of the answer.
async fn call(router: Router, method: Method, url: &Url, json: Option<String>) -> Result<(u16, Vec<u8>), axum::Error> {
    let request = Request::builder().method(method).uri(url.as_str()).header("Content-Type", "application/json");
    let request = request.body(Body::from(json.unwrap_or_default())).map_err(axum::Error::new)?;
    let answer = TowerToHyperService::new(router).call(request).await.map_err(axum::Error::new)?;
    let status = answer.status().as_u16();
    Ok((status, to_bytes(answer.into_body(), MAX_ANSWER_BYTES).await?.into()))
}

/// An answer of the API.
struct AdminResponse {
    /// The URL that was asked, without parameters, if a service answered.
    service: Option<String>,
    status: u16,
    body: Vec<u8>,
}

impl AdminResponse {
    fn problem(&self) -> Option<ProblemDetails> {
        serde_json::from_slice(&self.body).ok()
    }

    fn read_if_found<T: DeserializeOwned>(&self) -> Result<Option<T>, String> {
        if self.status == 404 && self.problem().is_some() { Ok(None) } else { self.read().map(Some) }
    }

    fn read<T: DeserializeOwned>(&self) -> Result<T, String> {
        let status = self.status;
        if status == 200 {
            return serde_json::from_slice(&self.body).map_err(|error| match &self.service {
                Some(url) => format!("{url} sent an answer that this release cannot read: {error}"),
                None => error.to_string(),
            });
        }
        let detail = self.problem().map_or_else(|| HINT.to_owned(), |problem| problem.detail);
        let Some(url) = &self.service else { return Err(detail) };
        let token = if matches!(status, 401 | 403) { " (this command reads OPS_TOKEN, too)" } else { "" };
        Err(format!("{url} answered {status}: {detail}{token}"))
    }
}
