//! From an intent to done, as a pure state machine.
//!
//! In go an [`Intent`](crate::mapping::Intent), what is remembered of the user, how far the delivery got, and the last
//! [`Reply`]; out comes the next [`Call`] or a verdict ([`Step`]). Invariant: no async, clock, randomness or HTTP, so every
//! scenario is a script of replies. Deliberately absent: when to try again ([`Backoff`] only says how long to wait; the
//! worker waits), and where memory and progress are kept ([`crate::queue`]).

mod backoff;
mod coalesce;
mod delete;
mod exchange;
mod gate;
mod identify;
mod memory;
mod outcome_code;
mod pace;
mod plan;
mod policy;
mod read_back;
mod search;
mod state;
mod turns;
mod unanswered_new;
mod verdict;

pub use backoff::Backoff;
pub use coalesce::{Coalesced, coalesce};
pub use exchange::{Affiliate, Call, Found, Identifier, Refusal, Reply, VISIBLE};
pub use gate::{Admission, Gate};
pub use memory::{Done, Known, Memory, Origin, Progress, Stage, Target};
pub use outcome_code::OutcomeCode;
pub use pace::{Pace, Round};
pub use plan::step;
pub use policy::{OnDelete, OnExisting, Policy};
pub use state::{Case, State};
pub use turns::{FULL, Turn, Turns};
pub use unanswered_new::UnansweredNew;
pub use verdict::{Action, Ignored, Outcome, PermanentFailure, Step, TransientFailure};
