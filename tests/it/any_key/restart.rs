//! Stored keys and pending events survive a restart, under the seal keys of the new start.

use super::{ANN, ANY, BOB, OTHER_SEAL, Partner, SEAL, THIRD_SEAL};
use crate::support::process::binary;
use crate::support::{identify, within};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

/// Appends events while Refersion answers 429, so that they stay pending.
async fn backlog(partner: &Partner, key: &str, count: u32) {
    let sandbox = partner.refersions.accept(key);
    let first = format!("{key}-0");
    assert_eq!(partner.send(key, &identify(&first, &first, &Value::Null)).await.brief(), "200 delivered");
    sandbox.script([Fault::too_many_calls(Some(3600))]);
    let event = |n| identify(&format!("{key}-{n}"), &format!("{key}-{n}"), &Value::Null);
    let events: Value = (1..=count).map(event).collect();
    assert_eq!(partner.send(key, &events).await.brief(), "202 accepted");
    within(sandbox.until(|sandbox| sandbox.pending_faults() == 0)).await;
}

/// The exit code and the log of `serve` on the store in `folder`, where it does not start. If it starts, it is killed.
async fn refused(folder: &Path, settings: &[(&str, &str)]) -> (Option<i32>, String) {
    let store = format!("sqlite://{}/store.db", folder.display());
    let own = [("STORE_URL", &*store), ("SERVER_LISTEN", "127.0.0.1:0"), ("OPS_LISTEN", "127.0.0.1:0")];
    let mut command = binary();
    command.arg("serve").envs(own).envs(ANY).envs(settings.iter().copied());
    let ran = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().expect("starts");
        let (mut said, mut log) = (String::new(), BufReader::new(child.stderr.take().expect("piped")));
        log.read_line(&mut said).expect("text");
        if !said.starts_with("refersion-destination: ") {
            child.kill().expect("running");
        }
        log.read_to_string(&mut said).expect("text");
        (child.wait().expect("ends").code(), said)
    });
    within(ran).await.expect("waits")
}

#[tokio::test]
async fn pending_events_are_delivered_after_a_restart_without_a_request() {
    let partner = Partner::start(&[("REFERSION_CONCURRENCY", "1")]).await;
    backlog(&partner, ANN, 3).await;
    partner.refersions.accept(BOB);
    assert_eq!(partner.send(BOB, &identify("m", "u", &Value::Null)).await.brief(), "200 delivered");
    let asked = partner.refersions.verifications(ANN);
    let partner = partner.again(&[]).await;
    let ann = partner.refersions.accept(ANN);
    within(ann.until(|ann| ann.affiliates().len() == 4)).await;
    partner.service.until_drained().await;
    assert_eq!(partner.ready().await["merchants"]["at_work"], 1, "nothing waits for the other one");
    assert_eq!(partner.refersions.verifications(ANN), asked, "the key was verified before");
}

#[tokio::test]
async fn a_seal_key_is_changed_without_a_gap_and_the_old_one_can_be_removed_after_one_start() {
    let partner = Partner::start(&[("REFERSION_CONCURRENCY", "1")]).await;
    backlog(&partner, ANN, 2).await;
    let (kept, asked) = (partner.kept(), partner.refersions.verifications(ANN));
    let both = format!("{OTHER_SEAL},{SEAL}");
    let paused = ("REFERSION_MAX_REQUESTS_PER_SECOND", "0.0001");
    let partner = partner.again(&[("STORE_SEAL_KEY", &both), paused]).await;
    let anew = partner.kept();
    assert!(anew[0].0 == kept[0].0 && anew[0].1 != kept[0].1);
    let partner = partner.again(&[("STORE_SEAL_KEY", OTHER_SEAL)]).await;
    let ann = partner.refersions.accept(ANN);
    within(ann.until(|ann| ann.affiliates().len() == 3)).await;
    assert_eq!(partner.kept(), anew, "what the first opens stays as it is");
    assert_eq!(partner.refersions.verifications(ANN), asked);

    let (_, folder) = partner.service.stop().await;
    let (code, log) = refused(folder.path(), &[]).await;
    assert_eq!(code, Some(1));
    assert!(log.contains("1 of 1 stored API keys cannot be opened"), "the old one opens nothing any more: {log}");
}

