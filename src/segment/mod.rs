//! Requests of Segment: their authentication, and parsing their bytes into events.
//!
//! In: headers and the bytes of a body. Out: [`Event`]s, or a [`Malformed`] or an [`AuthError`] that the customer can act on.
//! [`split_envelope`] checks that a body is JSON and splits it into events, [`Event::parse`] reads one of them, and [`Traits`] finds its
//! traits by name. [`Authenticator`] decides whether a request is authentic, [`find_authenticator`] and [`presented_api_key`] find the API
//! key that it presents. Invariants: no bytes cause a panic or a stack overflow; a body is checked for syntax once; a fault in a member
//! that is not needed makes no event unreadable; no error repeats a value of the event. Deliberately absent: the meaning of an event for
//! Refersion ([`crate::mapping`]).

mod authenticator;
mod envelope;
mod event;
mod json;
mod text;
mod timestamp;
mod traits;

pub use authenticator::{
    AuthError, Authenticator, CREDENTIALS_BASE64, PendingSignatures, find_authenticator, presented_api_key,
};
pub use envelope::{Envelope, split_envelope, split_first};
pub use event::{Event, EventKind, Malformed, RawEvent};
pub use json::{JsonObject, RawJson};
pub use text::{clean_text, is_invisible, split_lines, stands_for_absent};
pub use traits::{Traits, normalize_name};
