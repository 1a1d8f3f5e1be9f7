//! The results of a step of a delivery: the next call, an outcome, a transient failure (retryable), a permanent failure (not retryable), or
//! a halt of the account.
//!
//! Invariant: every text may be shown to the customer and written to logs; it holds no secret and no personal data. Deliberately absent:
//! the wait before a retry, and the stored form of an outcome ([`super::OutcomeCode`]).

use super::{Call, OutcomeCode, TransientFailure};
use crate::domain::{AffiliateCode, AffiliateStatus, Timestamp};
use crate::mapping;
use std::fmt;

/// The next step.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Make this call, and continue with its reply.
    Next(Call),
    /// Look up the record of this affiliate, and continue with [`on_recalled`](super::on_recalled).
    Recall(AffiliateCode),
    /// The event is delivered, or there is nothing to do.
    Done(Success),
    /// The attempt failed; a later one may succeed.
    Retry(TransientFailure),
    /// The event can never be delivered: it becomes a dead letter.
    Dead(PermanentFailure),
    /// The API key is wrong, which is not the event's fault. The account halts, and the event stays pending.
    Halt,
    /// There are too many calls, or no call can be made now, which is not the event's fault. The event stays pending.
    HandBack,
}

impl Step {
    /// There is nothing to do, for this reason.
    pub(super) fn ignored(reason: Ignored) -> Self {
        Self::Done(Success::Ignored(reason))
    }

    /// Refersion rejected a call for good.
    pub(super) fn rejected(call: &Call, words: String) -> Self {
        Self::Dead(PermanentFailure::Rejected { operation: call.operation(), words })
    }

    /// An answer that does not belong to its call, such as search results for an edit.
    pub(super) fn unexpected(call: &Call) -> Self {
        Self::Retry(TransientFailure::new(format!("Refersion's answer to {} was not understood", call.operation())))
    }
}

/// How an event ended without a failure.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Success {
    /// Refersion has the values that the event states.
    Delivered {
        /// The action.
        action: Action,
        /// The affiliate, if there is one.
        code: Option<AffiliateCode>,
        /// Remarks on values that were not changed.
        remarks: Vec<Remark>,
    },
    /// There was nothing to do.
    Ignored(Ignored),
}

/// A remark on a value that a delivery did not change, although the event states it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Remark {
    /// The new e-mail belongs to another affiliate, so the affiliate keeps its e-mail.
    EmailTaken,
    /// Refersion rejects the values of these attributes.
    LeftOut(Vec<String>),
    /// The affiliate is `DENIED` or `DISABLED`: this decision of the merchant stands.
    StatusKept(AffiliateStatus),
    /// The e-mail of a delete leads to another affiliate than its `userId`.
    OtherAffiliate(AffiliateCode),
}

/// What a delivery did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// The affiliate was created.
    Created,
    /// The affiliate was edited.
    Updated,
    /// Refersion had all values already: no call was made, or none changed anything.
    Unchanged,
    /// The affiliate was set to `DISABLED`.
    Disabled,
    /// The personal fields were overwritten and the affiliate set to `DISABLED`.
    Anonymized,
    /// There was no affiliate to delete.
    NotFound,
}

impl Action {
    /// Every action.
    pub const ALL: [Self; 6] =
        [Self::Created, Self::Updated, Self::Unchanged, Self::Disabled, Self::Anonymized, Self::NotFound];

    /// The word in answers and logs.
    pub fn as_str(self) -> &'static str {
        OutcomeCode::from(self).as_str()
    }
}

/// The reason why nothing was done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Ignored {
    /// The event and the rules ask for nothing.
    Mapping(mapping::Reason),
    /// The affiliate existed before, and `DELIVERY_ON_EXISTING` is `ignore`.
    ExistedBefore(AffiliateCode),
    /// The affiliate is `DISABLED` or `DENIED`: this decision of the merchant, or an earlier delete, stands.
    LeftAlone {
        /// The affiliate.
        code: AffiliateCode,
        /// Its status.
        status: AffiliateStatus,
    },
    /// A delete of the same user was delivered in its place.
    Cancelled,
    /// The e-mail belongs to an affiliate whose owner is another `userId`.
    OtherOwner(AffiliateCode),
    /// The affiliate has newer values already.
    Stale(AffiliateCode),
    /// The user was deleted after the event.
    DeletedSince,
    /// The user is no affiliate yet. The traits of the event are remembered until they become one.
    Remembered {
        /// What a new affiliate still lacks, in words.
        lacks: Vec<String>,
        /// Until when the traits are remembered, unless further events arrive.
        until: Timestamp,
    },
}

