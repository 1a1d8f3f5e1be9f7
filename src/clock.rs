//! The clock of this process: a monotonic clock that starts at the system's time.
//!
//! It starts at the system's time because moments are stored: when an event was received, when a wait began. It is monotonic because
//! a system clock that is set forward would end every wait at once, and one that is set back would lengthen every wait. All moments
//! in a process come from this clock and can be compared. Where several processes share a store, it starts at the time of the
//! store's clock instead, so that the moments that they store can be compared, too. It runs on tokio's time, as all waits do, so that a
//! test can pause and advance it. Deliberately absent: correcting moments that were stored with a wrong system clock; waits are stored as
//! durations, and [`RetryWait::due`](crate::scheduling::RetryWait::due) bounds the rest of a wait.

use crate::domain::Timestamp;
use std::time::SystemTime;
use tokio::time::Instant;

/// A monotonic clock. Copies show the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Timestamp,
    since: Instant,
}

impl Clock {
    /// Starts at the system's time.
    pub fn start() -> Self {
        Self { started: SystemTime::now().into(), since: Instant::now() }
    }

    /// Starts at this moment, for instance that of a clock which several processes share.
    pub fn start_at(now: Timestamp) -> Self {
        Self { started: now, since: Instant::now() }
    }

    /// The current moment.
    pub fn now(&self) -> Timestamp {
        self.started.after(self.since.elapsed())
    }
}
