//! Which events of an account may run now, and when calls may go out. Pure: moments and chance are arguments.
//!
//! In go log entries, endings and replies; out come runnable units of work and permissions to call. Invariant: nothing here
//! does I/O, so that every engine and every worker decides alike. Deliberately absent: reading the log ([`crate::store`]) and
//! making calls ([`crate::worker`]).

mod entry;
mod lanes;
mod name;
mod scheduler;
#[cfg(test)]
mod tests;

pub use entry::{End, Entry, RetryWait, Unit};
pub use scheduler::Scheduler;
