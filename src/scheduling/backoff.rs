//! Exponential backoff with jitter before a retry, not shorter than the `Retry-After` of Refersion, up to a day.
//!
//! The wait is drawn evenly between `min` and a ceiling, which is twice `min` after the first failure and doubles with each further one. It
//! is not the "full jitter" of AWS, which begins at zero: an immediate retry would fail like the attempt before. The settings are
//! `DELIVERY_RETRY_MIN` (`1s`) and `DELIVERY_RETRY_MAX` (`5m`), here `min` and `max`.
//!
//! In: the number of failures, a random number from 0 to 1, and `Retry-After`. Out: a wait. Invariant: no wait is shorter than `min` or
//! than `Retry-After`, which counts as a day if it is longer. Deliberately absent: drawing the random number, and waiting; the decision
//! which replies are retried (`refersion/response.rs`); the time after which an event becomes a dead letter (`worker/settlement.rs`).

use std::time::Duration;

/// The bounds of every backoff (`DELIVERY_RETRY_MIN`, `DELIVERY_RETRY_MAX`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Backoff {
    /// The shortest wait.
    pub min: Duration,
    /// The longest wait, unless `Retry-After` asks for more.
    pub max: Duration,
}

/// The longest `Retry-After` that counts. A longer one is assumed to be a mistake, and is shortened to this.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(24 * 60 * 60);

impl Backoff {
    /// The wait after `failures` failed attempts (at least one), spread evenly from `min` to a ceiling that doubles with
    /// each failure up to `max`. `chance` is drawn from 0 to 1; `retry_after` is honoured as a minimum.
    pub fn wait(&self, failures: u32, chance: f64, retry_after: Option<Duration>) -> Duration {
        let doublings = failures.min(32);
        let ceiling = self.min.saturating_mul(1_u32.checked_shl(doublings).unwrap_or(u32::MAX)).min(self.max);
        let spread = ceiling.saturating_sub(self.min).mul_f64(chance.clamp(0.0, 1.0));
        (self.min + spread).max(retry_after.unwrap_or_default().min(MAX_RETRY_AFTER))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn waits_double_between_their_bounds_and_honour_retry_after() {
        let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(300) };
        let secs = Duration::from_secs;
        for (failures, chance, retry_after, expected) in [
            (1, 0.0, None, secs(1)),
            (1, 1.0, None, secs(2)),
            (3, 1.0, None, secs(8)),
            (3, 0.5, None, Duration::from_millis(4500)),
            (30, 1.0, None, secs(300)),
            (u32::MAX, 1.0, None, secs(300)),
            (u32::MAX, 0.0, None, secs(1)),
            (1, 0.0, Some(secs(60)), secs(60)),
            (30, 1.0, Some(secs(60)), secs(300)),
            (1, 0.0, Some(secs(900)), secs(900)),
            (1, 0.0, Some(secs(u64::MAX)), secs(86_400)),
        ] {
            assert_eq!(backoff.wait(failures, chance, retry_after), expected, "{failures} {chance} {retry_after:?}");
        }
    }
}
