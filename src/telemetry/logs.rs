//! Log lines on standard error, as text or JSON.
//!
//! In: the format and the filter, which the configuration has checked. Out: one line per log event. The filter can be replaced while
//! the service runs; the format cannot.

use std::io::IsTerminal;
use std::sync::OnceLock;
use tracing_subscriber::EnvFilter;

/// Replaces the filter of the lines.
type SetFilter = Box<dyn Fn(EnvFilter) + Send + Sync>;
static SET_FILTER: OnceLock<SetFilter> = OnceLock::new();

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
    if json {
        let lines = lines.json().flatten_event(true).with_filter_reloading();
        let handle = lines.reload_handle();
        let started = lines.try_init().is_ok();
        keep(started, Box::new(move |filter| _ = handle.reload(filter)));
    } else {
        let lines = lines.with_target(false).with_filter_reloading();
        let handle = lines.reload_handle();
        let started = lines.try_init().is_ok();
        keep(started, Box::new(move |filter| _ = handle.reload(filter)));
    }
}

fn keep(started: bool, set_filter: SetFilter) {
    if started {
        let _ = SET_FILTER.set(set_filter); // Err: cannot be, logging was started once
    }
}

/// From now on, the log events that `filter` lets through are logged. Does nothing if logging was not started.
pub fn set_filter(filter: &str) {
    if let Some(set_filter) = SET_FILTER.get() {
        set_filter(EnvFilter::new(filter));
    }
}
