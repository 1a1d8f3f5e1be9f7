//! No merchant connects another's source, and no secret can be read.

use super::{BEHIND, World, any_refersion, settings, start_segment};
use crate::support::process::Process;
use crate::support::{API_KEY, leaks, poll_until, within};
use refersion_destination::sandbox::Fault;
use refersion_destination::sandbox::segment::{SegmentCall, SegmentSettings};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;

#[tokio::test]
async fn a_callback_that_is_replayed_connects_nothing() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    let before = browser.cookie.clone();
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected");
    assert_eq!(browser.get(&callback).await.brief(), "400 This page cannot be used again");
    assert_eq!(world.calls(SegmentCall::Token), 1, "the code was not presented again");
    browser.cookie = before;
    assert_eq!(browser.get(&callback).await.brief(), "400 Segment's permission has expired", "with the cookie, too");
    assert_eq!(world.calls(SegmentCall::CreateDestination), 1);
}

/// Somebody lures a merchant to a callback, or a form, of their own: the merchant's source would get a stranger's key.
#[tokio::test]
async fn a_state_is_of_no_use_in_another_browser() {
    let world = World::start().await;
    let (stranger, callback) = world.allowed("website").await;
    let page = world.browser().get(&callback).await;
    assert_eq!(page.brief(), "400 This page cannot be used again");
    let (mut merchant, _) = world.entered().await;
    assert_eq!(merchant.get(&callback).await.brief(), "400 This page cannot be used again");
    assert_eq!((world.calls(SegmentCall::Token), world.destinations().len()), (0, 0));
    let form = world.browser().get("/connect").await.state();
    let fields = [("state", &*form), ("api_key", API_KEY)];
    let mut other = world.browser();
    for cookie in [None, stranger.cookie.clone(), merchant.cookie.clone()] {
        other.cookie = cookie;
        assert_eq!(other.post("/connect", &fields).await.brief(), "400 This page cannot be used again");
    }
}

#[tokio::test]
async fn a_foreign_state_is_refused_before_any_request() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    let cookie = browser.cookie.clone().expect("a cookie");
    let form = world.browser().get("/connect").await.state();
    let value = cookie.split_once('=').expect("a pair").1;
    let long = "A".repeat(20_000);
    for state in ["", "x", "%00", &form, value, &long] {
        let page = browser.get(&format!("/connect/callback?code=abc&state={state}")).await;
        assert_eq!(page.brief(), "400 This link is not complete", "{state}");
        let page = browser.post("/connect/again", &[("state", state)]).await;
        assert_eq!(page.brief(), "400 This link is not complete", "{state}");
    }
    for query in ["", "?code=abc", "?error=access_denied&error_description=%3Cscript%3Ealert(1)%3C/script%3E"] {
        let page = browser.get(&format!("/connect/callback{query}")).await;
        assert_eq!(page.brief(), "400 This link is not complete", "{query}");
        assert!(!page.text.contains("alert(1)"), "{}", page.text);
    }
    assert_eq!(world.calls(SegmentCall::Token), 0);
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected", "none of it ended what was begun");
}

#[tokio::test]
async fn a_head_request_uses_no_code_up() {
    let world = World::start().await;
    let (mut browser, callback) = world.allowed("website").await;
    let url = world.service.url(callback.trim_start_matches(BEHIND));
    let request = world.service.http.head(url).header("Cookie", browser.cookie.clone().expect("a cookie"));
    assert_eq!(within(request.send()).await.expect("an answer").status().as_u16(), 405);
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected");
}

#[tokio::test]
async fn a_browser_that_disconnects_loses_the_page_and_nothing_else() {
    let world = World::start().await;
    let (browser, callback) = world.allowed("website").await;
    world.segment.script_for(SegmentCall::CreateDestination, [Fault::Hang { effect: false }]);
    let mut socket = tokio::net::TcpStream::connect(world.service.addresses.server).await.expect("connects");
    let (path, cookie) = (callback.trim_start_matches(BEHIND), browser.cookie.expect("a cookie"));
    let request = format!("GET {path} HTTP/1.1\r\nHost: x\r\nCookie: {cookie}\r\n\r\n");
    socket.write_all(request.as_bytes()).await.expect("written");
    within(poll_until(async || world.calls(SegmentCall::CreateDestination), |calls| *calls == 1)).await;
    drop(socket); // Segment has not answered
    within(poll_until(async || world.destinations().len(), |made| *made == 1)).await;
}

