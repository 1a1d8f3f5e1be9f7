//! The service as a process: killed at any moment and started again, or asked to stop, it loses and doubles nothing.

mod backlog;
mod clock;
mod points;
mod steps;
mod stop;
mod store;

use crate::support::process::Process;
use crate::support::{Answer, http, within};
use serde_json::Value;

/// Waits until nothing waits to be delivered.
async fn drained(process: &Process) -> Value {
    let client = http();
    within(async {
        loop {
            let ready = Answer::to(client.get(format!("{}/readyz", process.ops))).await.json();
            if ready["waiting"] == 0 {
                return ready;
            }
        }
    })
    .await
}

/// Waits for the end of a process that was asked to stop; whether it ended well, and what it logged.
async fn ended(process: Process) -> (Option<i32>, String) {
    let (status, logged) = within(tokio::task::spawn_blocking(move || process.wait())).await.expect("waits");
    (status.code(), logged)
}
