//! Every error of the API is a problem that says what is wrong and what to do.

use super::{detail, get, post, problem, request, service, url};
use crate::support::{Answer, OPS_TOKEN, http};
use reqwest::Method;
use serde_json::{Value, json};

#[tokio::test]
async fn a_request_that_is_not_valid_is_a_problem_that_says_why() {
    let service = service(&[]).await;
    let too_many = format!("{{\"ids\":[{}]}}", (0..1_001).map(|id: i32| id.to_string()).collect::<Vec<_>>().join(","));
    for (path, expected, words) in [
        ("/nowhere", "404 unknown-path", "/openapi.json"),
        ("/api/v1", "404 unknown-path", ""),
        ("/api/v1/dead-letters/", "404 unknown-path", ""),
        ("/api/v1/dead-letters?reason=foo", "400 invalid-request", "`reason` is none of unmappable, "),
        ("/api/v1/dead-letters?reason=created", "400 invalid-request", "`reason` is none of"),
        (
            "/api/v1/dead-letters?account=nope",
            "404 not-found",
            "no account \"nope\"; the configured accounts are: main",
        ),
        ("/api/v1/dead-letters?limit=0", "400 invalid-request", "`limit` is not from 1 to 1000"),
        ("/api/v1/dead-letters?limit=1001", "400 invalid-request", "`limit`"),
        ("/api/v1/dead-letters?limit=-1", "400 invalid-request", "limit"),
        ("/api/v1/dead-letters?after=-1", "400 invalid-request", "`after` is below 0"),
        ("/api/v1/dead-letters?since=yesterday", "400 invalid-request", "since"),
        ("/api/v1/dead-letters?sinse=1", "400 invalid-request", "sinse"),
        ("/api/v1/dead-letters?limit=1&limit=2", "400 invalid-request", "limit"),
        ("/api/v1/dead-letters/7", "404 not-found", "no dead letter 7"),
        ("/api/v1/dead-letters/x", "400 invalid-request", ""),
        ("/api/v1/dead-letters/99999999999999999999", "400 invalid-request", ""),
        ("/api/v1/email-conflicts?account=nope", "404 not-found", "nope"),
        ("/api/v1/backlog", "400 invalid-request", "account"),
        ("/api/v1/backlog?account=nope", "404 not-found", "nope"),
        ("/api/v1/backlog?account=main&user=1234", "400 invalid-request", "`user` is not 32 hexadecimal digits"),
        ("/api/v1/events/7", "404 not-found", "no event 7"),
        ("/api/v1/accounts/nope", "404 not-found", "nope"),
        ("/api/v1/accounts?state=fine", "400 invalid-request", "state"),
        ("/api/v1/keys?public_key=pub.sec", "400 invalid-request", "the public half alone, never the secret one"),
    ] {
        let answer = get(&service, path).await;
        assert_eq!(problem(&answer), expected, "{path}: {}", answer.text);
        assert!(detail(&answer).contains(words), "{path}: {}", answer.text);
        assert!(!answer.text.contains("pub.sec"), "{}", answer.text);
    }
    let (replay, forget) = ("/api/v1/dead-letters/replay", "/api/v1/forget");
    for (path, body, expected, words) in [
        (replay, "{\"ids\":[]}", "400 invalid-request", "`ids` is empty"),
        (replay, &*too_many, "400 invalid-request", "more than 1000 `ids`"),
        (replay, "{\"ids\":[\"a\"]}", "400 invalid-request", "ids[0]"),
        (replay, "{\"ids\":[1],\"wait\":1}", "400 invalid-request", "wait"),
        (replay, "{", "400 invalid-request", ""),
        (replay, "", "400 invalid-request", ""),
        (forget, "{}", "400 invalid-request", "one of them is required"),
        (forget, "{\"user_id\":\" \"}", "400 invalid-request", "one of them is required"),
        (forget, "{\"email\":\"not an address\"}", "400 invalid-request", "`email` is"),
        (forget, "{\"email\":\"u1@example.com\",\"account\":\"nope\"}", "404 not-found", "nope"),
        ("/api/v1/dead-letters/7/reveal", "", "404 not-found", "no dead letter 7"),
    ] {
        let request = request(&service, &Method::POST, path).header("Content-Type", "application/json");
        let answer = Answer::to(request.body(body.to_owned())).await;
        assert_eq!(problem(&answer), expected, "{path} {body}: {}", answer.text);
        assert!(detail(&answer).contains(words), "{path} {body}: {}", answer.text);
    }
}

