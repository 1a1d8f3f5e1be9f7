//! What an operator does at one process reaches the others.

use super::cluster::{Cluster, post};
use crate::support::process::Process;
use crate::support::{Answer, OPS_TOKEN, http, identify};
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
async fn what_is_replayed_at_another_process_is_delivered_by_the_owner() {
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
