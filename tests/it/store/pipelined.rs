//! Lone statements of many accounts on one connection to PostgreSQL: none waits for the answer to another account's.

use super::engine::{Postgres, TestStore, UNLIMITED, accepted};
use super::several_processes::{behind_a_proxy, connect};
use crate::support::{poll_until, postgres, within};
use futures_util::FutureExt as _;
use futures_util::future::join_all;
use refersion_destination::domain::{AccountName, Seq};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{NewEvent, StoreError};
use std::time::Duration;

const ACCOUNTS: usize = 8;
/// For so long a statement waits for a lock in these tests: less than the time after which a server counts as silent (15 s).
const SLOW: Duration = Duration::from_secs(4);
/// The session that waits for a table that is locked, and since when.
const WAITS: &str = "SELECT pid, waitstart::text FROM pg_locks
    WHERE NOT granted AND relation = 'log'::regclass AND waitstart IS NOT NULL";

/// A pending event in each of so many accounts.
async fn in_each_account(store: &mut TestStore) -> Vec<(AccountName, Unit)> {
    let mut pending = Vec::new();
    for number in 0..ACCOUNTS {
        let account = AccountName::from(format!("account {number}"));
        store.use_account(&account).await;
        let event = NewEvent { account: account.clone(), ..store.event("a", &["u1"], 0) };
        pending.push((account, Unit::of(accepted(store.try_append(event).await))));
    }
    pending
}

#[tokio::test]
async fn reads_begins_and_saved_health_of_all_accounts_are_sent_at_once() {
    let Some((mut store, proxy, _server)) = behind_a_proxy().await else { return };
    let pending = in_each_account(&mut store).await;
    let read = async |(account, unit): &(AccountName, Unit)| {
        let entries = store.store().read(account, Seq(0), 9).await.expect("read");
        assert_eq!(entries.iter().map(|entry| entry.seq).collect::<Vec<_>>(), [unit.head]);
    };
    let begin = async |(account, unit): &(AccountName, Unit)| {
        let begun = store.store().begin(account, std::slice::from_ref(unit)).await.expect("begun");
        assert!(begun.iter().all(Option::is_some) && begun.len() == 1, "{begun:?}");
    };
    let save_health = async |(account, _): &(AccountName, Unit)| {
        store.store().save_health(account, "health".to_owned()).await.expect("saved");
    };
    // The first ones prepare the statements.
    read(&pending[0]).await;
    begin(&pending[0]).await;
    save_health(&pending[0]).await;
    proxy.most_at_once();
    within(join_all(pending.iter().map(read))).await;
    let reads = proxy.most_at_once();
    within(join_all(pending.iter().map(begin))).await;
    let begins = proxy.most_at_once();
    within(join_all(pending.iter().map(save_health))).await;
    let saved = proxy.most_at_once();
    // Of one account at most three statements are sent at once.
    let sent = [reads, begins, saved];
    assert!(sent.iter().all(|statements| *statements >= ACCOUNTS), "{sent:?}");
}

/// PostgreSQL runs the statements of one session one after the other, so a few slow ones last longer than a silent server is waited for.
#[tokio::test]
async fn a_server_that_answers_each_of_many_reads_slowly_is_not_given_up_as_silent() {
    let Some(schema) = Postgres::new() else { return };
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let (lock, client) = (connect(&schema).await, connect(&schema).await);
    let read = || store.store().read(&store.account, Seq(0), 9);
    read().await.expect("read");
    lock.batch_execute("BEGIN; LOCK TABLE log IN ACCESS EXCLUSIVE MODE").await.expect("locked");
    let waits = async || {
        let rows = client.query(WAITS, &[]).await.expect("asked");
        rows.first().map(|row| (row.get::<_, i32>(0), row.get::<_, String>(1)))
    };
    let each_is_slow = async {
        let (mut sessions, mut last) = (Vec::new(), None);
        for _ in 0..ACCOUNTS {
            let waits = poll_until(&waits, |waits| waits.is_some() && *waits != last).await;
            tokio::time::pause();
            tokio::time::advance(SLOW).await;
            tokio::time::resume();
            let session = waits.as_ref().map(|(session, _)| *session);
            client.execute("SELECT pg_cancel_backend($1)", &[&session]).await.expect("cancelled");
            sessions.extend(session);
            last = waits;
        }
        sessions
    };
    let reads = join_all((0..ACCOUNTS).map(|_| read()));
    let (reads, sessions) = within(async { tokio::join!(reads, each_is_slow) }).await;
    let is_slow = |read: &Result<_, _>| matches!(read, Err(StoreError::Transient(why)) if why.contains("57014"));
    assert!(reads.iter().all(is_slow), "{reads:?}");
    assert!(sessions.iter().all(|session| *session == sessions[0]), "{sessions:?}");
}

#[tokio::test]
async fn a_read_whose_caller_is_gone_is_not_sent() {
    let Some((mut store, proxy, server)) = behind_a_proxy().await else { return };
    let pending = in_each_account(&mut store).await;
    let read = |number: usize| store.store().read(&pending[number].0, Seq(0), 9);
    read(0).await.expect("read");
    let client = postgres::connect(&server.url()).await;
    client.batch_execute("BEGIN; LOCK TABLE cut.accounts IN EXCLUSIVE MODE").await.expect("locked");
    let reads_without_caller = async {
        let waits = "SELECT FROM pg_locks WHERE NOT granted";
        within(poll_until(async || client.query(waits, &[]).await.expect("asked"), |waits| !waits.is_empty())).await;
        for number in 0..ACCOUNTS {
            assert!(read(number).now_or_never().is_none(), "the connection is busy");
        }
        proxy.most_at_once();
        client.batch_execute("COMMIT").await.expect("unlocked");
    };
    let _ = tokio::join!(store.store().save_health(&store.account, String::new()), reads_without_caller);
    store.store().health(&store.account).await.expect("read");
    let sent = proxy.most_at_once();
    assert!((1..ACCOUNTS).contains(&sent), "{sent}");
}
