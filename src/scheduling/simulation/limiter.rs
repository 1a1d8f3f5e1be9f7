//! The rate limiters of simulated upstreams. In: moments in microseconds. Out: whether a request is accepted.

use std::collections::VecDeque;

/// How an upstream limits requests. Times in microseconds.
#[derive(Clone, Debug)]
pub(super) enum Limiter {
    /// A token bucket: `burst` at once, refilled with one every `every`.
    Bucket { every: u64, burst: u64, full_at: u64 },
    /// `most` in each window of `length`, which begins at multiples of it.
    FixedWindow { most: u64, length: u64, window: u64, used: u64 },
    /// `most` in any stretch of `length`.
    SlidingWindow { most: usize, length: u64, accepted: VecDeque<u64> },
    /// Any number, but every n-th is rejected, whatever the rate.
    EveryNth { nth: u64, seen: u64 },
    /// Any number, but for one that is rejected at this moment.
    Unlimited { rejected_at: Option<u64> },
}

pub(super) const SECOND: u64 = 1_000_000;

impl Limiter {
    pub(super) fn bucket(per_second: f64, burst: u64) -> Self {
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a time in microseconds")]
        let every = (1e6 / per_second) as u64;
        Self::Bucket { every, burst, full_at: 0 }
    }

    pub(super) fn fixed(most: u64, seconds: u64) -> Self {
        Self::FixedWindow { most, length: seconds * SECOND, window: 0, used: 0 }
    }

    pub(super) fn none() -> Self {
        Self::Unlimited { rejected_at: None }
    }

    pub(super) fn sliding(most: usize, seconds: u64) -> Self {
        Self::SlidingWindow { most, length: seconds * SECOND, accepted: VecDeque::new() }
    }

    /// Accepts a request, or says how long until one would be accepted.
    pub(super) fn accept(&mut self, now: u64) -> Result<(), u64> {
        match self {
            Self::EveryNth { nth, seen } => {
                *seen += 1;
                if seen.is_multiple_of(*nth) { Err(SECOND) } else { Ok(()) }
            }
            Self::Unlimited { rejected_at } => match *rejected_at {
                Some(at) if at <= now => {
                    *rejected_at = None;
                    Err(SECOND)
                }
                _ => Ok(()),
            },
            Self::Bucket { every, burst, full_at } => {
                let full = (*full_at).max(now) + *every;
                let early = full.saturating_sub(now + *every * *burst);
                if early > 0 {
                    return Err(early);
                }
                *full_at = full;
                Ok(())
            }
            Self::FixedWindow { most, length, window, used } => {
                if now / *length != *window {
                    (*window, *used) = (now / *length, 0);
                }
                if *used >= *most {
                    return Err((*window + 1) * *length - now);
                }
                *used += 1;
                Ok(())
            }
            Self::SlidingWindow { most, length, accepted } => {
                while accepted.front().is_some_and(|at| at + *length <= now) {
                    accepted.pop_front();
                }
                if accepted.len() >= *most {
                    return Err(accepted[0] + *length - now);
                }
                accepted.push_back(now);
                Ok(())
            }
        }
    }
}
