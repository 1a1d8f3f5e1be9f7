//! What Segment sends: bytes in, events out.
//!
//! [`split`] cuts a body into the source texts of its events, [`parse`] understands one of them, [`Traits`] reads what it
//! says of a user; [`Trust`] decides who is believed, [`choose`] and [`presented`] whose key it is. Invariants: no bytes panic or overflow the
//! stack (nothing here recurses into a value); nothing but what is needed can make an event unreadable; no error repeats a
//! value of the event.
//! Deliberately absent: what any of it means for Refersion ([`crate::mapping`]).

mod auth;
mod event;
mod json;
mod parts;
mod text;
mod traits;

pub use auth::{Claims, Disbelief, Trust, choose, presented};
pub use event::{Event, Events, Kind, Malformed, check, parse, several, split, understand};
pub use json::{Object, Raw, Value};
pub use text::clean;
pub use traits::{Traits, normalised};
