//! Whatever Refersion answers, and however stubbornly: a delivery ends, within few calls, and claims nothing it did not do.

use super::given::{Given, delete, identify, membership};
use super::play::{Life, Played, drive};
use super::text;
use proptest::prelude::*;
use refersion_destination::delivery::{Action, Call, Outcome, Reply, Step};
use refersion_destination::domain::{AffiliateCode, AffiliateStatus};

/// No delivery takes more calls, but for pages of search results.
const BOUND: usize = 16;

/// What is answered to each operation; last what is rare or belongs to another call.
const NEW: [&str; 4] = ["created c 7", "created c", "taken", "changed"];
const SEARCH: [&str; 6] = ["found c", "found c DISABLED", "others 2 of 3", "empty", "gone", "taken"];
const GET: [&str; 6] =
    ["affiliate 7 ACTIVE", "affiliate 7 DENIED", "affiliate 7 DISABLED first_name=P", "affiliate 8 X", "gone", "empty"];
const CHANGE: [&str; 5] = ["changed", "unchanged", "gone", "taken", "refused"];

fn givens() -> Vec<Given> {
    let known = |given: Given| given.by_user_id("created a3y7", "email=old@x.io").by_email("found b2b2/9", "");
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

/// Answers with `choose`, but with a code never seen before wherever one is told, as the most misleading Refersion would.
fn hostile(given: &Given, mut choose: impl FnMut(&Call) -> &'static str) -> (Played, Vec<Reply>) {
    let mut heard = Vec::new();
    let played = drive(given, Life::Long, |call| {
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
    (played, heard)
}

fn assert_sound(given: &Given, played: &Played, heard: &[Reply]) {
    let count = |is: fn(&Reply) -> bool| heard.iter().filter(|reply| is(reply)).count();
    let changed = count(|reply| matches!(reply, Reply::Changed));
    let created = count(|reply| matches!(reply, Reply::Created { .. }));
    let disabled = count(|reply| match reply {
        Reply::Affiliate(affiliate) => affiliate.status == Some(AffiliateStatus::Disabled),
        Reply::Page { results, .. } => results.iter().any(|found| found.status == Some(AffiliateStatus::Disabled)),
        _ => false,
    });
    assert!(!matches!(played.verdict, Step::Next(_)), "goes on and on: {played}");
    assert!(created <= 1, "creates more than one: {played}");
    assert!(played.calls.iter().all(|call| !call.contains("{}")), "says nothing: {played}");
    if let Step::Done(Outcome::Delivered { action, .. }) = &played.verdict {
        let done = match action {
            Action::Created => created == 1 || given.interrupted,
            Action::Updated => changed > 0 && created == 0,
            Action::Unchanged => changed == 0 && created == 0,
            Action::Disabled | Action::Anonymized => changed > 0 || disabled > 0,
            Action::NotFound => {
                played.calls.last().is_none_or(|call| call.starts_with("get") || call.starts_with("search"))
            }
        };
        assert!(done, "claims what it did not do: {played}");
    }
}

#[test]
fn a_refersion_that_always_answers_the_same_ends_every_delivery() {
    let mut played = 0;
    for given in givens() {
        for (new, search) in NEW[..3].iter().flat_map(|new| SEARCH[..5].iter().map(move |search| (new, search))) {
            for (get, edit) in GET[..5].iter().flat_map(|get| CHANGE[..4].iter().map(move |edit| (get, edit))) {
                for status in &CHANGE[..3] {
                    let (ended, heard) = hostile(&given, |call| match call {
                        Call::New(_) => new,
                        Call::Search { .. } => search,
                        Call::Get(_) => get,
                        Call::Edit { .. } => edit,
                        Call::SetStatus { .. } => status,
                    });
                    assert_sound(&given, &ended, &heard);
                    played += 1;
                }
            }
        }
    }
    assert_eq!(played, 14 * 3 * 5 * 5 * 4 * 3);
}

proptest! {
    #[test]
    fn any_answers_in_any_order_end_every_delivery(
        given in 0..givens().len(),
        choices in prop::collection::vec(0_usize..60, BOUND),
    ) {
        let given = &givens()[given];
        let mut choices = choices.into_iter().cycle();
        let (ended, heard) = hostile(given, |call| {
            let answers: &[&str] = match call {
                Call::New(_) => &NEW,
                Call::Search { .. } => &SEARCH,
                Call::Get(_) => &GET,
                Call::Edit { .. } | Call::SetStatus { .. } => &CHANGE,
            };
            answers[choices.next().unwrap_or_default() % answers.len()]
        });
        assert_sound(given, &ended, &heard);
    }
}

#[test]
fn a_search_without_end_is_given_up() {
    for (given, before) in [(identify(""), 1), (delete("peter@x.io"), 0)] {
        let played = drive(&given, Life::Long, |call| match call {
            Call::New(_) => Some(text::reply("taken")),
            _ => Some(text::reply("others 3 of 999999999")),
        });
        assert_eq!(text::verdict(&played.verdict), "dead endless_search");
        assert_eq!(played.calls.len(), before + 1_000);
    }
}

#[test]
fn a_search_that_promises_more_than_it_has_ends_with_the_first_empty_page() {
    let given = delete("peter@x.io");
    let mut pages = ["others 3 of 999999999", "others 0 of 999999999", "gone"].into_iter();
    let played = drive(&given, Life::Long, |_| pages.next().map(text::reply));
    assert_eq!(played.to_string(), "search p1, search p2 → not_found");
}
