//! THE outbound status table: what each response of Refersion means (API contract, "Answers that are not success").
//!
//! | status | means |
//! | --- | --- |
//! | 2xx with the operation's fields | success; for `edit` and `status_change` only if our id is among `ids_changed` |
//! | 2xx without them | not a response of Refersion; `new` may still have taken effect |
//! | 204 | rejected: an unknown field was sent |
//! | 3xx | a wrong base URL or a proxy: retry, never follow |
//! | 401 | the key pair is wrong |
//! | 408, 425 | retry |
//! | 429 | rejected if the batch is too long, else rate limited |
//! | 402, 403, unless the account's plan lacks the feature | about the account, not the call: retry |
//! | other 4xx with Refersion's error body | rejected, e-mail taken, or not found, by the error message |
//! | other 4xx without one | not a response of Refersion: retry |
//! | 503 | maintenance: retry; the call took no effect |
//! | other 5xx | retry; `new` may have taken effect |
//!
//! So each response is classified as a success, as retryable or as not retryable. Any answer to `list` except a page is a failure, which
//! harms no event. In: a call, the body that was sent, and the response. Out: a [`Reply`]. Pure. Bodies are read leniently: numbers as
//! numbers or texts, `error` or `errors` as text or list. Deliberately absent: the consequences of a reply ([`crate::delivery`]).

use super::error_message::redact_sent_values;
use super::success_body::{self, text};
use crate::delivery::{ApiKeyVerification, Call, ListPage, Rejection, Reply, TransientFailure};
use serde_json::Value;
use std::time::{Duration, SystemTime};

/// An HTTP response, not interpreted yet.
pub struct RawResponse<'a> {
    /// The status code.
    pub status: u16,
    /// The `Retry-After` header.
    pub retry_after: Option<&'a str>,
    /// The body.
    pub body: &'a [u8],
}

/// The meaning of the `response` to `call`, whose body was `sent`. `now` is needed for a `Retry-After` that is a date.
pub fn reply(call: &Call, sent: &Value, response: &RawResponse<'_>, now: SystemTime) -> Reply {
    reply_with_body(call, sent, response, json(response.body).as_ref(), now)
}

/// The JSON of a body; none if it is not JSON. A byte order mark before it is ignored, because PHP lets one through.
pub(super) fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body.strip_prefix(b"\xEF\xBB\xBF").unwrap_or(body)).ok()
}

/// Like [`reply`], with the parsed body, because one body can answer many calls.
pub(super) fn reply_with_body(
    call: &Call,
    sent: &Value,
    response: &RawResponse<'_>,
    body: Option<&Value>,
    now: SystemTime,
) -> Reply {
    let retry_after = response.retry_after.and_then(|text| wait(text, now));
    let unavailable = |what: String| Reply::Unavailable(failure(call, &what, retry_after));
    match response.status {
        204 => Reply::Rejected(Rejection::Other("it knows no such field (204)".into())),
        200..=299 => body.and_then(|body| success_body::read(call, body)).unwrap_or_else(|| {
            unclear(call, format!("Refersion answered {} without the expected fields", response.status), retry_after)
        }),
        300..=399 => unavailable(format!("a redirect ({}) was answered", response.status)),
        401 => Reply::Unauthorized,
        408 | 425 => unavailable(format!("Refersion answered {}", response.status)),
        429 => match body.map(errors).and_then(|messages| batch_too_long(&messages)) {
            Some(message) => Reply::Rejected(Rejection::Other(redact_sent_values(&message, sent))),
            None => Reply::RateLimited { retry_after },
        },
        402 | 403 if !body.map(errors).is_some_and(|messages| plan_lacks_feature(&messages)) => {
            unavailable(format!("Refersion answered {}", response.status))
        }
        400..=499 => match body.map(errors) {
            Some(messages) if !messages.is_empty() => rejection(&messages, sent),
            _ => unavailable(format!("{} without Refersion's error body was answered", response.status)),
        },
        503 => unavailable("Refersion answered 503".into()),
        status => unclear(call, format!("Refersion answered {status}"), retry_after),
    }
}

