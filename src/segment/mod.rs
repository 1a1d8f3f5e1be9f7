//! What Segment sends: bytes in, events out.
//!
//! [`check`] makes sure that a body is JSON, [`several`] cuts it into events, [`understand`] reads one of them, [`Traits`] what
//! it says of a user; [`split`] and [`parse`] do the same from text to text. [`Authenticator`] decides whether a request is authentic, [`find_authenticator`] and
//! [`presented_key`] whose key it shows. Invariants: no bytes panic or overflow the stack (nothing here recurses into a value); a body
//! is checked once; nothing but what is needed can make an event unreadable; no error repeats a value of the event.
//! Deliberately absent: what any of it means for Refersion ([`crate::mapping`]).

mod authenticator;
mod body;
mod event;
mod json;
mod parts;
mod text;
mod traits;

pub use authenticator::{AuthError, Authenticator, PendingSignatures, find_authenticator, presented_key};
pub use body::{Events, check, several, split};
pub use event::{Event, Kind, Malformed, parse, understand};
pub use json::{Object, Raw, Value};
pub use text::clean;
pub use traits::{Traits, normalised};
