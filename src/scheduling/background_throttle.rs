//! The throttle of background requests: it decides when the next of them may begin beside the requests of deliveries.
//!
//! In: the number of requests that have begun, and whether deliveries are running. Out: a wait. While deliveries run, one background
//! request begins after each [`SHARE`] of theirs; while none runs, one begins after a pause without deliveries. The first background
//! request waits longer, so an account with few events makes it long after these were delivered. Deliberately absent: the limits of the
//! account ([`super::AccountHealth`]), which apply to these requests, too.

use crate::domain::Timestamp;
use std::time::Duration;

/// The requests of deliveries before the first background request.
const FIRST_AFTER: u64 = 100;
/// The requests of deliveries before each further background request.
const SHARE: u64 = 10;
/// The pause without deliveries after which the first background request may begin, and the pause before each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(10);
const PAUSE: Duration = Duration::from_secs(1);

/// The throttle of one account.
#[derive(Clone, Debug, Default)]
pub struct BackgroundThrottle {
    /// The number of requests at the last background request, with that one; none before the first.
    last: Option<u64>,
    /// The number of requests when the throttle was first asked.
    first: Option<u64>,
    /// Since when no delivery and no background request runs.
    quiet_since: Option<Timestamp>,
    /// Whether a caller waits for the requests, which then begin without a wait.
    is_hurried: bool,
}

impl BackgroundThrottle {
    /// Lets the requests begin without a wait from now on, at the rate of deliveries, because a caller waits for them.
    pub fn hurry(&mut self) {
        self.is_hurried = true;
    }

    /// The wait until a request may begin, if nothing changes until then; zero: now. `begun`: the number of requests so far.
    pub fn wait(&mut self, now: Timestamp, begun: u64, deliveries_run: bool) -> Duration {
        let first = *self.first.get_or_insert(begun);
        let (share, pause) = match self.last {
            _ if self.is_hurried => (1, Duration::ZERO),
            None => (FIRST_AFTER, FIRST_PAUSE),
            Some(_) => (SHARE, PAUSE),
        };
        if begun.saturating_sub(self.last.unwrap_or(first)) >= share {
            return Duration::ZERO;
        }
        if deliveries_run {
            self.quiet_since = None;
            return Duration::MAX;
        }
        let since = *self.quiet_since.get_or_insert(now);
        pause.saturating_sub(now.since(since))
    }

    /// A request begins; `begun` counts it.
    pub fn on_begin(&mut self, begun: u64) {
        self.last = Some(begun);
        self.quiet_since = None;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: i64) -> Timestamp {
        Timestamp(seconds * 1_000)
    }

    #[test]
    fn the_first_request_waits_for_a_hundred_of_the_deliveries_and_each_further_one_for_ten() {
        let mut throttle = BackgroundThrottle::default();
        for (begun, wait) in [(7, Duration::MAX), (106, Duration::MAX), (107, Duration::ZERO)] {
            assert_eq!(throttle.wait(at(0), begun, true), wait, "{begun}");
        }
        throttle.on_begin(107);
        assert_eq!([116, 117].map(|begun| throttle.wait(at(60), begun, true)), [Duration::MAX, Duration::ZERO]);
    }

    #[test]
    fn a_pause_precedes_each_request_without_deliveries_and_a_delivery_begins_it_anew() {
        let mut throttle = BackgroundThrottle::default();
        assert_eq!(throttle.wait(at(0), 1, false), FIRST_PAUSE);
        assert_eq!(throttle.wait(at(4), 1, false), Duration::from_secs(6));
        assert_eq!(throttle.wait(at(9), 2, true), Duration::MAX);
        assert_eq!(throttle.wait(at(11), 2, false), FIRST_PAUSE);
        assert_eq!(throttle.wait(at(21), 2, false), Duration::ZERO);
        throttle.on_begin(2);
        assert_eq!([21, 22].map(|now| throttle.wait(at(now), 2, false)), [PAUSE, Duration::ZERO]);
    }

    #[test]
    fn hurried_requests_follow_one_another_and_take_turns_with_deliveries() {
        let mut throttle = BackgroundThrottle::default();
        throttle.hurry();
        assert_eq!(throttle.wait(at(0), 5, false), Duration::ZERO);
        throttle.on_begin(5);
        assert_eq!(throttle.wait(at(0), 5, false), Duration::ZERO);
        assert_eq!([5, 6].map(|begun| throttle.wait(at(0), begun, true)), [Duration::MAX, Duration::ZERO]);
    }
}
