//! Lone statements of many accounts on one connection to PostgreSQL: none waits for the answer to another account's.

use super::engine::{TestStore, accepted};
use super::several_processes::behind_a_proxy;
use crate::support::within;
use futures_util::future::join_all;
use refersion_destination::domain::{AccountName, Seq};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::NewEvent;

const ACCOUNTS: usize = 8;

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
