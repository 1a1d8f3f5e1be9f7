//! Identify and delete of an affiliate of Refersion's list: known by e-mail, with a code and without the numeric id. What `get` shows
//! decides, because the list may be out of date.

use super::scenario::{Scenario, delete, identify, membership};
use super::{Row, check, row};
use refersion_destination::delivery::UnansweredNew;
use refersion_destination::domain::AffiliateStatus;

/// The scripts.
pub fn rows() -> Vec<Row> {
    let mut rows = known();
    rows.extend(merchants());
    rows.extend(outdated());
    rows.extend(created_meanwhile());
    rows.extend(deleted());
    rows
}

/// What the list showed is what Peter is called, and his e-mail.
fn listed(event: Scenario) -> Scenario {
    event.by_email("found a3y7", "")
}

/// An earlier `new` of the event was not answered.
fn after_unanswered_new(mut event: Scenario) -> Scenario {
    event.progress.unanswered_new = Some(UnansweredNew::NotKept);
    event
}

fn known() -> Vec<Row> {
    vec![
        row("nothing else is stated: no call", listed(identify("")), "", "→ unchanged a3y7 | found a3y7"),
        row(
            "what is stated beside is sent, once `get` has shown the numeric id",
            listed(identify("city=Paris")),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "what `get` shows is not sent",
            listed(identify("company=Initech city=Paris")),
            "affiliate 7 ACTIVE company=Initech, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "`get` shows all of it: no edit",
            listed(identify("company=Initech")),
            "affiliate 7 ACTIVE company=Initech",
            "get a3y7 → unchanged a3y7 | found a3y7/7",
        ),
        row(
            "an identify without a name updates it",
            listed(identify("city=Paris").nameless()),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "so does an Engage event by its e-mail",
            listed(identify("#11=450").by_engage().of("peter@x.io")),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, edit 7 {#11} → updated a3y7 | found a3y7/7 by email",
        ),
        row(
            "an Engage event of somebody who is not known is ignored without a call",
            membership("#11=450"),
            "",
            "→ ignored",
        ),
        row(
            "an identify without a name of somebody who is not known is refused without a call",
            identify("").nameless(),
            "",
            "→ dead unmappable",
        ),
        row(
            "an event of an untrusted project changes nothing",
            listed(identify("city=Paris").untrusted()),
            "",
            "→ ignored | found a3y7 by email",
        ),
        row(
            "`ignore`: it is left alone without a call",
            listed(identify("city=Paris").ignoring()),
            "",
            "→ existed a3y7 | found a3y7, owing {city}",
        ),
        row(
            "it is found under another e-mail than the list showed",
            identify("city=Paris").recalling("found a3y7", "email=old@x.io", false),
            "taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new, search p1, get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
    ]
}

fn merchants() -> Vec<Row> {
    vec![
        row(
            "an audience sets the status that the list showed: no call",
            identify("").demanding(AffiliateStatus::Active).by_email("found a3y7", "status=ACTIVE"),
            "",
            "→ unchanged a3y7 | found a3y7",
        ),
        row(
            "it sets another one than that",
            identify("").demanding(AffiliateStatus::Active).by_email("found a3y7", "status=PENDING"),
            "affiliate 7 PENDING, changed",
            "get a3y7, status 7 ACTIVE → updated a3y7 | found a3y7/7",
        ),
        row(
            "the merchant has approved it since",
            identify("").demanding(AffiliateStatus::Active).by_email("found a3y7", "status=PENDING"),
            "affiliate 7 ACTIVE",
            "get a3y7 → unchanged a3y7 | found a3y7/7",
        ),
        row(
            "the merchant has denied it since: it is left alone, and stays as the list showed it",
            listed(identify("city=Paris").demanding(AffiliateStatus::Active)),
            "affiliate 7 DENIED",
            "get a3y7 → left alone a3y7 DENIED | found a3y7 by email",
        ),
    ]
}

fn outdated() -> Vec<Row> {
    vec![
        row(
            "it has another e-mail by now, and another affiliate has this one",
            listed(identify("city=Paris")),
            "affiliate 7 ACTIVE email=new@x.io, taken, found b2b2, affiliate 9 ACTIVE, changed",
            "get a3y7, new, search p1, get b2b2, edit 9 {city} → updated b2b2 | found b2b2/9, forgot a3y7",
        ),
        row(
            "it has another e-mail by now, and nobody has this one",
            listed(identify("city=Paris")),
            "affiliate 7 ACTIVE email=new@x.io, created b2b2 9",
            "get a3y7, new → created b2b2 | created b2b2/9, forgot a3y7",
        ),
        row(
            "its e-mail in another case is the same",
            listed(identify("city=Paris")),
            "affiliate 7 ACTIVE email=Peter@X.io, changed",
            "get a3y7, edit 7 {city} → updated a3y7 | found a3y7/7",
        ),
        row(
            "a userId that was linked to it without a call leads to it no longer, either",
            identify("city=Paris").knowing("found a3y7", ""),
            "affiliate 7 ACTIVE email=new@x.io, created b2b2 9",
            "get a3y7, new → created b2b2 | created b2b2/9, forgot a3y7",
        ),
        row(
            "it is gone",
            listed(identify("city=Paris")),
            "gone, created b2b2 9",
            "get a3y7, new → created b2b2 | created b2b2/9, forgot a3y7",
        ),
    ]
}

fn created_meanwhile() -> Vec<Row> {
    vec![
        row(
            "the list showed what an unanswered `new` has created: it is our own work",
            listed(after_unanswered_new(identify("city=Paris").ignoring())),
            "taken, found a3y7, affiliate 7 ACTIVE, changed",
            "new, search p1, get a3y7, edit 7 {city} → created a3y7 | created a3y7/7",
        ),
        row(
            "the list showed it while the `new` was answered",
            listed(after_unanswered_new(identify("city=Paris"))),
            "created a3y7 7",
            "new → created a3y7 | created a3y7/7",
        ),
    ]
}

fn deleted() -> Vec<Row> {
    vec![
        row(
            "a delete disables it",
            delete("u1 peter@x.io").by_email("found a3y7", ""),
            "affiliate 7 ACTIVE, changed",
            "get a3y7, status 7 DISABLED → disabled a3y7 | forgot a3y7",
        ),
        row(
            "a delete disables whoever has the e-mail by now",
            delete("peter@x.io").by_email("found a3y7", ""),
            "affiliate 7 ACTIVE email=new@x.io, found b2b2, affiliate 9 ACTIVE, changed",
            "get a3y7, search p1, get b2b2, status 9 DISABLED → disabled b2b2 | forgot a3y7, forgot b2b2",
        ),
        row(
            "or nobody",
            delete("peter@x.io").by_email("found a3y7", ""),
            "affiliate 7 ACTIVE email=new@x.io, gone",
            "get a3y7, search p1 → not_found | forgot a3y7",
        ),
    ]
}

#[test]
fn an_affiliate_on_the_list_is_known_by_email() {
    check(&known());
}

#[test]
fn a_status_that_the_merchant_set_since_the_list_was_read_stands() {
    check(&merchants());
}

#[test]
fn a_list_that_is_out_of_date_changes_no_other_affiliate() {
    check(&outdated());
}

#[test]
fn an_affiliate_that_an_unanswered_new_created_is_our_own_work_also_if_the_list_shows_it() {
    check(&created_meanwhile());
}

#[test]
fn a_delete_disables_the_affiliate_that_has_the_email_now() {
    check(&deleted());
}
