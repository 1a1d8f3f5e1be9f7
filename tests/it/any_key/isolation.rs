//! A failure of one merchant affects neither another merchant nor a configured account.

use super::{ANN, BOB, PATIENT, Partner};
use crate::support::{API_KEY, identify, poll_until, within};
use refersion_destination::sandbox::{Fault, Sandbox};
use serde_json::{Value, json};

/// More events than one account may deliver at a time.
const MANY: usize = 40;

/// Posts one identify for each of many users of `key`, without waiting for their outcomes.
async fn backlog(partner: &Partner, key: &str) {
    let events = (0..MANY).map(|n| identify(&format!("backlog-{n}"), &format!("b{n}"), &Value::Null)).collect();
    assert_eq!(partner.send(key, &Value::Array(events)).await.brief(), "202 accepted");
}

/// Events of `key` are delivered as if it were the only one: each response states the delivery.
async fn delivers(partner: &Partner, key: &str, sandbox: &Sandbox) {
    let before = sandbox.affiliates().len();
    for n in 0..5 {
        let name = format!("{key}-{n}");
        let answer = partner.send(key, &identify(&name, &name, &Value::Null)).await;
        assert_eq!(answer.brief(), "200 delivered", "{}", answer.text);
    }
    assert_eq!(sandbox.affiliates().len() - before, 5);
}

async fn both(settings: &[(&str, &str)]) -> (Partner, Sandbox, Sandbox) {
    let partner = Partner::start(settings).await;
    let (ann, bob) = (partner.refersions.accept(ANN), partner.refersions.accept(BOB));
    delivers(&partner, ANN, &ann).await;
    (partner, ann, bob)
}

#[tokio::test]
async fn a_revoked_key_halts_only_its_merchant() {
    let (partner, ann, bob) = both(&[("DELIVERY_RETRY_MIN", "1h"), ("DELIVERY_RETRY_MAX", "1h")]).await;
    partner.refersions.accept("pub_ann.another");
    backlog(&partner, ANN).await;
    within(poll_until(|| partner.ready(), |ready| ready["merchants"]["halted"] == 1)).await;
    delivers(&partner, BOB, &bob).await;
    let ready = partner.ready().await;
    assert_eq!((&ready["pending"], &ready["refersion"]), (&json!(MANY), &json!("ok")));
    assert_eq!(ready["accounts"].as_object().expect("accounts").len(), 1, "healthy accounts are only counted");
    assert_eq!(ann.affiliates().len(), 5);
}

#[tokio::test]
async fn too_many_calls_pause_only_their_merchant() {
    let (partner, ann, bob) = both(&[("REFERSION_CONCURRENCY", "1")]).await;
    ann.script(vec![Fault::too_many_calls(Some(3600)); MANY]);
    backlog(&partner, ANN).await;
    within(poll_until(|| partner.ready(), |ready| ready["merchants"]["paused"] == 1)).await;
    delivers(&partner, BOB, &bob).await;
    assert_eq!(partner.ready().await["merchants"], json!({"at_work": 2, "halted": 0, "paused": 1}));
    assert_eq!(ann.pending_faults(), MANY - 1, "Refersion asks to wait for an hour");
}

#[tokio::test]
async fn a_refersion_that_hangs_and_a_full_backlog_block_only_their_merchant() {
    let settings = [("REFERSION_TIMEOUT", "1h"), ("REFERSION_CONCURRENCY", "2"), ("DELIVERY_MAX_BACKLOG", "40")];
    let (partner, ann, bob) = both(&settings).await;
    ann.script(vec![Fault::Hang { effect: false }; MANY]);
    backlog(&partner, ANN).await;
    within(ann.until(|ann| ann.pending_faults() == MANY - 2)).await;
    let full = partner.send(ANN, &identify("m", "u", &Value::Null)).await;
    assert_eq!(full.brief(), "429 backlog_full");
    delivers(&partner, BOB, &bob).await;
    assert_eq!(ann.pending_faults(), MANY - 2, "its own concurrency");
}

#[tokio::test]
async fn each_merchant_has_its_own_rate_limit_and_key_verification_has_none() {
    let partner = Partner::start(&[("REFERSION_MAX_REQUESTS_PER_SECOND", "0.0001"), ("SERVER_WAIT", "0s")]).await;
    let (ann, bob) = (partner.refersions.accept(ANN), partner.refersions.accept(BOB));
    backlog(&partner, ANN).await;
    backlog(&partner, BOB).await;
    within(poll_until(|| partner.ready(), |ready| ready["pending"] == 2 * MANY - 2)).await;
    assert_eq!((ann.affiliates().len(), bob.affiliates().len()), (1, 1), "the next ones have hours to wait");
}

#[tokio::test]
async fn equal_ids_of_two_merchants_are_two_users_and_two_events() {
    let (partner, _, bob) = both(&[("REFERSION_STATUS", "ACTIVE")]).await;
    let event = identify("m1", "u1", &Value::Null);
    for expected in ["200 delivered", "200 duplicate"] {
        assert_eq!(partner.send(ANN, &event).await.brief(), expected);
        assert_eq!(partner.send(BOB, &event).await.brief(), expected);
    }
    let delete = json!({"type": "delete", "messageId": "m2", "userId": "u1"});
    assert_eq!(partner.send(ANN, &delete).await.json()["action"], "disabled");
    assert_eq!(bob.affiliates()[0].status.as_str(), "ACTIVE", "the rules are those of [refersion]");
}

#[tokio::test]
async fn a_configured_account_is_not_disturbed() {
    let partner = Partner::start(&[("REFERSION_API_KEY", API_KEY), PATIENT]).await;
    let (main, ann) = (partner.refersions.accept(API_KEY), partner.refersions.accept(ANN));
    delivers(&partner, ANN, &ann).await;
    partner.refersions.accept("pub_ann.another");
    backlog(&partner, ANN).await;
    within(poll_until(|| partner.ready(), |ready| ready["merchants"]["halted"] == 1)).await;
    delivers(&partner, API_KEY, &main).await;
    let ready = partner.ready().await;
    assert_eq!((&ready["refersion"], &ready["accounts"]["main"]["refersion"]), (&json!("ok"), &json!("ok")));
    let public = partner.service.ready().await;
    assert!(!public.text.contains("key-") && !public.text.contains("merchants"), "{}", public.text);
}
