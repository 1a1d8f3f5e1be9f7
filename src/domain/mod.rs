//! The types that all layers share. Each is valid by construction: an [`Email`] is a checked address.
//!
//! In: texts and numbers. Out: types, or an error that says what is allowed. Invariant: no I/O, no clock, no random numbers;
//! where randomness is needed, it is an argument. Deliberately absent: Segment's formats ([`crate::segment`]) and Refersion's
//! requests ([`crate::refersion`]).

mod account;
mod affiliate;
mod email;
mod fact_time;
mod facts;
mod field;
mod hash;
mod loopback;
mod password;
mod seal;
mod sent_attributes;
mod seq;
mod source_id;
mod time;
mod user;
mod words;

pub use account::{AccountName, ApiKey, ApiKeyError};
pub use affiliate::{AffiliateCode, AffiliateId, AffiliateStatus, Attribute, NewAffiliate, Profile};
pub use email::{Email, EmailError};
pub use fact_time::FactTime;
pub use facts::{Fact, Facts};
pub use field::{Field, FieldFormat, FieldSpec, Personal};
pub use hash::{EventId, Fingerprint, HashKey, UserKey};
pub use loopback::is_loopback;
pub use password::password;
pub use seal::{OpenedApiKey, SealKey, SealNonce, SealedApiKey, open_seal, open_sealed_bytes};
pub use sent_attributes::SentAttributes;
pub use seq::{AffiliateKey, LaneKey, Seq};
pub use source_id::SourceId;
pub use time::Timestamp;
pub use user::{User, UserId};
pub(crate) use words::words;
