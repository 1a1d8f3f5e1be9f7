//! Promises of an engine for several processes: one log for all of them, one owner per account, and a connection that may break.
//!
//! Each process is a store of its own on the same database. Where a connection has to break, or the server to go away, a server is
//! started for that test alone.

use super::engine::{Engine, Postgres, TestStore, accepted, done};
use crate::support::postgres::{self, Durability, Server, schema_of, url_of};
use crate::support::postgres_proxy::{Cut, Proxy};
use crate::support::{poll_until, within};
use futures_util::future::join_all;
use refersion_destination::delivery::Memory;
use refersion_destination::domain::{AccountName, SealedApiKey, Seq};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{
    AffiliateChanges, Appended, Begun, DoneElsewhere, Hint, Maintenance, NewEvent, Store, StoreError,
};
use std::collections::BTreeSet;
use std::sync::Arc;

const UNLIMITED: u64 = 1_000_000;

/// A process that owns the account, another one that does not, and their database. `None`: there is no server.
async fn two_processes() -> Option<(TestStore, Arc<dyn Store>)> {
    let schema = Postgres::new()?;
    let owner = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    Some((owner, schema.open(UNLIMITED).await))
}

/// Stores a page of Refersion's list with nobody on it.
async fn store_page(store: &Arc<dyn Store>, account: &AccountName, progress: &str) -> Result<(), StoreError> {
    store.remember_listed(account, Vec::new(), progress.to_owned()).await.map(drop)
}

#[tokio::test]
async fn a_page_of_refersions_list_is_stored_by_the_owner_alone() {
    let Some((owner, other)) = two_processes().await else { return };
    assert_eq!(store_page(owner.store(), &owner.account, "of the owner").await, Ok(()));
    assert_eq!(store_page(&other, &owner.account, "of another").await, Err(StoreError::NotOwner));
    let progress = other.list_progress(&owner.account).await.expect("read");
    assert_eq!(progress.as_deref(), Some("of the owner"));
}

#[tokio::test]
async fn one_id_that_arrives_at_two_processes_at_once_is_stored_once() {
    let Some((one, other)) = two_processes().await else { return };
    let calls = (0..200).flat_map(|n| [one.store(), &other].map(|store| (n, store)));
    let answers = calls.map(async |(n, store)| {
        let event = one.event(&(n / 2).to_string(), &[&format!("u{n}")], 0);
        store.append(vec![event]).await.expect("appended")[0]
    });
    let answers = within(join_all(answers)).await;
    let accepted = answers.iter().filter(|answer| matches!(answer, Appended::Accepted { .. })).count();
    assert_eq!((accepted, one.entries().await.len()), (100, 100));
    assert!(answers.iter().all(|answer| *answer != Appended::UnknownUser));
}

/// Each process waits for one call before the next, so each call is a transaction. When one ends, two others that wait begin at once: with
/// four processes they are often two that name the accounts in opposite orders.
#[tokio::test]
async fn processes_that_append_to_the_same_accounts_in_any_order_wait_for_each_other_without_a_deadlock() {
    let Some(schema) = Postgres::new() else { return };
    let one = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let append = async |store: Arc<dyn Store>, process: u32, accounts: [&str; 3]| {
        for number in 0..50 {
            let event = |account: &str| {
                let event = one.event(&format!("{process} {number} {account}"), &["u1"], 0);
                NewEvent { account: AccountName::from(account.to_owned()), ..event }
            };
            store.append(accounts.map(event).into()).await.expect("appended");
        }
    };
    let mut processes = vec![append(Arc::clone(one.store()), 0, ["a", "b", "c"])];
    for (process, accounts) in [(1, ["c", "b", "a"]), (2, ["a", "b", "c"]), (3, ["c", "b", "a"])] {
        processes.push(append(schema.open(UNLIMITED).await, process, accounts));
    }
    within(join_all(processes)).await;
    let pending = || async { one.store().status().pending };
    within(poll_until(pending, |pending| *pending == 600)).await;
}

