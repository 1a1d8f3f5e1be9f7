//! The types of dead letters and of erasure: filters, pages (pagination by cursor), and the results of replay (requeue, redeliver) and
//! forget.
//!
//! They are also the JSON of the operators' listener and of `--json`. Except for a body, none of them holds personal data.

use super::NewEvent;
use crate::domain::{Seq, Timestamp};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

/// One failed attempt.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct FailedAttempt {
    /// When it failed.
    #[schema(value_type = i64)]
    pub at: Timestamp,
    /// The failure in words, of Refersion or of this service, without personal data.
    pub what: String,
}

/// A filter of dead letters; all its conditions must hold. Without conditions, every dead letter matches.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLetterFilter {
    /// Of this account.
    pub account: Option<String>,
    /// With this reason's short word.
    pub reason: Option<String>,
    /// That became dead letters at this moment or later.
    pub since: Option<Timestamp>,
}

impl DeadLetterFilter {
    /// Whether a dead letter of this account, with this code and moment, matches.
    pub(super) fn fits(&self, account: &str, code: &str, died_at: Timestamp) -> bool {
        self.account.as_ref().is_none_or(|wanted| wanted == account)
            && self.reason.as_ref().is_none_or(|wanted| wanted == code)
            && self.since.is_none_or(|since| died_at >= since)
    }
}

/// The order of a list of dead letters, and the id from which it begins.
#[derive(Clone, Copy, Debug)]
pub enum PageStart {
    /// The oldest first, with an id above this one.
    After(i64),
    /// The newest first, with an id below this one.
    Before(i64),
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct DeadLetter {
    /// Its id: the seq of its event, assigned once.
    pub id: i64,
    /// The account it was to be delivered to.
    pub account: String,
    /// The event, as the log names it.
    pub event: String,
    /// The reason's short word.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// The number of failures before.
    pub failures: u32,
    /// When the event was received.
    #[schema(value_type = i64)]
    pub received_at: Timestamp,
    /// When it became a dead letter.
    #[schema(value_type = i64)]
    pub died_at: Timestamp,
    /// Whether its body was erased.
    pub erased: bool,
    /// The last attempts, the latest last. Empty on a page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<FailedAttempt>,
    /// The event. Personal data; never on a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Some of the dead letters, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
#[schema(as = DeadLetterPage)]
pub struct DeadLetterPage {
    /// The dead letters found.
    pub letters: Vec<DeadLetter>,
    /// The id after which the next page begins; `null` if this is the last page.
    pub next: Option<i64>,
    /// The highest id of any event so far. A replay page by page stops here, because later dead letters are replays that failed again.
    pub last: i64,
}

/// The result of replaying one dead letter.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct ReplayResult {
    /// The dead letter's id.
    pub id: i64,
    /// Whether it was replayed, or why not.
    pub outcome: Replay,
    /// The seq at which it is pending now, if it was replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seq: Option<i64>,
}

impl ReplayResult {
    /// The result for the dead letter `id`: the seq at which it is pending again, or why it is not.
    pub fn new(id: i64, replayed: Result<Seq, Replay>) -> Self {
        match replayed {
            Ok(seq) => Self { id, outcome: Replay::Replayed, seq: Some(seq.0) },
            Err(outcome) => Self { id, outcome, seq: None },
        }
    }
}

/// A dead letter to append to another account.
#[derive(Clone, Debug)]
pub struct MovedDeadLetter {
    /// Its id.
    pub id: i64,
    /// The event, as the other account receives it. It was received when the dead letter was: if another dead letter has got the id on a
    /// promoted standby, that one is not moved.
    pub event: NewEvent,
}

/// The result of a replay. The event stays a dead letter unless it is pending again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, ToSchema, thiserror::Error)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// It is pending again, after all pending events of its user.
    #[error("replayed: it is pending again, after the pending events of its user")]
    Replayed,
    /// Its body was erased.
    #[error("cannot be replayed: its body was erased")]
    Erased,
    /// The store cannot read its body. PostgreSQL does not unpack it here: there the delivery finds the damage.
    #[error("cannot be replayed: the store cannot read its body")]
    Damaged,
    /// The same event was sent again, and is pending.
    #[error("not replayed: the same event was sent again, and is pending")]
    SentAgain,
    /// It was kept by an early release, without the keys of its user.
    #[error("cannot be replayed: an earlier release kept it without the keys of its user; send the event again")]
    KeysMissing,
    /// There is no such dead letter.
    #[error("no such dead letter")]
    Missing,
    /// For another account: it has the event already.
    #[error("not replayed: the other account has this event already")]
    Duplicate,
    /// For another account: by its rules, the event names no user.
    #[error("cannot be replayed: by the rules of the other account it names no user")]
    NoUser,
    /// For another account: the dead letter's own account still exists.
    #[error("not replayed: its own account still exists, so replay it there")]
    AccountExists,
}

/// The counts of an erasure of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, ToSchema)]
pub struct Forgotten {
    /// Pending events. Each became a dead letter without a body, with the reason `erased`.
    pub events: u64,
    /// Events in flight. They were not erased, and may leave new traces.
    pub in_flight: u64,
    /// Dead letters whose bodies were erased.
    pub dead_letters: u64,
    /// User keys that led to an affiliate.
    pub links: u64,
    /// Affiliates.
    pub affiliates: u64,
    /// Users who are no affiliates yet and whose traits were remembered.
    #[serde(default)]
    pub remembered: u64,
}
