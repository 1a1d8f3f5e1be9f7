//! The rules of the scheduler, one claim each.

use super::{affiliate, begun, entry, failed, seqs, user};
use crate::domain::{Seq, Timestamp};
use crate::scheduling::{End, Entry, Scheduler, Unit};

/// A scheduler that was fed with these at moment 0.
fn fed(entries: impl IntoIterator<Item = Entry>) -> Scheduler {
    let mut scheduler = Scheduler::default();
    feed(&mut scheduler, entries, 0);
    scheduler
}

/// The blocked ones.
fn feed(scheduler: &mut Scheduler, entries: impl IntoIterator<Item = Entry>, now: i64) -> Vec<i64> {
    let blocked = scheduler.feed(entries.into_iter().collect(), Timestamp(now));
    blocked.into_iter().map(|seq| seq.0).collect()
}

/// Takes all units that may run, with up to nine followers: `1+2` is the head 1 with the follower 2.
fn take(scheduler: &mut Scheduler, now: i64) -> Vec<String> {
    take_with(scheduler, now, 9)
}

fn take_with(scheduler: &mut Scheduler, now: i64, max_followers: usize) -> Vec<String> {
    let units = std::iter::from_fn(|| scheduler.next(Timestamp(now), max_followers));
    units.map(|unit| unit.seqs().map(|seq| seq.to_string()).collect::<Vec<_>>().join("+")).collect()
}

/// Settles the unit of `head`, and these followers with it.
fn settle(scheduler: &mut Scheduler, head: i64, followers: &[i64]) {
    scheduler.end(Seq(head), End::Settled { followers: seqs(followers) }, Timestamp(0));
}

fn retry(scheduler: &mut Scheduler, head: i64, due: i64, followers: &[i64]) {
    scheduler.end(Seq(head), End::Pending { due: Some(Timestamp(due)), followers: seqs(followers) }, Timestamp(0));
}

fn hand_back(scheduler: &mut Scheduler, head: i64, followers: &[i64]) {
    scheduler.end(Seq(head), End::Pending { due: None, followers: seqs(followers) }, Timestamp(0));
}

fn interrupt(scheduler: &mut Scheduler, head: i64) {
    scheduler.end(Seq(head), End::Interrupted { due: None }, Timestamp(0));
}

/// 1 of u1 and 2 of u2 are in flight when 4 joins their lanes; 3 is of u2.
fn merged_in_flight() -> Scheduler {
    let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["u2"])]);
    assert_eq!(take(&mut scheduler, 0), ["1", "2"]);
    assert_eq!(feed(&mut scheduler, [entry(3, &["u2"]), entry(4, &["u1", "u2"])], 0), [3, 4]);
    scheduler
}

#[test]
fn two_events_are_of_one_user_if_they_share_a_key_or_an_affiliate_or_are_joined_by_a_third() {
    for (name, first, second, third, heads) in [
        ("nothing in common", &["u1", "a@x"][..], &["u2", "b@x"][..], &["u3"][..], &["1", "2", "3"][..]),
        ("one userId", &["u1", "a@x"], &["u1", "b@x"], &["u3"], &["1+2", "3"]),
        ("one e-mail", &["u1", "a@x"], &["u2", "a@x"], &["u3"], &["1+2", "3"]),
        ("one affiliate", &["u1", "+c"], &["a@x", "+c"], &["u3"], &["1+2", "3"]),
        ("joined by a key of each", &["u1"], &["a@x"], &["u1", "a@x"], &["1+2+3"]),
        ("joined by a key and an affiliate", &["u1", "+c"], &["a@x"], &["b@x", "+c", "a@x"], &["1+2+3"]),
        ("the same bytes as userId and affiliate", &["c"], &["a@x", "+c"], &["u3"], &["1", "2", "3"]),
    ] {
        let mut scheduler = fed([entry(1, first), entry(2, second), entry(3, third)]);
        assert_eq!(take(&mut scheduler, 0), heads, "{name}");
    }
}

