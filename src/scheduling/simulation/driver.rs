//! A simulated account: [`AccountHealth`], an upstream and the events between them, in the order of their moments.
//!
//! In: an upstream, a latency, and when there is a request to make. Out: the moments at which requests were accepted and rejected.
//! Invariant, asserted at every request: none begins before a `Retry-After` is over.

use super::limiter::{Limiter, SECOND};
use crate::domain::Timestamp;
use crate::scheduling::{AccountHealth, Backoff, HealthLimits, LearnedLimits, NoPermit, Permit};
use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

/// The `Retry-After` of an upstream's 429.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum RetryAfter {
    Nothing,
    /// The time until a request would be accepted, in whole seconds.
    Exact,
}

/// When there is a request to make.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Supply {
    /// Always.
    Endless,
    /// So many requests at once, at the beginning of every so many seconds.
    Bursts { requests: u64, seconds: u64 },
}

/// The next event of the simulation.
#[derive(Debug, PartialEq, Eq, PartialOrd, Ord)]
enum SimulationStep {
    /// A request arrives at the upstream.
    Arrives(usize),
    /// Its reply arrives here.
    Replied(usize, Result<(), Option<Duration>>),
    /// A wait is over.
    Due,
    /// There is more to send.
    Supplied,
}

pub(super) struct Simulation {
    pub(super) health: AccountHealth,
    pub(super) limiter: Limiter,
    retry_after: RetryAfter,
    /// The share of requests that are answered with a 429 at random, whatever the rate.
    pub(super) random_429s: f64,
    pub(super) supply: Supply,
    /// Requests that are to be sent.
    pending: u64,
    /// In microseconds; each way takes half of it, give or take a twentieth.
    latency: u64,
    pub(super) random: u64,
    now: u64,
    events: BinaryHeap<Reverse<(u64, u64, SimulationStep)>>,
    scheduled: u64,
    due: u64,
    permits: Vec<Option<Permit>>,
    /// When the last `Retry-After` is over.
    quiet_until: Timestamp,
    /// When requests were accepted, and when they were answered by a 429, at the upstream.
    pub(super) accepted: Vec<u64>,
    pub(super) limited: Vec<u64>,
}

pub(super) fn health(requests_per_second: Option<f64>, learned: LearnedLimits) -> AccountHealth {
    AccountHealth::new(HealthLimits { requests_per_second, ..limits(64) }, learned)
}

pub(super) fn limits(concurrency: usize) -> HealthLimits {
    let backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(300) };
    HealthLimits { backoff, concurrency, requests_per_second: None }
}

impl Simulation {
    pub(super) fn new(limiter: Limiter, retry_after: RetryAfter, latency_ms: u64) -> Self {
        Self {
            health: health(None, LearnedLimits::default()),
            limiter,
            retry_after,
            random_429s: 0.0,
            supply: Supply::Endless,
            pending: 0,
            latency: latency_ms * 1_000,
            random: 7,
            now: 0,
            events: BinaryHeap::new(),
            scheduled: 0,
            due: 0,
            permits: Vec::new(),
            quiet_until: Timestamp(0),
            accepted: Vec::new(),
            limited: Vec::new(),
        }
    }

    /// A random number from 0 to 1 (xorshift).
    fn chance(&mut self) -> f64 {
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        #[expect(clippy::cast_precision_loss, reason = "32 bits")]
        let chance = (self.random >> 32) as f64 / f64::from(u32::MAX);
        chance
    }

