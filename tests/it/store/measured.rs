//! The measurements of a store, and its reports of commits.

use super::engine::{dead, dead_of, done, every};
use refersion_destination::delivery::OutcomeCode;
use refersion_destination::domain::{AccountName, Timestamp};
use refersion_destination::store::Measured;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

fn account(name: &str) -> AccountName {
    AccountName::from(name.to_owned())
}

#[tokio::test]
async fn the_oldest_pending_event_of_each_account_and_dead_letters_by_reason_are_measured() {
    every(async |store| {
        let measure = async |store: &super::engine::TestStore| store.store().measure().await.expect("measured");
        let empty = measure(store).await;
        assert_eq!((empty.oldest_pending.len(), empty.dead_letters.len()), (0, 0));
        let first = store.try_append(store.event("a", &["u1"], 50)).await;
        store.try_append(store.event("b", &["u2"], 70)).await;
        store.die("c", &["u3"]).await;
        let expired = store.append("d", &["u4"]).await;
        store.settle(expired, dead_of(OutcomeCode::Expired, 9)).await;
        let again = store.append("e", &["u5"]).await;
        store.settle(again, dead()).await;
        store.use_account(&account("other")).await;
        store.try_append(store.event("a", &["u1"], 60)).await;
        let Measured { oldest_pending, dead_letters, size, .. } = measure(store).await;
        let oldest = [("main", 50), ("other", 60)].map(|(name, at)| (name.to_owned(), Timestamp(at)));
        assert_eq!(oldest_pending, BTreeMap::from(oldest));
        let letters = [("expired", 1), ("refused", 2)].map(|(reason, n)| (("main".to_owned(), reason.to_owned()), n));
        assert_eq!(dead_letters, BTreeMap::from(letters));
        assert!(size > 0);

        store.use_account(&AccountName::main()).await;
        store.settle(super::engine::accepted(first), done()).await;
        let later = measure(store).await.oldest_pending;
        assert_eq!(later.get("main"), Some(&Timestamp(70)), "the next one is the oldest");
    })
    .await;
}

#[tokio::test]
async fn every_commit_is_reported_to_the_first_observer() {
    every(async |store| {
        let requests = Arc::new(AtomicUsize::new(0));
        let counted = Arc::clone(&requests);
        store.store().on_commit(Box::new(move |commit| _ = counted.fetch_add(commit.requests, Ordering::Relaxed)));
        store.store().on_commit(Box::new(|_| panic!("another observer is called")));
        for name in ["a", "b", "c"] {
            store.append(name, &["u1"]).await;
        }
        assert!(requests.load(Ordering::Relaxed) >= 3, "each was answered after its commit");
    })
    .await;
}