#[test]
fn one_unit_of_a_lane_is_in_flight_and_the_next_follows_in_log_order() {
    let mut scheduler = fed((1..=4).map(|seq| entry(seq, &["u1"])));
    for (head, left) in [("1", 4), ("2", 3), ("3", 2), ("4", 1)] {
        assert_eq!((take_with(&mut scheduler, 0, 0), scheduler.len()), (vec![head.to_owned()], left));
        settle(&mut scheduler, head.parse().expect("a number"), &[]);
    }
    assert!(scheduler.is_empty() && take(&mut scheduler, 0).is_empty());
}

#[test]
fn feeding_returns_blocked_events_and_skips_events_that_were_fed() {
    let mut scheduler = Scheduler::default();
    let entries = || [entry(3, &["u1"]), entry(5, &["u2"]), entry(6, &["u1"]), failed(7, &["u3"], 0, 50)];
    assert_eq!(feed(&mut scheduler, entries(), 0), [6]);
    assert_eq!((feed(&mut scheduler, entries(), 0), scheduler.position(), scheduler.len()), (vec![], Seq(7), 4));
}

#[test]
fn a_link_merges_loaded_and_later_events_under_the_affiliate() {
    let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["a@x"]), entry(3, &["b@x", "+c"])]);
    scheduler.link(&[user("u1"), user("a@x")], affiliate("c"));
    feed(&mut scheduler, [entry(4, &["d@x", "+c"]), entry(5, &["e@x"])], 0);
    assert_eq!(take(&mut scheduler, 0), ["1+2+3+4", "5"]);
}

#[test]
fn a_link_holds_until_the_last_event_of_the_linked_keys_has_left() {
    let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["a@x"])]);
    scheduler.link(&[user("u1"), user("a@x")], affiliate("c"));
    assert_eq!(scheduler.next(Timestamp(0), 0).map(|unit| unit.head), Some(Seq(1)));
    settle(&mut scheduler, 1, &[]);
    assert_eq!(feed(&mut scheduler, [entry(3, &["d@x", "+c"])], 0), [3], "it is behind the second");
}

#[test]
fn a_link_of_keys_under_which_nothing_is_loaded_changes_nothing() {
    let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["u2", "+c"])]);
    scheduler.link(&[user("u9")], affiliate("c"));
    scheduler.link(&[user("u9"), user("u1")], affiliate("d"));
    assert_eq!(take(&mut scheduler, 0), ["1", "2"]);
}

#[test]
fn a_unit_that_finds_the_affiliate_of_another_one_in_flight_runs_again_after_it() {
    let mut scheduler = fed([entry(1, &["u1", "+c"]), entry(2, &["u2"]), entry(3, &["u1", "+c"]), entry(4, &["u2"])]);
    assert_eq!(take_with(&mut scheduler, 0, 0), ["1", "2"]);
    assert!(!scheduler.join_affiliate(Seq(2), affiliate("c")), "1 is in flight");
    hand_back(&mut scheduler, 2, &[]);
    assert_eq!(take(&mut scheduler, 0), [""; 0]);
    settle(&mut scheduler, 1, &[]);
    assert_eq!(take_with(&mut scheduler, 0, 0), ["2"], "before 3 of the other user");
    assert!(
        scheduler.join_affiliate(Seq(2), affiliate("c")) && scheduler.join_affiliate(Seq(2), affiliate("d")),
        "it is alone now"
    );
    assert_eq!(feed(&mut scheduler, [entry(5, &["u3", "+d"])], 0), [5]);
    settle(&mut scheduler, 2, &[]);
    assert_eq!(take(&mut scheduler, 0), ["3+4+5"]);
}

#[test]
fn a_unit_that_finds_the_affiliate_of_an_earlier_event_runs_again_after_it_also_while_that_one_waits_for_its_retry() {
    let mut scheduler = fed([entry(1, &["u1", "+c"]), entry(2, &["u2"])]);
    assert_eq!(take_with(&mut scheduler, 0, 0), ["1", "2"]);
    retry(&mut scheduler, 1, 9, &[]);
    assert!(!scheduler.join_affiliate(Seq(2), affiliate("c")), "1 was first");
    hand_back(&mut scheduler, 2, &[]);
    assert_eq!(take_with(&mut scheduler, 8, 0), [""; 0]);
    assert_eq!(take_with(&mut scheduler, 9, 0), ["1"]);
    settle(&mut scheduler, 1, &[]);
    assert_eq!(take_with(&mut scheduler, 9, 0), ["2"]);
    assert!(scheduler.join_affiliate(Seq(2), affiliate("c")));
}

