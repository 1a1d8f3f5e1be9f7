//! Scripts of replies, and what they do to an account's health.

use super::*;
use crate::delivery::TransientFailure;

const AT: Timestamp = Timestamp(1_000_000);

const BACKOFF: Backoff = Backoff { min: Duration::from_secs(1), max: Duration::from_secs(300) };

fn health() -> AccountHealth {
    let limits = HealthLimits { backoff: BACKOFF, concurrency: 16, requests_per_second: None };
    AccountHealth::new(limits, LearnedLimits::default())
}

fn secs(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn at(seconds: u64) -> Timestamp {
    AT.after(secs(seconds))
}

#[track_caller]
fn permit(health: &mut AccountHealth, now: Timestamp) -> Permit {
    health.try_acquire(now).expect("a permit").0
}

#[track_caller]
fn no_permit(health: &mut AccountHealth, now: Timestamp) -> NoPermit {
    health.try_acquire(now).expect_err("no permit")
}

/// One reply to a request that begins at this second, as a word of a script.
fn reply(health: &mut AccountHealth, word: &str, second: u64) -> Option<Transition> {
    let now = at(second);
    let (permit, begun) = health.try_acquire(now).expect("a permit");
    let replied = match word {
        "ok" => health.on_success(permit.for_write(), now),
        "read" => health.on_success(permit, now),
        "429" => health.on_rate_limited(permit, now, None, 1.0),
        "429 in 9 s" => health.on_rate_limited(permit, now, Some(secs(9)), 1.0),
        "401" => health.on_unauthorized(permit, now, 1.0),
        failed => health.on_failure(permit, Seq(failed.parse().expect("an event")), now, None, 1.0),
    };
    assert!(begun.is_none() || begun == Some(Transition::HalfOpened));
    replied
}

#[test]
fn scripts_of_replies_lead_to_transitions() {
    use Cause::{Outage, RateLimited};
    let opened = |cause, wait, trips| Some(Transition::Opened { cause, wait: secs(wait), trips });
    let closed = Some(Transition::Closed);
    let halted = |wait| Some(Transition::Halted { wait: secs(wait) });
    for script in [
        // The second at which a request begins; the reply, or the event whose call failed; the transition.
        &[(0, "ok", None), (0, "429", opened(RateLimited, 1, 1)), (1, "ok", closed)][..],
        &[(0, "429 in 9 s", opened(RateLimited, 9, 1)), (9, "ok", closed)],
        &[(0, "429", opened(RateLimited, 1, 1)), (1, "429", opened(RateLimited, 4, 2)), (5, "ok", closed)],
        &[(0, "429", opened(RateLimited, 1, 1)), (1, "ok", closed), (2, "429", opened(RateLimited, 1, 1))],
        &[(0, "1", None), (0, "1", None), (0, "1", None), (0, "2", None), (0, "ok", None), (0, "3", None)],
        &[(0, "1", None), (0, "2", None), (0, "3", opened(Outage, 2, 1)), (2, "ok", closed), (2, "1", None)],
        &[(0, "1", None), (0, "2", None), (0, "3", opened(Outage, 2, 1)), (2, "1", opened(Outage, 4, 2))],
        &[(0, "429", opened(RateLimited, 1, 1)), (1, "1", None), (1, "ok", closed)],
        &[(0, "401", halted(2))],
        &[(0, "429", opened(RateLimited, 1, 1)), (1, "401", halted(2))],
    ] {
        let mut health = health();
        for (second, word, transition) in script {
            assert_eq!(reply(&mut health, word, *second), *transition, "{word} at {second} s in {script:?}");
        }
    }
}

#[test]
fn nothing_begins_while_open_and_then_one_request_goes_first() {
    let mut health = health();
    let late = permit(&mut health, AT);
    reply(&mut health, "429 in 9 s", 0);
    assert_eq!(no_permit(&mut health, at(8)), NoPermit::Open(at(9)));
    assert_eq!(health.on_success(late, at(8)), None, "a request from before closes nothing");
    let (first, transition) = health.try_acquire(at(9)).expect("a permit");
    assert_eq!(transition, Some(Transition::HalfOpened));
    assert_eq!(no_permit(&mut health, at(9)), NoPermit::Busy);
    health.abandon(first, at(10));
    let (second, transition) = health.try_acquire(at(10)).expect("the next goes first");
    assert_eq!(transition, None);
    assert_eq!(health.on_success(second, at(10)), Some(Transition::Closed));
}

#[test]
fn several_429s_at_once_count_once_and_the_longest_wait_holds() {
    let mut health = health();
    for _ in 0..20 {
        reply(&mut health, "ok", 0);
    }
    let permits: Vec<Permit> = (0..8).map(|_| permit(&mut health, AT)).collect();
    let opened = permits
        .into_iter()
        .zip([3, 9, 5, 3, 3, 3, 3, 3])
        .filter_map(|(permit, wait)| health.on_rate_limited(permit, AT, Some(secs(wait)), 1.0));
    assert_eq!(opened.count(), 1);
    let snapshot = health.snapshot();
    assert_eq!((snapshot.state, snapshot.in_flight), (BreakerState::Open { until: at(9) }, 0));
    let learned = health.learned();
    assert_eq!((learned.requests_per_second, learned.concurrency), (Some(20.0), 8.0));
}

#[test]
fn the_account_is_well_once_the_retry_after_is_over_after_a_429_a_401_and_a_new_key() {
    for (key_at, states) in [
        (4, [BreakerState::Open { until: at(9) }, BreakerState::HalfOpen, BreakerState::Closed]),
        (20, [BreakerState::Closed, BreakerState::Closed, BreakerState::Closed]),
    ] {
        let mut health = health();
        let (limited, rejected) = (permit(&mut health, AT), permit(&mut health, AT));
        health.on_rate_limited(limited, AT, Some(secs(9)), 0.0);
        assert_eq!(health.on_unauthorized(rejected, at(1), 0.0), Some(Transition::Halted { wait: secs(1) }));
        assert_eq!(health.snapshot().cause, Some(Cause::Unauthorized));
        assert_eq!(health.on_new_api_key(at(key_at)), Some(Transition::Resumed));
        let resumed = health.snapshot().state;
        let permit = permit(&mut health, at(key_at.max(9)));
        let begun = health.snapshot().state;
        health.on_success(permit, at(key_at.max(9)));
        assert_eq!([resumed, begun, health.snapshot().state], states, "a new key at {key_at} s");
        assert_eq!(health.snapshot().cause, None);
    }
}

#[test]
fn a_rejected_key_halts_once_until_a_probe_or_another_key_is_accepted() {
    let mut health = health();
    let (one, other) = (permit(&mut health, AT), permit(&mut health, AT));
    assert_eq!(health.on_unauthorized(one, AT, 1.0), Some(Transition::Halted { wait: secs(2) }));
    assert_eq!(no_permit(&mut health, at(1)), NoPermit::Halted(at(2)));
    assert_eq!(no_permit(&mut health, at(2)), NoPermit::ProbeDue);
    assert_eq!(health.on_probe(&ApiKeyVerification::Rejected, at(2), 1.0), Err(secs(4)));
    let unknown = ApiKeyVerification::Unknown(TransientFailure { what: String::new(), retry_after: Some(secs(60)) });
    assert_eq!(health.on_probe(&unknown, at(6), 1.0), Err(secs(60)));
    let new_key = &mut taken_over(&health, 6, 7);
    assert_eq!((new_key.on_new_api_key(at(7)).is_some(), no_permit(new_key, at(7))), (true, NoPermit::Open(at(66))));
    assert_eq!(health.on_probe(&ApiKeyVerification::Accepted, at(66), 1.0), Ok(Some(Transition::Resumed)));
    assert_eq!(health.on_probe(&ApiKeyVerification::Rejected, at(67), 1.0), Ok(None), "an answer about the key before");
    assert_eq!(health.on_unauthorized(other, at(67), 1.0), None, "a request with the key before");
    assert_eq!(health.snapshot().state, BreakerState::Closed);
    assert_eq!(health.on_new_api_key(at(68)), None, "nothing was halted");
}

#[test]
fn a_key_that_probes_and_reads_alone_find_accepted_is_probed_more_rarely_until_a_write_succeeds() {
    let mut health = health();
    let halted = |wait| Some(Transition::Halted { wait: secs(wait) });
    for (second, wait) in [(0, 2), (2, 4), (6, 8)] {
        reply(&mut health, "read", second);
        assert_eq!(reply(&mut health, "401", second), halted(wait), "at {second} s");
        let probed = health.on_probe(&ApiKeyVerification::Accepted, at(second + wait), 1.0);
        assert_eq!(probed, Ok(Some(Transition::Resumed)));
    }
    reply(&mut health, "ok", 14);
    assert_eq!(reply(&mut health, "401", 15), halted(2), "the key worked meanwhile");
    health.on_new_api_key(at(16));
    assert_eq!(reply(&mut health, "401", 16), halted(2), "another key");
    health.on_probe(&ApiKeyVerification::Accepted, at(18), 1.0).expect("accepted");
    assert_eq!(reply(&mut health, "401", 319), halted(2), "the longest wait is over");
}

#[test]
fn the_first_of_several_401s_halts_and_none_of_a_request_with_the_former_api_key() {
    let mut health = health();
    let (one, other) = (permit(&mut health, AT), permit(&mut health, AT));
    health.on_unauthorized(one, AT, 1.0);
    assert_eq!(health.on_unauthorized(other, at(1), 1.0), None);
    assert_eq!(no_permit(&mut health, at(2)), NoPermit::ProbeDue, "the probe is not put off");
    health.on_new_api_key(at(2));
    let before = permit(&mut health, at(2));
    assert_eq!(health.on_new_api_key(at(3)), None, "nothing was halted");
    assert_eq!(health.on_unauthorized(before, at(4), 1.0), None);
    assert_eq!(health.snapshot().state, BreakerState::Closed);
}

#[test]
fn only_the_reply_to_the_first_request_counts_while_half_open() {
    let mut health = health();
    for _ in 0..20 {
        reply(&mut health, "ok", 0);
    }
    let late: Vec<Permit> = (0..5).map(|_| permit(&mut health, AT)).collect();
    reply(&mut health, "429 in 9 s", 0);
    let first = permit(&mut health, at(9));
    for (late, failed) in late.into_iter().zip([None, Some(1), Some(2), Some(3), None]) {
        let replied = match failed {
            None => health.on_success(late, at(9)),
            Some(seq) => health.on_failure(late, Seq(seq), at(9), None, 1.0),
        };
        assert_eq!((replied, health.snapshot().state), (None, BreakerState::HalfOpen));
    }
    assert_eq!(health.on_success(first, at(10)), Some(Transition::Closed));
}

#[test]
fn failures_of_several_events_in_a_row_lower_the_concurrency_limit_and_those_of_one_do_not() {
    for (failed, lower) in [(["1", "1"], false), (["1", "2"], true)] {
        let mut health = health();
        for _ in 0..20 {
            reply(&mut health, "ok", 0);
        }
        let before = health.snapshot().concurrency_limit;
        for event in failed {
            reply(&mut health, event, 0);
        }
        assert_eq!(health.snapshot().concurrency_limit < before, lower, "{failed:?}");
    }
}

#[test]
fn a_pause_that_is_over_shows_as_closed_and_a_halt_does_not() {
    let (open, halted) = (BreakerState::Open { until: at(5) }, BreakerState::Halted { probe_at: at(5) });
    assert_eq!([at(4), at(5), at(6)].map(|now| open.at(now)), [open, BreakerState::Closed, BreakerState::Closed]);
    assert_eq!(halted.at(at(6)), halted);
}

#[test]
fn no_more_requests_are_in_flight_than_the_concurrency_limit() {
    let mut health = health();
    let (one, other) = (permit(&mut health, AT), permit(&mut health, AT));
    assert_eq!((no_permit(&mut health, AT), health.snapshot().in_flight), (NoPermit::Busy, 2));
    health.cancel(one, AT);
    let third = permit(&mut health, AT);
    health.on_success(third, AT);
    health.abandon(other, AT);
    assert_eq!((health.snapshot().in_flight, health.snapshot().concurrency_limit), (0, 3));
}

#[test]
fn other_limits_hold_from_the_next_request_on_and_end_no_pause() {
    let mut health = health();
    let (one, other) = (permit(&mut health, AT), permit(&mut health, AT));
    let backoff = Backoff { min: secs(10), max: secs(10) };
    let limits = HealthLimits { backoff, concurrency: 1, requests_per_second: Some(0.1) };
    health.set_limits(limits);
    assert_eq!((no_permit(&mut health, AT), health.snapshot().concurrency_limit), (NoPermit::Busy, 1));
    health.on_success(one, AT);
    assert_eq!(no_permit(&mut health, AT), NoPermit::Busy, "what is in flight counts");
    health.on_success(other, AT);
    let first = permit(&mut health, AT);
    health.on_success(first, AT);
    assert_eq!(no_permit(&mut health, AT), NoPermit::NotBefore(Timestamp(AT.0 + 10_000)));
    let last = permit(&mut health, at(10));
    assert_eq!(health.on_unauthorized(last, at(10), 1.0), Some(Transition::Halted { wait: secs(10) }));
    health.set_limits(HealthLimits { concurrency: 16, requests_per_second: None, ..limits });
    assert_eq!(no_permit(&mut health, at(11)), NoPermit::Halted(at(20)));
}

#[test]
fn outages_and_quotas_of_a_day_set_no_rate() {
    let mut health = health();
    for _ in 0..20 {
        reply(&mut health, "ok", 0);
    }
    for failed in ["1", "2", "3"] {
        reply(&mut health, failed, 0);
    }
    assert!(health.learned().concurrency < 16.0);
    let permit = permit(&mut health, at(2));
    health.on_success(permit, at(2));
    let permit = self::permit(&mut health, at(2));
    health.on_rate_limited(permit, at(2), Some(secs(3_600)), 0.0);
    assert_eq!(health.learned().requests_per_second, None);
}

#[test]
fn a_cancelled_request_takes_no_place_in_the_rate() {
    let mut health = health();
    health.rate = RateLimit::new(Some(0.1), &LearnedLimits::default());
    let unused = permit(&mut health, AT);
    assert_eq!(no_permit(&mut health, AT), NoPermit::NotBefore(Timestamp(AT.0 + 10_000)));
    health.cancel(unused, AT);
    let used = permit(&mut health, AT);
    health.on_success(used, AT);
    assert_eq!(no_permit(&mut health, at(1)), NoPermit::NotBefore(Timestamp(AT.0 + 10_000)));
}

/// What the next owner of the account begins with at this second.
fn taken_over(health: &AccountHealth, saved_at: u64, second: u64) -> AccountHealth {
    let saved = serde_json::to_string(&health.saved(at(saved_at))).expect("JSON");
    let limits = HealthLimits { backoff: BACKOFF, concurrency: 16, requests_per_second: None };
    AccountHealth::taken_over(limits, serde_json::from_str(&saved).expect("the same"), at(second))
}

#[test]
fn a_new_owner_keeps_a_pause_and_its_end() {
    let mut health = health();
    reply(&mut health, "429 in 9 s", 0);
    let mut next = taken_over(&health, 2, 5);
    assert_eq!(no_permit(&mut next, at(5)), NoPermit::Open(at(9)));
    let (first, transition) = next.try_acquire(at(9)).expect("one request goes first");
    assert_eq!(transition, Some(Transition::HalfOpened));
    assert_eq!(no_permit(&mut next, at(9)), NoPermit::Busy);
    assert_eq!(next.on_success(first, at(9)), Some(Transition::Closed));
}

#[test]
fn a_new_owner_with_a_clock_an_hour_off_waits_for_the_pause_at_most() {
    let mut health = health();
    reply(&mut health, "429 in 9 s", 4_000);
    let mut behind = taken_over(&health, 4_000, 400);
    assert_eq!(no_permit(&mut behind, at(400)), NoPermit::Open(at(409)));
    let mut ahead = taken_over(&health, 4_000, 7_600);
    drop(permit(&mut ahead, at(7_600)));
}

#[test]
fn a_new_owner_keeps_a_halt_and_probes_the_key_before_any_call() {
    let mut health = health();
    reply(&mut health, "401", 0);
    let mut next = taken_over(&health, 1, 5);
    assert_eq!(no_permit(&mut next, at(5)), NoPermit::ProbeDue);
    assert_eq!(next.on_probe(&ApiKeyVerification::Accepted, at(5), 1.0), Ok(Some(Transition::Resumed)));
    drop(permit(&mut next, at(5)));
}

#[test]
fn a_wait_for_the_next_probe_does_not_end_a_retry_after() {
    let mut health = health();
    let both = [permit(&mut health, AT), permit(&mut health, AT)];
    let [limited, unauthorized] = both;
    health.on_rate_limited(limited, AT, Some(secs(600)), 0.0);
    health.on_unauthorized(unauthorized, AT, 1.0);
    let mut next = taken_over(&health, 1, 5);
    next.on_probe(&ApiKeyVerification::Accepted, at(5), 1.0).expect("it works");
    assert_eq!(no_permit(&mut next, at(5)), NoPermit::Open(at(600)));
}

#[test]
fn a_half_open_account_is_half_open_for_the_next_owner_too() {
    let mut health = health();
    reply(&mut health, "429", 0);
    let trial = permit(&mut health, at(60));
    let mut next = taken_over(&health, 60, 61);
    drop(permit(&mut next, at(61)));
    assert_eq!(no_permit(&mut next, at(61)), NoPermit::Busy);
    health.on_success(trial, at(62));
    assert_eq!(health.saved(at(62)).pause, None);
}

#[test]
fn a_pause_is_saved_when_it_begins_changes_and_ends_and_not_between() {
    for pause in ["429", "429 in 9 s", "401"] {
        let mut health = health();
        reply(&mut health, pause, 0);
        let paused = health.saved(AT);
        let well = SavedHealth { pause: None, ..paused.clone() };
        let saved = [well, health.saved(at(1)), health.saved(at(7)), health.saved(at(70))];
        assert_eq!(saved.map(|saved| saved.differs_from(&paused)), [true, false, false, false], "{pause}");
        let Ok((trial, _)) = health.try_acquire(at(70)) else { continue };
        assert!(health.saved(at(70)).differs_from(&paused));
        health.on_success(trial, at(70));
        assert!(health.saved(at(70)).differs_from(&paused));
    }
}

/// Another process may have made a request just before.
#[test]
fn the_ceiling_of_requests_per_second_holds_across_a_takeover() {
    let limits = HealthLimits { backoff: BACKOFF, concurrency: 16, requests_per_second: Some(0.5) };
    let mut next = AccountHealth::taken_over(limits, SavedHealth::default(), at(1));
    assert_eq!(no_permit(&mut next, at(1)), NoPermit::NotBefore(at(3)));
    drop(permit(&mut next, at(3)));
    assert_eq!(no_permit(&mut next, at(3)), NoPermit::NotBefore(at(5)));
}
