//! The texts of the pages and the effects of their forms, without a browser.

use super::{PAGES, get, service_with_a_dead_letter, url};
use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, Answer, OPS_TOKEN, basic, http, identify, poll_until, within};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::json;

/// Sends a form as a browser does that knows the token.
async fn send_form(service: &Service, path: &str, form: &str) -> Answer {
    let request =
        http().post(url(service, path)).header("Sec-Fetch-Site", "same-origin").basic_auth("x", Some(OPS_TOKEN));
    Answer::to_data(request.header("Content-Type", "application/x-www-form-urlencoded").body(form.to_owned())).await
}

#[tokio::test]
async fn every_page_has_a_strict_policy_and_no_personal_data() {
    let (service, id) = service_with_a_dead_letter(&[]).await;
    assert_eq!(id, 1);
    for path in PAGES {
        let page = get(&service, path).await;
        assert_eq!(page.status, if path.ends_with("99999") { 404 } else { 200 }, "{path}");
        assert_eq!(page.headers["content-type"], "text/html; charset=utf-8", "{path}");
        let policy = page.headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-") && !policy.contains("unsafe"), "{policy}");
        assert_eq!(
            (&page.headers["cache-control"], &page.headers["x-content-type-options"]),
            (&"no-store".parse().expect("a value"), &"nosniff".parse().expect("a value"))
        );
        assert!(!page.text.contains("arker"), "{path}: {}", page.text);
        for forbidden in ["<script", "style=", "http://", "https://"] {
            let text = page.text.replace("http://www.w3.org/2000/svg", "");
            assert!(!text.contains(forbidden), "{path} has {forbidden}");
        }
    }
}

#[tokio::test]
async fn the_overview_counts_results_and_says_why_events_were_refused() {
    let (service, _) = service_with_a_dead_letter(&[]).await;
    let page = get(&service, "/").await;
    assert_eq!(page.headers["refresh"], "5");
    for expected in [
        "Events are accepted and delivered. Dead letters wait for somebody to replay or discard them: 1.",
        "accepted: 2 in all",
        "delivered: 1 in all",
        "refused at receipt: 1 in all",
        "dead letters: 1 in all",
        "Missing email address: add an `email` trait to the identify call",
        "Refersion rejected new: Value exceed the char limit",
    ] {
        assert!(page.text.contains(expected), "{expected} is not in {}", page.text);
    }
    let stopped = get(&service, "/?range=day&refresh=off").await;
    assert_eq!(stopped.headers.get("refresh"), None);
    let problem = get(&service, "/?range=year").await;
    assert_eq!(problem.status, 400);
    assert!(problem.text.contains("<h1>The request is not valid</h1>"), "{}", problem.text);
}

#[tokio::test]
async fn the_overview_says_which_account_is_halted_and_why_and_that_it_is_well_again() {
    let service = Service::on(Refersion::start().await, &[("SERVER_WAIT", "0s")]).await;
    service.refersion.sandbox.revoke_api_key();
    service.send(&identify("m1", "u1", &json!({}))).await;
    let says =
        |text: &'static str| within(poll_until(|| get(&service, "/"), move |page: &Answer| page.text.contains(text)));
    says("Account main is halted: Refersion rejects the API key. Events are kept and delivered once the key works")
        .await;
    assert!(get(&service, "/accounts/main").await.text.contains("deliveries pause or are halted"));
    service.refersion.sandbox.restore_api_key();
    says("All is well: events are accepted and delivered.").await;
}

#[tokio::test]
async fn a_form_replays_or_after_a_confirmation_discards_and_a_second_time_nothing_is_left() {
    let (service, id) = service_with_a_dead_letter(&[]).await;
    let refused = || Fault::unprocessable("Value exceed the char limit");
    service.refersion.sandbox.script_for(Operation::New, [refused(), refused()]);
    assert_eq!(service.send(&identify("m4", "u4", &json!({"city": "X"}))).await.brief(), "400 rejected");
    let form = format!("ids={id}");
    let replayed = send_form(&service, "/dead-letters/replay", &form).await;
    assert!(replayed.text.contains("<h1>Replayed 1 of 1</h1>"), "{}", replayed.text);
    assert_eq!(replayed.headers.get("refresh"), None);
    let again = send_form(&service, "/dead-letters/replay", &form).await;
    assert!(again.text.contains("<h1>Replayed 0 of 1</h1>") && again.text.contains("no such dead letter"));

    let other = get(&service, "/dead-letters").await.text;
    let other = other.split("value=\"").find_map(|rest| rest.split('"').next()?.parse::<i64>().ok()).expect("an id");
    let asked = send_form(&service, "/dead-letters/discard", &format!("ids={other}")).await;
    assert!(asked.text.contains(&format!("<h1>Discard dead letter {other} for good?</h1>")), "{}", asked.text);
    assert_eq!(get(&service, &format!("/dead-letters/{other}")).await.status, 200, "it is still there");
    let discarded = send_form(&service, "/dead-letters/discard", &format!("ids={other}&confirmed=yes")).await;
    assert!(discarded.text.contains("<h1>Discarded 1 of 1</h1>"), "{}", discarded.text);
    assert_eq!(get(&service, &format!("/dead-letters/{other}")).await.status, 404);
    for form in ["", "ids=", "ids=x", "other=1"] {
        assert_eq!(send_form(&service, "/dead-letters/replay", form).await.status, 400, "{form}");
    }
}

