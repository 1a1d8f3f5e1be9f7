//! An affiliate belongs to the first `userId` that an event names for it: only its events may change it.

use super::scenario::{delete, identify, membership};
use super::{Row, check, row};
use refersion_destination::domain::AffiliateStatus;

/// The scripts.
pub fn rows() -> Vec<Row> {
    let mut rows = by_email();
    rows.extend(engage());
    rows.extend(found());
    rows.extend(untrusted());
    rows
}

fn by_email() -> Vec<Row> {
    let owned = |scenario: super::Scenario| scenario.by_email("created a3y7/7", "").with_other_owner();
    vec![
        row(
            "another userId with the e-mail of an owned affiliate changes nothing and leads nowhere",
            owned(identify("paypal_email=thief@x.io")),
            "",
            "→ other owner a3y7 | created a3y7/7 by email",
        ),
        row(
            "neither does an event without userId",
            owned(identify("city=Paris").of("peter@x.io")),
            "",
            "→ other owner a3y7 | created a3y7/7 by email",
        ),
        row(
            "DELIVERY_ON_OTHER_USER=update changes it",
            owned(identify("city=Paris")).updating_other_users(),
            "changed",
            "edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
        row(
            "an affiliate without an owner belongs to the next userId",
            identify("city=Paris").by_email("created a3y7/7", ""),
            "changed",
            "edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
        row(
            "the userId has an affiliate of its own, and Refersion decides about the e-mail",
            owned(identify("city=Paris")).by_user_id("created b2b2/9", "email=old@x.io"),
            "taken, changed",
            "edit 9 {email, city}, edit 9 {city} → updated b2b2, email taken \
             | created b2b2/9 by userId, created a3y7/7 by email",
        ),
        row(
            "the userId's affiliate is gone: the e-mail's stays another's",
            owned(identify("city=Paris")).by_user_id("created b2b2/9", "email=old@x.io"),
            "gone, gone",
            "edit 9 {email, city}, get 9 → other owner a3y7 | created a3y7/7 by email, forgot b2b2",
        ),
        row(
            "a delete goes by the e-mail, whoever owns the affiliate",
            delete("u2 peter@x.io").by_email("created a3y7/7", "").with_other_owner(),
            "changed",
            "status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
    ]
}

fn engage() -> Vec<Row> {
    let owned = |scenario: super::Scenario| scenario.by_email("created a3y7/7", "").with_other_owner();
    vec![
        row(
            "an Engage event without userId applies what the rules set, by e-mail",
            owned(identify("city=Paris #11=450").by_engage().of("peter@x.io")),
            "changed",
            "edit 7 {#11} → updated a3y7 | created a3y7/7 by email, owing {city}",
        ),
        row(
            "also a status",
            owned(membership("#11=450").of("peter@x.io").demanding(AffiliateStatus::Active)),
            "changed, affiliate 7 PENDING, changed",
            "edit 7 {#11}, get 7, status 7 ACTIVE → updated a3y7 | created a3y7/7 by email",
        ),
        row(
            "an Engage event with another userId changes nothing",
            owned(membership("#11=450").of("u2 peter@x.io")),
            "",
            "→ other owner a3y7 | created a3y7/7 by email",
        ),
        row(
            "an Engage event goes to the affiliate of its userId, and its e-mail leads there no more than before",
            identify("#11=450").by_engage().of("u1 other@x.io").by_user_id("created a3y7/7", ""),
            "changed",
            "edit 7 {#11} → updated a3y7 | created a3y7/7 by userId",
        ),
    ]
}

fn found() -> Vec<Row> {
    vec![
        row(
            "an affiliate found by search that is remembered under another e-mail stays its owner's",
            identify("city=Paris").recalling("created a3y7/7", "", true),
            "taken, found a3y7",
            "new, search p1 → other owner a3y7",
        ),
        row(
            "without an owner it is this user's",
            identify("city=Paris").recalling("created a3y7/7", "", false),
            "taken, found a3y7, changed",
            "new, search p1, edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
    ]
}

fn untrusted() -> Vec<Row> {
    vec![
        row(
            "an event of an untrusted project creates an affiliate, and tells it all",
            identify("#11=450").untrusted(),
            "created a3y7 7, changed",
            "new, edit 7 {#11} → created a3y7 | created a3y7/7",
        ),
        row(
            "it changes nothing of one that exists",
            identify("city=Paris").knowing("created a3y7/7", "").untrusted(),
            "",
            "→ ignored | created a3y7/7",
        ),
        row(
            "nor does its userId lead to one that existing affiliates' setting leaves alone",
            identify("city=Paris").untrusted().ignoring(),
            "taken, found a3y7",
            "new, search p1 → ignored",
        ),
        row(
            "nor does it change one that is found",
            identify("city=Paris").untrusted(),
            "taken, found a3y7, affiliate 7 ACTIVE",
            "new, search p1, get a3y7 → ignored",
        ),
    ]
}

#[test]
fn an_identify_changes_nobody_elses_affiliate() {
    check(&by_email());
}

#[test]
fn an_engage_event_goes_by_user_id_and_applies_its_rules_by_email() {
    check(&engage());
}

#[test]
fn a_found_affiliate_stays_its_owners() {
    check(&found());
}

#[test]
fn an_untrusted_project_may_only_create() {
    check(&untrusted());
}
