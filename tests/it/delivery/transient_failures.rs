//! A transient failure (or a crash) at every single call of every script: the next attempt makes the remaining calls,
//! and only those; what may have changed meanwhile is read again.

use super::scenario::{Scenario, identify};
use super::script_runner::{Restarts, ScriptRun, run_script, run_with};
use super::{
    Row, delete, identify as unknown, known, listed, merchants_status, newer_facts, owners, rejected_values, taken,
    text,
};
use refersion_destination::delivery::{Rejection, Reply, Step, TransientFailure};
use refersion_destination::mapping::Intent;
use std::collections::BTreeSet;
use std::time::Duration;

fn every_row() -> Vec<Row> {
    [
        unknown::rows(),
        taken::rows(),
        known::rows(),
        listed::rows(),
        delete::rows(),
        owners::rows(),
        newer_facts::rows(),
        rejected_values::rows(),
        merchants_status::rows(),
    ]
    .into_iter()
    .flatten()
    .collect()
}

/// The delivery that continues from the progress of `earlier`.
pub(super) fn later(scenario: &Scenario, earlier: &ScriptRun, interrupted: bool) -> Scenario {
    let store = earlier.store.clone();
    Scenario { memory: store.memory, progress: store.progress, interrupted, ..scenario.clone() }
}

/// Plays the replies before `at`, then `failure` (or a crash), then the rest in another process.
fn broken(row: &Row, whole: &ScriptRun, at: usize, failure: Option<&str>) -> (ScriptRun, ScriptRun) {
    let replies: Vec<&str> = row.replies.split(", ").collect();
    let mut before = replies[..at].iter().copied().chain(failure);
    let first = run_with(&row.scenario, Restarts::Never, |_| before.next().map(text::reply));
    let crashed = failure.is_none();
    let mut rest: Vec<String> = replies[at..].iter().map(|reply| (*reply).to_owned()).collect();
    if let Some((before, _, reply)) = reads_again(row, whole, at) {
        rest.insert(before - at, reply);
    }
    let mut second = run_script(&later(&row.scenario, &first, crashed), &rest.join(", "), Restarts::Never);
    second.store.forgotten.splice(0..0, first.store.forgotten.clone());
    (first, second)
}

/// Before an identify sets a status, the status is read in the same attempt, because it may have changed since the last one: the place of
/// the additional `get` in the whole script, the call, and its reply.
pub(super) fn reads_status_again(row: &Row, whole: &ScriptRun, at: usize) -> Option<(usize, String, String)> {
    let is = |at: usize, operation: &str| whole.calls[at].starts_with(operation);
    let set_at = (at..whole.calls.len()).find(|at| is(*at, "status"))?;
    if !matches!(row.scenario.intent, Intent::Identify(_)) || (at..set_at).any(|at| is(at, "get") || is(at, "new")) {
        return None;
    }
    let id = whole.calls[set_at].split(' ').nth(1)?;
    let shown = row.replies.split(", ").nth(set_at - 1).filter(|reply| reply.starts_with("affiliate"));
    Some((set_at, format!("get {id}"), shown.map_or(format!("affiliate {id} PENDING"), str::to_owned)))
}

/// What the attempt after a failure at the call `at` reads again.
fn reads_again(row: &Row, whole: &ScriptRun, at: usize) -> Option<(usize, String, String)> {
    reads_status_again(row, whole, at).or_else(|| reads_found_again(row, whole, at))
}

/// Before a delete changes an affiliate that an earlier attempt found, the affiliate is read, because it may have another e-mail by now.
fn reads_found_again(row: &Row, whole: &ScriptRun, at: usize) -> Option<(usize, String, String)> {
    let is = |at: usize, operation: &str| whole.calls[at].starts_with(operation);
    let replies: Vec<&str> = row.replies.split(", ").collect();
    let found_at = (1..at).rev().find(|at| is(at - 1, "search") && is(*at, "get"))?;
    let is_due = (is(at, "edit") || is(at, "status")) && !replies[found_at..at].contains(&"changed");
    let is_delete = matches!(row.scenario.intent, Intent::Delete { .. });
    (is_delete && is_due).then(|| (at, whole.calls[found_at].clone(), replies[found_at].to_owned()))
}

/// Every row with every call of it at which `failure` changes nothing but the time it takes.
fn at_every_call(leaves_new_open: bool, mut check: impl FnMut(&Row, &ScriptRun, usize)) {
    for row in every_row() {
        let whole = run_script(&row.scenario, row.replies, Restarts::Never);
        let replies: Vec<&str> = row.replies.split(", ").collect();
        for (at, call) in whole.calls.iter().enumerate() {
            // Then "taken" means something else: see the test about it.
            let turns = leaves_new_open && call == "new" && replies[at..].contains(&"taken");
            if !turns {
                check(&row, &whole, at);
            }
        }
    }
}

