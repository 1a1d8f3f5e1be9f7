//! The merchant's Refersion key is verified with Refersion before anything else happens with it.

use super::{Browser, World, any_refersion, serve, start_segment};
use crate::support::{API_KEY, basic, identify};
use refersion_destination::sandbox::Fault;
use refersion_destination::sandbox::segment::{SegmentCall, SegmentSettings};
use serde_json::Value;

#[tokio::test]
async fn a_key_that_refersion_does_not_accept_goes_no_further() {
    for (key, status, text) in [
        ("", 400, "not a key pair"),
        ("pub_test", 400, "not a key pair"),
        ("pub test.sec", 400, "not a key pair"),
        ("pub_test.sec_wrong", 400, "does not accept this key"),
        ("\"><script>alert(1)</script>.x", 400, "not a key pair"),
        ("<script>alert(1)</script>.x", 400, "does not accept this key"),
    ] {
        let world = World::start().await;
        let mut browser = world.browser();
        let page = browser.submit(key).await;
        assert_eq!((page.status, page.text.contains(text)), (status, true), "{key}: {}", page.text);
        assert!(page.text.contains("role=\"alert\"") && page.text.contains("aria-invalid=\"true\""), "{}", page.text);
        assert!(!page.text.contains("alert(1)") && (key.is_empty() || !page.text.contains(&format!(">{key}<"))));
        assert_eq!(world.calls(SegmentCall::Authorize), 0);
        let sent = browser.post("/connect", &[("state", &page.state()), ("api_key", API_KEY)]).await;
        assert_eq!(sent.status, 303, "the form that is shown again can be used: {}", sent.text);
    }
}

#[tokio::test]
async fn a_key_that_cannot_be_verified_is_asked_for_again() {
    let world = World::start().await;
    let mut browser = world.browser();
    world.service.refersion.sandbox.script([Fault::status(500)]);
    let page = browser.submit(API_KEY).await;
    assert_eq!(page.brief(), "503 Connect Segment with Refersion");
    assert!(page.text.contains("Refersion did not answer in time"), "{}", page.text);
    let sent = browser.post("/connect", &[("state", &page.state()), ("api_key", &format!("  {API_KEY}\n"))]).await;
    assert_eq!(sent.status, 303, "blanks around the key do no harm");
}

#[tokio::test]
async fn a_key_whose_events_this_service_would_refuse_is_refused_here() {
    let (_segment, segment_url) = start_segment(SegmentSettings::default()).await;
    for (any, key, status) in [
        ("false", API_KEY, 303),
        ("false", "pub_else.sec_else", 400),
        ("false", "pub_test.sec_else", 400),
        ("true", API_KEY, 303),
        ("true", "pub_else.sec_else", 303),
        ("true", "pub_test.sec_else", 400),
    ] {
        let service = serve(any_refersion().await, &segment_url, &[("SEGMENT_ACCEPT_ANY_API_KEY", any)]).await;
        let page = Browser::new(&service.url("")).submit(key).await;
        assert_eq!(page.status, status, "{any} {key}: {}", page.text);
        assert_eq!(page.text.contains("works for other Refersion accounts"), status == 400, "{any} {key}");
        let answer = service.http.post(service.url("/segment")).header("Authorization", basic(key));
        let answer = crate::support::Answer::to(answer.body(identify("m1", "u1", &Value::Null).to_string())).await;
        assert_eq!(answer.status == 401, status == 400, "as its events: {any} {key} {}", answer.text);
    }
}

#[tokio::test]
async fn a_body_that_is_no_form_is_refused() {
    let world = World::start().await;
    let page = world.browser().get("/connect").await;
    let cookie = page.headers["set-cookie"].to_str().expect("text").split(';').next().expect("a pair").to_owned();
    let form = format!("state={}&api_key={API_KEY}", page.state());
    for (media_type, body) in [
        ("application/json", form.clone()),
        ("text/plain", form.clone()),
        ("application/x-www-form-urlencoded", format!("{form}&more={}", "x".repeat(9_000))),
        ("application/x-www-form-urlencoded", String::new()),
    ] {
        let request = world.service.http.post(world.service.url("/connect")).header("Cookie", &cookie);
        let response = request.header("Content-Type", media_type).body(body).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 400, "{media_type}");
    }
    assert_eq!(world.service.refersion.operations(), [""; 0], "nothing was asked");
}
