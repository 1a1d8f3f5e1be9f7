//! The operators' API of a running service, as the commands use it.
//!
//! In: a path with its parameters, or a body. Out: the JSON of the answer, or an error as text, with what the service says in its
//! problem. The token is that of the configuration; reading from a loopback listener needs none.

use super::http_client::{HttpClient, Received};
use crate::admin::ProblemDetails;
use crate::config::Config;
use secrecy::SecretString;
use serde::de::DeserializeOwned;
use serde_json::Value;
use std::time::Duration;
use url::Url;

/// A running service, reached through its operators' listener.
pub(super) struct AdminClient {
    http: HttpClient,
    url: Url,
    token: Option<SecretString>,
}

/// How long the service may take to answer a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest answer, in bytes: a page of dead letters, or an event.
const MAX_ANSWER_BYTES: usize = 16 * 1024 * 1024;
/// What to do if no service of this release answers.
const HINT: &str =
    "the service that has the store open answers operators on its OPS_LISTEN; pass that address with --ops";

impl AdminClient {
    /// The service whose operators' listener is at `url`.
    pub(super) fn new(url: Url, config: &Config) -> Result<Self, String> {
        Ok(Self { http: HttpClient::new(REQUEST_TIMEOUT)?, url, token: config.ops.token.clone() })
    }

    /// The answer to `GET path` with these parameters.
    pub(super) async fn get<T: DeserializeOwned>(&self, path: &str, query: &[(&str, String)]) -> Result<T, String> {
        let (url, answer) = self.send_get(path, query).await?;
        read(&url, &answer)
    }

    /// The same, or `None` if what the path names does not exist.
    pub(super) async fn find<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let (url, answer) = self.send_get(path, &[]).await?;
        read_if_found(&url, &answer)
    }

    /// The answer to `POST path` with this body.
    pub(super) async fn post<T: DeserializeOwned>(&self, path: &str, body: &Value) -> Result<T, String> {
        let (url, answer) = self.send_post(path, Some(body)).await?;
        read(&url, &answer)
    }

    /// The answer to `POST path` with these parameters and without a body.
    pub(super) async fn post_query<T: DeserializeOwned>(
        &self,
        path: &str,
        query: &[(&str, &str)],
    ) -> Result<T, String> {
        let mut url = self.url_of(path);
        url.query_pairs_mut().extend_pairs(query);
        let answer = self.http.post(&url, self.token.as_ref(), None, MAX_ANSWER_BYTES).await;
        read(&url, &answer.map_err(|error| format!("{error}; {HINT}"))?)
    }

    /// The answer to `POST path` without a body, or `None` if what the path names does not exist.
    pub(super) async fn post_if_found<T: DeserializeOwned>(&self, path: &str) -> Result<Option<T>, String> {
        let (url, answer) = self.send_post(path, None).await?;
        read_if_found(&url, &answer)
    }

    async fn send_get(&self, path: &str, query: &[(&str, String)]) -> Result<(Url, Received), String> {
        let mut url = self.url_of(path);
        if !query.is_empty() {
            url.query_pairs_mut().extend_pairs(query);
        }
        let answer = self.http.get(&url, self.token.as_ref(), MAX_ANSWER_BYTES).await;
        Ok((url, answer.map_err(|error| format!("{error}; {HINT}"))?))
    }

    async fn send_post(&self, path: &str, body: Option<&Value>) -> Result<(Url, Received), String> {
        let url = self.url_of(path);
        let answer = self.http.post(&url, self.token.as_ref(), body, MAX_ANSWER_BYTES).await;
        Ok((url, answer.map_err(|error| format!("{error}; {HINT}"))?))
    }

    fn url_of(&self, path: &str) -> Url {
        let mut url = self.url.clone();
        url.set_path(path);
        url
    }
}

fn read_if_found<T: DeserializeOwned>(url: &Url, answer: &Received) -> Result<Option<T>, String> {
    let is_problem = || serde_json::from_slice::<ProblemDetails>(&answer.body).is_ok();
    if answer.status == 404 && is_problem() { Ok(None) } else { read(url, answer).map(Some) }
}

fn read<T: DeserializeOwned>(url: &Url, answer: &Received) -> Result<T, String> {
    let Received { status, body, .. } = answer;
    // The query may hold what only the caller should see.
    let mut shown = url.clone();
    shown.set_query(None);
    if *status != 200 {
        let problem = serde_json::from_slice::<ProblemDetails>(body);
        let what = problem.map_or_else(|_| HINT.to_owned(), |problem| problem.detail);
        let token = if matches!(*status, 401 | 403) { " (this command reads OPS_TOKEN, too)" } else { "" };
        return Err(format!("{shown} answered {status}: {what}{token}"));
    }
    serde_json::from_slice(body)
        .map_err(|error| format!("{shown} sent an answer that this release cannot read: {error}"))
}