/// It is exceeded by no more than the others append before it counts again.
#[tokio::test]
async fn each_process_keeps_to_the_limit_of_the_backlog_and_soon_counts_the_events_of_the_others() {
    let Some(schema) = Postgres::new() else { return };
    let one = TestStore::start(Box::new(schema.clone()), 10).await;
    let other = schema.open(10).await;
    let is_full = |answer: &Result<_, StoreError>| matches!(answer, Err(StoreError::BacklogFull(_)));
    for number in 0..=10 {
        let appended = one.store().append(vec![one.event(&format!("one {number}"), &["u1"], 0)]).await;
        assert_eq!(is_full(&appended), number == 10, "{appended:?}");
    }
    let mut number = 0;
    while !is_full(&other.append(vec![one.event(&format!("another {number}"), &["u1"], 0)]).await) {
        number += 1;
    }
    assert!(number <= 10 && one.names().await.len() == 10 + number);
}

#[tokio::test]
async fn a_count_that_has_to_wait_for_a_lock_does_not_make_the_following_ones_rare() {
    let Some(schema) = Postgres::new() else { return };
    let one = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let other = schema.open(UNLIMITED).await;
    let administrator = connect(&schema).await;
    administrator.batch_execute("BEGIN; LOCK TABLE dead_letters").await.expect("locked");
    let waiting = async || -> i64 {
        // In a transaction, what other sessions do is read once, unless it is cleared.
        administrator.batch_execute("SELECT pg_stat_clear_snapshot()").await.expect("cleared");
        let counts = "SELECT count(*) FROM pg_stat_activity WHERE pg_backend_pid() = ANY(pg_blocking_pids(pid))
            AND query LIKE '%FROM dead_letters%' AND clock_timestamp() - query_start > interval '1.3 seconds'";
        administrator.query_one(counts, &[]).await.expect("read").get(0)
    };
    within(poll_until(waiting, |counts| *counts == 2)).await;
    administrator.batch_execute("COMMIT").await.expect("unlocked");
    one.append("a", &["u1"]).await;
    within(poll_until(|| async { other.status().pending }, |pending| *pending == 1)).await;
}

#[tokio::test]
async fn an_account_is_taken_over_only_by_a_process_that_can_deliver_for_it() {
    let Some((owner, other)) = two_processes().await else { return };
    let (main, another) = (owner.account.clone(), AccountName::from("another".to_owned()));
    owner.store().close().await;
    let renew = async |accounts: BTreeSet<AccountName>| {
        other.renew(&accounts).await.expect("renewed");
        (other.is_owner(&main), other.is_owner(&another))
    };
    let of_another = BTreeSet::from([another.clone()]);
    let of_both = BTreeSet::from([another.clone(), main.clone()]);
    within(poll_until(|| renew(of_another.clone()), |(_, owned)| *owned)).await;
    for _ in 0..20 {
        assert_eq!(renew(of_another.clone()).await, (false, true));
    }
    within(poll_until(|| renew(of_both.clone()), |owned| *owned == (true, true))).await;
}

#[tokio::test]
async fn the_owner_misses_no_event_while_several_processes_append() {
    let Some((owner, other)) = two_processes().await else { return };
    let append = async |store: &Arc<dyn Store>, name: &str| {
        for n in 0..300 {
            let event = owner.event(&format!("{name} {n}"), &["u1"], 0);
            accepted(store.append(vec![event]).await.expect("appended")[0]);
        }
    };
    let read = async {
        let mut read: Vec<Seq> = Vec::new();
        while read.len() < 900 {
            let after = read.last().copied().unwrap_or_default();
            let entries = owner.store().read(&owner.account, after, 50).await.expect("read");
            read.extend(entries.iter().map(|entry| entry.seq));
        }
        read
    };
    let (read, ..) =
        within(async { tokio::join!(read, append(owner.store(), "a"), append(&other, "b"), append(&other, "c")) })
            .await;
    let in_log: Vec<Seq> = owner.entries().await.iter().map(|entry| entry.seq).collect();
    assert_eq!(read, in_log);
}

