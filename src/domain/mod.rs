//! The vocabulary of all other layers: types that are valid by construction.
//!
//! Values here are valid by construction: whoever holds an [`Email`] holds a checked one. In go texts, out come types or an
//! error that says what is allowed. Nothing here does I/O, reads a clock or draws a random number; chance is an argument.
//! Deliberately absent: anything Segment says ([`crate::segment`]) and anything about how calls travel ([`crate::refersion`]).

mod account;
mod affiliate;
mod email;
mod fact_time;
mod field;
mod hash;
mod password;
mod seal;
mod sent_attributes;
mod seq;
mod time;
mod user;

pub use account::{AccountName, ApiKey, ApiKeyError};
pub use affiliate::{AffiliateCode, AffiliateId, AffiliateStatus, Attribute, NewAffiliate, Profile, UnknownStatus};
pub use email::{Email, EmailError};
pub use fact_time::FactTime;
pub use field::{Field, FieldSpec, Format, Personal};
pub use hash::{EventId, Fingerprint, HashKey, UserKey};
pub use password::password;
pub use seal::{Opened, SealKey, SealNonce, SealedKey, open_seal};
pub use sent_attributes::SentAttributes;
pub use seq::{AffiliateKey, LaneKey, Seq};
pub use time::Timestamp;
pub use user::{User, UserId};