/// JSON Schema calls `7.0` an integer.
#[tokio::test]
async fn an_integer_of_a_body_may_have_a_fraction_of_zero() {
    let service = service(&[]).await;
    let (replay, lookup) = ("/api/v1/dead-letters/replay", "/api/v1/lookup");
    for (path, body, expected, words) in [
        (replay, "{\"ids\":[7.0]}", 200, "[{\"id\":7,\"outcome\":\"missing\"}]"),
        (replay, "{\"ids\":[7.5]}", 400, "7.5 is not an integer of 64 bits"),
        (replay, "{\"ids\":[1e300]}", 400, "is not an integer of 64 bits"),
        (lookup, "{\"code\":\"a1\",\"limit\":7.0,\"before\":7.0}", 200, "\"known\":false"),
        (lookup, "{\"code\":\"a1\",\"limit\":70000}", 400, "70000 is out of range"),
        (lookup, "{\"code\":\"a1\",\"limit\":7.5}", 400, "7.5 is not an integer of 64 bits"),
        (lookup, "{\"code\":\"a1\",\"limit\":null,\"before\":-9223372036854775808}", 200, "\"known\":false"),
    ] {
        let request = request(&service, &Method::POST, path).header("Content-Type", "application/json");
        let answer = Answer::to(request.body(body)).await;
        assert_eq!(answer.status, expected, "{path} {body}: {}", answer.text);
        assert!(answer.text.contains(words), "{path} {body}: {}", answer.text);
    }
}

#[tokio::test]
async fn a_body_that_is_no_json_or_too_large_is_a_problem() {
    let service = service(&[]).await;
    let path = "/api/v1/dead-letters/replay";
    let form = request(&service, &Method::POST, path).header("Content-Type", "application/x-www-form-urlencoded");
    assert_eq!(problem(&Answer::to(form.body("ids=1")).await), "415 unsupported-media-type");
    let untyped = request(&service, &Method::POST, path).body("{\"ids\":[1]}");
    assert_eq!(problem(&Answer::to(untyped).await), "415 unsupported-media-type");
    let compressed = request(&service, &Method::POST, path).header("Content-Type", "application/json");
    let compressed = Answer::to(compressed.header("Content-Encoding", "gzip").body("{\"ids\":[1]}")).await;
    assert_eq!(problem(&compressed), "415 unsupported-encoding");
    assert_eq!(compressed.headers["accept-encoding"], "identity");
    let plain = request(&service, &Method::POST, path).header("Content-Type", "application/json");
    let plain = Answer::to(plain.header("Content-Encoding", "Identity").body("{\"ids\":[1]}")).await;
    assert_eq!(plain.status, 200, "{}", plain.text);
    let large = json!({"ids": [1], "more": "x".repeat(100_000)});
    assert_eq!(problem(&post(&service, path, &large).await), "413 body-too-large");
}

#[tokio::test]
async fn another_method_is_a_problem_that_names_the_allowed_ones() {
    let service = service(&[]).await;
    for (method, path, allowed) in [
        (Method::POST, "/api/v1/status", "GET,HEAD"),
        (Method::DELETE, "/api/v1/dead-letters", "GET,HEAD"),
        (Method::GET, "/api/v1/dead-letters/replay", "POST"),
        (Method::GET, "/api/v1/forget", "POST"),
        (Method::POST, "/api/v1/keys/main", "DELETE"),
        (Method::PUT, "/metrics", "GET,HEAD"),
        (Method::POST, "/readyz", "GET,HEAD"),
        (Method::POST, "/openapi.json", "GET,HEAD"),
    ] {
        let answer = Answer::to(request(&service, &method, path)).await;
        assert_eq!(problem(&answer), "405 method-not-allowed", "{method} {path}");
        assert_eq!(answer.headers["allow"], allowed, "{method} {path}");
    }
}

/// What earlier releases had on this listener.
#[tokio::test]
async fn the_paths_of_earlier_releases_are_gone() {
    let service = service(&[]).await;
    for path in ["/email-conflicts", "/forget"] {
        assert_eq!(problem(&post(&service, path, &Value::Null).await), "404 unknown-path", "{path}");
    }
    // Pages have taken these. A request of an earlier release changes nothing there.
    let id = super::dead_letter(&service, "m1", "u1").await;
    for (path, status) in [("/dead-letters", 405), ("/dead-letters/show", 405), ("/dead-letters/replay", 400)] {
        assert_eq!(post(&service, path, &json!({"ids": [id]})).await.status, status, "{path}");
    }
    assert_eq!(super::get(&service, &format!("/api/v1/dead-letters/{id}")).await.status, 200);
}

#[tokio::test]
async fn a_store_that_fails_is_a_problem() {
    let service = service(&[("SERVER_DRAIN", "1ms")]).await;
    let file = service.folder.path().join("store.db");
    let store = rusqlite::Connection::open(file).expect("opens");
    store.execute_batch("DROP TABLE dead_letters").expect("dropped");
    let answer = Answer::to(http().get(url(&service, "/api/v1/dead-letters")).bearer_auth(OPS_TOKEN)).await;
    assert_eq!(problem(&answer), "503 store-failed");
    assert_eq!(answer.headers["retry-after"], "5");
}
