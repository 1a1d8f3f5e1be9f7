//! A merchant changes its secret: the owner of the account, which halted it, learns that from the process at which the new secret arrived.

use super::cluster::{Cluster, post_with};
use super::handover::until_saved;
use super::waiting::LONG;
use crate::any_key::multi_account_refersion::MultiAccountRefersion;
use crate::any_key::{ANN, ANN_2, ANY};
use crate::support::process::Process;
use crate::support::{identify, poll_until, within};
use serde_json::Value;

async fn send(process: &Process, key: &str, number: u8) {
    let event = identify(&format!("m{number}"), &format!("u{number}"), &Value::Null);
    // Under load, the verification of a key can take too long.
    let answer = || async { post_with(&process.server, key, &event).await.expect("answered").status };
    within(poll_until(answer, |status| matches!(status, 200 | 202))).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_secret_that_is_changed_at_another_process_ends_the_halt_at_the_owner() {
    let Some(mut cluster) = Cluster::start().await else { return };
    let refersions = MultiAccountRefersion::start().await;
    cluster.refersion.base_url.clone_from(&refersions.base_url);
    let settings = [&ANY[..], &LONG].concat();
    let processes = [cluster.process(&settings), cluster.process(&settings)];
    let ann = refersions.accept(ANN);
    send(&processes[0], ANN, 1).await;
    cluster.drained().await;
    refersions.accept(ANN_2);
    send(&processes[0], ANN, 2).await;
    until_saved(&cluster, "unauthorized").await;
    let owners = || async {
        let mut owners = Vec::new();
        for process in &processes {
            let accounts = process.ready().await.json()["accounts"].clone();
            owners.push(accounts.as_object().is_some_and(|all| all.values().any(|one| one["owner"] == true)));
        }
        owners
    };
    // Both say so if the account changes hands between the two answers.
    let is_one = |owners: &Vec<bool>| owners.iter().filter(|owns| **owns).count() == 1;
    let owners = within(poll_until(owners, is_one)).await;
    let other = owners.iter().position(|owns| !owns).expect("one owner");
    send(&processes[other], ANN_2, 3).await;
    cluster.drained().await;
    assert_eq!(ann.affiliates().len(), 3);
}