#[test]
fn a_key_leads_to_its_lane_until_its_last_event_has_left() {
    let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["u1", "a@x"]), entry(3, &["u1"])]);
    take_with(&mut scheduler, 0, 1);
    assert!(scheduler.has_pending(&[user("u9"), user("a@x")]) && !scheduler.has_pending(&[user("u9")]));
    settle(&mut scheduler, 1, &[2]);
    assert!(!scheduler.has_pending(&[user("a@x")]) && scheduler.has_pending(&[user("u1")]));
    assert_eq!(feed(&mut scheduler, [entry(4, &["a@x"])], 0), [0; 0]);
    assert_eq!(take(&mut scheduler, 0), ["3", "4"]);
}

#[test]
fn units_in_flight_when_their_lanes_merge_end_in_any_order_and_the_rest_waits_for_all_of_them() {
    for [first, second] in [[1, 2], [2, 1]] {
        let mut scheduler = merged_in_flight();
        settle(&mut scheduler, first, &[]);
        assert_eq!(take(&mut scheduler, 0), [""; 0]);
        settle(&mut scheduler, second, &[]);
        assert_eq!(take(&mut scheduler, 0), ["3+4"]);
    }
}

#[test]
fn an_event_that_is_handed_back_after_its_lane_merged_waits_at_its_place() {
    type Back = fn(&mut Scheduler);
    let back: [(&str, Back); 3] = [
        ("retried", |scheduler| retry(scheduler, 2, 0, &[])),
        ("handed back", |scheduler| hand_back(scheduler, 2, &[])),
        ("interrupted", |scheduler| interrupt(scheduler, 2)),
    ];
    for (name, back) in back {
        let mut scheduler = merged_in_flight();
        back(&mut scheduler);
        interrupt(&mut scheduler, 1);
        assert_eq!(take_with(&mut scheduler, 0, 0), ["1"], "{name}");
        settle(&mut scheduler, 1, &[]);
        assert_eq!(take(&mut scheduler, 0), ["2+3+4"], "{name}");
    }
}

#[test]
fn a_retry_is_due_at_its_moment_even_if_others_were_before_it_meanwhile() {
    let mut scheduler = merged_in_flight();
    retry(&mut scheduler, 2, 500, &[]);
    assert_eq!(scheduler.next_due(Timestamp(0)), None, "its lane waits for 1, not for a moment");
    settle(&mut scheduler, 1, &[]);
    assert_eq!((take(&mut scheduler, 499), scheduler.next_due(Timestamp(499))), (vec![], Some(Timestamp(500))));
    assert_eq!((scheduler.runnable(Timestamp(500), 9), take(&mut scheduler, 500)), (1, vec!["2+3+4".to_owned()]));
}

#[test]
fn a_stuck_event_delays_its_user_alone() {
    let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["u1"]), entry(3, &["u2"])]);
    assert_eq!(take_with(&mut scheduler, 0, 0), ["1", "3"]);
    retry(&mut scheduler, 1, 100, &[]);
    feed(&mut scheduler, [entry(4, &["u3"])], 0);
    assert_eq!((take(&mut scheduler, 99), take(&mut scheduler, 100)), (vec!["4".to_owned()], vec!["1+2".to_owned()]));
}

#[test]
fn the_event_that_has_been_runnable_for_the_longest_time_is_first() {
    let mut scheduler = fed([entry(1, &["u1"]), failed(2, &["u2"], 0, 10), failed(3, &["u3"], 0, 30)]);
    feed(&mut scheduler, [entry(4, &["u4"])], 20);
    feed(&mut scheduler, [entry(5, &["u5"]), entry(6, &["u6"])], 30);
    assert_eq!((scheduler.runnable(Timestamp(29), 9), scheduler.runnable(Timestamp(30), 4)), (3, 4));
    assert_eq!(take(&mut scheduler, 40), ["1", "2", "4", "3", "5", "6"]);
}

