//! The table `attempts`: the progress of pending events, the followers that were begun with them, and their failures.
//!
//! In: a row, and a change: the event is begun, or an attempt is settled. Out: the row afterwards. Invariants: an event without progress,
//! followers, failure and history has no row; a row that cannot be read stays as it is, so the event is found damaged again when it is
//! begun. Deliberately absent: events that end, whose row is deleted.

use super::{Columns, Damaged};
use crate::delivery::Progress;
use crate::domain::{Seq, Timestamp};
use crate::scheduling::{RetryWait, Unit};
use crate::store::{Settlement, history};
use std::time::Duration;

/// The columns that [`Attempts::read`] reads, in this order.
pub const COLUMNS: &str = "attempts.begun, attempts.followers, attempts.progress, attempts.failures, \
                           attempts.failing_for, attempts.wait, attempts.noted_at";

/// The column after [`COLUMNS`] that [`AttemptRecord::read`] reads, too.
pub const HISTORY: &str = "attempts.history";

/// A row, without its history.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attempts {
    /// Whether its progress was saved and it was not settled since.
    pub begun: bool,
    /// The events that were begun together with it.
    pub followers: Vec<Seq>,
    /// The progress.
    pub progress: Progress,
    /// How many attempts failed.
    pub failures: u32,
    /// How long it has been failing.
    pub failing_for: Duration,
    /// The wait after the last failure, if the event was not begun since.
    pub retry: Option<RetryWait>,
}

impl Attempts {
    /// Reads [`COLUMNS`], the first of which is column `at`. No row (an outer join): the default.
    pub fn read(row: &impl Columns, at: usize) -> Result<Self, Damaged> {
        let Some(begun) = row.integer(at, "attempts.begun")? else { return Ok(Self::default()) };
        let followers = row.blob(at + 1, "attempts.followers")?.map_or(Some(Vec::new()), followers);
        let progress = row.text(at + 2, "attempts.progress")?;
        let progress = progress.map_or(Ok(Progress::default()), serde_json::from_str);
        let failures = row.integer(at + 3, "attempts.failures")?.and_then(|failures| u32::try_from(failures).ok());
        let failing_for = row.integer(at + 4, "attempts.failing_for")?.and_then(duration);
        let wait = row.integer(at + 5, "attempts.wait")?.map(|wait| duration(wait).ok_or(Damaged("attempts.wait")));
        let noted_at = row.integer(at + 6, "attempts.noted_at")?;
        let retry = wait.transpose()?.zip(noted_at);
        Ok(Self {
            begun: begun != 0,
            followers: followers.ok_or(Damaged("attempts.followers"))?,
            progress: progress.map_err(|_| Damaged("attempts.progress"))?,
            failures: failures.ok_or(Damaged("attempts.failures"))?,
            failing_for: failing_for.ok_or(Damaged("attempts.failing_for"))?,
            retry: retry.map(|(wait, noted_at)| RetryWait { wait, noted_at: Timestamp(noted_at) }),
        })
    }

    /// Whether the event was begun before, for the scheduler: a history alone (of a replay) does not count.
    pub fn attempted(&self) -> bool {
        *self != Self::default()
    }
}

/// A whole row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct AttemptRecord {
    /// The columns except the history.
    pub attempts: Attempts,
    /// The history, as it is stored.
    pub history: Option<String>,
}

/// The columns of an [`AttemptRecord`] to write, in the order of [`COLUMNS`], with [`HISTORY`].
#[derive(Debug)]
pub struct AttemptColumns {
    /// 1: its progress was saved, and it was not settled since.
    pub begun: bool,
    /// Seqs, 8 bytes each, big-endian.
    pub followers: Option<Vec<u8>>,
    /// JSON.
    pub progress: Option<String>,
    /// How many attempts failed.
    pub failures: i64,
    /// In milliseconds.
    pub failing_for: i64,
    /// In milliseconds.
    pub wait: Option<i64>,
    /// When the wait was written.
    pub noted_at: Option<i64>,
    /// See `history.rs`.
    pub history: Option<String>,
}

impl AttemptRecord {
    /// Reads [`COLUMNS`] and [`HISTORY`], the first of which is column `at`.
    pub fn read(row: &impl Columns, at: usize) -> Result<Self, Damaged> {
        let history = row.text(at + 7, HISTORY)?.map(str::to_owned);
        Ok(Self { attempts: Attempts::read(row, at)?, history })
    }

