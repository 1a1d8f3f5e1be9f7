//! A transient failure (or a crash) at every single call of every script: the next attempt makes the remaining calls,
//! and only those.

use super::given::{Given, identify};
use super::play::{Life, Played, drive, play};
use super::{Row, delete, identify as unknown, known, taken, text};
use refersion_destination::delivery::{Reply, Step};
use std::collections::BTreeSet;
use std::time::Duration;

fn every_row() -> Vec<Row> {
    [unknown::rows(), taken::rows(), known::rows(), delete::rows()].into_iter().flatten().collect()
}

/// The delivery as it goes on from what `earlier` wrote down.
pub(super) fn later(given: &Given, earlier: &Played, interrupted: bool) -> Given {
    let store = earlier.store.clone();
    Given { memory: store.memory, progress: store.progress, interrupted, ..given.clone() }
}

/// Plays the replies before `at`, then `failure` (or a crash), then the rest in another life.
fn broken(row: &Row, at: usize, failure: Option<&str>) -> (Played, Played) {
    let replies: Vec<&str> = row.replies.split(", ").collect();
    let mut before = replies[..at].iter().copied().chain(failure);
    let first = drive(&row.given, Life::Long, |_| before.next().map(text::reply));
    let crashed = failure.is_none();
    let mut second = play(&later(&row.given, &first, crashed), &replies[at..].join(", "), Life::Long);
    second.store.forgotten.splice(0..0, first.store.forgotten.clone());
    (first, second)
}

/// Every row with every call of it at which `failure` changes nothing but the time it takes.
fn at_every_call(leaves_new_open: bool, mut check: impl FnMut(&Row, &Played, usize)) {
    for row in every_row() {
        let whole = play(&row.given, row.replies, Life::Long);
        let replies: Vec<&str> = row.replies.split(", ").collect();
        for (at, (call, reply)) in whole.calls.iter().zip(replies).enumerate() {
            // Then "taken" means something else: see the test about it.
            let turns = leaves_new_open && call == "new" && reply == "taken";
            if !turns {
                check(&row, &whole, at);
            }
        }
    }
}

fn assert_the_rest_is_done(row: &Row, whole: &Played, at: usize, second: &Played) {
    let mut expected = whole.clone();
    expected.calls.drain(..at);
    assert_eq!(second.to_string(), expected.to_string(), "{} (failure at call {at} of {whole})", row.claim);
}

#[test]
fn after_any_transient_failure_the_remaining_calls_are_made_later_and_only_those() {
    let mut met = BTreeSet::new();
    for (failure, expected) in [("429", "retry, account pauses"), ("down", "retry"), ("lost", "retry"), ("401", "halt")]
    {
        at_every_call(failure == "lost", |row, whole, at| {
            let (first, second) = broken(row, at, Some(failure));
            assert_eq!(text::verdict(&first.verdict), expected, "{} ({failure} at call {at})", row.claim);
            assert_eq!(first.calls, whole.calls[..=at], "{}", row.claim);
            assert_the_rest_is_done(row, whole, at, &second);
            met.insert((failure, whole.calls[at].split(' ').next().unwrap_or_default().to_owned()));
        });
    }
    assert_eq!(met.len(), 4 * 5, "every failure at every operation: {met:?}");
}

#[test]
fn a_crash_during_any_call_costs_that_call_and_no_other() {
    at_every_call(true, |row, whole, at| {
        let (_, second) = broken(row, at, None);
        assert_the_rest_is_done(row, whole, at, &second);
    });
}

#[test]
fn taken_after_an_unanswered_new_is_our_own_work_however_long_it_takes() {
    for given in [identify("city=Paris"), identify("city=Paris").ignoring()] {
        for (failure, crashed) in [(Some("lost"), false), (None, true)] {
            let mut replies = failure.into_iter();
            let lost = drive(&given, Life::Long, |_| replies.next().map(text::reply));
            let missed = play(&later(&given, &lost, crashed), "taken, empty", Life::Short);
            assert_eq!(missed.to_string(), "new, search p1 → retry");
            let found =
                play(&later(&given, &missed, false), "taken, found a3y7, affiliate 7 ACTIVE, changed", Life::Short);
            let expected = "new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7";
            assert_eq!(found.to_string(), expected);
        }
    }
}

#[test]
fn a_new_that_was_certainly_not_carried_out_is_not_our_own_work() {
    let given = identify("city=Paris").ignoring();
    for failure in ["429", "down", "401"] {
        let first = play(&given, failure, Life::Long);
        let second = play(&later(&given, &first, false), "taken, found a3y7", Life::Long);
        assert!(matches!(second.verdict, Step::Done(_)), "{second}");
        assert!(second.to_string().starts_with("new, search p1 → existed a3y7"), "{second}");
    }
}

#[test]
fn an_answer_that_belongs_to_another_call_is_tried_again() {
    for (given, replies) in [
        (identify(""), "changed"),
        (identify(""), "taken, created a3y7"),
        (identify(""), "taken, found a3y7, changed"),
        (identify("city=Paris").knowing("created a3y7/7", ""), "found a3y7"),
        (identify("city=Paris").knowing("created a3y7", ""), "taken"),
        (super::given::delete("peter@x.io"), "changed"),
        (super::given::delete("u1").by_user_id("created a3y7/7", ""), "taken"),
    ] {
        let played = play(&given, replies, Life::Long);
        assert_eq!(text::verdict(&played.verdict), "retry", "{played}");
    }
}

#[test]
fn the_wait_that_refersion_asks_for_is_handed_on() {
    let (what, retry_after) = ("failure".to_owned(), Some(Duration::from_secs(7)));
    for reply in [
        Reply::RateLimited { retry_after },
        Reply::Unavailable { what: what.clone(), retry_after },
        Reply::Lost { what, retry_after },
    ] {
        let played = drive(&identify(""), Life::Long, |_| Some(reply.clone()));
        let Step::Retry(failure) = played.verdict else { panic!("{played}") };
        assert_eq!(failure.retry_after, retry_after, "{reply:?}");
    }
}
