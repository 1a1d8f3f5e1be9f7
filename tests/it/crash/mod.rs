//! The service as a process: killed at any moment and started again, or asked to stop, it loses and doubles nothing.

mod between_calls;
mod clock;
mod corrupt;
mod learned_rate;
mod panics;
pub mod points;
mod stop;
mod store;
mod store_errors;

use crate::support::process::Process;
use crate::support::within;
use serde_json::Value;

/// Waits until nothing waits to be delivered; what `/readyz` says then.
async fn drained(process: &Process) -> Value {
    within(process.drained()).await
}

/// Waits for the end of a process that was asked to stop; whether it ended well, and what it logged.
async fn ended(process: Process) -> (Option<i32>, String) {
    let (status, logged) = process.ended().await;
    (status.code(), logged)
}
