//! Which keys are admitted: those that Refersion accepts, and no others.

use super::{ANN, BOB, Partner};
use crate::support::service::Service;
use crate::support::{API_KEY, Answer, basic, identify, within};
use hmac::{Hmac, KeyInit, Mac};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};
use sha1::Sha1;
use tokio::task::JoinSet;

const NOBODY: &str = "pub_nobody.sec_nobody";

#[tokio::test]
async fn a_key_is_verified_at_its_first_request_and_every_event_is_delivered_with_it() {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    let event = |n: u32| identify(&format!("m{n}"), &format!("u{n}"), &Value::Null);
    assert_eq!(partner.send(ANN, &event(1)).await.brief(), "200 delivered");
    let asked = partner.refersions.verifications(ANN);
    assert_eq!(partner.send(ANN, &event(2)).await.brief(), "200 delivered");
    assert_eq!(partner.send(ANN, &json!([event(3), event(4)])).await.brief(), "202 accepted");
    let batch = partner.post("/v1/batch", &[("Authorization", &basic(ANN))], &json!({"batch": [event(5)]})).await;
    assert_eq!(batch.brief(), "202 accepted");
    within(ann.until(|ann| ann.affiliates().len() == 5)).await;
    assert_eq!(partner.refersions.verifications(ANN), asked, "it is known");
    let name = &partner.kept()[0].0;
    assert!(name.len() == 20 && name.starts_with("key-") && !name.contains("ann"), "{name}");
}

#[tokio::test]
async fn a_key_that_refersion_rejects_is_a_401_and_leaves_nothing() {
    let partner = Partner::start(&[]).await;
    let event = identify("m1", "u1", &Value::Null);
    for _ in 0..3 {
        let refused = partner.send(NOBODY, &event).await;
        assert_eq!(refused.brief(), "401 unauthorized");
        assert!(refused.message().starts_with("Refersion rejects this API key: set"), "{}", refused.message());
        assert!(refused.headers.contains_key("www-authenticate"));
    }
    let junk = ["nodot", ".sec", "pub.", "", &format!("pub.{}", "s".repeat(600))];
    for key in junk {
        let refused = partner.send_once(key, &event).await;
        assert_eq!(refused.brief(), "401 unauthorized", "{key}");
        assert!(refused.message().starts_with("Wrong API key"), "{}", refused.message());
    }
    assert_eq!(partner.verifications(NOBODY), 1, "it is not asked about again for a while");
    assert_eq!(partner.kept(), []);
    let ready = partner.ready().await;
    assert_eq!((&ready["pending"], &ready["merchants"]["at_work"]), (&json!(0), &json!(0)));
}

#[tokio::test]
async fn an_event_must_be_sent_again_if_refersion_cannot_be_asked() {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    let event = identify("m1", "u1", &Value::Null);
    for status in [500, 503, 429, 404, 403, 400, 422, 302, 200] {
        partner.refersions.answer_all(status);
        let answer = partner.send_once(ANN, &event).await;
        assert_eq!(answer.brief(), "503 unavailable", "{status}");
        assert!(answer.message().starts_with("Refersion could not be asked"), "{}", answer.message());
        assert!(answer.headers.contains_key("retry-after"));
    }
    partner.refersions.answer_all(0);
    ann.script_for(Operation::List, [Fault::html(404), Fault::html(200), Fault::Hang { effect: false }]);
    for _ in 0..3 {
        assert_eq!(partner.send_once(ANN, &event).await.brief(), "503 unavailable");
    }
    assert_eq!(partner.kept(), []);
    assert_eq!(partner.send(ANN, &event).await.brief(), "200 delivered");
}

/// For a wrong key Refersion answers 401 before it looks at anything else.
#[tokio::test]
async fn any_rejection_but_a_401_verifies_the_key() {
    for (n, status) in [400_u16, 404, 422].into_iter().enumerate() {
        let partner = Partner::start(&[]).await;
        let ann = partner.refersions.accept(ANN);
        let body = [json!({"error": "no"}), json!({"error": ["no"]}), json!({"errors": ["no"]})][n].clone();
        ann.script_for(Operation::List, [Fault::Status { status, body, retry_after: None }]);
        assert_eq!(partner.send(ANN, &identify("m1", "u1", &Value::Null)).await.brief(), "200 delivered", "{status}");
        assert_eq!(partner.verifications(ANN), 1, "{status}");
    }
}

