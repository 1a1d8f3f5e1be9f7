//! The mapping from Segment's events to Refersion's affiliates.
//!
//! In: an event and the operator's rules. Out: an [`Intent`], or a [`MappingError`] that says what to correct; and [`Note`]s on values that
//! were left out. One module for each subject: `name`, `address` (with `address_parts`, `country` and `subdivision`), `email`, `contact`,
//! `engage` (computed traits and audiences). `identify` and `delete` combine them; `remembered` adds earlier events of a user who is no
//! affiliate yet. Invariants: pure and total, for any event; notes, reasons and errors hold no personal data; a trait that no rule names
//! has no effect. Deliberately absent: whether the user is an affiliate, which only the store knows; [`Identify`] covers both cases.

mod address;
mod address_parts;
mod contact;
mod country;
mod delete;
mod email;
mod engage;
mod identify;
mod name;
mod name_table;
mod normalize;
mod remembered;
mod rules;
mod subdivision;
mod text;

pub use email::parse_email;
pub use remembered::{Pieces, Precedence, RememberedTraits};
pub use rules::{Audience, CreateIf, CustomField, Effect, Rules};

use crate::domain::{AffiliateStatus, FactTime, Facts, NewAffiliate, Timestamp, User, UserId};
use crate::segment::{Event, EventKind};
use std::fmt;

/// Maps `event`, which was received at `received_at`.
pub fn map(event: &Event<'_>, rules: &Rules, received_at: Timestamp) -> Mapped {
    let mut notes = Vec::new();
    let time = FactTime::new(event.timestamp, received_at);
    let user_id = user_id(event, rules);
    if event.user_id.is_some() && user_id.is_none() {
        notes.push(note("userId", "a placeholder that names nobody, so it was left out"));
    }
    let intent = match &event.kind {
        EventKind::Identify => identify::identify(event, user_id, rules, time, &mut notes),
        EventKind::Delete if !rules.trusts(event.project) => Ok(Intent::Nothing(Reason::UntrustedProject)),
        EventKind::Delete => delete::delete(event, user_id, time, &mut notes),
        EventKind::Unsupported(kind) => Ok(Intent::Nothing(Reason::Unsupported { kind: kind.clone() })),
    };
    Mapped { intent, notes }
}

/// The user of an event that is not delivered (of another type, or without a value that is required), as far as it names one readably. An
/// intent has the user of its event; the two differ where an e-mail in the traits is invalid and another place has a valid one.
pub fn readable_user(event: &Event<'_>, rules: &Rules) -> User {
    let (user_id, mut notes) = (user_id(event, rules), Vec::new());
    let email = match &event.kind {
        EventKind::Delete => email::of_delete(event, user_id, &mut notes),
        EventKind::Identify | EventKind::Unsupported(_) => {
            let in_traits = email::of_traits(event.user_traits()).or(Ok(None));
            email::of_identify(event, user_id, in_traits, &mut notes)
        }
    };
    User { user_id: user_id.cloned(), email: email.ok().flatten() }
}

fn user_id<'e>(event: &'e Event<'_>, rules: &Rules) -> Option<&'e UserId> {
    event.user_id.as_ref().filter(|id| !rules.is_placeholder(id))
}

/// The result of mapping an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mapped {
    /// The intent, or why the event cannot be mapped.
    pub intent: Result<Intent, MappingError>,
    /// Notes on values that were left out, in the order in which they were found.
    pub notes: Vec<Note>,
}

/// The change that an event asks for at Refersion.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Intent {
    /// Create or change the user's affiliate.
    Identify(Identify),
    /// Delete the user.
    Delete {
        /// The user.
        user: User,
        /// When the deletion was requested.
        time: FactTime,
    },
    /// Do nothing, whether the user is an affiliate or not.
    Nothing(Reason),
}

impl Mapped {
    /// The user of `event`, which was mapped by `rules`.
    pub fn into_user(self, event: &Event<'_>, rules: &Rules) -> User {
        match self.intent {
            Ok(Intent::Identify(Identify { user, .. }) | Intent::Delete { user, .. }) => user,
            Ok(Intent::Nothing(_)) | Err(_) => readable_user(event, rules),
        }
    }
}

