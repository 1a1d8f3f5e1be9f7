//! What each answer of Refersion means, as tables.

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
        (
            &new,
            "\u{feff}{\"id\": \"a3y7\", \"message\": \"The affiliate 7 has been created.\"}",
            created(Some(AffiliateId(7))),
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
                results: vec![SearchResult { code: AffiliateCode("x".into()), email: "b@x.io".into(), status: None }],
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
        (403, r#"{"error": "Forbidden"}"#, false),
        (402, r#"{"errors": ["Payment required"]}"#, false),
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
        assert_eq!(matches!(answered(&new, status, body), Reply::Lost(_)), unsure, "new {status}");
        assert!(matches!(answered(&edit, status, body), Reply::Unavailable(_)), "edit {status}");
    }
}

#[test]
fn only_answers_that_refersion_alone_gives_show_that_it_accepts_a_key() {
    let unknown = |reason: &str| ApiKeyVerification::Unknown(TransientFailure::new(reason));
    for (status, body, expected) in [
        (200, r#"{"results": []}"#, ApiKeyVerification::Accepted),
        (422, r#"{"errors": ["Request filter not provided."]}"#, ApiKeyVerification::Accepted),
        (400, r#"{"error": "Bad request, no body"}"#, ApiKeyVerification::Accepted),
        (401, r#"{"error": "Invalid API credentials (error 2)."}"#, ApiKeyVerification::Rejected),
        (401, "<html>", ApiKeyVerification::Rejected),
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
fn only_a_page_is_read_from_the_answer_to_list() {
    let failed = |what: &str| Err(TransientFailure::new(what));
    let empty = |total| Ok(ListPage { total, ..ListPage::default() });
    for (status, body, expected) in [
        (200, r#"{"total": 0, "results": []}"#, empty(Some(0))),
        (422, r#"{"errors": ["Could not find affiliates with this keyword."]}"#, empty(None)),
        (422, r#"{"errors": ["Request filter not provided."]}"#, failed("Refersion answered 422 to list")),
        (200, "<html>", failed("Refersion answered 200 to list without the expected fields")),
        (299, "{}", failed("Refersion answered 299 to list without the expected fields")),
        (300, r#"{"total": 0, "results": []}"#, failed("Refersion answered 300 to list")),
        (401, r#"{"error": "Invalid API credentials (error 2)."}"#, failed("Refersion answered 401 to list")),
        (500, "", failed("Refersion answered 500 to list")),
    ] {
        let response = RawResponse { status, retry_after: None, body: body.as_bytes() };
        assert_eq!(list_page(&response, SystemTime::UNIX_EPOCH), expected, "{status} {body}");
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
