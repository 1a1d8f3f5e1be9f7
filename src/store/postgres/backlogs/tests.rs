//! Counts, appends and ends of events in an order, and the numbers that they lead to.

use super::*;

const SERVER: SystemTime = SystemTime::UNIX_EPOCH;

fn counts(pending: u64, first: i64) -> BTreeMap<AccountName, Count> {
    let newest = Seq(first + i64::try_from(pending).expect("few") - 1);
    BTreeMap::from([(AccountName::main(), Count { account: 1, pending, first: Seq(first), newest })])
}

/// The number of pending events of the account `main`.
fn pending(backlogs: &Backlogs) -> u64 {
    backlogs.published.lock().pending.get(AccountName::main().as_str()).copied().unwrap_or(0)
}

fn counted(backlogs: &Backlogs, counts: &BTreeMap<AccountName, Count>, last: Seq, dead: u64) {
    backlogs.counted(&backlogs.begin_count(), counts, Sums { server: SERVER, last, dead });
}

#[test]
fn an_event_that_was_appended_while_the_tables_were_counted_is_counted_once() {
    let (main, published) = (AccountName::main(), Arc::<Published>::default());
    let backlogs = Backlogs::new(Arc::clone(&published));
    backlogs.appended([(&main, Seq(1)), (&main, Seq(2))]);
    // An event of another account, of which one has the seq 9, may have committed before one with a lower seq.
    let sums = Sums { server: SERVER, last: Seq(9), dead: 7 };
    let before = backlogs.begin_count();
    backlogs.appended([(&main, Seq(3))]);
    backlogs.counted(&before, &counts(2, 1), sums);
    assert_eq!(pending(&backlogs), 3, "the third was not counted");
    backlogs.counted(&backlogs.begin_count(), &counts(4, 1), sums);
    backlogs.appended([(&main, Seq(4)), (&main, Seq(5))]);
    assert_eq!(pending(&backlogs), 5, "the fourth was counted already, and the fifth was not");
    backlogs.counted(&backlogs.begin_count(), &counts(5, 1), sums);
    let status = published.lock().status.clone();
    assert_eq!((status.pending, status.dead, backlogs.first(&main)), (5, 7, Seq(1)));
}

#[test]
fn an_event_that_ended_since_the_last_count_is_not_counted_again() {
    let (main, published) = (AccountName::main(), Arc::<Published>::default());
    let backlogs = Backlogs::new(Arc::clone(&published));
    backlogs.appended([(&main, Seq(1)), (&main, Seq(2))]);
    backlogs.ended([(&main, 2)], 1);
    assert_eq!((pending(&backlogs), published.lock().status.dead), (0, 1));
    counted(&backlogs, &BTreeMap::new(), Seq(2), 1);
    assert_eq!((pending(&backlogs), backlogs.first(&main)), (0, Seq(0)), "one may be about to be committed");
    assert!(published.lock().pending.is_empty());
}

#[test]
fn pending_events_begin_after_the_newest_that_was_seen_before_none_was_pending() {
    let (main, none) = (AccountName::main(), BTreeMap::new());
    let backlogs = Backlogs::new(Arc::default());
    counted(&backlogs, &counts(3, 5), Seq(9), 0);
    assert_eq!(backlogs.first(&main), Seq(5));
    let before = backlogs.begin_count();
    backlogs.read_up_to(&main, Seq(12));
    backlogs.counted(&before, &none, Sums { server: SERVER, last: Seq(20), dead: 0 });
    assert_eq!(backlogs.first(&main), Seq(8), "the twelfth was not committed when the count began");
    counted(&backlogs, &none, Seq(20), 0);
    assert_eq!(backlogs.first(&main), Seq(13));
    counted(&backlogs, &counts(1, 21), Seq(21), 0);
    assert_eq!(backlogs.first(&main), Seq(21));
}

#[test]
fn what_was_pending_at_a_count_that_failed_while_another_process_owned_the_account_does_not_count_for_the_limit() {
    let main = AccountName::main();
    let backlogs = Backlogs::new(Arc::default());
    let numbers = || (pending(&backlogs), backlogs.certainly_pending(&main));
    counted(&backlogs, &counts(3, 5), Seq(9), 0);
    backlogs.not_counted(|_| true);
    assert_eq!(numbers(), (3, 3), "the owner knows of every end");
    backlogs.not_counted(|_| false);
    backlogs.appended([(&main, Seq(10)), (&main, Seq(11))]);
    assert_eq!(numbers(), (5, 2));
    backlogs.not_counted(|_| true);
    backlogs.ended([(&main, 1)], 0);
    assert_eq!(numbers(), (4, 1), "after a takeover it goes on from there");
    let before = backlogs.begin_count();
    backlogs.in_another_session();
    backlogs.counted(&before, &counts(1, 7), Sums { server: SERVER, last: Seq(9), dead: 0 });
    assert_eq!(numbers(), (4, 1), "that count is ignored");
    counted(&backlogs, &counts(1, 7), Seq(11), 0);
    assert_eq!(numbers(), (1, 1));
}

#[test]
fn nothing_is_known_in_another_session_of_where_pending_events_begin() {
    let main = AccountName::main();
    let backlogs = Backlogs::new(Arc::default());
    counted(&backlogs, &counts(3, 5), Seq(9), 0);
    let before = backlogs.begin_count();
    backlogs.in_another_session();
    backlogs.counted(&before, &counts(1, 7), Sums { server: SERVER, last: Seq(9), dead: 0 });
    assert_eq!((backlogs.first(&main), pending(&backlogs)), (Seq(0), 3), "that was another server, perhaps");
    counted(&backlogs, &counts(1, 4), Seq(4), 0);
    assert_eq!(backlogs.first(&main), Seq(4), "its sequence lagged");
}

#[test]
fn a_bound_is_valid_only_on_the_server_on_which_it_was_counted() {
    let main = AccountName::main();
    let another = SERVER + std::time::Duration::from_secs(1);
    let backlogs = Backlogs::new(Arc::default());
    counted(&backlogs, &counts(3, 5), Seq(9), 0);
    assert_eq!((backlogs.first_on(SERVER, &main), backlogs.first_on(another, &main)), (Seq(5), Seq(0)));
    let on_another = |counts: BTreeMap<_, _>| {
        backlogs.counted(&backlogs.begin_count(), &counts, Sums { server: another, last: Seq(4), dead: 0 });
    };
    on_another(counts(1, 6));
    assert_eq!(backlogs.first(&main), Seq(0), "it was counted from a bound of the first server on");
    on_another(counts(2, 3));
    assert_eq!((backlogs.first_on(another, &main), backlogs.first_on(SERVER, &main)), (Seq(3), Seq(0)));
}