fn assert_the_rest_is_done(row: &Row, whole: &ScriptRun, at: usize, second: &ScriptRun) {
    let mut expected = whole.clone();
    if let Some((before, call, _)) = reads_again(row, whole, at) {
        expected.calls.insert(before, call);
    }
    expected.calls.drain(..at);
    assert_eq!(second.to_string(), expected.to_string(), "{} (failure at call {at} of {whole})", row.claim);
}

#[test]
fn the_remaining_calls_and_only_those_are_made_after_any_transient_failure() {
    let mut met = BTreeSet::new();
    for (failure, expected) in [("429", "handed back"), ("down", "retry"), ("lost", "retry"), ("401", "halt")] {
        at_every_call(failure == "lost", |row, whole, at| {
            let (first, second) = broken(row, whole, at, Some(failure));
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
        let (_, second) = broken(row, whole, at, None);
        assert_the_rest_is_done(row, whole, at, &second);
    });
}

#[test]
fn a_taken_e_mail_after_an_unanswered_new_is_our_own_work_however_long_it_takes() {
    for scenario in [identify("city=Paris"), identify("city=Paris").ignoring()] {
        for (failure, crashed) in [(Some("lost"), false), (None, true)] {
            let mut replies = failure.into_iter();
            let lost = run_with(&scenario, Restarts::Never, |_| replies.next().map(text::reply));
            let missed = run_script(&later(&scenario, &lost, crashed), "taken, empty", Restarts::AfterEachStep);
            assert_eq!(missed.to_string(), "new, search p1 → retry");
            let found = run_script(
                &later(&scenario, &missed, false),
                "taken, found a3y7, affiliate 7 ACTIVE, changed",
                Restarts::AfterEachStep,
            );
            let expected = "new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7";
            assert_eq!(found.to_string(), expected);
        }
    }
}

#[test]
fn a_new_that_was_certainly_not_carried_out_is_not_our_own_work() {
    let scenario = identify("city=Paris").ignoring();
    for failure in ["429", "down", "401"] {
        let first = run_script(&scenario, failure, Restarts::Never);
        let second = run_script(&later(&scenario, &first, false), "taken, found a3y7", Restarts::Never);
        assert!(matches!(second.verdict, Step::Done(_)), "{second}");
        assert!(second.to_string().starts_with("new, search p1 → existed a3y7"), "{second}");
    }
}

#[test]
fn the_values_of_before_are_sent_if_an_ended_event_may_have_changed_them() {
    let bern = identify("city=Bern").knowing("created a3y7/7", "city=Oslo");
    let calls = |replies: &str| {
        let ended = run_script(&bern, replies, Restarts::Never);
        let returns = later(&identify("city=Oslo"), &ended, false).with_no_progress();
        run_with(&returns, Restarts::Never, |_| Some(Reply::Changed)).calls
    };
    for replies in ["lost", "down", "unchanged, lost", "unchanged, down"] {
        assert_eq!(calls(replies), ["edit 7 {city}"], "{replies}");
    }
    for replies in ["429", "401"] {
        assert!(calls(replies).is_empty(), "{replies}");
    }
}

#[test]
fn the_values_of_before_are_sent_if_a_crash_interrupted_an_edit_and_its_repeat_is_rejected() {
    let bern = identify("city=Bern").knowing("created a3y7/7", "city=Oslo");
    let crashed = run_with(&bern, Restarts::Never, |_| None);
    let rejection = Rejection::Other("Your account plan does not support this feature".to_owned());
    let rejected = Some(Reply::Rejected(rejection));
    let dead = run_with(&later(&bern, &crashed, true), Restarts::Never, |_| rejected.clone());
    assert_eq!(dead.to_string(), "edit 7 {city} → dead refused | created a3y7/7, owing {city}");
    let returns = later(&identify("city=Oslo"), &dead, false).with_no_progress();
    assert_eq!(run_script(&returns, "changed", Restarts::Never).calls, ["edit 7 {city}"]);
}

#[test]
fn an_answer_that_belongs_to_another_call_is_tried_again() {
    for (scenario, replies) in [
        (identify(""), "changed"),
        (identify(""), "taken, created a3y7"),
        (identify(""), "taken, found a3y7, changed"),
        (identify("city=Paris").knowing("created a3y7/7", ""), "found a3y7"),
        (identify("city=Paris").knowing("created a3y7", ""), "taken"),
        (super::scenario::delete("peter@x.io"), "changed"),
        (super::scenario::delete("u1").by_user_id("created a3y7/7", ""), "taken"),
    ] {
        let run = run_script(&scenario, replies, Restarts::Never);
        assert_eq!(text::verdict(&run.verdict), "retry", "{run}");
    }
}

#[test]
fn the_wait_that_refersion_asks_for_is_handed_on() {
    let asked = TransientFailure { what: "failure".to_owned(), retry_after: Some(Duration::from_secs(7)) };
    for reply in [Reply::Unavailable(asked.clone()), Reply::Lost(asked.clone())] {
        let run = run_with(&identify(""), Restarts::Never, |_| Some(reply.clone()));
        let Step::Retry(failure) = run.verdict else { panic!("{run}") };
        assert_eq!(failure, asked, "{reply:?}");
    }
}
