//! The closed list of codes for the end of an event. The code stays in the event log when the body is erased.
//!
//! In: outcomes and permanent failures. Out: numbers that never change their meaning, since they are stored. Invariant: no text and no
//! personal data. Deliberately absent: the reasons in words (`delivery/outcome.rs`).

use super::{Action, Ignored, PermanentFailure, Success};
use crate::domain::words;
use crate::mapping::{MappingError, Reason};

words! {
    /// The end of an event, with its number in the store.
    #[derive(PartialOrd, Ord)]
    #[repr(u8)]
    OutcomeCode {
        /// The affiliate was created.
        Created(1) = "created",
        /// The affiliate was edited.
        Updated(2) = "updated",
        /// Refersion had all values already.
        Unchanged(3) = "unchanged",
        /// The affiliate was set to `DISABLED`.
        Disabled(4) = "disabled",
        /// The personal fields were overwritten, and the affiliate set to `DISABLED`.
        Anonymized(5) = "anonymized",
        /// There was no affiliate to delete.
        NotFound(6) = "not_found",
        /// An event type that this destination does not support.
        Unsupported(20) = "unsupported",
        /// An Engage event without a trait that a rule names.
        NoRule(21) = "no_rule",
        /// An event for known users only, about an unknown user.
        UnknownUser(22) = "unknown_user",
        /// `[mapping.create_if]` does not hold.
        CreateIf(23) = "create_if",
        /// An audience rule sets a status with which no affiliate can be created.
        Audience(24) = "audience",
        /// The affiliate existed before, and existing ones are left alone.
        ExistedBefore(25) = "existed_before",
        /// The affiliate is `DENIED` or `DISABLED`, and is left alone.
        LeftAlone(26) = "left_alone",
        /// A delete of the same user was delivered in its place.
        Cancelled(27) = "cancelled",
        /// Settled by a release that did not record the outcome (store version 5 or older).
        Unrecorded(28) = "unrecorded",
        /// The affiliate belongs to another `userId`.
        OtherOwner(29) = "other_owner",
        /// The event's project is not trusted, and the event creates no affiliate.
        UntrustedProject(30) = "untrusted_project",
        /// Newer values were sent before.
        Stale(31) = "stale",
        /// The user was deleted after the event.
        DeletedSince(32) = "deleted_since",
        /// The user is no affiliate yet. The traits of the event are remembered.
        Remembered(33) = "remembered",
        /// Dead letter: the event cannot be mapped, or its user never became known.
        Unmappable(40) = "unmappable",
        /// The bytes are no event: refused at receipt, or a dead letter of an event that was appended.
        Malformed(41) = "malformed",
        /// Dead letter: Refersion rejected the call for good. The name is the one of the first release.
        Rejected(42) = "refused",
        /// Dead letter: the new e-mail belongs to another affiliate.
        EmailTaken(43) = "email_taken",
        /// Dead letter: Refersion answered success and changed nothing.
        NotApplied(44) = "not_applied",
        /// Dead letter: the search for the address did not end.
        EndlessSearch(45) = "endless_search",
        /// Dead letter: the event failed for too long.
        Expired(46) = "expired",
        /// Dead letter: a stored part of the event cannot be read.
        Corrupt(47) = "corrupt",
        /// Dead letter: the delivery panicked again and again, which is a bug of this service.
        InternalError(48) = "internal_error",
        /// Dead letter: its account is not configured any more, and an operator set it aside.
        AccountGone(49) = "account_gone",
        /// Dead letter without a body: its user was erased while it was pending.
        Erased(60) = "erased",
        /// Answered at receipt: it was appended before.
        Duplicate(70) = "duplicate",
        /// Refused at receipt: a new affiliate needs an e-mail address.
        MissingEmail(71) = "missing_email",
        /// Refused at receipt: the value in the place of the e-mail address is no address.
        InvalidEmail(72) = "invalid_email",
        /// Refused at receipt: a new affiliate needs a name.
        MissingName(73) = "missing_name",
        /// Refused at receipt: a delete names no user.
        MissingUser(74) = "missing_user",
        /// Refused at receipt: the event has too many bytes.
        TooLarge(75) = "too_large",
    }
}

