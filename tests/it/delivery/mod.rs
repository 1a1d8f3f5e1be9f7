//! Deliveries as scripts: what is given and what Refersion answers, what is asked of it in turn and what that comes to.
//!
//! A row reads `given, replies, "calls → verdict | memory"`. Every script is played twice: in one go, and with the
//! process dying and starting anew between any two steps, so that what is written down is enough to go on.
//! [`transient_failures`] then plays all of them again with something going wrong at every single call.

mod bounds;
mod coalesce;
mod delete;
mod given;
mod identify;
mod known;
mod one_by_one;
mod play;
mod taken;
mod text;
mod transient_failures;
mod unanswered;

use given::Given;
use play::{Life, play};

/// One claim about deliveries.
struct Row {
    claim: &'static str,
    given: Given,
    replies: &'static str,
    expected: &'static str,
}

fn row(claim: &'static str, given: Given, replies: &'static str, expected: &'static str) -> Row {
    Row { claim, given, replies, expected }
}

/// Plays every row, in one go and in pieces; tells of all that failed.
fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for Row { claim, given, replies, expected } in rows {
        for life in [Life::Long, Life::Short] {
            let played = play(given, replies, life).to_string();
            if played != *expected {
                wrong.push(format!(
                    "{claim} ({life:?} life)\n  replies  {replies}\n  expected {expected}\n  played   {played}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}