    fn schedule(&mut self, after: u64, event: SimulationStep) {
        self.scheduled += 1;
        self.events.push(Reverse((self.now + after, self.scheduled, event)));
    }

    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, clippy::cast_precision_loss, reason = "small")]
    fn one_way(&mut self) -> u64 {
        let spread = 0.95 + 0.1 * self.chance();
        (self.latency as f64 / 2.0 * spread) as u64
    }

    fn moment(&self) -> Timestamp {
        Timestamp(i64::try_from(self.now / 1_000).expect("small"))
    }

    /// Runs until `seconds`.
    pub(super) fn run(&mut self, seconds: u64) {
        if self.now == 0 {
            self.on(SimulationStep::Supplied);
        }
        self.send();
        while let Some(Reverse((at, _, event))) = self.events.pop() {
            if at > seconds * SECOND {
                self.events.push(Reverse((at, 0, event)));
                self.now = seconds * SECOND;
                return;
            }
            self.now = at;
            self.on(event);
            self.send();
        }
    }

    fn on(&mut self, event: SimulationStep) {
        match event {
            SimulationStep::Due => {}
            SimulationStep::Supplied => match self.supply {
                Supply::Endless => self.pending = u64::MAX / 2,
                Supply::Bursts { requests, seconds } => {
                    self.pending += requests;
                    self.schedule(seconds * SECOND, SimulationStep::Supplied);
                }
            },
            SimulationStep::Arrives(request) => {
                let is_random = self.random_429s > 0.0 && self.chance() < self.random_429s;
                let verdict = if is_random { Err(SECOND) } else { self.limiter.accept(self.now) };
                match verdict {
                    Ok(()) => self.accepted.push(self.now),
                    Err(_) => self.limited.push(self.now),
                }
                let reply = verdict.map_err(|early| match self.retry_after {
                    RetryAfter::Nothing => None,
                    RetryAfter::Exact => Some(Duration::from_secs(early.div_ceil(SECOND))),
                });
                let back = self.one_way();
                self.schedule(back, SimulationStep::Replied(request, reply));
            }
            SimulationStep::Replied(request, reply) => {
                let permit = self.permits[request].take().expect("in flight");
                let (now, chance) = (self.moment(), self.chance());
                if let Err(Some(wait)) = reply {
                    self.quiet_until = self.quiet_until.max(now.after(wait));
                }
                match reply {
                    Ok(()) => self.health.on_success(permit, now),
                    Err(retry_after) => {
                        self.pending += 1; // it is sent again
                        self.health.on_rate_limited(permit, now, retry_after, chance)
                    }
                };
            }
        }
    }

    fn send(&mut self) {
        while self.pending > 0 {
            match self.health.try_acquire(self.moment()) {
                Ok((permit, _)) => {
                    self.pending -= 1;
                    assert!(self.quiet_until <= self.moment(), "a request before a Retry-After was over");
                    self.permits.push(Some(permit));
                    let there = self.one_way();
                    self.schedule(there, SimulationStep::Arrives(self.permits.len() - 1));
                }
                Err(NoPermit::NotBefore(at) | NoPermit::Open(at)) => {
                    let at = u64::try_from(at.0).expect("small") * 1_000;
                    if self.due != at {
                        self.due = at;
                        self.schedule(at.saturating_sub(self.now), SimulationStep::Due);
                    }
                    return;
                }
                Err(NoPermit::Busy) => return,
                Err(denied) => panic!("{denied:?}"),
            }
        }
    }

    /// Accepted requests per second, and rejected ones per ten seconds, between two moments in seconds.
    #[expect(clippy::cast_precision_loss, reason = "small")]
    pub(super) fn rates(&self, from: u64, to: u64) -> (f64, f64) {
        let count = |all: &[u64]| all.iter().filter(|at| (from * SECOND..to * SECOND).contains(at)).count() as f64;
        let seconds = (to - from) as f64;
        (count(&self.accepted) / seconds, count(&self.limited) * 10.0 / seconds)
    }

    /// At least this share of `allowed` requests per second was used, and one 429 in ten seconds was met at most.
    #[track_caller]
    pub(super) fn assert_used(&self, share: f64, allowed: f64, from: u64, to: u64, name: &str) {
        let (accepted, limited) = self.rates(from, to);
        let used = accepted / allowed;
        assert!(used >= share, "{name}, {from} to {to} s: {used:.3} of what is allowed was used");
        assert!(limited <= 1.0, "{name}, {from} to {to} s: {limited:.2} answers of 429 in ten seconds");
    }
}
