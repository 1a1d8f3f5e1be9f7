//! From an intent to done, as a pure state machine.
//!
//! In go an [`Intent`](crate::mapping::Intent), what is remembered of the user, how far the delivery got, and the last
//! [`Reply`]; out comes the next [`Call`] or a [`Verdict`]. No async, clock, randomness or HTTP: every scenario is a script.

mod backoff;
mod exchange;
mod policy;

pub use backoff::Backoff;
pub use exchange::{Affiliate, Call, Found, Identifier, Refusal, Reply, VISIBLE};
pub use policy::{OnDelete, OnExisting, Policy};
