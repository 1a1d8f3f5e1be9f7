//! The clock of this process: a monotonic clock that starts at the system's time.
//!
//! It starts at the system's time because moments are stored, for instance the receipt of an event. It is monotonic because setting the
//! system's clock forward would end every wait at once, and setting it back would lengthen every wait. All moments that are stored or
//! compared with stored ones are read from this clock. Read elsewhere: timeouts and throttles (tokio's or std's `Instant`), and the
//! system's time for a `Retry-After` that is a date and for traces. If several processes share a store, it starts at the time of the
//! store's clock instead, so that moments of different processes can be compared, too. It uses tokio's time, as all waits do, so that a
//! test can pause and advance it. Deliberately absent: correcting moments that were stored with a wrong system clock; waits are stored as
//! durations, and [`RetryWait::due`](crate::scheduling::RetryWait::due) bounds the rest of a wait.

use crate::domain::Timestamp;
use std::time::SystemTime;
use tokio::time::Instant;

/// A monotonic clock. All copies have the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Timestamp,
    since: Instant,
}

impl Clock {
    /// A clock that starts at the system's time.
    pub fn start() -> Self {
        Self { started: SystemTime::now().into(), since: Instant::now() }
    }

    /// A clock that starts at `now`, for instance at the time of a clock that several processes share.
    pub fn start_at(now: Timestamp) -> Self {
        Self { started: now, since: Instant::now() }
    }

    /// The current moment.
    pub fn now(&self) -> Timestamp {
        self.started.after(self.since.elapsed())
    }
}
