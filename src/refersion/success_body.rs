//! The reader of the bodies of Refersion's 2xx responses.
//!
//! In: a call and the body of its response. Out: the reply, or none if the body lacks the fields of the operation. Lenient: numbers are
//! read as numbers or texts, and a search result that cannot be read is left out. Invariant: an affiliate code is safe to show, even if a
//! proxy made the response. Deliberately absent: the status code ([`super::response`]).

use crate::delivery::{Affiliate, Call, ListPage, ListedAffiliate, Reply, SearchResult};
use crate::domain::{AffiliateCode, AffiliateId, AffiliateStatus, Field, Profile};
use serde_json::Value;

/// The reply to `call` that `body` states; none if it lacks the operation's fields.
pub(super) fn read(call: &Call, body: &Value) -> Option<Reply> {
    match call {
        Call::New(_) => {
            let code = code(body.get("id")?)?;
            Some(Reply::Created { code, id: body.get("message").and_then(Value::as_str).and_then(id_in_sentence) })
        }
        Call::Search { .. } => {
            let results = body.get("results")?.as_array()?;
            let total = body.get("total").and_then(number).unwrap_or(results.len() as u64);
            Some(Reply::Page { total, results: results.iter().filter_map(found).collect() })
        }
        Call::Get(_) => affiliate(body).map(Reply::Affiliate),
        Call::Edit { id, .. } | Call::SetStatus { id, .. } => {
            let holds = |key: &str| {
                let ids = body.get(key)?.as_array()?;
                Some(ids.iter().any(|listed| number(listed) == Some(id.0)))
            };
            let (changed, unchanged) = (holds("ids_changed"), holds("ids_not_changed"));
            changed.or(unchanged)?;
            Some(if changed == Some(true) { Reply::Changed } else { Reply::NotChanged })
        }
    }
}

/// The page of the list that `body` states; none if it lacks the results.
pub(super) fn list_page(body: &Value) -> Option<ListPage> {
    let results = body.get("results")?.as_array()?;
    let affiliates = results.iter().filter_map(listed).collect();
    Some(ListPage { total: body.get("total").and_then(number), results: results.len() as u64, affiliates })
}

fn listed(result: &Value) -> Option<ListedAffiliate> {
    Some(ListedAffiliate { code: code(result.get("id")?)?, status: status(result), profile: profile(result) })
}

/// The longest code that is accepted, in bytes; Refersion's have four.
const MAX_CODE_BYTES: usize = 100;

/// An affiliate code. A code is part of referral links and shown in responses and logs, so other characters are not accepted.
fn code(value: &Value) -> Option<AffiliateCode> {
    let code = text(value)?.trim().to_owned();
    let fits = (1..=MAX_CODE_BYTES).contains(&code.len());
    let is_plain = code.bytes().all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'));
    (fits && is_plain).then_some(AffiliateCode(code))
}

/// The numeric id in "The affiliate 37569297 has been created with the status of ACTIVE."
fn id_in_sentence(sentence: &str) -> Option<AffiliateId> {
    let mut words = sentence.split_whitespace().skip_while(|word| !word.eq_ignore_ascii_case("affiliate"));
    words.nth(1)?.trim_matches(|c: char| c.is_ascii_punctuation()).parse().ok().map(AffiliateId)
}

fn found(result: &Value) -> Option<SearchResult> {
    Some(SearchResult {
        code: code(result.get("id")?)?,
        email: result.get("email")?.as_str()?.to_owned(),
        status: status(result),
    })
}

fn affiliate(body: &Value) -> Option<Affiliate> {
    Some(Affiliate { id: AffiliateId(number(body.get("id")?)?), status: status(body), profile: profile(body) })
}

/// The fields of an affiliate in the response to `get`.
fn profile(affiliate: &Value) -> Profile {
    let shown = |field: &Field| Some((*field, text(affiliate.get(field.spec().get_name?)?)?));
    Field::ALL.iter().filter_map(shown).collect()
}

fn status(value: &Value) -> Option<AffiliateStatus> {
    AffiliateStatus::parse(value.get("status")?.as_str()?)
}

/// A text, or a number as text.
pub(super) fn text(value: &Value) -> Option<String> {
    match value {
        Value::String(text) => Some(text.clone()),
        Value::Number(number) => Some(number.to_string()),
        _ => None,
    }
}

fn number(value: &Value) -> Option<u64> {
    value.as_u64().or_else(|| value.as_str()?.trim().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::TransientFailure;
    use crate::refersion::response::{self, RawResponse};
    use std::time::{Duration, SystemTime};

    #[test]
    fn a_page_of_the_list_is_read_leniently_and_everything_else_is_a_failure() {
        let listed = |status, body: &str| {
            let answer = RawResponse { status, retry_after: Some("7"), body: body.as_bytes() };
            response::list_page(&answer, SystemTime::UNIX_EPOCH)
        };
        let page = |total, results, affiliates: usize| {
            let profile: Profile = [(Field::Email, "b@x.io"), (Field::Offer, "12")].into_iter().collect();
            let one =
                ListedAffiliate { code: AffiliateCode("a3y7".into()), status: Some(AffiliateStatus::Active), profile };
            Ok(ListPage { total, results, affiliates: vec![one; affiliates] })
        };
        let one = r#"{"id": "a3y7", "offer_id": 12, "status": "ACTIVE", "email": "b@x.io", "custom_fields": []}"#;
        for (body, expected) in [
            (format!(r#"{{"total": "1", "results": [{one}]}}"#), page(Some(1), 1, 1)),
            (format!(r#"{{"results": [{one}, {{"email": "no code"}}, 7]}}"#), page(None, 3, 1)),
            (r#"{"total": 0, "results": []}"#.to_owned(), page(Some(0), 0, 0)),
        ] {
            assert_eq!(listed(200, &body), expected, "{body}");
        }
        let nobody = r#"{"errors": ["Could not find affiliates with this keyword."]}"#;
        assert_eq!(listed(422, nobody), page(None, 0, 0));
        for (status, body) in [
            (200, "<html>"),
            (200, r#"{"results": "none"}"#),
            (204, ""),
            (422, r#"{"errors": ["Request filter not provided."]}"#),
            (401, r#"{"error": "Invalid API credentials (error 2)."}"#),
            (404, r#"{"total": 0, "results": []}"#),
            (429, ""),
        ] {
            let TransientFailure { what, retry_after } = listed(status, body).expect_err(body);
            assert!(what.starts_with(&format!("Refersion answered {status} to list")), "{what}");
            assert_eq!(retry_after, Some(Duration::from_secs(7)));
        }
    }
}
