//! A failure in one account does not affect another, and equal ids in two accounts are different users and events.

use super::{OTHER_KEY, PATIENT, Two};
use crate::support::service::{Refersion, Service};
use crate::support::{identify, poll_until, within};
use refersion_destination::domain::AffiliateStatus;
use refersion_destination::sandbox::{Fault, SandboxSettings};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use tokio::io::copy_bidirectional;
use tokio::net::{TcpListener, TcpStream};

/// More events than `other` and `main` may deliver at a time.
const MANY: usize = 40;
const PAUSED: &str = "paused: too many calls, or an outage";
const HALTED: &str = "halted: Refersion rejects the API key";

#[tokio::test]
async fn a_refersion_that_hangs_blocks_only_its_own_account() {
    let two = Two::start(&[PATIENT, ("REFERSION_TIMEOUT", "1h")], "concurrency = 2").await;
    two.other.sandbox.script(vec![Fault::Hang { effect: false }; MANY]);
    two.backlog_of_other(MANY).await;
    two.other.until(|sandbox| sandbox.calls_total() > 0).await;
    two.main_delivers().await;
    assert!(two.other.sandbox.calls_total() <= 2, "its own concurrency");
    assert_eq!(two.main.ready().await.json()["pending"], MANY);
}

/// A pool of its own for each of a thousand accounts would read all certificates a thousand times, at the start and at each reload.
#[tokio::test]
async fn accounts_with_one_base_url_share_their_connections() {
    let refersion = Refersion::of_any_key(SandboxSettings::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let target = refersion.base_url["http://".len()..].split('/').next().expect("an address").to_owned();
    let (base_url, connections) =
        (format!("http://{}/v2", listener.local_addr().expect("bound")), Arc::new(AtomicUsize::new(0)));
    let counted = Arc::clone(&connections);
    tokio::spawn(async move {
        while let Ok((mut from, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::Relaxed);
            let mut to = TcpStream::connect(&target).await.expect("connects");
            tokio::spawn(async move { copy_bidirectional(&mut from, &mut to).await });
        }
    });
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("accounts.toml");
    std::fs::write(&file, format!("[[accounts]]\nname = \"other\"\napi_key = \"{OTHER_KEY}\"\n")).expect("writes");
    let main = Service::configured(Refersion { base_url, ..refersion }, folder, &[PATIENT], &[file]).await;
    let two = Two { main, other: Refersion::start().await };
    assert_eq!(two.send(&identify("m1", "u1", &Value::Null)).await.brief(), "200 delivered");
    let taken = two.send_other(&identify("m2", "u2", &Value::Null)).await;
    assert_eq!((taken.brief().as_str(), connections.load(Ordering::Relaxed)), ("200 delivered", 1));
}

/// The port is closed, or a proxy answers in place of Refersion.
#[tokio::test]
async fn an_unreachable_refersion_blocks_only_its_own_account() {
    let two = Two::start(&[PATIENT], "").await;
    two.other.sandbox.script(vec![Fault::html(503); 1_000]);
    two.backlog_of_other(MANY).await;
    within(poll_until(|| two.ready(), |ready| *ready == [PAUSED, "ok", PAUSED])).await;
    two.main_delivers().await;
    assert_eq!(two.main.ready().await.json()["pending"], MANY);

    let gone = tokio::net::TcpListener::bind("127.0.0.1:0").await.expect("a free port");
    let closed_port = gone.local_addr().expect("bound");
    drop(gone);
    let two = Two::at(&format!("http://{closed_port}/v2"), &[PATIENT], "").await;
    two.backlog_of_other(MANY).await;
    within(poll_until(|| two.ready(), |ready| *ready == [PAUSED, "ok", PAUSED])).await;
    two.main_delivers().await;
    assert_eq!(two.main.ready().await.json()["pending"], MANY);
}

/// Each of its responses takes longer than all deliveries of the other account together.
#[tokio::test]
async fn a_slow_refersion_slows_only_its_own_account() {
    let two = Two::start(&[PATIENT, ("REFERSION_TIMEOUT", "1h")], "").await;
    two.other.sandbox.script(vec![Fault::SlowResponse; MANY]);
    two.backlog_of_other(MANY).await;
    two.other.until(|sandbox| sandbox.calls_total() > 0).await;
    two.main_delivers().await;
    assert_ne!(two.main.ready().await.json()["pending"], 0, "the other is far from done");
}

#[tokio::test]
async fn too_many_calls_pause_only_their_own_account() {
    let two = Two::start(&[PATIENT], "concurrency = 1").await;
    two.other.sandbox.script(vec![Fault::too_many_calls(Some(3600)); MANY]);
    two.backlog_of_other(MANY).await;
    two.other.until(|sandbox| sandbox.calls_total() == 1).await;
    two.main_delivers().await;
    assert_eq!(two.other.sandbox.calls_total(), 1, "Refersion asks to wait for an hour");
    within(poll_until(|| two.ready(), |ready| *ready == [PAUSED, "ok", PAUSED])).await;
    assert_eq!(two.main.ready().await.json()["pending"], MANY);
}

#[tokio::test]
async fn a_rate_limit_slows_only_its_own_account() {
    let two = Two::start(&[PATIENT], "max_requests_per_second = 0.0001").await;
    two.backlog_of_other(MANY).await;
    two.other.until(|sandbox| sandbox.calls_total() == 1).await;
    two.main_delivers().await;
    assert_eq!(two.other.sandbox.calls_total(), 1, "the next one has hours to wait");
}

#[tokio::test]
async fn a_rejected_key_halts_only_its_own_account() {
    let two = Two::start(&[PATIENT], "").await;
    two.other.sandbox.revoke_api_key();
    let response = two.send_other(&identify("m0", "u0", &Value::Null)).await;
    assert_eq!(response.brief(), "401 unauthorized");
    assert!(response.message().starts_with("Refersion rejected the API key"), "{}", response.message());
    assert_eq!(two.ready().await, [HALTED, "ok", HALTED]);
    two.main_delivers().await;
    assert_eq!(two.send_other(&identify("m1", "u1", &Value::Null)).await.brief(), "401 unauthorized");

    two.other.sandbox.restore_api_key();
    two.other.until(|sandbox| sandbox.affiliates().len() == 2).await;
    two.main.until_drained().await;
    assert_eq!(two.ready().await, ["ok"; 3]);
}

#[tokio::test]
async fn a_full_backlog_affects_only_its_own_account() {
    let two = Two::start(&[PATIENT, ("REFERSION_TIMEOUT", "1h"), ("DELIVERY_MAX_BACKLOG", "3")], "").await;
    two.other.sandbox.script(vec![Fault::Hang { effect: false }; MANY]);
    two.backlog_of_other(3).await;
    let full = two.send_other(&identify("m0", "u0", &Value::Null)).await;
    assert_eq!(full.brief(), "429 backlog_full");
    two.main_delivers().await;
}

#[tokio::test]
async fn equal_ids_in_two_accounts_are_two_users_and_two_events() {
    let two = Two::start(&[PATIENT], "status = \"ACTIVE\"").await;
    let create = identify("m1", "u1", &Value::Null);
    for expected in ["200 delivered", "200 duplicate"] {
        assert_eq!(two.send(&create).await.brief(), expected);
        assert_eq!(two.send_other(&create).await.brief(), expected);
    }
    let here = || two.main.refersion.sandbox.affiliate("u1@example.com").expect("created");
    let there = || two.other.sandbox.affiliate("u1@example.com").expect("created");
    assert_eq!(
        (here().status, there().status),
        (AffiliateStatus::Pending, AffiliateStatus::Active),
        "each by its own rules"
    );

    let moved = identify("m2", "u1", &json!({"city": "Oslo"}));
    assert_eq!(two.send_other(&moved).await.json()["action"], "updated");
    assert_eq!((here().field("city"), there().field("city")), ("", "Oslo"));
    let delete = json!({"type": "delete", "messageId": "m3", "userId": "u1"});
    assert_eq!(two.send_other(&delete).await.json()["action"], "disabled");
    assert_eq!((here().status, there().status), (AffiliateStatus::Pending, AffiliateStatus::Disabled));
    assert_eq!(two.send_other(&identify("m4", "u1", &json!({"email": ""}))).await.status, 400, "forgotten there");
    let moved = identify("m4", "u1", &json!({"city": "Rome"}));
    assert_eq!(two.send(&moved).await.json()["action"], "updated", "and remembered here");
    assert_eq!(two.send(&delete).await.json()["action"], "disabled", "no duplicate of the other one");
}

/// A user whose event is stuck in one account has events of the same ids in the other, which it does not block.
#[tokio::test]
async fn a_stuck_event_blocks_no_user_of_another_account() {
    let two = Two::start(&[PATIENT, ("REFERSION_TIMEOUT", "1h")], "").await;
    two.other.sandbox.script([Fault::Hang { effect: false }]);
    let event = identify("m1", "u1", &Value::Null);
    let (stuck, delivered) = (two.send_other(&event), two.send(&event));
    tokio::select! {
        response = stuck => panic!("{}", response.text),
        () = within(two.other.sandbox.until(|sandbox| sandbox.calls_total() == 1)) => {}
    }
    assert_eq!(delivered.await.brief(), "200 delivered");
}