#[tokio::test]
async fn every_page_is_protected_from_frames_caches_scripts_and_referrers() {
    let world = World::start().await;
    let (mut browser, url) = world.entered().await;
    let callback = browser.decide(&url, "website", "allow").await;
    let mut other = world.browser();
    let form = other.get("/connect").await;
    let wrong = other.post("/connect", &[("state", &form.state()), ("api_key", "pub.wrong")]).await;
    let sent = other.post("/connect", &[("state", &wrong.state()), ("api_key", API_KEY)]).await;
    for page in [form, wrong, sent, other.get("/connect/callback").await, browser.get(&callback).await] {
        let header = |name: &str| page.headers[name].to_str().expect("text");
        assert_eq!(header("referrer-policy"), "no-referrer");
        assert_eq!((header("cache-control"), header("x-content-type-options")), ("no-store", "nosniff"));
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; style-src 'sha256-"), "{policy}");
        assert!(policy.contains("frame-ancestors 'none'; form-action 'self' https: http://127.0.0.1:"), "{policy}");
        assert!(!page.text.contains("<script") && !page.text.contains("src="), "{}", page.text);
    }
}

#[tokio::test]
async fn the_cookie_is_for_this_host_alone_and_invisible_to_scripts() {
    for (redirect, name, secure) in [
        ("https://host.example/connect/callback", "__Host-connect", true),
        ("http://127.0.0.1:1/connect/callback", "connect", false),
    ] {
        let world = World::with(SegmentSettings::default(), &[("CONNECT_REDIRECT_URL", redirect)]).await;
        let page = world.browser().get("/connect").await;
        let cookie = page.headers["set-cookie"].to_str().expect("text");
        let (pair, attributes) = cookie.split_once("; ").expect("attributes");
        assert!(pair.starts_with(&format!("{name}=")), "{cookie}");
        let expected = "Path=/; Max-Age=600; HttpOnly; SameSite=Lax";
        assert_eq!(attributes, if secure { format!("{expected}; Secure") } else { expected.to_owned() });
    }
}

/// A browser that still sends when the connection is closed shows no page, but an error of its own.
#[tokio::test]
async fn a_form_that_is_too_large_is_read_to_its_end_so_that_the_browser_can_show_the_refusal() {
    let world = World::start().await;
    let mut wire = TcpStream::connect(world.service.addresses.server).await.expect("connects");
    let form = "x".repeat(1024 * 1024);
    let head = format!("POST /connect HTTP/1.1\r\nHost: x\r\nContent-Length: {}\r\n\r\n", form.len());
    let next = "GET /nowhere HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    within(wire.write_all([&*head, &form, next].concat().as_bytes())).await.expect("everything is read");
    let mut responses = String::new();
    within(wire.read_to_string(&mut responses)).await.expect("closed in order");
    assert!(responses.starts_with("HTTP/1.1 400 "), "{responses}");
    assert!(responses.contains("HTTP/1.1 404 "), "the connection goes on: {responses}");
}

/// The process logs everything; its log, every page, every URL and every cookie are searched for both halves of the key, the client secret
/// and the seal key.
#[tokio::test]
async fn no_secret_is_in_a_log_a_page_a_url_or_readable_in_a_cookie() {
    const KEY: &str = "pub_merchant1.sec_merchant1";
    leaks::register("sec_merchant1");
    let (segment, segment_url) = start_segment(SegmentSettings::default()).await;
    let refersion = any_refersion().await;
    let folder = tempfile::tempdir().expect("a folder");
    let trace = [("LOG_FILTER", "trace"), ("SEGMENT_ACCEPT_ANY_API_KEY", "true")];
    let process = Process::start(&refersion.base_url, folder.path(), &settings(&segment_url, &trace));
    let mut browser = super::Browser::new(&process.server);
    let url = browser.enter(KEY).await;
    let denied = browser.decide(&url, "website", "deny").await;
    let page = browser.get(&denied).await;
    let sent = browser.post("/connect/again", &[("state", &page.state())]).await;
    let callback = browser.decide(&sent.location(), "website", "allow").await;
    assert_eq!(browser.get(&callback).await.brief(), "200 Your source is connected");
    assert_eq!(segment.destinations().first().expect("one").api_key, KEY);
    let cookie = browser.cookie.clone().expect("a cookie");
    process.terminate();
    let (_, logged) = within(tokio::task::spawn_blocking(move || process.wait())).await.expect("waits");
    let (code, state) = (parameter(&callback, "code"), parameter(&callback, "state"));
    for text in browser.urls.iter().map(String::as_str).chain([&*cookie, &*logged]) {
        for secret in ["merchant1", "secret_sandbox", super::SEAL] {
            assert!(!text.contains(secret), "{secret} is in {text}");
        }
    }
    for secret in [&code, &state] {
        assert!(!logged.contains(&**secret), "{secret} is in {logged}");
    }
}

fn parameter(url: &str, name: &str) -> String {
    let url = url::Url::parse(url).expect("a URL");
    url.query_pairs().find(|(other, _)| other == name).expect("a parameter").1.into_owned()
}