impl OutcomeCode {
    /// The code with this number; none if no code has it.
    pub fn from_number(number: i64) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.number() == number)
    }

    /// The code with this name; none if no code has it.
    pub fn parse(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }

    /// Whether the event was settled because there was nothing to do.
    pub fn is_ignored(self) -> bool {
        self >= Self::Unsupported && self <= Self::Remembered && self != Self::Unrecorded
    }

    /// Whether an event that was appended became a dead letter.
    pub fn is_dead_letter(self) -> bool {
        self >= Self::Unmappable && self <= Self::Erased
    }

    /// Whether the event was refused at receipt. [`OutcomeCode::Malformed`] is, too, if the event was not appended.
    pub fn is_refusal(self) -> bool {
        self >= Self::MissingEmail && self <= Self::TooLarge
    }

    /// The action of the delivery, if the event was delivered.
    pub fn action(self) -> Option<Action> {
        let mut actions = Action::ALL.into_iter();
        actions.find(|action| Self::from(*action) == self)
    }

    /// The codes of permanent failures: the reasons of dead letters.
    pub fn failures() -> impl Iterator<Item = Self> {
        Self::ALL.iter().copied().filter(|code| code.is_dead_letter())
    }

    /// The number of the code in the store.
    pub fn number(self) -> i64 {
        i64::from(self as u8)
    }
}

impl From<Action> for OutcomeCode {
    fn from(action: Action) -> Self {
        match action {
            Action::Created => Self::Created,
            Action::Updated => Self::Updated,
            Action::Unchanged => Self::Unchanged,
            Action::Disabled => Self::Disabled,
            Action::Anonymized => Self::Anonymized,
            Action::NotFound => Self::NotFound,
        }
    }
}

impl From<&Reason> for OutcomeCode {
    fn from(reason: &Reason) -> Self {
        match reason {
            Reason::Unsupported { .. } => Self::Unsupported,
            Reason::NoRule => Self::NoRule,
            Reason::UnknownUser => Self::UnknownUser,
            Reason::UntrustedProject => Self::UntrustedProject,
            Reason::CreateIf { .. } => Self::CreateIf,
            Reason::Audience { .. } => Self::Audience,
        }
    }
}

impl From<&MappingError> for OutcomeCode {
    fn from(error: &MappingError) -> Self {
        match error {
            MappingError::MissingEmail => Self::MissingEmail,
            MappingError::InvalidEmail(_) => Self::InvalidEmail,
            MappingError::MissingName => Self::MissingName,
            MappingError::MissingUser => Self::MissingUser,
        }
    }
}

impl From<&Success> for OutcomeCode {
    fn from(outcome: &Success) -> Self {
        match outcome {
            Success::Delivered { action, .. } => Self::from(*action),
            Success::Ignored(Ignored::Mapping(reason)) => Self::from(reason),
            Success::Ignored(Ignored::ExistedBefore(_)) => Self::ExistedBefore,
            Success::Ignored(Ignored::LeftAlone { .. }) => Self::LeftAlone,
            Success::Ignored(Ignored::Cancelled) => Self::Cancelled,
            Success::Ignored(Ignored::OtherOwner(_)) => Self::OtherOwner,
            Success::Ignored(Ignored::Stale(_)) => Self::Stale,
            Success::Ignored(Ignored::DeletedSince) => Self::DeletedSince,
            Success::Ignored(Ignored::Remembered { .. }) => Self::Remembered,
        }
    }
}

impl From<&PermanentFailure> for OutcomeCode {
    fn from(failure: &PermanentFailure) -> Self {
        match failure {
            PermanentFailure::Unmappable(_) => Self::Unmappable,
            PermanentFailure::Malformed(_) => Self::Malformed,
            PermanentFailure::Rejected { .. } => Self::Rejected,
            PermanentFailure::EmailTaken => Self::EmailTaken,
            PermanentFailure::NotApplied(_) => Self::NotApplied,
            PermanentFailure::EndlessSearch => Self::EndlessSearch,
            PermanentFailure::Expired(_) => Self::Expired,
            PermanentFailure::Corrupt(_) => Self::Corrupt,
            PermanentFailure::InternalError => Self::InternalError,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_code_has_a_number_and_a_name_of_its_own() {
        let numbers: BTreeSet<_> = OutcomeCode::ALL.iter().map(|code| code.number()).collect();
        let names: BTreeSet<_> = OutcomeCode::ALL.iter().map(|code| code.as_str()).collect();
        assert_eq!((numbers.len(), names.len()), (OutcomeCode::ALL.len(), OutcomeCode::ALL.len()));
        assert!(OutcomeCode::ALL.iter().all(|code| OutcomeCode::from_number(code.number()) == Some(*code)));
        assert_eq!(OutcomeCode::from_number(0), None);
    }
}
