//! Rows as operators look at them: pending events, page by page, and what became of an event.
//!
//! In: rows of `log`, `attempts` and `dead_letters`. Out: [`BacklogPage`]s and [`EventRecord`]s. A part that cannot be read is left out:
//! when the event is begun, it is found damaged.

use super::{Columns, Damaged, event_id, number, timestamp, words};
use crate::delivery::OutcomeCode;
use crate::domain::EventId;
use crate::store::{BacklogFilter, BacklogPage, EventRecord, EventState, PendingEvent, keys};

/// A page examines at most so many pending events, so that a filter that fits none takes no long transaction.
pub const EXAMINED: usize = 1_000;

/// The columns that [`BacklogScan::examine`] reads, in this order.
pub const BACKLOG_COLUMNS: &str = "log.seq, log.id, log.keys, log.received_at, attempts.failures";

/// The columns of a dead letter that [`dead_letter`] reads, in this order.
pub const DEAD_LETTER_COLUMNS: &str =
    "accounts.name, dead_letters.id, dead_letters.received_at, dead_letters.code, dead_letters.reason";

/// The columns of an entry of the log that [`logged`] reads, in this order.
pub const LOG_COLUMNS: &str = "accounts.name, log.id, log.received_at, log.outcome";

/// A page of pending events while it is read.
pub struct BacklogScan<'a> {
    filter: &'a BacklogFilter,
    limit: usize,
    examined: usize,
    last: i64,
    events: Vec<PendingEvent>,
}

impl<'a> BacklogScan<'a> {
    /// A page of up to `limit` events that fit `filter`, after the seq `after`. An engine examines pending events of the account after
    /// that seq in log order, up to [`EXAMINED`] of them, until one says that the page is full.
    pub fn new(filter: &'a BacklogFilter, after: i64, limit: usize) -> Self {
        Self { filter, limit, examined: 0, last: after, events: Vec::new() }
    }

    /// Examines the next row; returns whether the page is full.
    pub fn examine(&mut self, row: &impl Columns) -> Result<bool, Damaged> {
        (self.examined, self.last) = (self.examined + 1, number(row, 0, "log.seq")?);
        let users = row.blob(2, "log.keys").ok().flatten().and_then(keys::from_blob).unwrap_or_default();
        let received_at = timestamp(row, 3, "log.received_at")?;
        if self.filter.fits(&users, received_at) {
            let failures =
                row.integer(4, "attempts.failures").ok().flatten().and_then(|failures| failures.try_into().ok());
            let event = PendingEvent::new(self.last, id(row, "log.id"), &users, received_at, failures.unwrap_or(0));
            self.events.push(event);
        }
        Ok(self.events.len() == self.limit)
    }

    /// The page.
    pub fn page(self) -> BacklogPage {
        let more = self.events.len() == self.limit || self.examined == EXAMINED;
        BacklogPage { events: self.events, next: more.then_some(self.last) }
    }
}

/// The event that is kept as the dead letter `seq`.
pub fn dead_letter(seq: i64, row: &impl Columns) -> Result<EventRecord, Damaged> {
    let (outcome, reason) = (words(row, 3, "dead_letters.code")?, words(row, 4, "dead_letters.reason")?);
    let (outcome, reason, state) = (Some(outcome), Some(reason), EventState::DeadLetter);
    Ok(EventRecord { state, outcome, reason, ..logged(seq, row, None)? })
}

/// The event `seq`, which is in the log and no dead letter; `outcome`: the number of its code, if it has ended.
pub fn logged(seq: i64, row: &impl Columns, outcome: Option<i64>) -> Result<EventRecord, Damaged> {
    Ok(EventRecord {
        seq,
        account: words(row, 0, "accounts.name")?,
        event: id(row, "log.id").to_string(),
        received_at: timestamp(row, 2, "log.received_at")?,
        state: if outcome.is_none() { EventState::Pending } else { EventState::Settled },
        outcome: outcome.and_then(OutcomeCode::from_number).map(|code| code.as_str().to_owned()),
        reason: None,
    })
}

/// The outcome in a row with the [`LOG_COLUMNS`]; none while the event is pending.
pub fn outcome(row: &impl Columns) -> Result<Option<i64>, Damaged> {
    row.integer(3, "log.outcome")
}

/// The event's id in the second column; zeros if it cannot be read.
fn id(row: &impl Columns, part: &'static str) -> EventId {
    event_id(row, 1, part).unwrap_or(EventId([0; 16]))
}
