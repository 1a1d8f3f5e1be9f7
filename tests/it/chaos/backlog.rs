//! A backlog of hundreds of thousands: a restart on it is ready at once and takes no more memory for it.
//!
//! The short form has 20,000 events, the long one (`CHAOS=long`) 500,000. How long the restart takes is printed, not asserted.

use super::is_long;
use crate::support::process::Process;
use crate::support::service::Refersion;
use crate::support::{identify, within};
use serde_json::{Value, json};
use std::time::Instant;

/// What the bodies take together at least, so that a service that held them would be seen to.
const BODIES: usize = 96 << 20;
/// What the service may take beside what it takes when it is idle: half of the bodies. An idle service is measured in the
/// same run, because most of its memory is the program itself, which is larger without optimisation.
const MAX_MEMORY: usize = BODIES / 2;
const A_REQUEST: usize = 250;
/// Some of what waits is carried out.
const SOME: usize = 200;

/// The most memory a process ever had, in bytes.
fn peak(process: &Process) -> usize {
    let path = format!("/proc/{}/status", process.child.id());
    let status = std::fs::read_to_string(path).expect("a process");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("a figure");
    line.trim().trim_end_matches(" kB").parse::<usize>().expect("a number") << 10
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_restart_on_a_long_backlog_is_ready_and_takes_no_memory_for_it() {
    let events = if is_long() { 500_000 } else { 20_000 };
    let filler = "x".repeat(BODIES / events);
    let event = |user: usize| identify(&format!("m{user}"), &format!("u{user}"), &json!({"filler": filler}));
    let refersion = Refersion::start().await;
    refersion.sandbox.revoke_api_key();
    let folder = tempfile::tempdir().expect("a folder");
    let settings = [("SERVER_WAIT", "0s"), ("LOG_FILTER", "refersion_destination::app=info")];
    let start = || Process::start(&refersion.base_url, folder.path(), &settings);

    let process = start();
    process.ready().await;
    let idle = peak(&process);
    let filled = Instant::now();
    for first in (0..events).step_by(A_REQUEST) {
        let body = Value::Array((first..first + A_REQUEST).map(event).collect());
        assert_eq!(within(process.send(&body)).await.expect("answered").brief(), "202 accepted");
    }
    let filling = peak(&process);
    let filled = filled.elapsed();
    process.kill();

    let began = Instant::now();
    let process = start();
    let listening = began.elapsed();
    assert_eq!(process.ready().await.json()["pending"], events);
    let (ready, started) = (began.elapsed(), peak(&process));
    refersion.sandbox.restore_api_key();
    refersion.until(|sandbox| sandbox.affiliates().len() >= SOME).await;
    let working = peak(&process);
    process.kill();
    let first: Vec<_> = refersion.sandbox.affiliates()[..SOME].iter().map(|one| one.email().to_owned()).collect();
    let waited_longest = |user: usize| first.contains(&format!("u{user}@example.com"));
    assert!((0..SOME / 2).all(waited_longest), "{first:?}");
    eprintln!(
        "{events} events in {filled:?}: listening after {listening:?}, ready after {ready:?}; {} MiB idle, at most {} MiB while they \
         came, {} MiB after the restart, {} MiB while they were carried out",
        idle >> 20,
        filling >> 20,
        started >> 20,
        working >> 20
    );
    for (memory, when) in [(filling, "while they came"), (started, "after the restart"), (working, "at work")] {
        assert!(memory - idle < MAX_MEMORY, "{} MiB {when}, {} MiB idle", memory >> 20, idle >> 20);
    }
}
