//! PostgreSQL stops, crashes and comes back, or its connections break: events are refused meanwhile, and all goes on by itself.

use super::cluster::{Cluster, post, until_owned};
use crate::support::{Answer, http, identify, poll_until, within};
use refersion_destination::sandbox::SandboxSettings;
use serde_json::{Value, json};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_database_events_are_refused_with_503_and_all_goes_on_once_it_is_back() {
    let Some(mut cluster) = Cluster::on_own_server(SandboxSettings::default()).await else { return };
    let processes = [cluster.process(&[]), cluster.process(&[])];
    until_owned(&processes).await;
    post(&processes[0].server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    cluster.drained().await;
    for killed in [false, true] {
        let server = cluster.server.as_mut().expect("its own");
        if killed {
            server.kill();
        } else {
            server.stop();
        }
        for process in &processes {
            let refused = within(post(&process.server, &identify("2", "u2", &Value::Null))).await.expect("answered");
            assert_eq!(
                (refused.brief().as_str(), refused.headers.contains_key("retry-after")),
                ("503 unavailable", true)
            );
            let unready = || process.ready();
            let unready = within(poll_until(unready, |ready| ready.status == 503)).await;
            assert!(unready.message().starts_with("the store cannot be written: "), "{}", unready.text);
            let alive = Answer::to(http().get(format!("{}/healthz", process.ops))).await;
            assert_eq!(alive.brief(), "200 ok");
        }
        cluster.server.as_mut().expect("its own").run();
        for process in &processes {
            within(poll_until(|| process.ready(), |ready| ready.status == 200)).await;
        }
        let number = u8::from(killed);
        let event = identify(&format!("after-{number}"), "u1", &json!({"city": format!("City {number}")}));
        let sent = || async { post(&processes[1].server, &event).await.map(|answer| answer.status) };
        within(poll_until(sent, |status| matches!(status, Some(200 | 202)))).await;
        cluster.drained().await;
        assert_eq!(cluster.refersion.sandbox.affiliates()[0].field("city"), format!("City {number}"));
    }
}
