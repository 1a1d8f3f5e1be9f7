//! The result of an event in one word, and the filter of events by it.
//!
//! In: the end of a row of the log. Out: a word of a closed list. Invariant: every row of the log has exactly one of these words.

use super::EventRecord;
use crate::delivery::OutcomeCode;
use crate::domain::{Timestamp, words};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

words! {
    /// The result of an event.
    #[derive(Serialize, Deserialize, ToSchema)]
    #[serde(rename_all = "snake_case")]
    LedgerStatus {
        /// It is pending, or being delivered.
        Pending = "pending",
        /// It was delivered.
        Delivered = "delivered",
        /// There was nothing to do.
        Ignored = "ignored",
        /// It was answered with an error and not stored.
        Refused = "refused",
        /// Its type is neither identify nor delete.
        Unsupported = "unsupported",
        /// It was received before.
        Duplicate = "duplicate",
        /// It became a dead letter, which may have been replayed or discarded since.
        DeadLetter = "dead_letter",
    }
}

impl LedgerStatus {
    /// The status of an event with this outcome; none: it is pending. `answered`: it was not appended.
    pub fn of(outcome: Option<OutcomeCode>, answered: bool) -> Self {
        let Some(code) = outcome else { return Self::Pending };
        match code {
            OutcomeCode::Duplicate => Self::Duplicate,
            OutcomeCode::Unsupported => Self::Unsupported,
            OutcomeCode::Malformed if answered => Self::Refused,
            code if code.is_refusal() => Self::Refused,
            code if code.is_dead_letter() => Self::DeadLetter,
            code if code.action().is_some() => Self::Delivered,
            _ => Self::Ignored,
        }
    }
}

/// A filter of events; all its conditions must hold.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct EventFilter {
    /// Of this account.
    pub account: Option<String>,
    /// With this status.
    pub status: Option<LedgerStatus>,
    /// With this outcome.
    pub outcome: Option<OutcomeCode>,
    /// Received at this moment or later.
    pub since: Option<Timestamp>,
}

impl EventFilter {
    /// Whether an event of the account matches.
    pub(super) fn fits(&self, event: &EventRecord) -> bool {
        self.status.is_none_or(|status| event.status == status)
            && self.outcome.is_none_or(|outcome| event.outcome.as_deref() == Some(outcome.as_str()))
            && self.is_since(event.received_at)
    }

    /// Whether events received at this moment match.
    pub(super) fn is_since(&self, received_at: Timestamp) -> bool {
        self.since.is_none_or(|since| received_at >= since)
    }
}

/// Some events of the ledger, the newest first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct EventPage {
    /// The events found.
    pub events: Vec<EventRecord>,
    /// The seq below which the next page begins; `null` if this is the last page.
    pub next: Option<i64>,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_outcome_has_a_status_and_a_status_has_a_word() {
        for (code, answered, status) in [
            (None, false, LedgerStatus::Pending),
            (Some(OutcomeCode::Created), false, LedgerStatus::Delivered),
            (Some(OutcomeCode::NotFound), true, LedgerStatus::Delivered),
            (Some(OutcomeCode::UnknownUser), false, LedgerStatus::Ignored),
            (Some(OutcomeCode::UnknownUser), true, LedgerStatus::Ignored),
            (Some(OutcomeCode::Unsupported), true, LedgerStatus::Unsupported),
            (Some(OutcomeCode::Malformed), true, LedgerStatus::Refused),
            (Some(OutcomeCode::Malformed), false, LedgerStatus::DeadLetter),
            (Some(OutcomeCode::MissingEmail), true, LedgerStatus::Refused),
            (Some(OutcomeCode::TooLarge), true, LedgerStatus::Refused),
            (Some(OutcomeCode::Erased), false, LedgerStatus::DeadLetter),
            (Some(OutcomeCode::Duplicate), true, LedgerStatus::Duplicate),
        ] {
            assert_eq!(LedgerStatus::of(code, answered), status, "{code:?}");
        }
        for status in LedgerStatus::ALL.iter().copied() {
            assert_eq!(serde_json::to_value(status).expect("JSON"), status.as_str());
        }
    }
}