#[tokio::test]
async fn a_process_that_does_not_own_the_account_changes_nothing_of_its_events() {
    let Some((owner, other)) = two_processes().await else { return };
    let unit = Unit::of(accepted(other.append(vec![owner.event("a", &["u1"], 0)]).await.expect("appended")[0]));
    let account = &owner.account;
    let nothing = AffiliateChanges::default;
    assert_eq!(other.read(account, Seq(0), 9).await, Err(StoreError::NotOwner));
    assert_eq!(other.begin(account, std::slice::from_ref(&unit)).await.err(), Some(StoreError::NotOwner));
    assert_eq!(other.settle(account, &unit, done(), nothing()).await, Err(StoreError::NotOwner));
    assert_eq!(
        other.save_progress(account, &unit, &super::engine::progress(1), nothing()).await,
        Err(StoreError::NotOwner)
    );
    assert_eq!(owner.names().await, ["a"]);
    owner.settle(unit.head, done()).await;
    let counted = || async { other.status().pending };
    within(poll_until(counted, |pending| *pending == 0)).await;
}

#[tokio::test]
async fn a_process_that_stores_an_api_key_notifies_the_others() {
    let Some((one, other)) = two_processes().await else { return };
    let key = SealedApiKey { account: one.account.clone(), blob: b"sealed".to_vec() };
    one.store().keep_api_keys(vec![key.clone()]).await.expect("kept");
    assert_eq!(within(other.changed()).await, Hint::ApiKeys);
    assert_eq!(other.kept_api_keys().await, Ok(vec![key.clone()]), "it was committed before");
    assert_eq!(one.store().remove_api_key(&key.account).await, Ok(true));
    assert_eq!(within(other.changed()).await, Hint::ApiKeys, "removed, too");
    assert_eq!(other.kept_api_keys().await, Ok(vec![]));
}

/// Also of a process that has never appended to the account.
#[tokio::test]
async fn a_replay_notifies_the_owner() {
    let Some((owner, other)) = two_processes().await else { return };
    let dead = owner.die("a", &["u1"]).await;
    other.replay(&[dead.0]).await.expect("replayed");
    assert_eq!(within(owner.store().changed()).await, Hint::Appended(vec![owner.account.clone()]));
}

/// A promoted standby may give the seq of an awaited event, which it never received, to another event.
#[tokio::test]
async fn the_outcome_of_another_event_with_the_seq_of_an_awaited_one_is_not_the_answer() {
    let Some((owner, other)) = two_processes().await else { return };
    let seq = owner.append("a", &["u1"]).await;
    owner.settle(seq, done()).await;
    let done_elsewhere = |name| other.done_elsewhere(&owner.account, (seq, owner.id(name)), None);
    let outcome = async {
        tokio::select! {
            biased;
            outcome = done_elsewhere("b") => panic!("it is of another event: {outcome:?}"),
            outcome = done_elsewhere("a") => outcome,
        }
    };
    assert!(matches!(within(outcome).await, DoneElsewhere::Settled(..)));
}

/// A process that owned the account and does not know yet that another one, the second, took it over.
async fn former_and_present_owner(schema: &Postgres, former: &TestStore) -> Arc<dyn Store> {
    let present = schema.open(UNLIMITED).await;
    let client = connect(schema).await;
    client.execute("UPDATE replicas SET until = now()", &[]).await.expect("its lease has ended");
    schema.own(&former.account).await;
    assert!(former.store().is_owner(&former.account) && present.is_owner(&former.account), "as each believes");
    present
}

#[tokio::test]
async fn the_owner_before_the_present_one_stores_no_page_of_refersions_list_any_more() {
    let Some(schema) = Postgres::new() else { return };
    let before = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    assert_eq!(store_page(before.store(), &before.account, "of the former owner").await, Ok(()));
    let present = former_and_present_owner(&schema, &before).await;
    assert_eq!(store_page(&present, &before.account, "of the present owner").await, Ok(()));
    assert_eq!(store_page(before.store(), &before.account, "too late").await, Err(StoreError::NotOwner));
    let progress = present.list_progress(&before.account).await.expect("read");
    assert_eq!(progress.as_deref(), Some("of the present owner"));
}

