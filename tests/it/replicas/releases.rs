//! Processes of two releases on one database. There is only one binary: a process counts as one of the next release by the fail
//! point `store::next_release`, which gives it one migration more (a column), and says which releases can go on after it.

use super::cluster::{Cluster, post, until_owned};
use crate::support::process::{Process, binary, signal};
use crate::support::{API_KEY, TEST_TIMEOUT, identify, poll_until, within};
use serde_json::Value;
use std::io::{BufRead as _, BufReader};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// After the migration, this release can go on.
const EXPANDS: (&str, &str) = ("FAILPOINTS", "store::next_release=return(expands)");
/// After the migration, only the next release can go on.
const CONTRACTS: (&str, &str) = ("FAILPOINTS", "store::next_release=return(contracts)");

/// Posts events of one user each until it is stopped, or the process is gone; returns how many were accepted.
fn load(process: &Process, stop: watch::Receiver<bool>) -> JoinHandle<usize> {
    let server = process.server.clone();
    tokio::spawn(async move {
        let (mut number, mut accepted) = (0, 0);
        while !*stop.borrow() {
            number += 1;
            let event = identify(&format!("m{number}"), &format!("u{number}"), &Value::Null);
            let Some(answer) = post(&server, &event).await else { break };
            assert!(matches!(answer.status, 202 | 429 | 503), "{}", answer.text);
            accepted += usize::from(answer.status == 202);
        }
        accepted
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_processes_of_the_next_release_migrate_at_once_beside_an_older_one_under_load() {
    let Some(cluster) = Cluster::start().await else { return };
    let mut processes = vec![cluster.process(&[])];
    until_owned(&processes).await;
    let (stop, until) = watch::channel(false);
    let load = load(&processes[0], until);
    let both = || {
        std::thread::scope(|scope| {
            [(); 2].map(|()| scope.spawn(|| cluster.process(&[EXPANDS]))).map(|one| one.join().expect("starts"))
        })
    };
    processes.extend(tokio::task::block_in_place(both));
    until_owned(&processes).await;
    let database = cluster.connect().await;
    let sql = "SELECT count(*) FROM pg_attribute
        WHERE attrelid = 'accounts'::regclass AND attname = 'of_the_next_release'";
    assert_eq!(database.query_one(sql, &[]).await.expect("read").get::<_, i64>(0), 1, "it was migrated");
    // All processes accept events after the migration.
    for (number, process) in processes.iter().enumerate() {
        let event = identify(&format!("after{number}"), &format!("after{number}"), &Value::Null);
        assert_eq!(within(post(&process.server, &event)).await.expect("answered").status, 202);
    }
    stop.send_replace(true);
    let accepted = within(load).await.expect("answered well");
    cluster.drained().await;
    assert_eq!(cluster.refersion.sandbox.affiliates().len(), accepted + 3);
    for process in processes {
        process.terminate();
        let (status, logged) = process.ended().await;
        assert_eq!(status.code(), Some(0), "{logged}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_is_too_old_for_the_tables_drains_and_the_next_release_delivers_the_rest() {
    let Some(cluster) = Cluster::start().await else { return };
    let old = cluster.process(&[]);
    until_owned(std::slice::from_ref(&old)).await;
    let (_stop, until) = watch::channel(false);
    let load = load(&old, until);
    let next = [cluster.process(&[CONTRACTS])];
    let (status, logged) = old.ended().await;
    assert_ne!(status.code(), Some(0), "its supervisor is to know");
    assert!(logged.contains("a newer release has migrated the tables of the store; this one ends"), "{logged}");
    let accepted = within(load).await.expect("answered well");
    until_owned(&next).await;
    cluster.drained().await;
    // A request that was cut off by the end of the process may have been stored.
    let affiliates = cluster.refersion.sandbox.affiliates().len();
    assert!((accepted..=accepted + 1).contains(&affiliates), "{accepted}, {affiliates}");
}

/// It waits for minutes, since the other process may be migrating many rows.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_that_waits_for_a_migration_ends_at_once_when_it_is_stopped_or_killed() {
    let Some(cluster) = Cluster::start().await else { return };
    let database = cluster.connect().await;
    let lock = i64::from(u32::from_be_bytes(*b"refe"));
    let sql = format!("SELECT pg_advisory_lock({lock}, hashtext(current_schema()))");
    database.batch_execute(&sql).await.expect("locked");
    for (name, code) in [("TERM", Some(0)), ("KILL", None)] {
        let mut command = binary();
        command.arg("serve").env("REFERSION_API_KEY", API_KEY).env("STORE_URL", &cluster.url);
        let mut child = command.spawn().expect("starts");
        let mut log = BufReader::new(child.stderr.take().expect("piped")).lines();
        let read = tokio::task::spawn_blocking(move || (log.next(), log)); // its end stays open
        let read = tokio::time::timeout(TEST_TIMEOUT, read).await;
        signal(&child, name);
        let ended = || std::future::ready(child.try_wait().expect("asked"));
        let ended = tokio::time::timeout(TEST_TIMEOUT, poll_until(ended, Option::is_some)).await;
        let _ = child.kill(); // Err: it has ended
        let _ = child.wait();
        let waits = read.expect("in time").expect("read").0.expect("a line").expect("text");
        assert!(waits.contains("another process is migrating the tables; waiting for it"), "{waits}");
        assert_eq!(ended.expect("at once").expect("ended").code(), code, "{name}");
    }
    let tables = "SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace";
    assert_eq!(database.query_one(tables, &[]).await.expect("counted").get::<_, i64>(0), 0);
    database.batch_execute("SELECT pg_advisory_unlock_all()").await.expect("unlocked");
    let next = cluster.process(&[]);
    until_owned(std::slice::from_ref(&next)).await;
}
