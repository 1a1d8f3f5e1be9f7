//! "Enable with Segment": how a merchant connects a source of their workspace by OAuth 2.0, as far as it is decided without I/O.
//!
//! In: what a browser presents (its cookie, and the `state` of a form or of a redirect from Segment), the time, and random bytes.
//! Out: the [`Flow`] that the browser is in, or a [`Refusal`], which says what to do. `flow` is the state machine, `callback`
//! reads what Segment's redirect says, `refusal` has every way in which connecting can fail. Invariant: nothing is kept on the
//! server, so any replica can go on with what another began. Deliberately absent: pages and cookies' attributes
//! ([`crate::http`]), and calls to Segment ([`crate::segment_api`]).

mod callback;
mod flow;
mod refusal;

pub use callback::Callback;
pub use flow::{ExpectedRequest, Flow, LIFETIME, Nonce, SealedFlow};
pub use refusal::{Refusal, RetryOption};
