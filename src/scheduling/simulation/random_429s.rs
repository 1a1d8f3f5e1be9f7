//! Upstreams that answer some requests with 429 at random, whatever the rate: without a limit, and with one.

use super::MINUTE;
use super::driver::{RetryAfter, Simulation, Supply, limits};
use super::limiter::Limiter;
use crate::domain::Timestamp;
use crate::scheduling::{AccountHealth, BreakerState, LearnedLimits, Unrelated429s};
use std::time::Duration;

/// So many requests at once.
const CONCURRENCY: f64 = 16.0;

/// An account with 16 requests at once, of which this share is answered with 429 at random.
fn simulation(limiter: Limiter, share: f64, retry_after: RetryAfter, latency_ms: u64) -> Simulation {
    let mut simulation = Simulation::new(limiter, retry_after, latency_ms);
    simulation.health = AccountHealth::new(limits(16), LearnedLimits::default());
    simulation.random_429s = share;
    simulation
}

#[test]
fn random_429s_that_ask_for_no_wait_cost_little() {
    for (share, at_least) in [(0.005, 0.85), (0.01, 0.85), (0.02, 0.8), (0.05, 0.8), (0.1, 0.7)] {
        for (seconds, latency_ms, minutes) in [(0.1, 100, 10), (1.0, 1_000, 30), (2.0, 2_000, 30)] {
            let mut simulation = simulation(Limiter::none(), share, RetryAfter::Nothing, latency_ms);
            simulation.run(minutes * MINUTE);
            let used = simulation.rates(2 * MINUTE, minutes * MINUTE).0 * seconds / CONCURRENCY;
            assert!(used >= at_least, "{share} at random, {latency_ms} ms: {used:.2} was used");
        }
    }
}

#[test]
fn random_429s_that_ask_for_a_wait_cost_the_waits_and_little_more() {
    for (share, at_least) in [(0.005, 0.9), (0.01, 0.9), (0.02, 0.9), (0.05, 0.9), (0.1, 0.5)] {
        for (seconds, latency_ms) in [(0.1, 100), (1.0, 1_000), (2.0, 2_000)] {
            let mut simulation = simulation(Limiter::none(), share, RetryAfter::Exact, latency_ms);
            simulation.run(30 * MINUTE);
            // After each there is a wait of a second, and then one request goes first.
            let waits = share * (1.0 + seconds);
            let possible = (1.0 - share) / (seconds / CONCURRENCY + waits);
            let used = simulation.rates(2 * MINUTE, 30 * MINUTE).0 / possible;
            assert!(used >= at_least, "{share} at random, {latency_ms} ms: {used:.2} of what the waits leave was used");
        }
    }
}

#[test]
fn a_limit_beside_random_429s_is_found() {
    for (share, retry_after, at_least, at_most) in [
        (0.005, RetryAfter::Nothing, 0.8, 4.0),
        (0.005, RetryAfter::Exact, 0.8, 2.0),
        (0.02, RetryAfter::Nothing, 0.75, 8.0),
        (0.02, RetryAfter::Exact, 0.65, 2.0),
        (0.1, RetryAfter::Nothing, 0.6, 10.0),
        (0.1, RetryAfter::Exact, 0.4, 6.0),
    ] {
        for supply in [Supply::Endless, Supply::Bursts { requests: 40, seconds: 20 }] {
            let mut simulation = simulation(Limiter::bucket(4.0, 4), share, retry_after, 100);
            simulation.supply = supply;
            simulation.run(60 * MINUTE);
            let (accepted, limited) = simulation.rates(2 * MINUTE, 60 * MINUTE);
            let allowed = if supply == Supply::Endless { 4.0 } else { 2.0 };
            let name = format!("{share} at random, Retry-After: {retry_after:?}, {supply:?}");
            assert!(accepted / allowed >= at_least, "{name}: {:.2} of what is allowed was used", accepted / allowed);
            assert!(limited <= at_most, "{name}: {limited:.1} answers of 429 in ten seconds");
        }
    }
}

#[test]
fn an_upstream_that_rejects_every_fourth_or_tenth_request_does_not_slow_an_account_down_for_long() {
    for (nth, at_least) in [(4, 2.0), (10, 5.0)] {
        let mut simulation = Simulation::new(Limiter::EveryNth { nth, seen: 0 }, RetryAfter::Nothing, 50);
        simulation.run(5 * MINUTE);
        let (accepted, limited) = simulation.rates(2 * MINUTE, 5 * MINUTE);
        assert!(accepted >= at_least, "every {nth}th: {accepted} a second, {limited} answers of 429 in ten");
    }
}

#[test]
fn random_429s_that_are_known_are_known_after_a_restart() {
    let mut first = simulation(Limiter::none(), 0.02, RetryAfter::Nothing, 100);
    first.run(10 * MINUTE);
    let learned = serde_json::to_string(&first.health.learned()).expect("JSON");
    let mut second = simulation(Limiter::none(), 0.02, RetryAfter::Nothing, 100);
    second.health = AccountHealth::new(limits(16), serde_json::from_str(&learned).expect("JSON"));
    second.run(MINUTE);
    let used = second.rates(0, MINUTE).0 * 0.1 / CONCURRENCY;
    assert!(used >= 0.9, "{used:.2} was used in the first minute");
}

#[test]
fn a_limit_is_found_after_random_429s_have_ended() {
    for retry_after in [RetryAfter::Nothing, RetryAfter::Exact] {
        let mut simulation = simulation(Limiter::none(), 0.02, retry_after, 100);
        simulation.run(10 * MINUTE);
        (simulation.random_429s, simulation.limiter) = (0.0, Limiter::bucket(4.0, 4));
        simulation.run(60 * MINUTE);
        simulation.assert_used(0.9, 4.0, 20 * MINUTE, 60 * MINUTE, &format!("Retry-After: {retry_after:?}"));
    }
}

#[test]
fn a_429_that_is_to_be_expected_pauses_the_account_only_for_the_wait_that_it_asks_for() {
    let (now, secs) = (Timestamp(1_000_000), Duration::from_secs);
    for (retry_after, pause) in [(None, None), (Some(secs(0)), None), (Some(secs(9)), Some(secs(9)))] {
        let learned = LearnedLimits { unrelated_429s: Unrelated429s::measured(2.0, 100.0), ..LearnedLimits::default() };
        let mut health = AccountHealth::new(limits(16), learned);
        let mut reject = |now, retry_after| {
            let (permit, _) = health.try_acquire(now).expect("a permit");
            health.on_rate_limited(permit, now, retry_after, 1.0);
            health.snapshot().state
        };
        let paused = pause.map_or(BreakerState::Closed, |wait| BreakerState::Open { until: now.after(wait) });
        assert_eq!(reject(now, retry_after), paused, "{retry_after:?}");
        if pause.is_none() {
            let states: Vec<BreakerState> = (0..8).map(|_| reject(now, None)).collect();
            let expected = states.iter().filter(|state| **state == BreakerState::Closed).count();
            assert_eq!(expected, 7, "the account pauses once there are more than are to be expected");
        }
    }
}
