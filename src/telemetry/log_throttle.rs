//! The throttle of log lines that callers of the service can cause, so that they cannot fill the log: one line in an interval.
//!
//! In: the time. Out: whether a line may be written. Deliberately absent: counts of the omitted lines, which the metrics have; and lasting
//! failures of the store (`store/failure_log_throttle.rs`).

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The usual time between two lines. The throttled log lines say "10 s".
const INTERVAL: Duration = Duration::from_secs(10);

/// A throttle of one kind of log line.
#[derive(Debug)]
pub struct LogThrottle {
    interval: Duration,
    last: Mutex<Option<Instant>>,
}

impl Default for LogThrottle {
    fn default() -> Self {
        Self::new()
    }
}

impl LogThrottle {
    /// A throttle that lets the first line through, then one in ten seconds.
    pub const fn new() -> Self {
        Self::every(INTERVAL)
    }

    /// A throttle that lets the first line through, then one in each `interval`.
    pub const fn every(interval: Duration) -> Self {
        Self { interval, last: Mutex::new(None) }
    }

    /// Whether a line may be written at `now`; if so, the next one may be written an interval later.
    pub fn may_log(&self, now: Instant) -> bool {
        let mut last = self.last.lock();
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= self.interval);
        if may {
            *last = Some(now);
        }
        may
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_written_at_most_once_in_ten_seconds() {
        let (throttle, now) = (LogThrottle::new(), Instant::now());
        let logged = [0, 0, 9, 10, 19, 20].map(|seconds| throttle.may_log(now + Duration::from_secs(seconds)));
        assert_eq!(logged, [true, false, false, true, false, true]);
    }
}
