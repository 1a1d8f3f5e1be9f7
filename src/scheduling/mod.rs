//! Scheduling: the decisions which events of an account may run, and when requests may begin. Pure: moments and chance are arguments.
//!
//! In: log entries, ends of units, replies. Out: runnable units of work, and permits for requests. The [`Scheduler`] decides which events
//! may run; [`AccountHealth`] whether a request may begin (circuit breaker, concurrency limit, rate limit, backoff); the [`Batcher`] which
//! calls share a request; [`BackgroundThrottle`] when a background request may begin; [`AccountOwnership`] which of several processes owns
//! an account. Invariant: nothing here does I/O, so every engine and every worker decides in the same way. Deliberately absent: reading the
//! log ([`crate::store`]) and making calls ([`crate::worker`]).

mod account_health;
mod assignment;
mod background_throttle;
mod backoff;
mod batcher;
mod breaker_state;
mod circuit_breaker;
mod concurrency_limit;
mod entry;
mod lanes;
mod rate_limit;
mod rate_search;
mod rate_trial;
mod saved_health;
mod scheduler;
#[cfg(test)]
mod simulation;
#[cfg(test)]
mod tests;
mod unrelated_429s;

pub use account_health::{AccountHealth, HealthLimits, HealthSnapshot, NoPermit, Permit};
pub use assignment::{AccountOwnership, OwnershipMove, ReplicaId};
pub use background_throttle::BackgroundThrottle;
pub use backoff::Backoff;
pub use batcher::{Batch, Batcher, Calls, MAX_BATCH, QueuedCall};
pub use breaker_state::{BreakerState, Cause, Transition};
pub use concurrency_limit::{ConcurrencyLimit, Epoch};
pub use entry::{End, Entry, RetryWait, Unit};
pub use saved_health::{LearnedLimits, SavedHealth, SavedPause};
pub use scheduler::Scheduler;
pub use unrelated_429s::Unrelated429s;
