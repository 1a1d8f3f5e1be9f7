//! The owner dies, or freezes and wakes up later, at each named step of a creation: another process makes the remaining calls, and
//! only those; what the old owner had prepared is not sent.

use super::cluster::{Cluster, post};
use crate::crash::points::{Death, Journey, creation};
use crate::support::{poll_until, within};
use futures_util::StreamExt;
use std::sync::Arc;

/// How the owner ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    Dies,
    Freezes,
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_where_the_owner_died() {
    each_step(Failure::Dies).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_process_goes_on_where_the_owner_froze_and_the_old_owner_does_nothing_when_it_wakes_up() {
    each_step(Failure::Freezes).await;
}

/// Rows, four at a time: each has two processes.
async fn each_step(failure: Failure) {
    let (journey, deaths) = creation();
    let journey = Arc::new(journey);
    let rows = futures_util::stream::iter(deaths).map(|death| {
        let journey = Arc::clone(&journey);
        tokio::spawn(async move { row(&journey, &death, failure).await })
    });
    let rows: Vec<_> = rows.buffer_unordered(4).collect().await;
    for row in rows {
        row.expect("the row holds");
    }
}

async fn row(journey: &Journey, death: &Death, failure: Failure) {
    let Some(cluster) = Cluster::start().await else { return };
    let action = if failure == Failure::Dies { "return" } else { "1*return(freeze)" };
    let passed = death.time - 1;
    let armed = format!("{}={}{action}", death.at, if passed == 0 { String::new() } else { format!("{passed}*off->") });
    let mut processes = cluster.processes_with_owner(2, journey.settings, &[("FAILPOINTS", &armed)]).await;
    let owner = processes.remove(0);
    let (server, event) = (owner.server.clone(), journey.event.clone());
    let request = tokio::spawn(async move { post(&server, &event).await });
    within(poll_until(|| std::future::ready(owner.is_frozen() || owner.has_ended()), |ended| *ended)).await;
    assert_eq!(cluster.calls(), death.made, "made before: {death:?}");

    // The sender gives up waiting, and sends the event to another process.
    let answer = within(post(&processes[0].server, &journey.event)).await.expect("answered");
    assert!([202, 200].contains(&answer.status), "{death:?}: {}", answer.text);
    cluster.drained().await;
    let all = [death.made, death.remain].into_iter().filter(|calls| !calls.is_empty()).collect::<Vec<_>>();
    assert_eq!(cluster.calls(), all.join(" "), "made in all: {death:?}");

    if failure == Failure::Freezes {
        owner.signal("CONT");
        // What it had begun ends before it can answer: it is asked only once its request has ended.
        drop(within(request).await);
        within(poll_until(|| owner.ready(), |ready| ready.status == 200)).await;
        owner.terminate();
        let (status, logged) = owner.ended().await;
        assert_eq!(status.code(), Some(0), "{death:?}: {logged}");
        cluster.drained().await;
        assert_eq!(cluster.calls(), all.join(" "), "and no other when it woke up: {death:?}");
    }
    let affiliates = cluster.refersion.sandbox.affiliates();
    assert!(affiliates.len() == 1 && (journey.holds)(&affiliates[0]), "{death:?}: {affiliates:?}");
}