#[test]
fn in_every_second_trial_an_event_that_has_not_failed_goes_first() {
    let pending = |due: Option<i64>| End::Pending { due: due.map(Timestamp), followers: Vec::new() };
    // Those of u1 to u4 fail; that of u5 is handed back, that of u6 is new.
    let mut scheduler = fed((1..=5).map(|seq| entry(seq, &[&format!("u{seq}")])));
    for (seq, due) in [(1, Some(2)), (2, Some(2)), (3, Some(2)), (4, Some(2)), (5, None)] {
        assert_eq!(scheduler.next(Timestamp(1), 0).map(|unit| unit.head), Some(Seq(seq)));
        scheduler.end(Seq(seq), pending(due), Timestamp(1));
    }
    scheduler.feed(vec![entry(6, &["u6"])], Timestamp(3));
    let mut trial = || {
        let head = scheduler.next_trial(Timestamp(3), 0)?.head;
        scheduler.end(head, pending(Some(9)), Timestamp(3));
        Some(head.0)
    };
    assert_eq!(std::array::from_fn(|_| trial()), [Some(5), Some(1), Some(6), Some(2), Some(3), Some(4), None]);
}

#[test]
fn an_event_that_failed_has_failed_also_after_it_was_begun_and_handed_back() {
    let back = |due: Option<i64>| End::Pending { due: due.map(Timestamp), followers: Vec::new() };
    for (name, ends) in [
        ("handed back", vec![back(Some(1)), back(None)]),
        ("interrupted", vec![back(Some(1)), End::Interrupted { due: None }]),
        ("interrupted with a wait", vec![End::Interrupted { due: Some(Timestamp(1)) }]),
    ] {
        let mut scheduler = fed([entry(1, &["u1"])]);
        for end in ends {
            assert_eq!(scheduler.next(Timestamp(1), 0), Some(Unit::of(Seq(1))), "{name}");
            scheduler.mark(Seq(1), &[]);
            scheduler.end(Seq(1), end, Timestamp(1));
        }
        scheduler.feed(vec![entry(2, &["u2"])], Timestamp(2));
        assert_eq!(scheduler.next_trial(Timestamp(2), 0), Some(Unit::of(Seq(2))), "{name}");
    }
}

#[test]
fn followers_are_the_next_entries_of_the_lane_that_were_never_attempted() {
    let lane = |first| {
        [first, entry(2, &["u1"]), entry(3, &["u2"]), entry(4, &["u1"]), begun(5, &["u1"], &[]), entry(6, &["u1"])]
    };
    for (name, head, max, units) in [
        ("up to the first that was attempted", entry(1, &["u1"]), 9, ["1+2+4", "3"]),
        ("so many at most", entry(1, &["u1"]), 1, ["1+2", "3"]),
        ("of a head that was attempted, too", begun(1, &["u1"], &[]), 9, ["1+2+4", "3"]),
        ("of marked followers, exactly these", begun(1, &["u1"], &[2]), 0, ["1+2", "3"]),
        ("of marks that are not after the head, none counts", begun(1, &["u1"], &[0, 1]), 9, ["1+2+4", "3"]),
    ] {
        assert_eq!(take_with(&mut fed(lane(head)), 0, max), units, "{name}");
    }
}

#[test]
fn followers_that_did_not_end_with_the_head_wait_again_as_before() {
    let mut scheduler = fed((1..=4).map(|seq| entry(seq, &["u1"])));
    assert_eq!(take(&mut scheduler, 0), ["1+2+3+4"]);
    settle(&mut scheduler, 1, &[3]);
    assert_eq!((take(&mut scheduler, 0), scheduler.len()), (vec!["2+4".to_owned()], 2));
}

#[test]
fn marked_followers_are_one_unit_with_their_head_at_its_place_whichever_events_joined_the_lane_since() {
    let followers =
        || [begun(2, &["u1"], &[4, 6]), entry(3, &["u1"]), entry(4, &["a@x"]), entry(5, &["u3"]), entry(6, &["b@x"])];
    let mut scheduler = fed(followers());
    assert_eq!(take(&mut scheduler, 0), ["2+4+6", "5"], "all of it is fed, under whatever keys");
    settle(&mut scheduler, 2, &[4, 6]);
    assert_eq!((take(&mut scheduler, 0), scheduler.len()), (vec!["3".to_owned()], 2));

    let mut scheduler = fed([entry(1, &["b@x"])].into_iter().chain(followers()));
    assert_eq!(take(&mut scheduler, 0), ["1", "5"], "1 joined its lane through 6");
    settle(&mut scheduler, 1, &[]);
    assert_eq!(take(&mut scheduler, 0), ["2+4+6"]);
}

