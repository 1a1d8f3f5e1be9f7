//! Deliveries as scripts: from a scenario and Refersion's replies to the calls that are made and their outcome.
//!
//! A row reads `scenario, replies, "calls → verdict | memory"`. Every script runs twice: without a restart, and with the
//! process restarted after each step, which shows that the saved progress is enough to go on.
//! [`transient_failures`] then runs all of them again with a failure at every single call.

mod bounds;
mod coalesce;
mod delete;
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
use script_runner::{Restarts, run_script};

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

/// Runs every row, with and without restarts; reports all that failed.
fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for Row { claim, scenario, replies, expected } in rows {
        for restarts in [Restarts::Never, Restarts::AfterEachStep] {
            let run = run_script(scenario, replies, restarts).to_string();
            if run != *expected {
                wrong.push(format!(
                    "{claim} (restarts: {restarts:?})\n  replies  {replies}\n  expected {expected}\n  actual   {run}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
