//! Log lines, as text or JSON.
//!
//! In go the format and a filter that the configuration has checked.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Begins to write log lines: JSON or text, those that pass `filter`. Later calls change nothing.
pub fn start(json: bool, filter: &str) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        // Told on standard error, by a panic if nobody reads it: a reader that has gone must not end a delivery.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // Err: a subscriber is set already.
    let _ = if json { lines.json().flatten_event(true).try_init() } else { lines.with_target(false).try_init() };
}