#[test]
fn marked_followers_are_fed_before_their_unit_runs_or_while_it_is_in_flight_or_never() {
    let mut scheduler = fed([begun(1, &["u1"], &[2, 3, 5]), entry(2, &["u1"]), entry(4, &["u1"])]);
    assert_eq!(take(&mut scheduler, 0), ["1+2+5"], "3 is gone, 5 is still to come");
    assert_eq!(feed(&mut scheduler, [begun(5, &["u2"], &[]), entry(6, &["u2"])], 0), [5, 6]);
    retry(&mut scheduler, 1, 0, &[2, 5]);
    assert_eq!(take(&mut scheduler, 0), ["1+2+5"]);
    settle(&mut scheduler, 1, &[2, 5]);
    assert_eq!(take(&mut scheduler, 0), ["4+6"]);
}

#[test]
fn a_marked_follower_that_left_with_its_head_before_it_was_fed_is_not_waited_for() {
    let mut scheduler = fed([begun(1, &["u1"], &[3])]);
    assert_eq!(take(&mut scheduler, 0), ["1+3"]);
    settle(&mut scheduler, 1, &[3]);
    assert!(scheduler.is_empty());
    assert_eq!((feed(&mut scheduler, [entry(4, &["u1"])], 0), take(&mut scheduler, 0)), (vec![], vec!["4".to_owned()]));
}

#[test]
fn a_follower_that_leaves_its_unit_is_runnable_by_itself_as_never_attempted() {
    let mut scheduler = fed([begun(1, &["u1"], &[2, 3, 4]), entry(2, &["u1"]), begun(3, &["u1"], &[])]);
    assert_eq!(take(&mut scheduler, 0), ["1+2+3+4"]);
    hand_back(&mut scheduler, 1, &[2]);
    assert_eq!(take(&mut scheduler, 0), ["1+2"]);
    settle(&mut scheduler, 1, &[2]);
    feed(&mut scheduler, [entry(4, &["u1"])], 0);
    assert_eq!(take(&mut scheduler, 0), ["3+4"]);
}

#[test]
fn an_interrupted_unit_is_read_as_it_was_saved() {
    let lane = || (1..=4).map(|seq| entry(seq, &["u1"]));
    for (saved, again) in [(None, "1+2+3+4+5"), (Some(&[][..]), "1+2+3+4+5"), (Some(&[2, 4][..]), "1+2+4")] {
        let mut scheduler = fed(lane());
        assert_eq!(take(&mut scheduler, 0), ["1+2+3+4"]);
        if let Some(followers) = saved {
            scheduler.mark(Seq(1), &seqs(followers));
        }
        feed(&mut scheduler, [entry(5, &["u1"])], 0);
        interrupt(&mut scheduler, 1);
        assert_eq!(take(&mut scheduler, 0), [again], "{saved:?}");
    }
}

#[test]
fn an_interrupted_unit_counts_as_attempted_if_anything_was_saved() {
    for (saved, merged) in [(false, "1+2+3"), (true, "1")] {
        let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["u2"])]);
        assert_eq!(take(&mut scheduler, 0), ["1", "2"]);
        if saved {
            scheduler.mark(Seq(2), &[]);
        }
        feed(&mut scheduler, [entry(3, &["u1", "u2"])], 0);
        interrupt(&mut scheduler, 1);
        interrupt(&mut scheduler, 2);
        assert_eq!(take(&mut scheduler, 0), [merged]);
    }
}

#[test]
fn an_entry_that_the_log_does_not_have_lets_the_next_one_pass() {
    let mut scheduler = fed([entry(1, &["u1"]), entry(2, &["u1"])]);
    assert_eq!(take_with(&mut scheduler, 0, 0), ["1"]);
    settle(&mut scheduler, 1, &[]);
    settle(&mut scheduler, 1, &[]);
    assert_eq!((take(&mut scheduler, 0), scheduler.len()), (vec!["2".to_owned()], 1));
}
