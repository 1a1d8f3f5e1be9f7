//! What the rate becomes after requests, 429s and time.

use super::*;

/// A search whose first 429 came after `accepted` requests in a second.
fn search(accepted: u32) -> RateSearch {
    let mut search = RateSearch::default();
    (0..accepted).for_each(|_| search.on_accepted());
    search.on_elapsed(Duration::from_secs(1), Phase::Other);
    search.on_rate_limited();
    search
}

/// A search that knows this rate.
fn at(rate: f64) -> RateSearch {
    RateSearch::restored(Some(rate), Unrelated429s::default())
}

fn accept(search: &mut RateSearch, requests: u32) {
    (0..requests).for_each(|_| search.on_accepted());
}

/// The rate in percent of `of`.
fn percent(search: &RateSearch, of: f64) -> String {
    format!("{:.0}", search.rate().expect("a rate") / of * 100.0)
}

#[test]
fn there_is_no_rate_without_a_429_and_a_few_requests_are_no_first_guess() {
    let mut search = RateSearch::default();
    (0..1_000).for_each(|_| search.on_accepted());
    search.on_elapsed(Duration::from_secs(10), Phase::Other);
    assert_eq!(search.rate(), None);
    assert_eq!(RateSearch::restored(None, Unrelated429s::default()).rate(), None);
    assert_eq!(self::search(3).rate(), None);
    assert_eq!(percent(&self::search(4), 4.0), "95");
}

#[test]
fn the_rate_rises_to_the_ceiling_stays_about_it_and_then_rises_faster_and_faster() {
    for (after, of_ceiling) in [(0, "95"), (20, "100"), (30, "101"), (40, "105"), (60, "140"), (80, "235")] {
        let mut search = at(100.0);
        search.on_elapsed(Duration::from_secs(after), Phase::Limited);
        assert_eq!(percent(&search, 100.0), of_ceiling, "after {after} s");
    }
}

#[test]
fn time_in_which_the_rate_held_nothing_up_does_not_raise_it() {
    let mut search = at(100.0);
    search.on_elapsed(Duration::from_secs(3_600), Phase::Other);
    search.on_elapsed(Duration::from_secs(3_600), Phase::Paused);
    assert_eq!(percent(&search, 100.0), "95");
}

#[test]
fn a_429_sets_the_ceiling_to_the_accepted_rate() {
    for (accepted, sending, paused, ceiling) in [
        (40, 10, 0, 4.0),
        (36, 9, 1, 4.0),  // a short pause is lost time
        (60, 1, 59, 1.0), // a long one is the rest of a window
        (7, 1, 0, 9.5),   // too few to say anything: the rate itself, which was 9.5
        (400, 10, 0, 9.5),
    ] {
        let mut search = at(10.0);
        (0..accepted).for_each(|_| search.on_accepted());
        search.on_elapsed(Duration::from_secs(sending), Phase::Other);
        search.on_elapsed(Duration::from_secs(paused), Phase::Paused);
        search.on_rate_limited();
        search.trial = None;
        assert_eq!(percent(&search, ceiling), "95", "{accepted} in {sending} s and {paused} s of pauses");
    }
}

#[test]
fn the_rate_is_never_below_its_least() {
    let curve = Some(Curve::starting_at(MIN_RATE / 2.0, PERIOD, true));
    let mut search = RateSearch { curve, ..RateSearch::default() };
    (0..16).for_each(|_| _ = search.on_rate_limited());
    assert_eq!(search.rate(), Some(MIN_RATE));
}

#[test]
fn a_restart_begins_with_the_learned_rate_or_with_the_least_to_restore() {
    for (learned, begins) in [(10.0, 10.0), (0.02, MIN_RESTORED)] {
        assert_eq!(percent(&at(learned), begins), "95", "{learned}");
    }
}

#[test]
fn a_429_below_the_ceiling_is_tried_at_a_rate_that_no_limit_explains() {
    // After 100 in 10 s at a rate of 10: at 8 a second, until 200 were accepted, or for 20 s.
    for (accepted, seconds, then_429, percent_of_ten) in [
        (0, 0, false, "80"),
        (199, 19, false, "80"),
        (200, 0, false, "90"), // it was about the rate, which is cut by 5 % from where it was
        (0, 20, false, "90"),
        (25, 1, true, "95"), // it was not: the curve begins again at the earlier ceiling
    ] {
        let mut search = at(10.0);
        accept(&mut search, 100);
        search.on_elapsed(Duration::from_secs(10), Phase::Other);
        assert!(search.on_rate_limited());
        accept(&mut search, accepted);
        search.on_elapsed(Duration::from_secs(seconds), Phase::Limited);
        assert!(!then_429 || !search.on_rate_limited(), "this one is not about the rate");
        assert_eq!(percent(&search, 10.0), percent_of_ten, "{accepted} in {seconds} s, a 429: {then_429}");
    }
}

#[test]
fn a_429_early_in_a_trial_starts_another_at_the_rate_accepted_since() {
    let mut search = at(10.0);
    accept(&mut search, 100);
    search.on_elapsed(Duration::from_secs(10), Phase::Other);
    search.on_rate_limited();
    // The limit has fallen to 3: of 100 before, 24 are too few for a proof, and then of 24 five. Five are no sample, either.
    for (accepted, seconds, percent_of_ten) in [(24, 8, "24"), (5, 5, "24"), (5, 1, "13")] {
        accept(&mut search, accepted);
        search.on_elapsed(Duration::from_secs(seconds), Phase::Other);
        assert!(search.on_rate_limited());
        assert_eq!(percent(&search, 10.0), percent_of_ten, "{accepted} in {seconds} s");
    }
}

#[test]
fn a_429_that_is_to_be_expected_changes_nothing() {
    let mut search = RateSearch::restored(Some(10.0), Unrelated429s::measured(2.0, 100.0));
    accept(&mut search, 100);
    assert!(!search.on_rate_limited());
    assert_eq!((percent(&search, 10.0), search.learned()), ("95".to_owned(), Some(10.0)));
}

#[test]
fn no_429_starts_a_trial_at_or_above_the_ceiling_or_after_few_requests() {
    for (accepted, phase, has_trial) in
        [(200, Phase::Limited, false), (7, Phase::Other, false), (8, Phase::Other, true)]
    {
        let mut search = at(10.0);
        accept(&mut search, accepted);
        search.on_elapsed(Duration::from_secs(20), phase);
        search.on_rate_limited();
        assert_eq!(search.trial.is_some(), has_trial, "{accepted} requests, {phase:?}");
    }
}

#[test]
fn processes_too_short_lived_to_see_more_than_one_429_do_not_lower_the_rate_one_after_the_other() {
    let mut learned = Some(100.0);
    for _ in 0..20 {
        let mut search = RateSearch::restored(learned, Unrelated429s::default());
        accept(&mut search, 10);
        search.on_elapsed(Duration::from_secs(1), Phase::Limited);
        search.on_rate_limited();
        learned = search.learned();
    }
    assert_eq!(learned, Some(100.0));
}