/// The reply if the call may have taken effect. This matters only for `new`: other calls can be repeated.
fn unclear(call: &Call, what: String, retry_after: Option<Duration>) -> Reply {
    let failure = failure(call, &what, retry_after);
    if matches!(call, Call::New(_)) { Reply::Lost(failure) } else { Reply::Unavailable(failure) }
}

fn failure(call: &Call, what: &str, retry_after: Option<Duration>) -> TransientFailure {
    TransientFailure { what: format!("{what} to {}", call.operation()), retry_after }
}

/// Reads the result of the verification from the response to `/affiliate/list`. A proxy's page shows nothing. An error body of Refersion
/// other than 401 shows that the API key was accepted, because Refersion checks the key before the request.
pub fn verification(response: &RawResponse<'_>, now: SystemTime) -> ApiKeyVerification {
    let body = json(response.body).unwrap_or_default();
    match response.status {
        200..=299 if body.get("results").is_some() => ApiKeyVerification::Accepted,
        400 | 404 | 422 if !errors(&body).is_empty() => ApiKeyVerification::Accepted,
        401 => ApiKeyVerification::Rejected,
        _ => ApiKeyVerification::Unknown(not_a_list(response, now)),
    }
}

/// Reads a page of Refersion's list of affiliates. Err: anything except a page, without consequences, because no event needs the list. An
/// empty list may have the form of an empty search.
pub fn list_page(response: &RawResponse<'_>, now: SystemTime) -> Result<ListPage, TransientFailure> {
    let body = json(response.body);
    let page = body.as_ref().and_then(|body| match response.status {
        200..=299 => success_body::list_page(body),
        422 if matches!(rejection(&errors(body), body), Reply::NotFound) => Some(ListPage::default()),
        _ => None,
    });
    page.ok_or_else(|| not_a_list(response, now))
}

/// The failure of a request to `/affiliate/list`.
fn not_a_list(response: &RawResponse<'_>, now: SystemTime) -> TransientFailure {
    let without = if response.status < 300 { " without the expected fields" } else { "" };
    let what = format!("Refersion answered {} to list{without}", response.status);
    TransientFailure { what, retry_after: response.retry_after.and_then(|text| wait(text, now)) }
}

/// The wait of a `Retry-After`: seconds, or an HTTP date.
fn wait(text: &str, now: SystemTime) -> Option<Duration> {
    let text = text.trim();
    match text.parse::<u64>() {
        Ok(seconds) => Some(Duration::from_secs(seconds)),
        Err(_) => httpdate::parse_http_date(text).ok().map(|date| date.duration_since(now).unwrap_or_default()),
    }
}

/// Refersion's error messages: `error` or `errors`, a text or a list.
pub(super) fn errors(body: &Value) -> Vec<String> {
    let values = ["error", "errors"].into_iter().filter_map(|key| body.get(key));
    values
        .flat_map(|value| match value {
            Value::Array(items) => items.iter().filter_map(text).collect(),
            value => text(value).into_iter().collect::<Vec<_>>(),
        })
        .collect()
}

/// The message that says that a batch is too long.
fn batch_too_long(messages: &[String]) -> Option<String> {
    messages.iter().find(|message| message.contains("Max number of elements")).cloned()
}

/// Whether the account's plan lacks the feature of the call. Then no retry helps.
fn plan_lacks_feature(messages: &[String]) -> bool {
    messages.iter().any(|message| message.contains("account plan does not support"))
}

fn rejection(messages: &[String], sent: &Value) -> Reply {
    let contain = |part: &str| messages.iter().any(|message| message.to_lowercase().contains(part));
    if contain("is taken by another affiliate") {
        Reply::Rejected(Rejection::EmailTaken)
    } else if contain("could not find affiliates") || contain("affiliate not found") {
        Reply::NotFound
    } else {
        Reply::Rejected(Rejection::Other(redact_sent_values(&messages.join("; "), sent)))
    }
}

#[cfg(test)]
mod tests;
