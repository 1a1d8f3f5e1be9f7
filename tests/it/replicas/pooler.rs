//! Two processes behind PgBouncer in transaction mode: each transaction may be in another session of the server.

use super::cluster::{Cluster, post, until_owned};
use crate::support::pgbouncer::PgBouncer;
use crate::support::postgres::{Durability, Server};
use crate::support::{identify, poll_until, within};
use refersion_destination::store::{PostgresStore, PostgresUrl, StoreLimits};
use serde_json::Value;
use std::time::Duration;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_behind_pgbouncer_deliver_survive_its_restart_and_take_over() {
    let Some((cluster, mut pooler)) = Cluster::with_pooler().await else { return };
    let mut processes = vec![cluster.process(&[]), cluster.process(&[])];
    let owner = until_owned(&processes).await;
    for (number, server) in [owner, 1 - owner].map(|process| processes[process].server.clone()).iter().enumerate() {
        let event = identify(&number.to_string(), &format!("u{number}"), &Value::Null);
        for status in [202, 200] {
            assert_eq!(within(post(server, &event)).await.expect("answered").status, status, "a repeat is a duplicate");
        }
    }
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new new");

    pooler.kill();
    let refused = within(post(&processes[owner].server, &identify("2", "u2", &Value::Null))).await.expect("answered");
    assert_eq!(refused.brief(), "503 unavailable");
    pooler.run();
    let other = processes[1 - owner].server.clone();
    let sent = || async { post(&other, &identify("2", "u2", &Value::Null)).await.map(|answer| answer.status) };
    within(poll_until(sent, |status| matches!(status, Some(200 | 202)))).await;
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new new new");

    let owner = until_owned(&processes).await;
    processes.remove(owner).kill();
    let event = identify("3", "u3", &Value::Null);
    assert_eq!(within(post(&processes[0].server, &event)).await.expect("answered").status, 202);
    cluster.drained().await;
    assert_eq!((until_owned(&processes).await, cluster.calls().as_str()), (0, "new new new new"));
}

#[tokio::test]
async fn a_pooler_whose_sessions_lack_the_settings_is_refused_by_their_names() {
    let Some(server) = Server::start(Durability::None) else { return };
    let Some(pooler) = PgBouncer::start(server.folder(), false) else { return };
    let url = PostgresUrl::parse(&pooler.url()).expect("a URL");
    let refused = PostgresStore::open(&url, StoreLimits::default(), Duration::from_secs(10)).await;
    let says = refused.expect_err("refused").to_string();
    assert!(says.contains("lack the settings enable_seqscan=off") && says.contains("see connect_query"), "{says}");
}
