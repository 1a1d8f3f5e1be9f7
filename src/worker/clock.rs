//! The worker's clock: the system's, except that it never goes back.
//!
//! Moments are compared with those in the store, so they are the system's; but were its clock set back, every wait begun
//! before would grow by as much, and a paused or halted account would stay so. Then time goes on as fast as it really does.

use crate::domain::Timestamp;
use std::sync::{Mutex, PoisonError};
use std::time::{Instant, SystemTime};

/// The moment time is counted from, by the system's clock and by one that is never set.
#[derive(Debug)]
pub(super) struct Clock(Mutex<(Timestamp, Instant)>);

impl Clock {
    pub(super) fn new() -> Self {
        Self(Mutex::new((SystemTime::now().into(), Instant::now())))
    }

    /// The moment now.
    pub(super) fn now(&self) -> Timestamp {
        self.tick(SystemTime::now().into(), Instant::now())
    }

    fn tick(&self, system: Timestamp, instant: Instant) -> Timestamp {
        let mut from = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let steady = from.0.after(instant.saturating_duration_since(from.1));
        if system >= steady {
            *from = (system, instant);
        }
        steady.max(system)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn time_follows_the_system_forward_and_goes_on_steadily_where_the_system_goes_back() {
        let start = Instant::now();
        let clock = Clock(Mutex::new((Timestamp(1_000_000), start)));
        for (elapsed, system, expected) in [
            (10, 1_000_010, 1_000_010),
            (20, 9_000_000, 9_000_000),
            (30, 1_000_030, 9_000_010),
            (40, 1_000_040, 9_000_020),
            (50, 9_500_000, 9_500_000),
        ] {
            let now = clock.tick(Timestamp(system), start + Duration::from_millis(elapsed));
            assert_eq!(now, Timestamp(expected), "after {elapsed} ms");
        }
    }
}
