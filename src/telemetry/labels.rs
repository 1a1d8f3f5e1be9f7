//! The labels of the metrics, and the closed list of values of each.
//!
//! Invariant: the number of series is bounded by a setting, whatever is configured and whatever requests arrive. A configured account has its
//! own value of the label `account`, up to `[ops] metrics_accounts` of them; the further ones share [`OTHER`]. All accounts whose API keys
//! arrived with requests (merchants that are not configured) share [`ARRIVED`]: there may be thousands, and `/readyz` names the paused and
//! halted ones. Counts without an account (a request without usable credentials, events of an account that was removed from the
//! configuration) have [`NO_ACCOUNT`]. No configured account can have one of these names. Every other value is from a list in this file, or
//! from an enum with such a list.

use super::{EventStatus, EventType};
use crate::delivery::{ApiKeyVerification, OutcomeCode, TransientFailure};
use crate::domain::Field;
use crate::domain::words;
use crate::scheduling::{BreakerState, Cause};
use crate::segment::AuthError;
use prometheus_client::encoding::EncodeLabelSet;
use std::borrow::Cow;

/// The label of all accounts whose API keys arrived with requests.
pub(super) const ARRIVED: &str = "key-*";
/// The common label of the configured accounts without a separate label.
pub(super) const OTHER: &str = "(other)";
/// The label of counts without an account of this service.
pub(super) const NO_ACCOUNT: &str = "(none)";

/// The value of the label `account`.
pub(super) type AccountLabel = Cow<'static, str>;

/// The value of any other label: a word of a closed list.
type Word = &'static str;

macro_rules! labels {
    ($($name:ident { $($label:ident: $value:ty),+ })+) => { $(
        #[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
        pub(super) struct $name { $(pub(super) $label: $value,)+ }
    )+ };
}

labels! {
    AccountLabels { account: AccountLabel }
    EventLabels { account: AccountLabel, r#type: Word, status: Word }
    ReasonLabels { account: AccountLabel, reason: Word }
    FieldLabels { account: AccountLabel, field: Word }
    ResultLabels { account: AccountLabel, result: Word }
    ActionLabels { account: AccountLabel, action: Word }
    RequestLabels { account: AccountLabel, operation: Word, reply: Word }
    CauseLabels { account: AccountLabel, cause: Word }
    StateLabels { account: AccountLabel, state: Word }
    StatusLabels { status: Word }
    OperationLabels { operation: Word }
    ReloadLabels { result: Word }
}

/// The causes of an open circuit breaker.
pub(super) const CAUSES: [Cause; 2] = [Cause::RateLimited, Cause::Outage];

words! {
    /// The result of reading the configuration again.
    ReloadResult {
        /// The configuration differed and was applied.
        Applied = "applied",
        /// The configuration was as before.
        Unchanged = "unchanged",
        /// The configuration was refused.
        Refused = "refused",
    }
}

words! {
    /// The result of an event of the log.
    SettledAs {
        Delivered = "delivered",
        Ignored = "ignored",
        DeadLetter = "dead_letter",
    }
}

/// The states of a circuit breaker, or that the account is halted, in the order of [`index_of`].
pub(super) const BREAKER_STATES: [&str; 4] = ["closed", "open", "half_open", "halted"];

/// The index of a state in [`BREAKER_STATES`].
pub(super) fn index_of(state: BreakerState) -> usize {
    match state {
        BreakerState::Closed => 0,
        BreakerState::Open { .. } => 1,
        BreakerState::HalfOpen => 2,
        BreakerState::Halted { .. } => 3,
    }
}

/// The operation of a page of Refersion's list of affiliates, which is requested to learn them, or to probe a rejected API key.
pub(super) const LIST: &str = "list";
/// The reply to it that is the page, or another one that shows that the API key is accepted.
pub(super) const PAGE: &str = "page";
/// The reply to it that shows nothing, or no reply.
pub(super) const FAILED: &str = "failed";

/// Every result of a probe of an API key.
pub(super) const PROBES: [ApiKeyVerification; 3] = [
    ApiKeyVerification::Accepted,
    ApiKeyVerification::Rejected,
    ApiKeyVerification::Unknown(TransientFailure { what: String::new(), retry_after: None }),
];

/// The name of a probe's result, and that of the reply to its request.
pub(super) fn probe_names(probed: &ApiKeyVerification) -> (&'static str, &'static str) {
    match probed {
        ApiKeyVerification::Accepted => ("accepted", PAGE),
        ApiKeyVerification::Rejected => ("rejected", "unauthorized"),
        ApiKeyVerification::Unknown(_) => ("unknown", FAILED),
    }
}

/// Every operation of Refersion's API, with the possible replies to it.
pub(super) fn operations() -> [(&'static str, Vec<&'static str>); 6] {
    let replies =
        |own: &[&'static str]| [own, &["refused", "unauthorized", "rate_limited", "unavailable", "lost"]].concat();
    let changes = ["changed", "not_changed", "not_found"];
    [
        ("new", replies(&["created"])),
        ("search", replies(&["page", "not_found"])),
        ("get", replies(&["affiliate", "not_found"])),
        ("edit", replies(&changes)),
        ("status_change", replies(&changes)),
        (LIST, PROBES.iter().map(|probe| probe_names(probe).1).collect()),
    ]
}

/// The statuses with which an event of this type can be answered.
pub(super) fn statuses(kind: EventType) -> &'static [EventStatus] {
    use EventStatus::{
        Accepted, BacklogFull, Delivered, Duplicate, Error, Ignored, Rejected, TooLarge, Unauthorized, Unavailable,
        Unsupported,
    };
    match kind {
        EventType::Identify | EventType::Delete => &[
            Delivered,
            Ignored,
            Accepted,
            Duplicate,
            Rejected,
            Unauthorized,
            TooLarge,
            BacklogFull,
            Error,
            Unavailable,
        ],
        EventType::Unsupported => &[Unsupported, TooLarge, BacklogFull, Error, Unavailable],
        EventType::Malformed => &[Rejected, TooLarge, BacklogFull, Error, Unavailable],
    }
}

/// The name of a reason for which a request is not authentic.
pub(super) fn auth_reason(error: AuthError) -> &'static str {
    match error {
        AuthError::NoCredentials => "no_credentials",
        AuthError::WrongKey => "wrong_key",
        AuthError::KeyRejectedByRefersion => "key_rejected_by_refersion",
        AuthError::WrongSignature => "wrong_signature",
    }
}

