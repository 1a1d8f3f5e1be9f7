//! Ten minutes of 429 without waiting: tokio's clock is paused, and the test advances it.
//!
//! The service and its store are the real ones, with the simulated Refersion on a real socket, so the clock must not run ahead
//! of them. Tokio does not advance a paused clock by itself while a blocking thread is busy, so one waits until the end. All
//! else runs on one thread, so what is seen between two advances happened at the moment shown.

use super::AT_ONCE;
use crate::support::identify;
use crate::support::service::Service;
use refersion_destination::sandbox::Fault;
use serde_json::Value;
use std::sync::mpsc::channel;
use std::time::Duration;
use tokio::time::{Instant, advance};

const USERS: usize = 40;
/// So many windows lie between the first 429 and the last.
const WINDOWS: usize = 10;
const WINDOW: Duration = Duration::from_secs(60);
const STEP: Duration = Duration::from_secs(5);

/// Lets a little time pass, and then lets the service do what is due: an answer of its own is real work on the same thread.
async fn pass(service: &Service) -> Value {
    advance(STEP).await;
    service.ready().await.json()
}

#[tokio::test(start_paused = true)]
async fn ten_minutes_of_429_cost_one_call_in_each_pause_and_then_everything_is_delivered() {
    let (end, until) = channel::<()>();
    tokio::task::spawn_blocking(move || until.recv().ok());
    let service = Service::start(&[AT_ONCE, ("REFERSION_TIMEOUT", "1h")]).await;
    let sandbox = &service.refersion.sandbox;
    sandbox.script(vec![Fault::too_many_calls(Some(60)); WINDOWS + 1]);
    let event = |user: usize| identify(&format!("m{user}"), &format!("u{user}"), &Value::Null);
    let began = Instant::now();
    // Alone, so that no other call is in flight when the first is answered.
    service.send(&event(0)).await;
    service.refersion.until(|sandbox| sandbox.calls_total() == 1).await;
    assert_eq!(service.send(&Value::Array((1..USERS).map(event).collect())).await.brief(), "202 accepted");

    let mut calls = vec![Instant::now()];
    while sandbox.pending_faults() > 0 {
        let ready = pass(&service).await;
        assert_eq!(ready["pending"], USERS, "nothing is delivered, and nothing is given up");
        let made = usize::try_from(sandbox.calls_total()).expect("few");
        assert!(made <= calls.len() + 1, "{} calls in one window", made - calls.len());
        calls.extend((calls.len()..made).map(|_| Instant::now()));
    }
    let apart: Vec<Duration> = calls.windows(2).map(|pair| pair[1] - pair[0]).collect();
    assert_eq!(apart.len(), WINDOWS);
    assert!(apart.iter().all(|apart| *apart >= WINDOW), "{apart:?}");
    assert!(began.elapsed() >= Duration::from_mins(10));

    while pass(&service).await["pending"] != 0 {}
    assert_eq!(sandbox.affiliates().len(), USERS);
    assert_eq!(service.refersion.operations().len(), WINDOWS + 1 + USERS);
    eprintln!("429 for {:?}: calls apart {apart:?}; then {USERS} delivered", began.elapsed());
    drop(end);
}
