//! Fail points for tests: named points between receiving and settling an event at which the process aborts, as with `kill -9`.
//!
//! A test starts the program with `FAILPOINTS='worker::answered=return'`, in the syntax of the crate `fail`. The process then aborts when
//! it reaches that point: no destructor runs, and nothing is flushed. With `return(freeze)` the process stops there, as by SIGSTOP, until
//! the test sends SIGCONT. Invariant: fail points exist only with the feature `failpoints`, which only tests turn on; without the feature
//! [`reach`] does nothing. Deliberately absent: errors and delays, which tests cause from outside.

#[cfg(feature = "failpoints")]
use std::io::Write as _;
#[cfg(feature = "failpoints")]
use std::sync::Once;

/// Activates the points named in the environment variable `FAILPOINTS`.
#[cfg(feature = "failpoints")]
pub fn arm() {
    static ARMED: Once = Once::new();
    // `forget`: dropping the scenario would deactivate the points.
    ARMED.call_once(|| std::mem::forget(fail::FailScenario::setup()));
}

/// Aborts or freezes the process here if a test has activated the point `name`.
#[cfg(feature = "failpoints")]
pub fn reach(name: &str) {
    match fail::eval(name, |action| action) {
        None => {}
        Some(Some(action)) if action == "freeze" => freeze(),
        Some(_) => {
            let _ = writeln!(std::io::stderr(), "ends at the fail point {name}"); // Err: nobody reads it
            std::process::abort()
        }
    }
}

/// The text in the parentheses of `name=return(…)`. Such a point neither aborts nor freezes: the text changes what the process does.
#[cfg(feature = "failpoints")]
pub fn argument(name: &str) -> Option<String> {
    fail::eval(name, |action| action).flatten()
}

/// Stops every thread of this process, until it gets SIGCONT.
#[cfg(feature = "failpoints")]
fn freeze() {
    // On a busy machine a running thread continues for a moment after the signal. This thread must not, so it waits for the shell.
    let stop = format!("kill -STOP {}; sleep 1", std::process::id());
    if std::process::Command::new("/bin/sh").args(["-c", &stop]).status().is_err() {
        std::process::abort();
    }
}

/// Does nothing without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
pub fn arm() {}

/// Does nothing without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn reach(_name: &str) {}

/// Returns `None` without the feature `failpoints`.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn argument(_name: &str) -> Option<String> {
    None
}
