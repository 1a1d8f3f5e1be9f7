//! The merchant's decision stands: before a status is set, the present one is read.

use super::scenario::{Scenario, identify};
use super::script_runner::{Restarts, run_script};
use super::transient_failures::later;
use super::{Row, check, row};
use refersion_destination::delivery::{Step, Success};
use refersion_destination::domain::AffiliateStatus;

/// The scripts.
pub fn rows() -> Vec<Row> {
    let activating = |was: &str| identify("").demanding(AffiliateStatus::Active).knowing("created a3y7/7", was);
    vec![
        row(
            "an affiliate that the merchant denied is not activated",
            activating("status=PENDING"),
            "affiliate 7 DENIED",
            "get 7 → left alone a3y7 DENIED | created a3y7/7",
        ),
        row(
            "nor one that the merchant disabled; the rest is sent",
            identify("city=Rome").demanding(AffiliateStatus::Active).knowing("created a3y7/7", "status=PENDING"),
            "changed, affiliate 7 DISABLED",
            "edit 7 {city}, get 7 → updated a3y7, status DISABLED kept | created a3y7/7",
        ),
        row(
            "nor one that the merchant disabled, if a value is rejected, too",
            identify("city=Rome").demanding(AffiliateStatus::Active).knowing("created a3y7/7", "status=PENDING"),
            "refused, affiliate 7 DISABLED",
            "edit 7 {city}, get 7 → unchanged a3y7, left out city, status DISABLED kept | created a3y7/7",
        ),
        row(
            "one that a rule of this service disabled is activated again",
            activating("status=DISABLED"),
            "affiliate 7 DISABLED, changed",
            "get 7, status 7 ACTIVE → updated a3y7 | created a3y7/7",
        ),
        row(
            "one that has the status already is not given it",
            activating("status=PENDING"),
            "affiliate 7 ACTIVE",
            "get 7 → unchanged a3y7 | created a3y7/7",
        ),
        row(
            "one that the merchant disabled is not taken for one that a rule disabled",
            identify("").demanding(AffiliateStatus::Disabled).knowing("created a3y7/7", "status=ACTIVE"),
            "affiliate 7 DISABLED",
            "get 7 → left alone a3y7 DISABLED | created a3y7/7",
        ),
        row(
            "one that this event has created needs no reading",
            identify("").demanding(AffiliateStatus::Denied),
            "created a3y7 7, changed",
            "new, status 7 DENIED → created a3y7 | created a3y7/7",
        ),
    ]
}

#[test]
fn the_merchants_decision_stands() {
    check(&rows());
}

#[test]
fn a_status_that_a_call_without_an_answer_has_set_is_this_services_own() {
    for interrupted in [false, true] {
        let disabling = identify("").demanding(AffiliateStatus::Disabled).knowing("created a3y7/7", "status=ACTIVE");
        let lost = run_script(&disabling, "affiliate 7 ACTIVE, lost", Restarts::Never);
        assert_eq!(lost.to_string(), "get 7, status 7 DISABLED → retry | created a3y7/7");
        let done = run_script(&later(&disabling, &lost, interrupted), "affiliate 7 DISABLED", Restarts::Never);
        assert_eq!(done.to_string(), "get 7 → unchanged a3y7 | created a3y7/7");
        let activating = later(&identify("").demanding(AffiliateStatus::Active), &done, false).with_no_progress();
        let active = run_script(&activating, "affiliate 7 DISABLED, changed", Restarts::Never);
        assert_eq!(active.to_string(), "get 7, status 7 ACTIVE → updated a3y7 | created a3y7/7");
    }
}

#[test]
fn a_status_that_an_ended_event_may_have_set_is_asked_for_and_nothing_final_counts_as_its_work() {
    use AffiliateStatus::{Active, Disabled};
    for (before, unanswered, wanted, shown, expected) in [
        ("status=ACTIVE", Disabled, Active, "affiliate 7 ACTIVE", "get 7 → unchanged a3y7"),
        // The event, or the merchant since.
        ("status=ACTIVE", Disabled, Active, "affiliate 7 DISABLED", "get 7 → left alone a3y7 DISABLED"),
        ("status=ACTIVE", Disabled, Disabled, "affiliate 7 DISABLED", "get 7 → left alone a3y7 DISABLED"),
        ("", Disabled, Active, "affiliate 7 DISABLED", "get 7 → left alone a3y7 DISABLED"),
        ("status=DISABLED", Active, Disabled, "affiliate 7 ACTIVE, changed", "get 7, status 7 DISABLED → updated a3y7"),
        ("status=DISABLED", Active, Disabled, "affiliate 7 DISABLED", "get 7 → unchanged a3y7"),
        ("status=DISABLED", Active, Active, "affiliate 7 DISABLED, changed", "get 7, status 7 ACTIVE → updated a3y7"),
        ("status=DISABLED", Active, Active, "affiliate 7 ACTIVE", "get 7 → unchanged a3y7"),
    ] {
        let first = identify("").demanding(unanswered).knowing("created a3y7/7", before);
        let replies = format!("affiliate 7 {}, lost", before.strip_prefix("status=").unwrap_or("PENDING"));
        let lost = run_script(&first, &replies, Restarts::Never);
        assert_eq!(lost.to_string(), format!("get 7, status 7 {unanswered} → retry | created a3y7/7"));
        let next = later(&identify("").demanding(wanted), &lost, false).with_no_progress();
        let claim = format!("{before}, perhaps {unanswered}, {wanted} wanted, {shown}");
        let run = run_script(&next, shown, Restarts::Never);
        assert_eq!(run.to_string(), format!("{expected} | created a3y7/7"), "{claim}");
        if matches!(run.verdict, Step::Done(Success::Delivered { .. })) {
            let again = run_script(&later(&next, &run, false).with_no_progress(), "", Restarts::Never);
            assert_eq!(again.to_string(), "→ unchanged a3y7 | created a3y7/7", "it is known again: {claim}");
        }
    }
}

