//! A merchant connects one source after another, changes their mind, and comes back.

use super::{World, serve, start_segment};
use crate::support::API_KEY;
use crate::support::service::Refersion;
use refersion_destination::sandbox::segment::{SegmentCall, SegmentSettings};

const KEY: &str = API_KEY;

fn enabled(sources: &[&str]) -> Vec<(String, bool, String)> {
    sources.iter().map(|source| ((*source).to_owned(), true, KEY.to_owned())).collect()
}

#[tokio::test]
async fn a_source_is_connected_with_the_key_and_the_page_names_the_changes() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    let page = browser.get(&callback).await;
    assert_eq!(page.brief(), "200 Your source is connected");
    for text in ["<dd>your-workspace</dd>", "<dd>website</dd>", "was added to this source", "Connect another source"] {
        assert!(page.text.contains(text), "{text}: {}", page.text);
    }
    assert_eq!(world.destinations(), enabled(&["website"]));
    assert_eq!(world.service.refersion.operations(), ["list"], "the key was verified");
}

/// By the redirect or by the exchange of the code, Segment says that the app is installed: the known install is used.
#[tokio::test]
async fn another_source_is_connected_without_the_key_though_the_app_is_installed_already() {
    for conflict_in_redirect in [false, true] {
        let world = World::with(SegmentSettings { conflict_in_redirect, ..<_>::default() }, &[]).await;
        let (mut browser, callback) = world.allowed("website").await;
        let mut page = browser.get(&callback).await;
        for (number, source) in ["ios-app", "backend"].into_iter().enumerate() {
            let sent = browser.post("/connect/again", &[("state", &page.state())]).await;
            let callback = browser.decide(&sent.location(), source, "allow").await;
            page = browser.get(&callback).await;
            assert_eq!(page.brief(), "200 Your source is connected");
            assert!(page.text.contains(&format!("<dd>{source}</dd>")), "{}", page.text);
            assert_eq!(world.calls(SegmentCall::InstallToken), number + 1);
        }
        assert_eq!(world.destinations(), enabled(&["backend", "ios-app", "website"]));
        assert_eq!(world.service.refersion.operations(), ["list"], "once");
    }
}

#[tokio::test]
async fn a_destination_that_exists_gets_the_key_and_is_switched_on() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    browser.get(&callback).await;
    world.segment.change("website", false, "pub_old.sec_old");
    world.segment.uninstall();
    let (mut browser, callback) = world.allowed("website").await;
    let page = browser.get(&callback).await;
    assert_eq!(page.brief(), "200 Your source is connected");
    assert!(page.text.contains("had the destination Refersion before"), "{}", page.text);
    assert_eq!(world.destinations(), enabled(&["website"]));
    assert_eq!(world.calls(SegmentCall::UpdateDestination), 1);
}

#[tokio::test]
async fn a_merchant_who_denies_access_sees_it_and_can_try_again_without_the_key() {
    let world = World::start().await;
    let (mut browser, url) = world.entered().await;
    let callback = browser.decide(&url, "website", "deny").await;
    let page = browser.get(&callback).await;
    assert_eq!(page.brief(), "403 Access was not given");
    assert_eq!((world.calls(SegmentCall::Token), world.destinations().len()), (0, 0));
    let sent = browser.post("/connect/again", &[("state", &page.state())]).await;
    let callback = browser.decide(&sent.location(), "website", "allow").await;
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected");
    assert_eq!(world.destinations(), enabled(&["website"]));
}

#[tokio::test]
async fn a_code_that_has_expired_changes_nothing_and_another_try_connects() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    world.segment.expire_codes();
    let page = browser.get(&callback).await;
    assert_eq!(page.brief(), "400 Segment's permission has expired");
    assert_eq!(world.destinations(), []);
    let sent = browser.post("/connect/again", &[("state", &page.state())]).await;
    let callback = browser.decide(&sent.location(), "website", "allow").await;
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected");
}

/// Much later, in a browser that does not know the install any more.
#[tokio::test]
async fn an_app_that_is_installed_already_and_not_known_here_is_explained() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    browser.get(&callback).await;
    let (mut later, callback) = world.allowed("backend").await;
    let page = later.get(&callback).await;
    assert_eq!(page.brief(), "409 The workspace is connected already");
    assert!(page.text.contains("remove the app in Segment"), "{}", page.text);
    assert_eq!(world.destinations(), enabled(&["website"]));
}

#[tokio::test]
async fn a_source_that_was_connected_before_is_not_taken_for_another() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    let page = browser.get(&callback).await;
    let sent = browser.post("/connect/again", &[("state", &page.state())]).await;
    let callback = browser.decide(&sent.location(), "website", "allow").await;
    assert_eq!(browser.get(&callback).await.brief(), "400 No new source was chosen");
}

#[tokio::test]
async fn any_replica_finishes_a_flow_that_another_began() {
    let (segment, segment_url) = start_segment(SegmentSettings::default()).await;
    let service = serve(Refersion::start().await, &segment_url, &[]).await;
    let other = serve(Refersion::start().await, &segment_url, &[]).await;
    let world = World { service, segment, segment_url };
    let mut browser = world.browser();
    let page = browser.get("/connect").await;
    browser.go_to(&other.url(""));
    let sent = browser.post("/connect", &[("state", &page.state()), ("api_key", KEY)]).await;
    let callback = browser.decide(&sent.location(), "website", "allow").await;
    browser.go_to(&world.service.url(""));
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected");
    assert_eq!(world.destinations(), enabled(&["website"]));
}
