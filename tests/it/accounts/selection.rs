//! Which account a request selects, by its key or its path, and that nothing else selects it.

use super::{OTHER_KEY, PATIENT, Two};
use crate::support::service::{Refersion, Service};
use crate::support::{API_KEY, Answer, basic, identify};
use hmac::{Hmac, KeyInit, Mac};
use reqwest::Method;
use serde_json::Value;
use sha1::Sha1;

const SECRETS: [(&str, &str); 2] = [("SEGMENT_SHARED_SECRETS", "main-secret"), PATIENT];
const OTHER_SECRETS: &str = "shared_secrets = [\"other-secret\"]";

fn sign(secret: &str, content: &str) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length");
    hex::encode(mac.chain_update(content).finalize().into_bytes())
}

#[tokio::test]
async fn a_request_is_for_the_account_of_its_key_or_of_its_path() {
    let two = Two::start(&SECRETS, OTHER_SECRETS).await;
    let (key, signature) = ("Wrong API key", "Wrong X-Signature");
    let (main, other) = (Some(API_KEY), Some(OTHER_KEY));
    for (n, (path, basics, signed, expected)) in [
        ("/segment", &[main][..], None, "main"),
        ("/segment", &[other], None, "other"),
        ("/segment/", &[other], None, "other"),
        ("/v1/batch", &[main], None, "main"),
        ("/v1/batch", &[other], None, "other"),
        ("/v1/batch/", &[other], None, "other"),
        ("/segment", &[], Some("main-secret"), "main"),
        ("/segment", &[], Some("other-secret"), signature),
        ("/segment", &[other], Some("other-secret"), "other"),
        ("/segment", &[other], Some("main-secret"), signature),
        ("/segment", &[main], Some("other-secret"), signature),
        ("/segment", &[main, main], None, "main"),
        ("/segment", &[main, other], None, key),
        ("/segment", &[other, main], None, key),
        ("/segment", &[Some("pub_other.sec_test")], None, key),
        ("/segment", &[], None, "No credentials"),
        ("/segment/other", &[other], None, "other"),
        ("/segment/other/", &[other], None, "other"),
        ("/segment/other", &[main], None, key),
        ("/segment/other", &[], Some("other-secret"), "other"),
        ("/segment/other/", &[], Some("other-secret"), "other"),
        ("/segment/other", &[], Some("main-secret"), signature),
        ("/segment/other", &[main], Some("other-secret"), "other"),
        ("/segment/other", &[main], Some("main-secret"), signature),
        // Credentials of a gateway: a signature without a known key is for `main`.
        ("/segment", &[Some("gateway")], Some("main-secret"), "main"),
        ("/segment", &[Some("gateway.x")], Some("main-secret"), "main"),
        ("/segment", &[Some("gateway")], Some("other-secret"), signature),
        ("/segment", &[Some("gateway")], None, key),
        ("/segment/other", &[Some("gateway")], Some("other-secret"), "other"),
        // The public half of a key selects its account, so that no other account's secret can stand for it.
        ("/segment", &[Some("pub_other.wrong")], Some("other-secret"), "other"),
        ("/segment", &[Some("pub_other.wrong")], Some("main-secret"), signature),
        ("/segment/other", &[other], Some("main-secret"), signature),
        ("/segment/other", &[], None, "No credentials"),
        ("/segment/main", &[main], None, "main"),
        ("/segment/main", &[], Some("main-secret"), "main"),
        ("/segment/main", &[other], None, key),
        ("/segment/main", &[], Some("other-secret"), signature),
    ]
    .into_iter()
    .enumerate()
    {
        let body = identify(&format!("m{n}"), &format!("u{n}"), &Value::Null).to_string();
        let basics = basics.iter().flatten().map(|key| ("Authorization", basic(key)));
        let signed = signed.map(|secret| ("X-Signature", sign(secret, &body)));
        let headers: Vec<_> = basics.chain(signed).collect();
        let headers: Vec<_> = headers.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let answer = two.post(path, &headers, body).await;
        let email = format!("u{n}@example.com");
        let at = [two.main.refersion.sandbox.affiliate(&email), two.other.sandbox.affiliate(&email)];
        let at = at.map(|affiliate| affiliate.is_some());
        match expected {
            "main" => assert_eq!((&*answer.brief(), at), ("200 delivered", [true, false]), "{n}: {path} {headers:?}"),
            "other" => assert_eq!((&*answer.brief(), at), ("200 delivered", [false, true]), "{n}: {path} {headers:?}"),
            why => {
                assert_eq!((&*answer.brief(), at), ("401 unauthorized", [false; 2]), "{n}: {path} {headers:?}");
                assert!(answer.message().starts_with(why), "{n}: {}", answer.message());
            }
        }
    }
}

