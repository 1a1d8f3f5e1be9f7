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
//! | other 4xx with Refersion's error body | rejected, e-mail taken, or not found, by the error message |
//! | other 4xx without one | not a response of Refersion: retry |
//! | 503 | maintenance: retry; the call took no effect |
//! | other 5xx | retry; `new` may have taken effect |
//!
//! So each response is classified as a success, as retryable or as not retryable. Of `list` only a page counts: no event needs it.
//! In: a call, the body that was sent, and the response. Out: a [`Reply`]. Pure. Bodies are read leniently: numbers as numbers
//! or texts, `error` or `errors` as text or list. Deliberately absent: what follows from a reply ([`crate::delivery`]).

use super::error_message::redact_sent_values;
use super::success_body::{self, text};
use crate::delivery::{Call, ListPage, ListReply, Rejection, Reply};
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

/// The JSON of a body; none if it is not JSON.
pub(super) fn json(body: &[u8]) -> Option<Value> {
    serde_json::from_slice(body).ok()
}

/// As [`reply`], with the body parsed: one body can answer many calls.
pub(super) fn reply_with_body(
    call: &Call,
    sent: &Value,
    response: &RawResponse<'_>,
    body: Option<&Value>,
    now: SystemTime,
) -> Reply {
    let retry_after = response.retry_after.and_then(|text| wait(text, now));
    let unavailable =
        |what: String| Reply::Unavailable { what: format!("{what} to {}", call.operation()), retry_after };
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
    let what = format!("{what} to {}", call.operation());
    match call {
        Call::New(_) => Reply::Lost { what, retry_after },
        _ => Reply::Unavailable { what, retry_after },
    }
}

/// Whether Refersion accepts a key pair, as the cheapest call shows it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyVerification {
    /// Refersion accepts the key pair.
    Accepted,
    /// Refersion rejects it (401).
    Rejected,
    /// The response does not show it.
    Unknown {
        /// What happened instead; safe to log.
        reason: String,
        /// The wait that Refersion asked for.
        retry_after: Option<Duration>,
    },
}

/// Reads the key verification from the response to `/affiliate/list`. A proxy's page shows nothing. An error body of Refersion
/// other than 401 shows that the key was accepted: Refersion checks the key before it checks the request.
pub fn verification(response: &RawResponse<'_>, now: SystemTime) -> KeyVerification {
    let body: Value = serde_json::from_slice(response.body).unwrap_or_default();
    match response.status {
        200..=299 if body.get("results").is_some() => KeyVerification::Accepted,
        400 | 404 | 422 if !errors(&body).is_empty() => KeyVerification::Accepted,
        401 => KeyVerification::Rejected,
        status => {
            let without = if status < 300 { " without the expected fields" } else { "" };
            KeyVerification::Unknown {
                reason: format!("Refersion answered {status} to list{without}"),
                retry_after: response.retry_after.and_then(|text| wait(text, now)),
            }
        }
    }
}

