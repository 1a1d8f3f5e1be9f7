//! Who may use the operators' listener, through a real socket.

use super::{problem, service, url, with_json};
use crate::support::service::Service;
use crate::support::{API_KEY, Answer, OPS_TOKEN, basic, http, poll_until, within};
use reqwest::Method;
use serde_json::{Value, json};

const ANYWHERE: (&str, &str) = ("OPS_LISTEN", "0.0.0.0:0");
const NO_TOKEN: (&str, &str) = ("OPS_TOKEN", "");

/// Every operation of the API, with a path that names something: from its own description.
async fn operations(service: &Service) -> Vec<(Method, String)> {
    let document: Value = Answer::to(http().get(url(service, "/openapi.json")).bearer_auth(OPS_TOKEN)).await.json();
    let mut operations = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        if path.starts_with("/api/") {
            let path = path.replace("{id}", "1").replace("{seq}", "1").replace("{account}", "main");
            let methods = item.as_object().expect("an item").keys();
            let methods = methods.filter_map(|method| Method::from_bytes(method.to_uppercase().as_bytes()).ok());
            operations.extend(methods.filter(|method| *method != Method::TRACE).map(|method| (method, path.clone())));
        }
    }
    assert!(operations.len() > 10, "{operations:?}");
    operations
}

/// Whether each operation reads, and the problem that it answers without, or with, these credentials; `served` if it answers another one or
/// none.
async fn answers(service: &Service, operations: &[(Method, String)], credentials: Option<&str>) -> Vec<(bool, String)> {
    let mut answers = Vec::new();
    for (method, path) in operations {
        let request = service.http.request(method.clone(), url(service, path));
        let request = if *method == Method::GET { request } else { with_json(request, &json!({"unknown": 1})) };
        let request = credentials.iter().fold(request, |request, value| request.header("Authorization", *value));
        let answer = Answer::to(request).await;
        let served = !matches!(answer.status, 401 | 403 | 429);
        let reads = *method == Method::GET || path == "/api/v1/lookup";
        answers.push((reads, if served { "served".to_owned() } else { problem(&answer) }));
    }
    answers
}

#[tokio::test]
async fn reads_are_free_on_loopback_and_changes_need_the_token() {
    let described = service(&[]).await;
    let operations = operations(&described).await;
    let right = format!("Bearer {OPS_TOKEN}");
    for (settings, credentials, read, change) in [
        (&[][..], None, "served", "401 token-missing"),
        (&[], Some(&*right), "served", "served"),
        (&[NO_TOKEN], None, "served", "403 token-not-set"),
        (&[NO_TOKEN], Some(&*right), "served", "403 token-not-set"),
        (&[ANYWHERE], None, "401 token-missing", "401 token-missing"),
        (&[ANYWHERE], Some(&*right), "served", "served"),
        (&[ANYWHERE, NO_TOKEN], None, "403 token-not-set", "403 token-not-set"),
        (&[ANYWHERE, NO_TOKEN], Some(&*right), "403 token-not-set", "403 token-not-set"),
    ] {
        let service = service(settings).await;
        for ((reads, answer), operation) in answers(&service, &operations, credentials).await.iter().zip(&operations) {
            let expected = if *reads { read } else { change };
            assert_eq!(answer, expected, "{operation:?} {settings:?} {credentials:?}");
        }
        for (path, expected) in [("/healthz", 200), ("/readyz", 200), ("/metrics", 200)] {
            assert_eq!(Answer::to(http().get(url(&service, path))).await.status, expected, "{path} {settings:?}");
        }
        let description = Answer::to(http().get(url(&service, "/openapi.json"))).await.status;
        assert_eq!(description == 200, !settings.contains(&ANYWHERE), "{settings:?}");
    }
}

#[tokio::test]
async fn a_browser_is_asked_for_a_password_and_the_token_is_one() {
    let service = service(&[ANYWHERE]).await;
    let status = url(&service, "/api/v1/status");
    let asked = Answer::to(http().get(&status)).await;
    assert_eq!(problem(&asked), "401 token-missing");
    let schemes = asked.headers["www-authenticate"].to_str().expect("text");
    assert!(schemes.starts_with("Basic realm=") && schemes.contains(", Bearer realm="), "{schemes}");
    assert_eq!(asked.headers["cache-control"], "no-store");
    for user in ["", "anybody"] {
        assert_eq!(Answer::to(http().get(&status).basic_auth(user, Some(OPS_TOKEN))).await.status, 200);
    }
    let by_key = Answer::to(http().get(&status).header("Authorization", basic(API_KEY))).await;
    assert_eq!(problem(&by_key), "401 token-wrong", "an account's API key is no operator's credential");
}

#[tokio::test]
async fn a_page_of_another_site_can_neither_change_nor_read_anything() {
    let service = service(&[]).await;
    let discard = || {
        let request = http().post(url(&service, "/api/v1/dead-letters/discard")).bearer_auth(OPS_TOKEN);
        with_json(request, &json!({"ids": [1]}))
    };
    let own = format!("http://{}", service.addresses.ops);
    for (name, value, expected) in [
        ("Sec-Fetch-Site", "cross-site", 403),
        ("Sec-Fetch-Site", "same-site", 403),
        ("Sec-Fetch-Site", "same-origin", 200),
        ("Origin", "https://attacker.example", 403),
        ("Origin", "null", 403),
        ("Origin", &own, 200),
    ] {
        let answer = Answer::to(discard().header(name, value)).await;
        assert_eq!(answer.status, expected, "{name}: {value}: {}", answer.text);
        if expected == 403 {
            assert_eq!(problem(&answer), "403 cross-site");
        }
    }
    // The attacker's name resolves to this machine.
    let rebound = http().get(url(&service, "/api/v1/status")).header("Host", "attacker.example:9090");
    assert_eq!(problem(&Answer::to(rebound).await), "401 token-missing");
}

#[tokio::test]
async fn a_client_that_guesses_the_token_is_slowed_down_and_the_right_one_works_again_a_second_later() {
    let service = service(&[]).await;
    let ask = |token: &str| Answer::to(http().get(url(&service, "/api/v1/status")).bearer_auth(token));
    let mut answers = Vec::new();
    // Six within a second, unless the machine is slow.
    while answers.last().is_none_or(|answer| answer == "401 token-wrong") {
        answers.push(problem(&ask("a-wrong-token-of-operators").await));
        assert!(answers.len() < 200, "it is never slowed down");
    }
    assert!(answers.len() >= 6, "{answers:?}");
    assert_eq!(answers.last().map(String::as_str), Some("429 too-many-wrong-tokens"));
    within(poll_until(|| ask(OPS_TOKEN), |answer| answer.status == 200)).await;
    assert_eq!(Answer::to(http().get(url(&service, "/healthz"))).await.status, 200);
}

#[tokio::test]
async fn the_public_listener_has_none_of_it() {
    let service = service(&[]).await;
    for (method, path) in operations(&service).await {
        let request = service.http.request(method.clone(), service.url(&path)).bearer_auth(OPS_TOKEN);
        assert_eq!(Answer::to(request).await.status, 404, "{method} {path}");
    }
    assert_eq!(Answer::to(http().get(service.url("/openapi.json"))).await.status, 404);
}
