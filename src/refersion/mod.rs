//! The one upstream: Refersion's REST API v2.
//!
//! `wire` turns a [`Call`](crate::delivery::Call) into a path and a body, `reply` turns an answer into a
//! [`Reply`](crate::delivery::Reply) (THE outbound status table; `success` reads the good ones), `client` carries both over
//! HTTP and is the only file naming reqwest. Invariants: every call sends the key pair in its two headers and nowhere else;
//! no redirect is followed; nothing is retried here, for only the plan knows what may be repeated.

mod client;
mod redact;
mod reply;
mod success;
mod wire;

pub use client::{BuildError, Client, Route};
pub use reply::{Answer, Proof, prove as read_proof, read as read_answer};
pub use wire::body as request_body;
