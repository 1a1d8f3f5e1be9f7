//! The configured ceiling of requests per second (`REFERSION_MAX_REQUESTS_PER_SECOND`), spread evenly: no bursts.
//!
//! Deliberately absent: finding out what Refersion bears; a 429 pauses the account, which is the worker's business.

use governor::clock::{Clock, DefaultClock};
use governor::{DefaultDirectRateLimiter, Quota, RateLimiter};
use std::num::NonZeroU32;
use std::time::Duration;
use tokio::sync::Mutex;

/// Lets calls pass at an even pace, first come, first served.
#[derive(Debug)]
pub struct Throttle(Option<Mutex<DefaultDirectRateLimiter>>);

impl Throttle {
    /// A pace of `per_second` calls; `None`, or nothing above zero, sets no pace.
    pub fn new(per_second: Option<f64>) -> Self {
        let period = per_second.and_then(|rate| Duration::try_from_secs_f64(1.0 / rate).ok());
        let quota = period.and_then(Quota::with_period).map(|quota| quota.allow_burst(NonZeroU32::MIN));
        Self(quota.map(|quota| Mutex::new(RateLimiter::direct(quota))))
    }

    /// Waits for this call's turn. The lock is the queue: tokio's mutex is fair.
    pub async fn turn(&self) {
        let Some(limiter) = &self.0 else { return };
        let limiter = limiter.lock().await;
        while let Err(early) = limiter.check() {
            tokio::time::sleep(early.wait_time_from(DefaultClock::default().now())).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_call_passes_and_the_next_has_to_wait() {
        let limiter = Throttle::new(Some(0.001)).0.expect("a pace is set").into_inner();
        assert!(limiter.check().is_ok());
        assert!(limiter.check().is_err());
        assert!(Throttle::new(None).0.is_none());
    }
}