impl Intent {
    /// The same intent, delivered at `now`.
    #[must_use]
    pub fn carried_out_at(self, now: Timestamp) -> Self {
        match self {
            Self::Identify(identify) => Self::Identify(Identify {
                facts: identify.facts.carried_out_at(now),
                status: identify.status.map(|fact| StatusFact { time: fact.time.carried_out_at(now), ..fact }),
                time: identify.time.carried_out_at(now),
                ..identify
            }),
            Self::Delete { user, time } => Self::Delete { user, time: time.carried_out_at(now) },
            Self::Nothing(reason) => Self::Nothing(reason),
        }
    }
}

/// A mapped identify event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identify {
    /// The user.
    pub user: User,
    /// The facts that the event states, which an `edit` sends if the user is an affiliate. An empty value clears a field whose old value no
    /// longer holds.
    pub facts: Facts,
    /// The status that an audience rule sets.
    pub status: Option<StatusFact>,
    /// The action if the user is no affiliate yet.
    pub creation: Creation,
    /// The moments of the facts.
    pub time: FactTime,
    /// Whether Engage made the event: its e-mail names the user, and is no new e-mail of the affiliate.
    pub engage: bool,
    /// Whether the event may only create an affiliate, because its project is not trusted.
    pub may_only_create: bool,
    /// What is remembered beside the facts while the user is no affiliate. None: nothing of the event is to be remembered.
    pub pieces: Option<Box<Pieces>>,
}

/// A status that an audience rule sets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct StatusFact {
    /// The status.
    pub status: AffiliateStatus,
    /// When the user entered or left the audience.
    pub time: FactTime,
}

/// The action for an identify event if its user is no affiliate yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Creation {
    /// Create this affiliate.
    Allowed(NewAffiliate),
    /// Do nothing, for this reason, which is no error.
    Skipped(Reason),
    /// The event lacks a value that a new affiliate needs.
    Invalid(MappingError),
}

/// Why nothing is to be done. Its text is shown to the customer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reason {
    /// An event that is neither an identify nor a delete.
    Unsupported {
        /// The type: one short word.
        kind: String,
    },
    /// An Engage event with no trait that a rule names.
    NoRule,
    /// An Engage event about a user who is no affiliate.
    UnknownUser,
    /// The event's project is not among `[segment] trusted_projects`, and the event does not create an affiliate.
    UntrustedProject,
    /// `[mapping.create_if]` does not hold.
    CreateIf {
        /// The trait that the condition names.
        trait_name: String,
    },
    /// An audience rule sets a status that `new` does not take.
    Audience {
        /// The trait of the audience.
        trait_name: String,
        /// The status.
        status: AffiliateStatus,
    },
}

/// Why an event cannot be mapped. Its text is shown to the customer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum MappingError {
    /// The event has no e-mail address in any place.
    #[error("Missing email address: add an `email` trait to the identify call")]
    MissingEmail,
    /// The value at this place is no e-mail address.
    #[error("Invalid email address: the `{0}` of this event is not an e-mail address")]
    InvalidEmail(&'static str),
    /// The event has no name in any place.
    #[error("Missing name: add a `name` trait, or `firstName` and `lastName`, to the identify call")]
    MissingName,
    /// A delete without `userId` and e-mail address.
    #[error("Missing userId: a delete must name its user by `userId` or `email`")]
    MissingUser,
}

/// A value that was left out of an event, which is mapped nevertheless.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Note {
    /// The trait or field.
    pub about: String,
    /// The reason; without values.
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
            Self::UntrustedProject => f.write_str(
                "the project of this event is not among the trusted projects, and may create affiliates only",
            ),
            Self::CreateIf { trait_name } => {
                write!(f, "the user is no affiliate yet, and `{trait_name}` does not ask to create one")
            }
            Self::Audience { trait_name, status } => {
                write!(f, "the user is no affiliate yet, and audience `{trait_name}` says {status}")
            }
        }
    }
}

impl fmt::Display for Note {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.about, self.text)
    }
}
