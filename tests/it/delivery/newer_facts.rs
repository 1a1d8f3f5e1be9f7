//! Newer facts win, whatever the order of arrival; an event from before a deletion restores no user.

use super::scenario::{identify, membership};
use super::script_runner::{Restarts, run_script};
use super::transient_failures::later;
use super::{Row, check, row};
use refersion_destination::domain::{AffiliateStatus, Field};

/// The scripts.
pub fn rows() -> Vec<Row> {
    let mut rows = per_attribute();
    rows.extend(cleared());
    rows.extend(deleted());
    rows
}

fn per_attribute() -> Vec<Row> {
    vec![
        row(
            "an older fact changes nothing",
            identify("city=Paris").knowing("created a3y7/7", "city=Rome").at(-1),
            "",
            "→ stale a3y7 | created a3y7/7",
        ),
        row(
            "a fact of the same moment goes by arrival",
            identify("city=Paris").knowing("created a3y7/7", "city=Rome").at(0),
            "changed",
            "edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
        row(
            "what nobody has stated yet is sent, however old",
            identify("city=Paris phone=1").knowing("created a3y7/7", "city=Rome").at(-1),
            "changed",
            "edit 7 {phone} → updated a3y7 | created a3y7/7",
        ),
        row(
            "an older status changes nothing",
            identify("").demanding(AffiliateStatus::Active).knowing("created a3y7/7", "status=DENIED").at(-1),
            "",
            "→ unchanged a3y7 | created a3y7/7",
        ),
        row(
            "an older fact beside a rejected one changes nothing, and the answer names the rejected one",
            identify("city=Paris phone=1").knowing("created a3y7/7", "city=Rome").at(-1),
            "refused",
            "edit 7 {phone} → unchanged a3y7, left out phone | created a3y7/7",
        ),
        row(
            "an event that states nothing is not older than anything",
            membership("").knowing("created a3y7/7", "city=Rome"),
            "",
            "→ unchanged a3y7 | created a3y7/7",
        ),
        row(
            "DELIVERY_STALE=apply goes by arrival",
            identify("city=Paris").knowing("created a3y7/7", "city=Rome").at(-1).applying_stale(),
            "changed",
            "edit 7 {city} → updated a3y7 | created a3y7/7",
        ),
    ]
}

fn cleared() -> Vec<Row> {
    let moved = || identify("address1=2-Oak-St").clearing(&[Field::Address2]);
    vec![
        row(
            "a second line that no longer holds is cleared",
            moved().knowing("created a3y7/7", "address1=1-Main-St address2=Suite-5"),
            "changed",
            "edit 7 {address1, address2} → updated a3y7 | created a3y7/7",
        ),
        row(
            "one that was never sent is not",
            moved().knowing("created a3y7/7", "address1=1-Main-St"),
            "changed",
            "edit 7 {address1} → updated a3y7 | created a3y7/7",
        ),
        row(
            "if clearing is refused, the rest is sent",
            moved().knowing("created a3y7/7", "address1=1-Main-St address2=Suite-5"),
            "refused, changed",
            "edit 7 {address1, address2}, edit 7 {address1} → updated a3y7, left out address2 | created a3y7/7",
        ),
    ]
}

fn deleted() -> Vec<Row> {
    vec![
        row(
            "an identify from before the deletion brings nobody back",
            identify("city=Paris").at(-9).deleted_after(1),
            "",
            "→ deleted since",
        ),
        row(
            "one from after it may",
            identify("city=Paris").deleted_after(-9),
            "created a3y7 7",
            "new → created a3y7 | created a3y7/7",
        ),
        row(
            "DELIVERY_STALE=apply goes by arrival",
            identify("city=Paris").deleted_after(0).applying_stale(),
            "created a3y7 7",
            "new → created a3y7 | created a3y7/7",
        ),
    ]
}

#[test]
fn per_attribute_the_newer_fact_counts() {
    check(&per_attribute());
}

#[test]
fn a_value_that_no_longer_holds_is_cleared() {
    check(&cleared());
}

#[test]
fn an_identify_from_before_a_deletion_brings_nobody_back() {
    check(&deleted());
}

#[test]
fn values_sent_with_new_are_as_new_as_its_event_although_a_later_call_fails() {
    let failing = identify("city=Paris #11=450").demanding(AffiliateStatus::Active);
    let created = run_script(&failing, "created a3y7 7, down", Restarts::Never);
    assert_eq!(created.to_string(), "new, edit 7 {#11} → retry | created a3y7/7, owing {#11}");
    for (older, expected) in [
        (identify("city=Rome"), "→ stale a3y7 | created a3y7/7"),
        (identify("").demanding(AffiliateStatus::Denied), "→ unchanged a3y7 | created a3y7/7"),
    ] {
        let older = later(&older.at(-1), &created, false).with_no_progress();
        assert_eq!(run_script(&older, "", Restarts::Never).to_string(), expected);
    }
}
