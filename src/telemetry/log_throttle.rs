//! The throttle of log lines that callers of the service can cause, so that they cannot fill the log: one line in [`INTERVAL`].
//!
//! In: the time. Out: whether a line may be written. Deliberately absent: counts of the omitted lines, which the metrics have; and lasting
//! failures of the store (`store/failure_log_throttle.rs`).

use parking_lot::Mutex;
use std::time::{Duration, Instant};

/// The time between two lines. The throttled log lines say "10 s".
const INTERVAL: Duration = Duration::from_secs(10);

/// A throttle of one kind of log line.
#[derive(Debug, Default)]
pub struct LogThrottle(Mutex<Option<Instant>>);

impl LogThrottle {
    /// A throttle that lets the first line through.
    pub const fn new() -> Self {
        Self(Mutex::new(None))
    }

    /// Whether a line may be written at `now`; if so, the next one may be written ten seconds later.
    pub fn may_log(&self, now: Instant) -> bool {
        let mut last = self.0.lock();
        let may = last.is_none_or(|last| now.saturating_duration_since(last) >= INTERVAL);
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
