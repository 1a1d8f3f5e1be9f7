//! PostgreSQL stops, crashes and comes back, or its connections break: events are refused meanwhile, and the service recovers by itself.

use super::cluster::{Cluster, post, until_owned};
use crate::support::postgres::{role_sql, url_of_role};
use crate::support::service::Refersion;
use crate::support::{API_KEY, Answer, basic, client, http, identify, poll_until, within};
use refersion_destination::sandbox::SandboxSettings;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Segment waits for 5 seconds; these are as many as a busy machine may need beyond the 3 after which the service answers.
const SENDERS_PATIENCE: Duration = Duration::from_secs(10);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_refused_with_503_without_a_database_and_all_goes_on_once_it_is_back() {
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

/// The server's processes are frozen: connections stay open, and further ones are accepted, but nothing is answered.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_silent_is_answered_with_503_before_the_sender_gives_up() {
    let Some(cluster) = Cluster::on_own_server(SandboxSettings::default()).await else { return };
    let server = cluster.server.as_ref().expect("its own");
    let processes = [cluster.process(&[]), cluster.process(&[])];
    until_owned(&processes).await;
    post(&processes[0].server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    cluster.drained().await;
    server.freeze();
    let sender = client().timeout(SENDERS_PATIENCE).build().expect("a client");
    for process in &processes {
        // The first one waits; the later ones arrive while the session is given up, and while there is none.
        let unready = || async {
            let request = sender.post(format!("{}/segment", process.server)).header("Authorization", basic(API_KEY));
            let refused = request.body(identify("2", "u2", &Value::Null).to_string()).send().await.expect("in time");
            let refused = Answer::read(refused).await.expect("a body");
            assert_eq!(refused.brief(), "503 unavailable");
            assert!(refused.headers.contains_key("retry-after"));
            process.ready().await
        };
        // It was tried to connect again.
        let reason = "the store cannot be written: the server did not answer in time";
        within(poll_until(unready, |ready| ready.message() == reason)).await;
        let alive = Answer::to(http().get(format!("{}/healthz", process.ops))).await;
        assert_eq!(alive.brief(), "200 ok");
    }
    server.thaw();
    for process in &processes {
        within(poll_until(|| process.ready(), |ready| ready.status == 200)).await;
    }
    // What was refused may have been stored.
    let event = identify("2", "u2", &Value::Null);
    let sent = || async { post(&processes[1].server, &event).await.map(|answer| answer.status) };
    within(poll_until(sent, |status| matches!(status, Some(200 | 202)))).await;
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new new");
}

/// A supervisor would kill a process that waits for the database for ever, and no one would know why.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stop_ends_although_the_database_is_silent_and_a_result_cannot_be_stored() {
    let settings = SandboxSettings { latency: Duration::from_secs(1), ..SandboxSettings::default() };
    let Some(cluster) = Cluster::on_own_server(settings).await else { return };
    let server = cluster.server.as_ref().expect("its own");
    let process = cluster.process(&[("SERVER_DRAIN", "2s")]);
    until_owned(std::slice::from_ref(&process)).await;
    post(&process.server, &identify("1", "u1", &Value::Null)).await.expect("answered");
    cluster.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    server.freeze();
    process.terminate();
    let (status, logged) = within(process.ended()).await;
    assert_eq!(status.code(), Some(0), "{logged}");
    assert!(logged.contains("PostgreSQL does not answer; other processes take over"), "{logged}");
    server.thaw();
}

/// PostgreSQL is silent for as long as an answer may wait, and Refersion for longer: the answer comes once the event is stored. If it
/// waited anew, it would take as long again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_wait_for_the_outcome_includes_that_for_a_database_that_is_silent() {
    const WAIT: Duration = Duration::from_secs(2);
    let slow = SandboxSettings { latency: Duration::from_secs(3_600), ..SandboxSettings::default() };
    let Some(cluster) = Cluster::on_own_server(slow).await else { return };
    let server = cluster.server.as_ref().expect("its own");
    let process = cluster.process(&[("SERVER_WAIT", "2s"), ("REFERSION_TIMEOUT", "1h")]);
    until_owned(std::slice::from_ref(&process)).await;
    let at_once = async |number: u8| {
        let event = identify(&number.to_string(), &format!("u{number}"), &Value::Null);
        server.freeze();
        let answer = post(&process.server, &event);
        tokio::pin!(answer);
        assert!(tokio::time::timeout(WAIT, &mut answer).await.is_err(), "it is not stored yet");
        let thawed = Instant::now();
        server.thaw();
        let answer = within(answer).await.expect("answered");
        let took = thawed.elapsed();
        // On a busy machine, PostgreSQL may have been silent for too long.
        assert!(matches!(&*answer.brief(), "202 accepted" | "503 unavailable"), "{}", answer.text);
        within(poll_until(|| process.ready(), |ready| ready.status == 200)).await;
        answer.status == 202 && took < WAIT
    };
    for number in 0..10 {
        if at_once(number).await {
            return;
        }
    }
    panic!("it waited anew each time");
}

