//! Promises 1 and 2: all or none, and once.

use super::engine::{LATE, dead, every, every_of, is_behind, remember};
use refersion_destination::domain::AccountName;
use refersion_destination::queue::{Change, NewEvent, QueueError, Recorded};

#[tokio::test]
async fn what_was_recorded_is_there_after_a_restart_with_all_that_was_said_of_it() {
    every(async |store| {
        let event = NewEvent { body: b"raw \0 bytes".to_vec(), ..store.event("a", &["u1", "u1@x.io"], 41) };
        store.try_record(vec![event]).await.expect("recorded");
        store.reopen().await;
        let claimed = store.claim_one(41).await;
        assert_eq!(claimed.body, b"raw \0 bytes");
        assert_eq!(claimed.ticket.id, store.id("a"));
        assert_eq!(claimed.keys, store.keys(&["u1", "u1@x.io"]));
        assert_eq!((claimed.received_at.0, claimed.failures, claimed.failing_since), (41, 0, None));
        assert!(!claimed.interrupted);
    })
    .await;
}

#[tokio::test]
async fn a_full_backlog_takes_none_of_the_events_and_says_how_many_wait() {
    every_of(3, async |store| {
        store.record("a", &["u1"]).await;
        store.record("b", &["u2"]).await;
        let two = vec![store.event("c", &["u3"], 0), store.event("d", &["u4"], 0)];
        assert_eq!(store.try_record(two).await, Err(QueueError::Full(2)));
        assert_eq!(store.depth().await, (2, 0));
        assert_eq!(store.record("c", &["u3"]).await, Recorded::Accepted { behind: false, waiting: 2 });
        assert_eq!(store.try_record(vec![store.event("e", &["u5"], 0)]).await, Err(QueueError::Full(3)));
        let claimed = store.claim(0).await;
        store.done(&claimed[0]).await;
        assert!(!is_behind(store.record("d", &["u4"]).await));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_a_duplicate_even_where_the_backlog_is_full() {
    every_of(1, async |store| {
        store.record("a", &["u1"]).await;
        assert_eq!(store.record("a", &["u1"]).await, Recorded::Duplicate);
        let with_a_new_one = vec![store.event("a", &["u1"], 0), store.event("b", &["u2"], 0)];
        assert_eq!(store.try_record(with_a_new_one).await, Err(QueueError::Full(1)));
    })
    .await;
}

#[tokio::test]
async fn a_full_backlog_of_one_account_is_not_another_ones() {
    every_of(1, async |store| {
        store.record("a", &["u1"]).await;
        for name in ["b", "c"] {
            store.account = AccountName::from("other".to_owned());
            assert_eq!(store.record(name, &["u1"]).await, Recorded::Accepted { behind: false, waiting: 0 });
            assert_eq!(store.try_record(vec![store.event("d", &["u2"], 0)]).await, Err(QueueError::Full(1)));
            let claimed = store.claim_one(0).await;
            store.done(&claimed).await;
            store.reopen().await;
            store.account = AccountName::main();
            assert_eq!(store.try_record(vec![store.event("d", &["u2"], 0)]).await, Err(QueueError::Full(1)));
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_backlog_stays_full_after_a_restart() {
    every_of(1, async |store| {
        store.record("a", &["u1"]).await;
        store.reopen().await;
        assert_eq!(store.try_record(vec![store.event("b", &["u2"], 0)]).await, Err(QueueError::Full(1)));
    })
    .await;
}

#[tokio::test]
async fn each_event_of_a_call_has_its_own_answer() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        let events = vec![
            store.event("a", &["u1"], 0),
            store.event("b", &["u2"], 0),
            NewEvent { only_if_known: true, ..store.event("c", &["u3"], 0) },
            store.event("d", &["u2"], 0),
            store.event("b", &["u2"], 0),
        ];
        let expected = [
            Recorded::Duplicate,
            Recorded::Accepted { behind: false, waiting: 1 },
            Recorded::UnknownUser,
            Recorded::Accepted { behind: true, waiting: 2 },
            Recorded::Duplicate,
        ];
        assert_eq!(store.try_record(events).await.expect("recorded"), expected);
        assert_eq!(store.depth().await, (3, 0));
        assert_eq!(store.try_record(Vec::new()).await, Ok(Vec::new()));
    })
    .await;
}

#[tokio::test]
async fn a_repeat_is_a_duplicate_while_it_waits_while_it_is_carried_out_and_after_it_is_settled() {
    every(async |store| {
        store.record("done", &["u1"]).await;
        store.record("dead", &["u2"]).await;
        for step in 0..4 {
            for name in ["done", "dead"] {
                assert_eq!(store.record(name, &["u3"]).await, Recorded::Duplicate, "{name}, step {step}");
            }
            if step == 1 {
                let claimed = store.claim(0).await;
                store.done(&claimed[0]).await;
                store.settle(&claimed[1].ticket, dead()).await.expect("settled");
            } else {
                store.reopen().await;
            }
        }
        assert_eq!(store.depth().await, (0, 1));
    })
    .await;
}

#[tokio::test]
async fn an_id_is_forgotten_once_the_window_has_passed_and_not_before() {
    every(async |store| {
        store.record_at("a", &["u1"], 10).await;
        store.record_at("b", &["u2"], 20).await;
        for claimed in store.claim(LATE).await {
            store.done(&claimed).await;
        }
        store.tidy(10).await;
        assert_eq!(store.record("a", &["u1"]).await, Recorded::Duplicate);
        store.tidy(11).await;
        assert!(!is_behind(store.record("a", &["u1"]).await));
        assert_eq!(store.record("b", &["u2"]).await, Recorded::Duplicate);
    })
    .await;
}

#[tokio::test]
async fn an_id_is_never_forgotten_while_its_event_waits() {
    every(async |store| {
        // The second was received before the first: two requests overtook one another on their way to the store.
        store.record_at("first", &["u1"], 50).await;
        store.record_at("second", &["u2"], 40).await;
        store.tidy(LATE).await;
        assert_eq!(store.record("first", &["u1"]).await, Recorded::Duplicate);
        assert_eq!(store.record("second", &["u2"]).await, Recorded::Duplicate);
        store.reopen().await;
        store.tidy(LATE).await;
        assert_eq!(store.record("second", &["u2"]).await, Recorded::Duplicate);
    })
    .await;
}

#[tokio::test]
async fn an_event_that_waits_keeps_no_other_id_from_being_forgotten() {
    every(async |store| {
        store.record_at("stuck", &["u1"], 0).await;
        store.record_at("settled", &["u2"], 5).await;
        let claimed = store.claim(LATE).await;
        store.done(&claimed[1]).await;
        store.tidy(6).await;
        assert!(!is_behind(store.record("settled", &["u2"]).await));
    })
    .await;
}

#[tokio::test]
async fn many_ids_are_forgotten_in_one_tidying() {
    every(async |store| {
        let events = (0..12_000).map(|n| store.event(&format!("e{n}"), &["u1"], 0)).collect();
        store.try_record(events).await.expect("recorded");
        for n in 0..20 {
            let claimed = store.claim_one(LATE).await;
            assert_eq!(claimed.body, format!("e{n}").as_bytes());
            store.done(&claimed).await;
        }
        store.tidy(LATE).await;
        for n in 0..40 {
            let repeat = store.record(&format!("e{n}"), &["u2"]).await;
            assert_eq!(repeat == Recorded::Duplicate, n >= 20, "e{n}");
        }
    })
    .await;
}

#[tokio::test]
async fn the_same_id_in_another_account_is_another_event() {
    every(async |store| {
        store.record("a", &["u1"]).await;
        store.account = AccountName::from("other".to_owned());
        assert!(!is_behind(store.record("a", &["u1"]).await));
        assert_eq!(store.claim_names(0).await, ["a"]);
    })
    .await;
}

#[tokio::test]
async fn an_event_for_known_users_only_is_not_recorded_for_an_unknown_one_and_may_come_again() {
    every(async |store| {
        assert_eq!(store.record_if_known("a", &["u1"]).await, Recorded::UnknownUser);
        assert_eq!(store.record_if_known("a", &["u1"]).await, Recorded::UnknownUser);
        assert_eq!(store.depth().await, (0, 0));
        assert!(!is_behind(store.record("a", &["u1"]).await));
    })
    .await;
}

#[tokio::test]
async fn an_event_for_known_users_only_is_recorded_when_a_key_leads_to_an_affiliate() {
    every(async |store| {
        store.teach("a", &["u1"], remember("code", store.keys(&["u1", "u1@x.io"]))).await;
        assert!(!is_behind(store.record_if_known("b", &["u1@x.io"]).await));
        assert_eq!(store.record_if_known("c", &["u2"]).await, Recorded::UnknownUser);
    })
    .await;
}

#[tokio::test]
async fn an_event_for_known_users_only_is_recorded_when_an_earlier_one_of_theirs_waits() {
    every(async |store| {
        store.record("a", &["u1", "u1@x.io"]).await;
        assert!(is_behind(store.record_if_known("b", &["u1@x.io"]).await));
        let claimed = store.claim_one(0).await;
        assert!(is_behind(store.record_if_known("c", &["u1"]).await), "carried out is waiting, too");
        store.done(&claimed).await;
        let claimed = store.claim_one(0).await;
        store.done(&claimed).await;
        let claimed = store.claim_one(0).await;
        store.done(&claimed).await;
        assert_eq!(store.record_if_known("d", &["u1"]).await, Recorded::UnknownUser);
    })
    .await;
}

#[tokio::test]
async fn an_event_for_known_users_only_is_recorded_behind_one_of_the_same_call() {
    every(async |store| {
        let only = |event| NewEvent { only_if_known: true, ..event };
        let events = vec![
            only(store.event("too early", &["u1"], 0)),
            store.event("first", &["u1"], 0),
            only(store.event("second", &["u1"], 0)),
        ];
        let recorded = store.try_record(events).await.expect("recorded");
        assert_eq!(recorded[0], Recorded::UnknownUser);
        assert!(!is_behind(recorded[1]) && is_behind(recorded[2]));
    })
    .await;
}

#[tokio::test]
async fn a_user_of_whom_a_dead_letter_is_kept_is_known_until_it_is_erased() {
    every(async |store| {
        store.record("poison", &["u1"]).await;
        let claimed = store.claim_one(0).await;
        store.settle(&claimed.ticket, dead()).await.expect("settled");
        assert!(!is_behind(store.record_if_known("a delete", &["u1"]).await), "there is something to erase");
        let claimed = store.claim_one(0).await;
        store.done(&claimed).await;
        let erase = store.keys(&["u1"]);
        store.teach("erases", &["u1"], Change { erase, ..Change::default() }).await;
        assert_eq!(store.record_if_known("another", &["u1"]).await, Recorded::UnknownUser);
    })
    .await;
}
