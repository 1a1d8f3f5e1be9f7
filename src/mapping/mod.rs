//! The mapping: a Segment event and the operator's rules in, what is wanted of Refersion out. Pure and total.
//!
//! Whatever bytes an event held, [`map`] answers: an [`Intent`] that can be carried out, or a [`MappingError`] that tells the
//! customer what to do. What was odd on the way is told in notes. Invariants: no I/O, no clock, no chance; notes and
//! refusals carry no personal data; a trait no rule mentions changes nothing.
//! Deliberately absent: whether the user is known, which only the store knows ([`Creation::Skipped`] says what to do then).

mod address;
mod contact;
mod country;
mod delete;
mod engage;
mod identify;
mod name;
mod name_table;
mod normalize;
mod rules;
mod subdivision;

pub use rules::{Audience, CreateIf, CustomField, Effect, Rules};

use crate::domain::{AffiliateStatus, FactTime, Field, NewAffiliate, Profile, Timestamp, User};
use crate::segment::{Event, Kind};
use std::fmt;

/// What `event`, which was received at `received_at`, wants under `rules`.
pub fn map(event: &Event<'_>, rules: &Rules, received_at: Timestamp) -> Mapped {
    let mut notes = Vec::new();
    let time = FactTime::new(None, received_at);
    let intent = match &event.kind {
        Kind::Identify => identify::identify(event, rules, time, &mut notes),
        Kind::Delete => delete::delete(event, time, &mut notes),
        Kind::Unsupported(kind) => Ok(Intent::Nothing(Reason::Unsupported { kind: kind.clone() })),
    };
    Mapped { intent, notes }
}

/// What mapping made of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// What is wanted, or why the event is refused.
    pub intent: Result<Intent, MappingError>,
    /// What was odd; in the order it was noticed.
    pub notes: Vec<Note>,
}

/// What an event wants of Refersion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// The user exists and this is said of them.
    Identify(Identify),
    /// The user is to be deleted.
    Delete {
        /// Who.
        user: User,
        /// When the user asked for it.
        time: FactTime,
    },
    /// Nothing, whatever Refersion knows.
    Nothing(Reason),
}

/// An identify, cleaned.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identify {
    /// Who.
    pub user: User,
    /// What is said of them: what an `edit` of a known affiliate may send.
    pub profile: Profile,
    /// Fields that no longer hold, because the event says something that rules them out.
    pub cleared: Vec<Field>,
    /// The status that an audience demands.
    pub status: Option<AffiliateStatus>,
    /// What to do when the affiliate is unknown.
    pub creation: Creation,
    /// When it was true.
    pub time: FactTime,
    /// Whether Engage made the event: its e-mail says whom it is about, and is not the affiliate's new one.
    pub engage: bool,
    /// Whether it may create an affiliate and nothing else: its project is not trusted.
    pub may_only_create: bool,
}

/// What to do with an identify of somebody who is no affiliate yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// Create this affiliate.
    Allowed(NewAffiliate),
    /// Do nothing, for this reason: no error.
    Skipped(Reason),
    /// The event is faulty unless the user is known.
    Invalid(MappingError),
}

/// Why nothing is to be done. The text is what the customer reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An event that is neither an identify nor a delete.
    Unsupported {
        /// Its type: one short plain word.
        kind: String,
    },
    /// An Engage event that no rule mentions.
    NoRule,
    /// An Engage event about somebody who is no affiliate.
    UnknownUser,
    /// `[mapping.create_if]` does not hold.
    CreateIf {
        /// The trait it asks for.
        key: String,
    },
    /// An audience wants a status that an affiliate cannot be created with.
    Audience {
        /// The trait of the audience.
        key: String,
        /// The status it demands.
        status: AffiliateStatus,
    },
}

/// Why an event is refused. The text is what the customer reads.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// No e-mail in any of the places one is looked for.
    #[error("Missing email address: add an `email` trait to the identify call")]
    MissingEmail,
    /// An `email` that is none.
    #[error("Invalid email address: the `{0}` of this event is not an e-mail address")]
    InvalidEmail(&'static str),
    /// No name in any of the places one is looked for.
    #[error("Missing name: add a `name` trait, or `firstName` and `lastName`, to the identify call")]
    MissingName,
    /// A delete of nobody.
    #[error("Missing userId: a delete must say whom, by `userId` or `email`")]
    MissingUser,
}

/// Something odd about an event that was mapped all the same.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The trait or field it is about.
    pub about: String,
    /// What was odd and what was done; no values.
    pub text: String,
}

fn note(about: &str, text: &str) -> Note {
    Note { about: about.to_owned(), text: text.to_owned() }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Unsupported { kind } => write!(f, "events of type `{kind}` say nothing of affiliates"),
            Self::NoRule => f.write_str("no rule mentions a trait of this event"),
            Self::UnknownUser => f.write_str("the user is no affiliate yet, and this event cannot create one"),
            Self::CreateIf { key } => write!(f, "the user is no affiliate yet, and `{key}` does not ask to create one"),
            Self::Audience { key, status } => {
                write!(f, "the user is no affiliate yet, and audience `{key}` says {status}")
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.text)
    }
}
