//! The throttle of log lines about a lasting failure of the store: one when it begins, then one a minute. Log lines that callers can cause
//! have another throttle, `LogThrottle` (`telemetry/log_throttle.rs`).

use std::time::{Duration, Instant};

const INTERVAL: Duration = Duration::from_secs(60);

/// A throttle of the log lines about one lasting failure.
#[derive(Debug, Default)]
pub struct FailureLogThrottle {
    last: Option<Instant>,
}

impl FailureLogThrottle {
    /// Whether a line may be written now. If so, the next one may be written a minute later.
    pub fn due(&mut self) -> bool {
        self.due_at(Instant::now())
    }

    /// The failure is over. The next one is logged at once.
    pub fn reset(&mut self) {
        self.last = None;
    }

    fn due_at(&mut self, now: Instant) -> bool {
        let due = self.last.is_none_or(|last| now.duration_since(last) >= INTERVAL);
        if due {
            self.last = Some(now);
        }
        due
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lasting_failure_is_logged_when_it_begins_and_once_a_minute() {
        let (mut limit, start) = (FailureLogThrottle::default(), Instant::now());
        let due = |limit: &mut FailureLogThrottle, seconds| limit.due_at(start + Duration::from_secs(seconds));
        assert_eq!(
            [0, 1, 59, 60, 61, 120].map(|seconds| due(&mut limit, seconds)),
            [true, false, false, true, false, true]
        );
        limit.reset();
        assert!(due(&mut limit, 121), "the next one is another");
    }
}
