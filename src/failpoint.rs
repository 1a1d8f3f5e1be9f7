//! Named steps between receiving and settling, at which a test lets this process die as `kill -9` would.
//!
//! A test starts the program with `FAILPOINTS='worker::answered=return'`, in the crate `fail`'s own language; whoever then
//! reaches that step aborts the process: no destructor runs, nothing is flushed. Invariant: compiled in by the feature
//! `failpoints` alone, which only tests turn on; without it a step is nothing. Deliberately absent: failing in any milder
//! way, which other tests do from outside.

#[cfg(feature = "failpoints")]
use std::sync::Once;

/// Arms the steps that the environment names.
#[cfg(feature = "failpoints")]
pub fn arm() {
    static ARMED: Once = Once::new();
    // Forgotten: steps stay armed until the process ends.
    ARMED.call_once(|| std::mem::forget(fail::FailScenario::setup()));
}

/// A step that is reached; where the process ends if it is armed.
#[cfg(feature = "failpoints")]
pub fn step(name: &str) {
    if fail::eval(name, |_| ()).is_some() {
        std::process::abort();
    }
}

/// Nothing: no step is compiled in.
#[cfg(not(feature = "failpoints"))]
pub fn arm() {}

/// Nothing: no step is compiled in.
#[cfg(not(feature = "failpoints"))]
#[inline]
pub fn step(_name: &str) {}
