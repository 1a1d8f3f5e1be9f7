//! An affiliate that a search finds while an event of another user is changing it: the two are one user from then on.

use super::accepted;
use crate::support::service::{MERCHANT, Refersion, Service};
use crate::support::{API_KEY, Answer, basic, http, identify, within};
use axum::extract::Request;
use axum::middleware::{Next, from_fn};
use refersion_destination::domain::{AffiliateStatus, ApiKey};
use refersion_destination::sandbox::{Operation, Sandbox, SandboxSettings};
use serde_json::{Value, json};
use std::sync::Arc;
use tokio::sync::Semaphore;

/// A simulated Refersion whose replies to `operations` are held back from the service, as long as `replies` has no permit.
pub async fn holding(operations: &'static [Operation], replies: Arc<Semaphore>) -> Refersion {
    let api_key = Some(ApiKey::parse(API_KEY).expect("a key"));
    let sandbox = Sandbox::new(SandboxSettings { api_key, ..SandboxSettings::default() });
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let base_url = format!("http://{}/v2", listener.local_addr().expect("bound"));
    let router = sandbox.router().layer(from_fn(move |request: Request, next: Next| {
        let replies = Arc::clone(&replies);
        async move {
            let is = |operation: &Operation| request.uri().path().ends_with(&format!("/{}", operation.as_str()));
            let is_held = operations.iter().any(is) && !request.headers().contains_key(MERCHANT);
            let reply = next.run(request).await;
            if is_held {
                replies.acquire().await.expect("open").forget();
            }
            reply
        }
    }));
    tokio::spawn(axum::serve(listener, router).into_future());
    Refersion { sandbox, base_url }
}

/// The merchant gives the affiliate another e-mail.
async fn change_email(refersion: &Refersion, email: &str) {
    let body = json!({"affiliates": [{"id": refersion.sandbox.affiliates()[0].id, "email": email}]});
    refersion.merchant_calls(Operation::Edit, &body).await;
}

fn edits(sandbox: &Sandbox) -> usize {
    sandbox.calls().iter().filter(|call| call.operation == Operation::Edit).count()
}

/// An identify of `user`, or of nobody by `userId`, with the name that all events state.
fn of(message_id: &str, user: &str, traits: &Value) -> Value {
    let mut event = identify(message_id, user, traits);
    event["traits"]["name"] = json!("Ann Lee");
    if user.is_empty() {
        event.as_object_mut().expect("an object").remove("userId");
    }
    event
}

#[tokio::test]
async fn an_affiliate_that_a_search_finds_is_not_changed_while_another_delivery_changes_it() {
    const AUDIENCES: &str = r#"[{ trait = "vip", on_true = { custom_fields = { "77" = "yes" } } }]"#;
    let new = json!({"email": "new@example.com", "company": "Initech"});
    let both = json!({"email": "new@example.com", "company": "Initech", "city": "Oslo"});
    let first = json!({"email": "old@example.com", "city": "Oslo"});
    let engage = json!({"type": "identify", "messageId": "m3", "traits": {"email": "new@example.com", "name": "Ann Lee",
        "vip": true}, "context": {"personas": {"computation_class": "audience", "computation_key": "vip"}}});
    let delete = json!({"type": "delete", "messageId": "m3", "email": "new@example.com"});
    let on_other_user = ("DELIVERY_ON_OTHER_USER", "update");
    for (claim, settings, owner, found_by, sent) in [
        ("another userId", &[on_other_user][..], "u1", of("m3", "u2", &new), Some(&both)),
        ("an affiliate without an owner", &[], "", of("m3", "", &new), Some(&both)),
        ("an Engage event", &[("MAPPING_AUDIENCES", AUDIENCES)], "u1", engage, Some(&first)),
        ("a delete", &[], "u1", delete, None),
    ] {
        let replies = Arc::new(Semaphore::new(0));
        let settings = [&[("SERVER_WAIT", "20s"), ("REFERSION_TIMEOUT", "1h")], settings].concat();
        let service = Service::on(holding(&[Operation::Edit], Arc::clone(&replies)).await, &settings).await;
        let (sandbox, old) =
            (&service.refersion.sandbox, |city: &str| json!({"email": "old@example.com", "city": city}));
        assert_eq!(service.send(&of("m1", owner, &old("Rome"))).await.json()["action"], "created", "{claim}");
        change_email(&service.refersion, "new@example.com").await;

        let body = of("m2", owner, &old("Oslo")).to_string();
        let request = http().post(service.url("/segment")).header("Authorization", basic(API_KEY)).body(body);
        let first = tokio::spawn(Answer::to(request));
        service.refersion.until(|sandbox| edits(sandbox) == 2).await;
        accepted(&service, &found_by).await; // and handed back, or it would wait for its end
        assert_eq!(sandbox.calls().last().map(|call| call.operation), Some(Operation::Search), "{claim}");
        replies.add_permits(100);
        assert_eq!(within(first).await.expect("an answer").json()["action"], "updated", "{claim}");
        service.until_drained().await;
        let last = if sent.is_some() { Operation::Edit } else { Operation::StatusChange };
        assert_eq!(sandbox.calls().last().map(|call| call.operation), Some(last), "{claim}");

        let Some(sent) = sent else { continue };
        assert_eq!((sandbox.affiliates()[0].field("city"), edits(sandbox)), ("Oslo", 3), "{claim}");
        let again = service.send(&of("m4", owner, sent)).await;
        assert_eq!(again.json()["action"], "unchanged", "{claim}: it is known what Refersion has");
    }
}

/// The merchant may give its e-mail to another affiliate, or to none, until the event runs again.
#[tokio::test]
async fn an_affiliate_that_a_search_found_before_the_event_was_handed_back_is_searched_for_again() {
    let replies = Arc::new(Semaphore::new(0));
    let settings = [("SERVER_WAIT", "20s"), ("REFERSION_TIMEOUT", "1h")];
    let service = Service::on(holding(&[Operation::Edit], Arc::clone(&replies)).await, &settings).await;
    let old = |city: &str| json!({"email": "old@example.com", "city": city});
    assert_eq!(service.send(&of("m1", "u1", &old("Rome"))).await.json()["action"], "created");
    change_email(&service.refersion, "new@example.com").await;
    let body = of("m2", "u1", &old("Oslo")).to_string();
    let request = http().post(service.url("/segment")).header("Authorization", basic(API_KEY)).body(body);
    let first = tokio::spawn(Answer::to(request));
    service.refersion.until(|sandbox| edits(sandbox) == 2).await;
    accepted(&service, &json!({"type": "delete", "messageId": "m3", "email": "new@example.com"})).await;
    change_email(&service.refersion, "theirs@example.com").await;
    replies.add_permits(100);
    assert_eq!(within(first).await.expect("an answer").json()["action"], "updated");
    service.until_drained().await;
    let sandbox = &service.refersion.sandbox;
    assert_eq!(sandbox.affiliates()[0].status, AffiliateStatus::Pending);
    assert_eq!(sandbox.calls().last().map(|call| call.operation), Some(Operation::Search));
}
