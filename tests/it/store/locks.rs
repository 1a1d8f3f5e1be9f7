//! Locks that others hold in PostgreSQL: what waits for one fails with that reason, and neither the order of the log nor a lease depends on
//! how long the wait lasts.

use super::engine::{Engine, Postgres, TestStore, UNLIMITED, accepted, dead, done};
use super::several_processes::connect;
use crate::support::{poll_until, within};
use refersion_destination::domain::{AccountName, Seq};
use refersion_destination::store::{Ownership, PostgresStore, PostgresUrl, Replay, Store, StoreError, StoreLimits};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;
use tokio_postgres::Client;

/// The shortest lease that a test with a busy server needs; an eighth of it is the time between two renewals.
const LEASE: Duration = Duration::from_secs(8);

/// Returns when a session waits for a lock of this one.
async fn until_one_waits(administrator: &Client) {
    let waits = "SELECT count(*) FROM pg_locks WHERE NOT granted AND pg_backend_pid() = ANY (pg_blocking_pids(pid))";
    let waiting = async || administrator.query_one(waits, &[]).await.expect("asked").get::<_, i64>(0);
    within(poll_until(waiting, |waiting| *waiting > 0)).await;
}

/// The second call is sent while the first one waits, so it waits for less long when its caller gives up.
#[tokio::test]
async fn an_append_that_waits_for_a_locked_table_fails_with_that_reason() {
    let Some(schema) = Postgres::new() else { return };
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let administrator = connect(&schema).await;
    administrator.batch_execute("BEGIN; LOCK TABLE log IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let append = |name| store.store().append(vec![store.event(name, &["u1"], 0)]);
    let second = async {
        until_one_waits(&administrator).await;
        append("b").await
    };
    let (first, second) = within(async { tokio::join!(append("a"), second) }).await;
    for failed in [first, second] {
        assert!(
            matches!(&failed, Err(StoreError::Transient(why)) if why.contains("lock timeout (55P03)")),
            "{failed:?}"
        );
    }
    let unready = store.store().status().write_error;
    assert!(unready.as_ref().is_some_and(|why| why.contains("55P03")), "{unready:?}");
    administrator.batch_execute("COMMIT").await.expect("unlocked");
    let appended = async || append("a").await.is_ok() && store.store().status().write_error.is_none();
    within(poll_until(appended, |appended| *appended)).await;
}

/// Longer than two counts in a row wait for it: the third one shows that both have failed.
#[tokio::test]
async fn counts_that_failed_because_of_a_lock_do_not_make_the_following_ones_rare() {
    let Some(schema) = Postgres::new() else { return };
    let one = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let (other, administrator) = (schema.open(UNLIMITED).await, connect(&schema).await);
    administrator.batch_execute("BEGIN; LOCK TABLE dead_letters").await.expect("locked");
    let counts = RefCell::new(BTreeMap::<i32, BTreeSet<String>>::new());
    let with_a_third = async || {
        // In a transaction, what other sessions do is read once, unless it is cleared.
        administrator.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("cleared");
        let waiting = "SELECT pid, query_start::text FROM pg_stat_activity
            WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)) AND query LIKE '%FROM dead_letters%'";
        for row in administrator.query(waiting, &[]).await.expect("read") {
            counts.borrow_mut().entry(row.get(0)).or_default().insert(row.get(1));
        }
        counts.borrow().values().filter(|of_process| of_process.len() > 2).count()
    };
    within(poll_until(with_a_third, |processes| *processes == 2)).await;
    administrator.batch_execute("COMMIT").await.expect("unlocked");
    one.append("a", &["u1"]).await;
    within(poll_until(|| async { other.status().pending }, |pending| *pending == 1)).await;
}