#[tokio::test]
async fn the_owner_before_the_present_one_settles_nothing_any_more() {
    let Some(schema) = Postgres::new() else { return };
    let before = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let [progress, settlement] = [before.append("a", &["u1"]).await, before.append("b", &["u2"]).await].map(Unit::of);
    let present = former_and_present_owner(&schema, &before).await;
    let changes = super::engine::remember("code", before.keys(&["u1"]));
    assert_eq!(before.try_settle(&settlement, done()).await, Err(StoreError::NotOwner));
    let saved = before.store().save_progress(&before.account, &progress, &super::engine::progress(1), changes).await;
    assert_eq!(saved, Err(StoreError::NotOwner));
    let begun = present.begin(&before.account, &[progress, settlement]).await.expect("begun");
    let untouched = |begun: &Begun| !begun.interrupted && begun.memory == Memory::default();
    assert!(begun.iter().flatten().filter(|begun| untouched(begun)).count() == 2, "{begun:?}");
}

/// A store that reaches its own server through a proxy.
pub async fn behind_a_proxy() -> Option<(TestStore, Proxy, Server)> {
    let server = Server::start(Durability::None)?;
    let proxy = Proxy::start(server.folder());
    schema_of(&server.url(), "cut");
    let url = format!("{}?options=-c%20search_path%3Dcut", url_of(proxy.folder()));
    let store = TestStore::start(Box::new(Postgres::at(url)), UNLIMITED).await;
    Some((store, proxy, server))
}

#[tokio::test]
async fn an_append_whose_connection_breaks_while_it_commits_fails_and_its_repeat_is_stored_once() {
    let Some((store, proxy, _server)) = behind_a_proxy().await else { return };
    for (name, cut, again) in [("a", Cut::BeforeCommit, false), ("b", Cut::AfterCommit, true)] {
        proxy.cut(cut);
        let failed = within(store.store().append(vec![store.event(name, &["u1"], 0)])).await;
        assert!(matches!(failed, Err(StoreError::Transient(_))) && proxy.has_cut(), "{failed:?}");
        assert_eq!(store.is_duplicate(name).await, again, "{cut:?}");
        assert!(store.is_duplicate(name).await);
    }
    assert_eq!(store.names().await, ["a", "b"]);
}

#[tokio::test]
async fn a_settlement_whose_connection_breaks_while_it_commits_fails_and_is_asked_for_again() {
    let Some((store, proxy, _server)) = behind_a_proxy().await else { return };
    for (name, cut, again) in [("a", Cut::BeforeCommit, Ok(())), ("b", Cut::AfterCommit, Err(StoreError::NotPending))] {
        let unit = Unit::of(store.append(name, &["u1"]).await);
        proxy.cut(cut);
        let failed = within(store.try_settle(&unit, done())).await;
        assert!(matches!(failed, Err(StoreError::Transient(_))) && proxy.has_cut(), "{failed:?}");
        assert_eq!(within(store.try_settle(&unit, done())).await, again);
        assert_eq!(store.names().await, [""; 0]);
    }
}

#[tokio::test]
async fn every_call_fails_at_once_while_the_server_is_away_and_all_goes_on_when_it_is_back() {
    let Some(mut server) = Server::start(Durability::Full) else { return };
    let url = schema_of(&server.url(), "away");
    let mut store = TestStore::start(Box::new(Postgres::at(url)), UNLIMITED).await;
    let appended = store.append("a", &["u1"]).await;
    for end in [Server::stop, Server::kill] {
        end(&mut server);
        let append = async || store.store().append(vec![store.event("b", &["u1"], 0)]).await;
        for _ in 0..20 {
            let failed = within(append()).await;
            assert!(matches!(failed, Err(StoreError::Transient(_))), "{failed:?}");
        }
        assert!(store.store().status().write_error.is_some());
        server.run();
        assert!(within(poll_until(&append, Result::is_ok)).await.is_ok());
        // The other connection comes back by itself, too.
        let error = async || store.store().status().write_error;
        assert_eq!(within(poll_until(error, Option::is_none)).await, None);
    }
    store.reopen().await;
    assert_eq!(store.names().await, ["a", "b"]);
    assert_eq!(store.entries().await[0].seq, appended);
}

