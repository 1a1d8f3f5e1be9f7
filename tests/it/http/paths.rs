//! The paths and methods of the webhook.

use super::{checked, post};
use crate::support::service::Service;
use crate::support::{API_KEY, Answer, basic, http, identify};
use reqwest::Method;
use serde_json::json;

#[tokio::test]
async fn events_are_accepted_on_these_paths_and_none_redirects() {
    let service = Service::start(&[]).await;
    let body = identify("1", "jo", &json!({})).to_string();
    for (path, expected) in [
        ("/segment", "200 delivered"),
        ("/segment/", "200 duplicate"),
        ("/v1/batch", "200 duplicate"),
        ("/v1/batch/", "200 duplicate"),
        ("/v1/import", "200 duplicate"),
        ("/v1/import/", "200 duplicate"),
        ("/segment?source=a%20b", "200 duplicate"),
        ("/segment/?", "200 duplicate"),
        ("/", "404 not_found"),
        ("/segment//", "404 not_found"),
        ("//segment", "404 not_found"),
        ("/Segment", "404 not_found"),
        ("/segment/x", "404 not_found"),
        ("/v1", "404 not_found"),
        ("/v1/batch/x", "404 not_found"),
        ("/segment/..%2f", "404 not_found"),
        ("/healthz/", "404 not_found"),
        ("/metrics", "404 not_found"),
    ] {
        let answer = post(&service.url(path), &[("Authorization", &basic(API_KEY))], body.clone()).await;
        assert_eq!(answer.brief(), expected, "{path}");
    }
}

#[tokio::test]
async fn events_are_accepted_by_put_and_patch_where_the_webhooks_destination_sends_them() {
    let service = Service::start(&[]).await;
    for (path, method, expected) in [
        ("/segment", Method::PUT, "200 delivered"),
        ("/segment/", Method::PATCH, "200 duplicate"),
        ("/segment/main", Method::PATCH, "200 duplicate"),
        ("/segment/main/", Method::PUT, "200 duplicate"),
        ("/v1/batch", Method::PUT, "405 method_not_allowed"),
    ] {
        let request = http().request(method.clone(), service.url(path)).header("Authorization", basic(API_KEY));
        let request = request.body(identify("1", "jo", &json!({})).to_string());
        assert_eq!(checked(Answer::to(request).await).brief(), expected, "{method} {path}");
    }
}

#[tokio::test]
async fn the_paths_of_browsers_and_apps_are_a_404_that_says_why() {
    let service = Service::start(&[]).await;
    let url = |path| service.url(path);
    for path in ["/v1/b", "/v1/i", "/v1/identify", "/v1/t", "/v1/b/", "/v1/projects/x/settings"] {
        for headers in [&[("Content-Type", "text/plain")][..], &[("Authorization", &basic(API_KEY))]] {
            let answer = post(&url(path), headers, r#"{"writeKey":"x"}"#).await;
            assert_eq!(answer.brief(), "404 not_found", "{path}");
            assert!(answer.message().contains("does not belong into a browser"), "{path}: {}", answer.message());
        }
    }
}

#[tokio::test]
async fn another_method_is_a_405_that_names_the_allowed_ones() {
    let service = Service::start(&[]).await;
    let methods = [Method::GET, Method::HEAD, Method::DELETE, Method::OPTIONS, Method::TRACE];
    for (path, allowed) in [
        ("/segment", "POST, PUT, PATCH"),
        ("/segment/", "POST, PUT, PATCH"),
        ("/v1/batch", "POST"),
        ("/v1/batch/", "POST"),
        ("/v1/import", "POST"),
        ("/v1/import/", "POST"),
    ] {
        for method in methods.clone() {
            refused(&method, &service.url(path), allowed).await;
        }
    }
    for path in ["/healthz", "/readyz"] {
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::OPTIONS] {
            refused(&method, &service.url(path), "GET, HEAD").await;
        }
    }
}

async fn refused(method: &Method, url: &str, allowed: &str) {
    let mut answer = Answer::to(http().request(method.clone(), url)).await;
    if *method == Method::HEAD {
        assert_eq!((answer.status, answer.text.as_str()), (405, ""), "an answer to HEAD has no body");
        answer.text.push_str(r#"{"status":"method_not_allowed","message":"-"}"#);
    }
    let answer = checked(answer);
    assert_eq!(answer.brief(), "405 method_not_allowed", "{method} {url}");
    let allow: Vec<_> = answer.headers.get_all("allow").iter().collect();
    assert_eq!(allow, [allowed], "{method} {url}");
}

#[tokio::test]
async fn the_operators_listener_accepts_no_events() {
    let service = Service::start(&[]).await;
    let url = format!("http://{}/segment", service.addresses.ops);
    let send = http().post(url).header("Authorization", basic(API_KEY));
    assert_eq!(Answer::to(send.body(identify("1", "jo", &json!({})).to_string())).await.status, 404);
}