#[tokio::test]
async fn a_form_of_another_site_or_without_the_token_changes_nothing_and_is_answered_with_a_page() {
    let (service, id) = service_with_a_dead_letter(&[]).await;
    let paths =
        ["/dead-letters/replay".to_owned(), "/dead-letters/discard".to_owned(), format!("/dead-letters/{id}/reveal")];
    for path in &paths {
        let form = || http().post(url(&service, path)).body(format!("ids={id}&confirmed=yes"));
        let cross_site = Answer::to(form().header("Sec-Fetch-Site", "cross-site").bearer_auth(OPS_TOKEN)).await;
        let without = Answer::to(form()).await;
        let with_a_key = Answer::to(form().header("Authorization", basic(API_KEY))).await;
        assert_eq!([cross_site.status, without.status, with_a_key.status], [403, 401, 401], "{path}");
        assert!(without.headers.contains_key("www-authenticate"), "a browser asks for a password");
        assert!(without.text.contains("<h1>The operators' token is required</h1>"), "{}", without.text);
    }
    assert_eq!(get(&service, &format!("/dead-letters/{id}")).await.status, 200, "it is still there");
}

#[tokio::test]
async fn pages_offer_no_change_and_say_so_where_no_token_is_set() {
    let (service, id) = service_with_a_dead_letter(&[("OPS_TOKEN", "")]).await;
    for path in ["/dead-letters".to_owned(), format!("/dead-letters/{id}")] {
        let page = get(&service, &path).await.text;
        assert!(page.contains("To replay, discard or reveal, set") && !page.contains("method=\"post\""), "{page}");
    }
}

#[tokio::test]
async fn pages_need_the_token_on_an_address_that_is_not_loopback() {
    let (service, _) = service_with_a_dead_letter(&[("OPS_LISTEN", "0.0.0.0:0")]).await;
    for path in PAGES {
        assert_eq!(get(&service, path).await.status, 401, "{path}");
    }
    let page = Answer::to(http().get(url(&service, "/")).basic_auth("anyone", Some(OPS_TOKEN))).await;
    assert_eq!(page.status, 200);
}

#[tokio::test]
async fn a_lookup_shows_the_results_of_a_users_events_and_repeats_no_identifier() {
    let (service, id) = service_with_a_dead_letter(&[]).await;
    let code = service.refersion.sandbox.affiliate("u2@example.com").expect("an affiliate").code;
    for (form, expected) in [
        (
            "email=u2%40example.com",
            &["<h1>Found</h1>", &format!("Affiliate {code}"), "created by this service", "The affiliate was created"][..],
        ),
        (
            "email=&user_id=markeruser1&account=main",
            &["<h1>Found</h1>", "Refersion rejected new", &format!("/dead-letters/{id}")],
        ),
        ("message_id=m99", &["<h1>Nothing is known</h1>", "name in logs, traces and dead letters is"]),
    ] {
        let page = send_form(&service, "/lookup", form).await;
        assert_eq!(page.status, 200, "{form}");
        for expected in expected {
            assert!(page.text.contains(expected), "{form}: {expected} is not in {}", page.text);
        }
        assert!(!page.text.contains("arker") && !page.text.contains("example.com"), "{}", page.text);
    }
    for (form, status) in [("", 400), ("email=nobody", 400), ("user_id=u2&account=nope", 404)] {
        assert_eq!(send_form(&service, "/lookup", form).await.status, status, "{form}");
    }
    let without = Answer::to(http().post(url(&service, "/lookup")).body("user_id=u2")).await;
    assert_eq!(without.status, 200, "a lookup reads, and reading is free here");
}

/// Values of an event that a page shows are text, whatever they are.
#[tokio::test]
async fn a_revealed_event_is_shown_as_text() {
    let (service, _) = service_with_a_dead_letter(&[]).await;
    let refused = || Fault::unprocessable("<script>alert(1)</script>");
    service.refersion.sandbox.script_for(Operation::New, [refused(), refused()]);
    let event = identify("m5", "u5", &json!({"company": "<img src=x onerror=alert(1)>"}));
    assert_eq!(service.send(&event).await.brief(), "400 rejected");
    let list = get(&service, "/dead-letters").await.text;
    assert!(list.contains("&lt;script&gt;") && !list.contains("<script"), "{list}");
    let id =
        list.split("value=\"").filter_map(|rest| rest.split('"').next()?.parse::<i64>().ok()).max().expect("an id");
    let revealed = send_form(&service, &format!("/dead-letters/{id}/reveal"), "").await.text;
    assert!(revealed.contains("&lt;img src=x onerror=alert(1)&gt;") && !revealed.contains("<img"), "{revealed}");
}