/// The key of each request is new, and its verification takes two seconds; then the store is silent for as long as it may be, when the
/// key is to be kept, or when the event is to be appended. One after the other, they would take as long as Segment waits.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_key_that_is_new_and_a_database_that_is_silent_are_answered_before_the_sender_gives_up() {
    const SEGMENTS_PATIENCE: Duration = Duration::from_secs(5);
    let slow = SandboxSettings { latency: Duration::from_secs(2), ..SandboxSettings::default() };
    let Some(mut cluster) = Cluster::start().await else { return };
    cluster.refersion = Refersion::of_any_key(slow).await;
    let any_key = [
        ("SEGMENT_ACCEPT_ANY_API_KEY", "true"),
        ("STORE_SEAL_KEY", "c2VhbC1rZXktb25lLW9mLXRoaXJ0eS10d28tYnl0ZXM="),
        ("REFERSION_API_KEY", ""),
    ];
    let process = cluster.process(&any_key);
    let database = cluster.connect().await;
    let in_time = async |table: &str, number: u8| {
        database.batch_execute(&format!("BEGIN; LOCK TABLE {table} IN ACCESS EXCLUSIVE MODE")).await.expect("locked");
        let event = identify("1", "u1", &Value::Null).to_string();
        let request = client().build().expect("a client").post(format!("{}/segment", process.server));
        let request = request.header("Authorization", basic(&format!("pub_{table}{number}.sec"))).body(event);
        let sent = Instant::now();
        let answer = within(request.send()).await.expect("answered");
        let took = sent.elapsed();
        let answer = Answer::read(answer).await.expect("a body");
        database.batch_execute("ROLLBACK").await.expect("unlocked");
        assert_eq!(answer.brief(), "503 unavailable");
        // On a busy machine the verification itself may take too long.
        answer.message().starts_with("the event could not be stored") && took < SEGMENTS_PATIENCE
    };
    for table in ["sealed_keys", "log"] {
        let mut number = 0;
        while !in_time(table, number).await {
            number += 1;
            assert!(number < 10, "{table}: it waited for one after the other each time");
        }
    }
}

/// As a server that was made a standby, or whose disk is full, would: it refuses to write, but its connections stay.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_to_a_server_that_only_reads_is_a_dead_one() {
    let Some(cluster) = Cluster::on_own_server(SandboxSettings::default()).await else { return };
    let processes = [cluster.process(&[]), cluster.process(&[])];
    let owner = until_owned(&processes).await;
    let database = cluster.connect().await;
    for sql in ["ALTER SYSTEM SET default_transaction_read_only = on", "SELECT pg_reload_conf()"] {
        database.batch_execute(sql).await.expect("set");
    }
    let event = identify("1", "u1", &Value::Null);
    let other = &processes[1 - owner];
    let refused = || async { post(&other.server, &event).await.expect("answered") };
    within(poll_until(refused, |answer| answer.brief() == "503 unavailable")).await;
    let says = "the store cannot be written: error connecting to server: database does not allow writes";
    within(poll_until(|| other.ready(), |ready| ready.message() == says)).await;
    database.batch_execute("SET default_transaction_read_only = off").await.expect("set");
    for sql in ["ALTER SYSTEM RESET default_transaction_read_only", "SELECT pg_reload_conf()"] {
        database.batch_execute(sql).await.expect("set");
    }
    let sent = || async { post(&other.server, &event).await.map(|answer| answer.status) };
    within(poll_until(sent, |status| matches!(status, Some(200 | 202)))).await;
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new");
}

/// A commit is acknowledged once the standby has it.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_event_is_confirmed_while_the_synchronous_standby_is_away() {
    let Some((cluster, mut standby)) = Cluster::with_standby(SandboxSettings::default()).await else { return };
    let process = cluster.process(&[]);
    until_owned(std::slice::from_ref(&process)).await;
    standby.stop();
    for _ in 0..2 {
        let refused = within(post(&process.server, &identify("1", "u1", &Value::Null))).await.expect("answered");
        assert_eq!(refused.brief(), "503 unavailable");
    }
    standby.run();
    let event = identify("1", "u1", &Value::Null);
    let sent = || async { post(&process.server, &event).await.map(|answer| answer.status) };
    within(poll_until(sent, |status| matches!(status, Some(200 | 202)))).await;
    cluster.drained().await;
    assert_eq!(cluster.calls(), "new");
}

/// PostgreSQL refuses only what needs the right: the connections work, and so do all other writes.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_right_that_is_revoked_makes_the_service_unready_and_it_goes_on_once_it_is_granted_again() {
    let Some(cluster) = Cluster::start().await else { return };
    let database = cluster.connect().await;
    let role = format!("service_{}", std::process::id());
    let Some(url) = url_of_role(&cluster.url, &role) else { return };
    let owner = cluster.process(&[]);
    owner.terminate();
    owner.ended().await;
    database.batch_execute(&role_sql(&role)).await.expect("granted");
    let process = cluster.process(&[("STORE_URL", &url)]);
    let sent = async |number: u8| {
        let event = identify(&number.to_string(), &format!("u{number}"), &Value::Null);
        post(&process.server, &event).await.expect("answered").status
    };
    assert_eq!(sent(1).await, 202);
    database.batch_execute(&format!("REVOKE INSERT ON bodies FROM {role}")).await.expect("revoked");
    assert_eq!(sent(2).await, 503);
    let unready = process.ready().await;
    assert_eq!(unready.status, 503, "{}", unready.text);
    assert!(unready.message().contains("permission denied for table bodies"), "{}", unready.text);
    // The next probe names every missing right, and no job that succeeds makes the service ready.
    let named = |ready: &Answer| ready.message().contains("this user lacks rights: INSERT on bodies; grant them");
    within(poll_until(|| process.ready(), |ready| named(ready) || ready.status == 200)).await;
    let unready = process.ready().await;
    assert!(unready.status == 503 && named(&unready), "{}", unready.text);
    database.batch_execute(&format!("GRANT INSERT ON bodies TO {role}")).await.expect("granted");
    within(poll_until(|| process.ready(), |ready| ready.status == 200)).await;
    assert_eq!(sent(2).await, 202);
    cluster.drained().await;
    process.terminate();
    process.ended().await;
    database.batch_execute(&format!("DROP OWNED BY {role}; DROP ROLE {role}")).await.expect("dropped");
}
