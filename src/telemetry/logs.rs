//! Log lines on standard error, as text or JSON.
//!
//! In: the format and the filter, which the configuration has checked. Out: one line per log event.

use std::io::IsTerminal;
use tracing_subscriber::EnvFilter;

/// Starts logging: as JSON or as text, with the log events that `filter` lets through. Later calls change nothing.
pub fn start(json: bool, filter: &str) {
    let lines = tracing_subscriber::fmt()
        .with_env_filter(EnvFilter::new(filter))
        .with_writer(std::io::stderr)
        // Such an error would be printed to standard error, which panics if the pipe is closed: a log collector that
        // stops reading must not end a delivery.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    // Err: a subscriber is set already.
    let _ = if json { lines.json().flatten_event(true).try_init() } else { lines.with_target(false).try_init() };
}
