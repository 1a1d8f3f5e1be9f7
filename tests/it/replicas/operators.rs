//! An operator's change at one process reaches the others.

use super::cluster::{Cluster, post};
use crate::support::process::{Process, binary};
use crate::support::{API_KEY, Answer, OPS_TOKEN, http, identify, within};
use refersion_destination::sandbox::{Fault, Operation};
use serde_json::{Value, json};

async fn replay(process: &Process) -> Answer {
    let letters = format!("{}/api/v1/dead-letters", process.ops);
    let page = Answer::to(http().get(&letters).bearer_auth(OPS_TOKEN)).await.json();
    let ids: Vec<&Value> = page["letters"].as_array().expect("a page").iter().map(|letter| &letter["id"]).collect();
    Answer::to(
        http()
            .post(format!("{letters}/replay"))
            .bearer_auth(OPS_TOKEN)
            .body(json!({"ids": ids}).to_string())
            .header("Content-Type", "application/json"),
    )
    .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_is_replayed_at_another_process_is_delivered_by_the_owner() {
    let Some(cluster) = Cluster::start().await else { return };
    let processes = cluster.processes_with_owner(2, &[], &[]).await;
    let words = "Your account plan does not support this feature (error 1).";
    cluster.refersion.sandbox.script_for(Operation::New, [Fault::unprocessable(words)]);
    post(&processes[0].server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new");
    let replayed = replay(&processes[1]).await;
    assert!(replayed.status == 200 && replayed.text.contains("replayed"), "{}", replayed.text);
    cluster.refersion.until(|sandbox| sandbox.calls_total() == 2).await;
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new new");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replay_that_waits_asks_the_service_although_it_could_open_the_database_itself() {
    let Some(cluster) = Cluster::start().await else { return };
    let process = cluster.process(&[]);
    let words = "Your account plan does not support this feature (error 1).";
    cluster.refersion.sandbox.script_for(Operation::New, [Fault::unprocessable(words)]);
    post(&process.server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    cluster.drained().await;
    let mut command = binary();
    command.args(["dead-letters", "replay", "--all", "--wait"]);
    command.env("REFERSION_API_KEY", API_KEY).env("OPS_TOKEN", OPS_TOKEN).env("STORE_URL", &cluster.url);
    command.env("OPS_LISTEN", process.ops.trim_start_matches("http://"));
    let ran = within(tokio::task::spawn_blocking(move || command.output().expect("runs"))).await.expect("waits");
    let text = |bytes| String::from_utf8(bytes).expect("text");
    assert_eq!((ran.status.code(), text(ran.stderr)), (Some(0), String::new()));
    assert!(text(ran.stdout).contains(": created\nreplayed 1 dead letter\n"));
}
