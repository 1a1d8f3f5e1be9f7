//! Deliveries as scripts: from a scenario and Refersion's replies to the calls that are made and their outcome.
//!
//! A row reads `scenario, replies, "calls → verdict | memory"`. Every script runs twice: without a restart, and with the
//! process restarted after each step, which shows that the saved progress is enough to go on.
//! [`transient_failures`] then runs all of them again with a failure at every single call.

mod bounds;
mod coalesce;
mod delete;
mod delete_again;
mod identify;
mod known;
mod listed;
mod merchants_status;
mod newer_facts;
mod one_by_one;
mod owners;
mod rejected_values;
mod scenario;
mod script_runner;
mod taken;
mod text;
mod transient_failures;
mod unanswered;

use scenario::Scenario;
use script_runner::{Restarts, ScriptRun, run_script};

/// One claim about deliveries.
struct Row {
    claim: &'static str,
    scenario: Scenario,
    replies: &'static str,
    expected: &'static str,
}

fn row(claim: &'static str, scenario: Scenario, replies: &'static str, expected: &'static str) -> Row {
    Row { claim, scenario, replies, expected }
}

/// The replies and the expected result with restarts: after one between an edit and a status, the status is read before it is set.
fn with_restarts(row: &Row, whole: &ScriptRun) -> (String, String) {
    let before = whole.calls.iter().position(|call| call.starts_with("status")).and_then(|at| at.checked_sub(1));
    let again = before.and_then(|before| transient_failures::reads_status_again(row, whole, before));
    let Some((at, get, reply)) = again else { return (row.replies.to_owned(), row.expected.to_owned()) };
    let mut replies: Vec<&str> = row.replies.split(", ").collect();
    replies.insert(at, &reply);
    let set = &whole.calls[at];
    (replies.join(", "), row.expected.replacen(set, &format!("{get}, {set}"), 1))
}

/// Runs every row, with and without restarts; reports all that failed.
fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for row in rows {
        let Row { claim, scenario, replies, expected } = row;
        let whole = run_script(scenario, replies, Restarts::Never);
        let (more_replies, more_expected) = with_restarts(row, &whole);
        let restarted = run_script(scenario, &more_replies, Restarts::AfterEachStep);
        for (restarts, run, replies, expected) in [
            (Restarts::Never, whole, *replies, *expected),
            (Restarts::AfterEachStep, restarted, &*more_replies, &*more_expected),
        ] {
            let run = run.to_string();
            if run != expected {
                wrong.push(format!(
                    "{claim} (restarts: {restarts:?})\n  replies  {replies}\n  expected {expected}\n  actual   {run}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
