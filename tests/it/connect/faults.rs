//! Segment is down, slow, cut off, or set up in another way: the page says what to do, and nothing is half done.

use super::World;
use crate::support::API_KEY;
use refersion_destination::sandbox::Fault;
use refersion_destination::sandbox::segment::{SegmentCall, SegmentSettings};
use serde_json::json;

const CONNECTED: &str = "200 Your source is connected";
const DOWN: &str = "503 Segment cannot be reached";
const NOT_SET_UP: &str = "500 This service is not set up correctly";

fn answer(status: u16, body: serde_json::Value) -> Fault {
    Fault::Status { status, body, retry_after: None }
}

#[tokio::test]
async fn the_page_depends_on_the_failure_of_segment() {
    use SegmentCall::{CreateDestination, Token};
    let missing = json!({"error": "invalid_request", "error_description": "missing a required parameter"});
    for (call, faults, expected) in [
        (Token, vec![Fault::CloseConnection], DOWN),
        (Token, vec![Fault::TruncateResponse], DOWN),
        (Token, vec![Fault::LoseResponse], DOWN),
        (Token, vec![Fault::html(502)], DOWN),
        (Token, vec![Fault::status(200)], DOWN),
        (Token, vec![Fault::too_many_calls(Some(1))], DOWN),
        (Token, vec![answer(400, missing)], NOT_SET_UP),
        (Token, vec![answer(401, json!({"error": "invalid_client"}))], NOT_SET_UP),
        (Token, vec![answer(400, json!({"error": "invalid_grant"}))], "400 Segment's permission has expired"),
        (CreateDestination, vec![Fault::CloseConnection], CONNECTED),
        (CreateDestination, vec![Fault::LoseResponse], CONNECTED),
        (CreateDestination, vec![Fault::TruncateResponse], CONNECTED),
        (CreateDestination, vec![Fault::html(502)], CONNECTED),
        (CreateDestination, vec![Fault::status(500), Fault::status(500)], DOWN),
        (CreateDestination, vec![Fault::CloseConnection, Fault::CloseConnection], DOWN),
        (CreateDestination, vec![Fault::too_many_calls(None)], DOWN),
        (
            CreateDestination,
            vec![answer(403, json!({"error": "permission denied"}))],
            "403 Segment did not allow the change",
        ),
        (
            CreateDestination,
            vec![answer(401, json!({"error": "malformed token"}))],
            "403 Segment did not allow the change",
        ),
        (CreateDestination, vec![answer(400, json!({"error": "else"}))], "400 Segment rejected"),
    ] {
        let world = World::start().await;
        let (mut browser, callback) = world.allowed("website").await;
        world.segment.script_for(call, faults.clone());
        let page = browser.get(&callback).await;
        assert_eq!(page.brief(), expected, "{call:?} {faults:?}");
        let made = world.destinations();
        assert_eq!(made.iter().any(|(_, enabled, key)| *enabled && key == API_KEY), expected == CONNECTED, "{made:?}");
        assert!(page.text.contains("/connect/again"), "another try is offered: {}", page.text);
    }
}

/// Segment had installed the app, and then could not be reached: the saved install is used.
#[tokio::test]
async fn another_try_connects_after_segment_failed_halfway() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    world.segment.script_for(SegmentCall::CreateDestination, [Fault::status(500), Fault::status(500)]);
    let page = browser.get(&callback).await;
    assert_eq!(page.brief(), DOWN);
    let sent = browser.post("/connect/again", &[("state", &page.state())]).await;
    let callback = browser.decide(&sent.location(), "website", "allow").await;
    assert_eq!(browser.get(&callback).await.brief(), CONNECTED);
    assert_eq!(world.destinations().len(), 1);
}

#[tokio::test]
async fn an_unreachable_segment_is_reported() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    let nowhere = world.segment_url.clone();
    let other = World::with(SegmentSettings::default(), &[("CONNECT_AUTH_BASE_URL", "http://127.0.0.1:1")]).await;
    browser.go_to(&other.service.url(""));
    assert_eq!(browser.get(&callback).await.brief(), DOWN, "{nowhere}");
}

/// Segment shows its own page, and sends nobody back to an address that is not registered.
#[tokio::test]
async fn a_redirect_url_that_is_not_registered_leads_nowhere() {
    let other = "http://127.0.0.1:1/other/connect/callback";
    let world = World::with(SegmentSettings::default(), &[("CONNECT_REDIRECT_URL", other)]).await;
    let (_, url) = world.entered().await;
    let page = world.service.http.get(url).send().await.expect("an answer");
    assert_eq!(page.status().as_u16(), 400);
    assert!(page.text().await.expect("text").contains("redirect URL is none of those that are registered"));
}

#[tokio::test]
async fn a_scope_that_is_not_the_apps_is_for_the_operator() {
    let world = World::with(SegmentSettings::default(), &[("CONNECT_SCOPE", "destination/other")]).await;
    let (mut browser, url) = world.entered().await;
    let sent = world.service.http.get(url).send().await.expect("an answer");
    let callback = sent.headers()["location"].to_str().expect("text").to_owned();
    let page = browser.get(&callback).await;
    assert_eq!(page.brief(), NOT_SET_UP);
    assert!(page.text.contains("CONNECT_SCOPE"), "{}", page.text);
}