#[test]
fn a_status_that_the_merchant_sets_after_a_read_without_the_unanswered_one_is_theirs() {
    let disabling = identify("").demanding(AffiliateStatus::Disabled).knowing("created a3y7/7", "status=ACTIVE");
    for (second, expected) in [
        ("affiliate 7 ACTIVE, 429", "get 7, status 7 DISABLED → handed back"),
        ("affiliate 7 ACTIVE, unchanged, affiliate 7 ACTIVE", "get 7, status 7 DISABLED, get 7 → retry"),
    ] {
        let lost = run_script(&disabling, "affiliate 7 ACTIVE, lost", Restarts::Never);
        let read = run_script(&later(&disabling, &lost, false), second, Restarts::Never);
        assert_eq!(read.to_string(), format!("{expected} | created a3y7/7"));
        let kept = run_script(&later(&disabling, &read, false), "affiliate 7 DISABLED", Restarts::Never);
        assert_eq!(kept.to_string(), "get 7 → left alone a3y7 DISABLED | created a3y7/7", "{second}");
    }
}

#[test]
fn a_status_that_a_call_without_effect_was_to_set_is_the_merchants() {
    for (refused, end) in [("429", "handed back"), ("401", "halt"), ("refused", "dead refused")] {
        let disabling = identify("").demanding(AffiliateStatus::Disabled).knowing("created a3y7/7", "status=ACTIVE");
        let first = run_script(&disabling, &format!("affiliate 7 ACTIVE, {refused}"), Restarts::Never);
        assert_eq!(first.to_string(), format!("get 7, status 7 DISABLED → {end} | created a3y7/7"));
        let second = run_script(&later(&disabling, &first, false), "affiliate 7 DISABLED", Restarts::Never);
        assert_eq!(second.to_string(), "get 7 → left alone a3y7 DISABLED | created a3y7/7");
    }
}

#[test]
fn every_attempt_reads_the_status_before_it_sets_one() {
    let activating = identify("").demanding(AffiliateStatus::Active).knowing("created a3y7/7", "status=PENDING");
    for failure in ["refused", "429", "401", "down", "lost"] {
        let first = run_script(&activating, &format!("affiliate 7 PENDING, {failure}"), Restarts::Never);
        assert_eq!(first.calls.join(", "), "get 7, status 7 ACTIVE", "{failure}");
        // The merchant denies the affiliate before the next attempt.
        let next = run_script(&later(&activating, &first, false), "affiliate 7 DENIED", Restarts::Never);
        assert_eq!(next.to_string(), "get 7 → left alone a3y7 DENIED | created a3y7/7", "{failure}");
    }
}

#[test]
fn a_status_that_the_merchant_was_seen_to_change_and_then_set_again_is_theirs() {
    let activating = identify("").demanding(AffiliateStatus::Active);
    let of_ours = |scenario: Scenario| scenario.knowing("created a3y7/7", "status=DENIED");
    for (first, replies, seen) in [
        (of_ours(identify("city=Rome")), "unchanged, affiliate 7 ACTIVE", "edit 7 {city}, get 7 → unchanged a3y7"),
        (of_ours(activating.clone()), "affiliate 7 DISABLED", "get 7 → left alone a3y7 DISABLED"),
    ] {
        let changed = run_script(&first, replies, Restarts::Never);
        assert!(changed.to_string().starts_with(seen), "{changed}");
        // An event that repeats the status changes nothing, and does not make a later one this service's own.
        let repeating = identify("").demanding(AffiliateStatus::Denied);
        let repeated = run_script(&later(&repeating, &changed, false).with_no_progress(), "", Restarts::Never);
        assert!(repeated.calls.is_empty(), "{repeated}");
        let again = later(&activating, &repeated, false).with_no_progress();
        let kept = run_script(&again, "affiliate 7 DENIED", Restarts::Never);
        assert_eq!(kept.to_string(), "get 7 → left alone a3y7 DENIED | created a3y7/7");
    }
}