    /// The record of a replayed event: only its history. Its progress is left out, also a `new` whose answer was lost. If that `new`
    /// created an affiliate, the `new` of the replay is answered "taken", and the affiliate is found by its e-mail as one that existed
    /// before, so `DELIVERY_ON_EXISTING` applies to it.
    pub fn of_replayed(history: Option<String>) -> Self {
        Self { history, ..Self::default() }
    }

    /// The record when `unit` is begun with this progress. Earlier followers are no longer marked.
    pub fn begun(self, unit: &Unit, progress: &Progress) -> Self {
        let (followers, progress) = (unit.followers.clone(), progress.clone());
        Self { attempts: Attempts { begun: true, followers, progress, retry: None, ..self.attempts }, ..self }
    }

    /// The record after a settlement of the event `head`. A settlement that ends the event leaves no record.
    pub fn settled(mut self, head: Seq, settlement: &Settlement) -> Self {
        match settlement {
            Settlement::Retry { wait, progress, failures, failing_for, attempt } => {
                if let Some(progress) = progress {
                    (self.attempts.begun, self.attempts.progress) = (false, progress.clone());
                }
                let retry = Some(RetryWait { wait: *wait, noted_at: attempt.at });
                let history = Some(history::with(head, self.history.as_deref(), attempt));
                let (failures, failing_for) = (*failures, *failing_for);
                Self { attempts: Attempts { failures, failing_for, retry, ..self.attempts }, history }
            }
            Settlement::HandBack { progress } => {
                if progress.coalesced.is_none() {
                    self.attempts.followers.clear();
                }
                let attempts = Attempts { begun: false, progress: progress.clone(), retry: None, ..self.attempts };
                Self { attempts, ..self }
            }
            Settlement::Done { .. } | Settlement::Dead { .. } => Self::default(),
        }
    }

    /// The columns to write; `None`: the event has no row.
    pub fn columns(self) -> Option<AttemptColumns> {
        if self == Self::default() {
            return None;
        }
        let Self { attempts, history } = self;
        let progress = attempts.progress != Progress::default();
        let followers = attempts.followers.iter().flat_map(|seq| seq.0.to_be_bytes()).collect();
        Some(AttemptColumns {
            begun: attempts.begun,
            followers: (!attempts.followers.is_empty()).then_some(followers),
            progress: progress.then(|| serde_json::to_string(&attempts.progress).unwrap_or_default()), // never fails
            failures: attempts.failures.into(),
            failing_for: milliseconds(attempts.failing_for),
            wait: attempts.retry.map(|retry| milliseconds(retry.wait)),
            noted_at: attempts.retry.map(|retry| retry.noted_at.0),
            history,
        })
    }
}

/// The columns that [`failures_and_history`] reads.
pub const FAILURES_AND_HISTORY: &str = "attempts.failures, attempts.history";

/// The number of failed attempts, and the history, for a dead letter. A damaged column counts as empty: it was reported when the event was
/// begun, and must not prevent the dead letter.
pub fn failures_and_history(row: &impl Columns, at: usize) -> (u32, Option<String>) {
    let failures = row.integer(at, "attempts.failures").ok().flatten();
    let history = row.text(at + 1, HISTORY).ok().flatten().map(str::to_owned);
    (failures.and_then(|failures| failures.try_into().ok()).unwrap_or_default(), history)
}

fn duration(stored: i64) -> Option<Duration> {
    u64::try_from(stored).ok().map(Duration::from_millis)
}

