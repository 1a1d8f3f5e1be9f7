//! "Taken": the affiliate exists. Found by search and `get`, remembered, and treated as `DELIVERY_ON_EXISTING` says.

use super::scenario::{Scenario, identify};
use super::{Row, check, row};
use refersion_destination::delivery::Stage;
use refersion_destination::domain::{AffiliateCode, AffiliateStatus};

/// The scripts.
pub fn rows() -> Vec<Row> {
    let mut rows = found();
    rows.extend(searched());
    rows.extend(found_before());
    rows.extend(left_alone());
    rows.extend(our_own_work());
    rows
}

fn found() -> Vec<Row> {
    vec![
        row(
            "who exists is found, remembered and brought up to date",
            identify("city=Paris"),
            "taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new, search p1, get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "what `get` shows already is not sent",
            identify("company=Initech offer=9"),
            "taken, found a3y7, affiliate 7 ACTIVE company=Initech offer=9",
            "new, search p1, get a3y7 → unchanged a3y7 | found a3y7/7",
        ),
        row(
            "what `get` shows otherwise is sent",
            identify("company=Initech offer=9"),
            "taken, found a3y7, affiliate 7 ACTIVE company=Initrode offer=9 first_name=Pete, changed",
            "new, search p1, get a3y7, edit 7 {first_name, company} → updated a3y7 | found a3y7/7",
        ),
        row(
            "a status it has already is not given",
            identify("").demanding(AffiliateStatus::Active),
            "taken, found a3y7, affiliate 7 ACTIVE",
            "new, search p1, get a3y7 → unchanged a3y7 | found a3y7/7",
        ),
        row(
            "a status it lacks is given",
            identify("").demanding(AffiliateStatus::Active),
            "taken, found a3y7, affiliate 7 PENDING, changed",
            "new, search p1, get a3y7, status 7 ACTIVE → updated a3y7 | found a3y7/7",
        ),
    ]
}

fn searched() -> Vec<Row> {
    vec![
        row(
            "every page is looked at, and partial matches are passed over",
            identify("city=Paris"),
            "taken, others 2 of 4, others 1 of 4, found a3y7, affiliate 7 ACTIVE, changed",
            "new, search p1, search p2, search p3, get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "addresses are compared without case",
            identify(""),
            "taken, found a3y7 as PETER@X.IO, affiliate 7 ACTIVE email=Peter@X.io",
            "new, search p1, get a3y7 → unchanged a3y7 | found a3y7/7",
        ),
        row("taken, and no page has it: the search needs time", identify(""), "taken, empty", "new, search p1 → retry"),
        row(
            "taken, and every page holds others only",
            identify(""),
            "taken, others 2 of 3, others 1 of 3",
            "new, search p1, search p2 → retry",
        ),
        row("taken, and the search says nobody", identify(""), "taken, gone", "new, search p1 → retry"),
        row(
            "the search knows whom `get` does not: the search needs time",
            identify(""),
            "taken, found a3y7, gone",
            "new, search p1, get a3y7 → retry",
        ),
        row("a refused search is dead", identify(""), "taken, refused", "new, search p1 → dead refused"),
        row(
            "a refused `get` is dead",
            identify(""),
            "taken, found a3y7, refused",
            "new, search p1, get a3y7 → dead refused",
        ),
        row(
            "an affiliate that was found is remembered although the edit was refused",
            identify("city=Paris"),
            "taken, found a3y7, affiliate 7 ACTIVE, refused",
            "new, search p1, get a3y7, edit 7 {city} → unchanged a3y7, left out city | found a3y7/7",
        ),
    ]
}

fn found_before() -> Vec<Row> {
    let found = |mut event: Scenario| {
        event.progress.stage = Stage::FoundUnknown(AffiliateCode("a3y7".into()));
        event
    };
    vec![
        row(
            "an earlier attempt found it, and it has that e-mail yet",
            found(identify("city=Paris")),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "an earlier attempt found it, and another affiliate has that e-mail by now",
            found(identify("city=Paris")),
            "affiliate 7 ACTIVE email=new@x.io, taken, found b2b2, affiliate 9 ACTIVE, changed",
            "get a3y7, new, search p1, get b2b2, edit 9 {city} → updated b2b2 | found b2b2/9",
        ),
        row(
            "an earlier attempt found it, and the list shows another one by now",
            found(identify("city=Paris").by_email("found b2b2", "")),
            "affiliate 9 ACTIVE, changed",
            "get b2b2, edit 9 {city} → updated b2b2 | found b2b2/9",
        ),
    ]
}

fn left_alone() -> Vec<Row> {
    vec![
        row(
            "a DISABLED one is left alone and not remembered",
            identify("city=Paris"),
            "taken, found a3y7 DISABLED",
            "new, search p1 → left alone a3y7 DISABLED",
        ),
        row(
            "so is a DENIED one that only `get` shows to be so",
            identify("city=Paris").demanding(AffiliateStatus::Active),
            "taken, found a3y7, affiliate 7 DENIED",
            "new, search p1, get a3y7 → left alone a3y7 DENIED",
        ),
        row(
            "even where it is as wanted",
            identify(""),
            "taken, found a3y7 DENIED",
            "new, search p1 → left alone a3y7 DENIED",
        ),
        row(
            "`ignore`: who existed before is remembered and otherwise left alone",
            identify("city=Paris").ignoring(),
            "taken, found a3y7",
            "new, search p1 → existed a3y7 | found a3y7, owing {first_name, last_name, city}",
        ),
        row(
            "and left alone from then on, without a call",
            identify("city=Paris").ignoring().knowing("found a3y7", ""),
            "",
            "→ existed a3y7 | found a3y7, owing {city}",
        ),
        row(
            "until the policy changes",
            identify("city=Paris").knowing("found a3y7", ""),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "which does not make up for the merchant's having disabled it",
            identify("city=Paris").demanding(AffiliateStatus::Active).knowing("found a3y7", ""),
            "affiliate 7 DISABLED",
            "get a3y7 → left alone a3y7 DISABLED | found a3y7/7, owing {city}",
        ),
    ]
}

fn our_own_work() -> Vec<Row> {
    vec![
        row(
            "after a crash of the release before, which did not keep what it sent: it is taken for the work of its `new`",
            identify("city=Paris").interrupted(),
            "taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7",
        ),
        row(
            "which `ignore` is not about",
            identify("city=Paris").interrupted().ignoring(),
            "taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7",
        ),
        row(
            "a crash while asking about somebody remembered created nobody",
            identify("city=Paris").interrupted().ignoring().knowing("created b2b2", ""),
            "affiliate 9 ACTIVE, gone, gone, taken, found a3y7",
            "get b2b2, edit 9 {city}, get 9, new, search p1 → existed a3y7 \
             | found a3y7, owing {first_name, last_name, city}, forgot b2b2",
        ),
    ]
}

#[test]
fn an_affiliate_whose_email_is_taken_exists_and_is_found() {
    check(&found());
}

#[test]
fn a_search_looks_at_every_page_for_the_exact_address() {
    check(&searched());
}

#[test]
fn an_affiliate_that_an_earlier_attempt_found_is_changed_only_if_it_still_has_the_email() {
    check(&found_before());
}

#[test]
fn an_affiliate_that_the_merchant_or_the_policy_excludes_is_left_alone() {
    check(&left_alone());
}

#[test]
fn an_affiliate_that_an_unanswered_new_created_is_our_own_work() {
    check(&our_own_work());
}
