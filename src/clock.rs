//! The clock of this process: the system's when the process started, and from then on one that is never set.
//!
//! It starts at the system's time, because moments are stored (when an event was received, when a wait began). A system clock
//! that is set forward would end every wait at once, and one that is set back would lengthen it, so all moments of a process
//! come from this clock and can be compared. It runs on tokio's time, as all waits do, so that a test can stop and advance it.
//! Deliberately absent: correcting moments that a wrong clock wrote; waits are stored as amounts, and
//! [`RetryWait::due`](crate::scheduling::RetryWait::due) bounds what is left of them.

use crate::domain::Timestamp;
use std::time::SystemTime;
use tokio::time::Instant;

/// A clock that runs as fast as time does. Copies tell the same time.
#[derive(Clone, Copy, Debug)]
pub struct Clock {
    started: Timestamp,
    since: Instant,
}

impl Clock {
    /// Reads the system's clock, for the last time.
    pub fn start() -> Self {
        Self { started: SystemTime::now().into(), since: Instant::now() }
    }

    /// The moment now.
    pub fn now(&self) -> Timestamp {
        self.started.after(self.since.elapsed())
    }
}
