//! Rows for operators: pending events and events of the ledger, page by page, and the record of an event.
//!
//! In: rows of `log`, `attempts` and `dead_letters`. Out: [`PendingEvent`]s and [`EventRecord`]s. A part that cannot be read
//! is left out. The event is found damaged when it is begun.

use super::page::PageScan;
use super::{Columns, Damaged, event_id, number, timestamp, words};
use crate::delivery::OutcomeCode;
use crate::domain::EventId;
use crate::store::inspection::printed_hashes;
use crate::store::{BacklogFilter, EventFilter, EventRecord, EventState, LedgerStatus, PendingEvent, user_keys};

/// The most pending events that a page examines.
pub const EXAMINED: usize = 1_000;

/// The columns that [`examine_pending`] reads, in this order.
pub const BACKLOG_COLUMNS: &str = "log.seq, log.id, log.keys, log.received_at, attempts.failures";

/// The most events of the log that a page examines.
pub const EXAMINED_EVENTS: usize = 10_000;

/// The columns that [`record`] reads, in this order, of [`RECORD_TABLES`].
pub const RECORD_COLUMNS: &str = "log.seq, log.id, log.keys, log.received_at, log.outcome, log.source, log.answered,
    accounts.name, dead_letters.code, dead_letters.reason";

/// The tables of [`RECORD_COLUMNS`].
pub const RECORD_TABLES: &str =
    "log JOIN accounts USING (account) LEFT JOIN dead_letters ON dead_letters.seq = log.seq";

/// Examines the next pending event of an account, in log order.
pub fn examine_pending(
    scan: &mut PageScan<PendingEvent>,
    filter: &BacklogFilter,
    row: &impl Columns,
) -> Result<bool, Damaged> {
    let (seq, received_at) = (number(row, 0, "log.seq")?, timestamp(row, 3, "log.received_at")?);
    let users = row.blob(2, "log.keys").ok().flatten().and_then(user_keys::from_blob).unwrap_or_default();
    let failures = row.integer(4, "attempts.failures").ok().flatten().and_then(|failures| failures.try_into().ok());
    let event = || PendingEvent::new(seq, id(row, "log.id"), &users, received_at, failures.unwrap_or(0));
    Ok(scan.add(seq, filter.fits(&users, received_at).then(event)))
}

/// Examines the next event of the log, from the newest on. The log is in the order of receipt, except for replayed dead letters.
pub fn examine_event(
    scan: &mut PageScan<EventRecord>,
    filter: &EventFilter,
    row: &impl Columns,
) -> Result<bool, Damaged> {
    let event = record(row)?;
    if !filter.is_since(event.received_at) {
        scan.add_too_late(event.seq);
        return Ok(false);
    }
    Ok(scan.add(event.seq, filter.fits(&event).then_some(event)))
}

/// Reads the record of an event of the log.
pub fn record(row: &impl Columns) -> Result<EventRecord, Damaged> {
    let users = row.blob(2, "log.keys").ok().flatten().and_then(user_keys::from_blob).unwrap_or_default();
    let [user_id_hash, email_hash] = printed_hashes(&users);
    let (ended, answered) = (row.integer(4, "log.outcome")?, number(row, 6, "log.answered")? != 0);
    let letter = row.text(8, "dead_letters.code")?;
    // A code of a newer release is unknown here.
    let code = ended.map(|number| OutcomeCode::from_number(number).unwrap_or(OutcomeCode::Unrecorded));
    let name = code.filter(|code| Some(code.number()) == ended).map(OutcomeCode::as_str);
    let state = match (ended, letter) {
        (_, Some(_)) => EventState::DeadLetter,
        (None, None) => EventState::Pending,
        (Some(_), None) if answered => EventState::Answered,
        (Some(_), None) => EventState::Settled,
    };
    Ok(EventRecord {
        seq: number(row, 0, "log.seq")?,
        account: words(row, 7, "accounts.name")?,
        event: id(row, "log.id").to_string(),
        user_id_hash,
        email_hash,
        source: row.text(5, "log.source")?.map(str::to_owned),
        received_at: timestamp(row, 3, "log.received_at")?,
        state,
        status: LedgerStatus::of(code, answered),
        outcome: letter.or(name).map(str::to_owned),
        reason: row.text(9, "dead_letters.reason")?.map(str::to_owned),
    })
}

/// Reads the id of the event in the second column; zeros if it cannot be read.
fn id(row: &impl Columns, part: &'static str) -> EventId {
    event_id(row, 1, part).unwrap_or(EventId([0; 16]))
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cell;
    use super::*;
    use crate::domain::Timestamp;

    /// The row of a pending event of the account `main`, without its seq and its receipt.
    fn pending() -> Vec<Cell> {
        let mut row = vec![Cell::Null; 10];
        (row[1], row[6]) = (Cell::Blob(vec![7; 16]), Cell::Integer(0));
        row[7] = Cell::Text("main".to_owned());
        row
    }

    #[test]
    fn a_page_without_a_hit_goes_on_if_any_event_examined_was_late_enough() {
        // The newest was received at 6, all others at 5.
        for (since, examined, goes_on) in [
            (None, EXAMINED_EVENTS, true),
            (Some(5), EXAMINED_EVENTS, true),
            (Some(6), EXAMINED_EVENTS, true),
            (Some(7), EXAMINED_EVENTS, false),
            (Some(5), EXAMINED_EVENTS - 1, false),
        ] {
            let (status, since) = (Some(LedgerStatus::Delivered), since.map(Timestamp));
            let filter = EventFilter { status, since, ..EventFilter::default() };
            let (mut scan, mut row) = (PageScan::new(10, EXAMINED_EVENTS), pending());
            for n in 0..examined {
                let seq = i64::try_from(20_000 - n).expect("small");
                (row[0], row[3]) = (Cell::Integer(seq), Cell::Integer(if n == 0 { 6 } else { 5 }));
                let is_full = examine_event(&mut scan, &filter, &row).expect("readable");
                assert!(!is_full);
            }
            let (events, next) = scan.page();
            assert_eq!((events.len(), next.is_some()), (0, goes_on), "{since:?}, {examined} events");
        }
    }
}