#[tokio::test]
async fn a_public_key_alone_delivers_nothing_and_replaces_nothing() {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    let event = |n: u32| identify(&format!("m{n}"), &format!("u{n}"), &Value::Null);
    assert_eq!(partner.send(ANN, &event(1)).await.brief(), "200 delivered");
    let (kept, asked) = (partner.kept(), partner.refersions.verifications(ANN));
    for bogus in ["pub_ann.bogus", "pub_ann.sec_an", "pub_ann.sec_ann2", "pub_ann.SEC_ANN"] {
        let refused = partner.send(bogus, &event(2)).await;
        assert_eq!(refused.brief(), "401 unauthorized", "{bogus}");
        assert!(refused.message().starts_with("Refersion rejects"), "Refersion alone was asked: {}", refused.message());
    }
    assert_eq!(partner.kept(), kept);
    assert_eq!(partner.send(ANN, &event(3)).await.brief(), "200 delivered");
    assert_eq!(partner.refersions.verifications(ANN), asked);
    let users: Vec<_> = ann.affiliates().iter().map(|one| one.email().to_owned()).collect();
    assert_eq!(users, ["u1@example.com", "u3@example.com"]);
}

/// First the key, then the event: every stored event can be delivered.
#[tokio::test]
async fn no_event_is_stored_if_its_api_key_cannot_be_stored() {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    let store = rusqlite::Connection::open(partner.service.folder.path().join("store.db")).expect("the file opens");
    let full = "CREATE TRIGGER full BEFORE INSERT ON sealed_keys BEGIN SELECT raise(FAIL, 'full'); END";
    store.execute_batch(full).expect("made");
    let event = identify("m1", "u1", &Value::Null);
    for _ in 0..2 {
        assert_eq!(partner.send_once(ANN, &event).await.brief(), "503 unavailable");
    }
    assert_eq!((&partner.ready().await["pending"], ann.affiliates().len()), (&json!(0), 0));
    store.execute_batch("DROP TRIGGER full").expect("dropped");
    assert_eq!(partner.send(ANN, &event).await.brief(), "200 delivered");
}

#[tokio::test]
async fn neither_a_signature_nor_a_path_reaches_an_unconfigured_account() {
    let partner = Partner::start(&[("SEGMENT_SHARED_SECRETS", "of-main")]).await;
    partner.refersions.accept(ANN);
    let event = identify("m1", "u1", &Value::Null);
    assert_eq!(partner.send(ANN, &event).await.brief(), "200 delivered");
    let signature = signed(&event, "of-main");
    let name = partner.kept()[0].0.clone();
    for (path, headers, expected) in [
        ("/segment", vec![("X-Signature", &*signature)], "401 unauthorized"),
        ("/segment", vec![], "401 unauthorized"),
        (&format!("/segment/{name}"), vec![("Authorization", &*basic(ANN))], "404 not_found"),
        ("/segment", vec![("Authorization", &*basic(ANN)), ("Authorization", &*basic(BOB))], "401 unauthorized"),
        ("/segment", vec![("Authorization", &*basic(ANN)), ("X-Signature", "junk")], "200 duplicate"),
    ] {
        assert_eq!(partner.post(path, &headers, &event).await.brief(), expected, "{path} {headers:?}");
    }
}

/// The signature of `event` with this shared secret.
fn signed(event: &Value, secret: &str) -> String {
    let mac = Hmac::<Sha1>::new_from_slice(secret.as_bytes()).expect("any length");
    hex::encode(mac.chain_update(event.to_string()).finalize().into_bytes())
}

#[tokio::test]
async fn a_valid_signature_for_main_suffices_although_credentials_that_look_like_a_key_cannot_be_verified() {
    let settings = [("REFERSION_API_KEY", API_KEY), ("SEGMENT_SHARED_SECRETS", "of-main"), ("SERVER_WAIT", "0s")];
    let partner = Partner::start(&settings).await;
    let main = partner.refersions.accept(API_KEY);
    partner.refersions.answer_all(503);
    let event = identify("m1", "u1", &Value::Null);
    for (secret, expected) in [("other", "503 unavailable"), ("of-main", "202 accepted")] {
        let headers = [("Authorization", &*basic("gateway.x")), ("X-Signature", &*signed(&event, secret))];
        assert_eq!(partner.post("/segment", &headers, &event).await.brief(), expected, "{secret}");
    }
    partner.refersions.answer_all(0);
    partner.service.until_drained().await;
    assert_eq!(main.affiliates().len(), 1);
}

