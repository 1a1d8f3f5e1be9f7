//! Sends events to a running service, and sends again those that it could not store.
//!
//! In: events of one request. Out: an answer for each event. If the service is full, stopping or not reachable, the request is retried
//! after a growing wait or its `Retry-After`, until [`GIVE_UP`] has passed without success. Invariant: the next request is sent only once
//! every event of this one is answered.

use super::report::EventResult;
use crate::cli::eprint;
use crate::cli::http_client::{Credentials, HttpClient, HttpResponse};
use crate::domain::ApiKey;
use axum::http::Method;
use serde::Deserialize;
use std::time::Duration;
use tokio::time::{Instant, sleep};
use url::Url;

/// One event of the file.
pub(super) struct FileEvent {
    /// The line on which the event begins.
    pub(super) line: u64,
    /// The text of the event, or the reason why it has none.
    pub(super) text: Result<String, String>,
}

/// Sends events with the credentials of one account.
pub(super) struct Sender {
    http: HttpClient,
    url: Url,
    key: ApiKey,
}

/// The members of a response body that are used.
#[derive(Default, Deserialize)]
struct Body {
    #[serde(default)]
    message: String,
    #[serde(default)]
    results: Vec<ResponseItem>,
}

#[derive(Deserialize)]
struct ResponseItem {
    status: String,
    #[serde(default)]
    message: String,
}

/// The longest wait for the answer to a request.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(60);
/// The largest response: a result for each of a hundred events.
const MAX_RESPONSE_BYTES: usize = 1024 * 1024;
/// The first wait before a request is repeated; it doubles up to the longest one.
const FIRST_WAIT: Duration = Duration::from_secs(1);
const LONGEST_WAIT: Duration = Duration::from_secs(60);
/// The time without success after which the import ends. A later run continues it.
const GIVE_UP: Duration = Duration::from_secs(15 * 60);

impl Sender {
    pub(super) fn new(url: Url, key: ApiKey) -> Result<Self, String> {
        let is_plain = url.scheme() == "http";
        let http = if is_plain { HttpClient::new(REQUEST_TIMEOUT) } else { HttpClient::with_tls(REQUEST_TIMEOUT) };
        Ok(Self { http: http?, url, key })
    }

    /// Sends the events of one request, until all are answered.
    pub(super) async fn send(&self, events: Vec<FileEvent>) -> Result<Vec<EventResult>, String> {
        let (mut answers, mut unsent) = (Vec::new(), Vec::new());
        for FileEvent { line, text } in events {
            match text {
                Ok(text) => unsent.push((line, text)),
                Err(malformed) => answers.push(refused(line, malformed)),
            }
        }
        let (began, mut wait) = (Instant::now(), FIRST_WAIT);
        while !unsent.is_empty() {
            let retry_after = match self.attempt(&unsent).await? {
                RequestEnd::Answered(results) => {
                    unsent = take_answers(unsent, results, &mut answers);
                    None
                }
                RequestEnd::Failed { retry_after, reason } => {
                    if began.elapsed() > GIVE_UP {
                        return Err(format!("{reason}; run the same command again to go on from here"));
                    }
                    if wait == FIRST_WAIT {
                        eprint(&format!("{reason}; trying again for up to {} minutes", GIVE_UP.as_secs() / 60));
                    }
                    retry_after
                }
            };
            if !unsent.is_empty() {
                sleep(retry_after.unwrap_or(wait)).await;
                wait = (2 * wait).min(LONGEST_WAIT);
            }
        }
        Ok(answers)
    }

    async fn attempt(&self, events: &[(u64, String)]) -> Result<RequestEnd, String> {
        let texts: Vec<&str> = events.iter().map(|(_, text)| text.as_str()).collect();
        let body = format!("[{}]", texts.join(","));
        let received = self
            .http
            .request(Method::POST, &self.url, Credentials::Key(&self.key), Some(body), MAX_RESPONSE_BYTES)
            .await;
        let HttpResponse { status, retry_after, body } = match received {
            Ok(received) => received,
            Err(reason) => return Ok(RequestEnd::Failed { retry_after: None, reason }),
        };
        let body: Body = serde_json::from_slice(&body).unwrap_or_default();
        let reason = format!("{} answered {status}: {}", self.url, body.message);
        match status {
            // 501: every event has a result, and none is an identify or a delete.
            429 | 500 | 502.. => Ok(RequestEnd::Failed { retry_after, reason }),
            _ if body.results.len() == events.len() => Ok(RequestEnd::Answered(body.results)),
            _ => Err(reason),
        }
    }
}

/// The end of a request.
enum RequestEnd {
    /// The service has a result for each event.
    Answered(Vec<ResponseItem>),
    /// The service could not store the events.
    Failed { retry_after: Option<Duration>, reason: String },
}

/// Adds the answers of the events that are finished, and returns the others, which are sent again.
fn take_answers(
    sent: Vec<(u64, String)>,
    results: Vec<ResponseItem>,
    answers: &mut Vec<EventResult>,
) -> Vec<(u64, String)> {
    let mut again = Vec::new();
    for ((line, text), ResponseItem { status, message }) in sent.into_iter().zip(results) {
        match &*status {
            "backlog_full" | "unavailable" | "error" => again.push((line, text)),
            "rejected" | "too_large" | "unauthorized" => {
                answers.push(EventResult { line, status, refusal: Some(message) });
            }
            _ => answers.push(EventResult { line, status, refusal: None }),
        }
    }
    again
}

fn refused(line: u64, reason: String) -> EventResult {
    EventResult { line, status: "refused".to_owned(), refusal: Some(reason) }
}
