//! Whatever Refersion answers, and however stubbornly: a delivery ends, within few calls, and claims nothing it did not do.

use super::scenario::{Scenario, delete, identify, membership};
use super::script_runner::{Restarts, ScriptRun, run_with};
use super::text;
use proptest::prelude::*;
use refersion_destination::delivery::{Action, Call, Reply, Step, Success};
use refersion_destination::domain::{AffiliateCode, AffiliateStatus};

/// No delivery takes more calls, but for pages of search results.
const BOUND: usize = 16;

/// What is answered to each operation; last what is rare or belongs to another call.
const NEW: [&str; 4] = ["created c 7", "created c", "taken", "changed"];
const SEARCH: [&str; 6] = ["found c", "found c DISABLED", "others 2 of 3", "empty", "gone", "taken"];
const GET: [&str; 6] =
    ["affiliate 7 ACTIVE", "affiliate 7 DENIED", "affiliate 7 DISABLED first_name=P", "affiliate 8 X", "gone", "empty"];
const CHANGE: [&str; 5] = ["changed", "unchanged", "gone", "taken", "refused"];

fn scenarios() -> Vec<Scenario> {
    let known = |scenario: Scenario| scenario.by_user_id("created a3y7", "email=old@x.io").by_email("found b2b2/9", "");
    let base = [
        identify("city=Paris #11=450").demanding(AffiliateStatus::Denied),
        identify("first_name=Pete #11=450").demanding(AffiliateStatus::Active).ignoring(),
        identify("first_name=Pete").nameless().interrupted(),
        membership("#11=450"),
        delete("u1 peter@x.io"),
        delete("u1").anonymizing(),
        delete("peter@x.io").anonymizing(),
    ];
    base.iter().cloned().chain(base.iter().cloned().map(known)).collect()
}

/// Answers with `choose`, but with a code never seen before wherever a code is due, as the most misleading Refersion would.
fn run_with_misleading_replies(
    scenario: &Scenario,
    mut choose: impl FnMut(&Call) -> &'static str,
) -> (ScriptRun, Vec<Reply>) {
    let mut heard = Vec::new();
    let run = run_with(scenario, Restarts::Never, |call| {
        let fresh = AffiliateCode(format!("c{}", heard.len()));
        let reply = match text::reply(choose(call)) {
            Reply::Created { id, .. } => Reply::Created { code: fresh, id },
            Reply::Page { total, mut results } => {
                for found in &mut results {
                    found.code = fresh.clone();
                }
                Reply::Page { total, results }
            }
            reply => reply,
        };
        heard.push(reply.clone());
        (heard.len() <= BOUND).then_some(reply)
    });
    (run, heard)
}

fn assert_sound(scenario: &Scenario, run: &ScriptRun, heard: &[Reply]) {
    let count = |is: fn(&Reply) -> bool| heard.iter().filter(|reply| is(reply)).count();
    let changed = count(|reply| matches!(reply, Reply::Changed));
    let created = count(|reply| matches!(reply, Reply::Created { .. }));
    let disabled = count(|reply| match reply {
        Reply::Affiliate(affiliate) => affiliate.status == Some(AffiliateStatus::Disabled),
        Reply::Page { results, .. } => results.iter().any(|found| found.status == Some(AffiliateStatus::Disabled)),
        _ => false,
    });
    assert!(!matches!(run.verdict, Step::Next(_)), "goes on and on: {run}");
    assert!(created <= 1, "creates more than one: {run}");
    assert!(run.calls.iter().all(|call| !call.contains("{}")), "says nothing: {run}");
    if let Step::Done(Success::Delivered { action, .. }) = &run.verdict {
        let done = match action {
            Action::Created => created == 1 || scenario.interrupted,
            Action::Updated => changed > 0 && created == 0,
            Action::Unchanged => changed == 0 && created == 0,
            Action::Disabled | Action::Anonymized => changed > 0 || disabled > 0,
            Action::NotFound => {
                run.calls.last().is_none_or(|call| call.starts_with("get") || call.starts_with("search"))
            }
        };
        assert!(done, "claims what it did not do: {run}");
    }
}

#[test]
fn a_refersion_that_always_answers_the_same_ends_every_delivery() {
    let mut run = 0;
    for scenario in scenarios() {
        for (new, search) in NEW[..3].iter().flat_map(|new| SEARCH[..5].iter().map(move |search| (new, search))) {
            for (get, edit) in GET[..5].iter().flat_map(|get| CHANGE[..4].iter().map(move |edit| (get, edit))) {
                for status in &CHANGE[..3] {
                    let (ended, heard) = run_with_misleading_replies(&scenario, |call| match call {
                        Call::New(_) => new,
                        Call::Search { .. } => search,
                        Call::Get(_) => get,
                        Call::Edit { .. } => edit,
                        Call::SetStatus { .. } => status,
                    });
                    assert_sound(&scenario, &ended, &heard);
                    run += 1;
                }
            }
        }
    }
    assert_eq!(run, 14 * 3 * 5 * 5 * 4 * 3);
}

proptest! {
    #[test]
    fn any_answers_in_any_order_end_every_delivery(
        scenario in 0..scenarios().len(),
        choices in prop::collection::vec(0_usize..60, BOUND),
    ) {
        let scenario = &scenarios()[scenario];
        let mut choices = choices.into_iter().cycle();
        let (ended, heard) = run_with_misleading_replies(scenario, |call| {
            let answers: &[&str] = match call {
                Call::New(_) => &NEW,
                Call::Search { .. } => &SEARCH,
                Call::Get(_) => &GET,
                Call::Edit { .. } | Call::SetStatus { .. } => &CHANGE,
            };
            answers[choices.next().unwrap_or_default() % answers.len()]
        });
        assert_sound(scenario, &ended, &heard);
    }
}

#[test]
fn a_search_without_end_is_given_up() {
    for (scenario, before) in [(identify(""), 1), (delete("peter@x.io"), 0)] {
        let run = run_with(&scenario, Restarts::Never, |call| match call {
            Call::New(_) => Some(text::reply("taken")),
            _ => Some(text::reply("others 3 of 999999999")),
        });
        assert_eq!(text::verdict(&run.verdict), "dead endless_search");
        assert_eq!(run.calls.len(), before + 1_000);
    }
}

#[test]
fn a_search_that_promises_more_than_it_has_ends_with_the_first_empty_page() {
    let scenario = delete("peter@x.io");
    let mut pages = ["others 3 of 999999999", "others 0 of 999999999", "gone"].into_iter();
    let run = run_with(&scenario, Restarts::Never, |_| pages.next().map(text::reply));
    assert_eq!(run.to_string(), "search p1, search p2 → not_found");
}