#[tokio::test]
async fn the_path_of_an_unknown_account_is_answered_like_any_unknown_path() {
    let two = Two::start(&SECRETS, OTHER_SECRETS).await;
    let key = basic(OTHER_KEY);
    let ask = async |method: &Method, path: &str, key: Option<&str>| {
        let request = two.main.http.request(method.clone(), two.main.url(path));
        let request = key.into_iter().fold(request, |request, key| request.header("Authorization", key));
        let mut answer = Answer::to(request.body("{}")).await;
        answer.headers.remove("date");
        (answer.status, answer.headers, answer.text)
    };
    for method in [Method::POST, Method::GET, Method::PUT] {
        for key in [None, Some(&*key)] {
            let unknown = ask(&method, "/no/such/path", key).await;
            assert_eq!(unknown.0, 404);
            for path in
                ["/segment/another", "/segment/Other", "/segment/othe%72", "/segment/other/x", "/segment/other//"]
            {
                assert_eq!(ask(&method, path, key).await, unknown, "{method} {path}");
            }
        }
    }
    for path in ["/segment/other", "/segment/other/"] {
        let refused = ask(&Method::GET, path, None).await;
        assert_eq!((refused.0, &refused.1["allow"]), (405, &"POST, PUT, PATCH".parse().expect("a value")), "{path}");
    }
}

#[tokio::test]
async fn no_request_is_attributed_to_main_without_it() {
    let refersion = Refersion::of(OTHER_KEY, <_>::default()).await;
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("accounts.toml");
    std::fs::write(&file, format!("[[accounts]]\nname = \"other\"\napi_key = \"{OTHER_KEY}\"\n{OTHER_SECRETS}"))
        .expect("writes");
    let main = Service::configured(refersion, folder, &[SECRETS[0], PATIENT, ("REFERSION_API_KEY", "")], &[file]).await;
    let two = Two { main, other: Refersion::start().await };
    let body = identify("m1", "u1", &Value::Null).to_string();
    for (path, signed, expected) in [
        ("/segment", "main-secret", "401 unauthorized"),
        ("/segment", "other-secret", "401 unauthorized"),
        ("/segment/main", "main-secret", "404 not_found"),
        ("/segment/other", "main-secret", "401 unauthorized"),
        ("/segment/other", "other-secret", "200 delivered"),
    ] {
        let signature = sign(signed, &body);
        let answer = two.post(path, &[("X-Signature", &signature)], body.clone()).await;
        assert_eq!(answer.brief(), expected, "{path} {signed}");
    }
    assert_eq!(two.send(&identify("m2", "u2", &Value::Null)).await.brief(), "401 unauthorized");
    assert_eq!(two.send_other(&identify("m2", "u2", &Value::Null)).await.brief(), "200 delivered");
}

#[tokio::test]
async fn only_operators_see_the_names_of_accounts() {
    let two = Two::start(&[], "").await;
    assert_eq!(two.ready().await, ["ok"; 3]);
    let public = two.main.ready().await;
    assert_eq!(public.brief(), "200 ready");
    assert!(!public.text.contains("other"), "{}", public.text);
}