#[tokio::test]
async fn the_start_is_refused_with_a_remedy_if_no_seal_key_opens_a_stored_api_key() {
    let partner = Partner::start(&[]).await;
    partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &identify("m", "u", &Value::Null)).await.brief(), "200 delivered");
    let partner = partner.again(&[]).await;
    partner.refersions.accept(BOB);
    assert_eq!(partner.send(BOB, &identify("m", "u", &Value::Null)).await.brief(), "200 delivered");
    let kept = partner.kept();
    let (refersion, folder) = partner.service.stop().await;
    let seals = format!("{OTHER_SEAL},{THIRD_SEAL}");
    let (code, log) = refused(folder.path(), &[("STORE_SEAL_KEY", &seals)]).await;
    assert_eq!(code, Some(1));
    let expected = "refersion-destination: 2 of 2 stored API keys cannot be opened: they were sealed with a key that \
                    STORE_SEAL_KEY does not hold; add it there after the first, separated by a comma\n";
    assert_eq!(log, expected);
    assert_eq!(super::kept(folder.path()), kept, "nothing was changed");

    let moved = rusqlite::Connection::open(folder.path().join("store.db")).expect("the file opens");
    moved.execute("UPDATE sealed_keys SET sealed = ?1", [&kept[0].1]).expect("written");
    let (code, log) = refused(folder.path(), &[]).await;
    assert_eq!(code, Some(1));
    assert!(log.contains("1 of 2 stored API keys"), "one merchant's key does not open for another: {log}");
    drop(refersion);
}

#[tokio::test]
async fn a_lost_seal_key_loses_no_pending_event() {
    let partner = Partner::start(&[("REFERSION_CONCURRENCY", "1")]).await;
    backlog(&partner, ANN, 2).await;
    let kept = partner.kept();
    let (_, folder) = partner.service.stop().await;
    let store = rusqlite::Connection::open(folder.path().join("store.db")).expect("the file opens");
    store.execute("DELETE FROM sealed_keys", []).expect("written");
    drop(store);
    let partner = Partner::on(partner.refersions, folder, &[("STORE_SEAL_KEY", OTHER_SEAL)]).await;
    assert_eq!(partner.ready().await["pending"], 2);
    let ann = partner.refersions.accept(ANN);
    assert_eq!(partner.send(ANN, &identify("m", "u", &Value::Null)).await.brief(), "200 delivered");
    within(ann.until(|ann| ann.affiliates().len() == 4)).await;
    assert_eq!(partner.kept()[0].0, kept[0].0, "the same account");
}

#[tokio::test]
async fn unless_any_key_is_accepted_stored_keys_stay_and_pending_events_are_logged() {
    let partner = Partner::start(&[("REFERSION_CONCURRENCY", "1")]).await;
    backlog(&partner, ANN, 2).await;
    let kept = partner.kept();
    let off = [("SEGMENT_ACCEPT_ANY_API_KEY", ""), ("STORE_SEAL_KEY", ""), ("REFERSION_API_KEY", "pub_m.sec_m")];
    let partner = partner.again(&off).await;
    assert_eq!(partner.send_once(ANN, &json!([])).await.brief(), "401 unauthorized");
    let ready = partner.ready().await;
    assert_eq!((&ready["pending"], &ready["merchants"]), (&json!(2), &Value::Null));
    assert_eq!(partner.kept(), kept);
    let partner = partner.again(&[]).await;
    let ann = partner.refersions.accept(ANN);
    within(ann.until(|ann| ann.affiliates().len() == 3)).await;
}

/// A merchant can have its own rules: configured under its present name, it stays the same account.
#[tokio::test]
async fn a_merchant_that_is_configured_under_its_name_remains_the_same_account() {
    let partner = Partner::start(&[("REFERSION_CONCURRENCY", "1")]).await;
    backlog(&partner, ANN, 2).await;
    let name = partner.kept()[0].0.clone();
    let (refersion, folder) = partner.service.stop().await;
    let file = folder.path().join("accounts.toml");
    std::fs::write(&file, format!("[[accounts]]\nname = \"{name}\"\napi_key = \"{ANN}\"\n")).expect("writes");
    let settings = [&ANY[..], &[super::PATIENT]].concat();
    let service = crate::support::service::Service::configured(refersion, folder, &settings, &[file]).await;
    let partner = Partner { service, refersions: partner.refersions, again: <_>::default() };
    let ann = partner.refersions.accept(ANN);
    within(ann.until(|ann| ann.affiliates().len() == 3)).await;
    let again = identify(&format!("{ANN}-1"), &format!("{ANN}-1"), &Value::Null);
    assert_eq!(partner.send(ANN, &again).await.brief(), "200 duplicate");
    assert_eq!(partner.ready().await["merchants"]["at_work"], 0);
}
