//! Shared by the processes: deduplication, order, outcomes of events that another one delivers, and API keys.

use super::cluster::{Cluster, post, until_owned};
use crate::any_key::ANY;
use crate::support::process::Process;
use crate::support::{Answer, OPS_TOKEN, http, identify, poll_until, within};
use refersion_destination::sandbox::{Fault, Operation, SandboxSettings};
use serde_json::{Value, json};
use std::time::Duration;

/// Processes of which the first owns the account; the answer waits for the outcome in the others.
pub async fn owner_and_another(cluster: &Cluster, settings: &[(&str, &str)]) -> Vec<Process> {
    let mut processes = cluster.processes_with_owner(2, settings, &[]).await;
    let waits = [settings, &[("SERVER_WAIT", "30s")]].concat();
    let another = std::mem::replace(&mut processes[1], cluster.process(&waits));
    another.terminate();
    drop(another.ended().await);
    if cluster.settled_owner(&processes).await == 0 {
        return processes;
    }
    // The one that came is to own the account: then the first is replaced by one that waits, and so on.
    drop(processes);
    Box::pin(owner_and_another(cluster, settings)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_answer_of_a_process_that_is_not_the_owner_states_the_outcome() {
    let Some(cluster) = Cluster::start().await else { return };
    let processes = owner_and_another(&cluster, &[]).await;
    let another = &processes[1].server;
    let send = async |event: &Value| within(post(another, event)).await.expect("answered");
    let created = send(&identify("1", "u1", &Value::Null)).await;
    assert_eq!(
        (created.brief().as_str(), &created.json()["action"]),
        ("200 delivered", &json!("created")),
        "{}",
        created.text
    );
    let edited = send(&identify("2", "u1", &json!({"city": "Rome"}))).await;
    assert_eq!((edited.brief().as_str(), &edited.json()["action"]), ("200 delivered", &json!("updated")));
    let words = "Your account plan does not support this feature (error 1).";
    cluster.refersion.sandbox.script_for(Operation::Edit, [Fault::unprocessable(words)]);
    let refused = send(&identify("3", "u1", &json!({"city": "Oslo"}))).await;
    assert_eq!(refused.brief(), "400 rejected");
    assert!(refused.message().contains("dead letter"), "{}", refused.text);
    let again = send(&identify("1", "u1", &Value::Null)).await;
    assert_eq!(again.brief(), "200 duplicate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_event_at_two_processes_at_once_is_carried_out_once() {
    let Some(cluster) = Cluster::start().await else { return };
    let processes = [cluster.process(&[]), cluster.process(&[])];
    until_owned(&processes).await;
    for n in 0..20 {
        let event = identify(&format!("m{n}"), &format!("u{n}"), &Value::Null);
        let (one, other) = tokio::join!(post(&processes[0].server, &event), post(&processes[1].server, &event));
        let mut words = [one.expect("answered").brief(), other.expect("answered").brief()];
        words.sort();
        assert_eq!(words, ["200 duplicate", "202 accepted"]);
    }
    cluster.drained().await;
    assert_eq!(cluster.refersion.operations(), ["new"; 20]);
}

/// Two users are created at once; an event with the `userId` of one and the e-mail of the other arrives elsewhere meanwhile.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_joins_two_lanes_arrives_elsewhere_while_both_are_in_flight() {
    let slow = SandboxSettings { latency: Duration::from_millis(500), ..SandboxSettings::default() };
    let Some(cluster) = Cluster::with(slow).await else { return };
    let processes = cluster.processes_with_owner(2, &[], &[]).await;
    let both = Value::Array(vec![identify("1", "u1", &Value::Null), identify("2", "u2", &Value::Null)]);
    post(&processes[0].server, &both).await.expect("answered");
    cluster.refersion.until(|sandbox| sandbox.calls_total() == 2).await;
    let joining = json!({"type": "identify", "messageId": "3", "userId": "u1", "traits":
        {"email": "u2@example.com", "name": "User u1", "city": "Rome"}});
    post(&processes[1].server, &joining).await.expect("answered");
    cluster.drained().await;
    let affiliates = cluster.refersion.sandbox.affiliates();
    assert_eq!(affiliates.len(), 2);
    let mut cities: Vec<_> = affiliates.iter().map(|one| (one.email(), one.field("city"))).collect();
    cities.sort_unstable();
    assert_eq!(cities, [("u1@example.com", "Rome"), ("u2@example.com", "")], "the e-mail belongs to another affiliate");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn metrics_and_readiness_say_which_accounts_a_process_owns() {
    let Some(cluster) = Cluster::start().await else { return };
    let processes = cluster.processes_with_owner(2, &[], &[]).await;
    for (index, process) in processes.iter().enumerate() {
        let metrics = || async {
            let url = format!("{}/metrics", process.ops);
            Answer::to(http().get(url)).await.text
        };
        let line = format!("refersion_destination_accounts_owned{{account=\"main\"}} {}", u8::from(index == 0));
        within(poll_until(metrics, |text| text.contains(&line))).await;
        assert_eq!(process.ready().await.json()["accounts"]["main"]["owner"], index == 0);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_arrived_at_one_process_is_known_to_all_and_one_that_is_removed_at_one_is_used_by_none() {
    let Some(cluster) = Cluster::start().await else { return };
    let processes = [cluster.process(&ANY), cluster.process(&ANY)];
    // Under load, the verification of a key can take too long.
    let send = async |process: usize, event: &str| {
        let event = identify(event, "u1", &Value::Null);
        let answer = || async { post(&processes[process].server, &event).await.expect("answered").status };
        within(poll_until(answer, |status| *status != 503)).await
    };
    // How many accounts that are not configured have a worker.
    let workers = async |process: usize, number: u64| {
        let ready = || async { processes[process].ready().await.json() };
        within(poll_until(ready, |ready| ready["merchants"]["at_work"] == number)).await;
    };
    assert_eq!(send(0, "1").await, 202);
    assert_eq!(send(1, "2").await, 202);
    workers(0, 1).await;
    workers(1, 1).await;
    let keys = format!("{}/api/v1/keys", processes[0].ops);
    let kept = Answer::to(http().get(&keys).bearer_auth(OPS_TOKEN)).await.json();
    let account = kept["keys"][0]["account"].as_str().expect("a name").to_owned();
    let removed = Answer::to(http().delete(format!("{keys}/{account}")).bearer_auth(OPS_TOKEN)).await;
    assert_eq!((removed.status, removed.json()["account"].as_str()), (200, Some(&*account)));
    workers(0, 0).await;
    workers(1, 0).await;
    assert_eq!(send(1, "3").await, 202, "it is verified and kept again");
    workers(1, 1).await;
    cluster.drained().await;
}

/// PostgreSQL's channels belong to a whole database. A process of another schema would die if it were woken.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_of_two_schemas_of_one_database_do_not_wake_each_other() {
    let (Some(one), Some(other)) = (Cluster::start().await, Cluster::start().await) else { return };
    let processes = one.processes_with_owner(2, &[], &[]).await;
    let apart = [other.process(&[("FAILPOINTS", "worker::reading=return")])];
    until_owned(&apart).await;
    for n in 0..20 {
        let event = identify(&format!("m{n}"), "u1", &json!({"city": format!("City {n}")}));
        post(&processes[1].server, &event).await.expect("answered");
        one.drained().await;
    }
    assert!(!apart[0].has_ended());
}