/// Reads a page of Refersion's list of affiliates. Everything but a page is a failure of which nothing follows: no event needs the list.
/// That nobody is on it may be said as a search says it.
pub fn list_page(response: &RawResponse<'_>, now: SystemTime) -> ListReply {
    let body = json(response.body);
    let page = body.as_ref().and_then(|body| match response.status {
        200..=299 => success_body::list_page(body),
        422 if matches!(rejection(&errors(body), body), Reply::NotFound) => Some(ListPage::default()),
        _ => None,
    });
    let failed = || {
        let without = if response.status < 300 { " without the expected fields" } else { "" };
        let what = format!("Refersion answered {} to list{without}", response.status);
        ListReply::Failed { what, retry_after: response.retry_after.and_then(|text| wait(text, now)) }
    };
    page.map_or_else(failed, ListReply::Page)
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
mod tests {
    use super::*;
    use crate::delivery::{Affiliate, Identifier, SearchResult};
    use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Email, Field, NewAffiliate, Profile};
    use serde_json::json;

    fn calls() -> [Call; 5] {
        let new = NewAffiliate { profile: Profile::default(), status: AffiliateStatus::Active, send_welcome: false };
        [
            Call::New(new),
            Call::Search { email: Email::parse("bob@x.io").expect("valid"), page: 1 },
            Call::Get(Identifier::Id(AffiliateId(7))),
            Call::Edit { id: AffiliateId(7), changes: Profile::default() },
            Call::SetStatus { id: AffiliateId(7), status: AffiliateStatus::Disabled },
        ]
    }

    fn answered(call: &Call, status: u16, body: &str) -> Reply {
        let answer = RawResponse { status, retry_after: None, body: body.as_bytes() };
        reply(call, &json!({"country": "Atlantis"}), &answer, SystemTime::UNIX_EPOCH)
    }

    #[test]
    fn successes_are_read_with_all_their_quirks() {
        let [new, search, get, edit, status] = calls();
        let created = |id| Reply::Created { code: AffiliateCode("a3y7".into()), id };
        let shown = |profile: Profile| {
            Reply::Affiliate(Affiliate { id: AffiliateId(37_567_438), status: Some(AffiliateStatus::Active), profile })
        };
        let bob = SearchResult {
            code: AffiliateCode("694".into()),
            email: "Bob@x.io".into(),
            status: Some(AffiliateStatus::Denied),
        };
        for (call, body, expected) in [
            (
                &new,
                r#"{"id": "a3y7", "link": "https://s.refersion.com/c/a3y7", "message": "The affiliate 37569297 has been created with the status of ACTIVE."}"#,
                created(Some(AffiliateId(37_569_297))),
            ),
            (&new, r#"{"id": "a3y7", "message": "Created."}"#, created(None)),
            (&new, r#"{"id": "a3y7"}"#, created(None)),
            (&new, r#"{"id": "a3y7", "message": "The affiliate a37 has been created."}"#, created(None)),
            (
                &search,
                r#"{"total": "31", "results": [{"id": 694, "email": "Bob@x.io", "status": "DENIED"}, {"odd": 1}]}"#,
                Reply::Page { total: 31, results: vec![bob.clone()] },
            ),
            (
                &search,
                r#"{"total": 4, "results": [{"id": "", "email": "Bob@x.io"}, {"id": "a\nb", "email": "Bob@x.io"},
                    {"id": "bob@x.io", "email": "Bob@x.io"}, {"id": " 694 ", "email": "Bob@x.io", "status": "DENIED"}]}"#,
                Reply::Page { total: 4, results: vec![bob] },
            ),
            (
                &get,
                r#"{"id": "37567438", "offer_id": "1234", "status": "ACTIVE", "first_name": "B", "last_name": "", "company_name": null}"#,
                shown([(Field::FirstName, "B"), (Field::Offer, "1234")].into_iter().collect()),
            ),
            (&edit, r#"{"ids_changed": [7], "ids_not_changed": []}"#, Reply::Changed),
            (&edit, r#"{"ids_changed": ["7"]}"#, Reply::Changed),
            (&status, r#"{"ids_changed": [], "ids_not_changed": [7]}"#, Reply::NotChanged),
            (&status, r#"{"ids_changed": [8], "ids_not_changed": []}"#, Reply::NotChanged),
            (&edit, r#"{"ids_not_changed": ["7"]}"#, Reply::NotChanged),
            (&edit, r#"{"ids_changed": [7, 8], "ids_not_changed": [9]}"#, Reply::Changed),
            (&search, r#"{"total": 0, "results": []}"#, Reply::Page { total: 0, results: vec![] }),
            (
                &search,
                r#"{"results": [{"id": "x", "email": "b@x.io", "status": "NEW"}]}"#,
                Reply::Page {
                    total: 1,
                    results: vec![SearchResult {
                        code: AffiliateCode("x".into()),
                        email: "b@x.io".into(),
                        status: None,
                    }],
                },
            ),
            (
                &new,
                r#"{"id": 694, "message": "The affiliate 37569297. Done"}"#,
                Reply::Created { code: AffiliateCode("694".into()), id: Some(AffiliateId(37_569_297)) },
            ),
        ] {
            assert_eq!(answered(call, 200, body), expected, "{body}");
        }
    }

    #[test]
    fn rejections_are_distinguished_by_their_message() {
        let [new, search, get, edit, status] = calls();
        let taken = || Reply::Rejected(Rejection::EmailTaken);
        let other = |words: &str| Reply::Rejected(Rejection::Other(words.into()));
        for (call, code, body, expected) in [
            (&new, 422, r#"{"errors": ["The email you have entered is taken by another Affiliate."]}"#, taken()),
            (&search, 422, r#"{"errors": ["Could not find affiliates with this keyword."]}"#, Reply::NotFound),
            (&get, 422, r#"{"errors": ["Affiliate not found."]}"#, Reply::NotFound),
            (
                &edit,
                422,
                r#"{"errors": ["Atlantis is not a allowed value for field country", "Value exceed the char limit"]}"#,
                other("… is not a allowed value for field country; Value exceed the char limit"),
            ),
            (&new, 400, r#"{"error": "Missing required field email"}"#, other("Missing required field email")),
            (
                &new,
                404,
                r#"{"error": ["Bad request, no body", "Offer does not exists on the database."]}"#,
                other("Bad request, no body; Offer does not exists on the database."),
            ),
            (&edit, 204, "", other("it knows no such field (204)")),
            (&new, 204, r#"{"error": "Invalid field X"}"#, other("it knows no such field (204)")),
            (&new, 404, r#"{"error": "Bad request, no body"}"#, other("Bad request, no body")),
            (&search, 422, r#"{"errors": ["Request filter not provided."]}"#, other("Request filter not provided.")),
            (
                &edit,
                403,
                r#"{"error": "Your account plan does not support this feature (error 1)."}"#,
                other("Your account plan does not support this feature (error 1)."),
            ),
            (
                &new,
                422,
                r#"{"errors": ["Password must contain at least one symbol.", "Value exceed the char limit"]}"#,
                other("Password must contain at least one symbol.; Value exceed the char limit"),
            ),
            (&new, 422, r#"{"error": "The email you have entered is TAKEN by another affiliate"}"#, taken()),
            (&edit, 422, r#"{"errors": ["Affiliate not found."]}"#, Reply::NotFound),
            (&status, 422, r#"{"errors": ["Affiliate not found."]}"#, Reply::NotFound),
            (
                &edit,
                422,
                r#"{"errors": ["The email you have entered is taken by another Affiliate.", "Value exceed the char limit"]}"#,
                taken(),
            ),
            (
                &edit,
                429,
                r#"{"error": "Max number of elements on attribute (50) reached."}"#,
                other("Max number of elements on attribute (50) reached."),
            ),
            (
                &edit,
                429,
                r#"{"error": "Max number of elements on attribute Atlantis reached."}"#,
                other("Max number of elements on attribute … reached."),
            ),
            (&edit, 401, r#"{"error": "Invalid API credentials (error 2)."}"#, Reply::Unauthorized),
            (&edit, 401, "<html>", Reply::Unauthorized),
            (&edit, 429, r#"{"error": "You're making too many API calls"}"#, Reply::RateLimited { retry_after: None }),
            (&edit, 429, "<html>", Reply::RateLimited { retry_after: None }),
        ] {
            assert_eq!(answered(call, code, body), expected, "{code} {body}");
        }
    }

    #[test]
    fn a_response_that_is_not_refersions_is_retried_and_only_a_new_may_have_taken_effect() {
        let [new, _, _, edit, _] = calls();
        for (status, body, unsure) in [
            (500, "<html>", true),
            (502, "", true),
            (504, r#"{"error": "x"}"#, true),
            (200, "<html>hello</html>", true),
            (200, "{}", true),
            (503, "", false),
            (301, "", false),
            (403, "<html>", false),
            (404, "not found", false),
            (408, "", false),
            (425, "", false),
            (408, r#"{"error": "Request timeout"}"#, false),
            (425, r#"{"error": "Too early"}"#, false),
            (422, r#"{"errors": []}"#, false),
            (422, r#"{"message": "no"}"#, false),
            (400, "[]", false),
            (418, "null", false),
            (100, "", true),
            (599, "", true),
            (302, r#"{"error": "moved"}"#, false),
            (200, r#"{"errors": ["no"]}"#, true),
            (200, r#"{"id": ""}"#, true),
            (200, r#"{"id": "bob@x.io"}"#, true),
            (200, r#"{"id": "a\nb"}"#, true),
            (200, r#"{"id": null, "message": "The affiliate 7 has been created"}"#, true),
        ] {
            assert_eq!(matches!(answered(&new, status, body), Reply::Lost { .. }), unsure, "new {status}");
            assert!(matches!(answered(&edit, status, body), Reply::Unavailable { .. }), "edit {status}");
        }
    }

    #[test]
    fn only_what_refersion_alone_answers_shows_that_it_accepts_a_key() {
        let unknown = |reason: &str| KeyVerification::Unknown { reason: reason.to_owned(), retry_after: None };
        for (status, body, expected) in [
            (200, r#"{"results": []}"#, KeyVerification::Accepted),
            (422, r#"{"errors": ["Request filter not provided."]}"#, KeyVerification::Accepted),
            (400, r#"{"error": "Bad request, no body"}"#, KeyVerification::Accepted),
            (401, r#"{"error": "Invalid API credentials (error 2)."}"#, KeyVerification::Rejected),
            (401, "<html>", KeyVerification::Rejected),
            (200, "<html>", unknown("Refersion answered 200 to list without the expected fields")),
            (200, r#"{"error": "x"}"#, unknown("Refersion answered 200 to list without the expected fields")),
            (300, "", unknown("Refersion answered 300 to list")),
            (404, "{}", unknown("Refersion answered 404 to list")),
            (422, "<html>", unknown("Refersion answered 422 to list")),
            (500, r#"{"error": "x"}"#, unknown("Refersion answered 500 to list")),
        ] {
            let response = RawResponse { status, retry_after: None, body: body.as_bytes() };
            assert_eq!(verification(&response, SystemTime::UNIX_EPOCH), expected, "{status} {body}");
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(784_111_777);
        for (text, expected) in [
            ("60", Some(60)),
            (" 0 ", Some(0)),
            ("Sun, 06 Nov 1994 08:50:37 GMT", Some(60)),
            ("Sun, 06 Nov 1994 08:49:37 GMT", Some(0)),
            ("Tue, 06 Nov 1984 08:49:37 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
        ] {
            assert_eq!(wait(text, now), expected.map(Duration::from_secs), "{text}");
        }
    }
}
