//! The clock of this process: the system's when the process started, and from then on one that is never set.
//!
//! Moments are kept in the store, so they are the system's; but a clock that is set forward would end every lease at once,
//! and one that is set back would lengthen every wait by as much. All moments of a process come from one clock, so that
//! they can be compared. Time passes as tokio's does, in which all waits are, so that a test may stop and advance it. What a
//! wrong clock left in the store is mended when the store is opened.

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
