//! "Enable with Segment": the part without I/O of connecting a merchant's source by OAuth 2.0.
//!
//! In: what a browser presents (its cookie, and the `state` of a form or of a redirect from Segment), the time, and random bytes. Out: the
//! [`Flow`] of the browser, or a [`ConnectFailure`], which says what to do. `flow` is the state machine, `callback` reads Segment's
//! redirect, `failure` lists every way in which connecting can fail. Invariant: nothing is kept on the server, so any replica can continue
//! what another began. Deliberately absent: pages and cookies' attributes ([`crate::http`]), and calls to Segment ([`crate::segment_api`]).

mod callback;
mod failure;
mod flow;

pub use callback::Callback;
pub use failure::ConnectFailure;
pub use flow::{ExpectedRequest, Flow, LIFETIME, Nonce, SealedFlow};
