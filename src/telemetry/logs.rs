//! Log lines on standard error, as text or JSON.
//!
//! In: the format and the filter, which the configuration has checked. Out: one line per log event. The filter can be replaced while the
//! service runs; the format cannot. `EnvFilter` is not used: it would also filter by spans, of which there are none, and by expressions,
//! whose engine is a fiftieth of the program.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::layer::SubscriberExt as _;
use tracing_subscriber::util::SubscriberInitExt as _;
use tracing_subscriber::{Registry, reload};

/// The handle that replaces the filter.
static FILTER: OnceLock<reload::Handle<Targets, Registry>> = OnceLock::new();

/// Starts logging: as JSON or as text, with the log events that `filter` lets through. Later calls change nothing.
pub fn start(json: bool, filter: &str) {
    let (filter, handle) = reload::Layer::new(targets(filter));
    let lines = tracing_subscriber::fmt::layer()
        .with_writer(std::io::stderr)
        // Such an error would be printed to standard error, which panics if the pipe is closed. A log collector that stops reading must not
        // end a delivery.
        .log_internal_errors(false)
        .with_ansi(std::io::stderr().is_terminal());
    let filtered = tracing_subscriber::registry().with(filter);
    let started = if json {
        filtered.with(lines.json().flatten_event(true)).try_init()
    } else {
        filtered.with(lines.with_target(false)).try_init()
    };
    // Err: a subscriber is set already.
    if started.is_ok() {
        let _ = FILTER.set(handle); // Err: impossible, because logging was started once
    }
}

/// From now on, the log events that `filter` lets through are logged. Does nothing if logging was not started.
pub fn set_filter(filter: &str) {
    if let Some(handle) = FILTER.get() {
        let _ = handle.reload(targets(filter)); // Err: the process ends
    }
}

/// Parses a filter. If it is not valid, only errors are logged.
fn targets(filter: &str) -> Targets {
    filter.parse().unwrap_or_else(|_| Targets::new().with_default(LevelFilter::ERROR))
}
