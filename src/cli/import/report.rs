//! The report of an import: counts of the sent events by status, and the reasons of the refused ones.
//!
//! Invariant: the report has no value of an event, because the service's messages repeat none.

use crate::cli::tally::{Tally, count_line};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// The counts of an import.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct ImportReport {
    /// The number of answered events.
    pub(super) events: u64,
    by_status: BTreeMap<String, u64>,
    refused: Tally,
}

/// The result of one event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct EventResult {
    /// The line on which the event begins.
    pub(super) line: u64,
    /// The status in the service's answer; `refused` if the event was not sent, because its line cannot be read.
    pub(super) status: String,
    /// The reason, if it was refused.
    pub(super) refusal: Option<String>,
}

impl ImportReport {
    pub(super) fn add(&mut self, answers: Vec<EventResult>) {
        for EventResult { line, status, refusal } in answers {
            self.events += 1;
            *self.by_status.entry(status).or_default() += 1;
            if let Some(reason) = refusal {
                self.refused.add(&reason, line);
            }
        }
    }

    /// Whether an event was refused.
    pub(super) fn any_refused(&self) -> bool {
        self.refused.total > 0
    }

    /// The counts as text.
    pub(super) fn lines(&self) -> Vec<String> {
        let mut lines = vec![count_line(self.events, "events")];
        lines.extend(self.by_status.iter().map(|(status, count)| count_line(*count, status)));
        if self.any_refused() {
            lines.push("reasons".to_owned());
            lines.extend(self.refused.lines());
        }
        lines
    }
}
