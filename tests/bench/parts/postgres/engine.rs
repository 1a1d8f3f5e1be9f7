//! The engine as the service uses it: appending by many callers, and beginning and settling as an owner.

use crate::event::{fresh, identify};
use futures_util::future::join_all;
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, Seq, Timestamp, UserId};
use refersion_destination::scheduling::Unit;
use refersion_destination::store::{
    AffiliateChanges, EventLog, Maintenance, NewEvent, Ownership, PostgresStore, PostgresUrl, Settlement, StoreLimits,
};
use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio_postgres::{Client, NoTls};

/// So many units are begun and settled together.
const UNITS: usize = 100;
/// So many events are appended by one call where a store is filled.
const FILLED: u64 = 2_000;
/// So many events are appended before some are settled: more than are settled meanwhile.
const TO_SETTLE: u64 = 40_000;

/// No measurement lasts for so long that an account could be taken over.
pub const LEASE: Duration = Duration::from_secs(300);

pub fn account(name: &str) -> AccountName {
    AccountName::from(name.to_owned())
}

/// A connection of its own, without the engine.
pub async fn connect(url: &str) -> Client {
    let (client, connection) = tokio_postgres::connect(url, NoTls).await.expect("connected");
    tokio::spawn(connection);
    client
}

/// So many replicas on one database.
pub async fn stores(url: &str, count: usize) -> Vec<Arc<PostgresStore>> {
    let url = PostgresUrl::parse(url).expect("a URL");
    let limits = StoreLimits { max_backlog: u64::MAX / 2, ..StoreLimits::default() };
    let mut stores = Vec::new();
    for _ in 0..count {
        stores.push(Arc::new(PostgresStore::open(&url, limits, LEASE).await.expect("opened")));
    }
    stores
}

pub async fn close(stores: Vec<Arc<PostgresStore>>) {
    for store in stores {
        store.close().await;
    }
}

pub fn new_event(store: &PostgresStore, account: &AccountName, number: u64) -> NewEvent {
    let hash = store.hash_key();
    let user = UserId::parse(&format!("user{number:012}")).expect("a userId");
    let mut body = Vec::new();
    identify(&mut body, number, number, 0);
    NewEvent {
        account: account.clone(),
        id: hash.event_by_message_id(account, &format!("ajs-next-{number:020}")),
        former_id: None,
        user_keys: vec![hash.user_id(account, &user)],
        known_users_only: None,
        source: None,
        body,
        received_at: Timestamp(1_000),
    }
}

/// Appends for a while: so many callers, spread over the stores, each with calls of so many events; the first store to the first
/// account, the second to the second, and so on. Events a second.
pub async fn append(
    stores: &[Arc<PostgresStore>],
    accounts: &[&AccountName],
    callers: usize,
    per_call: u64,
    time: Duration,
) -> f64 {
    let began = Instant::now();
    let tasks = (0..callers).map(|caller| {
        let store = Arc::clone(&stores[caller % stores.len()]);
        let account = accounts[caller % stores.len() % accounts.len()].clone();
        tokio::spawn(async move {
            let mut appended = 0;
            while began.elapsed() < time {
                let first = fresh(per_call);
                let events = (first..first + per_call).map(|number| new_event(&store, &account, number)).collect();
                store.append(events).await.expect("appended");
                appended += per_call;
            }
            appended
        })
    });
    let appended: u64 = join_all(tasks).await.into_iter().map(|appended| appended.expect("no panic")).sum();
    appended as f64 / began.elapsed().as_secs_f64()
}

/// Appends so many events.
pub async fn fill(store: &Arc<PostgresStore>, account: &AccountName, events: u64) {
    for _ in 0..events / FILLED {
        let first = fresh(FILLED);
        let events = (first..first + FILLED).map(|number| new_event(store, account, number)).collect();
        store.append(events).await.expect("appended");
    }
}

/// Makes the store own the account, or renews its lease.
pub async fn own(store: &Arc<PostgresStore>, account: &AccountName) {
    let accounts = BTreeSet::from([account.clone()]);
    store.renew(&accounts).await.expect("renewed");
    while store.lease(account).is_none() {
        store.renew(&accounts).await.expect("renewed");
    }
}

/// Begins and settles in hundreds for a while: the first store owns the first account, and so on. Accounts are filled before. Events a
/// second.
pub async fn settle(stores: &[Arc<PostgresStore>], accounts: &[&AccountName], time: Duration) -> f64 {
    for (store, account) in stores.iter().zip(accounts) {
        fill(store, account, TO_SETTLE).await;
        own(store, account).await;
        // Passes what was settled before.
        store.read(account, Seq(0), 1).await.expect("read");
    }
    let began = Instant::now();
    let owners = stores.iter().zip(accounts).map(|(store, account)| {
        let (store, account) = (Arc::clone(store), (*account).clone());
        tokio::spawn(async move { settle_until(&store, &account, began + time).await })
    });
    let settled: u64 = join_all(owners).await.into_iter().map(|settled| settled.expect("no panic")).sum();
    settled as f64 / began.elapsed().as_secs_f64()
}

/// Begins and settles everything that is pending. Events a second.
pub async fn settle_all(store: &Arc<PostgresStore>, account: &AccountName) -> f64 {
    let began = Instant::now();
    let settled = settle_until(store, account, began + LEASE).await;
    settled as f64 / began.elapsed().as_secs_f64()
}

/// Settles until `end`, or until nothing is pending. How many.
async fn settle_until(store: &PostgresStore, account: &AccountName, end: Instant) -> u64 {
    let (mut after, mut settled) = (Seq(0), 0);
    loop {
        let entries = store.read(account, after, 2_000).await.expect("read");
        if entries.is_empty() {
            return settled;
        }
        for some in entries.chunks(UNITS) {
            if Instant::now() >= end {
                return settled;
            }
            settle_units(store, account, some.iter().map(|entry| Unit::of(entry.seq)).collect()).await;
            settled += some.len() as u64;
            after = some.last().map_or(after, |last| last.seq);
        }
    }
}

async fn settle_units(store: &PostgresStore, account: &AccountName, units: Vec<Unit>) {
    begin(store, account, &units).await;
    settle_each(store, account, &units, |_| AffiliateChanges::default()).await;
}

pub async fn begin(store: &PostgresStore, account: &AccountName, units: &[Unit]) {
    let begun = store.begin(account, units).await.expect("begun");
    assert!(begun.iter().all(Option::is_some), "all are pending");
}

/// Settles units that were begun, each with its changes.
pub async fn settle_each(
    store: &PostgresStore,
    account: &AccountName,
    units: &[Unit],
    changes: impl Fn(&Unit) -> AffiliateChanges,
) {
    let done = || Settlement::Done { outcome: OutcomeCode::Created, followers: Vec::new() };
    let settled = units.iter().map(|unit| store.settle(account, unit, done(), changes(unit)));
    assert!(join_all(settled).await.iter().all(Result::is_ok), "all are settled");
}
