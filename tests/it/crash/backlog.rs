//! A backlog that is being delivered, and a process that is killed again and again at random moments.
//!
//! The senders do as Segment does: an event that was not answered is sent again, with the same `messageId`.

use super::drained;
use crate::support::affiliate_updates::values;
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{API_KEY, basic, http, identify, within};
use refersion_destination::sandbox::SandboxSettings;
use serde_json::{Value, json};
use std::time::Duration;
use tokio::sync::watch;
use tokio::task::JoinSet;

const USERS: usize = 20;
const EVENTS: usize = 10;
const KILLS: usize = 6;

#[tokio::test]
async fn every_answered_event_is_reflected_once_and_in_order_although_the_process_is_killed_again_and_again() {
    let settings = SandboxSettings { latency: Duration::from_millis(20), ..SandboxSettings::default() };
    let refersion = Refersion::with(settings).await;
    let folder = tempfile::tempdir().expect("a folder");
    let start = || {
        let settings =
            [("SERVER_WAIT", "0s"), ("LOG_FILTER", "refersion_destination::app=info"), ("REFERSION_CONCURRENCY", "5")];
        Process::start(&refersion.base_url, folder.path(), &settings)
    };
    let mut process = start();
    let (server, servers) = watch::channel(process.server.clone());
    let mut senders: JoinSet<()> = (0..USERS).map(|user| send_all(user, servers.clone())).collect();
    for _ in 0..KILLS {
        let later = refersion.sandbox.calls_total() + rand::random_range(1..4);
        refersion.until(|sandbox| sandbox.calls_total() >= later).await;
        process.kill();
        process = start();
        server.send_replace(process.server.clone());
    }
    while let Some(sent) = within(senders.join_next()).await {
        sent.expect("every event is answered at last");
    }
    let ready = drained(&process).await;
    process.kill();

    assert_eq!(ready["dead_letters"], 0);
    let affiliates = refersion.sandbox.affiliates();
    assert_eq!(affiliates.len(), USERS, "no affiliate twice, none missing");
    assert!(affiliates.iter().all(|one| one.field("city") == city(EVENTS - 1)), "the last city wins");
    for affiliate in affiliates {
        let said = values("city", affiliate.id.0, &refersion.sandbox);
        assert!(said.is_sorted_by_key(|(city, _)| city), "a repeat comes before the next: {said:?}");
        let effective: Vec<_> = said.iter().filter(|(_, effective)| *effective).collect();
        assert!(effective.is_sorted_by(|before, after| before.0 < after.0), "twice: {said:?}");
    }
}

fn city(number: usize) -> String {
    format!("City {number:02}")
}

/// Sends all events of one user in their order, some by themselves and some in one request, each until it is answered.
async fn send_all(user: usize, mut servers: watch::Receiver<String>) {
    let client = http();
    let event = |number| identify(&format!("{user}-{number}"), &format!("u{user}"), &json!({"city": city(number)}));
    let alone = (0..EVENTS / 2).map(event);
    let together = Value::Array((EVENTS / 2..EVENTS).map(event).collect());
    for body in alone.chain([together]) {
        loop {
            let url = format!("{}/segment", servers.borrow_and_update().as_str());
            let sent = client.post(url).header("Authorization", basic(API_KEY)).body(body.to_string()).send().await;
            match sent {
                Ok(answer) => break assert!(answer.status().is_success(), "{}", answer.status()),
                Err(_) => within(servers.changed()).await.expect("another process is started"),
            }
        }
    }
}