/// Every reason for which a request is not authentic.
pub(super) const AUTH_ERRORS: [AuthError; 4] =
    [AuthError::NoCredentials, AuthError::WrongKey, AuthError::KeyRejectedByRefersion, AuthError::WrongSignature];

/// The reasons for which there is nothing to do for an event.
pub(super) fn ignored_reasons() -> impl Iterator<Item = OutcomeCode> {
    OutcomeCode::ALL.iter().copied().filter(|code| code.is_ignored())
}

/// The subjects of notes that are no fields of Refersion; `custom_field` is the label of every trait that an operator's rule names.
const OTHER_FIELDS: [&str; 3] = ["address", "user_id", "custom_field"];

/// Every value of the label `field`.
pub(super) fn fields() -> impl Iterator<Item = &'static str> {
    Field::ALL.iter().map(|field| field.as_str()).chain(OTHER_FIELDS)
}

/// The value of the label `field` for the subject of a note or a remark: a field, a place of a trait, or a trait that an operator's rule
/// names.
pub(super) fn field(about: &str) -> &'static str {
    let last = about.rsplit('.').next().unwrap_or(about);
    let name = if last == "userId" { "user_id" } else { last };
    fields().find(|field| *field == name).unwrap_or("custom_field")
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::delivery::{Action, Call, Identifier};
    use crate::domain::{AffiliateId, AffiliateStatus, Email, Profile};
    use std::collections::BTreeSet;

    #[test]
    fn the_subject_of_a_note_is_one_of_a_closed_list() {
        for (about, expected) in [
            ("city", "city"),
            ("address", "address"),
            ("context.traits.email", "email"),
            ("userId", "user_id"),
            ("total_revenue_180_days", "custom_field"),
            ("#1234", "custom_field"),
        ] {
            assert_eq!(field(about), expected, "{about}");
        }
        assert_eq!(fields().collect::<BTreeSet<_>>().len(), fields().count());
    }

    #[test]
    fn the_operations_of_calls_are_listed() {
        let id = AffiliateId(1);
        let (changes, status) = (Profile::default(), AffiliateStatus::Active);
        for call in [
            Call::Get(Identifier::Id(id)),
            Call::Edit { id, changes },
            Call::SetStatus { id, status },
            Call::Search { email: Email::parse("a@x.io").expect("valid"), page: 1 },
        ] {
            assert!(operations().iter().any(|(operation, _)| *operation == call.operation()), "{call:?}");
        }
    }

    #[test]
    fn every_outcome_is_an_action_a_reason_to_ignore_to_refuse_or_of_a_dead_letter_or_a_repeat() {
        let actions: Vec<_> = Action::ALL.iter().map(|action| OutcomeCode::from(*action)).collect();
        for code in OutcomeCode::ALL.iter().filter(|code| **code != OutcomeCode::Unrecorded) {
            let repeat = *code == OutcomeCode::Duplicate;
            let lists = [actions.contains(code), code.is_ignored(), code.is_dead_letter(), code.is_refusal(), repeat];
            assert_eq!(lists.iter().filter(|listed| **listed).count(), 1, "{code:?}");
        }
    }
}
