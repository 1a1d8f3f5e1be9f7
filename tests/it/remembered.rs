//! `[mapping] remember_traits` from outside: the facts of a user come in several events and make one affiliate.

use crate::support::process::Process;
use crate::support::service::{Refersion, Service};
use crate::support::{Answer, OPS_TOKEN, http, poll_until, within};
use refersion_destination::domain::{AffiliateStatus, Field};
use refersion_destination::sandbox::SandboxAffiliate;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const SEAL_KEY: (&str, &str) = ("STORE_SEAL_KEY", "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM=");
const OTHER_KEY: (&str, &str) = ("STORE_SEAL_KEY", "b3RoZXIta2V5LW9uZS1vZi10aGlydHktdHdvLWJ5dGU=");
const BOTH_KEYS: (&str, &str) =
    ("STORE_SEAL_KEY", "b3RoZXIta2V5LW9uZS1vZi10aGlydHktdHdvLWJ5dGU=,c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM=");
const CREATE_IF: (&str, &str) = ("MAPPING_CREATE_IF", r#"{ trait = "wants_to_be_affiliate", equals = "true" }"#);
const REMEMBER: (&str, &str) = ("MAPPING_REMEMBER_TRAITS", "30d");
const WAIT: (&str, &str) = ("SERVER_WAIT", "60s");
const AUDIENCES: (&str, &str) = (
    "MAPPING_AUDIENCES",
    r#"[{ trait = "vip", on_true = { offer = "77", status = "ACTIVE", custom_fields = { "9" = "yes" } } }]"#,
);
const SETTINGS: [(&str, &str); 5] = [SEAL_KEY, CREATE_IF, REMEMBER, WAIT, AUDIENCES];

fn event(id: &str, user: &str, traits: &Value) -> Value {
    json!({"type": "identify", "messageId": id, "userId": user, "traits": traits})
}

fn sign_up(id: &str, user: &str) -> Value {
    event(id, user, &json!({"email": format!("{user}@example.com"), "name": "Ann Lee", "phone": "555-0142"}))
}

fn wants(id: &str, user: &str) -> Value {
    event(id, user, &json!({"wants_to_be_affiliate": true}))
}

fn entered(id: &str, user: &str) -> Value {
    json!({"type": "identify", "messageId": id, "userId": user, "traits": {"vip": true},
        "context": {"personas": {"computation_class": "audience", "computation_key": "vip"}}})
}

/// The answer as code, status, and what it says.
async fn send(service: &Service, event: &Value) -> (String, String) {
    let answer = service.send(event).await;
    (answer.brief(), answer.message())
}

async fn ops(service: &Service, path: &str, body: &Value) -> Answer {
    let url = format!("http://{}{path}", service.addresses.ops);
    let request = http().post(url).bearer_auth(OPS_TOKEN).header("content-type", "application/json");
    Answer::to(request.body(body.to_string())).await
}

async fn metric(service: &Service, name: &str) -> Option<String> {
    let text = Answer::to(http().get(format!("http://{}/metrics", service.addresses.ops))).await.text;
    let line = |line: &str| line.strip_prefix(&format!("refersion_destination_{name} ")).map(str::to_owned);
    text.lines().find_map(line)
}

#[tokio::test]
async fn sign_up_first_and_the_condition_later_give_one_new_with_all_of_it() {
    let service = Service::start(&SETTINGS).await;
    let (brief, message) = send(&service, &sign_up("1", "u1")).await;
    assert_eq!(brief, "200 ignored");
    assert!(message.contains("is remembered until 20"), "{message}");
    assert!(message.ends_with("still missing: `wants_to_be_affiliate`"), "{message}");
    assert_eq!(service.refersion.operations(), [""; 0]);
    assert_eq!(metric(&service, r#"remembered_users{account="main"}"#).await.as_deref(), Some("1"));
    assert_eq!(
        metric(&service, r#"events_ignored_total{account="main",reason="remembered"}"#).await.as_deref(),
        Some("1")
    );
    let (brief, message) = send(&service, &wants("2", "u1")).await;
    assert_eq!(brief, "200 delivered", "{message}");
    assert_eq!(service.refersion.operations(), ["new"]);
    let affiliate = service.refersion.sandbox.affiliate("u1@example.com").expect("created");
    assert_eq!(["first_name", "last_name", "phone"].map(|name| affiliate.field(name)), ["Ann", "Lee", "555-0142"]);
    let until_measured = || metric(&service, r#"remembered_users{account="main"}"#);
    within(poll_until(until_measured, |users| users.as_deref() == Some("0"))).await;
    assert_eq!(send(&service, &event("3", "u1", &json!({"phone": "556"}))).await.0, "200 delivered");
    assert_eq!(
        send(&service, &event("4", "u2", &json!({"email": "u1@example.com", "city": "Rome"}))).await.0,
        "200 ignored"
    );
    assert_eq!(service.refersion.operations(), ["new", "edit"]);
}

#[tokio::test]
async fn an_audience_first_then_sign_up_and_the_condition_give_an_affiliate_with_its_effects() {
    let service = Service::start(&SETTINGS).await;
    for (event, missing) in [
        (entered("1", "u1"), "`wants_to_be_affiliate` and an e-mail address and a name"),
        (wants("2", "u1"), "an e-mail address and a name"),
        (event("3", "u1", &json!({"name": "Ann Lee"})), "an e-mail address"),
    ] {
        let (brief, message) = send(&service, &event).await;
        assert_eq!(brief, "200 ignored");
        assert!(message.ends_with(&format!("still missing: {missing}")), "{message}");
    }
    assert_eq!(send(&service, &event("4", "u1", &json!({"email": "u1@example.com"}))).await.0, "200 delivered");
    let affiliate = service.refersion.sandbox.affiliate("u1@example.com").expect("created");
    assert_eq!((affiliate.status, affiliate.field("offer")), (AffiliateStatus::Active, "77"));
    assert_eq!(affiliate.custom_fields.get("9").map(String::as_str), Some("yes"));
}

/// The e-mail may belong to an affiliate that Refersion has already: it is brought up to date.
#[tokio::test]
async fn an_affiliate_that_exists_already_gets_the_pieces_as_an_update() {
    let refersion = Refersion::start().await;
    let fields = [(Field::FirstName, "Ann"), (Field::LastName, "Was"), (Field::Email, "u1@example.com")];
    refersion.sandbox.add(AffiliateStatus::Active, &fields.into_iter().collect()).expect("added");
    let service = Service::on(refersion, &SETTINGS).await;
    assert_eq!(send(&service, &sign_up("1", "u1")).await.0, "200 ignored");
    assert_eq!(send(&service, &wants("2", "u1")).await.0, "200 delivered");
    assert_eq!(service.refersion.operations(), ["new", "search", "get", "edit"]);
    let affiliate = service.refersion.sandbox.affiliate("u1@example.com").expect("it was there");
    assert_eq!((affiliate.field("last_name"), affiliate.field("phone")), ("Lee", "555-0142"));
    assert_eq!(service.refersion.sandbox.affiliates().len(), 1);
}

/// Another event of the user may create the affiliate by itself; what was said before comes with it.
#[tokio::test]
async fn a_complete_event_takes_the_remembered_traits_along() {
    let service = Service::start(&SETTINGS).await;
    let earlier = event("1", "u1", &json!({"company": "Initech", "phone": "1"}));
    assert_eq!(send(&service, &earlier).await.0, "200 ignored");
    let whole = json!({"email": "u1@example.com", "name": "Ann Lee", "phone": "2", "wants_to_be_affiliate": true});
    assert_eq!(send(&service, &event("2", "u1", &whole)).await.0, "200 delivered");
    let affiliate = service.refersion.sandbox.affiliate("u1@example.com").expect("created");
    assert_eq!(["company", "phone"].map(|name| affiliate.field(name)), ["Initech", "2"]);
}

#[tokio::test]
async fn a_delete_between_the_pieces_erases_them_by_either_key() {
    for delete in [
        json!({"type": "delete", "messageId": "d", "userId": "u1"}),
        json!({"type": "delete", "messageId": "d", "email": "u1@example.com"}),
    ] {
        let service = Service::start(&SETTINGS).await;
        assert_eq!(send(&service, &sign_up("1", "u1")).await.0, "200 ignored");
        assert_eq!(send(&service, &delete).await.0, "200 delivered", "{delete}");
        let (brief, message) = send(&service, &wants("2", "u1")).await;
        assert_eq!(brief, "200 ignored");
        assert!(message.ends_with("an e-mail address and a name"), "{message}");
        assert!(!service.refersion.operations().contains(&"new"));
    }
}

#[tokio::test]
async fn an_operator_sees_names_and_erases_the_pieces() {
    let service = Service::start(&SETTINGS).await;
    send(&service, &sign_up("1", "u1")).await;
    let found = ops(&service, "/api/v1/lookup", &json!({"email": "u1@example.com"})).await;
    assert_eq!(
        found.json()["remembered"][0]["attributes"],
        json!(["first_name", "last_name", "email", "phone"]),
        "{}",
        found.text
    );
    assert!(!found.text.contains("Ann") && !found.text.contains("555-0142"), "{}", found.text);
    let forgotten = ops(&service, "/api/v1/forget", &json!({"user_id": "u1"})).await;
    assert_eq!(forgotten.json()["remembered"], 1, "{}", forgotten.text);
    let message = send(&service, &wants("2", "u1")).await.1;
    assert!(message.ends_with("an e-mail address and a name"), "{message}");
}

#[tokio::test]
async fn a_piece_that_is_too_old_does_not_count() {
    let settings = [SEAL_KEY, CREATE_IF, ("MAPPING_REMEMBER_TRAITS", "1ms"), WAIT];
    let service = Service::start(&settings).await;
    send(&service, &sign_up("1", "u1")).await;
    let from = SystemTime::now();
    let passed = || std::future::ready(SystemTime::now());
    within(poll_until(passed, |now| now.duration_since(from).is_ok_and(|by| by > Duration::from_millis(2)))).await;
    let message = send(&service, &wants("2", "u1")).await.1;
    assert!(message.ends_with("an e-mail address and a name"), "{message}");
    assert_eq!(service.refersion.operations(), [""; 0]);
}

/// What cannot become an affiliate by further events is answered as ever, and nothing is appended.
#[tokio::test]
async fn an_event_that_no_later_event_can_complete_is_answered_as_without_the_setting() {
    let settings = [&SETTINGS[..], &[("SEGMENT_TRUSTED_PROJECTS", "p1")]].concat();
    for (settings, event, brief) in [
        (&SETTINGS[..], json!({"type": "identify", "traits": {"email": "a@x.io", "name": "A B"}}), "200 ignored"),
        (&SETTINGS[..], event("1", "u1", &json!({})), "200 ignored"),
        (&SETTINGS[..], event("1", "u1", &json!({"email": "junk"})), "400 rejected"),
        (&settings[..], sign_up("1", "u1"), "200 ignored"),
        (&[CREATE_IF, WAIT][..], sign_up("1", "u1"), "200 ignored"),
        (&[WAIT][..], event("1", "u1", &json!({"phone": "1"})), "400 rejected"),
    ] {
        let service = Service::start(settings).await;
        let (answer, message) = send(&service, &event).await;
        assert_eq!(answer, brief, "{event}");
        assert!(!message.contains("remembered"), "{message}");
        assert_eq!(metric(&service, r#"events_appended_total{account="main"}"#).await.as_deref(), Some("0"), "{event}");
    }
}

/// An array is answered at once; its pieces are put together in their order.
#[tokio::test]
async fn pieces_in_one_array_become_one_affiliate() {
    let service = Service::start(&SETTINGS).await;
    let all = json!([entered("1", "u1"), sign_up("2", "u1"), wants("3", "u1"), sign_up("4", "u2")]);
    assert_eq!(service.send(&all).await.status, 202);
    service.until_drained().await;
    let affiliates = service.refersion.sandbox.affiliates();
    assert_eq!(affiliates.iter().map(SandboxAffiliate::email).collect::<Vec<_>>(), ["u1@example.com"]);
    assert_eq!(affiliates[0].status, AffiliateStatus::Active);
}

/// The process is killed between the pieces, and dies with the event that completes them: before its `new`, and before its settlement.
#[tokio::test]
async fn a_kill_between_the_pieces_loses_and_doubles_nothing() {
    for dies_at in ["worker::calling=return", "store::settle=return"] {
        let refersion = Refersion::start().await;
        let folder = tempfile::tempdir().expect("a folder");
        let start =
            |more: &[(&str, &str)]| Process::start(&refersion.base_url, folder.path(), &[&SETTINGS[..], more].concat());
        let process = start(&[]);
        assert_eq!(within(process.send(&sign_up("1", "u1"))).await.expect("answered").brief(), "200 ignored");
        process.kill();
        let process = start(&[("FAILPOINTS", dies_at)]);
        assert!(within(process.send(&wants("2", "u1"))).await.is_none(), "{dies_at}");
        drop(within(process.ended()).await);
        let process = start(&[]);
        within(process.drained()).await;
        let affiliates = refersion.sandbox.affiliates();
        assert_eq!(affiliates.len(), 1, "{dies_at}");
        assert_eq!((affiliates[0].field("first_name"), affiliates[0].field("phone")), ("Ann", "555-0142"));
        let metrics = || async { Answer::to(http().get(format!("{}/metrics", process.ops))).await.text };
        let used = "refersion_destination_remembered_users{account=\"main\"} 0";
        within(poll_until(metrics, |text| text.contains(used))).await;
    }
}

#[tokio::test]
async fn a_changed_seal_key_still_opens_and_a_lost_one_holds_up_no_event() {
    let service = Service::start(&SETTINGS).await;
    for user in ["u1", "u2"] {
        send(&service, &sign_up(&format!("a-{user}"), user)).await;
    }
    let with = |key| [&SETTINGS[..], &[key]].concat();
    let (refersion, folder) = service.stop().await;
    let service = Service::resume(refersion, folder, &with(BOTH_KEYS)).await;
    assert_eq!(send(&service, &wants("b-u1", "u1")).await.0, "200 delivered");
    let (refersion, folder) = service.stop().await;
    let service = Service::resume(refersion, folder, &with(OTHER_KEY)).await;
    let (brief, message) = send(&service, &wants("b-u2", "u2")).await;
    assert_eq!(brief, "200 ignored");
    assert!(message.ends_with("an e-mail address and a name"), "{message}");
    assert_eq!(send(&service, &sign_up("c-u2", "u2")).await.0, "200 delivered", "it is remembered anew");
}
