//! Processes whose clocks are an hour apart: they go by the database's. No lease is lost, no retry comes early or late, and older facts do
//! not overwrite newer ones.

use super::cluster::{Cluster, post};
use crate::support::process::Process;
use crate::support::wall_clock::WallClock;
use crate::support::{Answer, identify, poll_until, within};
use refersion_destination::sandbox::Fault;
use serde_json::{Value, json};
use std::time::{Duration, SystemTime};

const HOUR: i64 = 60 * 60;

/// An event that is from so many seconds ago.
fn from_ago(message_id: &str, seconds: u64, city: &str) -> Value {
    let moment = SystemTime::now() - Duration::from_secs(seconds);
    let mut event = identify(message_id, "u1", &json!({"city": city}));
    event["timestamp"] = jiff::Timestamp::try_from(moment).expect("a moment").to_string().into();
    event
}

async fn send(process: &Process, event: &Value) -> Answer {
    within(post(&process.server, event)).await.expect("answered")
}

/// Of every owner Refersion asks to wait for three seconds, and then it dies: the next one, whose clock is an hour or two off, waits
/// for the rest of them.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn processes_whose_clocks_are_an_hour_apart_keep_leases_retries_and_order() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut clocks = Vec::new();
    for ahead in [HOUR, 0, -HOUR] {
        let Some(clock) = WallClock::make() else { return };
        clock.set_ahead(ahead);
        clocks.push(clock);
    }
    let mut processes: Vec<Process> = clocks.iter().map(|clock| cluster.process(&clock.environment())).collect();
    for (event, to) in [(from_ago("1", 30, "Rome"), 0), (from_ago("2", 20, "Oslo"), 2), (from_ago("3", 25, "Bonn"), 0)]
    {
        assert_eq!(send(&processes[to], &event).await.status, 202);
    }
    cluster.drained().await;
    assert_eq!(cluster.refersion.sandbox.affiliates()[0].field("city"), "Oslo", "the newest by its own timestamp");
    let database = cluster.connect().await;
    while processes.len() > 1 {
        let left = processes.len();
        let owner = cluster.settled_owner(&processes).await;
        let before = cluster.refersion.sandbox.calls().len();
        let busy = Fault::Status { status: 503, body: Value::Null, retry_after: Some(3) };
        cluster.refersion.sandbox.script([busy]);
        for (number, process) in processes.iter().enumerate() {
            let event = identify(&format!("{left} {number}"), "u1", &json!({"city": format!("City {left} {number}")}));
            assert_eq!(send(process, &event).await.status, 202);
            cluster.refersion.until(|sandbox| sandbox.calls().len() > before).await;
            assert_eq!(send(&processes[0], &event).await.brief(), "200 duplicate");
        }
        let sql = "SELECT count(*) FROM attempts WHERE wait IS NOT NULL";
        let failed = || async { database.query_one(sql, &[]).await.expect("counted").get::<_, i64>(0) };
        within(poll_until(failed, |failed| *failed == 1)).await;
        processes.remove(owner).kill();
        cluster.drained().await;
        let at: Vec<i64> = cluster.refersion.sandbox.calls().iter().map(|call| call.at.0).collect();
        let waited = at[before + 1] - at[before];
        assert!((3_000..60_000).contains(&waited), "the wait that Refersion asked for: {waited} ms");
        let city = format!("City {left} {}", left - 1);
        assert_eq!(cluster.refersion.sandbox.affiliates()[0].field("city"), city, "in the order of the log");
    }
    let dead = database.query_one("SELECT count(*) FROM dead_letters", &[]).await.expect("counted");
    assert_eq!((dead.get::<_, i64>(0), cluster.refersion.sandbox.affiliates().len()), (0, 1));
}