fn milliseconds(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn followers(blob: &[u8]) -> Option<Vec<Seq>> {
    let (seqs, rest) = blob.as_chunks::<8>();
    rest.is_empty().then(|| seqs.iter().map(|seq| Seq(i64::from_be_bytes(*seq))).collect())
}

#[cfg(test)]
mod tests {
    use super::super::testing::Cell;
    use super::*;
    use crate::delivery::{OutcomeCode, Stage};
    use crate::store::FailedAttempt;

    const HEAD: Seq = Seq(1);

    fn progress(coalesced: Option<usize>) -> Progress {
        Progress { stage: Stage::CheckEdit, coalesced, ..Progress::default() }
    }

    fn attempt(what: &str) -> FailedAttempt {
        FailedAttempt { at: Timestamp(7), what: what.to_owned() }
    }

    fn retry() -> Settlement {
        Settlement::Retry {
            wait: Duration::from_secs(2),
            progress: Some(progress(None)),
            failures: 1,
            failing_for: Duration::from_secs(3),
            attempt: attempt("503"),
        }
    }

    /// Begun with two followers, as several events.
    fn begun() -> AttemptRecord {
        let unit = Unit { head: HEAD, followers: vec![Seq(2), Seq(3)] };
        AttemptRecord::default().begun(&unit, &progress(Some(3)))
    }

    /// The row as an engine reads it back.
    fn row(record: AttemptRecord) -> Vec<Cell> {
        let Some(columns) = record.columns() else { return vec![Cell::Null; 8] };
        let integer = |number: Option<i64>| number.map_or(Cell::Null, Cell::Integer);
        let text = |text: Option<String>| text.map_or(Cell::Null, Cell::Text);
        vec![
            Cell::Integer(columns.begun.into()),
            columns.followers.map_or(Cell::Null, Cell::Blob),
            text(columns.progress),
            Cell::Integer(columns.failures),
            Cell::Integer(columns.failing_for),
            integer(columns.wait),
            integer(columns.noted_at),
            text(columns.history),
        ]
    }

    #[test]
    fn a_record_survives_the_row() {
        for record in [AttemptRecord::default(), begun(), begun().settled(HEAD, &retry())] {
            assert_eq!(AttemptRecord::read(&row(record.clone()), 0), Ok(record));
        }
    }

    #[test]
    fn an_event_without_progress_group_failure_and_history_has_no_row() {
        let hand_back = Settlement::HandBack { progress: Progress::default() };
        assert!(begun().settled(HEAD, &hand_back).columns().is_none());
        let failed = begun().settled(HEAD, &retry()).settled(HEAD, &hand_back);
        assert!(failed.attempts.attempted(), "its failures are not forgotten");
        let replayed = AttemptRecord::of_replayed(Some("[]".to_owned()));
        assert!(!replayed.attempts.attempted() && replayed.columns().is_some());
    }

    #[test]
    fn followers_stay_marked_after_a_failure_and_while_several_are_asked_for_together() {
        let interrupted = Settlement::Retry {
            wait: Duration::ZERO,
            progress: None,
            failures: 1,
            failing_for: Duration::ZERO,
            attempt: attempt("a panic"),
        };
        let hand_back = |coalesced| Settlement::HandBack { progress: progress(coalesced) };
        for (settlement, followers, is_begun) in [
            (retry(), 2, false),
            (interrupted, 2, true),
            (hand_back(Some(3)), 2, false),
            (hand_back(None), 0, false),
            (Settlement::Done { outcome: OutcomeCode::Created, followers: Vec::new() }, 0, false),
        ] {
            let attempts = begun().settled(HEAD, &settlement).attempts;
            assert_eq!((attempts.followers.len(), attempts.begun), (followers, is_begun), "{settlement:?}");
        }
        assert_eq!(begun().begun(&Unit::of(HEAD), &progress(None)).attempts.followers, []);
    }

    #[test]
    fn a_wait_ends_when_the_event_is_begun_and_the_failures_stay() {
        let failed = begun().settled(HEAD, &retry());
        let wait = RetryWait { wait: Duration::from_secs(2), noted_at: Timestamp(7) };
        assert_eq!((failed.attempts.retry, failed.attempts.failures), (Some(wait), 1));
        let again = failed.begun(&Unit::of(HEAD), &progress(None));
        assert_eq!((again.attempts.retry, again.attempts.failures, again.attempts.begun), (None, 1, true));
        assert_eq!(history::read(HEAD, again.history.as_deref()), [attempt("503")]);
    }

    #[test]
    fn a_damaged_column_is_named_and_counts_as_empty_for_a_dead_letter() {
        for (column, cell, part) in [
            (0, Cell::Text("yes".to_owned()), "attempts.begun"),
            (1, Cell::Blob(vec![0; 7]), "attempts.followers"),
            (2, Cell::Text("{".to_owned()), "attempts.progress"),
            (3, Cell::Integer(-1), "attempts.failures"),
            (4, Cell::Integer(-1), "attempts.failing_for"),
            (5, Cell::Integer(-1), "attempts.wait"),
            (7, Cell::Integer(0), "attempts.history"),
        ] {
            let mut damaged = row(begun().settled(HEAD, &retry()));
            damaged[column] = cell;
            assert_eq!(AttemptRecord::read(&damaged, 0), Err(Damaged(part)));
        }
        let row = vec![Cell::Integer(-1), Cell::Text("[]".to_owned())];
        assert_eq!(failures_and_history(&row, 0), (0, Some("[]".to_owned())));
    }
}
