//! `status`: once, watched, and as JSON.

use super::{Running, run};
use crate::support::process::binary;
use crate::support::service::{Refersion, Service};
use crate::support::{Answer, basic, http, identify, poll_until, within};
use serde_json::{Value, json};
use std::process::Stdio;

async fn service() -> (Service, String) {
    let service = Service::on(Refersion::start().await, &[]).await;
    assert_eq!(service.send(&identify("m1", "u1", &json!({}))).await.brief(), "200 delivered");
    assert_eq!(
        service.send(&json!({"type": "identify", "messageId": "m2", "userId": "u2"})).await.brief(),
        "400 rejected"
    );
    let ops = format!("http://{}/", service.addresses.ops);
    (service, ops)
}

#[tokio::test]
async fn status_prints_pending_events_counts_and_why_events_were_refused() {
    let (_service, ops) = service().await;
    let ran = run(&["status", "--ops", &ops], &[], "").await;
    assert_eq!((ran.code, &*ran.err), (Some(0), ""));
    let lines: Vec<String> =
        ran.out.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect();
    for expected in [
        "pending 0, the oldest for –; dead letters 0",
        "empty now: nothing is pending",
        "main running 0 – now 0 of",
        "accepted 1 1 █",
        "delivered 1 1 █",
        "1 1 Missing email address: add an `email` trait to the identify call",
    ] {
        assert!(lines.iter().any(|line| line.starts_with(expected)), "{expected:?} is not in {lines:#?}");
    }
    assert!(!ran.out.contains('\u{1b}'), "no colour where the output is no terminal");
}

#[tokio::test]
async fn the_json_form_is_the_answer_of_the_api() {
    let (_service, ops) = service().await;
    let ran = run(&["status", "--json", "--ops", &ops], &[], "").await;
    let lines: Vec<Value> = ran.out.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect();
    let [shown] = &lines[..] else { panic!("{lines:?}") };
    assert_eq!((&shown["status"]["pending"], &shown["accounts"][0]["name"]), (&0.into(), &"main".into()), "{shown}");
    assert_eq!(shown["status"]["recent"]["hour"]["accepted"].as_array().map(Vec::len), Some(60));
}

/// A service with so many accounts beside `main`: `brand-0`, with the key `pub_0.sec_0`, and so on.
async fn service_with_accounts(accounts: usize, settings: &[(&str, &str)]) -> Service {
    let folder = tempfile::tempdir().expect("a folder");
    let account = |n: usize| format!("[[accounts]]\nname = \"brand-{n}\"\napi_key = \"pub_{n}.sec_{n}\"\n");
    let file = folder.path().join("accounts.toml");
    std::fs::write(&file, (0..accounts).map(account).collect::<String>()).expect("written");
    Service::configured(Refersion::start().await, folder, settings, &[file]).await
}

/// Accounts come in pages of a thousand, by their names: the last one may be the one in need.
#[tokio::test]
async fn every_account_is_read_however_many_there_are() {
    let service = service_with_accounts(1_000, &[]).await;
    let ran = run(&["status", "--json", "--ops", &format!("http://{}/", service.addresses.ops)], &[], "").await;
    let shown: Value = serde_json::from_str(&ran.out).expect("JSON");
    assert_eq!(shown["accounts"].as_array().map(Vec::len), Some(1_001), "{}", ran.err);
}

/// An outage of Refersion pauses all accounts, and a changed policy of keys halts all.
#[tokio::test]
async fn of_many_accounts_in_one_state_a_few_are_named_and_the_others_counted() {
    let service = service_with_accounts(7, &[("SERVER_WAIT", "0s")]).await;
    for n in 0..7 {
        let event = identify("m1", "u1", &json!({})).to_string();
        let key = basic(&format!("pub_{n}.sec_{n}"));
        let sent = Answer::to(http().post(service.url("/segment")).header("Authorization", key).body(event)).await;
        assert_eq!(sent.brief(), "202 accepted");
    }
    let url = format!("http://{}/", service.addresses.ops);
    let halted = |page: &Answer| page.json()["accounts"]["halted"] == 7;
    let ask = || Answer::to(http().get(format!("{url}api/v1/status")));
    within(poll_until(ask, halted)).await;
    let ran = run(&["status", "--ops", &url], &[], "").await;
    let page = Answer::to(http().get(&url)).await.text;
    assert_eq!(ran.out.matches(" is halted: Refersion rejects the API key").count(), 5, "{}", ran.out);
    assert_eq!(page.matches(" is halted: Refersion rejects the API key").count(), 5, "{page}");
    assert!(ran.out.contains("\n2 more accounts are halted\n"), "{}", ran.out);
    assert!(page.contains("<p>2 more accounts are halted.</p>"), "{page}");
}

#[tokio::test]
async fn watch_prints_it_again_and_reports_a_service_that_is_gone() {
    let (service, ops) = service().await;
    let mut command = binary();
    command.args(["status", "--watch", "--ops", &ops]);
    let mut running = Running::start(command, Stdio::null());
    let running = within(tokio::task::spawn_blocking(move || {
        running.read_to("calls to Refersion");
        running.read_to("calls to Refersion");
        running
    }));
    let mut running = running.await.expect("read");
    service.stop().await;
    let read = tokio::task::spawn_blocking(move || running.read_to("Connection refused"));
    within(read).await.expect("read");
}

#[tokio::test]
async fn watch_ends_once_its_reader_has_seen_enough() {
    let (_service, ops) = service().await;
    for format in [&[][..], &["--json"]] {
        let (reader, writer) = std::io::pipe().expect("a pipe");
        drop(reader);
        let mut child = binary().args(["status", "--watch", "--ops", &ops]).args(format).stdout(writer).spawn();
        let ended = tokio::task::spawn_blocking(move || child.as_mut().expect("starts").wait());
        assert_eq!(within(ended).await.expect("waits").expect("ends").code(), Some(0), "{format:?}");
    }
}

#[tokio::test]
async fn status_fails_without_a_service_and_names_a_remedy() {
    let free = std::net::TcpListener::bind("127.0.0.1:0").expect("a port").local_addr().expect("bound");
    let ran = run(&["status", "--ops", &format!("http://{free}/")], &[], "").await;
    assert_eq!(ran.code, Some(1));
    assert!(ran.err.contains("OPS_LISTEN; pass that address with --ops"), "{}", ran.err);
}
