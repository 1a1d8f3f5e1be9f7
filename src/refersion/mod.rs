//! The HTTP client for Refersion's REST API v2, the only upstream.
//!
//! In: a [`Call`](crate::delivery::Call). Out: a [`Reply`](crate::delivery::Reply). `request` builds the body of a call, `client` sends it
//! over HTTP (the only file that names reqwest), `response` decides what the response means (THE outbound status table), `send_guard` stops
//! a request that may not be sent any more, `success_body` reads the bodies of successes, `error_message` removes personal data from error
//! messages. Invariants: a request has the API key only in its two headers; no redirect is followed. Deliberately absent: retries, since
//! only the delivery plan knows which calls may be repeated.

mod client;
mod error_message;
mod request;
mod response;
mod send_guard;
mod success_body;

pub(crate) use client::root_cause;
pub use client::{Client, ClientBuildError, ConnectionPool};
pub use request::body as request_body;
pub use response::{RawResponse, reply as read_response, verification as read_api_key_verification};
pub use send_guard::SendGuard;