/// The other process cannot know that the owner has ended the events that it appended before.
#[tokio::test]
async fn while_the_tables_cannot_be_counted_only_the_owner_refuses_events_because_of_the_backlog() {
    let Some(schema) = Postgres::new() else { return };
    let owner = TestStore::start(Box::new(schema.clone()), 2).await;
    let (other, administrator) = (schema.open(2).await, connect(&schema).await);
    owner.settle(owner.append("first", &["u1"]).await, done()).await; // prepares its statements, which name the table
    administrator.batch_execute("BEGIN; LOCK TABLE dead_letters").await.expect("locked");
    let append = async |store: &Arc<dyn Store>, name: &str| store.append(vec![owner.event(name, &["u1"], 0)]).await;
    for name in ["a", "b"] {
        owner.settle(accepted(append(&other, name).await.expect("appended")[0]), done()).await;
    }
    let is_appended = async || {
        administrator.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("cleared");
        let cancel_counts = "SELECT pg_cancel_backend(pid) FROM pg_stat_activity
            WHERE pg_backend_pid() = ANY (pg_blocking_pids(pid)) AND query LIKE '%FROM dead_letters%'";
        administrator.query(cancel_counts, &[]).await.expect("asked");
        append(&other, "c").await.is_ok()
    };
    within(poll_until(is_appended, |is_appended| *is_appended)).await;
    for (name, is_full) in [("d", false), ("e", false), ("f", true)] {
        let appended = append(owner.store(), name).await;
        assert_eq!(matches!(appended, Err(StoreError::BacklogFull(_))), is_full, "{appended:?}");
    }
}

/// Its seq would be drawn beside those of appends, and the owner might read past it.
#[tokio::test]
async fn an_event_that_becomes_a_dead_letter_while_a_replay_waits_is_not_replayed_without_the_lock_of_its_account() {
    let Some(schema) = Postgres::new() else { return };
    let mut owner = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let early = owner.die("early", &["u1"]).await;
    owner.use_account(&AccountName::from("another".to_owned())).await;
    let late = owner.append("late", &["u1"]).await;
    let (other, administrator) = (schema.open(UNLIMITED).await, connect(&schema).await);
    let replay = async |seqs: &[Seq]| {
        let ids: Vec<i64> = seqs.iter().map(|seq| seq.0).collect();
        let replayed = other.replay(&ids).await.expect("replayed");
        replayed.iter().map(|result| result.outcome).collect::<Vec<_>>()
    };
    let lock = "BEGIN; SELECT FROM accounts WHERE name = 'main' FOR UPDATE";
    administrator.batch_execute(lock).await.expect("locked");
    let dies = async {
        until_one_waits(&administrator).await;
        owner.settle(late, dead()).await;
        administrator.batch_execute("COMMIT").await.expect("unlocked");
    };
    let both = [early, late];
    let (replayed, ()) = within(async { tokio::join!(replay(&both), dies) }).await;
    assert_eq!(replayed, [Replay::Replayed, Replay::Missing]);
    assert_eq!(replay(&[late]).await, [Replay::Replayed]);
}

/// The first of several portions waits for a lock for longer than the time between two renewals.
#[tokio::test]
async fn many_accounts_are_taken_over_in_several_renewals_if_one_would_last_too_long() {
    const ACCOUNTS: usize = 1_200;
    let Some(schema) = Postgres::new() else { return };
    let url = PostgresUrl::parse(schema.url()).expect("a URL");
    let store = PostgresStore::open(&url, StoreLimits::default(), LEASE).await.expect("opened");
    let accounts: BTreeSet<AccountName> = (1..=ACCOUNTS).map(|n| AccountName::from(format!("account {n}"))).collect();
    let administrator = connect(&schema).await;
    let add = format!("INSERT INTO accounts (name) SELECT 'account ' || n FROM generate_series(1, {ACCOUNTS}) AS n");
    administrator.batch_execute(&add).await.expect("added");
    administrator.batch_execute("BEGIN; SELECT FROM accounts FOR UPDATE").await.expect("locked");
    let lasts_long = async {
        until_one_waits(&administrator).await;
        tokio::time::pause();
        tokio::time::advance(LEASE / 4).await;
        tokio::time::resume();
        administrator.batch_execute("COMMIT").await.expect("unlocked");
    };
    let (renewed, ()) = within(async { tokio::join!(store.renew(&accounts), lasts_long) }).await;
    renewed.expect("renewed");
    let owned = || accounts.iter().filter(|account| store.is_owner(account)).count();
    assert!((1..ACCOUNTS).contains(&owned()), "{}", owned());
    let all = async || {
        store.renew(&accounts).await.expect("renewed");
        owned()
    };
    within(poll_until(all, |owned| *owned == ACCOUNTS)).await;
}
