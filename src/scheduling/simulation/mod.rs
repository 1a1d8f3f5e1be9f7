//! Discrete-event simulation of [`AccountHealth`](super::AccountHealth) against upstreams with rate limits of all kinds. It tests the
//! claims of the search; simulated hours take no time.

mod driver;
mod limiter;
mod random_429s;

use super::LearnedLimits;
use driver::{RetryAfter, Simulation, health};
use limiter::Limiter;

const MINUTE: u64 = 60;

#[test]
fn any_limit_is_found_and_used_with_few_429s() {
    for (name, limiter, allowed, until) in [
        ("bucket of 4, 4 a second", Limiter::bucket(4.0, 4), 4.0, 45),
        ("bucket of 1, 4 a second", Limiter::bucket(4.0, 1), 4.0, 45),
        ("4 in a fixed second", Limiter::fixed(4, 1), 4.0, 45),
        ("4 in any second", Limiter::sliding(4, 1), 4.0, 45),
        ("bucket of 2, 2 a second", Limiter::bucket(2.0, 2), 2.0, 45),
        ("bucket of 1, 2 a second", Limiter::bucket(2.0, 1), 2.0, 45),
        ("60 in a fixed minute", Limiter::fixed(60, 60), 1.0, 90),
        ("60 in any minute", Limiter::sliding(60, 60), 1.0, 90),
        ("bucket of 100, 100 a second", Limiter::bucket(100.0, 100), 100.0, 14),
    ] {
        for (retry_after, latency) in
            [1, 50, 200].into_iter().flat_map(|ms| [(RetryAfter::Nothing, ms), (RetryAfter::Exact, ms)])
        {
            let mut simulation = Simulation::new(limiter.clone(), retry_after, latency);
            simulation.run(until * MINUTE);
            let name = format!("{name}, {latency} ms, Retry-After: {retry_after:?}");
            simulation.assert_used(0.9, allowed, 10 * MINUTE, until * MINUTE, &name);
        }
    }
}

#[test]
fn four_a_second_with_bursts_are_found_in_the_first_minute() {
    for latency in [1, 50, 200] {
        let mut simulation = Simulation::new(Limiter::bucket(4.0, 4), RetryAfter::Exact, latency);
        simulation.run(2 * MINUTE);
        assert!(simulation.rates(0, MINUTE).0 >= 0.9 * 4.0, "{latency} ms");
        simulation.assert_used(0.9, 4.0, MINUTE, 2 * MINUTE, &format!("{latency} ms"));
    }
}

#[test]
fn a_limit_that_changes_is_followed() {
    for (before, after, burst, followed_in) in
        [(8.0, 4.0, 4, 10), (8.0, 4.0, 1, 180), (4.0, 8.0, 4, 90), (4.0, 8.0, 1, 90)]
    {
        let mut simulation = Simulation::new(Limiter::bucket(before, burst), RetryAfter::Exact, 50);
        let change = 20 * MINUTE;
        simulation.run(change);
        simulation.limiter = Limiter::bucket(after, burst);
        simulation.run(change + 30 * MINUTE);
        let name = format!("{before} to {after} a second, bursts of {burst}");
        simulation.assert_used(0.9, after, change + followed_in, change + 30 * MINUTE, &name);
    }
}

#[test]
fn a_limit_that_falls_at_any_moment_is_followed() {
    for (burst, after_seconds) in
        [1, 4].into_iter().flat_map(|burst| (0..60).step_by(5).map(move |after| (burst, after)))
    {
        let mut simulation = Simulation::new(Limiter::bucket(8.0, burst), RetryAfter::Exact, 50);
        let change = 20 * MINUTE + after_seconds;
        simulation.run(change);
        simulation.limiter = Limiter::bucket(4.0, burst);
        simulation.run(change + 30 * MINUTE);
        let name = format!("bursts of {burst}, after {after_seconds} s more");
        let at_first = simulation.rates(change, change + 5 * MINUTE).0 / 4.0;
        assert!(at_first >= 0.625, "{name}: {at_first:.3} of what is allowed was used in the first five minutes");
        simulation.assert_used(0.85, 4.0, change + 5 * MINUTE, change + 30 * MINUTE, &name);
    }
}

#[test]
fn the_learned_rate_is_used_after_a_restart() {
    let mut first = Simulation::new(Limiter::bucket(4.0, 4), RetryAfter::Exact, 50);
    first.run(20 * MINUTE);
    let learned = serde_json::to_string(&first.health.learned()).expect("JSON");
    let mut second = Simulation::new(Limiter::bucket(4.0, 4), RetryAfter::Exact, 50);
    second.health = health(None, serde_json::from_str(&learned).expect("JSON"));
    second.run(10 * MINUTE);
    second.assert_used(0.95, 4.0, 0, MINUTE, "the first minute");
    assert!(second.rates(0, MINUTE).1 <= 0.4, "{:?}", second.limited);
}

#[test]
fn an_upstream_without_a_limit_is_not_slowed_down() {
    let mut simulation = Simulation::new(Limiter::none(), RetryAfter::Exact, 100);
    simulation.run(5 * MINUTE);
    simulation.assert_used(0.95, 640.0, 0, 5 * MINUTE, "64 at once, 100 ms each");
    assert_eq!(simulation.health.learned().requests_per_second, None);
}

#[test]
fn a_lone_429_is_forgotten_in_two_minutes_even_if_it_is_among_the_first_replies() {
    for at in [0, 300, 60_000] {
        let rejected_at = Some(at * 1_000);
        let mut simulation = Simulation::new(Limiter::Unlimited { rejected_at }, RetryAfter::Exact, 100);
        simulation.run(5 * MINUTE);
        let from = at / 1_000 + 2 * MINUTE;
        simulation.assert_used(0.95, 640.0, from, 5 * MINUTE, &format!("a 429 at {at} ms"));
    }
}

#[test]
fn the_configured_rate_is_used_evenly_spaced_and_never_exceeded() {
    for (rate, spacing_ms) in [(0.5, 2_000), (5.0, 200), (300.0, 3)] {
        let mut simulation = Simulation::new(Limiter::none(), RetryAfter::Exact, 0);
        simulation.health = health(Some(rate), LearnedLimits::default());
        simulation.run(MINUTE);
        simulation.assert_used(0.97, rate, 1, MINUTE, &format!("{rate} a second"));
        assert!(simulation.rates(1, MINUTE).0 <= rate + 0.1, "{rate} a second");
        let closest = simulation.accepted.windows(2).map(|two| two[1] - two[0]).min();
        // Later slots stay where they were when one was missed by less than a timer's lateness.
        assert!(
            closest >= Some(spacing_ms * 1_000 - 5_000_u64.min(spacing_ms * 1_000)),
            "{rate} a second: {closest:?}"
        );
    }
}
