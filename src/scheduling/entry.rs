//! The scheduler's input and output: entries of the event log, units of work, and the ends of units.

use crate::domain::{EventId, LaneKey, Seq, Timestamp};
use std::time::Duration;

/// A pending event of the log, with the properties that determine its order.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in the log.
    pub seq: Seq,
    /// Its identity, by which a request may wait for it.
    pub id: EventId,
    /// The user keys, and the affiliates that they led to when the entry was read.
    pub lane_keys: Vec<LaneKey>,
    /// Whether the event was begun before: it has progress, failures or a mark. Such an event is the head of a separate unit.
    pub attempted: bool,
    /// The other events that were begun together with this one, in log order. They form one unit again.
    pub followers: Vec<Seq>,
    /// The wait after its last failure, if it has not been begun since.
    pub retry: Option<RetryWait>,
}

/// The wait before the next attempt. It is a duration, so that a clock that was wrong when it was written does no harm.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetryWait {
    /// The whole wait.
    pub wait: Duration,
    /// When it was written, by the clock of the writing process.
    pub noted_at: Timestamp,
}

impl RetryWait {
    /// When the wait is over, as of `now`: never later than the whole wait from now, whatever the clock of the writing process.
    pub fn due(&self, now: Timestamp) -> Timestamp {
        let elapsed = now.since(self.noted_at).min(self.wait);
        now.after(self.wait.saturating_sub(elapsed))
    }
}

/// A unit of work: events of one lane that are delivered as one, the head of the lane and some of the events that it blocks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Unit {
    /// The head of the lane.
    pub head: Seq,
    /// The events that may be, or were, delivered with the head; in log order.
    pub followers: Vec<Seq>,
}

impl Unit {
    /// A unit of one event.
    pub fn of(head: Seq) -> Self {
        Self { head, followers: Vec::new() }
    }

    /// All its events, the head first.
    pub fn seqs(&self) -> impl Iterator<Item = Seq> + '_ {
        std::iter::once(self.head).chain(self.followers.iter().copied())
    }
}

/// The end of a unit, which is not in flight any more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// The head and these followers left the log, or the head was no longer in it when the unit was begun.
    Settled {
        /// The followers that left the log. The others are pending as before.
        followers: Vec<Seq>,
    },
    /// The unit is pending again. It counts as attempted, because it may have progress.
    Pending {
        /// The moment from which the head may run again, because it failed; `None`: it was handed back and may run at once.
        due: Option<Timestamp>,
        /// The followers that stay marked as begun with the head. The others are pending as before.
        followers: Vec<Seq>,
    },
    /// The delivery ended without saving its progress. The unit is pending and attempted, with the followers that were last saved.
    Interrupted {
        /// The moment from which the head may run again; `None`: now.
        due: Option<Timestamp>,
    },
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_retry_is_due_when_its_wait_is_over_and_never_later_than_the_whole_wait_from_now() {
        const YEAR: i64 = 365 * 24 * 60 * 60 * 1000;
        const NOW: i64 = 50 * YEAR;
        for (name, noted_at, wait, due) in [
            ("just noted", NOW, 1_000, NOW + 1_000),
            ("noted a while ago", NOW - 400, 1_000, NOW + 600),
            ("just over", NOW - 1_000, 1_000, NOW),
            ("long over", NOW - 5_000, 1_000, NOW),
            ("noted by a clock that was ahead", NOW + 9 * YEAR, 1_000, NOW + 1_000),
            ("noted by a clock that was behind", NOW - 9 * YEAR, 1_000, NOW),
            ("no wait", NOW, 0, NOW),
            ("noted at the end of time", i64::MAX, 1_000, NOW + 1_000),
            ("noted at the beginning of time", i64::MIN, 1_000, NOW),
        ] {
            let retry = RetryWait { wait: Duration::from_millis(wait), noted_at: Timestamp(noted_at) };
            assert_eq!(retry.due(Timestamp(NOW)), Timestamp(due), "{name}");
        }
        let forever = RetryWait { wait: Duration::MAX, noted_at: Timestamp(NOW) };
        assert_eq!(forever.due(Timestamp(NOW)), Timestamp(i64::MAX), "no wait overflows");
    }
}