/// A failure after which an event can never be delivered.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PermanentFailure {
    /// The event cannot be mapped, or no longer, or its user never became known.
    #[error(transparent)]
    Unmappable(mapping::MappingError),
    /// The bytes are no event, or no longer one by the present rules.
    #[error("{0}")]
    Malformed(String),
    /// Refersion rejected the call for good.
    #[error("Refersion rejected {operation}: {words}")]
    Rejected {
        /// The operation that was rejected.
        operation: &'static str,
        /// Refersion's message, without the values that this service sent.
        words: String,
    },
    /// The new e-mail of a known user belongs to another affiliate, and the call cannot be sent without it.
    #[error("Refersion rejected edit: the new e-mail belongs to another affiliate")]
    EmailTaken,
    /// Refersion answered success, but these fields did not change, and it gave no reason.
    #[error("Refersion answered edit with success but did not change {}", .0.join(", "))]
    NotApplied(Vec<String>),
    /// The search for the address does not end.
    #[error("Refersion's search for the e-mail did not end")]
    EndlessSearch,
    /// The event failed for longer than `DELIVERY_MAX_AGE`; with the last failure.
    #[error("gave up after failing for too long; at last: {0}")]
    Expired(String),
    /// A stored part of the event cannot be read; with the name of the part, without its content.
    #[error("the store cannot read what it holds of this event: {0}")]
    Corrupt(String),
    /// The delivery panicked again and again for longer than `DELIVERY_MAX_AGE`.
    #[error("gave up after failing for too long; at last: internal error")]
    InternalError,
}

impl fmt::Display for Ignored {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Mapping(reason) => reason.fmt(f),
            Self::ExistedBefore(code) => {
                write!(f, "affiliate {code} existed before, and existing affiliates are left alone")
            }
            Self::LeftAlone { code, status } => write!(f, "affiliate {code} is {status} and is left alone"),
            Self::Cancelled => f.write_str("the user was deleted before it was carried out"),
            Self::OtherOwner(code) => write!(
                f,
                "the e-mail belongs to affiliate {code}, whose owner is another userId: nothing was changed. Send the userId \
                 that the affiliate was created with"
            ),
            Self::Stale(code) => write!(f, "affiliate {code} has newer values than this event, by its timestamp"),
            Self::DeletedSince => f.write_str("the user was deleted after this event, by its timestamp"),
            Self::Remembered { lacks, until } => {
                write!(f, "the user is no affiliate yet, and what this event says is remembered until {until}")?;
                if lacks.is_empty() { Ok(()) } else { write!(f, "; still missing: {}", lacks.join(" and ")) }
            }
        }
    }
}

impl fmt::Display for Success {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (action, code, remarks) = match self {
            Self::Ignored(ignored) => return ignored.fmt(f),
            Self::Delivered { action, code, remarks } => (action, code, remarks),
        };
        match (action, code) {
            (Action::NotFound, _) => f.write_str("no affiliate to delete"),
            (action, None) => write!(f, "affiliate {}", action.as_str()),
            (action, Some(code)) => write!(f, "affiliate {code} {}", action.as_str()),
        }?;
        remarks.iter().try_for_each(|remark| write!(f, "; {remark}"))
    }
}

impl fmt::Display for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EmailTaken => {
                f.write_str("its e-mail was not changed, because the new one belongs to another affiliate")
            }
            Self::LeftOut(names) => {
                write!(f, "Refersion rejects the value of {}, which was left out", names.join(", "))
            }
            Self::StatusKept(status) => write!(f, "its status {status} was decided at Refersion and stays"),
            Self::OtherAffiliate(code) => write!(f, "the e-mail leads to affiliate {code}, which was left alone"),
        }
    }
}

impl Success {
    /// A delivery that left nothing out.
    pub fn delivered(action: Action, code: Option<AffiliateCode>) -> Self {
        Self::Delivered { action, code, remarks: Vec::new() }
    }

    /// Whether an anonymizing delete overwrote nothing, because Refersion rejects every placeholder: the personal data is still there.
    pub fn is_without_overwrite(&self) -> bool {
        let left_out = |remarks: &[Remark]| remarks.iter().any(|remark| matches!(remark, Remark::LeftOut(_)));
        matches!(self, Self::Delivered { action: Action::Disabled, remarks, .. } if left_out(remarks))
    }

    /// A short word for counts.
    pub fn word(&self) -> &'static str {
        match self {
            Self::Delivered { action, .. } => action.as_str(),
            Self::Ignored(_) => "ignored",
        }
    }
}

impl PermanentFailure {
    /// A short word for filters and counts.
    pub fn code(&self) -> &'static str {
        OutcomeCode::from(self).as_str()
    }
}
