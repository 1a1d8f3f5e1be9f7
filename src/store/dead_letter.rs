//! Dead letters and erasure, as operators meet them: what is shown, what can be asked, and what became of it.
//!
//! These types are also the JSON of the ops listener and of `--json`. But for a body, none of them holds personal data.

use crate::domain::Timestamp;
use serde::{Deserialize, Serialize};
use std::fmt;

/// What kept an event from being carried out, once.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// When it was known.
    pub at: Timestamp,
    /// What happened, in words without personal data: Refersion's, or ours.
    pub what: String,
}

/// Which dead letters; all conditions must hold, and none at all means every one.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Filter {
    /// Of this account.
    pub account: Option<String>,
    /// With this reason's short word.
    pub reason: Option<String>,
    /// That died at this moment or later.
    pub since: Option<Timestamp>,
}

/// A dead letter.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DeadLetter {
    /// Its name: the event's place in the order of arrival, given once.
    pub id: i64,
    /// The account it was to be delivered to.
    pub account: String,
    /// The event, as the log names it.
    pub event: String,
    /// The reason's short word.
    pub code: String,
    /// The reason.
    pub reason: String,
    /// How often it failed before.
    pub failures: u32,
    /// When the event was received.
    pub received_at: Timestamp,
    /// When it died.
    pub died_at: Timestamp,
    /// Whether its body was erased.
    pub erased: bool,
    /// The last attempts, the latest last. Empty on a page.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub history: Vec<Attempt>,
    /// The event. Personal data; never on a page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub body: Option<String>,
}

/// Some of the dead letters, in the order of their ids.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Page {
    /// Those found.
    pub letters: Vec<DeadLetter>,
    /// Where to go on; none if that was all.
    pub next: Option<i64>,
    /// No event so far has an id above this one. Who replays page by page stops here, or would meet those that died anew.
    pub last: i64,
}

/// What became of a dead letter that was to be replayed. It remains one unless it waits again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Replay {
    /// It waits again, behind everything that waits for its user.
    Waits,
    /// Its body was erased.
    Erased,
    /// The store cannot read its body.
    Damaged,
    /// The same event was sent again, and waits.
    SentAgain,
    /// It was kept before the tables knew whose line a dead letter belongs to.
    Unplaced,
    /// There is no such dead letter.
    Missing,
}

impl fmt::Display for Replay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Waits => "waits again, behind what waits for the same user",
            Self::Erased => "cannot be replayed: its body was erased",
            Self::Damaged => "cannot be replayed: the store cannot read its body",
            Self::SentAgain => "not replayed: the same event was sent again, and waits",
            Self::Unplaced => "cannot be replayed: an earlier release kept it without its user; send the event again",
            Self::Missing => "no such dead letter",
        })
    }
}

/// What was erased of a user.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Forgotten {
    /// Events that waited. Each is a dead letter without a body now, with the reason `erased`.
    pub events: u64,
    /// Events that are being carried out. They were left alone, and may leave new traces.
    pub under_way: u64,
    /// Dead letters whose bodies were erased.
    pub dead_letters: u64,
    /// Keys that led to an affiliate.
    pub links: u64,
    /// Affiliates remembered.
    pub affiliates: u64,
}
