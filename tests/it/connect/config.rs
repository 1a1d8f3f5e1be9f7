//! `[connect]`: all of it or nothing, and no secret unencrypted.

use super::{SEAL, World};
use crate::support::service::Service;
use refersion_destination::config::{Config, Mode};
use refersion_destination::sandbox::segment::SegmentSettings;

#[tokio::test]
async fn the_pages_do_not_exist_without_settings() {
    let service = Service::start(&[]).await;
    for (method, path) in [
        ("GET", "/connect"),
        ("POST", "/connect"),
        ("POST", "/connect/again"),
        ("GET", "/connect/callback?code=a&state=b"),
    ] {
        let method = method.parse().expect("a method");
        let response = service.http.request(method, service.url(path)).send().await.expect("an answer");
        assert_eq!(response.status().as_u16(), 404, "{path}");
    }
}

#[tokio::test]
async fn other_methods_are_refused() {
    let world = World::with(SegmentSettings::default(), &[]).await;
    for (method, path, allowed) in [
        ("DELETE", "/connect", "GET, HEAD, POST"),
        ("GET", "/connect/again", "POST"),
        ("POST", "/connect/callback", "GET"),
    ] {
        let request = world.service.http.request(method.parse().expect("a method"), world.service.url(path));
        let response = request.send().await.expect("an answer");
        let found = (response.status().as_u16(), response.headers()["allow"].to_str().expect("text"));
        assert_eq!(found, (405, allowed), "{path}");
    }
}

const COMPLETE: [(&str, &str); 5] = [
    ("REFERSION_API_KEY", "pub_a.sec_a"),
    ("CONNECT_CLIENT_ID", "app"),
    ("CONNECT_CLIENT_SECRET", "the-client-secret"),
    ("CONNECT_REDIRECT_URL", "https://host.example/connect/callback"),
    ("STORE_SEAL_KEY", SEAL),
];

fn problems(settings: &[(&str, &str)]) -> String {
    let settings: std::collections::BTreeMap<String, String> =
        COMPLETE.iter().chain(settings).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    match Config::load(&[], settings.into_iter(), Mode::Live) {
        Ok((config, _)) => {
            assert!(config.connect.is_some());
            String::new()
        }
        Err(problems) => problems.to_string(),
    }
}

#[test]
fn every_mistake_in_the_settings_is_a_problem_and_no_secret_is_shown() {
    assert_eq!(problems(&[]), "");
    for (settings, expected) in [
        (
            &[("CONNECT_CLIENT_ID", "")][..],
            "connect.client_id (not set): required with the other settings of [connect]",
        ),
        (&[("CONNECT_CLIENT_SECRET", "")], "connect.client_secret (not set): required with"),
        (&[("CONNECT_REDIRECT_URL", "")], "connect.redirect_url (not set): required with"),
        (&[("STORE_SEAL_KEY", "")], "store.seal_key (not set): required with [connect]"),
        (&[("CONNECT_CLIENT_SECRET", "the secret")], "found something else (not shown)"),
        (&[("CONNECT_REDIRECT_URL", "http://host.example/connect/callback")], "https, or http to a loopback address"),
        (&[("CONNECT_REDIRECT_URL", "https://host.example/callback")], "expected a URL such as"),
        (&[("CONNECT_REDIRECT_URL", "https://host.example/connect/callback?a=b")], "a query or a fragment"),
        (
            &[("CONNECT_REDIRECT_URL", "https://Host.example:443/connect/callback")],
            r#""https://host.example/connect/callback""#,
        ),
        (&[("CONNECT_AUTH_BASE_URL", "http://id.example")], "secrets must not be sent unencrypted"),
        (&[("CONNECT_API_BASE_URL", "http://10.0.0.1")], "secrets must not be sent unencrypted"),
        (&[("CONNECT_SCOPE", "workspace")], "`destination/` and the slug of one destination"),
    ] {
        let found = problems(settings);
        assert!(found.contains(expected), "{settings:?}: {found}");
        assert!(!found.contains("the-client-secret") && !found.contains("the secret"), "{found}");
    }
}