#[tokio::test]
async fn beside_a_valid_signature_for_main_credentials_of_a_gateway_that_look_like_a_key_do_no_harm() {
    const GATEWAY: &str = "gateway.x";
    let partner = Partner::start(&[("REFERSION_API_KEY", API_KEY), ("SEGMENT_SHARED_SECRETS", "of-main")]).await;
    let main = partner.refersions.accept(API_KEY);
    let event = identify("m1", "u1", &Value::Null);
    let refused = partner.send(GATEWAY, &event).await;
    assert!(refused.message().starts_with("Refersion rejects this API key"), "{}", refused.message());
    for (secret, status, affiliates) in [("other", "401 unauthorized", 0), ("of-main", "200 delivered", 1)] {
        let headers = [("Authorization", &*basic(GATEWAY)), ("X-Signature", &*signed(&event, secret))];
        assert_eq!(partner.post("/segment", &headers, &event).await.brief(), status, "{secret}");
        assert_eq!(main.affiliates().len(), affiliates, "{secret}");
    }
}

#[tokio::test]
async fn a_configured_account_is_unaffected_and_its_public_key_is_its_own() {
    let partner = Partner::start(&[("REFERSION_API_KEY", API_KEY)]).await;
    let (main, ann) = (partner.refersions.accept(API_KEY), partner.refersions.accept(ANN));
    let event = identify("m1", "u1", &Value::Null);
    for key in [API_KEY, ANN] {
        assert_eq!(partner.send(key, &event).await.brief(), "200 delivered");
    }
    assert_eq!((main.affiliates().len(), ann.affiliates().len()), (1, 1));
    let (public, _) = API_KEY.split_once('.').expect("a pair");
    let other = format!("{public}.other");
    partner.refersions.accept(&other);
    let refused = partner.send_once(&other, &event).await;
    assert_eq!(refused.brief(), "401 unauthorized");
    assert!(refused.message().starts_with("Wrong API key"), "{}", refused.message());
    assert_eq!((partner.refersions.verifications(API_KEY), partner.refersions.verifications(&other)), (0, 0));
    assert_eq!(partner.kept().len(), 1);
}

#[tokio::test]
async fn unless_any_key_is_accepted_an_unknown_key_is_wrong() {
    let service = Service::start(&[]).await;
    let request = service.http.post(service.url("/segment")).header("Authorization", basic(ANN));
    let refused = Answer::to(request.body("{}")).await;
    assert!(refused.message().starts_with("Wrong API key"), "{}", refused.message());
    assert_eq!(service.refersion.operations(), [""; 0]);
}

#[tokio::test]
async fn concurrent_requests_with_one_new_key_verify_it_once() {
    let partner = Partner::start(&[]).await;
    let ann = partner.refersions.accept(ANN);
    let mut senders = JoinSet::new();
    for n in 0..20 {
        let request = partner.service.http.post(partner.service.url("/segment")).header("Authorization", basic(ANN));
        let body = json!([identify(&format!("m{n}"), &format!("u{n}"), &Value::Null)]).to_string();
        senders.spawn(Answer::to(request.body(body)));
    }
    let answers = senders.join_all().await;
    let of = |status| answers.iter().filter(|answer| answer.status == status).count();
    // On a busy machine a verification may take too long: a 503, and the key is verified again.
    let (taken, later) = (of(202), of(503));
    assert_eq!(taken + later, 20, "{answers:?}");
    assert!(partner.refersions.verifications(ANN) <= 1 + later, "{}", partner.refersions.verifications(ANN));
    within(ann.until(|ann| ann.affiliates().len() == taken)).await;
}

#[tokio::test]
async fn unknown_keys_cause_only_a_few_calls_at_a_time() {
    let partner = Partner::start(&[]).await;
    let mut senders = JoinSet::new();
    for n in 0..200 {
        let request = partner.service.http.post(partner.service.url("/segment"));
        let request = request.header("Authorization", basic(&format!("pub_{n}.junk")));
        senders.spawn(Answer::to(request.body("{}")));
    }
    let answers = senders.join_all().await;
    assert!(answers.iter().all(|answer| [401, 503].contains(&answer.status)), "{answers:?}");
    assert!((1..=4).contains(&partner.refersions.max_in_flight()), "{}", partner.refersions.max_in_flight());
    assert_eq!(partner.kept(), []);
}
