//! After a kill at any moment no accepted event of a merchant is lost, and neither is the key to deliver it with.

use super::{ANN, ANY, MultiAccountRefersion};
use crate::support::process::Process;
use crate::support::{basic, http, identify, poll_until, within};
use refersion_destination::sandbox::{Fault, Operation, Sandbox};
use serde_json::{Value, json};
use std::path::Path;
use tokio::sync::watch;
use tokio::task::JoinSet;

const MERCHANTS: usize = 6;
const EVENTS: usize = 8;
const KILLS: u64 = 5;

fn start(refersions: &MultiAccountRefersion, folder: &Path) -> Process {
    let settings = [&ANY[..], &[("SERVER_WAIT", "0s"), ("REFERSION_CONCURRENCY", "2")]].concat();
    Process::start(&refersions.base_url, folder, &settings)
}

/// Posts `body` with `key` to the current service until a response is a success.
async fn send(mut servers: watch::Receiver<String>, key: String, body: Value) {
    let client = http();
    loop {
        let url = format!("{}/segment", servers.borrow_and_update().as_str());
        let sent = client.post(url).header("Authorization", basic(&key)).body(body.to_string()).send().await;
        match sent.map(|answer| answer.status()) {
            Ok(status) if status.is_success() => return,
            Ok(status) => assert_eq!(status, 503, "{key}"),
            Err(_) => within(servers.changed()).await.expect("another process is started"),
        }
    }
}

#[tokio::test]
async fn an_event_is_delivered_after_a_kill_right_after_the_first_response() {
    let refersions = MultiAccountRefersion::start().await;
    let ann = refersions.accept(ANN);
    let folder = tempfile::tempdir().expect("a folder");
    let process = start(&refersions, folder.path());
    let (_keep, servers) = watch::channel(process.server.clone());
    ann.script_for(Operation::New, vec![Fault::status(503)]);
    within(send(servers, ANN.to_owned(), identify("m1", "u1", &Value::Null))).await;
    process.kill();
    let process = start(&refersions, folder.path());
    within(ann.until(|ann| ann.affiliates().len() == 1)).await;
    process.kill();
}

#[tokio::test]
async fn every_merchants_events_are_delivered_once_after_many_kills() {
    let refersions = MultiAccountRefersion::start().await;
    let folder = tempfile::tempdir().expect("a folder");
    let key = |merchant: usize| format!("pub_{merchant}.sec_{merchant}");
    let sandbox: Vec<Sandbox> = (0..MERCHANTS).map(|merchant| refersions.accept(&key(merchant))).collect();
    let mut process = start(&refersions, folder.path());
    let (server, servers) = watch::channel(process.server.clone());
    let mut senders = JoinSet::new();
    for (merchant, n) in (0..MERCHANTS).flat_map(|merchant| (0..EVENTS).map(move |n| (merchant, n))) {
        let body = json!([identify(&format!("m{n}"), &format!("u{n}"), &Value::Null)]);
        senders.spawn(send(servers.clone(), key(merchant), body));
    }
    let calls = || sandbox.iter().map(Sandbox::calls_total).sum::<u64>();
    for kill in 1..=KILLS {
        let enough = || std::future::ready(calls() >= kill * 4 || senders.is_empty());
        within(poll_until(enough, |enough| *enough)).await;
        process.kill();
        process = start(&refersions, folder.path());
        server.send_replace(process.server.clone());
    }
    while let Some(sent) = within(senders.join_next()).await {
        sent.expect("every event is answered at last");
    }
    for sandbox in &sandbox {
        within(sandbox.until(|sandbox| sandbox.affiliates().len() == EVENTS)).await;
        let mut users: Vec<String> = sandbox.affiliates().iter().map(|one| one.email().to_owned()).collect();
        users.sort();
        assert_eq!(users, (0..EVENTS).map(|n| format!("u{n}@example.com")).collect::<Vec<_>>());
    }
    process.kill();
    assert_eq!(super::kept(folder.path()).len(), MERCHANTS);
}