#[tokio::test]
async fn several_processes_that_start_at_once_make_the_tables_once() {
    let Some(schema) = Postgres::new() else { return };
    let stores = within(join_all((0..4).map(|_| schema.open(UNLIMITED)))).await;
    let main = AccountName::main();
    let ids: BTreeSet<_> =
        stores.iter().map(|store| store.hash_key().event_by_message_id(&main, "a").to_string()).collect();
    assert_eq!(ids.len(), 1, "one hash key for all");
}

/// PostgreSQL's text has no NUL: a name with one makes the whole group fail.
#[tokio::test]
async fn a_call_that_postgresql_refuses_fails_alone_and_the_others_of_its_group_are_stored() {
    let Some((store, _)) = two_processes().await else { return };
    let bad = AccountName::from("a\0b".to_owned());
    let calls = (0..9).map(|n| {
        let event = store.event(&n.to_string(), &["u1"], 0);
        let account = if n == 4 { bad.clone() } else { event.account.clone() };
        store.store().append(vec![NewEvent { account, ..event }])
    });
    let answers = within(join_all(calls)).await;
    for (n, answer) in answers.iter().enumerate() {
        assert_eq!(matches!(answer, Err(StoreError::Fatal(_))), n == 4, "{answer:?}");
    }
    assert_eq!(store.names().await, ["0", "1", "2", "3", "5", "6", "7", "8"]);
    assert_eq!(store.store().status().write_error, None, "the store can be written");
}

/// As if a pooler had given the session to others meanwhile: a trigger discards its statements while it writes to `meta`.
#[tokio::test]
async fn a_session_that_lost_its_prepared_statements_is_given_up_and_the_next_one_works() {
    let Some(schema) = Postgres::new() else { return };
    let store = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    store.append("a", &["u1"]).await;
    let administrator = connect(&schema).await;
    let discard = "CREATE FUNCTION discard() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN EXECUTE 'DEALLOCATE ALL'; RETURN NEW; END $$;
        CREATE TRIGGER discard BEFORE INSERT OR UPDATE ON meta FOR EACH ROW EXECUTE FUNCTION discard()";
    administrator.batch_execute(discard).await.expect("made");
    store.store().probe().await.expect("written");
    administrator.batch_execute("DROP TRIGGER discard ON meta").await.expect("dropped");
    let append = async || store.store().append(vec![store.event("b", &["u1"], 0)]).await;
    let failed = append().await;
    assert!(matches!(&failed, Err(StoreError::Transient(why)) if why.contains("26000")), "{failed:?}");
    within(poll_until(append, Result::is_ok)).await.expect("appended");
    assert_eq!(store.names().await, ["a", "b"]);
}

/// A session of the test's own.
pub async fn connect(schema: &Postgres) -> tokio_postgres::Client {
    postgres::connect(schema.url()).await
}

#[tokio::test]
async fn a_release_that_is_older_works_beside_a_newer_one_until_the_tables_say_that_it_is_too_old() {
    let Some(schema) = Postgres::new() else { return };
    let older = TestStore::start(Box::new(schema.clone()), UNLIMITED).await;
    let client = connect(&schema).await;
    let set = async |name: &str, number: i64| {
        let sql = "UPDATE meta SET value = $2 WHERE name = $1";
        client.execute(sql, &[&name, &number.to_be_bytes().as_slice()]).await.expect("written");
    };
    set("version", 1_000).await;
    older.append("a", &["u1"]).await;
    schema.try_open(UNLIMITED).await.expect("it can still work with the tables").close().await;
    set("oldest_reader", 1_000).await;
    let refused = schema.try_open(UNLIMITED).await.map(drop).expect_err("too old");
    assert!(refused.contains("newer release (version 1000)"), "{refused}");
    within(older.store().closed()).await;
    older.append("b", &["u1"]).await; // what is under way is finished
}
