//! A `new` whose answer is not known: the event is attempted again, and an affiliate that has its e-mail by then is
//! compared with what was sent.
//!
//! A script holds the replies of each attempt; attempts are separated by ` ; `. `crash` in place of a reply: the
//! process ends with the call in flight, and the next attempt is an interrupted one. `stop`: the process stops before
//! it sends the call, and hands the event back.

use super::scenario::{Scenario, identify};
use super::script_runner::{Restarts, run_with};
use super::text;
use super::transient_failures::later;
use refersion_destination::delivery::{Progress, Step};

pub(super) type Row = (&'static str, Scenario, &'static str, &'static str);

/// Plays all attempts of a script: the calls of the earlier ones, then the last one in full.
fn attempts(scenario: &Scenario, script: &str, restarts: Restarts) -> String {
    let mut scenario = scenario.clone();
    let mut shown = Vec::new();
    for attempt in script.split(" ; ") {
        let mut replies = attempt.split(", ");
        let mut end = "";
        let run = run_with(&scenario, restarts, |_| match replies.next()? {
            word @ ("crash" | "stop") => {
                end = word;
                None
            }
            reply => Some(text::reply(reply)),
        });
        assert_eq!(replies.next(), None, "a reply to no call, after {run}");
        scenario = later(&scenario, &run, end == "crash");
        let mut calls = run.calls.clone();
        if let (Step::Next(call), "crash") = (&run.verdict, end) {
            calls.push(text::call(call));
        }
        shown.push((calls.join(", "), run.to_string()));
    }
    let last = shown.pop().map(|(_, run)| run);
    shown.into_iter().map(|(calls, _)| calls).chain(last).collect::<Vec<_>>().join(" ; ")
}

pub(super) fn check(rows: &[Row]) {
    let mut wrong = Vec::new();
    for (claim, scenario, script, expected) in rows {
        for restarts in [Restarts::Never, Restarts::AfterEachStep] {
            let run = attempts(scenario, script, restarts);
            if run != *expected {
                wrong.push(format!(
                    "{claim} (restarts: {restarts:?})\n  script   {script}\n  expected {expected}\n  actual   {run}"
                ));
            }
        }
    }
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

const CREATED: &str = "new ; new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7";
const LEFT_ALONE: &str = "new ; new, search p1, get a3y7 → existed a3y7 | found a3y7/7, owing {first_name, city}";
const UPDATED: &str = "new ; new, search p1, get a3y7, edit 7 {first_name, city} → updated a3y7 | found a3y7/7";

#[test]
fn an_affiliate_that_shows_the_sent_values_was_created_by_the_event() {
    check(&[
        (
            "after a lost answer",
            identify("city=Paris"),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE, changed",
            CREATED,
        ),
        (
            "`ignore` is not about it",
            identify("city=Paris").ignoring(),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE, changed",
            CREATED,
        ),
        (
            "after a crash with the call in flight",
            identify("city=Paris").ignoring(),
            "crash ; taken, found a3y7, affiliate 7 ACTIVE, changed",
            CREATED,
        ),
        (
            "whatever fields it shows that were not sent: every affiliate has an offer",
            identify("city=Paris").ignoring(),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE offer=9, changed",
            CREATED,
        ),
        (
            "in whatever case it shows the e-mail",
            identify("city=Paris").ignoring(),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE email=Peter@X.io, changed",
            CREATED,
        ),
        (
            "an affiliate that the merchant has disabled since is left alone",
            identify("city=Paris"),
            "lost ; taken, found a3y7, affiliate 7 DISABLED",
            "new ; new, search p1, get a3y7 → left alone a3y7 DISABLED",
        ),
    ]);
}

#[test]
fn an_affiliate_that_an_earlier_attempt_found_and_that_has_another_email_by_now_is_changed_only_if_the_new_created_it()
{
    check(&[
        (
            "it shows the other sent values: a second `new` would create a second affiliate",
            identify("city=Paris"),
            "lost ; taken, found a3y7, 429 ; affiliate 7 ACTIVE email=new@x.io, changed",
            "new ; new, search p1, get a3y7 ; get a3y7, edit 7 {email, city} → created a3y7 | created a3y7/7",
        ),
        (
            "it shows the other sent values, and another affiliate has the e-mail: the e-mail does not lead to it",
            identify("city=Paris"),
            "lost ; taken, found a3y7, 429 ; affiliate 7 ACTIVE email=new@x.io, taken, changed",
            "new ; new, search p1, get a3y7 ; get a3y7, edit 7 {email, city}, edit 7 {city} \
             → created a3y7, email taken | created a3y7/7 by userId",
        ),
        (
            "the values of the `new` were not kept: only the e-mail would tell",
            Scenario { progress: of_last_release(true), ..identify("city=Paris") },
            "taken, found a3y7, 429 ; affiliate 7 ACTIVE email=new@x.io, created b2b2 9",
            "new, search p1, get a3y7 ; get a3y7, new → created b2b2 | created b2b2/9",
        ),
        (
            "it shows others: another affiliate has the e-mail by now",
            identify("city=Paris"),
            "lost ; taken, found a3y7, 429 ; affiliate 7 ACTIVE email=new@x.io first_name=Pat, taken, found b2b2, \
             affiliate 9 ACTIVE first_name=Pat, changed",
            "new ; new, search p1, get a3y7 ; get a3y7, new, search p1, get b2b2, edit 9 {first_name, city} \
             → updated b2b2 | found b2b2/9",
        ),
        (
            "it shows others: nobody has the e-mail by now",
            identify("city=Paris"),
            "lost ; taken, found a3y7, 429 ; affiliate 7 ACTIVE email=new@x.io first_name=Pat, created b2b2 9",
            "new ; new, search p1, get a3y7 ; get a3y7, new → created b2b2 | created b2b2/9",
        ),
    ]);
}

#[test]
fn an_affiliate_that_shows_something_else_existed_before() {
    check(&[
        (
            "`ignore`: it is left alone after a lost answer",
            identify("city=Paris").ignoring(),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE first_name=Pat",
            LEFT_ALONE,
        ),
        (
            "`ignore`: it is left alone after a crash",
            identify("city=Paris").ignoring(),
            "crash ; taken, found a3y7, affiliate 7 ACTIVE first_name=Pat",
            LEFT_ALONE,
        ),
        (
            "`update`: it is edited after a lost answer",
            identify("city=Paris"),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE first_name=Pat, changed",
            UPDATED,
        ),
        (
            "`update`: it is edited after a crash",
            identify("city=Paris"),
            "crash ; taken, found a3y7, affiliate 7 ACTIVE first_name=Pat, changed",
            UPDATED,
        ),
        (
            "the company counts",
            identify("company=Initech").ignoring(),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE company=Initrode",
            "new ; new, search p1, get a3y7 → existed a3y7 | found a3y7/7, owing {company}",
        ),
        (
            "the offer counts",
            identify("offer=9").ignoring(),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE offer=10",
            "new ; new, search p1, get a3y7 → existed a3y7 | found a3y7/7, owing {offer}",
        ),
        (
            "the last name counts",
            identify("").ignoring(),
            "lost ; taken, found a3y7, affiliate 7 ACTIVE last_name=Lumbergh",
            "new ; new, search p1, get a3y7 → existed a3y7 | found a3y7/7, owing {last_name}",
        ),
    ]);
}

#[test]
fn a_new_without_effect_leaves_nothing_to_compare() {
    let found = "taken, found a3y7";
    let existed = "new, search p1 → existed a3y7 | found a3y7, owing {first_name, last_name, city}";
    for end in ["429", "down", "401", "stop"] {
        let first = if end == "stop" { "" } else { "new" };
        for restarts in [Restarts::Never, Restarts::AfterEachStep] {
            let scenario = identify("city=Paris").ignoring();
            let run = attempts(&scenario, &format!("{end} ; {found}"), restarts);
            assert_eq!(run, format!("{first} ; {existed}"), "{end} (restarts: {restarts:?})");
        }
    }
    check(&[
        (
            "interrupted before the call was sent: the next attempt creates the affiliate",
            identify(""),
            "crash ; created a3y7 7",
            "new ; new → created a3y7 | created a3y7/7",
        ),
        (
            "stopped before the call was sent: the next attempt creates the affiliate",
            identify(""),
            "stop ; created a3y7 7",
            " ; new → created a3y7 | created a3y7/7",
        ),
    ]);
}

#[test]
fn an_unanswered_new_counts_until_the_affiliate_is_known() {
    check(&[
        (
            "however many calls without effect come after it",
            identify("city=Paris").ignoring(),
            "lost ; 429 ; down ; 401 ; stop ; taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new ; new ; new ; new ;  ; new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7",
        ),
        (
            "while the search does not show the affiliate yet",
            identify("city=Paris").ignoring(),
            "crash ; taken, empty ; taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new ; new, search p1 ; new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7",
        ),
        (
            "through a crash during the search, and one during the `get`",
            identify("city=Paris").ignoring(),
            "lost ; taken, crash ; found a3y7, crash ; affiliate 7 ACTIVE, changed",
            "new ; new, search p1 ; search p1, get a3y7 ; get a3y7, edit 7 {city} → created a3y7 | created a3y7/7",
        ),
    ]);
}

#[test]
fn each_unanswered_new_is_compared_where_they_sent_different_fields() {
    let corrected = identify("company=Initrode").ignoring();
    let lost = |scenario: &Scenario, earlier: &Scenario| {
        let run = run_with(&Scenario { progress: earlier.progress.clone(), ..scenario.clone() }, Restarts::Never, {
            let mut replies = ["lost"].into_iter();
            move |_| replies.next().map(text::reply)
        });
        later(scenario, &run, false)
    };
    let first = identify("company=Initech").ignoring();
    let both = lost(&corrected, &lost(&first, &first));
    for (company, origin) in [("Initech", "created"), ("Initrode", "created"), ("Chotchkie's", "found")] {
        let run = attempts(&both, &format!("taken, found a3y7, affiliate 7 ACTIVE company={company}"), Restarts::Never);
        assert!(run.contains(&format!("| {origin} a3y7/7")), "{company}: {run}");
    }
}

/// Progress as the release before wrote it.
fn of_last_release(asked: bool) -> Progress {
    let json = format!(
        r#"{{"stage":"Start","asked":{asked},"met":false,"done":"Nothing","folded":null,"unsure":false,"refused":0,"target":null}}"#
    );
    serde_json::from_str(&json).expect("reads")
}

#[test]
fn an_affiliate_counts_as_created_by_the_event_if_the_earlier_release_kept_no_sent_values() {
    let scenario = |asked| Scenario { progress: of_last_release(asked), ..identify("city=Paris").ignoring() };
    let other = "taken, found a3y7, affiliate 7 ACTIVE first_name=Pat, changed";
    let created = "new, search p1, get a3y7, edit 7 {first_name, city} → created a3y7 | created a3y7/7";
    let existed = "new, search p1 → existed a3y7 | found a3y7, owing {first_name, last_name, city}";
    for (claim, scenario, replies, expected) in [
        ("its `new` was not answered", scenario(true), other, created),
        ("it was interrupted before it saved any progress", scenario(false).interrupted(), other, created),
        ("its `new` was answered, or not called yet", scenario(false), "taken, found a3y7", existed),
    ] {
        for restarts in [Restarts::Never, Restarts::AfterEachStep] {
            assert_eq!(attempts(&scenario, replies, restarts), expected, "{claim} (restarts: {restarts:?})");
        }
    }
}

#[test]
fn sent_values_are_saved_before_the_call_and_cannot_be_read() {
    let run = run_with(&identify("company=Initech city=Paris"), Restarts::Never, |_| None);
    let saved = serde_json::to_value(&run.store.progress).expect("serialises");
    let fields = saved["new_in_flight"].as_object().expect("saved").keys().map(String::as_str).collect::<Vec<_>>();
    assert_eq!(fields, ["company", "email", "first_name", "last_name"], "those that `get` shows");
    for value in ["Initech", "Peter", "Gibbons", "peter@x.io"] {
        assert!(!saved.to_string().contains(value), "{saved}");
    }
}

#[test]
fn the_number_of_coalesced_events_is_read_by_its_former_name_too() {
    let progress: Progress = serde_json::from_str(r#"{"folded":3}"#).expect("reads");
    assert_eq!(progress.coalesced, Some(3));
}
