//! The answer of a process that does not deliver for the account, while `NOTIFY` is dead: it states the outcome, a pause or a halt.

use super::cluster::{Cluster, post};
use super::sharing::owner_and_another;
use crate::support::{identify, within};
use refersion_destination::sandbox::{Fault, SandboxSettings};
use serde_json::{Value, json};
use std::time::Duration;

/// Waits of an hour: what is paused or halted stays so.
pub const LONG: [(&str, &str); 2] = [("DELIVERY_RETRY_MIN", "1h"), ("DELIVERY_RETRY_MAX", "1h")];

/// On a server of its own, on which no process can send a hint.
async fn without_hints() -> Option<Cluster> {
    let cluster = Cluster::on_own_server(SandboxSettings::default()).await?;
    let sql = "ALTER FUNCTION pg_catalog.pg_notify(text, text) RENAME TO pg_notify_is_dead";
    cluster.connect().await.batch_execute(sql).await.expect("renamed");
    Some(cluster)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_another_process_states_the_outcome_and_a_halt_without_hints() {
    let Some(cluster) = without_hints().await else { return };
    let processes = owner_and_another(&cluster, &LONG).await;
    let send = async |event: &Value| within(post(&processes[1].server, event)).await.expect("answered");
    let created = send(&identify("1", "u1", &Value::Null)).await;
    assert_eq!((created.brief().as_str(), &created.json()["action"]), ("200 delivered", &json!("created")));
    // It waits when the account is halted, and when it was halted before.
    cluster.refersion.sandbox.script([Fault::status(401)]);
    for number in ["2", "3"] {
        let halted = send(&identify(number, "u1", &json!({"city": number}))).await;
        assert_eq!(halted.brief(), "401 unauthorized", "{}", halted.text);
        assert!(halted.message().starts_with("Refersion rejected the API key"), "{}", halted.text);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_another_process_does_not_wait_for_the_end_of_a_pause_without_hints() {
    let Some(cluster) = without_hints().await else { return };
    let processes = owner_and_another(&cluster, &LONG).await;
    cluster.refersion.sandbox.script([Fault::too_many_calls(Some(3_600))]);
    for number in ["1", "2"] {
        // Of the 30 seconds of `SERVER_WAIT`, the answer takes less than 20.
        let event = identify(number, number, &Value::Null);
        let answer = post(&processes[1].server, &event);
        let accepted = tokio::time::timeout(Duration::from_secs(20), answer).await.expect("before the wait is over");
        assert_eq!(accepted.expect("answered").brief(), "202 accepted");
    }
    assert_eq!(cluster.calls(), "new", "the account is paused");
}
