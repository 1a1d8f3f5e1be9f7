//! The routes for dead letters, e-mail conflicts and erasure: with the operator's key, and on the operators' listener only.

use super::Deployment;
use crate::support::{API_KEY, Answer, basic, http};
use serde_json::{Value, json};

const PATHS: [&str; 6] = [
    "/dead-letters",
    "/dead-letters/show",
    "/dead-letters/replay",
    "/dead-letters/discard",
    "/forget",
    "/email-conflicts",
];

async fn post(root: &str, path: &str, authorization: Option<&str>, body: &Value) -> Answer {
    let request = http().post(format!("{root}{path}")).body(body.to_string());
    let request = authorization.into_iter().fold(request, |request, value| request.header("Authorization", value));
    // With the key, one of these routes shows a whole event.
    if path == "/dead-letters/show" && authorization == Some(&basic(API_KEY)) {
        return Answer::to_data(request).await;
    }
    Answer::to(request).await
}

#[tokio::test]
async fn every_route_needs_the_key_and_none_is_on_the_public_listener() {
    let deployment = Deployment::open(&[]).await;
    deployment.send_dead_letter("m1", "u1").await;
    let right = basic(API_KEY);
    let bodies =
        [json!({}), json!({"id": 1}), json!({"ids": [1]}), json!({"ids": [1]}), json!({"user_id": "u1"}), json!({})];
    for (path, body) in PATHS.iter().zip(&bodies) {
        for wrong in
            [None, Some(basic("pub_test.sec_wrong")), Some("Bearer x".to_owned()), Some("Basic Og==".to_owned())]
        {
            let answer = post(&deployment.process().ops, path, wrong.as_deref(), body).await;
            assert_eq!(answer.brief(), "401 unauthorized", "{path} {wrong:?}");
        }
        let public = post(&deployment.process().server, path, Some(&right), body).await;
        assert_eq!(public.brief(), "404 not_found", "{path}");
        let got = Answer::to(http().get(format!("{}{path}", deployment.process().ops))).await;
        assert_eq!(got.brief(), "405 method_not_allowed", "{path}");
        let odd = post(&deployment.process().ops, path, Some(&right), &json!({"unknown": 1})).await;
        assert_eq!(odd.brief(), "400 rejected", "{path}");
    }
    assert_eq!(deployment.counts().await, (0, 1), "nothing was done");
    for (path, body) in PATHS.iter().zip(&bodies).take(2) {
        let answer = post(&deployment.process().ops, path, Some(&right), body).await;
        assert_eq!(answer.status, 200, "{path} {}", answer.text);
    }
}

#[tokio::test]
async fn pages_are_limited_and_hold_no_body() {
    let deployment = Deployment::open(&[]).await;
    for n in 0..3 {
        deployment.send_dead_letter(&format!("m{n}"), &format!("markeruser{n}")).await;
    }
    let right = basic(API_KEY);
    let ops = &deployment.process().ops;
    let page = post(ops, "/dead-letters", Some(&right), &json!({"after": 1, "limit": 1})).await;
    assert!(!page.text.contains("marker"), "{}", page.text);
    let page = page.json();
    assert_eq!((page["letters"][0]["id"].as_i64(), page["next"].as_i64()), (Some(2), Some(2)), "{page}");
    let ids: Vec<i64> = (0..1_001).collect();
    for path in &PATHS[2..4] {
        assert_eq!(post(ops, path, Some(&right), &json!({"ids": ids})).await.brief(), "400 rejected", "{path}");
    }
    let gone = post(ops, "/dead-letters/discard", Some(&right), &json!({"ids": [1, 3, 9]})).await;
    assert_eq!((gone.text.as_str(), deployment.counts().await), ("[1,3]", (0, 1)));
}
